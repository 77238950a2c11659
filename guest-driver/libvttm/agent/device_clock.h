// SPDX-License-Identifier: Apache-2.0
// Pairs of the guest's and the device's time, taken all along by a thread of its own, straight from the
// device's register. The host learns from them where on the device's clock an event of the guest lies.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include "guest-driver/libvttm/agent/system_files.h"

namespace vttm::guest {

// The device's time was read at some moment between the two of CLOCK_MONOTONIC. All in ns.
struct ClockSample {
    std::uint64_t before = 0;
    std::uint64_t device = 0;
    std::uint64_t after = 0;
};

class DeviceClock {
public:
    // Throws Error if there is no vttm device, or its registers cannot be mapped.
    DeviceClock(const SystemFiles& files, std::chrono::milliseconds period);
    ~DeviceClock();
    DeviceClock(const DeviceClock&) = delete;
    DeviceClock& operator=(const DeviceClock&) = delete;

    // What has come since the last call, after one more that is taken now.
    std::vector<ClockSample> take();
    // Samples for which there was no room, so far.
    std::uint64_t lost() const;

private:
    void run(std::chrono::milliseconds period);
    void sample();  // mutex_ held

    const volatile std::uint64_t* timestamp_ = nullptr;
    mutable std::mutex mutex_;
    std::condition_variable wake_;
    bool stop_ = false;
    std::vector<ClockSample> samples_;
    std::uint64_t lost_ = 0;
    std::thread thread_;
};

}  // namespace vttm::guest
