// SPDX-License-Identifier: Apache-2.0
// Where DMA goes through bounce buffers: CPU and device must have the very same memory all the same,
// also after it was swapped out. Runs in a machine of its own (host-backend/cli/stages/guest_tests.cc).
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <sstream>
#include <string>

#include "tests/guest/backup_test.h"

namespace vttm::guest::test {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDriver = "/sys/bus/pci/drivers/vttm";
constexpr const char* kParameters = "/sys/module/vttm/parameters/";
constexpr const char* kPagesLimit = "/sys/module/ttm/parameters/pages_limit";

class BounceTest : public SwitchTest {
protected:
    void SetUp() override {
        SwitchTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) return;
        ASSERT_NE(files.read("/proc/cmdline").find("swiotlb=force"), std::string::npos);
        ASSERT_EQ(driver_stats(files).at("coherent_pages"), 1);
        const fs::path node = Device::find_node();
        name_ = fs::canonical("/sys/class/drm" / node.filename() / "device").filename().string();
    }
    // Whatever happens, the next test has a driver that is right.
    void TearDown() override {
        if (rebound_) rebind("unsafe_bounce", "N");
        SwitchTest::TearDown();
    }
    // The driver begins anew, with @parameter at @value. Nothing is open.
    void rebind(const std::string& parameter, const char* value) {
        rebound_ = !rebound_;
        files.write(kParameters + parameter, value);
        files.write(std::string(kDriver) + "/unbind", name_);
        files.write(std::string(kDriver) + "/bind", name_);
        for (int i = 0; i < 1000 && !there(); ++i) ::usleep(20'000);
        forgive_stale();
    }

    // Words that one side wrote and the other one did not see, with the CPU's mapping and the device's there
    // all the time.
    static std::uint64_t unseen(std::uint32_t caching, std::uint64_t bytes) {
        Gpu gpu;
        const Gpu::Bound shared = gpu.create(bytes, VTTM_DOMAIN_GTT, caching);
        const Gpu::Bound copy = gpu.create(shared.size(), VTTM_DOMAIN_VRAM);
        const Mapping ours = shared.buffer.map();
        const Mapping theirs = copy.buffer.map();
        std::uint64_t bad = 0;
        for (std::uint32_t round = 1; round <= 3; ++round) {
            gpu.fill(shared, round);
            bad += count_unequal(ours, round);
            const std::span<std::uint32_t> words = ours.words();
            std::fill(words.begin(), words.end(), ~round);
            const JobResult done =
                gpu.run(VTTM_ENGINE_COPY, PacketBuilder().copy(copy.va(), shared.va(), shared.size()),
                        {&copy, &shared});
            EXPECT_EQ(done.error, 0);
            bad += count_unequal(theirs, ~round);
        }
        return bad;
    }
    std::int64_t swapout_pages() const { return driver_stats(files).at("swapout_pages"); }
    // Asks for @pages and gets them.
    void swap_out(std::int64_t pages) const {
        const std::int64_t before = swapout_pages();
        ASSERT_TRUE(shrink(files, static_cast<std::uint64_t>(pages)));
        ASSERT_GE(swapout_pages() - before, pages);
    }
    // Pages of buffers that are on the swap device and nowhere else.
    std::uint64_t pages_on_disk() const {
        std::istringstream text(files.read(find_driver_debugfs(files) + "/placement"));
        std::uint64_t pages = 0;
        for (std::string line; std::getline(text, line);) {
            std::istringstream words(line);
            std::string first, kind;
            std::uint64_t count = 0;
            if (words >> first >> count >> kind && kind == "swap") pages += count;
        }
        return pages;
    }

private:
    static bool there() {
        try {
            Device::open();
            return true;
        } catch (const Error&) {
            return false;
        }
    }
    std::string name_;
    bool rebound_ = false;
};

TEST_F(BounceTest, EachSideSeesWhatTheOtherOneWrites) {
    for (const std::uint32_t caching : {VTTM_CACHING_WB, VTTM_CACHING_WC, VTTM_CACHING_UC})
        EXPECT_EQ(unseen(caching, kMib + kPage), 0u) << "caching " << caching;
}

// The same with the bug by order: what bounces is not seen. (More than 256 KiB in a piece would not even bounce.)
TEST_F(BounceTest, PlantedABounceIsNoticed) {
    rebind("unsafe_bounce", "Y");
    EXPECT_EQ(driver_stats(files).at("coherent_pages"), 0);
    EXPECT_GT(unseen(VTTM_CACHING_WB, 4 * kPage), 0u);
    rebind("unsafe_bounce", "N");
    EXPECT_EQ(driver_stats(files).at("coherent_pages"), 1);
    EXPECT_EQ(unseen(VTTM_CACHING_WB, 4 * kPage), 0u);
}

TEST_F(BounceTest, ContentSurvivesSwap) {
    Stamped buffers;
    buffers.create(24 * kMib, 2 * kMib, Domain::kGtt, Caching::kWb);
    buffers.create(8 * kMib, 2 * kMib, Domain::kGtt, Caching::kWc);
    buffers.create(4 * kMib, 256 * 1024 + kPage, Domain::kGtt, Caching::kUc);
    buffers.create(64 * kPage, kPage, Domain::kGtt, Caching::kWb);
    for (std::uint32_t generation = 1; generation <= 2; ++generation) {
        // Each side sees the buffers come back first once.
        const Actor first = generation == 1 ? Actor::kDevice : Actor::kCpu;
        buffers.fill(generation, first);
        swap_out(36 * 256);
        if (HasFatalFailure()) return;
        // And to the disk with it.
        files.try_write("/sys/fs/cgroup/memory.reclaim", "64M");
        EXPECT_GT(pages_on_disk(), 0u);
        buffers.expect_intact(generation, first);
        buffers.expect_intact(generation, first == Actor::kCpu ? Actor::kDevice : Actor::kCpu);
    }
}

// From VRAM to GTT, to the swap device, and back.
TEST_F(BounceTest, ContentOfVramSurvivesEvictionAndSwap) {
    const std::uint64_t vram = Device::open().vram_bytes();
    Stamped buffers;
    buffers.create(vram + 16 * kMib, 2 * kMib, Domain::kVram, Caching::kWb);
    const Stats before = driver_stats(files);
    buffers.fill(1);
    for (int round = 0; round < 2; ++round) {
        swap_out(2048);
        if (HasFatalFailure()) return;
        buffers.expect_intact(1, round == 0 ? Actor::kDevice : Actor::kCpu);
    }
    const Stats after = driver_stats(files);
    EXPECT_GT(after.at("moves_vram_gtt"), before.at("moves_vram_gtt"));
    EXPECT_GT(after.at("moves_gtt_vram"), before.at("moves_gtt_vram"));
}

TEST_F(BounceTest, WhatNobodyNeedsIsFreedAtOnceAndNotSwapped) {
    KeepAndDrop two(2 * kMib);
    auto& [gpu, keep, drop] = two;
    ASSERT_TRUE(drop.buffer.madvise(VTTM_MADV_DONTNEED));
    const std::int64_t swapped = swapout_pages();
    const std::int64_t shrunk = shrunk_pages();
    ASSERT_TRUE(shrink(files, 512));
    EXPECT_EQ(drop.buffer.info().purged, 1u);
    EXPECT_EQ(shrunk_pages() - shrunk, 512);
    EXPECT_EQ(swapout_pages(), swapped);
    EXPECT_FALSE(drop.buffer.madvise(VTTM_MADV_WILLNEED));
    EXPECT_EQ(count_unequal(drop.buffer.map(), 0), 0u);
    gpu.expect_stamped(keep, 1);
}

// TTM takes buffers of others away by itself when there are too many: ones that nobody needs among them.
TEST_F(BounceTest, MoreThanTtmsLimitStaysIntact) {
    const std::string limit = files.read(kPagesLimit);
    files.write(kPagesLimit, std::to_string(16 * 256));
    {
        Gpu gpu;
        const Gpu::Bound unneeded = gpu.create(4 * kMib);
        gpu.stamp(unneeded, 99);
        EXPECT_TRUE(unneeded.buffer.madvise(VTTM_MADV_DONTNEED));
        Stamped buffers;
        buffers.create(48 * kMib, 2 * kMib, Domain::kGtt, Caching::kWb);
        buffers.fill(1);
        EXPECT_EQ(unneeded.buffer.info().place, std::uint32_t{VTTM_PLACE_BACKUP});
        buffers.expect_intact(1, Actor::kDevice);
        buffers.expect_intact(1, Actor::kCpu);
        EXPECT_TRUE(unneeded.buffer.madvise(VTTM_MADV_WILLNEED));
        gpu.expect_stamped(unneeded, 99);
    }
    files.write(kPagesLimit, limit);
}

// Without swap nothing moves.
TEST_F(BounceTest, WithoutSwapBuffersStayWhereTheyAre) {
    ASSERT_EQ(swap->off(60), 0);
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(2 * kMib);
    gpu.stamp(buffer, 1);
    const std::int64_t swapped = swapout_pages();
    ASSERT_TRUE(shrink(files, 4096));
    EXPECT_EQ(swapout_pages(), swapped);
    EXPECT_EQ(buffer.buffer.info().place, std::uint32_t{VTTM_PLACE_GTT});
    ASSERT_EQ(swap->on(), 0);
    gpu.expect_stamped(buffer, 1);
}

}  // namespace
}  // namespace vttm::guest::test
