// SPDX-License-Identifier: Apache-2.0
// Function level reset and system sleep, under a driver with live buffers and jobs.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "tests/guest/backup_test.h"

namespace vttm::guest::test {
namespace {

namespace fs = std::filesystem;

class PowerTest : public GuestTest {
protected:
    // The device's folder below /sys/devices.
    std::string pci() const {
        const fs::path node = Device::find_node();
        return fs::canonical("/sys/class/drm" / node.filename() / "device").string();
    }
    void reset_function() const { files.write(pci() + "/reset", "1\n"); }

    // Puts the machine to sleep as far as all devices are, for a second. 0 or the errno.
    int sleep() const {
        files.write("/sys/module/suspend/parameters/pm_test_delay", "1\n");
        files.write("/sys/power/pm_test", "platform\n");
        const int error = files.try_write("/sys/power/state", "freeze\n");
        files.write("/sys/power/pm_test", "none\n");
        return error;
    }
    std::int64_t stat(const char* name) const { return driver_stats(files).at(name); }

    // Buffers of all kinds; some of those in GTT are backed up.
    void create(Stamped& buffers) const {
        buffers.create(16 * kMib, 2 * kMib, Domain::kVram, Caching::kWb);
        buffers.create(4 * kMib, 256 * 1024 + kPage, Domain::kVram, Caching::kWc);
        buffers.create(16 * kMib, 2 * kMib, Domain::kGtt, Caching::kWb);
        buffers.create(4 * kMib, 64 * 1024, Domain::kGtt, Caching::kWc);
        buffers.fill(1);
        const std::int64_t before = pages_given_back(files);
        ASSERT_TRUE(shrink(files, 2048));
        ASSERT_GT(pages_given_back(files), before);
    }
};

TEST_F(PowerTest, AFunctionResetKeepsAllContent) {
    EXPECT_EQ(files.read(pci() + "/reset_method").find("flr"), 0u)
        << files.read(pci() + "/reset_method");
    Stamped buffers;
    create(buffers);
    const Stats before = driver_stats(files);
    reset_function();
    const Stats after = driver_stats(files);
    EXPECT_EQ(after.at("function_resets"), before.at("function_resets") + 1);
    EXPECT_EQ(after.at("vram_losses"), before.at("vram_losses"));
    buffers.expect_intact(1, Actor::kCpu);
    buffers.expect_intact(1, Actor::kDevice);
    buffers.fill(2);
    reset_function();
    buffers.expect_intact(2, Actor::kDevice);
    EXPECT_EQ(stat("job_errors"), before.at("job_errors"));
    EXPECT_EQ(stat("resets"), before.at("resets"));
}

// A reset through D3hot and back, which loses VRAM: the driver cannot know which way it will be reset.
TEST_F(PowerTest, AResetThatLosesVramKeepsAllContent) {
    Stamped buffers;
    create(buffers);
    const std::int64_t losses = stat("vram_losses");
    files.write(pci() + "/reset_method", "pm\n");
    reset_function();
    files.write(pci() + "/reset_method", "default\n");
    EXPECT_EQ(stat("vram_losses"), losses + 1) << "the device was not in D3hot";
    buffers.expect_intact(1, Actor::kCpu);
    buffers.expect_intact(1, Actor::kDevice);
}

// One that works all the time while the device is reset, again and again.
TEST_F(PowerTest, FunctionResetsUnderLoad) {
    const Stats before = driver_stats(files);
    std::atomic<bool> stop = false;
    std::atomic<int> bad = 0;
    std::atomic<int> rounds = 0;
    const auto work = [&](std::uint32_t domain, std::uint32_t id) {
        Gpu gpu;
        const Gpu::Bound a = gpu.create(4 * kMib, domain);
        const Gpu::Bound b = gpu.create(4 * kMib, VTTM_DOMAIN_VRAM);
        for (std::uint32_t generation = 1; !stop; ++generation) {
            gpu.stamp(a, id, generation);
            const JobResult done = gpu.run(
                VTTM_ENGINE_COPY, PacketBuilder().copy(b.va(), a.va(), a.size()), {&a, &b});
            bad += done.error != 0;
            bad += gpu.verify(b, id, generation).bad != 0;
            // Address spaces and handles come and go, too.
            Gpu other;
            const Gpu::Bound small = other.create(kPage, domain);
            other.fill(small, generation);
            bad += count_unequal(small.buffer.map(), generation) != 0;
            ++rounds;
        }
    };
    std::thread first(work, VTTM_DOMAIN_VRAM, 1);
    std::thread second(work, VTTM_DOMAIN_GTT, 2);
    int last = 0;
    for (int i = 0; i < 8; ++i) {
        // Each reset meets work that the one before has not broken.
        const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
        while (rounds < last + 2 && std::chrono::steady_clock::now() < end)
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        EXPECT_GE(rounds, last + 2) << "no work is done after reset " << i;
        last = rounds;
        reset_function();
    }
    stop = true;
    first.join();
    second.join();
    EXPECT_EQ(bad, 0);
    EXPECT_EQ(stat("function_resets"), before.at("function_resets") + 8);
    EXPECT_EQ(stat("job_errors"), before.at("job_errors"));
}

TEST_F(PowerTest, CountsOfFaultsOutliveAReset) {
    Gpu gpu;
    const std::uint64_t before = gpu.device.param(VTTM_PARAM_FAULT_COUNT);
    const JobResult done = gpu.run(VTTM_ENGINE_COPY, PacketBuilder().fill(0x5000'0000, kPage, 1), {});
    EXPECT_EQ(done.reason, std::uint32_t{VTTM_FAULT_NOT_VALID});
    EXPECT_EQ(gpu.device.param(VTTM_PARAM_FAULT_COUNT), before + 1);
    reset_function();
    EXPECT_EQ(gpu.device.param(VTTM_PARAM_FAULT_COUNT), before + 1);
    gpu.run(VTTM_ENGINE_COPY, PacketBuilder().fill(0x5000'0000, kPage, 1), {});
    EXPECT_EQ(gpu.device.param(VTTM_PARAM_FAULT_COUNT), before + 2);
}

// The agent's channel does not live through these: see host-backend/cli/stages/sleep_tests.cc.
class SleepTest : public PowerTest {};

// The device loses VRAM in D3hot: what is good afterwards, the driver has moved before.
TEST_F(SleepTest, KeepsAllContent) {
    Stamped buffers;
    create(buffers);
    const Stats before = driver_stats(files);
    ASSERT_EQ(sleep(), 0);
    const Stats after = driver_stats(files);
    EXPECT_EQ(after.at("sleeps"), before.at("sleeps") + 1);
    EXPECT_EQ(after.at("vram_losses"), before.at("vram_losses") + 1) << "the device was not in D3hot";
    EXPECT_GT(after.at("moves_vram_gtt"), before.at("moves_vram_gtt")) << "nothing was evicted";
    buffers.expect_intact(1, Actor::kCpu);
    buffers.expect_intact(1, Actor::kDevice);
    EXPECT_GT(stat("moves_gtt_vram"), after.at("moves_gtt_vram")) << "nothing came back";
    buffers.fill(2);
    ASSERT_EQ(sleep(), 0);
    buffers.expect_intact(2, Actor::kDevice);
    EXPECT_EQ(stat("job_errors"), before.at("job_errors"));
}

TEST_F(SleepTest, UnderLoad) {
    const Stats before = driver_stats(files);
    std::atomic<bool> stop = false;
    std::atomic<int> bad = 0;
    std::thread working([&] {
        Gpu gpu;
        const Gpu::Bound buffer = gpu.create(8 * kMib, VTTM_DOMAIN_VRAM);
        for (std::uint32_t generation = 1; !stop; ++generation) {
            gpu.stamp(buffer, 1, generation);
            bad += gpu.verify(buffer, 1, generation).bad != 0;
        }
    });
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(sleep(), 0);
        reset_function();
    }
    stop = true;
    working.join();
    EXPECT_EQ(bad, 0);
    EXPECT_EQ(stat("sleeps"), before.at("sleeps") + 3);
    EXPECT_EQ(stat("job_errors"), before.at("job_errors"));
}

}  // namespace
}  // namespace vttm::guest::test
