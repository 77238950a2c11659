// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/forensics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <set>

namespace vttm::oracle {
namespace {

using ::testing::HasSubstr;
using Page = std::array<std::uint64_t, kPageSize / 8>;

constexpr vttm_stamp_id kWant{.key = 99, .page = 12, .buffer = 7, .generation = 3};
constexpr Place kWhere{PlaceKind::kSwap, 0, 345};

Page stamped(const vttm_stamp_id& id) {
    Page p;
    vttm_stamp_fill(p.data(), &id);
    return p;
}

TEST(Forensics, GoodPageIsNoCase) { EXPECT_FALSE(examine(stamped(kWant).data(), kWant, kWhere)); }

TEST(Forensics, BitFlipNamesLineAndBits) {
    Page p = stamped(kWant);
    p[20 * 8 + 3] ^= 0x5;  // line 20, word 3, bits 0 and 2
    const auto bad = examine(p.data(), kWant, kWhere);
    ASSERT_TRUE(bad);
    EXPECT_EQ(bad->cls, PageClass::kBitflip);
    EXPECT_EQ(bad->first_bad_line, 20u);
    EXPECT_EQ(bad->bad_lines, 1u);
    EXPECT_EQ(bad->flipped_bits, 2u);
    EXPECT_EQ(bad->first_bad_bit, (20u * 8 + 3) * 64);
    EXPECT_EQ(bad->where, kWhere);
    EXPECT_TRUE(bad->read);
    EXPECT_FALSE(bad->found);
}

TEST(Forensics, ZeroPage) {
    const Page p{};
    const auto bad = examine(p.data(), kWant, kWhere);
    ASSERT_TRUE(bad);
    EXPECT_EQ(bad->cls, PageClass::kZero);
    EXPECT_EQ(bad->first_bad_line, 0u);
    EXPECT_EQ(bad->bad_lines, 64u);
    EXPECT_FALSE(bad->found);
}

TEST(Forensics, StaleAndForeignNameWhatIsThere) {
    vttm_stamp_id other = kWant;
    other.generation = 2;
    auto bad = examine(stamped(other).data(), kWant, kWhere);
    ASSERT_TRUE(bad && bad->found);
    EXPECT_EQ(bad->cls, PageClass::kStale);
    EXPECT_EQ(bad->found->generation, 2u);
    EXPECT_THAT(describe(*bad), HasSubstr("buffer 7 page 12: stale in swap slot 345; holds buffer "
                                          "7 page 12 generation 2 (expected generation 3)"));

    other = kWant;
    other.buffer = 8;
    other.page = 5;
    bad = examine(stamped(other).data(), kWant, kWhere);
    ASSERT_TRUE(bad && bad->found);
    EXPECT_EQ(bad->cls, PageClass::kForeign);
    EXPECT_EQ(bad->found->buffer, 8u);
    EXPECT_EQ(bad->found->page, 5u);
}

TEST(Forensics, TornPageNamesTheFirstIntruder) {
    vttm_stamp_id other = kWant;
    other.page = 13;
    Page p = stamped(kWant);
    const Page q = stamped(other);
    std::memcpy(&p[40 * 8], &q[40 * 8], 24 * 64);
    const auto bad = examine(p.data(), kWant, kWhere);
    ASSERT_TRUE(bad && bad->found);
    EXPECT_EQ(bad->cls, PageClass::kTorn);
    EXPECT_EQ(bad->first_bad_line, 40u);
    EXPECT_EQ(bad->bad_lines, 24u);
    EXPECT_EQ(bad->found->page, 13u);
}

TEST(Forensics, Garbage) {
    Page p;
    p.fill(0xdeadbeefcafef00dull);
    const auto bad = examine(p.data(), kWant, kWhere);
    ASSERT_TRUE(bad);
    EXPECT_EQ(bad->cls, PageClass::kGarbage);
}

TEST(Forensics, AnotherKeyIsGarbage) {
    vttm_stamp_id other = kWant;
    other.key = 98;
    const auto bad = examine(stamped(other).data(), kWant, kWhere);
    ASSERT_TRUE(bad);
    EXPECT_EQ(bad->cls, PageClass::kGarbage);
}

TEST(Forensics, PlacesAreNamed) {
    EXPECT_EQ(describe(Place{PlaceKind::kVram, 0x3000, -1}), "VRAM at 0x3000");
    EXPECT_EQ(describe(Place{PlaceKind::kGtt, 0x3000, -1}), "RAM at 0x3000 (gtt)");
    EXPECT_EQ(describe(Place{PlaceKind::kShmem, 0x3000, -1}), "RAM at 0x3000 (shmem)");
    EXPECT_EQ(describe(Place{PlaceKind::kSwapcache, 0x3000, 4}),
              "RAM at 0x3000 (swapcache, slot 4)");
    EXPECT_EQ(describe(Place{}), "nowhere");
}

TEST(Forensics, ReportCountsClasses) {
    WitnessReport r;
    r.checked = 10;
    for (const PageClass cls : {PageClass::kZero, PageClass::kZero, PageClass::kMissing}) {
        BadPage bad;
        bad.id = {1, r.bad.size()};
        bad.cls = cls;
        r.bad.push_back(bad);
    }
    const ClassCounts c = r.by_class();
    EXPECT_EQ(c[index_of(PageClass::kGood)], 7u);
    EXPECT_EQ(c[index_of(PageClass::kZero)], 2u);
    EXPECT_EQ(c[index_of(PageClass::kMissing)], 1u);
}

TEST(PageClassNames, RoundTrip) {
    std::set<std::string_view> names;
    for (std::size_t i = 0; i < kNumPageClasses; i++) {
        const auto c = static_cast<PageClass>(i);
        names.insert(name_of(c));
        EXPECT_EQ(page_class_from_name(name_of(c)), c);
    }
    EXPECT_EQ(names.size(), kNumPageClasses);
    EXPECT_FALSE(page_class_from_name("fine"));
    EXPECT_FALSE(page_class_from_protocol(VTTM_STAMP_NUM_CLASSES));
    EXPECT_EQ(page_class_from_protocol(VTTM_STAMP_TORN), PageClass::kTorn);
}

}  // namespace
}  // namespace vttm::oracle
