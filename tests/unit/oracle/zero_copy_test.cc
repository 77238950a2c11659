// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/zero_copy.h"

#include <gtest/gtest.h>

#include "tests/unit/oracle/fake_guest.h"

namespace vttm::oracle::test {
namespace {

class ZeroCopy : public ::testing::Test {
protected:
    ZeroCopy() { g_.add(1, 16); }

    void sample(bool with_swap = true) {
        log_.poll();
        const RamWitness ram(g_.ledger, g_.ram());
        const SwapWitness swap(g_.ledger, g_.swap_fd());
        tracker_.sample(g_.placement(), ram, log_, with_swap ? &swap : nullptr);
    }

    TempDir dir_;
    FakeGuest g_;
    LogWriter device_{dir_.path() / "log"};
    WitnessLog log_{device_.path()};
    ZeroCopyTracker tracker_{g_.ledger};
};

TEST_F(ZeroCopy, NoEvidenceNoShare) {
    sample();
    EXPECT_FALSE(tracker_.stats().share());
    g_.put_run(1, 0, 16, in_gtt(g_.gpa(10)));
    device_.write(1, 1, 0, 16, g_.gpa(10));
    sample();
    EXPECT_FALSE(tracker_.stats().share()) << "still in GTT";
}

TEST_F(ZeroCopy, InsertedPagesAreUnchanged) {
    device_.write(1, 1, 0, 16, g_.gpa(10));
    g_.put_run(1, 0, 16, in_shmem(g_.gpa(10)));
    sample();
    EXPECT_EQ(tracker_.stats().unchanged, 16u);
    EXPECT_EQ(tracker_.stats().share(), 1.0);
}

TEST_F(ZeroCopy, CopiedPagesAreChanged) {
    device_.write(1, 1, 0, 16, g_.gpa(10));
    g_.put_run(1, 0, 16, in_shmem(g_.gpa(200)));
    sample();
    EXPECT_EQ(tracker_.stats().changed, 16u);
    EXPECT_EQ(tracker_.stats().share(), 0.0);
}

TEST_F(ZeroCopy, EachPageCountsOnceOverSamples) {
    device_.write(1, 1, 0, 16, g_.gpa(10));
    g_.put_run(1, 0, 8, in_shmem(g_.gpa(10)));
    g_.put_run(1, 8, 8, in_gtt(g_.gpa(18)));
    sample();
    g_.put_run(1, 8, 8, in_shmem(g_.gpa(300)));
    sample();
    sample();
    EXPECT_EQ(tracker_.samples(), 3u);
    EXPECT_EQ(tracker_.stats().unchanged, 8u);
    EXPECT_EQ(tracker_.stats().changed, 8u);
}

TEST_F(ZeroCopy, CountsAgainAfterTheDevicesNextAccess) {
    device_.write(1, 1, 0, 16, g_.gpa(10));
    g_.put_run(1, 0, 16, in_shmem(g_.gpa(10)));
    sample();
    device_.verify(1, 1, 0, 16, g_.gpa(500));
    g_.put_run(1, 0, 16, in_shmem(g_.gpa(500)));
    sample();
    EXPECT_EQ(tracker_.stats().unchanged, 32u);
    tracker_.reset_stats();
    sample();
    EXPECT_EQ(tracker_.stats().known(), 0u);
}

TEST_F(ZeroCopy, ANewGenerationCountsAnew) {
    device_.write(1, 1, 0, 16, g_.gpa(10));
    g_.put_run(1, 0, 16, in_shmem(g_.gpa(10)));
    sample();
    g_.ledger.filled(1, 2);
    g_.put_run(1, 0, 16, in_shmem(g_.gpa(30)));
    sample();
    EXPECT_EQ(tracker_.stats().unknown, 16u) << "the device did not see generation 2";
    device_.write(1, 2, 0, 16, g_.gpa(30));
    sample();
    EXPECT_EQ(tracker_.stats().unchanged, 32u);
}

TEST_F(ZeroCopy, WithoutTheDevicesSightItIsUnknown) {
    g_.put_run(1, 0, 8, in_shmem(g_.gpa(10)));           // never seen
    device_.write(1, 1, 8, 8, 0x8000, VTTM_SPACE_VRAM);  // seen in VRAM only
    g_.put_run(1, 8, 8, in_shmem(g_.gpa(18)));
    sample();
    EXPECT_EQ(tracker_.stats().unknown, 16u);
    EXPECT_EQ(tracker_.stats().known(), 0u);
}

// The copy engine moves buffers of domain vram between the device's accesses, unlogged.
TEST_F(ZeroCopy, VramDomainIsUnknown) {
    g_.add(2, 4, Domain::kVram);
    device_.write(2, 1, 0, 4, g_.gpa(40));
    g_.put_run(2, 0, 4, in_shmem(g_.gpa(80)));
    sample();
    EXPECT_EQ(tracker_.stats().unknown, 4u);
    EXPECT_EQ(tracker_.stats().changed, 0u);
}

TEST_F(ZeroCopy, PagesFirstSeenInSwapDoNotCount) {
    device_.write(1, 1, 0, 16, g_.gpa(10));
    g_.put_run(1, 0, 16, in_swap(100));
    sample();
    g_.put_run(1, 0, 16, in_cache(g_.gpa(300), 100));  // read back: another page by nature
    sample();
    EXPECT_EQ(tracker_.stats().known(), 0u);
    EXPECT_EQ(tracker_.stats().unknown, 0u);
    EXPECT_EQ(tracker_.stats().late, 16u) << "once, and named";
}

TEST_F(ZeroCopy, PagesSeenInShmemBeforeSwapAreNotLate) {
    device_.write(1, 1, 0, 16, g_.gpa(10));
    g_.put_run(1, 0, 16, in_shmem(g_.gpa(10)));
    sample();
    g_.put_run(1, 0, 16, in_swap(100));
    sample();
    EXPECT_EQ(tracker_.stats().unchanged, 16u);
    EXPECT_EQ(tracker_.stats().late, 0u);
    ZeroCopyStats sum = tracker_.stats();
    sum += ZeroCopyStats{.late = 3};
    EXPECT_EQ(sum.late, 3u);
}

TEST_F(ZeroCopy, PagesThatMovedSinceTheDevicesAccessAreUnknown) {
    device_.write(1, 1, 0, 16, g_.gpa(10));
    g_.put_run(1, 0, 16, in_gtt(g_.gpa(400)));  // restored for the CPU, say
    sample();
    g_.put_run(1, 0, 16, in_shmem(g_.gpa(400)));
    sample();
    EXPECT_EQ(tracker_.stats().unknown, 16u);
    EXPECT_EQ(tracker_.stats().known(), 0u);
}

TEST_F(ZeroCopy, SwapCacheOnItsWayOutIsEvidence) {
    device_.write(1, 1, 0, 16, g_.gpa(10));
    for (std::uint64_t i = 0; i < 4; i++) {  // same page: evidence in any case
        g_.put({1, i}, in_cache(g_.gpa(10 + i), static_cast<std::int64_t>(50 + i)), true);
    }
    for (std::uint64_t i = 4; i < 8; i++) {  // another page, slot not yet written
        g_.put({1, i}, in_cache(g_.gpa(300 + i), static_cast<std::int64_t>(50 + i)), false);
    }
    for (std::uint64_t i = 8; i < 12; i++) {  // another page, slot written: perhaps read back
        g_.put({1, i}, in_cache(g_.gpa(300 + i), static_cast<std::int64_t>(50 + i)), true);
    }
    sample();
    EXPECT_EQ(tracker_.stats().unchanged, 4u);
    EXPECT_EQ(tracker_.stats().changed, 4u);
    EXPECT_EQ(tracker_.stats().unknown, 4u);
}

TEST_F(ZeroCopy, WithoutTheSwapFileSwapCacheElsewhereIsUnknown) {
    device_.write(1, 1, 0, 1, g_.gpa(10));
    g_.put({1, 0}, in_cache(g_.gpa(300), 50), false);
    sample(false);
    EXPECT_EQ(tracker_.stats().unknown, 1u);
}

TEST_F(ZeroCopy, AClaimWithoutTheContentIsNoEvidence) {
    device_.write(1, 1, 0, 1, g_.gpa(10));
    g_.claim({1, 0}, in_shmem(g_.gpa(10)));  // the address is right, the bytes are not there
    sample();
    EXPECT_EQ(tracker_.stats().bad, 1u);
    EXPECT_EQ(tracker_.stats().known(), 0u);
    g_.put({1, 0}, in_shmem(g_.gpa(10)));
    sample();
    EXPECT_EQ(tracker_.stats().unchanged, 1u);
}

TEST(ZeroCopyStats, Sum) {
    ZeroCopyStats a{.unchanged = 1, .changed = 3, .unknown = 5, .bad = 7};
    a += a;
    EXPECT_EQ(a.unchanged, 2u);
    EXPECT_EQ(a.known(), 8u);
    EXPECT_EQ(a.unknown, 10u);
    EXPECT_EQ(a.bad, 14u);
    EXPECT_EQ(a.share(), 0.25);
}

}  // namespace
}  // namespace vttm::oracle::test
