// SPDX-License-Identifier: Apache-2.0
// The resizable BAR of the VRAM.
#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

constexpr unsigned kCommand = 0x04;
constexpr uint32_t kMemory = 0x2;
constexpr unsigned kVramBar = 0x10 + 4 * VTTM_BAR_VRAM;
constexpr uint32_t kRebarHeader = 0x0015 | 1u << 16;  // id, version; it is the last
constexpr unsigned kRebarCap = 4;
constexpr unsigned kRebarCtl = 8;
constexpr uint32_t kSize2M = 1, kSize4M = 2, kSize8M = 3;  // log2 of MiB
constexpr uint64_t kMark = 6 * kMiB;                       // in VRAM

class Rebar : public QtestFixture {
protected:
    void StartSmall() {
        Start({.device_properties = ",vram-visible=2M"});
        config_ = vm->ExtendedConfig(kSlot);
    }
    uint32_t Control() { return vm->Read32(config_ + 0x100 + kRebarCtl); }
    uint32_t Size() { return Control() >> 8 & 0x3f; }
    void SetSize(uint32_t size) {
        vm->Write32(config_ + 0x100 + kRebarCtl, size << 8 | VTTM_BAR_VRAM);
    }
    void Decode(bool on) {
        const uint32_t command = vm->Config32(kSlot, kCommand);
        vm->SetConfig32(kSlot, kCommand, on ? command | kMemory : command & ~kMemory);
    }
    /// As a driver does it; BAR2 is at its old address again behind it.
    void Resize(uint32_t size) {
        Decode(false);
        SetSize(size);
        vm->SetConfig32(kSlot, kVramBar, static_cast<uint32_t>(kVramBase));
        vm->SetConfig32(kSlot, kVramBar + 4, static_cast<uint32_t>(kVramBase >> 32));
        Decode(true);
    }
    /// What a probe of the BAR by all ones says.
    uint64_t ProbedSize() {
        Decode(false);
        vm->SetConfig32(kSlot, kVramBar, ~0u);
        vm->SetConfig32(kSlot, kVramBar + 4, ~0u);
        const uint64_t mask = (uint64_t{vm->Config32(kSlot, kVramBar + 4)} << 32 |
                               vm->Config32(kSlot, kVramBar)) & ~uint64_t{15};
        vm->SetConfig32(kSlot, kVramBar, static_cast<uint32_t>(kVramBase));
        vm->SetConfig32(kSlot, kVramBar + 4, static_cast<uint32_t>(kVramBase >> 32));
        Decode(true);
        return ~mask + 1;
    }
    void ExpectVisible(uint64_t bytes, uint32_t size) {
        EXPECT_EQ(Size(), size);
        EXPECT_EQ(gpu->Reg64(VTTM_REG_VRAM_VISIBLE_LO), bytes);
        EXPECT_EQ(ProbedSize(), bytes);
        // The last page that it shows is there, and the first behind it is not.
        SetVramFile(bytes - 4, {1, 2, 3, 4});
        EXPECT_EQ(vm->Read32(kVramBase + bytes - 4), 0x04030201u);
        if (bytes < 8 * kMiB) {
            SetVramFile(bytes, {1, 2, 3, 4});
            EXPECT_NE(vm->Read32(kVramBase + bytes), 0x04030201u);
        }
    }

    uint64_t config_ = 0;
};

TEST_F(Rebar, OffersEachSizeUpToTheVram) {
    StartSmall();
    EXPECT_EQ(vm->Read32(config_ + 0x100), kRebarHeader);
    EXPECT_EQ(vm->Read32(config_ + 0x100 + kRebarCap), 0xeu << 4) << "2, 4 and 8 MiB";
    EXPECT_EQ(Control() & 0x7, uint32_t{VTTM_BAR_VRAM});
    EXPECT_EQ(Control() >> 5 & 0x7, 1u) << "resizable BARs";
    ExpectVisible(2 * kMiB, kSize2M);
}

TEST_F(Rebar, ShowsWhatTheDriverAskedFor) {
    StartSmall();
    SetVramFile(kMark, {0x11, 0x22, 0x33, 0x44});
    Resize(kSize8M);
    ExpectVisible(8 * kMiB, kSize8M);
    EXPECT_EQ(vm->Read32(kVramBase + kMark), 0x44332211u) << "content stays where it was";
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, kMark, 4096, 0x5a5a5a5a)}), 0u)
        << "the GPU has not been reset";
    EXPECT_EQ(vm->Read32(kVramBase + kMark + 4092), 0x5a5a5a5au);
    Resize(kSize4M);
    ExpectVisible(4 * kMiB, kSize4M);
}

TEST_F(Rebar, ForgetsTheAddress) {
    StartSmall();
    Decode(false);
    SetSize(kSize4M);
    EXPECT_EQ(vm->Config32(kSlot, kVramBar), 0xcu);
    EXPECT_EQ(vm->Config32(kSlot, kVramBar + 4), 0u);
}

TEST_F(Rebar, RefusesOtherSizes) {
    StartSmall();
    for (uint32_t size : {0u, 4u, 17u, 31u}) {
        Resize(size);
        EXPECT_EQ(Size(), kSize2M) << size;
    }
    ExpectVisible(2 * kMiB, kSize2M);
}

TEST_F(Rebar, RefusesWhileTheBarIsDecoded) {
    StartSmall();
    SetSize(kSize8M);
    EXPECT_EQ(vm->Config32(kSlot, kVramBar + 4), static_cast<uint32_t>(kVramBase >> 32));
    ExpectVisible(2 * kMiB, kSize2M);
}

// A guest may write it byte by byte, or half a register: no other size comes of it.
TEST_F(Rebar, NarrowWrites) {
    StartSmall();
    Decode(false);
    vm->Write(config_ + 0x100 + kRebarCtl, 0xff, 1);
    EXPECT_EQ(Size(), kSize2M);
    vm->Write(config_ + 0x100 + kRebarCtl + 1, kSize4M, 1);
    EXPECT_EQ(Size(), kSize4M);
    vm->Write(config_ + 0x100 + kRebarCtl, 0x3f07, 2);
    EXPECT_EQ(Size(), kSize4M);
    EXPECT_EQ(Control() & 0xff, 0x22u);
    vm->Write32(config_ + 0x100 + kRebarCap, 0);
    EXPECT_EQ(vm->Read32(config_ + 0x100 + kRebarCap), 0xeu << 4);
}

TEST_F(Rebar, ResetsOfTheBusRestoreTheSize) {
    StartSmall();
    Resize(kSize8M);
    gpu->SetReg(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    EXPECT_EQ(Size(), kSize8M) << "no matter of the bus";

    const unsigned express = gpu->Capability(kCapExpress);
    vm->SetConfig32(kSlot, express + 8, 1u << 15);  // FLR
    EXPECT_EQ(Size(), kSize2M);
    BringUp();
    ExpectVisible(2 * kMiB, kSize2M);

    Resize(kSize4M);
    const unsigned power = gpu->Capability(kCapPower);
    vm->SetConfig32(kSlot, power + 4, 3);
    vm->SetConfig32(kSlot, power + 4, 0);
    BringUp();
    ExpectVisible(2 * kMiB, kSize2M);

    Resize(kSize4M);
    SystemReset();
    config_ = vm->ExtendedConfig(kSlot);
    BringUp();
    ExpectVisible(2 * kMiB, kSize2M);
}

// Engines that work meanwhile are not concerned.
TEST_F(Rebar, InTheMiddleOfWork) {
    StartSmall();
    KeepBusy();
    for (unsigned i = 0; i < 20; ++i) Resize(i % 2 ? kSize2M : kSize8M);
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 4096, 7)}), 0u);
    ExpectVisible(2 * kMiB, kSize2M);
}

TEST_F(Rebar, NotOnAConventionalBus) {
    Start({.machine = "pc", .device_properties = ",vram-visible=2M"});
    EXPECT_EQ(gpu->Reg64(VTTM_REG_VRAM_VISIBLE_LO), 2 * kMiB);
    EXPECT_EQ(gpu->Capability(kCapExpress), 0u);
}

}  // namespace
}  // namespace vttm::qtest
