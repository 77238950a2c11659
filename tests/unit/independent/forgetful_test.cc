// SPDX-License-Identifier: Apache-2.0
// Drivers that each forget one step of the specification: what they see shows that the step is
// needed, and that the other tests of this folder would fail without it.
#include <gtest/gtest-spi.h>

#include "protocol/vttm_stamp.h"
#include "tests/unit/independent/fixture.h"

namespace vttm::independent {
namespace {

class Forgetful : public IndependentDriver {};

TEST_F(Forgetful, BusMastering) {
    device->pci().Command(true, false);
    copy->Submit(Program().Nop());
    EXPECT_TRUE(copy->WaitStatus(VTTM_ENG_STATUS_HALTED));
    EXPECT_EQ(VTTM_FAULT_INFO_REASON(device->Rd(VTTM_REG_FAULT_INFO)),
              static_cast<uint32_t>(VTTM_FAULT_BUS));
    device->pci().Command(true, true);
    ASSERT_TRUE(copy->Reset(VTTM_ENG_CTRL_RESET));
    EXPECT_EQ(copy->Run(Program().Nop()), 0u);
    faults = 1;
}

TEST_F(Forgetful, Doorbell) {
    copy->Put(Program().Fence(copy->fence_at(), 1));
    EXPECT_FALSE(copy->WaitFence(1, 50));
    copy->Kick();
    EXPECT_TRUE(copy->WaitFence(1));
}

TEST_F(Forgetful, Enable) {
    Ring off(*device, VTTM_ENGINE_COPY, 1);
    device->Wr64(off.block() + VTTM_ENG_RING_BASE_LO, off.base());
    off.Wr(VTTM_ENG_RING_SIZE, off.bytes());
    const uint64_t seq = off.Fence();
    EXPECT_FALSE(off.WaitFence(seq, 50));
    off.Wr(VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    EXPECT_TRUE(off.WaitFence(seq)) << "a doorbell before ENABLE is not lost";
}

TEST_F(Forgetful, InterruptEnable) {
    ASSERT_TRUE(copy->WaitFence(copy->Fence(true)));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(device->TakeInterrupt(VTTM_MSIX_ENGINE(VTTM_ENGINE_COPY)));
}

TEST_F(Forgetful, SetVmAfterAReset) {
    AddressSpace vm(*device, 1);
    vm.Map(0, Vram(device->AllocVram(4096)), 4096);
    EXPECT_EQ(copy->Run(Program().SetVm(1).Fill(Virtual(0), 4, 0)), 0u);
    EXPECT_EQ(copy->Run(Program().Fill(Virtual(0), 4, 0)), 0u);
    ASSERT_TRUE(copy->Reset(VTTM_ENG_CTRL_RESET));
    EXPECT_EQ(OneFault(*copy, Program().Fill(Virtual(0), 4, 0), VTTM_FAULT_NO_VM).addr, 0u);
}

TEST_F(Forgetful, FourBytesFreeInTheRing) {
    // All of the ring is written: HEAD = TAIL is an empty one, and nothing runs.
    const Place word = System(device->AllocSystem(VTTM_PAGE_SIZE));
    Program p = Program().Signal(word, 1);
    p.Nop(VTTM_RING_MIN_SIZE / 4 - p.size());
    device->Write(System(copy->base()),
                  {reinterpret_cast<const uint8_t*>(p.dwords().data()), p.bytes()});
    copy->Wr(VTTM_ENG_TAIL, 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(device->Read64(word), 0u);
    EXPECT_EQ(copy->Rd(VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
}

TEST_F(Forgetful, TheInvalidationCountAfterADeviceReset) {
    for (int i = 0; i < 3; i++) ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_ALL));
    ASSERT_TRUE(device->Reset());
    device->Wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(VTTM_TLB_INV_ALL, 0));
    const uint32_t forgotten = 4;  // the count of a driver that goes on where it was
    EXPECT_FALSE(Poll(
        [&] { return static_cast<int32_t>(device->Rd(VTTM_REG_TLB_INV_DONE) - forgotten) >= 0; },
        50));
    EXPECT_EQ(device->Rd(VTTM_REG_TLB_INV_DONE), 1u);
}

TEST_F(Forgetful, DisableBeforeARingIsMoved) {
    const uint64_t elsewhere = device->AllocSystem(VTTM_PAGE_SIZE);
    device->Wr64(copy->block() + VTTM_ENG_RING_BASE_LO, elsewhere);
    EXPECT_EQ(device->Rd64(copy->block() + VTTM_ENG_RING_BASE_LO), copy->base());
    EXPECT_EQ(device->Rd(VTTM_REG_BAD_ACCESS), ++bad_accesses);
    EXPECT_EQ(copy->Run(Program().Nop()), 0u);
}

TEST_F(Forgetful, InvalidationIsSeenByTheFixture) {
    AddressSpace vm(*device, 1);
    const Place a = Vram(device->AllocVram(4096)), b = Vram(device->AllocVram(4096));
    vm.Map(0, a, 4096);
    EXPECT_EQ(copy->Run(Program().SetVm(1).Fill(Virtual(0), 4, 1)), 0u);
    vm.Map(0, b, 4096);
    EXPECT_EQ(copy->Run(Program().SetVm(1).Fill(Virtual(0), 4, 2)), 0u);
    EXPECT_EQ(device->Read64(b), 0u);
    // What each test ends with would have told.
    EXPECT_NONFATAL_FAILURE(IndependentDriver::TearDown(), "forgot an invalidation");
    stale = 1;
}

TEST_F(Forgetful, BrokenRegisterRulesAndFaultsAreSeenByTheFixture) {
    wire->Load(1, device->regs());
    EXPECT_NONFATAL_FAILURE(IndependentDriver::TearDown(), "broke a rule of the registers");
    bad_accesses = 1;
    EXPECT_EQ(copy->Run(Program().Fill(Vram(1), 4, 0)),
              static_cast<uint32_t>(VTTM_FAULT_BAD_PACKET));
    EXPECT_NONFATAL_FAILURE(IndependentDriver::TearDown(), "faults that no test expected");
    faults = 1;
}

TEST_F(Forgetful, ARingThatNeverAnswersIsSeen) {
    ASSERT_TRUE(copy->Reset(VTTM_ENG_CTRL_RESET, false));
    EXPECT_FALSE(copy->WaitFence(copy->Fence(), 50));
}

}  // namespace
}  // namespace vttm::independent
