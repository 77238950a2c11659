// SPDX-License-Identifier: Apache-2.0
// Indirect buffers: nested to the bound, in every space, unprivileged, with errors inside.
#include "tests/unit/independent/fixture.h"
#include "tests/unit/independent/long_job.h"

namespace vttm::independent {
namespace {

constexpr uint64_t kVa = 0x600000000000;

class Indirect : public IndependentDriver {
protected:
    void SetUp() override {
        IndependentDriver::SetUp();
        if (device) word = System(device->AllocSystem(VTTM_PAGE_SIZE));
    }
    Place PutBuffer(const Program& p, uint32_t space = VTTM_SPACE_SYSTEM) {
        const Place at = device->AllocPlace(space, p.bytes());
        device->Write(at, {reinterpret_cast<const uint8_t*>(p.dwords().data()), p.bytes()});
        return at;
    }
    /// Adds @n to the word.
    Program Add(uint64_t n) { return Program().Signal(word, n, true); }
    Place word;
};

TEST_F(Indirect, NestedToTheBoundAndNotDeeper) {
    // Each level adds its digit before and after the one below.
    Program inner = Add(1000);
    Place at = PutBuffer(inner, VTTM_SPACE_VRAM);
    uint32_t size = inner.size();
    for (unsigned depth = VTTM_IB_MAX_DEPTH - 1; depth >= 1; depth--) {
        const Program outer = Add(1).Indirect(at, size).Append(Add(10));
        at = PutBuffer(outer, depth % 2 ? VTTM_SPACE_SYSTEM : VTTM_SPACE_VRAM);
        size = outer.size();
    }
    EXPECT_EQ(copy->Run(Program().Indirect(at, size).Append(Add(100))), 0u);
    EXPECT_EQ(device->Read64(word), 1000u + 3 * 11 + 100);

    device->Write64(word, 0);
    const Program fifth = Program().Indirect(at, size).Append(Add(7));
    const Place top = PutBuffer(fifth);
    const uint32_t pos = copy->tail();
    const vttm_fault_record r = OneFault(
        *copy, Program().Indirect(top, fifth.size()).Append(Add(100)), VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(device->Read64(word), 3u)
        << "what stood before the fifth level ran; nothing behind it";
    EXPECT_EQ(VTTM_FAULT_IB_DEPTH(r.ib), VTTM_IB_MAX_DEPTH);
    EXPECT_EQ(r.packet_pos, pos);
    EXPECT_EQ(VTTM_PKT_OP(r.packet_hdr), static_cast<uint32_t>(VTTM_OP_INDIRECT));
    EXPECT_EQ(r.addr, r.ib_addr);
}

TEST_F(Indirect, InAVmAndTheSetVmInsideStays) {
    AddressSpace first(*device, 10), second(*device, 11);
    const Place page = Vram(device->AllocVram(VTTM_PAGE_SIZE)),
                other = Vram(device->AllocVram(VTTM_PAGE_SIZE));
    second.Map(kVa, other, VTTM_PAGE_SIZE);
    Program p = Program().SetVm(11).Nop(5).Fill(Virtual(kVa), 8, 0x22222222);
    first.Map(kVa, PutBuffer(p, VTTM_SPACE_VRAM), VTTM_PAGE_SIZE);
    first.Map(kVa + VTTM_PAGE_SIZE, page, VTTM_PAGE_SIZE);
    // The buffer itself goes on being read in VM 10, though VM 11 is current; 11 stays so
    // afterwards.
    EXPECT_EQ(copy->Run(Program()
                            .SetVm(10)
                            .Indirect(Virtual(kVa), p.size())
                            .Fill(Virtual(kVa + 16), 8, 0x33333333)),
              0u);
    EXPECT_EQ(device->Read64(other), 0x2222222222222222u);
    EXPECT_EQ(device->Read64(other + 16), 0x3333333333333333u);
    EXPECT_EQ(device->Read64(page + 16), 0u);
}

TEST_F(Indirect, APacketMayWriteThePacketsBehindIt) {
    // FILL turns the dword behind it from NOP into the header of a wrong one: it is copied when its
    // turn comes.
    const Place at = System(device->AllocSystem(VTTM_PAGE_SIZE));
    const uint32_t wrong = VTTM_PKT_HDR(0x7e, 0, 1);
    const Program p = Program().Fill(at + 24, 4, wrong).Nop();
    device->Write(at, {reinterpret_cast<const uint8_t*>(p.dwords().data()), p.bytes()});
    const vttm_fault_record r =
        OneFault(*copy, Program().Indirect(at, p.size()), VTTM_FAULT_BAD_FRAMING);
    EXPECT_EQ(r.packet_hdr, wrong);
    EXPECT_EQ(r.ib_addr, at.address + 24);
    EXPECT_FALSE(copy->Rd(VTTM_ENG_STATUS) & VTTM_ENG_STATUS_HALTED)
        << "nothing halts for an indirect buffer";
}

TEST_F(Indirect, UnprivilegedRefusesWhatIsForTheKernel) {
    AddressSpace vm(*device, 12);
    const Place page = Vram(device->AllocVram(VTTM_PAGE_SIZE));
    vm.Map(kVa, page, VTTM_PAGE_SIZE);
    const Program forbidden[] = {
        Program().SetVm(12),           Program().Fence(word.address, 1),
        Program().Fill(Vram(0), 4, 0), Program().Copy(Virtual(kVa), System(word.address), 8),
        Program().Signal(word, 1),     Program().Indirect(word, 1)};
    for (const Program& f : forbidden) {
        const Program p = Program().Fill(Virtual(kVa), 4, 0x44444444).Append(f);
        const Place at = PutBuffer(p);
        const vttm_fault_record r =
            OneFault(*copy, Program().SetVm(12).Indirect(at, p.size(), true), VTTM_FAULT_PRIVILEGE);
        EXPECT_EQ(r.ib, 1u | VTTM_SPACE_SYSTEM << 4 | VTTM_FAULT_IB_UNPRIVILEGED);
        EXPECT_EQ(r.ib_addr, at.address + 24);
        EXPECT_EQ(r.addr, r.ib_addr);
        EXPECT_EQ(r.packet_hdr, f.dwords()[0]);
        EXPECT_EQ(copy->Run(Program().Fill(Virtual(kVa), 4, 0x44444444)), 0u)
            << "VM 12 is still current";
    }
    // The flag holds for what is nested below, too, though that INDIRECT does not say it.
    const Program bad = Program().Fence(word.address, 1);
    vm.Map(kVa + VTTM_PAGE_SIZE, PutBuffer(bad), VTTM_PAGE_SIZE);
    const Program outer = Program().Indirect(Virtual(kVa + VTTM_PAGE_SIZE), bad.size());
    const vttm_fault_record r =
        OneFault(*copy, Program().SetVm(12).Indirect(PutBuffer(outer), outer.size(), true),
                 VTTM_FAULT_PRIVILEGE);
    EXPECT_EQ(r.ib, 2u | VTTM_SPACE_VM << 4 | VTTM_FAULT_IB_UNPRIVILEGED);
    EXPECT_EQ(device->Read64(word), 0u);
    EXPECT_EQ(device->Read64(page), 0x44444444u);
}

TEST_F(Indirect, AnErrorEndsAllBuffersUpToTheRingsFence) {
    const Program inner = Program().Fill(Vram(3), 4, 0).Append(Add(1));
    const Program outer = Add(10).Indirect(PutBuffer(inner), inner.size()).Append(Add(100));
    const Place at = PutBuffer(outer);
    OneFault(*copy,
             Program().Indirect(at, outer.size()).Append(Add(1000)).Indirect(at, outer.size()),
             VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(device->Read64(word), 10u);
    EXPECT_EQ(copy->Run(Add(5)), 0u) << "behind the FENCE all is as ever";
    EXPECT_EQ(device->Read64(word), 15u);
}

TEST_F(Indirect, WrongLengthsAndAddresses) {
    const Place at = PutBuffer(Program().Nop());
    OneFault(*copy, Program().Indirect(at, 0), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().Indirect(at, VTTM_IB_MAX_DWORDS + 1), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().Indirect(at + 2, 1), VTTM_FAULT_BAD_PACKET);
    // A packet that does not end where the buffer ends is badly framed.
    OneFault(*copy, Program().Indirect(PutBuffer(Program().Nop(4)), 3), VTTM_FAULT_BAD_FRAMING);
}

TEST_F(Indirect, AFaultWhileFetchingIsTheAddressThatCannotBeRead) {
    AddressSpace vm(*device, 13);
    const Place page = Vram(device->AllocVram(VTTM_PAGE_SIZE));
    vm.Map(kVa, page, VTTM_PAGE_SIZE);
    const Program nops = Program().Nop(VTTM_PAGE_SIZE / 4);
    device->Write(page, {reinterpret_cast<const uint8_t*>(nops.dwords().data()), nops.bytes()});
    const vttm_fault_record r = OneFault(
        *copy, Program().SetVm(13).Indirect(Virtual(kVa), nops.size() + 1), VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(r.addr, kVa + VTTM_PAGE_SIZE);
    EXPECT_EQ(r.packet_hdr, 0u);
    EXPECT_EQ(r.ib_addr, kVa + VTTM_PAGE_SIZE);
    EXPECT_EQ(VTTM_FAULT_INFO_VM(r.info), 13u);
}

TEST_F(Indirect, AFaultWhileFetchingNamesTheVmOfTheBuffer) {
    AddressSpace first(*device, 13);
    const Place page = Vram(device->AllocVram(VTTM_PAGE_SIZE));
    first.Map(kVa, page, VTTM_PAGE_SIZE);
    const Program p = Program().SetVm(99).Nop(VTTM_PAGE_SIZE / 4 - 2);
    device->Write(page, {reinterpret_cast<const uint8_t*>(p.dwords().data()), p.bytes()});
    const vttm_fault_record r = OneFault(
        *copy, Program().SetVm(13).Indirect(Virtual(kVa), p.size() + 1), VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(VTTM_FAULT_INFO_VM(r.info), 13u) << "though 99 is current";
    OneFault(*copy, Program().Fill(Virtual(kVa), 4, 0), VTTM_FAULT_NO_VM);
}

TEST_F(Indirect, ADisabledRingFetchesNoMoreOfItsBuffer) {
    LongJob job(*device, 9);
    const Program p = Program(job.Fills(1)).Append(Add(1));
    copy->Put(Program().Indirect(PutBuffer(p), p.size()));
    const uint64_t seq = copy->Fence();
    ASSERT_TRUE(Poll([&] { return copy->Rd64(VTTM_ENG_BYTES_LO) > 0; }));
    copy->Wr(VTTM_ENG_CTRL, 0);
    ASSERT_TRUE(Poll([&] { return copy->Rd64(VTTM_ENG_BYTES_LO) == 1ull << 30; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(device->Read64(word), 0u);
    copy->Wr(VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    ASSERT_TRUE(copy->WaitFence(seq));
    EXPECT_EQ(device->Read64(word), 1u);
}

TEST_F(Indirect, AConditionSkipsToTheEndOfItsBuffer) {
    device->Write64(word + 8, 1);
    const Program end = Add(1);
    const Program p = Program().SkipIf(word + 8, 1, VTTM_CMP_EQ, 1, end.size()).Append(end);
    const Place at = PutBuffer(p);
    EXPECT_EQ(copy->Run(Program().Indirect(at, p.size()).Append(Add(10))), 0u);
    EXPECT_EQ(device->Read64(word), 10u);
    OneFault(*copy, Program().Indirect(at, p.size() - 1).Append(Add(10)), VTTM_FAULT_BAD_PACKET);
}

}  // namespace
}  // namespace vttm::independent
