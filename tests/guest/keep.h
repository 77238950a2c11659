// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

namespace vttm::keep {

// Leaves a process behind that keeps one page of content in RAM for ever, as a driver does that
// forgets to free one; the planted fault of a self-test of the host
// (host-backend/cli/stages/self_test.cc). @arguments: key (hex), buffer, page, generation. Prints
// the process's PID; returns the program's exit status.
int run_guest(std::span<char* const> arguments);

}  // namespace vttm::keep
