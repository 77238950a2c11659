// SPDX-License-Identifier: Apache-2.0
// A storm: many reclaim at once, and all shrink the GPU's buffers. What the swap cache takes
// meanwhile without having it written is bounded by swap_backup.unwritten_max_kb, and by nothing
// else.
#include <atomic>
#include <thread>
#include <vector>

#include "tests/guest/backup_test.h"

namespace vttm::guest::test {
namespace {

const std::string kLimit = "/sys/module/swap_backup/parameters/unwritten_max_kb";
const std::string kStats = "/sys/kernel/debug/swap_backup/stats";
constexpr std::uint64_t kBytes = 48 * kMib;
constexpr std::int64_t kPages = kBytes / kPage;
constexpr std::int64_t kLimitPages = kPages / 6;
constexpr int kThreads = 4;
constexpr std::int64_t kLargestFolio = 512;

class StormTest : public SwitchTest {
protected:
    void SetUp() override {
        SwitchTest::SetUp();
        if (IsSkipped() || HasFatalFailure()) {
            return;
        }
        set_global("swapcache");
        if (!IsSkipped() && !files.exists(kLimit)) {
            GTEST_SKIP() << "this kernel's swap cache backup has no limit";
        }
        old_limit_ = files.try_read_line(kLimit).value_or("");
    }
    void TearDown() override {
        if (!old_limit_.empty()) {
            EXPECT_EQ(files.try_write(kLimit, old_limit_), 0);
        }
        SwitchTest::TearDown();
    }

    Stats limit_stats() const { return parse_name_value(files.read(kStats)); }

    // Threads that shrink until all is; what the counters have grown by, the peak since the start.
    Stats storm() {
        files.write(kStats, "0");
        const Stats before = limit_stats();
        const std::int64_t shrunk = shrunk_pages();
        std::atomic<bool> failed = false;
        std::vector<std::jthread> threads;
        for (int i = 0; i < kThreads; ++i) {
            threads.emplace_back([&] {
                for (int round = 0; round < 64 && shrunk_pages() - shrunk < kPages; ++round) {
                    if (!shrink(files, 2048)) failed = true;
                }
            });
        }
        threads.clear();
        EXPECT_FALSE(failed);
        EXPECT_GE(shrunk_pages() - shrunk, kPages) << "the shrinker took too little";
        Stats grown = limit_stats();
        for (const char* name : {"forced_writes", "refused", "throttled"}) {
            grown.at(name) -= before.at(name);
        }
        return grown;
    }

private:
    std::string old_limit_;
};

TEST_F(StormTest, WithoutALimitAllOfItIsUnwrittenAtOnce) {
    files.write(kLimit, "0");
    Stamped buffers;
    buffers.create(kBytes, 2 * kMib);
    buffers.fill(1);
    const Stats found = storm();
    // The danger is real: this is why there is a limit, and that the next test can fail.
    EXPECT_GE(found.at("unwritten_peak_pages"), kPages - kLargestFolio);
    EXPECT_EQ(found.at("forced_writes"), 0);
    EXPECT_EQ(found.at("throttled"), 0);
    EXPECT_EQ(found.at("refused"), 0);
    buffers.expect_intact(1);
}

TEST_F(StormTest, BeyondTheLimitItIsWrittenAndTheRestInserted) {
    files.write(kLimit, std::to_string(kLimitPages * kPage / 1024));
    ASSERT_EQ(limit_stats().at("limit_pages"), kLimitPages);
    Stamped buffers;
    buffers.create(kBytes, 2 * kMib);
    for (std::uint32_t generation = 1; generation <= 2; ++generation) {
        buffers.fill(generation);
        const Stats before = backup_stats();
        const Stats found = storm();
        const Stats after = backup_stats();
        EXPECT_GT(found.at("unwritten_peak_pages"), kLimitPages) << "the limit was never reached";
        EXPECT_LE(found.at("unwritten_peak_pages"), kLimitPages * 3 / 2 + kThreads * kLargestFolio);
        EXPECT_GT(found.at("forced_writes"), 0);
        // What was refused went the next way, and nothing was copied.
        const auto grown = [&](const char* name) { return after.at(name) - before.at(name); };
        EXPECT_GE(grown("swapcache_pages") + grown("inserted_pages"), kPages);
        EXPECT_GT(grown("swapcache_pages"), 0);
        EXPECT_EQ(grown("swapcache_fallback"), found.at("refused"));
        EXPECT_EQ(grown("copied_pages"), 0);
        buffers.expect_intact(generation, generation == 1 ? Actor::kDevice : Actor::kCpu);
    }
}

}  // namespace
}  // namespace vttm::guest::test
