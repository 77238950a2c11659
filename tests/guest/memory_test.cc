// SPDX-License-Identifier: Apache-2.0
// Buffers that do not fit: eviction, overcommitted GTT, the shrinker in each backup mode, purging.
#include <algorithm>
#include <map>

#include "guest-driver/libvttm/agent/buffer_set.h"
#include "guest-driver/libvttm/agent/drm_backend.h"
#include "tests/guest/guest_test.h"

namespace vttm::guest::test {
namespace {

constexpr const char* kBackupSwitch = "/sys/module/ttm/parameters/backup";
constexpr const char* kBackupStats = "/sys/kernel/debug/ttm/backup_stats";

// Stamped buffers through the agent's own code: batches, both witnesses.
class Stamped {
public:
    Stamped() : buffers_(gpu_) {}

    void create(std::uint64_t bytes, std::uint64_t each, Domain domain, Caching caching) {
        std::vector<BufferRequest> requests;
        for (std::uint64_t made = 0; made < bytes; made += each) {
            requests.push_back({++last_id_, each, domain, caching});
        }
        buffers_.create(requests);
    }
    void fill(std::uint32_t generation, Actor by = Actor::kDevice) {
        buffers_.fill({std::nullopt, generation, kKey, by}, no_progress);
    }
    void expect_intact(std::uint32_t generation, Actor by) {
        const VerifyResult found =
            buffers_.verify({std::nullopt, generation, kKey, by, false}, no_progress);
        EXPECT_GT(found.pages, 0u);
        EXPECT_EQ(found.good, found.pages)
            << (by == Actor::kCpu ? "as the CPU sees it" : "as the device sees it");
    }

private:
    static void no_progress(std::uint64_t, std::uint64_t) {}

    DrmBackend gpu_;
    BufferSet buffers_;
    std::uint32_t last_id_ = 0;
};

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

class BackupTest : public MemoryTest, public ::testing::WithParamInterface<const char*> {
protected:
    void SetUp() override {
        MemoryTest::SetUp();
        if (const auto mode = files.try_read_line(kBackupSwitch)) {
            old_mode_ = *mode;
            const int error = files.try_write(kBackupSwitch, GetParam());
            if (error == EINVAL || error == EOPNOTSUPP) {
                GTEST_SKIP() << "this kernel has no ttm.backup=" << GetParam();
            }
            ASSERT_EQ(error, 0);
            ASSERT_EQ(files.try_read_line(kBackupSwitch), GetParam());
        } else if (std::string_view(GetParam()) != "copy") {  // the only one without our series
            GTEST_SKIP() << "this kernel has no " << kBackupSwitch;
        }
        if (find_shrinker_debugfs(files).empty()) {
            GTEST_SKIP() << "no shrinker of vttm in debugfs";
        }
        const auto swaps = parse_meminfo(files.read("/proc/meminfo"));
        if (swaps.at("SwapTotal") == 0) {
            GTEST_SKIP() << "no swap area";
        }
    }
    void TearDown() override {
        if (!old_mode_.empty()) {
            files.try_write(kBackupSwitch, old_mode_);
        }
        MemoryTest::TearDown();
    }
    std::int64_t shrunk_pages() const { return driver_stats(files).at("shrunk_pages"); }

    // ttm's own counters; empty without our series, where there is `copy` only.
    Stats backup_stats() const {
        return files.exists(kBackupStats) ? parse_name_value(files.read(kBackupStats)) : Stats();
    }
    // That what was shrunk since `before` went the way that the mode names, all of it.
    void expect_mode_was_used(const Stats& before, std::int64_t shrunk) const {
        if (old_mode_.empty()) {
            return;
        }
        const Stats after = backup_stats();
        const auto grown = [&](const char* name) { return after.at(name) - before.at(name); };
        const std::map<std::string_view, const char*> counters = {
            {"copy", "copied_pages"}, {"insert", "inserted_pages"}, {"swapcache", "swapcache_pages"}};
        for (const auto& [mode, counter] : counters) {
            if (mode == GetParam()) {
                EXPECT_GE(grown(counter), shrunk);
            } else {
                EXPECT_EQ(grown(counter), 0) << counter;
            }
        }
        EXPECT_EQ(grown("insert_fallback"), 0);
        EXPECT_EQ(grown("swapcache_fallback"), 0);
    }

private:
    std::string old_mode_;
};

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
    Gpu gpu;
    const Gpu::Bound keep = gpu.create(2 * kMib);
    const Gpu::Bound drop = gpu.create(2 * kMib);
    gpu.stamp(keep, 1);
    gpu.stamp(drop, 2);
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

INSTANTIATE_TEST_SUITE_P(Modes, BackupTest, ::testing::Values("copy", "insert", "swapcache"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vttm::guest::test
