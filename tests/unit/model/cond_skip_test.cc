// SPDX-License-Identifier: Apache-2.0
// COND_SKIP: when it skips, what it skips, and how far it may.
#include "tests/unit/model/fault_machine.h"

namespace vttm::model::test {
namespace {

constexpr auto V = VTTM_SPACE_VRAM;
constexpr auto S = VTTM_SPACE_SYSTEM;
constexpr auto M = VTTM_SPACE_VM;
constexpr uint64_t kWord = 0x3000;
constexpr uint64_t kVa = 0x10000000;

class CondSkip : public FaultMachine {
protected:
    void set(uint64_t value) { *reinterpret_cast<uint64_t*>(bus_.ram(kWord)) = value; }
    uint32_t vram(uint64_t at) { return *reinterpret_cast<uint32_t*>(bus_.vram(at)); }
    // Whether the FILL behind the packet was skipped; the one behind that never is.
    bool skips(vttm_pkt_cond_skip packet) {
        tag_++;
        packet.skip = 6;
        put_packet(0, packet);
        put_packet(0, fill_packet(V, 0, 4, tag_));
        put_packet(0, fill_packet(V, 4, 4, tag_));
        EXPECT_EQ(finish(0), 0u);
        EXPECT_EQ(vram(4), tag_);
        return vram(0) != tag_;
    }
    uint32_t tag_ = 0;
};

TEST_F(CondSkip, Comparisons) {
    const uint64_t values[] = {0, 1, 1ull << 32, 1ull << 63, ~0ull};
    for (uint32_t how = 0; how <= VTTM_CMP_LAST; how++)
        for (uint64_t memory : values)
            for (uint64_t value : values) {
                const bool holds[] = {memory == value, memory != value,
                                      memory >= value, memory > value,
                                      memory <= value, memory < value,
                                      static_cast<int64_t>(memory - value) >= 0};
                set(memory);
                ASSERT_EQ(skips(cond_skip(S, kWord, value, how, 0)), holds[how])
                    << how << " " << memory << " " << value;
            }
}

TEST_F(CondSkip, MaskAndDword) {
    set(0xaaaabbbbccccdddd);
    EXPECT_TRUE(skips(cond_skip(S, kWord, 0xbbbb0000dddd, VTTM_CMP_EQ, 0, 0xffff0000ffff)));
    EXPECT_FALSE(skips(cond_skip(S, kWord, 0xaaaabbbbccccdddd, VTTM_CMP_EQ, 0, 0xffff0000ffff)));
    EXPECT_TRUE(skips(cond_skip(S, kWord, 0xccccdddd, VTTM_CMP_EQ, 0, ~0ull, true)));
    EXPECT_TRUE(skips(cond_skip(S, kWord + 4, 0xaaaabbbb, VTTM_CMP_EQ, 0, ~0ull, true)));
    EXPECT_FALSE(skips(cond_skip(S, kWord, 0xaaaabbbbccccdddd, VTTM_CMP_EQ, 0, ~0ull, true)));
    EXPECT_TRUE(skips(cond_skip(S, kWord, 0, VTTM_CMP_EQ, 0, 0)));
}

TEST_F(CondSkip, WhatIsSkippedIsNotLookedAt) {
    set(1);
    put_packet(0, cond_skip(S, kWord, 1, VTTM_CMP_EQ, 100));
    for (int i = 0; i < 100; i++) put(0, {0xffffffff});  // no framing at all
    EXPECT_EQ(finish(0), 0u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 0u);
    EXPECT_EQ(eng(0, VTTM_ENG_HEAD), tail_[0]);
}

TEST_F(CondSkip, UpToTailAndNotBeyond) {
    set(1);
    put_packet(0, cond_skip(S, kWord, 1, VTTM_CMP_EQ, 3));
    put(0, {0xffffffff, 0xffffffff, 0xffffffff});
    ring(0);
    ASSERT_TRUE(wait_idle(0));
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 0u);
    EXPECT_EQ(eng(0, VTTM_ENG_HEAD), tail_[0]);
    for (uint64_t memory : {1, 0})  // whether it would skip or not
        for (uint32_t n : {6u, 1000u, 1u << 30, ~0u}) {
            set(memory);
            expect_fault(0, cond_skip(S, kWord, 1, VTTM_CMP_EQ, n), VTTM_FAULT_BAD_PACKET);
        }
    set(1);
    EXPECT_EQ(run(0, cond_skip(S, kWord, 1, VTTM_CMP_EQ, 0)), 0u) << "skipping nothing is fine";
}

TEST_F(CondSkip, AroundTheEndOfTheRing) {
    set(1);
    for (int i = 0; i < 200; i++) {
        put(0, {VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1)});  // another place each time
        ASSERT_TRUE(skips(cond_skip(S, kWord, 1, VTTM_CMP_EQ, 0))) << i;
    }
}

TEST_F(CondSkip, InAnErrorItDoesNotSkip) {
    set(1);
    put_packet(0, fill_packet(V, 2, 4, 0));
    put_packet(0, cond_skip(S, kWord, 1, VTTM_CMP_EQ, 5));
    put_fence(0, 1000, false, kFenceAddr + 0x40);  // would be skipped
    EXPECT_EQ(finish(0), 0u);
    const auto* first = reinterpret_cast<vttm_fence_value*>(bus_.ram(kFenceAddr + 0x40));
    EXPECT_EQ(first->seq, 1000u);
    EXPECT_EQ(first->status, uint32_t{VTTM_FAULT_BAD_PACKET});
}

TEST_F(CondSkip, BadOperands) {
    const auto bad = VTTM_FAULT_BAD_PACKET;
    expect_fault(0, cond_skip(S, kWord + 4, 0, VTTM_CMP_EQ, 0), bad);
    expect_fault(0, cond_skip(S, kWord + 2, 0, VTTM_CMP_EQ, 0, ~0ull, true), bad);
    expect_fault(0, cond_skip(S, kWord, 0, VTTM_CMP_LAST + 1, 0), bad);
    expect_fault(0, cond_skip(3, kWord, 0, VTTM_CMP_EQ, 0), bad);
    auto odd = cond_skip(S, kWord, 0, VTTM_CMP_EQ, 0);
    odd.hdr |= VTTM_PKT_HDR(0, 1u << 5, 0);
    expect_fault(0, odd, bad);
    expect_fault(0, cond_skip(V, kVramSize, 0, VTTM_CMP_EQ, 0), VTTM_FAULT_VRAM_RANGE, kVramSize);
    EXPECT_EQ(run(0, cond_skip(V, kVramSize - 4, 1, VTTM_CMP_EQ, 0, ~0ull, true)), 0u);
    expect_fault(0, cond_skip(M, kVa, 0, VTTM_CMP_EQ, 0), VTTM_FAULT_NOT_VALID, kVa);
}

TEST_F(CondSkip, AfterAStallItSkipsAsFarAsItSaid) {
    wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY);
    set(1);
    put_packet(0, cond_skip(M, kVa, 1, VTTM_CMP_EQ, 6));
    put_packet(0, fill_packet(V, 0, 4, 1));
    put_packet(0, fill_packet(V, 4, 4, 1));
    put_fence(0, 5);
    ring(0);
    cure_stalls(0, {{kVa, sys_pte(kWord)}}, 5);
    EXPECT_EQ(vram(0), 0u);
    EXPECT_EQ(vram(4), 1u);
}

}  // namespace
}  // namespace vttm::model::test
