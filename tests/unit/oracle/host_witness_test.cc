// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/host_witness.h"

#include <gtest/gtest.h>

#include "tests/unit/oracle/fake_guest.h"

namespace vttm::oracle::test {
namespace {

TEST(HostWitness, EveryFilledPageIsCheckedOnce) {
    FakeGuest g;
    g.add(1, 4);
    g.add(2, 2, Domain::kVram);
    g.add(3, 2, Domain::kGtt, 0);  // not filled: nothing to check
    g.put({1, 0}, in_gtt(g.gpa(1)));
    g.put({1, 1}, in_shmem(g.gpa(2)));
    g.put({1, 2}, in_cache(g.gpa(3), 5), false);
    g.put({1, 3}, in_swap(6));
    g.put_run(2, 0, 2, in_vram(0x4000));
    const HostCheck c = check_host(g.ledger, g.placement(), g.view());
    EXPECT_TRUE(c.report.present);
    EXPECT_EQ(c.report.checked, 6u);
    EXPECT_EQ(c.report.good(), 6u);
    EXPECT_EQ(c.in_ram, 3u);
    EXPECT_EQ(c.in_vram, 2u);
    EXPECT_EQ(c.swap.on_disk(), 1u);
}

TEST(HostWitness, PagesClaimedNowhereAreMissing) {
    FakeGuest g;
    g.add(1, 5);
    g.add(2, 2);
    g.put({1, 1}, in_gtt(g.gpa(1)));
    g.put({1, 3}, in_gtt(g.gpa(3)));
    g.claim({1, 4}, Place{});
    const HostCheck c = check_host(g.ledger, g.placement(), g.view());
    EXPECT_EQ(c.report.checked, 7u);
    ASSERT_EQ(c.report.bad.size(), 5u);
    EXPECT_EQ(c.report.bad[0].id, (PageId{1, 0}));
    EXPECT_EQ(c.report.bad[1].id, (PageId{1, 2}));
    EXPECT_EQ(c.report.bad[2].id, (PageId{1, 4}));
    EXPECT_EQ(c.report.bad[3].id, (PageId{2, 0}));
    for (const BadPage& b : c.report.bad) EXPECT_EQ(b.cls, PageClass::kMissing);
}

// `checked` is what was looked at, not what should have been: a kind that no witness takes for its own
// must not pass for checked.
TEST(HostWitness, OnlyPagesThatAWitnessLookedAtCount) {
    FakeGuest g;
    g.add(1, 3);
    g.put({1, 0}, in_gtt(g.gpa(1)));
    g.put({1, 1}, in_swap(6));
    g.claim({1, 2}, {static_cast<PlaceKind>(kNumPlaceKinds), g.gpa(2), -1});
    EXPECT_EQ(check_host(g.ledger, g.placement(), g.view()).report.checked, 2u);
}

TEST(HostWitness, WithoutASwapFileClaimsThereAreMissing) {
    FakeGuest g;
    g.add(1, 2);
    g.put_run(1, 0, 2, in_swap(6));
    HostView view = g.view();
    view.swap_fd = -1;
    const HostCheck c = check_host(g.ledger, g.placement(), view);
    EXPECT_EQ(c.report.checked, 2u);
    ASSERT_EQ(c.report.bad.size(), 2u);
    EXPECT_EQ(c.report.bad[1].where.slot, 7);
}

TEST(HostWitness, ARecheckFollowsPagesThatMoved) {
    FakeGuest g;
    g.add(1, 4);
    for (std::uint64_t i = 0; i < 4; i++) g.put({1, i}, in_shmem(g.gpa(10 + i)));
    const Placement old = g.placement();
    // Between claim and look: three pages leave for swap, VRAM and elsewhere; one is destroyed.
    for (std::uint64_t i = 0; i < 4; i++) g.write_ram(g.gpa(10 + i), g.stamp(9, i, 9));
    HostCheck c = check_host(g.ledger, old, g.view());
    ASSERT_EQ(c.report.bad.size(), 4u);
    g.put({1, 0}, in_swap(40));
    g.put({1, 1}, in_gtt(g.gpa(3000)));
    g.put({1, 2}, in_vram(0x5000));
    recheck_host(c, g.ledger, g.placement(), g.view());
    EXPECT_EQ(c.moved, 3u);
    EXPECT_EQ(c.in_ram, 1u);
    EXPECT_EQ(c.in_vram, 1u);
    ASSERT_EQ(c.report.bad.size(), 1u);
    EXPECT_EQ(c.report.bad[0].id, (PageId{1, 3}));
    EXPECT_EQ(c.report.bad[0].cls, PageClass::kForeign);
    EXPECT_EQ(c.report.good(), 3u);
}

TEST(HostWitness, ARecheckDoesNotForgive) {
    FakeGuest g;
    g.add(1, 3);
    g.claim({1, 0}, in_swap(1 << 20));                            // outside
    g.claim({1, 1}, in_gtt(GuestRamView::kFourGiB - kPageSize));  // in the hole
    HostCheck c = check_host(g.ledger, g.placement(), g.view());
    recheck_host(c, g.ledger, g.placement(), g.view());
    EXPECT_EQ(c.report.bad.size(), 3u);
    EXPECT_EQ(c.moved, 0u);
}

}  // namespace
}  // namespace vttm::oracle::test
