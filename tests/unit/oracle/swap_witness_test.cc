// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/swap_witness.h"

#include <gtest/gtest.h>

#include <system_error>

#include "host-backend/oracle/witness_log.h"
#include "tests/unit/oracle/fake_guest.h"

namespace vttm::oracle::test {
namespace {

TEST(SwapWitness, ChecksEachSlot) {
    FakeGuest g;
    g.add(1, 600);
    g.put_run(1, 0, 600, in_swap(1000));
    const SwapCheck c = SwapWitness(g.ledger, g.swap_fd()).check(g.placement());
    EXPECT_EQ(c.claims.checked, 600u);
    EXPECT_TRUE(c.claims.bad.empty());
    EXPECT_EQ(c.on_disk(), 600u);
    EXPECT_EQ(c.gtt_pages, 600u);
    EXPECT_DOUBLE_EQ(c.gtt_share(), 1.0);
}

TEST(SwapWitness, FalseClaimsAreFound) {
    FakeGuest g;
    g.add(1, 5);
    g.put_run(1, 0, 5, in_swap(100));
    g.claim({1, 0}, in_swap(5000));       // a hole of the file
    g.claim({1, 1}, in_swap(1ll << 39));  // outside the file
    g.write_swap(102, g.stamp(1, 2, 7));  // another generation
    g.write_swap(103, g.stamp(1, 4, 1));  // another page
    const SwapCheck c = SwapWitness(g.ledger, g.swap_fd()).check(g.placement());
    EXPECT_EQ(c.claims.checked, 5u);
    ASSERT_EQ(c.claims.bad.size(), 4u);
    EXPECT_EQ(c.claims.bad[0].cls, PageClass::kZero);
    EXPECT_EQ(c.claims.bad[1].cls, PageClass::kMissing);
    EXPECT_EQ(c.claims.bad[2].cls, PageClass::kStale);
    EXPECT_EQ(c.claims.bad[2].where.slot, 102);
    EXPECT_EQ(c.claims.bad[3].cls, PageClass::kForeign);
    EXPECT_EQ(c.on_disk(), 1u);
}

TEST(SwapWitness, AFileShorterThanTheClaim) {
    FakeGuest g(16 * kMiB, 4 * kMiB, 10 * kPageSize);
    g.add(1, 4);
    g.put_run(1, 0, 2, in_swap(8));
    g.claim({1, 2}, in_swap(10));
    g.claim({1, 3}, in_swap(11));
    const SwapCheck c = SwapWitness(g.ledger, g.swap_fd()).check(g.placement());
    ASSERT_EQ(c.claims.bad.size(), 2u);
    EXPECT_EQ(c.claims.bad[0].cls, PageClass::kMissing);
    EXPECT_EQ(c.claims.bad[1].cls, PageClass::kMissing);
}

TEST(SwapWitness, SwapCachePagesNeedNotBeOnDiskYet) {
    FakeGuest g;
    g.add(1, 4);
    g.put({1, 0}, in_cache(g.gpa(1), 50), true);
    g.put({1, 1}, in_cache(g.gpa(2), 51), false);
    g.put({1, 2}, in_swap(52));
    g.put({1, 3}, in_gtt(g.gpa(3)));
    const SwapCheck c = SwapWitness(g.ledger, g.swap_fd()).check(g.placement());
    EXPECT_EQ(c.claims.checked, 1u);
    EXPECT_TRUE(c.claims.bad.empty());
    EXPECT_EQ(c.cached, 2u);
    EXPECT_EQ(c.cached_on_disk, 1u);
    EXPECT_EQ(c.on_disk(), 2u);
    EXPECT_DOUBLE_EQ(c.gtt_share(), 0.5);
}

TEST(SwapWitness, OnlyGttBuffersMakeTheShare) {
    FakeGuest g;
    g.add(1, 4);
    g.add(2, 4, Domain::kVram);
    g.put_run(1, 0, 1, in_swap(10));
    g.put_run(2, 0, 4, in_swap(20));
    const SwapCheck c = SwapWitness(g.ledger, g.swap_fd()).check(g.placement());
    EXPECT_EQ(c.on_disk(), 5u);
    EXPECT_DOUBLE_EQ(c.gtt_share(), 0.25);
}

// A freed slot keeps its bytes: never counted.
TEST(SwapWitness, GhostsAreNotCounted) {
    FakeGuest g;
    g.add(1, 2, Domain::kGtt, 3);
    g.put({1, 0}, in_swap(10));
    g.put({1, 1}, in_gtt(g.gpa(5)));
    g.write_swap(77, g.stamp(1, 1, 3));  // it was there before it came back
    g.write_swap(78, g.stamp(1, 0, 2));
    const SwapWitness w(g.ledger, g.swap_fd());
    const SwapCheck c = w.check(g.placement());
    EXPECT_EQ(c.on_disk(), 1u);
    EXPECT_TRUE(c.claims.bad.empty());
}

class Runs : public ::testing::Test {
protected:
    RunStats runs(const WitnessLog* log = nullptr) {
        return SwapWitness(g_.ledger, g_.swap_fd()).check(g_.placement(), log).runs;
    }
    FakeGuest g_{64 * kMiB, 4 * kMiB, 64 * kMiB};
};

TEST_F(Runs, UnsplitGroups) {
    g_.add(1, 1024 + 100);
    g_.put_run(1, 0, 512, in_swap(513));  // 512 in a row count wherever they start
    g_.put_run(1, 512, 512, in_swap(2048));
    g_.put_run(1, 1024, 100, in_swap(4096));  // the tail is no group
    EXPECT_EQ(runs().groups, 2u);
    EXPECT_EQ(runs().unsplit, 2u);
    EXPECT_EQ(runs().huge_groups, 0u) << "no log, no knowledge";
}

TEST_F(Runs, SplitGroups) {
    g_.add(1, 512);
    g_.put_run(1, 0, 256, in_swap(512));
    g_.put_run(1, 256, 256, in_swap(2048));
    EXPECT_EQ(runs().groups, 1u);
    EXPECT_EQ(runs().unsplit, 0u);
    EXPECT_EQ(runs().split(), 1u);
}

TEST_F(Runs, InARowButOutOfOrderIsSplit) {
    g_.add(1, 512);
    g_.put_run(1, 0, 512, in_swap(512));
    g_.put({1, 5}, in_swap(512 + 6));
    g_.put({1, 6}, in_swap(512 + 5));
    EXPECT_EQ(runs().groups, 1u);
    EXPECT_EQ(runs().unsplit, 0u);
}

TEST_F(Runs, PartlyInSwapDoesNotCount) {
    g_.add(1, 512);
    g_.put_run(1, 0, 511, in_swap(512));
    g_.put({1, 511}, in_gtt(g_.gpa(7)));
    EXPECT_EQ(runs().groups, 0u);
}

TEST_F(Runs, ABadPageIsNoEvidence) {
    g_.add(1, 512);
    g_.put_run(1, 0, 512, in_swap(512));
    g_.write_swap(600, g_.stamp(1, 88, 2));
    EXPECT_EQ(runs().groups, 0u);
}

TEST_F(Runs, GroupsAreAlignedInTheBuffer) {
    g_.add(1, 1024);
    g_.put_run(1, 0, 256, in_gtt(g_.gpa(512)));
    g_.put_run(1, 256, 512, in_swap(512));
    g_.put_run(1, 768, 256, in_gtt(g_.gpa(1024)));
    EXPECT_EQ(runs().groups, 0u);
}

TEST_F(Runs, TheLogTellsWhichWereHugePages) {
    TempDir dir;
    LogWriter w(dir.path() / "log");
    g_.add(1, 4 * 512);
    g_.put_run(1, 0, 4 * 512, in_swap(512));
    g_.put({1, 3 * 512}, in_swap(8000));
    w.write(1, 1, 0, 512, 0x40000000);     // huge
    w.write(1, 1, 512, 512, 0x50001000);   // not aligned
    w.write(1, 1, 1024, 256, 0x60000000);  // in two parts
    w.write(1, 1, 1280, 256, 0x70000000);
    w.write(1, 1, 1536, 512, 0x80000000);  // huge, but split on disk
    WitnessLog log(w.path());
    log.poll();
    const RunStats r = runs(&log);
    EXPECT_EQ(r.groups, 4u);
    EXPECT_EQ(r.unsplit, 3u);
    EXPECT_EQ(r.huge_groups, 2u);
    EXPECT_EQ(r.huge_unsplit, 1u);
}

TEST(SwapWitness, ABadDescriptorIsRefused) {
    Ledger ledger(1);
    EXPECT_THROW(SwapWitness(ledger, -1), std::system_error);
}

TEST(SwapWitness, EmptyFile) {
    FakeGuest g(16 * kMiB, 4 * kMiB, 0);
    g.add(1, 1);
    const SwapWitness w(g.ledger, g.swap_fd());
    EXPECT_EQ(w.check(g.placement()).on_disk(), 0u);
}

}  // namespace
}  // namespace vttm::oracle::test
