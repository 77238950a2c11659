// SPDX-License-Identifier: Apache-2.0
// The device goes while it is in use: unbound from its driver, or taken from the bus. Who has it open gets
// ENODEV, and keeps no memory once he lets go; the next driver finds it as new.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "tests/guest/plug_test.h"

namespace vttm::guest::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDriver = "/sys/bus/pci/drivers/vttm";

// Its node may come a moment later.
void wait_for_device() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    for (;;) {
        try {
            Device::open();
            return;
        } catch (const Error&) {
            if (std::chrono::steady_clock::now() > end) throw;
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
        }
    }
}

}  // namespace

void PlugTest::SetUp() {
    GuestTest::SetUp();
    const fs::path node = Device::find_node();
    name_ = fs::canonical("/sys/class/drm" / node.filename() / "device").filename().string();
}
void PlugTest::unbind() const { files.write(std::string(kDriver) + "/unbind", name_); }
void PlugTest::bind() {
    files.write(std::string(kDriver) + "/bind", name_);
    expect_new_device();
}
void PlugTest::remove() const { files.write("/sys/bus/pci/devices/" + name_ + "/remove", "1\n"); }
void PlugTest::rescan() {
    files.write("/sys/bus/pci/rescan", "1\n");
    expect_new_device();
}
void PlugTest::expect_new_device() {
    wait_for_device();
    EXPECT_EQ(Device::open().param(VTTM_PARAM_STALE_COUNT), 0u);
    forgive_stale();
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(kMib, VTTM_DOMAIN_VRAM);
    gpu.stamp(buffer, 1);
    gpu.expect_stamped(buffer, 1);
}

namespace {

// Has buffers in all places, mapped and stamped, while @go_away happens.
template <typename GoAway>
void expect_survival(GoAway go_away) {
    Gpu gpu;
    const Gpu::Bound vram = gpu.create(4 * kMib, VTTM_DOMAIN_VRAM);
    const Gpu::Bound gtt = gpu.create(4 * kMib, VTTM_DOMAIN_GTT, VTTM_CACHING_WC);
    const Gpu::Bound idle = gpu.create(4 * kMib, VTTM_DOMAIN_GTT);
    gpu.stamp(vram, 1);
    gpu.stamp(gtt, 2);
    const Mapping in_vram = vram.buffer.map();
    const Mapping in_gtt = gtt.buffer.map();
    ASSERT_NE(count_unequal(in_vram, 0), 0u);
    ASSERT_NE(count_unequal(in_gtt, 0), 0u);

    go_away();

    EXPECT_EQ(gpu.submit_errno(VTTM_ENGINE_COPY, PacketBuilder().fill(vram.va(), kPage, 1), {&vram}),
              ENODEV);
    // A mapping is memory still, of whatever content: no signal ends who has it.
    in_vram.words()[0] = 1;
    in_gtt.words()[0] = 1;
    EXPECT_EQ(in_vram.words()[0], 1u);
    EXPECT_EQ(in_gtt.words()[0], 1u);
    EXPECT_THROW(gpu.create(kPage), Error);
}

TEST_F(PlugTest, UnboundWithLiveBuffers) {
    expect_survival([this] { unbind(); });
    bind();
}

TEST_F(PlugTest, BoundAgainWhileTheOldOneIsStillOpen) {
    expect_survival([this] {
        unbind();
        bind();
    });
}

TEST_F(PlugTest, RemovedWithLiveBuffers) {
    expect_survival([this] { remove(); });
    rescan();
}

// Jobs on a buffer of @domain until the device is gone, or there is another error.
void work_until_gone(std::uint32_t domain, std::atomic<int>* jobs, std::atomic<int>* gone,
                     std::atomic<int>* other) {
    try {
        Gpu gpu;
        const Gpu::Bound buffer = gpu.create(4 * kMib, domain);
        for (;;) {
            const JobResult done = gpu.run(
                VTTM_ENGINE_COPY, PacketBuilder().fill(buffer.va(), buffer.size(), 1), {&buffer});
            if (done.error != 0) throw Error(done.error, "job");
            ++*jobs;
        }
    } catch (const Error& error) {
        ++*(error.error() == ENODEV ? gone : other);
        if (error.error() != ENODEV) ADD_FAILURE() << error.what();
    }
}

TEST_F(PlugTest, UnboundUnderLoad) {
    for (int round = 0; round < 3; ++round) {
        std::atomic<int> jobs = 0;
        std::atomic<int> gone = 0;
        std::atomic<int> other = 0;
        const auto work = [&](std::uint32_t domain) { work_until_gone(domain, &jobs, &gone, &other); };
        std::thread first(work, VTTM_DOMAIN_VRAM);
        std::thread second(work, VTTM_DOMAIN_GTT);
        const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
        while (jobs < 20 && gone + other == 0 && std::chrono::steady_clock::now() < end)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        unbind();
        first.join();
        second.join();
        EXPECT_GE(jobs, 20);
        EXPECT_EQ(gone, 2);
        bind();
    }
}

// One half of a test: the host unplugs the device when it reads "at work", and there is no driver at the end of
// which something could be counted (host-backend/cli/stages/hot_unplug.cc).
TEST(HostUnplugTest, WorksUntilTheDeviceIsGone) {
    std::atomic<int> jobs = 0;
    std::atomic<int> gone = 0;
    std::atomic<int> other = 0;
    std::thread first(work_until_gone, VTTM_DOMAIN_VRAM, &jobs, &gone, &other);
    std::thread second(work_until_gone, VTTM_DOMAIN_GTT, &jobs, &gone, &other);
    while (jobs < 20 && gone + other == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    std::puts("at work");
    std::fflush(stdout);
    first.join();
    second.join();
    EXPECT_GE(jobs, 20);
    EXPECT_EQ(gone, 2);
}

}  // namespace
}  // namespace vttm::guest::test
