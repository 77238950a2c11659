// SPDX-License-Identifier: Apache-2.0
// Buffers that do not fit: eviction, overcommitted GTT, the shrinker in each backup mode, purging.
#include <algorithm>

#include "tests/guest/backup_test.h"

namespace vttm::guest::test {
namespace {

class MemoryTest : public GuestTest {
protected:
    std::uint64_t available_mib() const {
        const auto meminfo = parse_meminfo(files.read("/proc/meminfo"));
        return static_cast<std::uint64_t>(meminfo.at("MemAvailable")) / 1024;
    }
};

TEST_F(MemoryTest, MoreVramBuffersThanVramAllStayIntact) {
    const std::uint64_t vram = Device::open().vram_bytes();
    const std::uint64_t extra = std::min<std::uint64_t>(vram / 4, 32 * kMib);
    if (available_mib() < extra / kMib + 128) {
        GTEST_SKIP() << "too little memory to evict " << extra / kMib << " MiB to";
    }
    Stamped buffers;
    buffers.create(vram / 2, 8 * kMib, Domain::kVram, Caching::kWb);
    buffers.create(vram / 2 + extra, 2 * kMib, Domain::kVram, Caching::kWc);
    const Stats before = driver_stats(files);
    buffers.fill(1);
    buffers.expect_intact(1, Actor::kDevice);
    buffers.expect_intact(1, Actor::kCpu);
    const Stats after = driver_stats(files);
    EXPECT_GT(after.at("moves_vram_gtt"), before.at("moves_vram_gtt")) << "nothing was evicted";
    EXPECT_GT(after.at("moves_gtt_vram"), before.at("moves_gtt_vram")) << "nothing came back";
}

TEST_F(MemoryTest, MoreGttBuffersThanGttAllStayIntact) {
    const std::uint64_t gtt = Device::open().gtt_bytes();
    const std::uint64_t total = gtt + 32 * kMib;
    if (available_mib() < total / kMib + 64) {
        GTEST_SKIP() << "GTT of " << gtt / kMib << " MiB cannot be overcommitted in a guest with "
                     << available_mib() << " MiB available";
    }
    Stamped buffers;
    buffers.create(total, 16 * kMib, Domain::kGtt, Caching::kWb);
    buffers.fill(1);
    buffers.expect_intact(1, Actor::kDevice);
}

TEST_F(MemoryTest, ABufferLargerThanItsDomainIsRefusedWhenUsed) {
    Gpu gpu;
    const std::uint64_t vram = gpu.device.vram_bytes();
    try {
        const Gpu::Bound huge = gpu.create(vram + 2 * kMib, VTTM_DOMAIN_VRAM);
        const int error =
            gpu.submit_errno(VTTM_ENGINE_COPY, PacketBuilder().fill(huge.va(), 4096, 1), {&huge});
        EXPECT_TRUE(error == ENOMEM || error == ENOSPC) << error;
    } catch (const Error& error) {
        EXPECT_TRUE(error.error() == ENOMEM || error.error() == ENOSPC) << error.what();
    }
    const Gpu::Bound small = gpu.create(kMib, VTTM_DOMAIN_VRAM);
    gpu.fill(small, 1);
}

TEST_P(BackupTest, ShrunkenBuffersComeBackIntact) {
    Stamped buffers;
    buffers.create(24 * kMib, 2 * kMib, Domain::kGtt, Caching::kWb);
    buffers.create(8 * kMib, 2 * kMib, Domain::kGtt, Caching::kWc);
    buffers.create(4 * kMib, 256 * 1024 + kPage, Domain::kGtt, Caching::kWb);
    buffers.create(64 * kPage, kPage, Domain::kGtt, Caching::kWb);
    for (std::uint32_t generation = 1; generation <= 2; ++generation) {
        // Each side sees the buffers come back first once.
        const Actor first = generation == 1 ? Actor::kDevice : Actor::kCpu;
        buffers.fill(generation, first);
        const std::int64_t before = shrunk_pages();
        const Stats backup_before = backup_stats();
        for (int i = 0; i < 32 && shrunk_pages() - before < 36 * 256; ++i) {
            ASSERT_TRUE(shrink(files, 2048));
        }
        EXPECT_GE(shrunk_pages() - before, 32 * 256) << "the shrinker took too little";
        expect_mode_was_used(backup_before, shrunk_pages() - before);
        buffers.expect_intact(generation, first);
        buffers.expect_intact(generation, first == Actor::kCpu ? Actor::kDevice : Actor::kCpu);
    }
}

TEST_P(BackupTest, AShrunkenBufferIsWrittenOver) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(4 * kMib);
    gpu.stamp(buffer, 1);
    for (std::uint32_t generation = 2; generation < 6; ++generation) {
        ASSERT_TRUE(shrink(files, 4096));
        EXPECT_EQ(buffer.buffer.info().place, static_cast<std::uint32_t>(VTTM_PLACE_BACKUP));
        gpu.stamp(buffer, 1, generation);
        gpu.expect_stamped(buffer, 1, generation);
    }
}

TEST_P(BackupTest, AShrunkenBufferIsFreedWithoutComingBack) {
    const std::int64_t before = shrunk_pages();
    {
        Gpu gpu;
        const Gpu::Bound buffer = gpu.create(8 * kMib);
        gpu.stamp(buffer, 1);
        ASSERT_TRUE(shrink(files, 4096));
    }
    EXPECT_GE(shrunk_pages() - before, 2048);
}

TEST_P(BackupTest, UnneededContentIsPurged) {
    KeepAndDrop two(2 * kMib);
    auto& [gpu, keep, drop] = two;
    EXPECT_TRUE(keep.buffer.madvise(VTTM_MADV_DONTNEED));
    EXPECT_TRUE(keep.buffer.madvise(VTTM_MADV_WILLNEED)) << "nothing has been shrunk yet";
    EXPECT_TRUE(drop.buffer.madvise(VTTM_MADV_DONTNEED));
    for (int i = 0; i < 16 && drop.buffer.info().purged == 0; ++i) {
        ASSERT_TRUE(shrink(files, 1024));
    }
    EXPECT_EQ(drop.buffer.info().purged, 1u);
    EXPECT_FALSE(drop.buffer.madvise(VTTM_MADV_WILLNEED));
    gpu.expect_stamped(keep, 1);
}

INSTANTIATE_TEST_SUITE_P(Modes, BackupTest, ::testing::ValuesIn(kModes),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vttm::guest::test
