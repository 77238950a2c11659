// SPDX-License-Identifier: Apache-2.0
// A child process with its output on a pipe.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "guest-driver/libvttm/fd.h"

namespace vttm::guest {

// Killed with its process group, and reaped, when this goes.
class Child {
public:
    enum class Input { kNone, kPipe };

    // Starts argv[0] (looked for in PATH). Standard error goes where the output goes if
    // `merge_errors`, else stays. Throws Error.
    Child(const std::vector<std::string>& argv, Input input, bool merge_errors);
    Child(const Child&) = delete;
    Child& operator=(const Child&) = delete;
    ~Child();

    pid_t pid() const { return pid_; }
    int output() const { return output_.get(); }
    int input() const { return input_.get(); }

    void kill();
    // Waits for the end: exit code, or 128 + signal.
    int wait();
    // The same without waiting; false if it still runs.
    bool ended(int* status);

private:
    pid_t pid_ = -1;
    bool reaped_ = false;
    int status_ = 0;
    Fd input_;
    Fd output_;
};

}  // namespace vttm::guest
