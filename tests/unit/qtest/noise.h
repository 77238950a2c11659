// SPDX-License-Identifier: Apache-2.0
// How long this machine makes a thread wait that has nothing to wait for: other work on its CPUs. A limit for an
// answer means something only beside that.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

namespace vttm::qtest {

class Noise {
public:
    using Clock = std::chrono::steady_clock;

    Noise() : thread_([this](const std::stop_token& stop) { Nap(stop); }) {}

    /// The longest delay since the last call, or still under way.
    Clock::duration Take() {
        const Clock::time_point due = due_;
        const Clock::duration worst{worst_.exchange(0)};
        return std::max(worst, Clock::now() - due);
    }

private:
    void Nap(const std::stop_token& stop) {
        while (!stop.stop_requested()) {
            const Clock::time_point due = Clock::now() + std::chrono::milliseconds(1);
            due_ = due;
            std::this_thread::sleep_until(due);
            const Clock::rep late = (Clock::now() - due).count();
            if (late > worst_) worst_ = late;
        }
    }

    std::atomic<Clock::time_point> due_{Clock::now() + std::chrono::milliseconds(1)};
    std::atomic<Clock::rep> worst_{0};
    std::jthread thread_;
};

/// What QEMU may take for an answer on a machine that does nothing else, whatever its guest does: behind an IOMMU a reset
/// waits for 60 ms at worst (stall_test.cc), without one for a few.
inline constexpr std::chrono::milliseconds kQuietAnswer{250};

/// What an answer may take that passes through @hops threads, all of which this machine may make wait.
inline Noise::Clock::duration AnswerLimit(Noise::Clock::duration quiet, Noise& noise, int hops = 10) {
    return quiet + hops * noise.Take();
}

}  // namespace vttm::qtest
