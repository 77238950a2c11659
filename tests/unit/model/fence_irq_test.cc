// SPDX-License-Identifier: Apache-2.0
// Fences and interrupts: order of effects, status, latching, enabling.
#include "tests/unit/model/machine.h"

namespace vttm::model::test {
namespace {

class Fence : public Machine {
protected:
    Fence() {
        setup_ring(0);
        setup_ring(1);
    }
    vttm_fence_value* value(uint64_t addr = kFenceAddr) {
        return reinterpret_cast<vttm_fence_value*>(bus_.ram(addr));
    }
    uint64_t last_fence(unsigned e) { return rd64(VTTM_ENGINE_BASE(e) + VTTM_ENG_LAST_FENCE_LO); }
};

TEST_F(Fence, WritesAllSixteenBytes) {
    std::memset(value(), 0xff, 32);
    put_fence(0, 0x1122334455667788, false);
    ring(0);
    ASSERT_TRUE(wait_for([&] { return last_fence(0) == 0x1122334455667788; }));
    EXPECT_EQ(value()->seq, 0x1122334455667788u);
    EXPECT_EQ(value()->status, 0u);
    EXPECT_EQ(value()->rsvd, 0u);
    EXPECT_EQ(value(kFenceAddr + 16)->seq, ~0ull) << "and not one more";
    EXPECT_EQ(eng(0, VTTM_ENG_LAST_FENCE_LO), 0x55667788u);
    EXPECT_EQ(eng(0, VTTM_ENG_LAST_FENCE_HI), 0x11223344u);
    EXPECT_EQ(last_fence(1), 0u);
}

TEST_F(Fence, SequenceGoesWhereverTheDriverWants) {
    for (uint64_t seq : {5ull, 3ull, 0ull, ~0ull, 1ull}) {
        put_fence(1, seq);
        ring(1);
        ASSERT_TRUE(wait_idle(1));
        EXPECT_EQ(value()->seq, seq);
        EXPECT_EQ(last_fence(1), seq);
    }
}

TEST_F(Fence, ManyFencesInOneDoorbell) {
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 100; i++) put_fence(0, ++seq_, false, kFree + i * 16);
        ASSERT_EQ(finish(0), 0u);
        for (int i = 0; i < 100; i++)
            ASSERT_EQ(value(kFree + i * 16)->seq, seq_ - 100 + i);
    }
}

TEST_F(Fence, ComesAfterTheEffectsAndBeforeTheInterrupt) {
    wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(0) | VTTM_IRQ_ENGINE(1));
    std::atomic<int> wrong{0};
    bus_.on_irq([&](unsigned vector) {
        const unsigned e = vector - VTTM_MSIX_ENGINE(0);
        // From within the interrupt everything that it announces must be visible.
        const uint64_t seq = __atomic_load_n(&value(kFenceAddr + 64 * e)->seq, __ATOMIC_ACQUIRE);
        if (last_fence(e) != seq) wrong++;
        if (!(rd(VTTM_REG_IRQ_STATUS) & VTTM_IRQ_ENGINE(e))) wrong++;
        const auto* fill = reinterpret_cast<uint32_t*>(bus_.vram(0x1000 * e));
        if (e == 0 && __atomic_load_n(fill, __ATOMIC_RELAXED) != lo(seq)) wrong++;
    });
    for (uint32_t i = 1; i <= 200; i++) {
        put_packet(0, fill_packet(VTTM_SPACE_VRAM, 0, 4, i));
        for (unsigned e = 0; e < 2; e++) {
            put_fence(e, i, true, kFenceAddr + 64 * e);
            ring(e);
        }
        for (unsigned e = 0; e < 2; e++) ASSERT_TRUE(bus_.wait_irq(VTTM_MSIX_ENGINE(e), i));
        for (unsigned e = 0; e < 2; e++) ASSERT_TRUE(wait_idle(e));
    }
    bus_.on_irq(nullptr);
    EXPECT_EQ(wrong.load(), 0);
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ERROR), 0u);
}

TEST_F(Fence, StatusOfTheFirstErrorOnly) {
    put_packet(0, fill_packet(VTTM_SPACE_VRAM, 2, 4, 0));
    put_set_vm(0, 9999);  // obeyed, refused: a second fault
    EXPECT_EQ(finish(0), VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 2u);
    EXPECT_EQ(finish(0), 0u);
}

TEST_F(Fence, OneEnginesErrorIsNotTheOthers) {
    put_packet(0, fill_packet(VTTM_SPACE_VRAM, 2, 4, 0));
    ring(0);
    ASSERT_TRUE(wait_idle(0));
    EXPECT_EQ(finish(1), 0u);
    EXPECT_EQ(finish(0), VTTM_FAULT_BAD_PACKET);
}

TEST_F(Fence, ThatCannotBeWrittenIsAnErrorLikeAnyOther) {
    wr(VTTM_REG_IRQ_ENABLE, 7);
    struct {
        uint64_t addr;
        uint32_t reason;
    } cases[] = {{kFenceAddr + 8, VTTM_FAULT_BAD_PACKET},
                 {kFenceAddr + 1, VTTM_FAULT_BAD_PACKET},
                 {kRamSize, VTTM_FAULT_BUS},
                 {~0xfull, VTTM_FAULT_BUS}};
    unsigned errors = 0;
    for (const auto& c : cases) {
        clear_fault();
        put_fence(0, 0xbad, true, c.addr);
        put_packet(0, fill_packet(VTTM_SPACE_VRAM, 0, 4, 0xffffffff));
        EXPECT_EQ(finish(0), c.reason);
        EXPECT_EQ(fault_reason(), c.reason);
        EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ERROR), ++errors);
    }
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ENGINE(0)), 0u);
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.vram()), 0u) << "skipped up to the next FENCE";
}

TEST_F(Fence, BadFlags) {
    for (uint32_t flags : {1u, 4u, 0x20u, 0x80u}) {
        const uint32_t hdr = VTTM_PKT_HDR(VTTM_OP_FENCE, flags, 5);
        put_packet(0, vttm_pkt_fence{hdr, lo(kFenceAddr), 0, 1, 0});
        EXPECT_EQ(finish(0), VTTM_FAULT_BAD_PACKET);
        put_packet(0, vttm_pkt_set_vm{VTTM_PKT_HDR(VTTM_OP_SET_VM, flags, 2), 0});
        EXPECT_EQ(finish(0), VTTM_FAULT_BAD_PACKET);
    }
}

// --- Interrupts ----------------------------------------------------------------------------------

TEST_F(Fence, InterruptOnlyWithTheFlag) {
    wr(VTTM_REG_IRQ_ENABLE, 7);
    put_fence(0, 1, false);
    ring(0);
    ASSERT_TRUE(wait_idle(0));
    EXPECT_EQ(rd(VTTM_REG_IRQ_STATUS), 0u);
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ENGINE(0)), 0u);
    put_fence(0, 2, true);
    ring(0);
    ASSERT_TRUE(bus_.wait_irq(VTTM_MSIX_ENGINE(0), 1));
    EXPECT_EQ(rd(VTTM_REG_IRQ_STATUS), VTTM_IRQ_ENGINE(0));
    // Each event fires, whether or not the driver has cleared the status.
    put_fence(0, 3, true);
    ring(0);
    ASSERT_TRUE(bus_.wait_irq(VTTM_MSIX_ENGINE(0), 2));
}

TEST_F(Fence, LatchedWhileDisabledFiresWhenEnabled) {
    put_fence(1, 1, true);
    put_packet(0, fill_packet(VTTM_SPACE_VRAM, 2, 4, 0));
    ring(0);
    ring(1);
    ASSERT_TRUE(wait_idle(0));
    ASSERT_TRUE(wait_idle(1));
    EXPECT_EQ(rd(VTTM_REG_IRQ_STATUS), VTTM_IRQ_ERROR | VTTM_IRQ_ENGINE(1));
    for (unsigned v = 0; v < VTTM_NUM_VECTORS; v++) EXPECT_EQ(bus_.irq_count(v), 0u);
    wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(1));
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ENGINE(1)), 1u);
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ERROR), 0u);
    wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(1) | VTTM_IRQ_ERROR);
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ENGINE(1)), 1u) << "was enabled before";
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ERROR), 1u);
}

TEST_F(Fence, StatusIsWriteOneToClear) {
    put_fence(0, 1, true);
    put_fence(1, 1, true);
    ring(0);
    ring(1);
    ASSERT_TRUE(wait_for([&] { return rd(VTTM_REG_IRQ_STATUS) == 6; }));
    wr(VTTM_REG_IRQ_STATUS, 0);
    EXPECT_EQ(rd(VTTM_REG_IRQ_STATUS), 6u);
    wr(VTTM_REG_IRQ_STATUS, VTTM_IRQ_ENGINE(0));
    EXPECT_EQ(rd(VTTM_REG_IRQ_STATUS), VTTM_IRQ_ENGINE(1));
    wr(VTTM_REG_IRQ_STATUS, 0xffffffff);
    EXPECT_EQ(rd(VTTM_REG_IRQ_STATUS), 0u);
    wr(VTTM_REG_IRQ_ENABLE, 7);
    for (unsigned v = 0; v < VTTM_NUM_VECTORS; v++) EXPECT_EQ(bus_.irq_count(v), 0u);
}

TEST_F(Fence, FaultStatusIsWriteOneToClear) {
    put_packet(0, fill_packet(VTTM_SPACE_VRAM, 2, 4, 0));
    EXPECT_NE(finish(0), 0u);
    wr(VTTM_REG_FAULT_STATUS, 0);
    wr(VTTM_REG_FAULT_STATUS, 0xfffffffe);
    EXPECT_EQ(rd(VTTM_REG_FAULT_STATUS), VTTM_FAULT_STATUS_VALID);
    clear_fault();
    EXPECT_EQ(rd(VTTM_REG_FAULT_STATUS), 0u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 1u);
}

}  // namespace
}  // namespace vttm::model::test
