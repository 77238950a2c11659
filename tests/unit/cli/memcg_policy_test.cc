// SPDX-License-Identifier: Apache-2.0
// What a cycle with a limited hog must show, with planted figures.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host-backend/cli/swap_cycle.h"

namespace vttm::cli {
namespace {

using oracle::VerdictKind;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kMiB = 1 << 20;

SwapCycleConfig limited() {
    SwapCycleConfig c;
    c.memcg_limit_mib = 384;
    return c;
}

// A cycle that is right: a hog of 448 MiB, of which 64 went to swap.
oracle::CycleResult good(const std::string& backup) {
    oracle::CycleResult r;
    r.backup = backup;
    r.pages_filled = 4096;
    for (auto* w : {&r.device, &r.cpu, &r.host}) {
        w->present = true;
        w->checked = r.pages_filled;
    }
    r.swapped_share = 1;
    r.counters = {{"pswpout", 100},
                  {"inserted_pages", backup == "insert" ? 4096 : 0},
                  {"swapcache_pages", backup == "swapcache" ? 4096 : 0},
                  {"copied_pages", backup == "copy" ? 4096 : 0},
                  {"memcg.events.max", 12},
                  {"memcg.events.oom", 0},
                  {"memcg.events.oom_kill", 0}};
    r.levels = {{"memcg.foreign_bytes", 0}};
    r.runs.huge_groups = r.runs.huge_unsplit = 4;
    (backup == "copy" ? r.zero_copy.changed : r.zero_copy.unchanged) = 4096;
    return r;
}

oracle::Verdict judged(const oracle::CycleResult& r) {
    return oracle::judge(r, policy_for(limited(), r.backup, 4096));
}

TEST(MemcgPolicy, GoodCyclesPass) {
    for (const char* backup : {"copy", "insert", "swapcache"}) {
        const auto v = judged(good(backup));
        EXPECT_EQ(v.kind, VerdictKind::kPass)
            << backup << ": " << (v.reasons.empty() ? "" : v.reasons[0]);
    }
}

TEST(MemcgPolicy, LimitThatWasNotMetIsInconclusive) {
    auto r = good("insert");
    r.counters["memcg.events.max"] = 0;
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
    r.counters.erase("memcg.events.max");
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
}

TEST(MemcgPolicy, ChargeForOthersPagesIsAFailureButOfCopy) {
    for (const char* backup : {"insert", "swapcache"}) {
        auto r = good(backup);
        r.levels["memcg.foreign_bytes"] = 100 * kMiB;
        const auto v = judged(r);
        EXPECT_EQ(v.kind, VerdictKind::kLeak) << backup;
        EXPECT_THAT(v.reasons, ElementsAre(HasSubstr("somebody else's pages"))) << backup;
        r.levels.clear();
        EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive) << backup;
    }
    auto copy = good("copy");
    copy.levels["memcg.foreign_bytes"] = 100 * kMiB;
    EXPECT_EQ(judged(copy).kind, VerdictKind::kPass);
}

TEST(MemcgPolicy, OutOfMemoryInTheCgroupIsAFailure) {
    for (const char* backup : {"copy", "insert"}) {
        auto r = good(backup);
        r.counters["memcg.events.oom"] = 1;
        EXPECT_EQ(judged(r).kind, VerdictKind::kLeak);
        r = good(backup);
        r.counters["memcg.events.oom_kill"] = 1;
        EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
    }
}

TEST(MemcgPolicy, WithoutALimitNothingOfItIsAsked) {
    auto r = good("insert");
    std::erase_if(r.counters, [](const auto& c) { return c.first.starts_with("memcg."); });
    r.levels.clear();
    EXPECT_EQ(oracle::judge(r, policy_for(SwapCycleConfig{}, "insert", 4096)).kind,
              VerdictKind::kPass);
}

TEST(ForeignCharge, IsWhatTheHogDoesNotHold) {
    oracle::Counters levels = {{"memcg.memory.current", 384 * kMiB},
                               {"memcg.memory.swap.current", 80 * kMiB},
                               {"memcg.stat.swapcached", 13 * kMiB},
                               {"memcg.stat.kernel", 3 * kMiB}};
    EXPECT_EQ(foreign_charge(levels, 448), 0);
    EXPECT_EQ(foreign_charge(levels, 400), 48 * kMiB);
    EXPECT_EQ(foreign_charge(levels, 500), 0);  // the hog may not have come that far
    levels.erase("memcg.stat.swapcached");
    EXPECT_EQ(foreign_charge(levels, 448), std::nullopt);
}

TEST(MemcgBalances, AreTakenOnceThereIsACgroup) {
    oracle::Counters before, after;
    for (const char* name : {"vttm.buffers", "vttm.buffer_bytes", "vttm.mappings",
                             "vttm.shrinkable_pages", "nr_gpu_active", "nr_shmem", "swap_used"})
        before[name] = after[name] = 5;
    EXPECT_EQ(take_balances(before, after).size(), 7u);
    after["memcg.memory.current"] = 2 * kMiB;
    after["memcg.memory.swap.current"] = 4096;
    const auto balances = take_balances(before, after);
    ASSERT_EQ(balances.size(), 9u);
    EXPECT_FALSE(balances[7].even());
    EXPECT_TRUE(balances[8].even());
}

}  // namespace
}  // namespace vttm::cli
