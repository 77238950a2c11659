// SPDX-License-Identifier: Apache-2.0
// COPY and FILL: content, alignment, spaces, wrong operands, skipping up to the next FENCE.
#include <random>

#include "tests/unit/model/machine.h"

namespace vttm::model::test {
namespace {

constexpr uint64_t kVaA = 0x10000000, kVaB = 0x7fff00000000;

class Copy : public Machine {
protected:
    Copy() {
        setup_ring(0);
        root_ = make_vm(5);
        std::mt19937_64 rng(1);
        auto* w = reinterpret_cast<uint64_t*>(bus_.ram(kFree));
        for (uint64_t i = 0; i < (kRamSize - kFree) / 8; i++) w[i] = rng();
        put_set_vm(0, 5);
        EXPECT_EQ(finish(0), 0u);
    }
    // A packet that must fail with @reason, and leave [addr, addr + 64) of RAM alone.
    template <typename T>
    void expect_fault(const T& packet, vttm_fault_reason reason) {
        const uint32_t count = rd(VTTM_REG_FAULT_COUNT);
        clear_fault();
        EXPECT_EQ(run(0, packet), reason);
        EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), count + 1);
        EXPECT_EQ(rd(VTTM_REG_FAULT_STATUS), VTTM_FAULT_STATUS_VALID);
        EXPECT_EQ(fault_reason(), reason);
        EXPECT_EQ(VTTM_FAULT_INFO_VM(rd(VTTM_REG_FAULT_INFO)), 5u);
        put(0, {VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1)});
        EXPECT_EQ(finish(0), 0u) << "the FENCE has cleared the error";
    }
    uint64_t root_;
};

TEST_F(Copy, EveryPairOfSpaces) {
    for (uint64_t i = 0; i < 16; i++) {
        tables_.set(root_, kVaA + i * kPage, sys_pte(kFree + (40 - i) * kPage));
        tables_.set(root_, kVaB + i * kPage, vram_pte(0x10000 + i * 3 * kPage));
    }
    constexpr uint64_t kLen = 9 * kPage + 777;
    // system -> VM (VRAM leaves) -> VM (system leaves) -> VRAM -> system
    const uint8_t* original = bus_.ram(kFree + 0x200000 + 13);
    EXPECT_EQ(run(0, copy_packet(VTTM_SPACE_VM, kVaB + 5, VTTM_SPACE_SYSTEM,
                                 kFree + 0x200000 + 13, kLen)), 0u);
    EXPECT_EQ(run(0, copy_packet(VTTM_SPACE_VM, kVaA + 4091, VTTM_SPACE_VM, kVaB + 5, kLen)), 0u);
    EXPECT_EQ(run(0, copy_packet(VTTM_SPACE_VRAM, 0x200001, VTTM_SPACE_VM, kVaA + 4091, kLen)), 0u);
    EXPECT_EQ(run(0, copy_packet(VTTM_SPACE_SYSTEM, kFree + 0x300003, VTTM_SPACE_VRAM, 0x200001,
                                 kLen)), 0u);
    EXPECT_EQ(std::memcmp(bus_.ram(kFree + 0x300003), original, kLen), 0);
    EXPECT_EQ(std::memcmp(bus_.vram(0x200001), original, kLen), 0);
    EXPECT_EQ(std::memcmp(bus_.vram(0x10000 + 5), original, kPage - 5), 0);
    EXPECT_EQ(std::memcmp(bus_.vram(0x10000 + 3 * kPage), original + kPage - 5, kPage), 0);
    EXPECT_EQ(rd64(VTTM_ENGINE_BASE(0) + VTTM_ENG_BYTES_LO), 4 * kLen);
    EXPECT_TRUE(bus_.vram_was_dirtied(0x200001, kLen));
    EXPECT_TRUE(bus_.vram_was_dirtied(0x10000 + 3 * kPage, kPage));
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 0u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 0u);
}

TEST_F(Copy, RandomRangesMatchMemmove) {
    std::mt19937_64 rng(7);
    Memory shadow(kVramSize);
    for (int i = 0; i < 300; i++) {
        const uint64_t len = 1 + rng() % (i % 10 ? 5000 : 700000);
        const uint64_t src = kFree + rng() % (kRamSize - kFree - len);
        const uint64_t dst = rng() % (kVramSize - len);
        ASSERT_EQ(run(0, copy_packet(VTTM_SPACE_VRAM, dst, VTTM_SPACE_SYSTEM, src, len)), 0u);
        std::memcpy(shadow.data() + dst, bus_.ram(src), len);
    }
    EXPECT_EQ(std::memcmp(shadow.data(), bus_.vram(), kVramSize), 0);
}

TEST_F(Copy, ShortMappingsGiveTheSameBytes) {
    bus_.limit_mappings(16);
    EXPECT_EQ(run(0, copy_packet(VTTM_SPACE_VRAM, 0, VTTM_SPACE_SYSTEM, kFree + 3, 20000)), 0u);
    EXPECT_EQ(std::memcmp(bus_.vram(), bus_.ram(kFree + 3), 20000), 0);
}

TEST_F(Copy, Fill) {
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VRAM, 0x1004, 700000, 0xcafef00d)), 0u);
    const auto* w = reinterpret_cast<uint32_t*>(bus_.vram());
    EXPECT_EQ(w[0x400], 0u);
    for (uint64_t i = 0; i < 700000 / 4; i++) ASSERT_EQ(w[0x401 + i], 0xcafef00d);
    EXPECT_EQ(w[0x401 + 700000 / 4], 0u);
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_SYSTEM, kFree, 4, 1)), 0u);
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.ram(kFree)), 1u);
}

TEST_F(Copy, WholeVramBothEdges) {
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VRAM, 0, kVramSize, 0x5a5a5a5a)), 0u);
    EXPECT_EQ(bus_.vram()[kVramSize - 1], 0x5a);
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VRAM, kVramSize - 4, 4, 0)), 0u);
    expect_fault(fill_packet(VTTM_SPACE_VRAM, kVramSize - 4, 8, 0), VTTM_FAULT_VRAM_RANGE);
    expect_fault(fill_packet(VTTM_SPACE_VRAM, kVramSize, 4, 0), VTTM_FAULT_VRAM_RANGE);
    EXPECT_EQ(bus_.vram()[kVramSize - 5], 0x5a);
}

TEST_F(Copy, BadOperands) {
    constexpr auto V = VTTM_SPACE_VRAM;
    constexpr auto S = VTTM_SPACE_SYSTEM;
    constexpr uint64_t kMax = 1ull << 32;
    expect_fault(copy_packet(V, 0, S, kFree, 0), VTTM_FAULT_BAD_PACKET);
    expect_fault(copy_packet(V, 0, S, kFree, kMax + 1), VTTM_FAULT_BAD_PACKET);
    expect_fault(copy_packet(V, 0, S, kFree, ~0ull), VTTM_FAULT_BAD_PACKET);
    expect_fault(copy_packet(3, 0, S, kFree, 4), VTTM_FAULT_BAD_PACKET);
    expect_fault(copy_packet(V, 0, 3, kFree, 4), VTTM_FAULT_BAD_PACKET);
    expect_fault(fill_packet(3, 0, 4, 0), VTTM_FAULT_BAD_PACKET);
    expect_fault(fill_packet(V, 0, 0, 0), VTTM_FAULT_BAD_PACKET);
    expect_fault(fill_packet(V, 0, 6, 0), VTTM_FAULT_BAD_PACKET);
    expect_fault(fill_packet(V, 2, 4, 0), VTTM_FAULT_BAD_PACKET);
    expect_fault(fill_packet(V, 0, kMax + 4, 0), VTTM_FAULT_BAD_PACKET);
    auto odd = fill_packet(V, 0, 4, 0);
    for (uint32_t flag : {1u << 4, 1u << 5, 1u << 7}) {
        odd.hdr = VTTM_PKT_HDR(VTTM_OP_FILL, VTTM_PKT_DST(V) | flag, 6);
        expect_fault(odd, VTTM_FAULT_BAD_PACKET);
    }
    EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO) & ~0xfffull, kRingAddr[0]) << "the packet's address";
    EXPECT_EQ(bus_.vram()[0], 0u);
}

TEST_F(Copy, OverlapIsRefused) {
    constexpr auto S = VTTM_SPACE_SYSTEM;
    expect_fault(copy_packet(S, kFree, S, kFree, 1), VTTM_FAULT_BAD_PACKET);
    expect_fault(copy_packet(S, kFree, S, kFree + 99, 100), VTTM_FAULT_BAD_PACKET);
    expect_fault(copy_packet(S, kFree + 99, S, kFree, 100), VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(run(0, copy_packet(S, kFree, S, kFree + 100, 100)), 0u);
    EXPECT_EQ(run(0, copy_packet(S, kFree + 100, S, kFree, 100)), 0u);
    // The same numbers in two spaces are two places.
    EXPECT_EQ(run(0, copy_packet(VTTM_SPACE_VRAM, kFree, S, kFree, 100)), 0u);
    // Two virtual addresses of one page: allowed, defined, and contained.
    tables_.set(root_, kVaA, sys_pte(kFree));
    tables_.set(root_, kVaB, sys_pte(kFree));
    EXPECT_EQ(run(0, copy_packet(VTTM_SPACE_VM, kVaA, VTTM_SPACE_VM, kVaB + 16, 1000)), 0u);
}

TEST_F(Copy, RangesThatOverflow) {
    constexpr uint64_t kMax = 1ull << 32;
    for (uint64_t addr : {~0ull, ~0ull - 2, ~0ull - kMax + 2, 1ull << 63}) {
        expect_fault(copy_packet(VTTM_SPACE_SYSTEM, addr, VTTM_SPACE_VRAM, 0, kMax),
                     addr == 1ull << 63 ? VTTM_FAULT_VRAM_RANGE : VTTM_FAULT_BUS);
        expect_fault(copy_packet(VTTM_SPACE_VRAM, addr, VTTM_SPACE_SYSTEM, kFree, 16),
                     VTTM_FAULT_VRAM_RANGE);
        expect_fault(copy_packet(VTTM_SPACE_VM, addr, VTTM_SPACE_SYSTEM, kFree, 16),
                     VTTM_FAULT_VA_RANGE);
        expect_fault(copy_packet(VTTM_SPACE_SYSTEM, kFree, VTTM_SPACE_VM, addr, 16),
                     VTTM_FAULT_VA_RANGE);
    }
    constexpr uint64_t kVaEnd = 1ull << VTTM_VA_BITS;
    expect_fault(fill_packet(VTTM_SPACE_VM, kVaEnd, 4, 0), VTTM_FAULT_VA_RANGE);
    expect_fault(fill_packet(VTTM_SPACE_VM, kVaEnd - 4, 8, 0), VTTM_FAULT_VA_RANGE);
    EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), kVaEnd - 4);
    // The last page of the address space is as good as any.
    tables_.set(root_, kVaEnd - kPage, sys_pte(kFree));
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VM, kVaEnd - 4, 4, 0x77)), 0u);
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.ram(kFree + kPage - 4)), 0x77u);
}

TEST_F(Copy, BusFaults) {
    bus_.add_hole(kFree + 0x10000, 0x1000);
    expect_fault(fill_packet(VTTM_SPACE_SYSTEM, kRamSize, 4, 0), VTTM_FAULT_BUS);
    expect_fault(fill_packet(VTTM_SPACE_SYSTEM, ~0ull - 3, 4, 0), VTTM_FAULT_BUS);
    expect_fault(fill_packet(VTTM_SPACE_SYSTEM, kFree + 0xf000, 0x3000, 0xabababab),
                 VTTM_FAULT_BUS);
    EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), kFree + 0x10000) << "where the RAM ends";
    EXPECT_TRUE(rd(VTTM_REG_FAULT_INFO) & VTTM_FAULT_INFO_WRITE);
    EXPECT_EQ(bus_.ram(kFree + 0xffff)[0], 0xab) << "what lies before was done";
    EXPECT_NE(*reinterpret_cast<uint32_t*>(bus_.ram(kFree + 0x11000)), 0xababababu);
    expect_fault(copy_packet(VTTM_SPACE_VRAM, 0, VTTM_SPACE_SYSTEM, kFree + 0x10000, 8),
                 VTTM_FAULT_BUS);
    EXPECT_FALSE(rd(VTTM_REG_FAULT_INFO) & VTTM_FAULT_INFO_WRITE);
}

TEST_F(Copy, ErrorSkipsToTheNextFenceButObeysSetVm) {
    make_vm(6);
    put_packet(0, fill_packet(VTTM_SPACE_VRAM, 2, 4, 0));                  // BAD_PACKET
    put_packet(0, fill_packet(VTTM_SPACE_VRAM, 0x100, 4, 0xffffffff));     // skipped
    put_packet(0, fill_packet(VTTM_SPACE_VRAM, kVramSize, 4, 0));          // skipped, no fault
    put_set_vm(0, 6);
    EXPECT_EQ(finish(0), VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 1u);
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.vram(0x100)), 0u);
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VRAM, 0x100, 4, 0xffffffff)), 0u);
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.vram(0x100)), 0xffffffffu);
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VM, kVaA, 4, 0)), VTTM_FAULT_NOT_VALID);
    clear_fault();
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VM, kVaA, 4, 0)), VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(VTTM_FAULT_INFO_VM(rd(VTTM_REG_FAULT_INFO)), 6u) << "SET_VM was obeyed";
    // The first fault stays latched, the count goes on.
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VRAM, kVramSize, 4, 0)), VTTM_FAULT_VRAM_RANGE);
    EXPECT_EQ(fault_reason(), VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 4u);
}

}  // namespace
}  // namespace vttm::model::test
