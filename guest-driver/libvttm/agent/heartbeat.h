// SPDX-License-Identifier: Apache-2.0
// A thread that tells the host each second that the guest's user space still runs.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "guest-driver/libvttm/agent/channel.h"

namespace vttm::guest {

// Shares nothing with the work but the channel's writer lock, which is held for single lines only,
// and allocates no memory: a guest in deep reclaim still gets its heartbeats out.
class Heartbeat {
public:
    Heartbeat(Channel& channel, std::chrono::milliseconds period);
    Heartbeat(const Heartbeat&) = delete;
    Heartbeat& operator=(const Heartbeat&) = delete;
    ~Heartbeat();

private:
    void run();
    bool beat();

    Channel& channel_;
    std::chrono::milliseconds period_;
    Fd statm_;  // kept open: opening a file allocates in the kernel
    std::mutex mutex_;
    std::condition_variable wake_;
    bool stop_ = false;
    std::thread thread_;
};

}  // namespace vttm::guest
