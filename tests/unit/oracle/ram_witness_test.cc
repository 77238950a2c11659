// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/ram_witness.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

#include "tests/unit/oracle/fake_guest.h"

namespace vttm::oracle::test {
namespace {

using ::testing::ElementsAre;

TEST(RamWitness, EveryResidentKindOnBothSidesOfTheHole) {
    FakeGuest g;
    g.add(1, 5);
    g.put({1, 0}, in_gtt(g.gpa(1)));
    g.put({1, 1}, in_ram(PlaceKind::kSystem, g.gpa(2)));
    g.put({1, 2}, in_shmem(g.gpa(3000)));  // above 4 GiB
    g.put({1, 3}, in_cache(g.gpa(3001), 9));
    g.put({1, 4}, in_swap(10));
    const ClaimCheck c = RamWitness(g.ledger, g.ram()).check(g.placement());
    EXPECT_EQ(c.checked, 4u) << "swap is not RAM";
    EXPECT_TRUE(c.bad.empty());
}

TEST(RamWitness, AFalseClaimIsFound) {
    FakeGuest g;
    g.add(1, 4);
    for (std::uint64_t i = 0; i < 4; i++) g.put({1, i}, in_shmem(g.gpa(10 + i)));
    g.claim({1, 1}, in_shmem(g.gpa(20)));                        // nothing there
    g.claim({1, 2}, in_shmem(g.gpa(13)));                        // another page there
    g.claim({1, 3}, in_shmem(GuestRamView::kFourGiB - 0x1000));  // in the hole
    const ClaimCheck c = RamWitness(g.ledger, g.ram()).check(g.placement());
    EXPECT_EQ(c.checked, 4u);
    EXPECT_EQ(c.good(), 1u);
    ASSERT_EQ(c.bad.size(), 3u);
    EXPECT_EQ(c.bad[0].cls, PageClass::kZero);
    EXPECT_EQ(c.bad[1].cls, PageClass::kForeign);
    EXPECT_EQ(c.bad[1].found->page, 3u);
    EXPECT_EQ(c.bad[1].where.addr, g.gpa(13));
    EXPECT_EQ(c.bad[2].cls, PageClass::kMissing);
}

TEST(RamWitness, NoExpectationsForUnfilledOrUnknownBuffers) {
    FakeGuest g;
    g.add(1, 1, Domain::kGtt, 0);
    g.claim({1, 0}, in_gtt(g.gpa(1)));
    g.claim({5, 0}, in_gtt(g.gpa(1)));
    EXPECT_EQ(RamWitness(g.ledger, g.ram()).check(g.placement()).checked, 0u);
}

TEST(RamWitness, ManyThreadsListBadPagesInOrder) {
    FakeGuest g(64 * kMiB);
    g.add(1, 4000);
    g.add(2, 4000);
    g.put_run(1, 0, 4000, in_gtt(g.gpa(100)));
    g.put_run(2, 0, 4000, in_gtt(g.gpa(8192)));
    for (std::uint64_t p = 0; p < 4000; p += 7) {
        g.write_ram(g.gpa(100 + p), g.stamp(1, p, 9));
        g.write_ram(g.gpa(8192 + p), g.stamp(2, p, 9));
    }
    const ClaimCheck c = RamWitness(g.ledger, g.ram(), 5).check(g.placement());
    EXPECT_EQ(c.checked, 8000u);
    ASSERT_EQ(c.bad.size(), 2 * 572u);
    for (std::size_t i = 1; i < c.bad.size(); i++) {
        EXPECT_LT(c.bad[i - 1].id, c.bad[i].id);
        EXPECT_EQ(c.bad[i].cls, PageClass::kStale);
    }
}

TEST(RamWitness, ScanTellsLiveCopiesLeftoversAndStrays) {
    FakeGuest g;
    g.add(1, 4, Domain::kGtt, 2);
    g.add(3, 1);
    g.write_ram(g.gpa(5), g.stamp(1, 0, 2));
    g.write_ram(g.gpa(6), g.stamp(1, 1, 2));
    g.write_ram(g.gpa(3500), g.stamp(1, 1, 2));  // a second copy
    g.write_ram(g.gpa(7), g.stamp(1, 2, 1));     // an older generation
    g.write_ram(g.gpa(8), g.stamp(3, 0, 1));
    g.ledger.freed(3);
    const ScanResult s = RamWitness(g.ledger, g.ram()).scan();
    EXPECT_EQ(s.scanned_pages, 4096u);
    EXPECT_EQ(s.live_pages(), 2u);
    EXPECT_THAT(s.live.at({1, 1}), ElementsAre(g.gpa(6), g.gpa(3500)));
    EXPECT_THAT(s.copied(), ElementsAre(PageId{1, 1}));
    ASSERT_EQ(s.leftovers.size(), 1u);
    EXPECT_EQ(s.leftovers[0].addr, g.gpa(7));
    ASSERT_EQ(s.strays.size(), 1u);
    EXPECT_EQ(s.strays[0].id.buffer, 3u);
}

// RAM of a file: what the guest never touched is neither read nor allocated by the scan.
TEST(RamWitness, ScanSkipsHolesOfTheMemoryFile) {
    constexpr std::uint64_t kSize = 32 * kMiB;
    const int fd = ::memfd_create("ram", MFD_CLOEXEC);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(::ftruncate(fd, kSize), 0);
    void* p = ::mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ASSERT_NE(p, MAP_FAILED);
    const GuestRamView ram{
        .bytes = {static_cast<std::byte*>(p), kSize}, .below_4g = kSize, .fd = fd};
    const vttm_stamp_id id{.key = kKey, .page = 0, .buffer = 1, .generation = 1};
    vttm_stamp_fill(static_cast<std::byte*>(p) + 24 * kMiB, &id);
    Ledger ledger(kKey);
    ledger.add({.id = 1, .pages = 1});
    ledger.filled(1, 1);
    const ScanResult s = RamWitness(ledger, ram).scan();
    EXPECT_THAT(s.live.at({1, 0}), ElementsAre(24 * kMiB));
    EXPECT_LT(s.scanned_pages, kSize / kPageSize / 2);
    struct stat st {};
    ASSERT_EQ(::fstat(fd, &st), 0);
    EXPECT_LT(static_cast<std::uint64_t>(st.st_blocks) * 512, kSize / 2);
    ::munmap(p, kSize);
    ::close(fd);
}

TEST(VramWitness, ClaimsAndGhosts) {
    FakeGuest g;
    g.add(1, 3, Domain::kVram);
    g.put({1, 0}, in_vram(0));
    g.put({1, 1}, in_vram(4 * kMiB - kPageSize));
    g.claim({1, 2}, in_vram(4 * kMiB));    // outside
    g.write_vram(kMiB, g.stamp(1, 1, 1));  // a ghost of an eviction
    const VramWitness w(g.ledger, g.vram());
    const ClaimCheck c = w.check(g.placement());
    EXPECT_EQ(c.checked, 3u);
    ASSERT_EQ(c.bad.size(), 1u) << "the ghost is nobody's claim";
    EXPECT_EQ(c.bad[0].cls, PageClass::kMissing);
}

}  // namespace
}  // namespace vttm::oracle::test
