// SPDX-License-Identifier: Apache-2.0
// Live progress on stderr: one line rewritten on a terminal, one line per phase elsewhere.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>

namespace vttm::cli {

class Progress {
public:
    using Clock = std::chrono::steady_clock;

    // quiet: only notes. start: zero of the time shown (the start of the command).
    explicit Progress(bool quiet = false, Clock::time_point start = Clock::now());
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // Called whenever a phase begins, before anything is shown. Empty: nobody.
    void on_phase(std::function<void(const std::string&)> hook) { on_phase_ = std::move(hook); }

    // A new phase begins ("insert 2/4: fill").
    void phase(const std::string& text);
    // How far the phase is; total 0: unknown.
    void update(std::uint64_t done, std::uint64_t total, const char* unit, const std::string& more = "");
    // A line that stays.
    void note(const std::string& text);

    double seconds() const;

private:
    void clear_line();

    const bool quiet_;
    const bool terminal_;
    const Clock::time_point start_;
    Clock::time_point last_{};
    std::string phase_;
    std::function<void(const std::string&)> on_phase_;
    bool line_open_ = false;
};

}  // namespace vttm::cli
