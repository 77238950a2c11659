// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/device_clock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <time.h>

#include <cerrno>
#include <string>

#include "guest-driver/libvttm/error.h"
#include "guest-driver/libvttm/fd.h"
#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"

namespace vttm::guest {
namespace {

constexpr std::string_view kPci = "/sys/bus/pci/devices";
constexpr std::size_t kRoom = 16384;  // for minutes, should the host not ask
constexpr int kTries = 4;             // of which the tightest is kept
constexpr std::uint64_t kGone = ~0ull;

std::uint64_t now_ns() {
    timespec t = {};
    ::clock_gettime(CLOCK_MONOTONIC, &t);
    return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(t.tv_nsec);
}

std::string find_device(const SystemFiles& files) {
    for (const std::string& name : files.list(kPci)) {
        const std::string directory = fmt::format("{}/{}", kPci, name);
        if (files.try_read_line(directory + "/vendor") == fmt::format("0x{:04x}", VTTM_PCI_VENDOR_ID) &&
            files.try_read_line(directory + "/device") == fmt::format("0x{:04x}", VTTM_PCI_DEVICE_ID)) {
            return directory;
        }
    }
    throw Error(ENODEV, "no vttm device on the PCI bus");
}

}  // namespace

DeviceClock::DeviceClock(const SystemFiles& files, std::chrono::milliseconds period) {
    const std::string name = files.path(find_device(files) + "/resource0").string();
    const Fd fd(::open(name.c_str(), O_RDWR | O_CLOEXEC));
    if (!fd.valid()) {
        throw_errno("open " + name);
    }
    void* regs = ::mmap(nullptr, VTTM_PAGE_SIZE, PROT_READ, MAP_SHARED, fd.get(), 0);
    if (regs == MAP_FAILED) {
        throw_errno("map " + name);
    }
    static_assert(VTTM_REG_TIMESTAMP_LO % 8 == 0 && VTTM_REG_TIMESTAMP_LO < VTTM_PAGE_SIZE);
    timestamp_ = static_cast<const volatile std::uint64_t*>(regs) + VTTM_REG_TIMESTAMP_LO / 8;
    samples_.reserve(kRoom);
    sample();  // before there is an event
    thread_ = std::thread([this, period] { run(period); });
}

DeviceClock::~DeviceClock() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
    thread_.join();
    const auto regs = reinterpret_cast<std::uintptr_t>(timestamp_) & ~std::uintptr_t{VTTM_PAGE_SIZE - 1};
    ::munmap(reinterpret_cast<void*>(regs), VTTM_PAGE_SIZE);
}

// One access of eight bytes, so the two halves of the register belong together.
void DeviceClock::sample() {
    ClockSample best;
    for (int i = 0; i < kTries; ++i) {
        ClockSample s;
        s.before = now_ns();
        s.device = *timestamp_;
        s.after = now_ns();
        if (s.device == kGone) {
            continue;  // asleep, or no longer there
        }
        if (best.after == 0 || s.after - s.before < best.after - best.before) {
            best = s;
        }
    }
    if (best.after == 0) {
        return;
    }
    if (samples_.size() == kRoom) {
        ++lost_;
    } else {
        samples_.push_back(best);
    }
}

void DeviceClock::run(std::chrono::milliseconds period) {
    std::unique_lock lock(mutex_);
    while (!stop_) {
        sample();
        wake_.wait_for(lock, period, [this] { return stop_; });
    }
}

std::vector<ClockSample> DeviceClock::take() {
    std::vector<ClockSample> room;
    room.reserve(kRoom);
    const std::lock_guard lock(mutex_);
    sample();
    samples_.swap(room);
    return room;
}

std::uint64_t DeviceClock::lost() const {
    const std::lock_guard lock(mutex_);
    return lost_;
}

}  // namespace vttm::guest
