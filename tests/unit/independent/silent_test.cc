// SPDX-License-Identifier: Apache-2.0
// Where the specification was silent or ambiguous when this driver was written, and what it says
// now.
#include "tests/unit/independent/fixture.h"
#include "tests/unit/independent/long_job.h"

namespace vttm::independent {
namespace {

class OnceSilent : public IndependentDriver {};

TEST_F(OnceSilent, UndefinedBitsOfControlRegistersAreIgnored) {
    device->Wr(VTTM_REG_DEV_CTRL, ~VTTM_DEV_CTRL_RESET);
    EXPECT_EQ(device->Rd(VTTM_REG_DEV_CTRL), 0u);
    device->Wr(VTTM_REG_IRQ_ENABLE, ~0u);
    EXPECT_EQ(device->Rd(VTTM_REG_IRQ_ENABLE), (1u << VTTM_NUM_VECTORS) - 1);
    copy->Wr(VTTM_ENG_CTRL, 0xfffffff8u | VTTM_ENG_CTRL_ENABLE);
    EXPECT_EQ(copy->Rd(VTTM_ENG_CTRL), VTTM_ENG_CTRL_ENABLE);
    EXPECT_EQ(device->Rd(VTTM_REG_TLB_INV_CMD), 0u) << "WO reads as 0";
    EXPECT_EQ(copy->Rd(VTTM_ENG_ANSWER), 0u);
    Ring off(*device, VTTM_ENGINE_COPY, 1);
    device->Wr64(off.block() + VTTM_ENG_RING_BASE_LO, off.base() | 0xfff);
    EXPECT_EQ(device->Rd64(off.block() + VTTM_ENG_RING_BASE_LO), off.base())
        << "low bits are dropped";
    EXPECT_EQ(device->Rd(VTTM_REG_BAD_ACCESS), 0u);
}

TEST_F(OnceSilent, InvalidationsOfNoVmCountAndDropNothing) {
    EXPECT_TRUE(device->Invalidate(VTTM_TLB_INV_VM, VTTM_MAX_VMS));
    EXPECT_TRUE(device->Invalidate(VTTM_TLB_INV_RANGE, 0xffff, 0, 1));
    EXPECT_EQ(device->Rd(VTTM_REG_TLB_INV_DONE), 2u);
}

TEST_F(OnceSilent, AFaultRingNeedsItsSize) {
    ASSERT_TRUE(device->Reset());
    device->Wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_RING_CTRL), 0u);
    EXPECT_EQ(device->Rd(VTTM_REG_BAD_ACCESS), ++bad_accesses);
}

TEST_F(OnceSilent, ABadTailOfADisabledRingHaltsItWhenItIsEnabled) {
    Ring ring(*device, VTTM_ENGINE_COPY, 1);
    ring.Wr(VTTM_ENG_TAIL, VTTM_RING_MIN_SIZE);
    ring.Enable();
    EXPECT_TRUE(ring.WaitStatus(VTTM_ENG_STATUS_HALTED));
    // ENABLE without a size: every TAIL but 0 is beyond the ring.
    Ring none(*device, VTTM_ENGINE_COPY, 2);
    none.Wr(VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    EXPECT_EQ(none.Rd(VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
    none.Wr(VTTM_ENG_TAIL, 4);
    EXPECT_TRUE(none.WaitStatus(VTTM_ENG_STATUS_HALTED));
    for (const vttm_fault_record& r : device->TakeFaults()) {
        EXPECT_EQ(VTTM_FAULT_INFO_REASON(r.info), static_cast<uint32_t>(VTTM_FAULT_BAD_FRAMING));
        EXPECT_EQ(r.packet_hdr, 0u);
    }
    faults = 2;
}

TEST_F(OnceSilent, AHaltedRingTakesWritesAndStaysHalted) {
    copy->Submit(Program().Raw({~0u}));
    ASSERT_TRUE(copy->WaitStatus(VTTM_ENG_STATUS_HALTED));
    copy->Wr(VTTM_ENG_TAIL, 8);
    copy->Wr(VTTM_ENG_CTRL, 0);
    copy->Wr(VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    EXPECT_EQ(copy->Rd(VTTM_ENG_TAIL), 8u);
    EXPECT_EQ(copy->Rd(VTTM_ENG_STATUS), VTTM_ENG_STATUS_HALTED);
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_COUNT), 1u);
    EXPECT_TRUE(copy->Reset(VTTM_ENG_CTRL_RING_RESET));
    EXPECT_EQ(copy->Run(Program().Nop()), 0u);
    faults = 1;
}

TEST_F(OnceSilent, DisablingStopsFetchingNotThePacketUnderWay) {
    LongJob job(*device, 9);
    const Place word = System(device->AllocSystem(VTTM_PAGE_SIZE));
    copy->Put(Program(job.Fills(1)).Signal(word, 1));
    const uint64_t seq = copy->Fence();
    ASSERT_TRUE(Poll([&] { return copy->Rd64(VTTM_ENG_BYTES_LO) > 0; }));
    copy->Wr(VTTM_ENG_CTRL, 0);
    EXPECT_TRUE(Poll([&] { return copy->Rd64(VTTM_ENG_BYTES_LO) == 1ull << 30; }))
        << "it runs to its end";
    EXPECT_FALSE(copy->Rd(VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE) << "HEAD is not TAIL";
    EXPECT_FALSE(copy->Done(seq));
    copy->Wr(VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    EXPECT_TRUE(copy->WaitFence(seq)) << "and on from there";
}

TEST_F(OnceSilent, WhatBytesAndPacketsCount) {
    const Place w = System(device->AllocSystem(VTTM_PAGE_SIZE)),
                v = Vram(device->AllocVram(4 * VTTM_PAGE_SIZE));
    AddressSpace vm(*device, 5);
    vm.Map(0x1000, v, VTTM_PAGE_SIZE);
    const auto cost = [&](Ring& ring, const Program& p, uint32_t status = 0) {
        const uint64_t bytes = ring.Rd64(VTTM_ENG_BYTES_LO);
        const uint32_t packets = ring.Rd(VTTM_ENG_PACKETS);
        EXPECT_EQ(ring.Run(p), status);
        EXPECT_TRUE(ring.WaitIdle());
        return std::pair<uint64_t, uint32_t>(ring.Rd64(VTTM_ENG_BYTES_LO) - bytes,
                                             ring.Rd(VTTM_ENG_PACKETS) - packets - 1);
    };
    using Cost = std::pair<uint64_t, uint32_t>;
    EXPECT_EQ(cost(*copy, Program().Copy(v, w, 100)), Cost(100, 1));
    EXPECT_EQ(cost(*copy, Program().Copy2d(v, 16, w, 16, 10, 10)), Cost(100, 1));
    EXPECT_EQ(cost(*copy, Program().Signal(w, 0).Timestamp(w + 8).Wait(w, 0, VTTM_CMP_EQ)),
              Cost(0, 3));
    EXPECT_EQ(cost(*copy, Program().SkipIf(w, 0, VTTM_CMP_EQ, 0, 2).Nop(2)), Cost(0, 1))
        << "what is skipped is none";
    EXPECT_EQ(cost(*stamp, Program().StampWrite(v, {.npages = 2})), Cost(8192, 1));
    EXPECT_EQ(cost(*stamp, Program().StampVerify(v, {.npages = 2, .buffer = 9}, w)), Cost(8192, 1))
        << "bad pages, too";
    EXPECT_EQ(cost(*stamp, Program().Hash(v, 1000, 0, w)), Cost(1000, 1));
    EXPECT_EQ(cost(*copy, Program().SetVm(5).Fill(Virtual(0x1800), 4096, 0), VTTM_FAULT_NOT_VALID),
              Cost(2048, 1))
        << "what was done before the fault";
    EXPECT_EQ(cost(*copy, Program().Fill(Vram(1), 4, 0).Nop().SetVm(5), VTTM_FAULT_BAD_PACKET),
              Cost(0, 1))
        << "SET_VM while packets are skipped";
    faults = 2;
}

TEST_F(OnceSilent, OperandsBeforeRangesBeforeAccesses) {
    AddressSpace vm(*device, 5);
    const uint64_t nowhere = 1ull << 40;
    OneFault(*copy, Program().Fill(Vram(nowhere), 0, 0), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().Copy(Vram(nowhere), Vram(nowhere + 4), 8), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().SetVm(5).Copy(Vram(nowhere), Virtual(0x1000), 8),
             VTTM_FAULT_VRAM_RANGE);
    OneFault(*copy, Program().SetVm(5).Copy(Virtual(0x1000), Vram(nowhere), 8),
             VTTM_FAULT_VRAM_RANGE);
    // RAM that ends is met on the way, not before: what lies in front of it is done.
    const uint64_t end = wire->config().ram;
    EXPECT_EQ(OneFault(*copy, Program().Fill(System(end - 8), 16, 0x99999999), VTTM_FAULT_BUS).addr,
              end);
    EXPECT_EQ(device->Read64(System(end - 8)), 0x9999999999999999u);
}

TEST_F(OnceSilent, AnIndirectBuffersRangeIsTheIndirectsItsMemoryTheFetchs) {
    const uint32_t pos = copy->tail();
    vttm_fault_record r = OneFault(*copy, Program().Indirect(Vram(device->vram_size() - 4), 2),
                                   VTTM_FAULT_VRAM_RANGE);
    EXPECT_EQ(r.ib, 0u);
    EXPECT_EQ(r.packet_pos, pos);
    EXPECT_EQ(r.addr, device->vram_size() - 4);
    r = OneFault(*copy, Program().Indirect(System(0xd0000000), 2), VTTM_FAULT_BUS);
    EXPECT_EQ(VTTM_FAULT_IB_DEPTH(r.ib), 1u);
    EXPECT_EQ(r.ib_addr, 0xd0000000u);
    r = OneFault(*copy, Program().Indirect(Virtual(0x1000), 2), VTTM_FAULT_NO_VM);
    EXPECT_EQ(VTTM_FAULT_IB_DEPTH(r.ib), 1u);
}

TEST_F(OnceSilent, ARefusedSetVmWhilePacketsAreSkippedIsAFaultOfItsOwn) {
    copy->Put(Program().Fill(Vram(1), 4, 0).SetVm(VTTM_MAX_VMS));
    EXPECT_EQ(copy->Run(Program()), static_cast<uint32_t>(VTTM_FAULT_BAD_PACKET))
        << "the first one counts";
    const std::vector<vttm_fault_record> records = device->TakeFaults();
    ASSERT_EQ(records.size(), 2u);
    EXPECT_EQ(VTTM_FAULT_INFO_REASON(records[1].info), static_cast<uint32_t>(VTTM_FAULT_NO_VM));
    faults = 2;
}

TEST_F(OnceSilent, AFenceThatCannotBeWrittenKeepsTheFirstError) {
    copy->Put(Program().Fill(Vram(1), 4, 0).Fence(0xd0000000, 1));
    EXPECT_EQ(copy->Run(Program()), static_cast<uint32_t>(VTTM_FAULT_BAD_PACKET));
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_COUNT), 2u);
    faults = 2;
}

TEST_F(OnceSilent, StampWriteIgnoresTheSpaceOfTheResultItDoesNotHave) {
    const Place v = Vram(device->AllocVram(VTTM_PAGE_SIZE));
    EXPECT_EQ(stamp->Run(Program().Put(
                  VTTM_OP_STAMP_WRITE, VTTM_PKT_DST(v.space) | VTTM_PKT_SRC(3),
                  vttm_pkt_stamp{0, Lo(v.address), Hi(v.address), 1, 1, 1, 0, 0, 0, 0, 5, 0})),
              0u);
}

TEST_F(OnceSilent, AStallOutlivesDisablingAndItsModesEnd) {
    AddressSpace vm(*device, 5);
    const Place page = System(device->AllocSystem(VTTM_PAGE_SIZE));
    device->Wr(VTTM_REG_VM_MODE(5), VTTM_VM_MODE_RETRY);
    copy->Put(Program().SetVm(5).Fill(Virtual(0x1000), 4, 1));
    const uint64_t seq = copy->Fence();
    ASSERT_TRUE(copy->WaitStatus(VTTM_ENG_STATUS_STALLED));
    device->Wr(VTTM_REG_VM_MODE(5), 0);
    copy->Wr(VTTM_ENG_CTRL, 0);
    EXPECT_TRUE(copy->Rd(VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED);
    vm.Map(0x1000, page, VTTM_PAGE_SIZE);
    copy->Wr(VTTM_ENG_ANSWER, VTTM_ENG_ANSWER_VAL(copy->Rd(VTTM_ENG_STALL), VTTM_ENG_ANSWER_RETRY));
    EXPECT_TRUE(Poll([&] { return device->Read64(page) == 1; }))
        << "the packet goes on though no other is fetched";
    EXPECT_FALSE(copy->Done(seq));
    copy->Wr(VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    EXPECT_TRUE(copy->WaitFence(seq));
    faults = 1;
}

TEST_F(OnceSilent, FaultRegistersKeepTheLastLatchedFaultAfterTheClear) {
    OneFault(*copy, Program().Fill(Vram(1), 4, 0), VTTM_FAULT_BAD_PACKET);
    const uint32_t info = device->Rd(VTTM_REG_FAULT_INFO);
    device->Wr(VTTM_REG_FAULT_STATUS, VTTM_FAULT_STATUS_VALID);
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_INFO), info);
}

TEST_F(OnceSilent, MsixIsTheOnlyInterrupt) {
    EXPECT_EQ(device->pci().Read(1, 0x3d), 0u) << "no INTx pin";
    EXPECT_EQ(device->pci().Capability(0x05), 0u) << "no MSI";
    EXPECT_NE(device->pci().Capability(0x10), 0u) << "PCI Express";
}

}  // namespace
}  // namespace vttm::independent
