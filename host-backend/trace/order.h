// SPDX-License-Identifier: Apache-2.0
// What must come before what, whatever the clocks say: the driver makes a job's fence before the device
// begins the job, and signals it after the device has written it. Each job so tests the clocks from both
// sides, without their samples.
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "host-backend/trace/clock_map.h"
#include "host-backend/trace/device_trace.h"
#include "host-backend/trace/ftrace.h"

namespace vttm::trace {

// A job of the driver, in device time but for the first and the last. 0: not seen.
struct Job {
    unsigned engine = 0;
    std::uint64_t context = 0;  // dma_fence's
    std::uint64_t number = 0;   // of the fence
    std::uint64_t made = 0, signaled = 0;           // guest's time
    std::uint64_t doorbell = 0, begin = 0, fence = 0, irq = 0;
};

// The jobs whose fence both sides have seen, in the order in which they were made.
std::vector<Job> match_jobs(const std::vector<GuestEvent>& guest, const DeviceTrace& device);

struct Order {
    std::uint64_t jobs = 0;         // looked at
    std::uint64_t unmapped = 0;     // of which a time lies outside of the clocks' samples
    std::uint64_t violations = 0;   // effect before its cause, by more than the error
    std::int64_t worst_ns = 0;      // by how much at most, beyond the error
    // The clock of the guest cannot be farther off than this: forward, or an effect would come before
    // its cause (job made - begin), and backward (fence - signaled). Their smallest distances.
    std::int64_t slack_begin_ns = 0;
    std::int64_t slack_signal_ns = 0;
};
Order check_order(const std::vector<Job>& jobs, const ClockMap& guest_to_device);

}  // namespace vttm::trace
