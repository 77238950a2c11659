// SPDX-License-Identifier: Apache-2.0
// Cleans up after this process even if it is SIGKILLed.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

#include "host-backend/machine/unique_fd.h"

namespace vttm::machine {

// A small child process that holds one end of a channel. When the other end closes, which the
// kernel does however we end, it kills the registered processes and removes the registered
// directories and files, with what is mounted there. It lives in a session of its own, so Ctrl-C does not reach it.
class Reaper {
public:
    // Forks; call it before the process has threads. Throws std::system_error.
    Reaper();
    // Ends the child after it has done its work; waits for it.
    ~Reaper();
    Reaper(const Reaper&) = delete;
    Reaper& operator=(const Reaper&) = delete;

    // Only what this process made itself may be registered. Paths must be absolute.
    void remove_at_end(const std::filesystem::path& path);
    void kill_at_end(const std::filesystem::path& executable, const std::string& marker);
    // Ends all that was started with this "NAME=VALUE" in its environment, as end_by_environment() does.
    void end_marked_at_end(const std::string& entry);
    void forget_marked(const std::string& entry);
    // The path is gone already, or shall be kept.
    void forget(const std::filesystem::path& path);

    pid_t pid() const { return pid_; }

private:
    void tell(char verb, const std::string& text);

    UniqueFd channel_;
    pid_t pid_ = -1;
};

}  // namespace vttm::machine
