// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "host-backend/machine/machine.h"

namespace vttm::cli {

struct GuestRun {
    int status = 0;          // exit code, or 128 + signal
    bool timed_out = false;  // and so was killed; the output is what there was
    std::string output;
};

// Runs a program in the guest, for at most @timeout; returns its output and status.
GuestRun guest_exec(machine::Machine& machine, std::vector<std::string> argv,
                    std::chrono::milliseconds timeout);

}  // namespace vttm::cli
