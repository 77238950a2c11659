// SPDX-License-Identifier: Apache-2.0
// The address allocator and the packet builder of libvttm.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>

#include "guest-driver/libvttm/error.h"
#include "guest-driver/libvttm/packets.h"
#include "guest-driver/libvttm/vm.h"

namespace vttm::guest::test {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kHuge = 2u << 20;

TEST(VaAllocator, AlignsAndKeepsAGapBehindEachRange) {
    VaAllocator allocator;
    const std::uint64_t a = allocator.allocate(1);
    const std::uint64_t b = allocator.allocate(kPage);
    const std::uint64_t c = allocator.allocate(kHuge);
    EXPECT_EQ(a, VaAllocator::kFirst);
    EXPECT_EQ(b, a + 2 * kPage);
    EXPECT_EQ(c % kHuge, 0u);
    EXPECT_EQ(allocator.allocate(64 * 1024) % (64 * 1024), 0u);
    EXPECT_EQ(allocator.allocate(kHuge - kPage) % (64 * 1024), 0u);
    EXPECT_THROW(allocator.release(a + 1), std::logic_error);
    allocator.release(a);
    EXPECT_THROW(allocator.release(a), std::logic_error);
    EXPECT_EQ(allocator.allocate(kPage), a);
}

TEST(VaAllocator, RefusesWhatDoesNotFit) {
    VaAllocator allocator(0x10000, 0x10000 + 4 * kPage);
    EXPECT_THROW(allocator.allocate(0), Error);
    EXPECT_THROW(allocator.allocate(4 * kPage), Error);
    EXPECT_THROW(allocator.allocate(~0ull), Error);
    const std::uint64_t whole = allocator.allocate(3 * kPage);
    try {
        allocator.allocate(1);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.error(), ENOSPC);
    }
    allocator.release(whole);
    EXPECT_EQ(allocator.allocate(3 * kPage), whole);
}

TEST(VaAllocator, RangesNeverOverlapAndFreeSpaceJoinsAgain) {
    const std::uint64_t end = 0x10000 + (64ull << 20);
    VaAllocator allocator(0x10000, end);
    std::map<std::uint64_t, std::uint64_t> live;
    std::mt19937 random(7);
    for (int step = 0; step < 20'000; ++step) {
        if (live.empty() || random() % 3 != 0) {
            const std::uint64_t bytes = (1 + random() % 700) * kPage;
            try {
                const std::uint64_t va = allocator.allocate(bytes);
                const auto next = live.lower_bound(va);
                ASSERT_TRUE(next == live.end() || va + bytes < next->first);
                ASSERT_TRUE(next == live.begin() ||
                            std::prev(next)->first + std::prev(next)->second < va);
                ASSERT_LE(va + bytes, end);
                live.emplace(va, bytes);
                continue;
            } catch (const Error&) {
            }
        }
        auto victim = live.begin();
        std::advance(victim, random() % live.size());
        allocator.release(victim->first);
        live.erase(victim);
    }
    for (const auto& [va, bytes] : live) {
        allocator.release(va);
    }
    EXPECT_NO_THROW(allocator.allocate((64ull << 20) - kHuge - kPage));
}

TEST(PacketBuilder, WritesWhatTheProtocolSays) {
    PacketBuilder builder;
    builder.copy(0x1'2345'6000, 0x7'0000'1000, 0x1'0000'0000)
        .fill(0x2'0000'0004, 16, 0xdeadbeef)
        .nop(3)
        .stamp_write(0x5000, {7, 9, 1ull << 33, 11, 0x1122334455667788})
        .stamp_verify(0x6000, {8, 1, 2, 3, 4}, 0x9'0000'0040);
    const auto words = builder.dwords();
    ASSERT_EQ(words.size(), 7u + 6 + 3 + 12 + 12);

    vttm_pkt_copy copy = {};
    std::memcpy(&copy, &words[0], sizeof(copy));
    EXPECT_EQ(VTTM_PKT_OP(copy.hdr), VTTM_OP_COPY);
    EXPECT_EQ(VTTM_PKT_DWORDS(copy.hdr), 7u);
    EXPECT_EQ(VTTM_PKT_FLAGS(copy.hdr), 0u);
    EXPECT_EQ(copy.dst_hi, 1u);
    EXPECT_EQ(copy.dst_lo, 0x23456000u);
    EXPECT_EQ(copy.src_hi, 7u);
    EXPECT_EQ(copy.len_hi, 1u);
    EXPECT_EQ(copy.len_lo, 0u);

    vttm_pkt_fill fill = {};
    std::memcpy(&fill, &words[7], sizeof(fill));
    EXPECT_EQ(fill.hdr, VTTM_PKT_HDR(VTTM_OP_FILL, 0, 6));
    EXPECT_EQ(fill.value, 0xdeadbeefu);

    EXPECT_EQ(words[13], VTTM_PKT_HDR(VTTM_OP_NOP, 0, 3));

    vttm_pkt_stamp stamp = {};
    std::memcpy(&stamp, &words[16], sizeof(stamp));
    EXPECT_EQ(stamp.hdr, VTTM_PKT_HDR(VTTM_OP_STAMP_WRITE, 0, 12));
    EXPECT_EQ(stamp.buffer, 7u);
    EXPECT_EQ(stamp.generation, 9u);
    EXPECT_EQ(stamp.page_hi, 2u);
    EXPECT_EQ(stamp.npages, 11u);
    EXPECT_EQ(stamp.key_hi, 0x11223344u);
    EXPECT_EQ(stamp.result_lo, 0u);
    std::memcpy(&stamp, &words[28], sizeof(stamp));
    EXPECT_EQ(VTTM_PKT_OP(stamp.hdr), VTTM_OP_STAMP_VERIFY);
    EXPECT_EQ(stamp.result_hi, 9u);
    EXPECT_EQ(stamp.result_lo, 0x40u);
}

}  // namespace
}  // namespace vttm::guest::test
