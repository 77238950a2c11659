// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/heartbeat.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cstdio>

namespace vttm::guest {
namespace {

// Resident KiB of this process, or 0 if it cannot be read. No allocation.
long resident_kib(int statm) {
    std::array<char, 128> text = {};
    if (::pread(statm, text.data(), text.size() - 1, 0) <= 0) {
        return 0;
    }
    long total = 0;
    long resident = 0;
    if (std::sscanf(text.data(), "%ld %ld", &total, &resident) != 2) {
        return 0;
    }
    return resident * (::sysconf(_SC_PAGESIZE) / 1024);
}

}  // namespace

Heartbeat::Heartbeat(Channel& channel, std::chrono::milliseconds period)
    : channel_(channel),
      period_(period),
      statm_(::open("/proc/self/statm", O_RDONLY | O_CLOEXEC)),
      thread_([this] { run(); }) {}

Heartbeat::~Heartbeat() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
}

bool Heartbeat::beat() {
    timespec up = {};
    ::clock_gettime(CLOCK_BOOTTIME, &up);
    const long long uptime_ms = up.tv_sec * 1000LL + up.tv_nsec / 1'000'000;
    std::array<char, 128> line;
    const int length = std::snprintf(line.data(), line.size(),
                                     R"({"event":"heartbeat","uptime_ms":%lld,"rss_kib":%ld})",
                                     uptime_ms, resident_kib(statm_.get()));
    return channel_.write_line({line.data(), static_cast<std::size_t>(length)});
}

void Heartbeat::run() {
    std::unique_lock lock(mutex_);
    while (!stop_) {
        lock.unlock();
        beat();  // a host that has gone may come back: keep trying
        lock.lock();
        wake_.wait_for(lock, period_, [this] { return stop_; });
    }
}

}  // namespace vttm::guest
