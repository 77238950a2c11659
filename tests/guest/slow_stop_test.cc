// SPDX-License-Identifier: Apache-2.0
// The driver leaves a device that is slow, and in the middle of something. Halves of tests: the host has engines
// slow (host-backend/cli/stages/power_cases.cc).
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <thread>

#include "tests/guest/plug_test.h"

namespace vttm::guest::test {
namespace {

void say(const char* words) {
    std::puts(words);
    std::fflush(stdout);
}

class HostSlowStopTest : public PlugTest {
protected:
    static void wait_for_the_host() {
        while (!std::filesystem::exists("/tmp/host-is-done"))
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
};

// Buffers are on their way out of VRAM when the driver is unbound and their owner lets go of them. Memory that they
// were to come to is not free before the device has left it: the host asks the IOMMU.
TEST_F(HostSlowStopTest, UnboundWhileBuffersMove) {
    std::optional<Gpu> gpu(std::in_place);
    std::vector<Gpu::Bound> buffers;
    for (int i = 0; i < 3; ++i) {
        buffers.push_back(gpu->create(16 * kMib, VTTM_DOMAIN_VRAM));
        gpu->stamp(buffers.back(), i + 1);
    }
    std::optional<Gpu::Bound> in_ram(gpu->create(2 * kMib));
    gpu->stamp(*in_ram, 99);
    std::optional<Gpu::Bound> result(gpu->create(kPage));
    std::optional<Gpu::Bound> large(gpu->create(24 * kMib, VTTM_DOMAIN_VRAM));
    say("at work");
    wait_for_the_host();

    // This one needs room in VRAM: another moves, for longer than a job may take without a look at it.
    const std::int64_t before = driver_stats(files).at("moves_vram_gtt");
    PacketBuilder nop;
    nop.nop();
    const std::uint32_t handle = large->buffer.handle();
    submit(gpu->device, {VTTM_ENGINE_COPY, nop.dwords(), std::span(&handle, 1), 0, 0});
    EXPECT_GT(driver_stats(files).at("moves_vram_gtt"), before);
    // That look comes while the other engine is still waited for: it has to begin later.
    std::this_thread::sleep_for(std::chrono::seconds(3));
    PacketBuilder verify;
    for (int i = 0; i < 40; ++i)
        verify.stamp_verify(in_ram->va(), {99, 1, 0, 512, kKey}, result->va());
    const std::uint32_t handles[] = {in_ram->buffer.handle(), result->buffer.handle()};
    submit(gpu->device, {VTTM_ENGINE_STAMP, verify.dwords(), handles, 0, 0});

    std::thread leaving([this] { unbind(); });
    std::this_thread::sleep_for(std::chrono::seconds(1));
    // As if the process had ended.
    large.reset();
    in_ram.reset();
    result.reset();
    buffers.clear();
    gpu.reset();
    leaving.join();
    bind();
}

// Half of a test that has no end.
TEST_F(HostSlowStopTest, WorksUntilTheMachineIsOff) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(2 * kMib, VTTM_DOMAIN_VRAM);
    gpu.fill(buffer, 1);
    say("at work");
    wait_for_the_host();
    PacketBuilder fill;
    fill.fill(buffer.va(), buffer.size(), 2);
    const std::uint32_t handle = buffer.buffer.handle();
    // Each takes 2 s: none is one that a time-out looks at, and together they take longer than who waits for them waits.
    for (int i = 0; i < 20; ++i)
        submit(gpu.device, {VTTM_ENGINE_COPY, fill.dwords(), std::span(&handle, 1), 0, 0});
    say("slow jobs are under way");
    for (;;) pause();
}

}  // namespace
}  // namespace vttm::guest::test
