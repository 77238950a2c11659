// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/hog_child.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <charconv>

#include "guest-driver/libvttm/error.h"

namespace vttm::guest {

bool HogChild::read_line(std::string* line) {
    for (;;) {
        const std::size_t end = pending_.find('\n');
        if (end != std::string::npos) {
            line->assign(pending_, 0, end);
            pending_.erase(0, end + 1);
            return true;
        }
        std::array<char, 256> chunk;
        const ssize_t got = ::read(child_->output(), chunk.data(), chunk.size());
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        pending_.append(chunk.data(), static_cast<std::size_t>(got));
    }
}

// The hog answers a command with lines "held N", the last one "done N" (or "error TEXT").
HogState HogChild::command(const std::string& line, const Progress& progress) {
    const bool sent =
        ::write(child_->input(), line.data(), line.size()) == static_cast<ssize_t>(line.size());
    std::string answer;
    while (sent && read_line(&answer)) {
        const std::size_t blank = std::min(answer.find(' '), answer.size());
        const std::string_view word = std::string_view(answer).substr(0, blank);
        const std::string_view rest =
            std::string_view(answer).substr(std::min(blank + 1, answer.size()));
        if (word == "error") {
            throw Error(ENOMEM, fmt::format("hog: {}", rest));
        }
        std::uint64_t held = 0;
        const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), held);
        if ((word != "held" && word != "done") || error != std::errc{} ||
            end != rest.data() + rest.size()) {
            throw Error(EPROTO, fmt::format("hog said '{}'", answer));
        }
        held_mib_ = held;
        if (word == "done") {
            return {held_mib_, false};
        }
        progress(held_mib_);
    }
    const int status = child_->wait();
    child_.reset();
    held_mib_ = 0;
    if (status != 128 + SIGKILL) {
        throw Error(EPIPE, fmt::format("hog ended with status {}", status));
    }
    return {0, true};
}

HogState HogChild::grow(std::uint64_t mib, std::uint64_t step_mib, const std::string& cgroup,
                        const Progress& progress) {
    if (child_ == nullptr) {
        std::vector<std::string> argv = {program_, "--parent", std::to_string(::getpid())};
        if (!cgroup.empty()) {
            argv.insert(argv.end(), {"--cgroup", cgroup});
        }
        pending_.clear();
        held_mib_ = 0;
        child_ = std::make_unique<Child>(argv, Child::Input::kPipe, false);
    }
    return command(fmt::format("grow {} {}\n", mib, step_mib), progress);
}

HogState HogChild::touch(const Progress& progress) {
    if (child_ == nullptr) {
        return {};
    }
    return command("touch\n", progress);
}

std::uint64_t HogChild::release() {
    const std::uint64_t held = held_mib_;
    child_.reset();
    held_mib_ = 0;
    return held;
}

}  // namespace vttm::guest
