// SPDX-License-Identifier: Apache-2.0
// Reset, stop and continue, unplug, end.
#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

constexpr std::chrono::milliseconds kQuiet{150};

class Lifecycle : public QtestFixture {};

TEST_F(Lifecycle, SystemResetForgetsAllButVram) {
    Start();
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 0x44444444)}), 0u);
    gpu->MapPages({});
    gpu->SetReg(VTTM_REG_IRQ_ENABLE, 7);
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 8 * kMiB, 64, 0)}),
              static_cast<uint32_t>(VTTM_FAULT_VRAM_RANGE));
    SystemReset();

    EXPECT_EQ(vm->Config32(kSlot, 0x04) & 6, 0u) << "memory and bus mastering are off";
    gpu->MapBars();
    EXPECT_EQ(gpu->Reg(VTTM_REG_IRQ_ENABLE), 0u);
    EXPECT_EQ(gpu->Reg(VTTM_REG_IRQ_STATUS), 0u);
    EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_STATUS), 0u);
    EXPECT_EQ(gpu->Reg64(VTTM_REG_VM_ROOT_LO(1)), 0u);
    EXPECT_EQ(gpu->Reg(VTTM_ENGINE_BASE(0) + VTTM_ENG_CTRL), 0u);
    EXPECT_EQ(gpu->Reg(VTTM_ENGINE_BASE(0) + VTTM_ENG_TAIL), 0u);
    EXPECT_EQ(vm->Read32(kVramBase), 0x44444444u);

    BringUp();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 0x55555555)}), 0u);
}

TEST_F(Lifecycle, ResetWhileBusy) {
    Start();
    for (int i = 0; i < 5; i++) {
        KeepBusy();
        SystemReset();
        BringUp();
        EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 1)}), 0u);
    }
}

TEST_F(Lifecycle, DeviceResetRegister) {
    Start();
    KeepBusy();
    gpu->SetReg(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (gpu->Reg(VTTM_REG_DEV_STATUS) & VTTM_DEV_STATUS_RESETTING) {
        ASSERT_LT(std::chrono::steady_clock::now(), end) << "the reset does not end";
    }
    EXPECT_EQ(gpu->Reg(VTTM_ENGINE_BASE(0) + VTTM_ENG_CTRL), 0u);
    EXPECT_NE(vm->Config32(kSlot, 0x04) & 6, 0u) << "the PCI function is as it was";
    BringUp();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 1)}), 0u);
}

TEST_F(Lifecycle, StoppedMachineDoesNoWork) {
    Start();
    vm->Qmp("stop");
    const uint64_t seq = gpu->Submit(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 0x66666666)});
    EXPECT_FALSE(gpu->WaitFence(VTTM_ENGINE_COPY, seq, kQuiet));
    EXPECT_EQ(VramFile(0, 4), std::vector<uint8_t>(4, 0));
    vm->Qmp("cont");
    EXPECT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, seq));
    EXPECT_EQ(VramFile(0, 4), std::vector<uint8_t>(4, 0x66));
}

TEST_F(Lifecycle, StartsStopped) {
    Start({.more = {"-S"}});
    const uint64_t seq = gpu->Submit(VTTM_ENGINE_COPY, {});
    EXPECT_FALSE(gpu->WaitFence(VTTM_ENGINE_COPY, seq, kQuiet));
    vm->Qmp("cont");
    EXPECT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, seq));
}

TEST_F(Lifecycle, ResetWhileStopped) {
    Start();
    KeepBusy();
    vm->Qmp("stop");
    SystemReset();
    vm->Qmp("cont");
    BringUp();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 1)}), 0u);
}

TEST_F(Lifecycle, StopAndContinueWhileBusy) {
    Start();
    KeepBusy();
    for (int i = 0; i < 20; i++) {
        vm->Qmp("stop");
        vm->Qmp("cont");
    }
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {}), 0u);
}

TEST_F(Lifecycle, QuitWhileBusy) {
    Start();
    KeepBusy();
    EXPECT_EQ(vm->Quit(), 0);
    EXPECT_EQ(vm->process().Log(), "");
}

TEST_F(Lifecycle, QuitWhileStopped) {
    Start();
    KeepBusy();
    vm->Qmp("stop");
    EXPECT_EQ(vm->Quit(), 0);
}

TEST_F(Lifecycle, UnplugAndPlug) {
    constexpr uint16_t kAcpiEject = 0xae08;
    Start({.machine = "pc", .witness = true});
    for (int i = 0; i < 3; i++) {
        KeepBusy();
        if (i == 1) vm->Qmp("stop");
        vm->Qmp("device_del", {{"id", "vttm0"}});
        vm->Out32(kAcpiEject, 1u << kSlot);
        vm->Event("DEVICE_DELETED");
        if (i == 1) vm->Qmp("cont");
        EXPECT_EQ(vm->Config32(kSlot, 0), 0xffffffffu);
        // The memory backend is free again.
        vm->Qmp("device_add", {{"driver", "vttm"},
                               {"id", "vttm0"},
                               {"vram", "vram0"},
                               {"addr", "04.0"},
                               {"witness-log", vm->witness_path()}});
        BringUp();
        EXPECT_EQ(gpu->Reg(VTTM_REG_MAGIC), VTTM_MAGIC);
        EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 1)}), 0u);
    }
    // A device that cannot be realized leaves nothing behind either.
    EXPECT_THROW(vm->Qmp("device_add", {{"driver", "vttm"}, {"id", "vttm1"}, {"vram", "vram0"}}),
                 QemuError);
    EXPECT_EQ(vm->Quit(), 0);
}

}  // namespace
}  // namespace vttm::qtest
