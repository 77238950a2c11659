// SPDX-License-Identifier: Apache-2.0
// Retryable faults: mended and retried, failed, answered wrongly, ended by resets.
#include "tests/unit/independent/fixture.h"

namespace vttm::independent {
namespace {

constexpr uint64_t kVa = 0x100000000000;
constexpr uint32_t kVm = 21;

class Retry : public IndependentDriver {
protected:
    void SetUp() override {
        IndependentDriver::SetUp();
        if (!device) return;
        vm = std::make_unique<AddressSpace>(*device, kVm, VTTM_SPACE_VRAM);
        memory = System(device->AllocSystem(4 * VTTM_PAGE_SIZE));
        vm->Map(kVa, memory, VTTM_PAGE_SIZE);
        device->Wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY);
    }
    /// Waits for the ring's stall and returns its record.
    vttm_fault_record Stall(Ring& ring) {
        EXPECT_TRUE(ring.WaitStatus(VTTM_ENG_STATUS_STALLED));
        EXPECT_FALSE(ring.Rd(VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE);
        const std::vector<vttm_fault_record> records = device->TakeFaults();
        faults++;
        EXPECT_EQ(records.size(), 1u);
        if (records.size() != 1) return {};
        EXPECT_EQ(VTTM_FAULT_INFO_REASON(records[0].info),
                  static_cast<uint32_t>(VTTM_FAULT_NOT_VALID));
        EXPECT_EQ(records[0].stall, ring.Rd(VTTM_ENG_STALL));
        return records[0];
    }
    void Answer(Ring& ring, uint32_t stall, uint32_t answer) {
        ring.Wr(VTTM_ENG_ANSWER, VTTM_ENG_ANSWER_VAL(stall, answer));
    }
    uint32_t Status(Ring& ring) {
        return device->ReadAs<vttm_fence_value>(System(ring.fence_at())).status;
    }

    std::unique_ptr<AddressSpace> vm;
    Place memory;
};

TEST_F(Retry, MendedAndRetriedPageByPage) {
    device->Wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ERROR);
    copy->Put(Program().SetVm(kVm).Fill(Virtual(kVa + 16), 3 * VTTM_PAGE_SIZE, 0xabababab));
    const uint64_t seq = copy->Fence();
    for (uint32_t page = 1; page <= 3; page++) {
        const vttm_fault_record r = Stall(*copy);
        EXPECT_TRUE(Poll([&] { return device->TakeInterrupt(VTTM_MSIX_ERROR); }));
        EXPECT_EQ(r.addr, kVa + page * VTTM_PAGE_SIZE);
        EXPECT_TRUE(r.info & VTTM_FAULT_INFO_WRITE);
        EXPECT_EQ(r.stall, page) << "stalls are numbered from 1";
        EXPECT_EQ(device->Read64(memory + (page * VTTM_PAGE_SIZE - 8)), 0xababababababababu)
            << "all before it is done";
        EXPECT_FALSE(copy->Done(seq));
        vm->Map(r.addr, memory + page * VTTM_PAGE_SIZE, VTTM_PAGE_SIZE);
        Answer(*copy, r.stall, VTTM_ENG_ANSWER_RETRY);
    }
    ASSERT_TRUE(copy->WaitFence(seq));
    EXPECT_EQ(Status(*copy), 0u);
    EXPECT_EQ(device->Read64(memory + (3 * VTTM_PAGE_SIZE + 8)), 0xababababababababu);
    EXPECT_EQ(device->Read64(memory + (3 * VTTM_PAGE_SIZE + 16)), 0u);
    EXPECT_EQ(device->Read64(memory + 8), 0u);
}

TEST_F(Retry, RetriedWithoutAMendStallsAgainAndFailEndsIt) {
    copy->Put(Program().SetVm(kVm).Fill(Virtual(kVa + VTTM_PAGE_SIZE), 4, 1));
    const uint64_t seq = copy->Fence();
    const uint32_t first = Stall(*copy).stall;
    Answer(*copy, first, VTTM_ENG_ANSWER_RETRY);
    ASSERT_TRUE(Poll([&] { return copy->Rd(VTTM_ENG_STALL) == first + 1; }));
    const uint32_t second = Stall(*copy).stall;
    EXPECT_EQ(second, first + 1);
    Answer(*copy, second, VTTM_ENG_ANSWER_FAIL);
    ASSERT_TRUE(copy->WaitFence(seq));
    EXPECT_EQ(Status(*copy), static_cast<uint32_t>(VTTM_FAULT_NOT_VALID));
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_COUNT), 2u) << "FAIL counts no fault of its own";
}

TEST_F(Retry, LateAndWrongAnswersDoNothing) {
    copy->Put(Program().SetVm(kVm).Fill(Virtual(kVa + VTTM_PAGE_SIZE), 4, 1));
    const uint64_t seq = copy->Fence();
    const uint32_t stall = Stall(*copy).stall;
    Answer(*copy, stall + 1, VTTM_ENG_ANSWER_FAIL);
    Answer(*copy, stall - 1, VTTM_ENG_ANSWER_FAIL);
    Answer(*copy, stall, 3);
    bad_accesses++;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(copy->Rd(VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED, VTTM_ENG_STATUS_STALLED);
    EXPECT_FALSE(copy->Done(seq));
    vm->Map(kVa + VTTM_PAGE_SIZE, memory, VTTM_PAGE_SIZE);
    Answer(*copy, stall, VTTM_ENG_ANSWER_RETRY);
    ASSERT_TRUE(copy->WaitFence(seq));
    Answer(*copy, stall, VTTM_ENG_ANSWER_FAIL);  // late: ignored, and no breach
    EXPECT_EQ(copy->Run(Program().Nop()), 0u);
}

TEST_F(Retry, NobodyElseWaits) {
    Ring second(*device, VTTM_ENGINE_COPY, 1);
    second.Enable();
    copy->Put(Program().SetVm(kVm).Fill(Virtual(kVa + VTTM_PAGE_SIZE), 4, 1));
    const uint64_t seq = copy->Fence();
    const uint32_t stall = Stall(*copy).stall;
    EXPECT_EQ(second.Run(Program().SetVm(kVm).Fill(Virtual(kVa), 8, 3)), 0u);
    EXPECT_EQ(stamp->Run(Program().SetVm(kVm).StampWrite(Virtual(kVa), {})), 0u);
    EXPECT_TRUE(device->Invalidate(VTTM_TLB_INV_ALL));
    EXPECT_FALSE(copy->Done(seq));
    Answer(*copy, stall, VTTM_ENG_ANSWER_FAIL);
    EXPECT_TRUE(copy->WaitFence(seq));
}

TEST_F(Retry, OtherReasonsAndOtherVmsStayFatal) {
    vm->Map(kVa + VTTM_PAGE_SIZE, memory, VTTM_PAGE_SIZE, Leaf::k4K, 0);
    EXPECT_EQ(OneFault(*copy, Program().SetVm(kVm).Fill(Virtual(kVa + VTTM_PAGE_SIZE), 4, 0),
                       VTTM_FAULT_READ_ONLY)
                  .stall,
              0u);
    AddressSpace fatal(*device, kVm + 1);
    OneFault(*copy, Program().SetVm(kVm + 1).Fill(Virtual(kVa), 4, 0), VTTM_FAULT_NOT_VALID);
    device->Wr(VTTM_REG_VM_MODE(kVm), 0);
    OneFault(*copy, Program().SetVm(kVm).Fill(Virtual(kVa + 2 * VTTM_PAGE_SIZE), 4, 0),
             VTTM_FAULT_NOT_VALID);
}

TEST_F(Retry, AnIndirectBufferIsFetchedAgain) {
    const Program p = Program().Fill(Virtual(kVa), 8, 0x5a5a5a5a);
    const Place at = System(device->AllocSystem(VTTM_PAGE_SIZE));
    copy->Put(Program().SetVm(kVm).Indirect(Virtual(kVa + VTTM_PAGE_SIZE), p.size()));
    const uint64_t seq = copy->Fence();
    const vttm_fault_record r = Stall(*copy);
    EXPECT_EQ(VTTM_FAULT_IB_DEPTH(r.ib), 1u);
    EXPECT_EQ(r.ib_addr, kVa + VTTM_PAGE_SIZE);
    device->Write(at, {reinterpret_cast<const uint8_t*>(p.dwords().data()), p.bytes()});
    vm->Map(kVa + VTTM_PAGE_SIZE, at, VTTM_PAGE_SIZE);
    Answer(*copy, r.stall, VTTM_ENG_ANSWER_RETRY);
    ASSERT_TRUE(copy->WaitFence(seq));
    EXPECT_EQ(Status(*copy), 0u);
    EXPECT_EQ(device->Read64(memory), 0x5a5a5a5a5a5a5a5au);
}

TEST_F(Retry, AListIsReadAgainAndSoIsASemaphore) {
    const Place list = System(device->AllocSystem(VTTM_PAGE_SIZE)), word = list + 64;
    const vttm_sg_entry piece{memory.address, 8, 0};
    device->Write(list, {reinterpret_cast<const uint8_t*>(&piece), sizeof piece});
    device->Write64(memory, 0x6b6b);
    const Program programs[] = {
        Program().Gather(Virtual(kVa + 64), VTTM_SPACE_SYSTEM, Virtual(kVa + VTTM_PAGE_SIZE), 1),
        Program()
            .Wait(Virtual(kVa + VTTM_PAGE_SIZE + 64), 0, VTTM_CMP_EQ)
            .Signal(Virtual(kVa + 72), 7)};
    for (const Program& p : programs) {
        copy->Put(Program().SetVm(kVm).Append(p));
        const uint64_t seq = copy->Fence();
        const vttm_fault_record r = Stall(*copy);
        EXPECT_FALSE(r.info & VTTM_FAULT_INFO_WRITE);
        vm->Map(kVa + VTTM_PAGE_SIZE, list, VTTM_PAGE_SIZE);
        Answer(*copy, r.stall, VTTM_ENG_ANSWER_RETRY);
        ASSERT_TRUE(copy->WaitFence(seq));
        EXPECT_EQ(Status(*copy), 0u);
        vm->Unmap(kVa + VTTM_PAGE_SIZE, VTTM_PAGE_SIZE);
        ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_RANGE, kVm, kVa + VTTM_PAGE_SIZE, 1));
    }
    EXPECT_EQ(device->Read64(memory + 64), 0x6b6bu);
    EXPECT_EQ(device->Read64(memory + 72), 7u);
    EXPECT_EQ(device->Read64(word), 0u);
}

TEST_F(Retry, ResetsEndAStallAndNumbersGoOn) {
    for (const uint32_t bit : {VTTM_ENG_CTRL_RING_RESET, VTTM_ENG_CTRL_RESET}) {
        copy->Submit(Program().SetVm(kVm).Fill(Virtual(kVa + VTTM_PAGE_SIZE), 4, 1));
        const uint32_t stall = Stall(*copy).stall;
        ASSERT_TRUE(copy->Reset(bit));
        EXPECT_EQ(copy->Rd(VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
        EXPECT_EQ(copy->Rd(VTTM_ENG_STALL), stall);
        Answer(*copy, stall, VTTM_ENG_ANSWER_RETRY);
        EXPECT_EQ(copy->Run(Program().SetVm(kVm).Fill(Virtual(kVa), 4, 1)), 0u);
    }
    copy->Submit(Program().SetVm(kVm).Fill(Virtual(kVa + VTTM_PAGE_SIZE), 4, 1));
    EXPECT_EQ(Stall(*copy).stall, 3u);
    ASSERT_TRUE(device->Reset());
    EXPECT_EQ(copy->Rd(VTTM_ENG_STALL), 0u);
    EXPECT_EQ(device->Rd(VTTM_REG_VM_MODE(kVm)), 0u);
    faults = 0;
}

}  // namespace
}  // namespace vttm::independent
