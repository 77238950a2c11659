// SPDX-License-Identifier: Apache-2.0
// Fetching packets: wrap, framing errors, halt and reset, rings that are not there.
#include "protocol/vttm_fault.h"
#include "tests/unit/model/machine.h"
#include "tests/unit/model/packets.h"

namespace vttm::model::test {
namespace {

constexpr uint32_t nop(uint32_t dwords) { return VTTM_PKT_HDR(VTTM_OP_NOP, 0, dwords); }

class Ring : public Machine {
protected:
    Ring() {
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) setup_ring(e);
    }
    bool wait_halted(unsigned e) {
        return wait_for([&] { return eng(e, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_HALTED; });
    }
    // The engine must stop at what was just put, say so, and work again after a reset.
    void expect_halt(unsigned e, uint32_t reason = VTTM_FAULT_BAD_FRAMING) {
        const uint32_t head = eng(e, VTTM_ENG_HEAD);
        const unsigned irqs = bus_.irq_count(VTTM_MSIX_ERROR);
        wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ERROR);
        put_fence(e, 0xdead);
        ring(e);
        ASSERT_TRUE(wait_halted(e));
        ASSERT_TRUE(bus_.wait_irq(VTTM_MSIX_ERROR, irqs + 1));
        EXPECT_EQ(fault_reason(), reason);
        EXPECT_EQ(VTTM_FAULT_INFO_ENGINE(rd(VTTM_REG_FAULT_INFO)), e);
        EXPECT_EQ(rd(VTTM_REG_IRQ_STATUS) & VTTM_IRQ_ERROR, VTTM_IRQ_ERROR);
        EXPECT_EQ(eng(e, VTTM_ENG_HEAD), head) << "HEAD stays at the bad packet";
        EXPECT_NE(rd64(VTTM_ENGINE_BASE(e) + VTTM_ENG_LAST_FENCE_LO), 0xdeadu);
        clear_fault();
        wr(VTTM_REG_IRQ_STATUS, VTTM_IRQ_ERROR);
        // A doorbell does not revive it.
        ring(e);
        EXPECT_TRUE(eng(e, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_HALTED);
        reset_engine(e);
        EXPECT_EQ(eng(e, VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
        EXPECT_EQ(eng(e, VTTM_ENG_HEAD), 0u);
        EXPECT_EQ(eng(e, VTTM_ENG_TAIL), 0u);
        put(e, {nop(1)});
        EXPECT_EQ(finish(e), 0u);
    }
};

TEST_F(Ring, NopsOfEveryLength) {
    uint32_t total = 0;
    for (uint32_t n : {1u, 2u, 3u, 64u, 500u}) {
        put(0, {nop(n)});
        for (uint32_t i = 1; i < n; i++) put(0, {0xffffffff});
        total++;
        ASSERT_EQ(finish(0), 0u);
    }
    EXPECT_EQ(eng(0, VTTM_ENG_PACKETS), total * 2);
    EXPECT_EQ(eng(0, VTTM_ENG_HEAD), tail_[0]);
}

TEST_F(Ring, LongestNopFillsTheRing) {
    eng_wr(0, VTTM_ENG_CTRL, 0);
    setup_ring(0, 0x2000);
    put(0, {nop(VTTM_PKT_MAX_DWORDS)});
    for (uint32_t i = 1; i < VTTM_PKT_MAX_DWORDS; i++) put(0, {i});
    EXPECT_EQ(finish(0), 0u);
}

TEST_F(Ring, PacketsWrapAtEveryOffset) {
    // A SET_VM and a fence straddle the end of the ring in every possible way.
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
        for (uint32_t gap = 0; gap < 7; gap++) {
            while (tail_[e] < VTTM_RING_MIN_SIZE - gap * 4 - 64) {
                put(e, {nop(8), 0, 0, 0, 0, 0, 0, 0});
            }
            while (tail_[e] != VTTM_RING_MIN_SIZE - gap * 4 && tail_[e] >= 64) put(e, {nop(1)});
            put_set_vm(e, gap);
            ASSERT_EQ(finish(e), 0u) << e << " " << gap;
            ASSERT_LT(tail_[e], 64u);
        }
    }
}

TEST_F(Ring, MappingsOfTheRingMayBeShort) {
    bus_.limit_mappings(16);
    for (int i = 0; i < 400; i++) {
        put_set_vm(0, i % VTTM_MAX_VMS);
        put(0, {nop(9), 1, 2, 3, 4, 5, 6, 7, 8});
        ASSERT_EQ(finish(0), 0u);
    }
}

TEST_F(Ring, UnknownOpcodeHalts) {
    for (uint32_t op : {0x0eu, 0x0fu, 0x16u, 0x23u, 0x7fu, 0xffu}) {
        put(0, {VTTM_PKT_HDR(op, 0, 1)});
        expect_halt(0);
    }
}

TEST_F(Ring, OpcodeOfAnotherClassHalts) {
    put_packet(0, stamp_packet(false, VTTM_SPACE_VRAM, 0, 1, {1, 0, 1, 1}));
    expect_halt(0);
    put_packet(0, stamp_packet(true, VTTM_SPACE_VRAM, 0, 1, {1, 0, 1, 1}));
    expect_halt(0);
    put_packet(1, copy_packet(VTTM_SPACE_VRAM, 0, VTTM_SPACE_VRAM, 0x1000, 16));
    expect_halt(1);
    put_packet(1, fill_packet(VTTM_SPACE_VRAM, 0, 16, 0));
    expect_halt(1);
    constexpr auto V = VTTM_SPACE_VRAM;
    put_packet(0, hash(V, 0, 16, 0, V, 0x1000));
    expect_halt(0);
    put_packet(1, copy_2d({V, 0, 4}, {V, 0x1000, 4}, 4, 4));
    expect_halt(1);
    put_packet(1, fill_2d({V, 0, 4}, 4, 4, 0));
    expect_halt(1);
    for (bool scatter : {true, false}) {
        put_packet(1, sg(scatter, V, 0, V, V, 0x1000, 1));
        expect_halt(1);
    }
}

TEST_F(Ring, WrongLengthHalts) {
    const std::pair<uint32_t, uint32_t> lengths[] = {{VTTM_OP_SET_VM, 2}, {VTTM_OP_FENCE, 5},
                                                     {VTTM_OP_COPY, 7},   {VTTM_OP_FILL, 6},
                                                     {VTTM_OP_TIMESTAMP, 3}, {VTTM_OP_SEM_SIGNAL, 5},
                                                     {VTTM_OP_SEM_WAIT, 6}, {VTTM_OP_COND_SKIP, 9},
                                                     {VTTM_OP_INDIRECT, 4},
                                                     {VTTM_OP_COPY_2D, 9}, {VTTM_OP_FILL_2D, 7},
                                                     {VTTM_OP_SCATTER, 6}, {VTTM_OP_GATHER, 6},
                                                     {VTTM_OP_HASH, 9},    {VTTM_OP_STAMP_WRITE, 12},
                                                     {VTTM_OP_STAMP_VERIFY, 12}};
    for (auto [op, right] : lengths) {
        const unsigned e = op >= VTTM_OP_STAMP_WRITE ? 1 : 0;
        for (uint32_t n : {0u, 1u, right - 1, right + 1, VTTM_PKT_MAX_DWORDS, 0xffffu}) {
            if (n == right) continue;
            put(e, {VTTM_PKT_HDR(op, 0, n)});
            for (uint32_t i = 1; i < std::min(n, 32u); i++) put(e, {0});
            expect_halt(e);
        }
    }
    put(0, {nop(0)});
    expect_halt(0);
    put(0, {nop(VTTM_PKT_MAX_DWORDS + 1)});
    expect_halt(0);
}

TEST_F(Ring, PacketBeyondTailHalts) {
    put(0, {VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2)});
    ring(0);
    ASSERT_TRUE(wait_halted(0));
    EXPECT_EQ(fault_reason(), VTTM_FAULT_BAD_FRAMING);
    EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), kRingAddr[0]);
    reset_engine(0);
    EXPECT_EQ(finish(0), 0u);
}

TEST_F(Ring, BadTailHalts) {
    for (uint32_t tail : {1u, 2u, 6u, VTTM_RING_MIN_SIZE, VTTM_RING_MIN_SIZE + 4, 0xfffffffcu}) {
        const uint32_t head = eng(0, VTTM_ENG_HEAD);
        for (int i = 0; i < 4; i++) put(0, {nop(1)});
        eng_wr(0, VTTM_ENG_TAIL, tail);
        EXPECT_EQ(eng(0, VTTM_ENG_TAIL), tail);
        ASSERT_TRUE(wait_halted(0)) << tail;
        EXPECT_EQ(fault_reason(), VTTM_FAULT_BAD_FRAMING);
        EXPECT_EQ(eng(0, VTTM_ENG_HEAD), head) << "nothing is run on the word of a bad TAIL";
        reset_engine(0);
        clear_fault();
        EXPECT_EQ(finish(0), 0u);
    }
}

// HALTED is seen only when the fault is on record, so that a driver that polls finds it.
TEST_F(Ring, HaltedShowsWithItsFault) {
    constexpr uint64_t kRecords = 0x80000;
    wr64(VTTM_REG_FAULT_RING_BASE_LO, kRecords);
    wr(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    bus_.on_map([](uint64_t addr, bool) {
        if (addr == kRecords) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    });
    eng_wr(0, VTTM_ENG_TAIL, 1);
    ASSERT_TRUE(wait_halted(0));
    EXPECT_EQ(rd(VTTM_REG_FAULT_RING_PUT), 1u);
    EXPECT_EQ(fault_reason(), VTTM_FAULT_BAD_FRAMING);
    bus_.on_map(nullptr);
}

TEST_F(Ring, TailWithoutRingHalts) {
    wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    ASSERT_TRUE(wait_for([&] { return rd(VTTM_REG_DEV_STATUS) == 0; }));
    eng_wr(0, VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    eng_wr(0, VTTM_ENG_TAIL, 4);
    ASSERT_TRUE(wait_halted(0));
}

TEST_F(Ring, UnreadableRingHalts) {
    bus_.add_hole(kRingAddr[1], 0x1000);
    put(1, {nop(1)});
    ring(1);
    ASSERT_TRUE(wait_halted(1));
    EXPECT_EQ(fault_reason(), VTTM_FAULT_BUS);
    bus_.clear_holes();
    reset_engine(1);
    EXPECT_EQ(finish(1), 0u);
}

TEST_F(Ring, HoleInsideTheRingHalts) {
    bus_.add_hole(kRingAddr[0] + 0x10, 0x10);
    put(0, {nop(8), 0, 0, 0, 0, 0, 0, 0});
    ring(0);
    ASSERT_TRUE(wait_halted(0));
    EXPECT_EQ(fault_reason(), VTTM_FAULT_BUS);
}

TEST_F(Ring, RingAtTheEndOfTheAddressSpace) {
    eng_wr(0, VTTM_ENG_CTRL, 0);
    wr64(VTTM_ENGINE_BASE(0) + VTTM_ENG_RING_BASE_LO, ~0xfffull);
    eng_wr(0, VTTM_ENG_RING_SIZE, VTTM_RING_MAX_SIZE);
    eng_wr(0, VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    eng_wr(0, VTTM_ENG_TAIL, 64);
    ASSERT_TRUE(wait_halted(0));
    EXPECT_EQ(fault_reason(), VTTM_FAULT_BUS);
}

TEST_F(Ring, DisabledEngineFetchesNothing) {
    eng_wr(0, VTTM_ENG_CTRL, 0);
    put(0, {nop(1)});
    put_fence(0, 77);
    ring(0);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(eng(0, VTTM_ENG_HEAD), 0u);
    EXPECT_EQ(eng(0, VTTM_ENG_STATUS), 0u) << "not idle: there is work";
    eng_wr(0, VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    ASSERT_TRUE(wait_idle(0));
    EXPECT_EQ(rd64(VTTM_ENGINE_BASE(0) + VTTM_ENG_LAST_FENCE_LO), 77u);
}

// The driver's memory is hostile: it changes while the device reads it.
TEST_F(Ring, ContentChangesUnderTheDevice) {
    std::atomic<bool> stop{false};
    auto* words = reinterpret_cast<uint32_t*>(bus_.ram(kRingAddr[0]));
    std::thread enemy([&] {
        uint32_t x = 1;
        while (!stop.load(std::memory_order_relaxed)) {
            x = x * 1664525u + 1013904223u;
            const uint32_t headers[] = {nop(1), nop(5), nop(1024),
                                        VTTM_PKT_HDR(VTTM_OP_COPY, 0, 7), x,
                                        VTTM_PKT_HDR(VTTM_OP_FENCE, 0, 5)};
            __atomic_store_n(words + (x >> 8) % 1024, headers[(x >> 20) % 6], __ATOMIC_RELAXED);
        }
    });
    for (int i = 0; i < 300; i++) {
        eng_wr(0, VTTM_ENG_TAIL, (i * 332u) & 0xffcu);
        wait_for([&] {
            return eng(0, VTTM_ENG_STATUS) & (VTTM_ENG_STATUS_IDLE | VTTM_ENG_STATUS_HALTED);
        });
        if (eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_HALTED) reset_engine(0);
    }
    stop = true;
    enemy.join();
    reset_engine(0);
    std::memset(bus_.ram(kRingAddr[0]), 0, 0x1000);
    EXPECT_EQ(finish(0), 0u);
}

// What is validated is what runs: operands changed after the fetch have no effect.
TEST_F(Ring, PacketIsCopiedOnce) {
    const auto p = fill_packet(VTTM_SPACE_SYSTEM, kFree, 64, 0x11111111);
    put_packet(0, p);
    bus_.on_map([&](uint64_t addr, bool) {
        if (addr != kFree) return;
        auto* w = reinterpret_cast<uint32_t*>(bus_.ram(kRingAddr[0]));
        for (int i = 0; i < 6; i++) __atomic_store_n(w + i, 0xffffffffu, __ATOMIC_RELAXED);
    });
    EXPECT_EQ(finish(0), 0u);
    bus_.on_map(nullptr);
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.ram(kFree + 60)), 0x11111111u);
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.ram(kFree + 64)), 0u);
}

}  // namespace
}  // namespace vttm::model::test
