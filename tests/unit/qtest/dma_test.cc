// SPDX-License-Identifier: Apache-2.0
// What the GPU may reach by bus addresses: plain RAM, while it is bus master, and nothing else.
#include <fstream>
#include <thread>

#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

using ::testing::Values;

constexpr uint64_t kRamSize = 64 * kMiB;

class Dma : public QtestFixture {};

struct Target {
    const char* name;
    uint64_t addr;
};

void PrintTo(const Target& target, std::ostream* os) { *os << target.name; }

class DmaRefused : public QtestFixture, public ::testing::WithParamInterface<Target> {};

TEST_P(DmaRefused, WriteAndRead) {
    Start();
    const uint64_t addr = GetParam().addr;
    for (const Packet& packet : {Fill(VTTM_SPACE_SYSTEM, addr, 64, 0x11111111),
                                 Copy(VTTM_SPACE_VRAM, 0, VTTM_SPACE_SYSTEM, addr, 64)}) {
        EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {packet}), static_cast<uint32_t>(VTTM_FAULT_BUS));
        EXPECT_EQ(gpu->FaultReason(), static_cast<uint32_t>(VTTM_FAULT_BUS));
        EXPECT_EQ(gpu->Reg64(VTTM_REG_FAULT_ADDR_LO), addr);
        gpu->ClearFault();
    }
    // Nothing was written, and the engine goes on.
    EXPECT_EQ(VramFile(0, 64), std::vector<uint8_t>(64, 0));
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_SYSTEM, kData, 64, 1)}), 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Where, DmaRefused,
    Values(Target{"OwnRegisters", kRegsBase}, Target{"OwnVram", kVramBase + kMiB},
           Target{"OwnMsixTable", kMsixBase}, Target{"OtherMmio", 0xfed00000},  // HPET
           Target{"Firmware", 0xfffffff0 & ~63ull}, Target{"Hole", 0xd0000000},
           Target{"EndOfRam", kRamSize}, Target{"Beyond48Bits", 0xffff'ffff'ffff'f000}),
    [](const auto& info) { return info.param.name; });

// Not even tried: a device access from a worker would need QEMU's big lock, and may have side
// effects.
TEST_F(Dma, RefusedRegistersAreNotRead) {
    Start();
    const uint32_t before = gpu->Reg(VTTM_REG_BAD_ACCESS);
    EXPECT_EQ(
        gpu->Run(VTTM_ENGINE_COPY, {Copy(VTTM_SPACE_VRAM, 0, VTTM_SPACE_SYSTEM, kRegsBase + 1, 2)}),
        static_cast<uint32_t>(VTTM_FAULT_BUS));
    EXPECT_EQ(gpu->Reg(VTTM_REG_BAD_ACCESS), before);
}

TEST_F(Dma, RangeThatLeavesRam) {
    Start();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_SYSTEM, kRamSize - 64, 128, 0x22222222)}),
              static_cast<uint32_t>(VTTM_FAULT_BUS));
    EXPECT_EQ(gpu->Reg64(VTTM_REG_FAULT_ADDR_LO), kRamSize);
}

TEST_F(Dma, NeedsBusMaster) {
    Start();
    // The ring itself lies in RAM, so with bus mastering off not even packets can be fetched.
    gpu->SetBusMaster(false);
    const uint64_t seq = gpu->Submit(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 0x33333333)});
    EXPECT_FALSE(gpu->WaitFence(VTTM_ENGINE_COPY, seq, std::chrono::milliseconds(200)));
    EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_STATUS), VTTM_FAULT_STATUS_VALID);
    EXPECT_EQ(gpu->FaultReason(), static_cast<uint32_t>(VTTM_FAULT_BUS));
    EXPECT_EQ(VramFile(0, 4), std::vector<uint8_t>(4, 0));
}

// The GPU overwrites code that TCG has translated: the CPU must run the new code.
TEST_F(Dma, DropsTranslatedCode) {
    constexpr uint64_t kCode = 0x8000, kCell = 0x7000;
    TempDir dir;
    // Firmware of 64 KiB that does nothing but `jmp 0:0x8000` at the reset vector.
    std::string firmware(65536, '\xf4');
    const std::string jump("\xea\x00\x80\x00\x00", 5);
    firmware.replace(0xfff0, jump.size(), jump);
    std::ofstream(dir.File("bios"), std::ios::binary) << firmware;

    Start({.accel = "tcg", .more = {"-bios", dir.File("bios"), "-S"}});
    // 1: mov byte [0x7000], 0x11; jmp 1b
    vm->WriteBytes(kCode, std::vector<uint8_t>{0xc6, 0x06, 0x00, 0x70, 0x11, 0xeb, 0xf9, 0x90});
    vm->Qmp("cont");
    const auto cell_becomes = [&](uint8_t value) {
        const auto end = std::chrono::steady_clock::now() + kPatience;
        while (vm->Read(kCell, 1) != value) {
            if (std::chrono::steady_clock::now() > end) return false;
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
        return true;
    };
    ASSERT_TRUE(cell_becomes(0x11)) << "the guest's code does not run";
    // The immediate operand and the jump behind it, which stays.
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_SYSTEM, kCode + 4, 4, 0x90f9eb22)}), 0u);
    EXPECT_TRUE(cell_becomes(0x22)) << "stale code goes on running";
}

}  // namespace
}  // namespace vttm::qtest
