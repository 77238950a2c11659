// SPDX-License-Identifier: Apache-2.0
// Badly framed rings halt, and a reset gets them going; a ring wraps wherever its end is.
#include "tests/unit/independent/fixture.h"

namespace vttm::independent {
namespace {

class Framing : public IndependentDriver {
protected:
    /// @ring must halt with HEAD at @pos; then an engine reset makes it good again.
    vttm_fault_record Halts(Ring& ring, uint32_t pos, uint32_t reason = VTTM_FAULT_BAD_FRAMING) {
        EXPECT_TRUE(ring.WaitStatus(VTTM_ENG_STATUS_HALTED));
        EXPECT_EQ(ring.Rd(VTTM_ENG_HEAD), pos);
        const std::vector<vttm_fault_record> records = device->TakeFaults();
        faults++;
        EXPECT_EQ(records.size(), 1u);
        if (records.size() != 1) return {};
        EXPECT_EQ(VTTM_FAULT_INFO_REASON(records[0].info), reason);
        EXPECT_EQ(records[0].addr, ring.base() + pos);
        EXPECT_EQ(records[0].packet_pos, pos);
        EXPECT_TRUE(ring.Reset(VTTM_ENG_CTRL_RESET));
        EXPECT_EQ(ring.Rd(VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
        EXPECT_EQ(ring.Run(Program().Nop(3)), 0u);
        return records[0];
    }
};

TEST_F(Framing, OpcodesAndLengths) {
    const uint32_t headers[] = {
        VTTM_PKT_HDR(0x7f, 0, 1),           VTTM_PKT_HDR(VTTM_OP_NOP, 0, 0),
        VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 1), VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 3),
        VTTM_PKT_HDR(VTTM_OP_FILL, 0, 7),   VTTM_PKT_HDR(VTTM_OP_HASH, 0, 9)};  // the other class's
    for (const uint32_t header : headers) {
        SCOPED_TRACE(testing::Message() << std::hex << header);
        EXPECT_EQ(copy->Run(Program().Nop(2)), 0u);
        const uint32_t pos = copy->tail();
        copy->Submit(Program().Raw({header, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
        EXPECT_EQ(Halts(*copy, pos).packet_hdr, header);
    }
    const uint32_t pos = stamp->tail();
    stamp->Submit(Program().Fill(Vram(0), 4, 0));
    EXPECT_EQ(VTTM_FAULT_INFO_ENGINE(Halts(*stamp, pos).info), VTTM_ENGINE_STAMP);
}

TEST_F(Framing, TheLongestNopAndOneMore) {
    Ring big(*device, VTTM_ENGINE_COPY, 2, 4 * VTTM_RING_MIN_SIZE);
    big.Enable();
    EXPECT_EQ(big.Run(Program().Nop(VTTM_PKT_MAX_DWORDS)), 0u);
    const uint32_t pos = big.tail();
    big.Submit(Program().Nop(VTTM_PKT_MAX_DWORDS + 1));
    EXPECT_TRUE(big.WaitStatus(VTTM_ENG_STATUS_HALTED));
    EXPECT_EQ(big.Rd(VTTM_ENG_HEAD), pos);
    faults = 1;
    EXPECT_EQ(copy->Run(Program().Nop()), 0u) << "only that ring has halted";
    EXPECT_TRUE(big.Reset(VTTM_ENG_CTRL_RING_RESET));
    EXPECT_EQ(big.Run(Program().Nop()), 0u);
}

TEST_F(Framing, PacketsBeyondTail) {
    const uint32_t pos = copy->tail();
    copy->Submit(Program().Raw({VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2)}));
    Halts(*copy, pos);
}

TEST_F(Framing, TailsThatAreNone) {
    for (const uint32_t tail : {2u, VTTM_RING_MIN_SIZE, ~0u}) {
        EXPECT_EQ(copy->Run(Program().Nop()), 0u);
        const uint32_t pos = copy->tail();
        copy->Wr(VTTM_ENG_TAIL, tail);
        Halts(*copy, pos);
    }
}

TEST_F(Framing, ARingThatCannotBeRead) {
    Ring lost(*device, VTTM_ENGINE_COPY, 1);
    device->Wr64(lost.block() + VTTM_ENG_RING_BASE_LO, 0xd0000000);
    lost.Wr(VTTM_ENG_RING_SIZE, VTTM_RING_MIN_SIZE);
    lost.Wr(VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    lost.Wr(VTTM_ENG_TAIL, 4);
    ASSERT_TRUE(lost.WaitStatus(VTTM_ENG_STATUS_HALTED));
    const vttm_fault_record r = device->TakeFaults().at(0);
    EXPECT_EQ(VTTM_FAULT_INFO_REASON(r.info), static_cast<uint32_t>(VTTM_FAULT_BUS));
    EXPECT_EQ(VTTM_FAULT_INFO_RING(r.info), 1u);
    EXPECT_EQ(r.addr, 0xd0000000u);
    EXPECT_EQ(r.packet_hdr, 0u);
    faults = 1;
    EXPECT_EQ(copy->Run(Program().Nop()), 0u);
}

TEST_F(Framing, FramingIsCheckedWhilePacketsAreSkipped) {
    copy->Put(Program().Fill(Vram(1), 4, 0));
    const uint32_t pos = copy->tail();
    copy->Submit(Program().Raw({0xffffffff}));
    ASSERT_TRUE(copy->WaitStatus(VTTM_ENG_STATUS_HALTED));
    EXPECT_EQ(copy->Rd(VTTM_ENG_HEAD), pos);
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_COUNT), 2u);
    faults = 2;
}

TEST_F(Framing, PacketsWrapWhereverTheRingEnds) {
    const Place word = System(device->AllocSystem(VTTM_PAGE_SIZE));
    // 17 dwords a turn (7 + 5 + 5): the end comes in the middle of every packet sooner or later.
    uint64_t sum = 0;
    for (uint32_t i = 1; i <= 200; i++) {
        ASSERT_EQ(copy->Run(Program().Copy(word + 64, word, 8).Signal(word, i, true)), 0u);
        EXPECT_EQ(device->Read64(word + 64), sum);
        sum += i;
        ASSERT_EQ(device->Read64(word), sum);
    }
    EXPECT_EQ(copy->Rd(VTTM_ENG_HEAD), copy->tail());
    EXPECT_EQ(copy->tail(), 200 * 17 * 4 % VTTM_RING_MIN_SIZE);
}

TEST_F(Framing, ARingIsFullWithFourBytesFree) {
    // One packet of all there is, and the FENCE when its room is free again.
    EXPECT_EQ(copy->Free(), VTTM_RING_MIN_SIZE - 4);
    copy->Submit(Program().Nop(VTTM_RING_MIN_SIZE / 4 - 1));
    EXPECT_TRUE(copy->WaitIdle());
    EXPECT_EQ(copy->Run(Program().Nop()), 0u);
}

}  // namespace
}  // namespace vttm::independent
