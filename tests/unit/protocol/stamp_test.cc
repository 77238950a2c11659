// SPDX-License-Identifier: Apache-2.0
// Stamps: what is made is good, every damage is found, and its class is the right one.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>
#include <set>

#include "protocol/vttm_stamp.h"
#include "tests/unit/protocol/layout_c.h"

namespace vttm::protocol {
namespace {

struct alignas(64) Page {
    std::array<uint64_t, VTTM_STAMP_PAGE_SIZE / 8> w;
    uint8_t* bytes() { return reinterpret_cast<uint8_t*>(w.data()); }
};

class Stamp : public ::testing::Test {
protected:
    vttm_stamp_id random_id() {
        vttm_stamp_id id;
        id.key = rng_();
        id.page = rng_() % 4 ? rng_() % 4096 : rng_();
        id.buffer = 1 + rng_() % 1000;
        id.generation = 1 + rng_() % 20;
        return id;
    }
    static Page make(const vttm_stamp_id& id) {
        Page p;
        vttm_stamp_fill(p.w.data(), &id);
        return p;
    }
    static int classify(const Page& p, const vttm_stamp_id& id) {
        const int cls = vttm_stamp_classify(p.w.data(), &id);
        EXPECT_EQ(vttm_stamp_check(p.w.data(), &id), cls == VTTM_STAMP_GOOD);
        return cls;
    }
    std::mt19937_64 rng_{42};
};

// The format is on disks and in logs: it must not change unnoticed.
TEST_F(Stamp, KnownAnswer) {
    const vttm_stamp_id id{0x0123456789abcdef, 5, 2, 3};
    const Page p = make(id);
    EXPECT_EQ(p.w[0], 0x50545356ull);
    EXPECT_EQ(p.w[8 * 63], 0x0000003f50545356ull);
    EXPECT_EQ(p.w[1], 0x0000000300000002ull);
    EXPECT_EQ(p.w[2], 5u);
    uint64_t h = 0;
    for (uint64_t w : p.w) h = vttm_mix64(h ^ w);
    // Computed by an independent implementation (Python), not by this header.
    EXPECT_EQ(h, 0xb36b2841a3e2ec8eull);
}

TEST_F(Stamp, CAndCppMakeTheSame) {
    for (int i = 0; i < 100; i++) {
        const auto id = random_id();
        Page c;
        vttm_c_stamp_fill(c.w.data(), &id);
        EXPECT_EQ(c.w, make(id).w);
        EXPECT_EQ(vttm_c_stamp_classify(c.w.data(), &id), VTTM_STAMP_GOOD);
    }
}

TEST_F(Stamp, MadeIsGood) {
    for (int i = 0; i < 2000; i++) {
        const auto id = random_id();
        ASSERT_EQ(classify(make(id), id), VTTM_STAMP_GOOD);
    }
}

TEST_F(Stamp, EachLineNamesItself) {
    for (int i = 0; i < 200; i++) {
        const auto id = random_id();
        const Page p = make(id);
        for (uint32_t line = 0; line < VTTM_STAMP_LINES; line++) {
            vttm_stamp_id got;
            uint32_t at;
            ASSERT_TRUE(vttm_stamp_parse_line(&p.w[line * 8], id.key, &got, &at));
            EXPECT_EQ(at, line);
            EXPECT_EQ(got.buffer, id.buffer);
            EXPECT_EQ(got.generation, id.generation);
            EXPECT_EQ(got.page, id.page);
            EXPECT_FALSE(vttm_stamp_parse_line(&p.w[line * 8], id.key + 1, &got, &at));
        }
    }
}

TEST_F(Stamp, EverySingleBitFlipIsFound) {
    const auto id = random_id();
    Page p = make(id);
    for (uint32_t bit = 0; bit < VTTM_STAMP_PAGE_SIZE * 8; bit++) {
        p.w[bit / 64] ^= 1ull << bit % 64;
        ASSERT_EQ(classify(p, id), VTTM_STAMP_BITFLIP) << bit;
        // The line with the flip is not taken for a valid one.
        vttm_stamp_id got;
        uint32_t at;
        ASSERT_FALSE(vttm_stamp_parse_line(&p.w[bit / 512 * 8], id.key, &got, &at)) << bit;
        p.w[bit / 64] ^= 1ull << bit % 64;
    }
}

TEST_F(Stamp, UpToEightFlipsAreBitflips) {
    for (int i = 0; i < 500; i++) {
        const auto id = random_id();
        Page p = make(id);
        std::set<uint32_t> bits;
        const size_t n = 1 + i % 12;
        while (bits.size() < n) bits.insert(rng_() % (VTTM_STAMP_PAGE_SIZE * 8));
        for (uint32_t b : bits) p.w[b / 64] ^= 1ull << b % 64;
        ASSERT_EQ(classify(p, id), n <= 8 ? VTTM_STAMP_BITFLIP : VTTM_STAMP_GARBAGE) << n;
    }
}

TEST_F(Stamp, ZeroPage) {
    Page p{};
    EXPECT_EQ(classify(p, random_id()), VTTM_STAMP_ZERO);
    p.w[100] = 1;
    EXPECT_EQ(classify(p, random_id()), VTTM_STAMP_GARBAGE);
}

TEST_F(Stamp, WholePagesOfOthers) {
    for (int i = 0; i < 1000; i++) {
        const auto id = random_id();
        auto other = id;
        other.generation = id.generation + 1 + rng_() % 5;
        ASSERT_EQ(classify(make(other), id), VTTM_STAMP_STALE);
        ASSERT_EQ(classify(make(id), other), VTTM_STAMP_STALE) << "a newer one is not right either";
        other = id;
        other.page ^= 1 + rng_() % 1000;
        ASSERT_EQ(classify(make(other), id), VTTM_STAMP_FOREIGN);
        other.generation++;
        ASSERT_EQ(classify(make(other), id), VTTM_STAMP_FOREIGN);
        other = id;
        other.buffer++;
        ASSERT_EQ(classify(make(other), id), VTTM_STAMP_FOREIGN);
        other = id;
        other.key++;
        ASSERT_EQ(classify(make(other), id), VTTM_STAMP_GARBAGE) << "of another run";
    }
}

TEST_F(Stamp, MixedLinesAreTorn) {
    for (int i = 0; i < 1000; i++) {
        const auto id = random_id();
        auto other = id;
        if (i % 3 == 0) other.generation++;
        if (i % 3 == 1) other.page++;
        if (i % 3 == 2) other.buffer++;
        Page p = make(id);
        const Page q = make(other);
        const Page zero{};
        const uint32_t first = rng_() % VTTM_STAMP_LINES;
        const uint32_t n = 1 + rng_() % (VTTM_STAMP_LINES - first);
        const Page& from = i % 2 ? q : zero;
        std::memcpy(&p.w[first * 8], &from.w[first * 8], n * 64);
        if (n == VTTM_STAMP_LINES) continue;
        ASSERT_EQ(classify(p, id), VTTM_STAMP_TORN) << first << " " << n;
    }
    // Two other pages, none of it ours; and the right lines at the wrong place.
    const auto id = random_id();
    auto a = id, b = id;
    a.page++;
    b.page += 2;
    Page p = make(a);
    const Page q = make(b);
    std::memcpy(&p.w[256], &q.w[256], 2048);
    EXPECT_EQ(classify(p, id), VTTM_STAMP_TORN);
    p = make(id);
    std::swap_ranges(p.w.begin(), p.w.begin() + 8, p.w.begin() + 8);
    EXPECT_EQ(classify(p, id), VTTM_STAMP_TORN);
}

TEST_F(Stamp, RandomBytesAreGarbage) {
    for (int i = 0; i < 200; i++) {
        const auto id = random_id();
        Page p;
        for (auto& w : p.w) w = rng_();
        ASSERT_EQ(classify(p, id), VTTM_STAMP_GARBAGE);
        // Some good lines do not make it better.
        const Page good = make(id);
        std::memcpy(p.w.data(), good.w.data(), 1024);
        ASSERT_EQ(classify(p, id), VTTM_STAMP_GARBAGE);
    }
}

}  // namespace
}  // namespace vttm::protocol
