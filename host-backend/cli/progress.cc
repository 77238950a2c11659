// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include "host-backend/cli/output.h"

namespace vttm::cli {

using namespace std::chrono_literals;

Progress::Progress(bool quiet, Clock::time_point start)
    : quiet_(quiet), terminal_(::isatty(STDERR_FILENO) == 1), start_(start) {}

Progress::~Progress() { clear_line(); }

double Progress::seconds() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
}

void Progress::clear_line() {
    if (line_open_) print_err("\r\033[K");
    line_open_ = false;
}

void Progress::phase(const std::string& text) {
    if (on_phase_) on_phase_(text);
    phase_ = text;
    last_ = {};
    if (quiet_) return;
    if (terminal_) {
        update(0, 0, "");
    } else {
        print_err(fmt::format("[{:7.1f} s] {}\n", seconds(), phase_));
        last_ = Clock::now();
    }
}

void Progress::update(std::uint64_t done, std::uint64_t total, const char* unit,
                      const std::string& more) {
    // A log wants a line now and then, a terminal a smooth one.
    const auto now = Clock::now();
    if (quiet_ || now - last_ < (terminal_ ? 100ms : 10'000ms)) return;
    last_ = now;
    std::string text = fmt::format("[{:7.1f} s] {}", seconds(), phase_);
    if (total) text += fmt::format(" {}/{} {}", done, total, unit);
    if (!more.empty()) text += "  " + more;
    if (terminal_) {
        print_err("\r\033[K" + text);
        line_open_ = true;
    } else {
        print_err(text + "\n");
    }
}

void Progress::note(const std::string& text) {
    clear_line();
    print_err(fmt::format("[{:7.1f} s] {}\n", seconds(), text));
}

}  // namespace vttm::cli
