// SPDX-License-Identifier: Apache-2.0
// Function level reset and power states, in the middle of work.
#include <thread>

#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

constexpr milliseconds kQuiet{150};
constexpr unsigned kCommand = 0x04;
constexpr uint32_t kCommandBits = 0x6;  // memory, bus master
constexpr unsigned kDevCap = 4;         // in the PCI Express capability
constexpr uint32_t kDevCapFlr = 1u << 28;
constexpr unsigned kDevCtl = 8;
constexpr uint32_t kDevCtlFlr = 1u << 15;
constexpr unsigned kDevCtl2 = 0x28;
constexpr uint32_t kDevCtl2PrefixBlocking = 1u << 15;
constexpr unsigned kAfCtl = 4;  // in Advanced Features
constexpr unsigned kPmCtl = 4;  // in Power Management
constexpr uint32_t kPmState = 3;
constexpr uint32_t kPmNoSoftReset = 8;
constexpr uint32_t kMsixEnable = 1u << 31;
constexpr uint64_t kMark = 6 * kMiB;  // in VRAM

class Power : public QtestFixture {
protected:
    /// Function level reset, as the bus has it.
    void Flr() {
        if (const unsigned express = gpu->Capability(kCapExpress)) {
            vm->SetConfig32(kSlot, express + kDevCtl, kDevCtlFlr);
        } else {
            vm->SetConfig32(kSlot, gpu->Capability(kCapAdvanced) + kAfCtl, 1);
        }
    }
    void SetPower(uint32_t state) {
        vm->SetConfig32(kSlot, gpu->Capability(kCapPower) + kPmCtl, state);
    }
    uint32_t PowerControl() { return vm->Config32(kSlot, gpu->Capability(kCapPower) + kPmCtl); }
    uint64_t BytesDone() {
        const auto stats = nlohmann::json::parse(vm->DeviceProperty("stats").get<std::string>());
        return stats["engines"]["copy"]["bytes"].get<uint64_t>() +
               stats["engines"]["stamp"]["bytes"].get<uint64_t>();
    }
    /// Work that leaves the last 2 MiB of VRAM alone.
    void KeepLowVramBusy() {
        gpu->Submit(VTTM_ENGINE_COPY,
                    std::vector<Packet>(40, Fill(VTTM_SPACE_VRAM, 0, 6 * kMiB, 1)));
        gpu->Submit(VTTM_ENGINE_STAMP,
                    std::vector<Packet>(
                        20, StampWrite(VTTM_SPACE_SYSTEM, 8 * kMiB, 48 * 256,
                                       {.key = 1, .page = 0, .buffer = 1, .generation = 1})));
    }
    uint64_t StampFence() { return vm->Read64(kFence + 64 * VTTM_ENGINE_STAMP); }
    /// State that a reset has to take away.
    void MakeState() {
        gpu->MapPages({});
        gpu->SetReg(VTTM_REG_IRQ_ENABLE, 7);
        gpu->SetReg64(VTTM_REG_FAULT_RING_BASE_LO, kData);
        gpu->SetReg(VTTM_REG_FAULT_RING_SIZE, 4096);
        gpu->SetReg(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
        ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 8 * kMiB, 64, 0)}),
                  uint32_t{VTTM_FAULT_VRAM_RANGE});
        ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, kMark, 4096, 0x44444444)}), 0u);
    }
    void ExpectConfigSpaceIsReset() {
        EXPECT_EQ(vm->Config32(kSlot, kCommand) & 0x7ff, 0u);
        EXPECT_EQ(vm->Config32(kSlot, 0x10 + 4 * VTTM_BAR_REGS), 0u);
        EXPECT_EQ(vm->Config32(kSlot, 0x10 + 4 * VTTM_BAR_VRAM), 0xcu);
        EXPECT_EQ(vm->Config32(kSlot, 0x14 + 4 * VTTM_BAR_VRAM), 0u);
        EXPECT_EQ(vm->Config32(kSlot, gpu->Capability(kCapMsix)) & kMsixEnable, 0u);
        EXPECT_EQ(PowerControl() & kPmState, 0u);
    }
    /// The registers are as after power-on. Maps the BARs.
    void ExpectDeviceIsReset() {
        gpu->MapBars();
        EXPECT_EQ(gpu->Reg(VTTM_REG_MAGIC), VTTM_MAGIC);
        EXPECT_EQ(gpu->Reg(VTTM_REG_DEV_STATUS), 0u);
        EXPECT_EQ(gpu->Reg(VTTM_REG_IRQ_ENABLE), 0u);
        EXPECT_EQ(gpu->Reg(VTTM_REG_IRQ_STATUS), 0u);
        EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_COUNT), 0u);
        EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_RING_CTRL), 0u);
        EXPECT_EQ(gpu->Reg64(VTTM_REG_FAULT_RING_BASE_LO), 0u);
        EXPECT_EQ(gpu->Reg64(VTTM_REG_VM_ROOT_LO(1)), 0u);
        EXPECT_EQ(gpu->Reg(VTTM_REG_TLB_INV_DONE), 0u);
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
            EXPECT_EQ(gpu->Reg(VTTM_ENGINE_BASE(e) + VTTM_ENG_CTRL), 0u);
            EXPECT_EQ(gpu->Reg(VTTM_ENGINE_BASE(e) + VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
            EXPECT_EQ(gpu->Reg(VTTM_ENGINE_BASE(e) + VTTM_ENG_RING_SIZE), 0u);
            EXPECT_EQ(gpu->Reg64(VTTM_ENGINE_BASE(e) + VTTM_ENG_LAST_FENCE_LO), 0u);
        }
    }
    void ExpectWorks() {
        BringUp();
        EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 0x55555555)}), 0u);
        EXPECT_EQ(vm->Read32(kVramBase), 0x55555555u);
    }
};

TEST_F(Power, Capabilities) {
    StartCold();
    const unsigned power = gpu->Capability(kCapPower);
    ASSERT_NE(power, 0u);
    EXPECT_EQ(vm->Config32(kSlot, power) >> 16, 3u) << "version 1.2, D0 and D3 only, no PME";
    EXPECT_EQ(PowerControl() & (kPmState | kPmNoSoftReset), 0u);
    const unsigned express = gpu->Capability(kCapExpress);
    ASSERT_NE(express, 0u);
    EXPECT_TRUE(vm->Config32(kSlot, express + kDevCap) & kDevCapFlr);
    EXPECT_EQ(gpu->Capability(kCapAdvanced), 0u);
}

TEST_F(Power, FlrInTheMiddleOfWork) {
    Start();
    MakeState();
    // The busiest moment that there is, several times: the shortest time is the device's, the rest
    // is this machine's.
    auto shortest = milliseconds::max();
    for (int i = 0; i < 5; i++) {
        KeepLowVramBusy();
        const uint64_t fence = StampFence();
        const auto begin = Clock::now();
        Flr();
        shortest = std::min(shortest, std::chrono::duration_cast<milliseconds>(Clock::now() - begin));
        ExpectConfigSpaceIsReset();
        const uint64_t done = BytesDone();
        EXPECT_EQ(StampFence(), fence) << "the job was not ended in the middle";
        ExpectDeviceIsReset();
        EXPECT_EQ(VramFile(kMark, 4096), std::vector<uint8_t>(4096, 0x44));
        EXPECT_EQ(BytesDone(), done) << "an engine moves behind the reset";
        EXPECT_EQ(vm->Read32(kVramBase + kMark), 0x44444444u);
        BringUp();
    }
    EXPECT_LT(shortest, milliseconds(100)) << "what PCI Express allows";
    const unsigned express = gpu->Capability(kCapExpress);
    EXPECT_EQ(vm->Config32(kSlot, express + kDevCtl) & kDevCtlFlr, 0u) << "the bit reads as 0";
    vm->SetConfig32(kSlot, express + kDevCtl2, kDevCtl2PrefixBlocking);
    EXPECT_EQ(vm->Config32(kSlot, express + kDevCtl2), kDevCtl2PrefixBlocking);
    Flr();
    EXPECT_EQ(vm->Config32(kSlot, express + kDevCtl2), 0u);
    ExpectWorks();
}

TEST_F(Power, FlrOnConventionalBus) {
    Start({.machine = "pc"});
    ASSERT_NE(gpu->Capability(kCapAdvanced), 0u);
    EXPECT_EQ(vm->Config32(kSlot, gpu->Capability(kCapAdvanced)) >> 16, 0x0306u);
    MakeState();
    KeepLowVramBusy();
    Flr();
    EXPECT_EQ(vm->Config32(kSlot, gpu->Capability(kCapAdvanced) + kAfCtl) & 0xffff, 0u);
    ExpectConfigSpaceIsReset();
    ExpectDeviceIsReset();
    EXPECT_EQ(VramFile(kMark, 4096), std::vector<uint8_t>(4096, 0x44));
    ExpectWorks();
}

TEST_F(Power, FlrWhileStopped) {
    Start();
    KeepBusy();
    vm->Qmp("stop");
    Flr();
    vm->Qmp("cont");
    ExpectDeviceIsReset();
    ExpectWorks();
}

TEST_F(Power, D3hotStopsAllWork) {
    Start();
    MakeState();
    KeepLowVramBusy();
    const uint64_t fence = StampFence();
    SetPower(3);
    EXPECT_EQ(PowerControl() & kPmState, 3u);
    const uint64_t done = BytesDone();
    const auto ram = vm->ReadBytes(8 * kMiB, 4096);
    std::this_thread::sleep_for(kQuiet);
    EXPECT_EQ(BytesDone(), done);
    EXPECT_EQ(StampFence(), fence);
    EXPECT_EQ(vm->ReadBytes(8 * kMiB, 4096), ram);

    // Configuration space is there, the BARs are not.
    EXPECT_EQ(vm->Config32(kSlot, 0), VTTM_PCI_DEVICE_ID << 16 | uint32_t{VTTM_PCI_VENDOR_ID});
    EXPECT_EQ(vm->Config32(kSlot, kCommand) & kCommandBits, kCommandBits);
    EXPECT_NE(gpu->Reg(VTTM_REG_MAGIC), VTTM_MAGIC);
    vm->Write32(kVramBase + kMark, 0x99999999);
    gpu->SetReg(VTTM_REG_IRQ_ENABLE, 0xf);
    vm->Write32(kMsixBase, 0xdead0000);

    SetPower(0);
    EXPECT_EQ(PowerControl() & kPmState, 0u);
    ExpectConfigSpaceIsReset();
    ExpectDeviceIsReset();
    EXPECT_EQ(VramFile(kMark, 4096), std::vector<uint8_t>(4096, 0)) << "VRAM was off";
    EXPECT_EQ(StampFence(), fence) << "the job is lost";
    ExpectWorks();
}

// What the host wants of it while it sleeps comes to nobody; the driver asks after the reset.
TEST_F(Power, NoInterruptInD3hot) {
    Start();
    gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_VRAM);
    vm->SetDeviceProperty("vram-target", 6 * kMiB);
    ASSERT_TRUE(gpu->WaitMessage(VTTM_MSIX_VRAM));
    SetPower(3);
    vm->SetDeviceProperty("vram-target", 4 * kMiB);
    EXPECT_FALSE(gpu->WaitMessage(VTTM_MSIX_VRAM, kQuiet));
    SetPower(0);
    BringUp();
    EXPECT_FALSE(gpu->WaitMessage(VTTM_MSIX_VRAM, kQuiet)) << "an old one";
    EXPECT_EQ(gpu->Reg64(VTTM_REG_VRAM_TARGET_LO), 4 * kMiB);
    ExpectWorks();
}

TEST_F(Power, OtherStatesAreRefused) {
    Start();
    for (const uint32_t state : {1u, 2u}) {
        SetPower(state);
        EXPECT_EQ(PowerControl() & kPmState, 0u);
        EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {}), 0u) << "and nothing was reset";
    }
    SetPower(3);
    SetPower(1);
    EXPECT_EQ(PowerControl() & kPmState, 3u);
    SetPower(0);
    ExpectWorks();
}

TEST_F(Power, FlrWakes) {
    Start();
    SetPower(3);
    Flr();
    ExpectConfigSpaceIsReset();
    ExpectWorks();
}

TEST_F(Power, SystemResetWakes) {
    Start();
    KeepBusy();
    SetPower(3);
    SystemReset();
    ExpectWorks();
}

TEST_F(Power, SleepAndWakeWhileStopped) {
    Start();
    KeepBusy();
    vm->Qmp("stop");
    SetPower(3);
    vm->Qmp("cont");
    vm->Qmp("stop");
    SetPower(0);
    BringUp();
    const uint64_t seq = gpu->Submit(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 1)});
    EXPECT_FALSE(gpu->WaitFence(VTTM_ENGINE_COPY, seq, kQuiet)) << "the machine is stopped";
    vm->Qmp("cont");
    EXPECT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, seq));
}

TEST_F(Power, ManyTimes) {
    Start();
    for (int i = 0; i < 20; i++) {
        KeepBusy();
        SetPower(3);
        SetPower(0);
        BringUp();
        KeepBusy();
        Flr();
        BringUp();
    }
    ExpectWorks();
}

TEST_F(Power, QuitInD3hot) {
    Start();
    KeepBusy();
    SetPower(3);
    EXPECT_EQ(vm->Quit(), 0);
    EXPECT_EQ(vm->process().Log(), "");
}

}  // namespace
}  // namespace vttm::qtest
