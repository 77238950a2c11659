// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/scan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>
#include <stdexcept>

#include "host-backend/oracle/parallel.h"
#include "tests/unit/oracle/fake_guest.h"

namespace vttm::oracle::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class Scan : public ::testing::Test {
protected:
    std::vector<StampHit> scan(unsigned threads = 2) {
        const std::vector<ByteRange> all = {{0, bytes_.size()}};
        return scan_pages(bytes_, kKey, all, threads);
    }
    void put(std::uint64_t page, const vttm_stamp_id& id) {
        std::array<std::uint64_t, kPageSize / 8> content;
        vttm_stamp_fill(content.data(), &id);
        std::memcpy(bytes_.data() + page * kPageSize, content.data(), kPageSize);
    }

    // More than two chunks, so that threads share the work.
    std::vector<std::byte> bytes_ = std::vector<std::byte>(20 * kMiB);
};

TEST_F(Scan, FindsStampedPagesInOrder) {
    const std::uint64_t last = bytes_.size() / kPageSize - 1;
    put(last, {.key = kKey, .page = 1, .buffer = 2, .generation = 3});
    put(0, {.key = kKey, .page = 4, .buffer = 5, .generation = 6});
    put(2048, {.key = kKey, .page = 7, .buffer = 8, .generation = 9});
    for (const unsigned threads : {1u, 2u, 7u, 0u}) {
        const auto hits = scan(threads);
        ASSERT_EQ(hits.size(), 3u);
        EXPECT_EQ(hits[0].addr, 0u);
        EXPECT_EQ(hits[0].id, (PageId{5, 4}));
        EXPECT_EQ(hits[0].generation, 6u);
        EXPECT_EQ(hits[0].cls, PageClass::kGood);
        EXPECT_EQ(hits[1].addr, 2048 * kPageSize);
        EXPECT_EQ(hits[2].addr, last * kPageSize);
    }
}

TEST_F(Scan, AnotherRunsKeyIsNotOurs) {
    put(3, {.key = kKey + 1, .page = 1, .buffer = 2, .generation = 3});
    EXPECT_THAT(scan(), IsEmpty());
}

TEST_F(Scan, TheMagicAloneIsNoStamp) {
    const std::uint64_t word = VTTM_STAMP_MAGIC;
    std::memcpy(bytes_.data() + 5 * kPageSize, &word, sizeof(word));
    EXPECT_THAT(scan(), IsEmpty());
}

TEST_F(Scan, DamagedPagesAreHitsOfTheirClass) {
    put(3, {.key = kKey, .page = 1, .buffer = 2, .generation = 3});
    bytes_[3 * kPageSize + 1000] ^= std::byte{4};
    put(5, {.key = kKey, .page = 2, .buffer = 2, .generation = 3});
    std::memset(bytes_.data() + 5 * kPageSize + 2048, 0, 2048);
    const auto hits = scan();
    ASSERT_EQ(hits.size(), 2u);
    EXPECT_EQ(hits[0].cls, PageClass::kBitflip);
    EXPECT_EQ(hits[1].cls, PageClass::kTorn);
}

TEST_F(Scan, ALostFirstLineDoesNotHideThePage) {
    put(3, {.key = kKey, .page = 1, .buffer = 2, .generation = 3});
    std::memset(bytes_.data() + 3 * kPageSize, 0, 64);
    const auto hits = scan();
    ASSERT_EQ(hits.size(), 1u);
    EXPECT_EQ(hits[0].id, (PageId{2, 1}));
    EXPECT_EQ(hits[0].cls, PageClass::kTorn);
}

TEST_F(Scan, OnlyTheGivenRangesAreRead) {
    put(3, {.key = kKey, .page = 1, .buffer = 2, .generation = 3});
    put(9, {.key = kKey, .page = 2, .buffer = 2, .generation = 3});
    const std::vector<ByteRange> part = {{8 * kPageSize, 4 * kPageSize},
                                         {bytes_.size() - kPageSize, 64 * kPageSize}};
    const auto hits = scan_pages(bytes_, kKey, part, 2);
    ASSERT_EQ(hits.size(), 1u);
    EXPECT_EQ(hits[0].id.page, 2u);
}

TEST(SortHits, AgainstTheLedger) {
    Ledger ledger(kKey);
    ledger.add({.id = 1, .pages = 4});
    ledger.filled(1, 2);
    ledger.add({.id = 2, .pages = 4});
    ledger.filled(2, 1);
    ledger.freed(2);
    const ScanResult r = sort_hits(ledger,
                                   {{{1, 0}, 2, 0x1000, PageClass::kGood},
                                    {{1, 0}, 2, 0x5000, PageClass::kGood},
                                    {{1, 1}, 2, 0x2000, PageClass::kGood},
                                    {{1, 2}, 2, 0x3000, PageClass::kTorn},
                                    {{1, 1}, 1, 0x4000, PageClass::kGood},
                                    {{2, 0}, 1, 0x6000, PageClass::kGood},
                                    {{1, 9}, 2, 0x7000, PageClass::kGood},
                                    {{8, 0}, 1, 0x8000, PageClass::kGood}},
                                   100);
    EXPECT_EQ(r.scanned_pages, 100u);
    EXPECT_EQ(r.live_pages(), 2u);
    EXPECT_EQ(r.second_copies(), 1u);
    EXPECT_THAT(r.copied(), ElementsAre(PageId{1, 0}));
    EXPECT_THAT(r.live.at({1, 0}), ElementsAre(0x1000, 0x5000));
    ASSERT_EQ(r.damaged.size(), 1u);
    EXPECT_EQ(r.damaged[0].id, (PageId{1, 2}));
    ASSERT_EQ(r.leftovers.size(), 1u);
    EXPECT_EQ(r.leftovers[0].addr, 0x4000u);
    EXPECT_EQ(r.strays.size(), 3u) << "a freed buffer, a page past the end, an unknown buffer";
}

TEST(DataRanges, SkipsHoles) {
    const int fd = ::memfd_create("ranges", MFD_CLOEXEC);
    ASSERT_GE(fd, 0);
    ASSERT_EQ(::ftruncate(fd, 8 * kMiB), 0);
    EXPECT_THAT(data_ranges(fd, 8 * kMiB), IsEmpty());
    const char byte = 1;
    ASSERT_EQ(::pwrite(fd, &byte, 1, 3 * kMiB + 5), 1);
    ASSERT_EQ(::pwrite(fd, &byte, 1, 8 * kMiB - 1), 1);
    const auto ranges = data_ranges(fd, 8 * kMiB);
    ASSERT_EQ(ranges.size(), 2u);
    EXPECT_LE(ranges[0].offset, 3 * kMiB);
    EXPECT_GT(ranges[0].offset + ranges[0].length, 3 * kMiB + 5);
    EXPECT_LT(ranges[0].length, 3 * kMiB);
    EXPECT_EQ(ranges[1].offset + ranges[1].length, 8 * kMiB);
    // A part: what lies behind it does not count.
    EXPECT_EQ(data_ranges(fd, 4 * kMiB).size(), 1u);
    ::close(fd);
}

TEST(ParallelFor, DoesEachItemOnceAndPassesErrorsOn) {
    std::array<std::atomic<int>, 1000> done{};
    parallel_for(done.size(), 4, [&](std::size_t i, unsigned worker) {
        EXPECT_LT(worker, 4u);
        done[i]++;
    });
    for (const auto& d : done) EXPECT_EQ(d, 1);
    parallel_for(0, 4, [](std::size_t, unsigned) { FAIL(); });
    EXPECT_THROW(parallel_for(100, 4,
                              [](std::size_t i, unsigned) {
                                  if (i == 50) throw std::runtime_error("boom");
                              }),
                 std::runtime_error);
}

}  // namespace
}  // namespace vttm::oracle::test
