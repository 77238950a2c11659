// SPDX-License-Identifier: Apache-2.0
// What a cycle is judged by.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "host-backend/cli/swap_cycle.h"
#include "host-backend/machine/errors.h"

namespace vttm::cli {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

TEST(PolicyFor, TakesTheScenariosLimits) {
    SwapCycleConfig c;
    c.swapped_share = 0.6;
    c.min_unchanged = 0.9;
    c.min_unsplit = 0.8;
    const auto insert = policy_for(c, "insert", 1000);
    EXPECT_EQ(insert.min_swapped_share, 0.6);
    EXPECT_EQ(insert.min_unchanged, 0.9);
    EXPECT_EQ(insert.min_huge_unsplit_share, 0.8);
    EXPECT_EQ(insert.min_known_pages, 250u);
    EXPECT_EQ(insert.max_second_copies, 0u);
    EXPECT_THAT(insert.must_grow, Contains("inserted_pages"));
    const auto copy = policy_for(c, "copy", 1000);
    EXPECT_FALSE(copy.min_unchanged) << "copy moves pages by nature";
    EXPECT_FALSE(copy.min_huge_unsplit_share);
    EXPECT_TRUE(copy.max_unchanged) << "so that the measurement can fail";
    EXPECT_EQ(copy.min_known_pages, 125u) << "it has few of them there at a time";
    EXPECT_THAT(copy.must_grow, Contains("copied_pages"));
    EXPECT_THAT(copy.must_not_grow, Contains("inserted_pages"));
    EXPECT_TRUE(insert.need_device && insert.need_cpu && insert.need_host);
}

// Growing moves alone could be anybody's: what counts is what left the part that was taken.
TEST(PolicyFor, ABalloonMustHaveEvicted) {
    SwapCycleConfig c;
    EXPECT_THAT(policy_for(c, "insert", 1000).must_grow,
                ::testing::Not(Contains("balloon.evicted_pages")));
    c.vram_target_mib = 32;
    const auto policy = policy_for(c, "insert", 1000);
    EXPECT_THAT(policy.must_grow, Contains("balloon.evicted_pages"));
    for (std::int64_t kept : {0, 1}) {
        oracle::CycleResult r;
        r.levels["balloon.kept_pages"] = kept;
        const auto reasons = oracle::judge(r, policy).reasons;
        EXPECT_EQ(std::ranges::any_of(reasons,
                                      [](const std::string& reason) {
                                          return reason.find("gave up") != reason.npos;
                                      }),
                  kept > 0);
    }
}

oracle::Counters even() {
    return {{"vttm.buffers", 0},  {"vttm.buffer_bytes", 0}, {"vttm.mappings", 0},
            {"vttm.shrinkable_pages", 0}, {"nr_gpu_active", 0}, {"nr_shmem", 5}, {"swap_used", 9}};
}

bool all_even(const std::vector<oracle::Balance>& balances) {
    return std::all_of(balances.begin(), balances.end(), [](const auto& b) { return b.even(); });
}

TEST(RaiseLevels, KeepsTheHighestOfTheGpusPagesAndTheLastOfAllElse) {
    oracle::Counters levels;
    raise_levels(levels, {{"nr_gpu_active", 5}, {"nr_gpu_reclaim", 0}, {"nr_shmem", 9}});
    raise_levels(levels, {{"nr_gpu_active", 8}, {"nr_gpu_reclaim", 3}, {"nr_shmem", 20}});
    raise_levels(levels, {{"nr_gpu_active", 2}, {"nr_gpu_reclaim", 1}, {"nr_shmem", 10}, {"late", 1}});
    EXPECT_EQ(levels, (oracle::Counters{{"late", 1}, {"nr_gpu_active", 8}, {"nr_gpu_reclaim", 3},
                                        {"nr_shmem", 10}}));
}

TEST(TakeBalances, EachAccountCanFail) {
    const oracle::Counters before = even();
    EXPECT_TRUE(all_even(take_balances(before, before)));
    EXPECT_EQ(take_balances(before, before).size(), before.size());
    for (const auto& [name, value] : before) {
        oracle::Counters after = before;
        after[name] = value + 1000;
        EXPECT_FALSE(all_even(take_balances(before, after))) << name;
    }
}

TEST(TakeBalances, WhatBelongsToTheDriverHasNoTolerance) {
    for (const char* name : {"vttm.buffers", "vttm.buffer_bytes", "vttm.mappings",
                             "vttm.shrinkable_pages", "nr_gpu_active", "nr_shmem"}) {
        oracle::Counters after = even();
        after[name] += 1;
        EXPECT_FALSE(all_even(take_balances(even(), after))) << name;
    }
}

// Of the kernel series: a foreign kernel does not tell.
TEST(TakeBalances, WhatABackupLeavesUnwrittenMustBeNothing) {
    constexpr const char* kUnwritten = "swap_backup.unwritten_pages";
    oracle::Counters before = even(), after = even();
    EXPECT_EQ(take_balances(before, after).size(), even().size());
    EXPECT_THAT(untold_balances(before), testing::ElementsAre(kUnwritten));
    before[kUnwritten] = after[kUnwritten] = 0;
    EXPECT_TRUE(untold_balances(before).empty());
    EXPECT_EQ(take_balances(before, after).size(), even().size() + 1);
    EXPECT_TRUE(all_even(take_balances(before, after)));
    after[kUnwritten] = 1;
    EXPECT_FALSE(all_even(take_balances(before, after)));
    before[kUnwritten] = 1;
    EXPECT_FALSE(all_even(take_balances(before, after))) << "lost before the run, and lost all the same";
    after.erase(kUnwritten);
    EXPECT_THROW(take_balances(before, after), machine::ProtocolError) << "no longer told";
}

TEST(TakeBalances, AMissingCounterIsNoEvenOne) {
    for (const auto& [name, value] : even()) {
        oracle::Counters after = even();
        after.erase(name);
        try {
            take_balances(even(), after);
            ADD_FAILURE() << name;
        } catch (const machine::ProtocolError& e) {
            EXPECT_THAT(e.what(), HasSubstr(name));
        }
    }
}

TEST(ShapeMachine, SizesAndNoCompaction) {
    SwapCycleConfig c;
    c.ram_mib = 1000;
    c.vram_mib = 64;
    c.swap_mib = 100;
    machine::MachineConfig m;
    m.cmdline_extra = "mine";
    shape_machine(c, m);
    EXPECT_EQ(m.ram_mib, 1000u);
    EXPECT_EQ(m.vram_mib, 64u);
    EXPECT_EQ(m.swap_mib, 100u);
    EXPECT_THAT(m.cmdline_extra, HasSubstr("mine sysctl.vm.extfrag_threshold=1000"));
    EXPECT_THAT(m.cmdline_extra, HasSubstr("sysctl.vm.compaction_proactiveness=0"));
}

}  // namespace
}  // namespace vttm::cli
