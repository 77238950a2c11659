// SPDX-License-Identifier: Apache-2.0
// Runs a program to its end, line by line, under a time limit.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace vttm::cli {

struct SubprocessResult {
    int status = 0;  // exit code, or 128 + signal
    bool timed_out = false;
};

struct SubprocessRequest {
    std::vector<std::string> argv;               // argv[0] is looked up in PATH
    std::vector<std::string> env;                // "NAME=value", added to ours
    std::chrono::milliseconds timeout{600'000};  // then the child and all that it started are ended
    // Called for each line of stdout and stderr together (without the newline). May be empty.
    std::function<void(std::string_view)> on_line;
    // Polled ten times a second; true ends the child like a timeout does. May be empty.
    std::function<bool()> cancelled;
    // Gives the child a TMPDIR of its own, deleted with all that is in it and mounted there, however
    // the child ends.
    bool own_tmpdir = false;
};

// When it returns, nothing runs any more that the child started, in whatever group or session: what
// outlives it gets SIGTERM and ten seconds (a reaper of ours ignores that, and needs them), then SIGKILL. The same holds
// if this process is SIGKILLed meanwhile. The first call forks the reaper: make it before there are threads.
// Throws std::system_error when the program cannot be started.
SubprocessResult run_subprocess(const SubprocessRequest& request);

}  // namespace vttm::cli
