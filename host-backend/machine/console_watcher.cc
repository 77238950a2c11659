// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/console_watcher.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

namespace vttm::machine {
namespace {

bool ends_splat(std::string_view message) { return message.starts_with("---[ end "); }

// "f+0x1/0x2" as a frame, after "RIP: 0010:", or after "at "; not "? f+0x1/0x2", which an earlier call left on the stack.
bool names_function(const std::string& message, const std::string& function) {
    const std::size_t at = message.find(function + "+0x");
    if (at == std::string::npos) return false;
    if (at == 0) return true;
    if (message[at - 1] == ':') return message.starts_with("RIP: ");
    return message[at - 1] == ' ' && (at < 2 || message[at - 2] != '?');
}

std::string clean(std::string_view raw) {
    while (raw.ends_with('\r')) raw.remove_suffix(1);
    std::string out;
    for (std::size_t i = 0; i < raw.size(); ++i) {
        const auto c = static_cast<unsigned char>(raw[i]);
        if (raw.substr(i).starts_with("\x1b[")) {  // a terminal sequence up to its letter
            i = std::min(raw.find_first_not_of("0123456789;?", i + 2), raw.size() - 1);
        } else if (c == '\t' || c >= 0x20) {
            out += raw[i];
        }
    }
    return out;
}

}  // namespace

ConsoleWatcher::ConsoleWatcher(std::filesystem::path log, const std::vector<ExpectedSplat>& expected)
    : path_(std::move(log)) {
    for (const ExpectedSplat& e : expected) expected_.push_back({std::regex(e.line), e.within});
}

bool ConsoleWatcher::poll() {
    std::size_t taken = 0;
    std::array<char, 65536> chunk;
    while (taken < kMaxPerPoll) {
        if (!fd_) {
            fd_.reset(::open(path_.c_str(), O_RDONLY | O_CLOEXEC));
            if (!fd_ && errno == ENOENT) break;
            if (!fd_) throw std::system_error(errno, std::generic_category(), path_.string());
        }
        const ssize_t n = ::read(fd_.get(), chunk.data(), chunk.size());
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) throw std::system_error(errno, std::generic_category(), path_.string());
        if (n == 0) {
            if (!replaced()) break;
            fd_.reset();  // all of the old file is read: on with the new one
            continue;
        }
        feed({chunk.data(), static_cast<std::size_t>(n)});
        taken += static_cast<std::size_t>(n);
    }
    return taken > 0;
}

// virtlogd, which writes the console for a daemon, begins a new file every 2 MiB.
bool ConsoleWatcher::replaced() const {
    struct stat ours {
    }, now{};
    return ::fstat(fd_.get(), &ours) == 0 && ::stat(path_.c_str(), &now) == 0 &&
           (ours.st_ino != now.st_ino || ours.st_dev != now.st_dev);
}

void ConsoleWatcher::feed(std::string_view text) {
    seen_ += text.size();
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        if (end == std::string_view::npos) {
            partial_.append(text.substr(0, kMaxLine - std::min(kMaxLine, partial_.size())));
            return;
        }
        partial_.append(text.substr(0, end));
        take_line(partial_);
        partial_.clear();
        text.remove_prefix(end + 1);
    }
}

void ConsoleWatcher::finish() {
    if (!partial_.empty()) take_line(partial_);
    partial_.clear();
    condemn_candidate();  // its trace never came
}

void ConsoleWatcher::end_report() {
    if (!splats_.empty()) splats_.back().complete = true;
}

void ConsoleWatcher::take_line(std::string_view raw) {
    const std::string line = clean(raw.substr(0, kMaxLine));
    tail_.push_back(line);
    if (tail_.size() > kTailLines) tail_.pop_front();

    const auto kind = classify_line(line);
    const std::string message(strip_prefix(line));
    if (candidate_ && feed_candidate(line, message, kind && is_splat(*kind))) return;
    if (!splats_.empty() && !splats_.back().complete) {
        Splat& open = splats_.back();
        open.lines.push_back(line);
        // A panic's end mark, not the oops' before it, ends the excerpt of an oops that panics:
        // the reader wants both; so a trace's end mark ends only what is not about to panic.
        if (ends_splat(message) || open.lines.size() >= kExcerptLines) open.complete = true;
        // What follows within the same report (its own BUG, Oops and panic lines) is part of it,
        // except that a panic makes the whole one a panic.
        if (kind == SplatKind::kPanic) open.kind = SplatKind::kPanic;
        if (kind && is_splat(*kind)) return;
    }
    if (!kind) return;
    if (*kind == SplatKind::kOomKill) {
        if (oom_kills_.size() < kMaxRecords) oom_kills_.push_back(message);
        return;
    }
    if (*kind == SplatKind::kNote) {
        if (notes_.size() < kMaxRecords) notes_.push_back(message);
        return;
    }
    begin_splat(*kind, message);
}

void ConsoleWatcher::begin_splat(SplatKind kind, const std::string& message) {
    if (splats_.size() >= kMaxSplats) return;
    Splat splat{kind, message, {}, kind == SplatKind::kAgentExited};
    const std::size_t from = tail_.size() - std::min(tail_.size(), kContextLines + 1);
    splat.lines.assign(tail_.begin() + static_cast<std::ptrdiff_t>(from), tail_.end());
    std::vector<const Expected*> by;
    for (const Expected& e : expected_)
        if (std::regex_search(message, e.line)) by.push_back(&e);
    if (by.empty())
        splats_.push_back(std::move(splat));
    else
        candidate_ = {std::move(splat), std::move(by)};
    if (candidate_) acquit_candidate(message);
}

bool ConsoleWatcher::acquit_candidate(const std::string& message) {
    const auto names = [&](const Expected* e) { return names_function(message, e->within); };
    if (std::none_of(candidate_->by.begin(), candidate_->by.end(), names)) return false;
    if (expected_seen_.size() < kMaxRecords) expected_seen_.push_back(candidate_->splat.line);
    candidate_.reset();
    return true;
}

bool ConsoleWatcher::feed_candidate(const std::string& line, const std::string& message,
                                    bool is_new_splat) {
    Splat& splat = candidate_->splat;
    if (!is_new_splat) {
        splat.lines.push_back(line);
        if (acquit_candidate(message)) return true;
        if (!ends_splat(message) && splat.lines.size() < kExcerptLines) return true;
        splat.complete = true;
    }
    condemn_candidate();
    return !is_new_splat;
}

void ConsoleWatcher::condemn_candidate() {
    if (candidate_ && splats_.size() < kMaxSplats) splats_.push_back(std::move(candidate_->splat));
    candidate_.reset();
}

std::string ConsoleWatcher::tail(std::size_t lines) const {
    std::string out;
    const std::size_t from = tail_.size() - std::min(tail_.size(), lines);
    for (std::size_t i = from; i < tail_.size(); ++i) out += tail_[i] + "\n";
    if (!partial_.empty()) out += clean(partial_) + "\n";
    return out;
}

}  // namespace vttm::machine
