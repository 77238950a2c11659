// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/channel.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/uio.h>
#include <time.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <utility>

#include "guest-driver/libvttm/error.h"

namespace vttm::guest {
namespace {

constexpr std::size_t kReadSize = 64 * 1024;
constexpr std::size_t kKeepCapacity = 1u << 20;
constexpr int kPollMs = 50;

void sleep_ms(int ms) {
    const timespec time = {ms / 1000, (ms % 1000) * 1'000'000L};
    ::nanosleep(&time, nullptr);
}

}  // namespace

Channel::Channel(Fd fd, EndOfFile end_of_file, std::size_t max_line)
    : fd_(std::move(fd)), end_of_file_(end_of_file), max_line_(max_line) {}

void Channel::await_host() {
    // Half a line of a host that went away must not become the start of the next one's first.
    pending_.clear();
    scanned_ = 0;
    sleep_ms(kPollMs);
}

bool Channel::fill() {
    std::array<char, kReadSize> chunk;
    for (;;) {
        const ssize_t got = ::read(fd_.get(), chunk.data(), chunk.size());
        if (got > 0) {
            pending_.append(chunk.data(), static_cast<std::size_t>(got));
            return true;
        }
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0 || end_of_file_ == EndOfFile::kEnds) {
            return false;
        }
        await_host();
    }
}

Channel::Read Channel::read_line(std::string* line) {
    bool too_long = false;
    for (;;) {
        const std::size_t end = pending_.find('\n', scanned_);
        if (end != std::string::npos) {
            too_long = too_long || end > max_line_;
            if (!too_long) {
                line->assign(pending_, 0, end);
            }
            pending_.erase(0, end + 1);
            scanned_ = 0;
            if (pending_.empty() && pending_.capacity() > kKeepCapacity) {
                pending_.shrink_to_fit();
            }
            return too_long ? Read::kTooLong : Read::kLine;
        }
        scanned_ = pending_.size();
        if (scanned_ > max_line_) {
            too_long = true;
            pending_.clear();
            scanned_ = 0;
        }
        if (!fill()) {
            return Read::kClosed;
        }
    }
}

bool Channel::write_line(std::string_view line) {
    const std::lock_guard lock(writer_);
    char newline = '\n';
    std::array<iovec, 2> parts = {iovec{const_cast<char*>(line.data()), line.size()},
                                  iovec{&newline, 1}};
    std::size_t first = 0;
    while (first < parts.size()) {
        const ssize_t written =
            ::writev(fd_.get(), &parts[first], static_cast<int>(parts.size() - first));
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            if (errno == EAGAIN) {
                sleep_ms(1);
                continue;
            }
            return false;
        }
        auto left = static_cast<std::size_t>(written);
        while (first < parts.size() && left >= parts[first].iov_len) {
            left -= parts[first].iov_len;
            ++first;
        }
        if (first < parts.size()) {
            parts[first].iov_base = static_cast<char*>(parts[first].iov_base) + left;
            parts[first].iov_len -= left;
        }
    }
    return true;
}

Fd open_virtio_port(std::string_view name, int wait_ms) {
    const std::filesystem::path ports = "/sys/class/virtio-ports";
    for (int waited = 0;; waited += kPollMs) {
        std::error_code none;
        for (const auto& port : std::filesystem::directory_iterator(ports, none)) {
            std::ifstream file(port.path() / "name");
            std::string found;
            std::getline(file, found);
            if (found != name) {
                continue;
            }
            const std::string node = "/dev/" + port.path().filename().string();
            Fd fd(::open(node.c_str(), O_RDWR | O_CLOEXEC));
            if (!fd.valid()) {
                throw_errno("open " + node);
            }
            return fd;
        }
        if (waited >= wait_ms) {
            throw Error(ENODEV,
                        fmt::format("no virtio-serial port named {} in {}", name, ports.string()));
        }
        sleep_ms(kPollMs);
    }
}

}  // namespace vttm::guest
