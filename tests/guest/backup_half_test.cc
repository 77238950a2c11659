// SPDX-License-Identifier: Apache-2.0
// A tt of which only a part is backed up: what a backup leaves that runs out of memory or swap half way. Linux' own fault
// injection makes one: ttm_pool_backup() then takes the first half of the pages only.
#include <fmt/format.h>

#include <unistd.h>

#include <map>
#include <string>
#include <tuple>

#include "guest-driver/libvttm/agent/placement_parser.h"
#include "tests/guest/backup_test.h"

namespace vttm::guest::test {
namespace {

const std::string kInject = "/sys/kernel/debug/ttm/backup_fault_inject";
constexpr const char* kRestoreSwitch = "/sys/module/ttm/parameters/restore";

// Has the next backup, and no other, be a half.
class HalfOnce {
public:
    explicit HalfOnce(const SystemFiles& files) : files_(files) {
        set("verbose", 0);  // a stack in the kernel's log is what a test fails of
        set("interval", 1);
        set("space", 0);
        set("times", 1);
        set("probability", 100);
    }
    ~HalfOnce() {
        set("probability", 0);
        set("times", 1);
        set("verbose", 2);
    }
    HalfOnce(const HalfOnce&) = delete;
    HalfOnce& operator=(const HalfOnce&) = delete;

    bool happened() const { return files_.try_read_line(kInject + "/times") == "0"; }

private:
    void set(const char* name, int value) const {
        EXPECT_EQ(files_.try_write(fmt::format("{}/{}", kInject, name), std::to_string(value)), 0) << name;
    }

    const SystemFiles& files_;
};

// ttm.backup, ttm.restore, caching, bytes.
using Case = std::tuple<const char*, const char*, std::uint32_t, std::uint64_t>;

class HalfTest : public SwitchTest, public ::testing::WithParamInterface<Case> {
protected:
    void SetUp() override {
        SwitchTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) {
            return;
        }
        if (!files.exists(kInject + "/times")) {
            GTEST_SKIP() << "this kernel has no " << kInject << " (CONFIG_FAULT_INJECTION_DEBUG_FS)";
        }
        if (backup_stats().empty()) {
            GTEST_SKIP() << "this kernel does not count what it backs up";
        }
        set_global(mode());
        if (IsSkipped() || HasFatalFailure()) {
            return;
        }
        old_restore_ = files.try_read_line(kRestoreSwitch).value_or("");
        files.write(kRestoreSwitch, restore());
    }
    void TearDown() override {
        if (!old_restore_.empty()) {
            EXPECT_EQ(files.try_write(kRestoreSwitch, old_restore_), 0);
        }
        SwitchTest::TearDown();
    }

    std::string_view mode() const { return std::get<0>(GetParam()); }
    std::string_view restore() const { return std::get<1>(GetParam()); }
    Gpu::Bound create(Gpu& gpu) const {
        return gpu.create(std::get<3>(GetParam()), VTTM_DOMAIN_GTT, std::get<2>(GetParam()));
    }
    static std::int64_t pages() { return static_cast<std::int64_t>(std::get<3>(GetParam()) / kPage); }
    // As ttm_pool_backup() has it; an allocation ends there, or all but all would be left.
    static std::int64_t half() { return (pages() + 1) / 2; }

    // Pages of all buffers by where the driver says that they are.
    std::map<std::string, std::int64_t> places() const {
        std::map<std::string, std::int64_t> found;
        PlacementParser parser({[](std::uint32_t, std::uint64_t) {},
                                [&](const PlacementRun& run) {
                                    found[std::string(run.kind)] += static_cast<std::int64_t>(run.count);
                                }});
        parser.feed(files.read(find_driver_debugfs(files) + "/placement"));
        parser.finish();
        return found;
    }
    void expect_place(const Gpu::Bound& buffer, std::uint32_t place) const {
        EXPECT_EQ(buffer.buffer.info().place, place);
    }
    // Pages in each place where a backup can be, and in the buffer's own.
    void expect_backed_up(std::int64_t expected) const {
        auto found = places();
        EXPECT_EQ(found["shmem"] + found["swapcache"] + found["swap"], expected);
        EXPECT_EQ(found["system"], pages() - expected);
        EXPECT_EQ(found["none"], 0);
    }

    // Shrinks the one buffer that there is. What was backed up has to be `expected` pages, all of them in the mode of the test.
    void shrink_once(std::int64_t expected) {
        const std::int64_t shrunk = shrunk_pages();
        const Stats before = backup_stats();
        ASSERT_TRUE(shrink(files, 4096));
        EXPECT_EQ(shrunk_pages() - shrunk, expected);
        for (const char* each : kModes) {
            EXPECT_EQ(grown(before, pages_counter(each)), each == mode() ? expected : 0) << each;
        }
        EXPECT_EQ(grown(before, "insert_fallback"), 0);
        EXPECT_EQ(grown(before, "swapcache_fallback"), 0);
        EXPECT_EQ(grown(before, "restored_pages"), 0);
        EXPECT_EQ(grown(before, "dropped_pages"), 0);
    }
    void shrink_half(const Gpu::Bound& buffer) {
        expect_place(buffer, VTTM_PLACE_GTT);
        const HalfOnce fault(files);
        shrink_once(half());
        ASSERT_TRUE(fault.happened());
        expect_place(buffer, VTTM_PLACE_BACKUP);
        expect_backed_up(half());
    }
    // Content, and that so many pages came back, in the way that the test has chosen.
    void expect_restored(Gpu& gpu, const Gpu::Bound& buffer, std::uint32_t generation, std::int64_t expected) {
        const Stats before = backup_stats();
        gpu.expect_stamped(buffer, 1, generation);
        EXPECT_EQ(grown(before, "restored_pages"), expected);
        if (restore() == "copy") {
            EXPECT_EQ(grown(before, "restored_copied_pages"), expected);
        }
        EXPECT_EQ(grown(before, "dropped_pages"), 0);
        expect_place(buffer, VTTM_PLACE_GTT);
    }
    std::int64_t grown(const Stats& before, const char* name) const {
        return backup_stats().at(name) - before.at(name);
    }

private:
    std::string old_restore_;
};

TEST_P(HalfTest, ComesBackWhole) {
    Gpu gpu;
    const Gpu::Bound buffer = create(gpu);
    for (std::uint32_t generation = 1; generation <= 2; ++generation) {
        gpu.stamp(buffer, 1, generation);
        shrink_half(buffer);
        if (generation == 2) {
            // From the disk, as far as reclaim writes it.
            files.try_write("/sys/fs/cgroup/memory.reclaim", "64M");
            expect_backed_up(half());
        }
        expect_restored(gpu, buffer, generation, half());
    }
}

TEST_P(HalfTest, IsFreedWithoutComingBack) {
    const Stats before = backup_stats();
    {
        Gpu gpu;
        const Gpu::Bound buffer = create(gpu);
        gpu.stamp(buffer, 1);
        shrink_half(buffer);
    }
    // TTM frees from a workqueue.
    for (int i = 0; i < 200 && grown(before, "dropped_pages") < half(); ++i) {
        ::usleep(10'000);
    }
    EXPECT_EQ(grown(before, "dropped_pages"), half());
    EXPECT_EQ(grown(before, "restored_pages"), 0);
    EXPECT_TRUE(places().empty());
}

TEST_P(HalfTest, IsLeftAloneByTheNextShrinkAndTakenWholeAfterARestore) {
    Gpu gpu;
    const Gpu::Bound buffer = create(gpu);
    gpu.stamp(buffer, 1);
    shrink_half(buffer);
    // Such a tt is not populated, and so it is not suitable until it was restored: what is left of it stays.
    for (int i = 0; i < 3; ++i) {
        shrink_once(0);
    }
    expect_backed_up(half());
    expect_restored(gpu, buffer, 1, half());
    shrink_once(pages());
    expect_backed_up(pages());
    expect_restored(gpu, buffer, 1, pages());
}

TEST_P(HalfTest, IsWrittenOver) {
    Gpu gpu;
    const Gpu::Bound buffer = create(gpu);
    gpu.stamp(buffer, 1, 1);
    shrink_half(buffer);
    gpu.stamp(buffer, 1, 2);
    gpu.expect_stamped(buffer, 1, 2);
    // What was backed up for the old content is not what comes back.
    shrink_half(buffer);
    expect_restored(gpu, buffer, 2, half());
}

TEST_P(HalfTest, IsPurged) {
    Gpu gpu;
    const Gpu::Bound buffer = create(gpu);
    gpu.stamp(buffer, 1);
    shrink_half(buffer);
    const Stats accounts = driver_stats(files);
    EXPECT_TRUE(buffer.buffer.madvise(VTTM_MADV_DONTNEED)) << "nothing of it is lost yet";
    // Nor may the shrinker take for purgeable what it cannot take.
    EXPECT_EQ(driver_stats(files).at("purgeable_pages"), accounts.at("purgeable_pages"));
    const std::int64_t shrunk = shrunk_pages();
    ASSERT_TRUE(shrink(files, 4096));
    EXPECT_EQ(shrunk_pages(), shrunk);
    ASSERT_TRUE(buffer.buffer.madvise(VTTM_MADV_WILLNEED));
    expect_restored(gpu, buffer, 1, half());
}

std::string name_of(const ::testing::TestParamInfo<Case>& info) {
    const auto& [mode, restore, caching, bytes] = info.param;
    return fmt::format("{}_{}_{}_{}k", mode, restore, caching == VTTM_CACHING_WC ? "wc" : "wb", bytes / 1024);
}

// 7 pages are allocations of 4, 2 and 1, of which half is the first. Half of 8 MiB is a whole number of the largest allocations,
// whatever these are.
INSTANTIATE_TEST_SUITE_P(Ways, HalfTest,
                         ::testing::Combine(::testing::ValuesIn(kModes), ::testing::Values("auto", "copy"),
                                            ::testing::Values(VTTM_CACHING_WB, VTTM_CACHING_WC),
                                            ::testing::Values(7 * kPage, 8 * kMib)),
                         name_of);

}  // namespace
}  // namespace vttm::guest::test
