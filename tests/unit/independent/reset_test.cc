// SPDX-License-Identifier: Apache-2.0
// Resets of engine and device while jobs run, and what stays.
#include "tests/unit/independent/fixture.h"
#include "tests/unit/independent/long_job.h"

namespace vttm::independent {
namespace {

class Reset : public IndependentDriver {};

TEST_F(Reset, EngineWhileAJobRuns) {
    LongJob job(*device, 9);
    EXPECT_EQ(copy->Run(Program().Nop()), 0u);
    copy->Put(job.Fills(4, 30));
    const uint64_t lost = copy->Fence();
    ASSERT_TRUE(Poll([&] { return copy->Rd64(VTTM_ENG_BYTES_LO) > 0; }));
    EXPECT_FALSE(copy->Rd(VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE);
    ASSERT_TRUE(copy->Reset(VTTM_ENG_CTRL_RESET)) << "within a second";
    EXPECT_EQ(copy->Rd(VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
    EXPECT_EQ(copy->Rd(VTTM_ENG_HEAD), 0u);
    EXPECT_EQ(copy->Rd(VTTM_ENG_TAIL), 0u);
    EXPECT_FALSE(copy->Done(lost)) << "a job that a reset ended is lost";
    EXPECT_EQ(copy->Rd64(VTTM_ENG_LAST_FENCE_LO), 1u);
    EXPECT_EQ(copy->Rd(VTTM_ENG_RING_SIZE), copy->bytes());
    const uint64_t bytes = copy->Rd64(VTTM_ENG_BYTES_LO);
    EXPECT_GT(bytes, 0u);
    EXPECT_LT(bytes, 120ull << 30);
    EXPECT_EQ(copy->Run(Program().Nop()), 0u);
    EXPECT_EQ(copy->Rd64(VTTM_ENG_BYTES_LO), bytes) << "nothing runs on";
}

TEST_F(Reset, EngineForgetsItsVmItsErrorAndNothingOfTheOther) {
    AddressSpace vm(*device, 4);
    const Place word = System(device->AllocSystem(VTTM_PAGE_SIZE));
    vm.Map(0x10000, word, VTTM_PAGE_SIZE);
    stamp->Put(Program().SetVm(4).Wait(Virtual(0x10000), 5, VTTM_CMP_EQ));
    const uint64_t seq = stamp->Fence();
    EXPECT_EQ(copy->Run(Program().SetVm(4).Signal(Virtual(0x10000), 1)), 0u);
    copy->Submit(Program().Fill(Vram(1), 4, 0));
    ASSERT_TRUE(Poll([&] { return device->Rd(VTTM_REG_FAULT_COUNT) == 1; }));
    device->TakeFaults();
    faults = 1;
    ASSERT_TRUE(copy->Reset(VTTM_ENG_CTRL_RESET));
    EXPECT_EQ(copy->Run(Program().Nop()), 0u) << "the pending error is gone";
    OneFault(*copy, Program().Signal(Virtual(0x10000), 2), VTTM_FAULT_NO_VM);
    EXPECT_EQ(device->Read64(word), 1u);
    EXPECT_EQ(device->Rd(VTTM_REG_FAULT_RING_CTRL), VTTM_FAULT_RING_CTRL_ENABLE);
    device->Write64(word, 5);
    EXPECT_TRUE(stamp->WaitFence(seq)) << "the other engine goes on";
}

TEST_F(Reset, WithoutEnableTheEngineStaysOffAndMayBeMoved) {
    ASSERT_TRUE(copy->Reset(VTTM_ENG_CTRL_RESET, false));
    EXPECT_EQ(copy->Rd(VTTM_ENG_CTRL), 0u);
    Ring moved(*device, VTTM_ENGINE_COPY, 0, 4 * VTTM_RING_MIN_SIZE);
    moved.Enable();
    EXPECT_EQ(moved.Run(Program().Nop(1000)), 0u);
    EXPECT_EQ(moved.Rd(VTTM_ENG_HEAD), moved.tail());
}

TEST_F(Reset, DeviceWhileJobsRun) {
    LongJob job(*device, 9);
    const Place kept = Vram(device->AllocVram(8192)),
                word = System(device->AllocSystem(VTTM_PAGE_SIZE));
    const std::vector<uint8_t> bytes = Random(8192);
    device->Write(kept, bytes);
    const uint64_t time = device->Rd64(VTTM_REG_TIMESTAMP_LO);
    OneFault(*copy, Program().Fill(Vram(1), 4, 0), VTTM_FAULT_BAD_PACKET);
    ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_ALL));
    device->Wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ERROR);
    device->Wr(VTTM_REG_VM_MODE(9), VTTM_VM_MODE_RETRY);
    copy->Wr(VTTM_ENG_PRIORITY, 1);
    device->Rd(0x48);  // one bad access
    copy->Submit(job.Fills(4, 30));
    stamp->Submit(Program().Wait(word, 1, VTTM_CMP_EQ));
    ASSERT_TRUE(Poll([&] { return copy->Rd64(VTTM_ENG_BYTES_LO) > 0; }));

    ASSERT_TRUE(device->Reset()) << "within a second";
    EXPECT_EQ(device->Rd(VTTM_REG_DEV_CTRL), 0u);
    for (Ring* r : {copy.get(), stamp.get()}) {
        EXPECT_EQ(r->Rd(VTTM_ENG_CTRL), 0u);
        for (const uint32_t reg :
             {VTTM_ENG_RING_BASE_LO, VTTM_ENG_RING_BASE_HI, VTTM_ENG_RING_SIZE, VTTM_ENG_HEAD,
              VTTM_ENG_TAIL, VTTM_ENG_LAST_FENCE_LO, VTTM_ENG_BYTES_LO, VTTM_ENG_PACKETS,
              VTTM_ENG_STALL, VTTM_ENG_PRIORITY}) {
            EXPECT_EQ(r->Rd(reg), 0u) << std::hex << reg;
        }
    }
    for (const uint32_t reg :
         {VTTM_REG_FAULT_STATUS, VTTM_REG_FAULT_INFO, VTTM_REG_FAULT_ADDR_LO, VTTM_REG_FAULT_COUNT,
          VTTM_REG_STALE_COUNT, VTTM_REG_TLB_INV_DONE, VTTM_REG_FAULT_RING_CTRL,
          VTTM_REG_FAULT_RING_BASE_LO, VTTM_REG_FAULT_RING_SIZE, VTTM_REG_FAULT_RING_PUT,
          VTTM_REG_IRQ_STATUS, VTTM_REG_IRQ_ENABLE, VTTM_REG_BAD_ACCESS, VTTM_REG_VM_ROOT_LO(9),
          VTTM_REG_VM_MODE(9)}) {
        EXPECT_EQ(device->Rd(reg), 0u) << std::hex << reg;
    }
    for (uint32_t c = 0; c < VTTM_NUM_COUNTERS; c++)
        EXPECT_EQ(device->Counter(VTTM_ENGINE_COPY, 8 * c), 0u) << c;
    EXPECT_EQ(device->Rd64(VTTM_REG_VRAM_LIMIT_LO), device->vram_size());
    EXPECT_GT(device->Rd64(VTTM_REG_TIMESTAMP_LO), time) << "the clock does not begin anew";
    EXPECT_EQ(device->Read(kept, bytes.size()), bytes) << "VRAM keeps its bytes";

    // And up again.
    faults = 0;
    copy->Enable();
    device->EnableFaultRing();
    EXPECT_EQ(copy->Run(Program().Copy(word, kept, 8)), 0u);
    EXPECT_EQ(device->Read64(word), device->Read64(kept));
    EXPECT_TRUE(device->Invalidate(VTTM_TLB_INV_ALL)) << "its count begins at 0 again";
}

TEST_F(Reset, DeviceForgetsTranslations) {
    AddressSpace vm(*device, 6);
    const Place a = Vram(device->AllocVram(4096)), b = Vram(device->AllocVram(4096));
    vm.Map(0x1000, a, 4096);
    EXPECT_EQ(copy->Run(Program().SetVm(6).Fill(Virtual(0x1000), 4, 1)), 0u);
    ASSERT_TRUE(device->Reset());
    vm.Map(0x1000, b, 4096);
    vm.WriteRoot(AddressSpace::Pointer(vm.root()));
    copy->Enable();
    EXPECT_EQ(copy->Run(Program().SetVm(6).Fill(Virtual(0x1000), 4, 2)), 0u);
    EXPECT_EQ(device->Read64(b), 2u);
}

TEST_F(Reset, OfAMachineIsOneOfTheDevice) {
    const Place kept = Vram(device->AllocVram(4096));
    device->Write64(kept, 0x1234);
    EXPECT_EQ(copy->Run(Program().Nop()), 0u);
    wire->Qmp("system_reset");
    // PCI forgets its set-up, too: a driver begins at the beginning.
    ASSERT_TRUE(Poll([&] { return !(device->pci().Read(2, 0x04) & 2); }));
    device = std::make_unique<Device>(*wire);
    copy = std::make_unique<Ring>(*device, VTTM_ENGINE_COPY);
    EXPECT_EQ(copy->Rd64(VTTM_ENG_LAST_FENCE_LO), 0u);
    copy->Enable();
    EXPECT_EQ(copy->Run(Program().Nop()), 0u);
    EXPECT_EQ(device->Read64(kept), 0x1234u);
}

}  // namespace
}  // namespace vttm::independent
