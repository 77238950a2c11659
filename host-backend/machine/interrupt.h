// SPDX-License-Identifier: Apache-2.0
// SIGINT, SIGTERM and SIGHUP as a flag that every wait of this room checks.
#pragma once

namespace vttm::machine {

// While an object lives, the signals set the flag instead of ending the process. Make one in main,
// before any thread. Not nestable.
class InterruptGuard {
public:
    InterruptGuard();
    ~InterruptGuard();
    InterruptGuard(const InterruptGuard&) = delete;
    InterruptGuard& operator=(const InterruptGuard&) = delete;
};

// The number of the first signal seen, 0 if none.
int interrupted() noexcept;

// Throws Interrupted if a signal came. For the caller's own long loops (scans of RAM).
void throw_if_interrupted();

// For tests: forgets the signal.
void clear_interrupt() noexcept;

}  // namespace vttm::machine
