// SPDX-License-Identifier: Apache-2.0
// The device behind an IOMMU (VT-d): each access is translated, and what is not mapped (any more) is
// a fault of the device, and of the IOMMU, and reaches no memory.
#include <fstream>
#include <thread>

#include "protocol/vttm_fault.h"
#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

// Registers of VT-d, and bits in them.
constexpr uint64_t kVtd = 0xfed90000;
constexpr uint64_t kExtended = kVtd + 0x10;
constexpr uint64_t kCommand = kVtd + 0x18;
constexpr uint64_t kStatus = kVtd + 0x1c;
constexpr uint64_t kRootAddress = kVtd + 0x20;
constexpr uint64_t kContextCommand = kVtd + 0x28;
constexpr uint64_t kFaultStatus = kVtd + 0x34;
constexpr uint64_t kFaultControl = kVtd + 0x38;
constexpr uint64_t kFaultData = kVtd + 0x3c;
constexpr uint64_t kFaultAddress = kVtd + 0x40;
constexpr uint64_t kFaultRecord = kVtd + 0x220;
constexpr uint32_t kTranslation = 1u << 31;
constexpr uint32_t kSetRoot = 1u << 30;
constexpr uint64_t kInvalidate = 1ull << 63;

// Its tables, and what is where for the device.
constexpr uint64_t kRoot = 0x1c0000;
constexpr uint64_t kContext = 0x1c1000;
constexpr uint64_t kLevel3 = 0x1c2000;
constexpr uint64_t kLevel2 = 0x1c3000;   // bus addresses below 1 GiB: RAM, as it lies
constexpr uint64_t kLevel2B = 0x1c4000;  // from 1 GiB on
constexpr uint64_t kLevel1 = 0x1c5000;   // the first 2 MiB of these: what the test maps
constexpr uint64_t kIova = 1ull << 30;
constexpr uint64_t kRead = 1;
constexpr uint64_t kReadWrite = 3;
constexpr uint64_t kSuperPage = 1u << 7;
constexpr uint64_t kA = 0x300000;
constexpr uint64_t kB = 0x400000;

class Iommu : public QtestFixture {
protected:
    void StartBehindIommu(VmOptions options = {}) {
        options.more.insert(options.more.end(), {"-device", "intel-iommu"});
        Start(options);
    }
    void SwitchOn() {
        vm->Write64(kRoot, kContext | 1);
        vm->Write64(kContext + 16 * (kSlot << 3), kLevel3 | 1);
        vm->Write64(kContext + 16 * (kSlot << 3) + 8, 1 << 8 | 1);  // domain 1, 39 bits
        vm->Write64(kLevel3, kLevel2 | kReadWrite);
        vm->Write64(kLevel3 + 8, kLevel2B | kReadWrite);
        for (uint64_t i = 0; i < 32; i++)
            vm->Write64(kLevel2 + 8 * i, i * 2 * kMiB | kSuperPage | kReadWrite);
        vm->Write64(kLevel2B, kLevel1 | kReadWrite);
        vm->Write64(kRootAddress, kRoot);
        vm->Write32(kCommand, kSetRoot);
        vm->Write64(kContextCommand, kInvalidate | 1ull << 61);
        Invalidate();
        vm->Write32(kCommand, kTranslation);
        ASSERT_TRUE(vm->Read32(kStatus) & kTranslation);
    }
    void Invalidate() {
        const uint64_t offset = (vm->Read64(kExtended) >> 8 & 0x3ff) * 16;
        vm->Write64(kVtd + offset + 8, kInvalidate | 1ull << 60);
    }
    /// Page @n from kIova on: @entry is a place in RAM and rights, or 0.
    void MapIova(unsigned n, uint64_t entry) { vm->Write64(kLevel1 + 8 * n, entry); }
    uint32_t FillIova(unsigned n, uint64_t len, uint32_t value) {
        return gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_SYSTEM, kIova + n * 4096, len, value)});
    }
    /// Takes the IOMMU's fault record away and looks whether it is of this access.
    void ExpectIommuFault(uint64_t addr, bool read) {
        EXPECT_EQ(vm->Read64(kFaultRecord), addr);
        const uint64_t hi = vm->Read64(kFaultRecord + 8);
        EXPECT_TRUE(hi >> 63) << "no fault recorded";
        EXPECT_EQ(hi & 0xffff, kSlot << 3) << "another device's";
        EXPECT_EQ(hi >> 62 & 1, read);
        vm->Write64(kFaultRecord + 8, 1ull << 63);
        vm->Write32(kFaultStatus, 1);
    }
};

TEST_F(Iommu, SwitchedOffItIsNotThere) {
    StartBehindIommu();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_SYSTEM, kA, 4096, 0x11111111)}), 0u);
    EXPECT_EQ(vm->Read32(kA + 4092), 0x11111111u);
}

TEST_F(Iommu, EachAccessIsTranslated) {
    StartBehindIommu();
    SwitchOn();
    // Two pages in the wrong order: what is contiguous for the device need not be so in RAM.
    MapIova(0, (kA + 4096) | kReadWrite);
    MapIova(1, kA | kReadWrite);
    EXPECT_EQ(FillIova(0, 8192, 0x22222222), 0u);
    EXPECT_EQ(vm->Read32(kA), 0x22222222u);
    EXPECT_EQ(vm->Read32(kA + 8188), 0x22222222u);
    EXPECT_EQ(vm->Read32(kA + 8192), 0u);
    MapIova(0, kB | kReadWrite);
    Invalidate();
    EXPECT_EQ(FillIova(0, 4096, 0x33333333), 0u);
    EXPECT_EQ(vm->Read32(kB), 0x33333333u);
    EXPECT_EQ(vm->Read32(kA + 4096), 0x22222222u) << "the old place was used";
    EXPECT_EQ(vm->Read32(kFaultStatus) & 2, 0u);
    gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(0));
    gpu->Submit(VTTM_ENGINE_COPY, {}, VTTM_PKT_FLAG_IRQ);
    EXPECT_TRUE(gpu->WaitMessage(VTTM_MSIX_ENGINE(0)));
}

// A driver that unmaps a buffer too early: the device reports it and reaches nothing.
TEST_F(Iommu, StaleAddressIsAFault) {
    StartBehindIommu();
    SwitchOn();
    gpu->SetReg64(VTTM_REG_FAULT_RING_BASE_LO, kData);
    gpu->SetReg(VTTM_REG_FAULT_RING_SIZE, 4096);
    gpu->SetReg(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    MapIova(0, kA | kReadWrite);
    gpu->MapPages({kIova | VTTM_PTE_SYSTEM | VTTM_PTE_WRITE | VTTM_PTE_VALID});
    const auto in_vm = [&](const Packet& packet) {
        return gpu->Run(VTTM_ENGINE_COPY, {SetVm(1), packet});
    };
    EXPECT_EQ(in_vm(Fill(VTTM_SPACE_VM, 0, 4096, 0x44444444)), 0u);

    // The device has the translation to kIova in its TLB: that is no way around the IOMMU.
    MapIova(0, 0);
    Invalidate();
    EXPECT_EQ(in_vm(Fill(VTTM_SPACE_VM, 0, 4096, 0x55555555)), uint32_t{VTTM_FAULT_BUS});
    EXPECT_EQ(vm->Read32(kA), 0x44444444u);
    EXPECT_EQ(gpu->Reg64(VTTM_REG_FAULT_ADDR_LO), 0u) << "the address in the VM";
    ExpectIommuFault(kIova, false);
    EXPECT_EQ(in_vm(Copy(VTTM_SPACE_VRAM, 0, VTTM_SPACE_VM, 64, 64)), uint32_t{VTTM_FAULT_BUS});
    EXPECT_EQ(VramFile(0, 64), std::vector<uint8_t>(64, 0)) << "read what it must not see";
    ExpectIommuFault(kIova, true);

    EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_RING_PUT), 2u);
    vttm_fault_record rec{};
    const auto bytes = vm->ReadBytes(kData + sizeof(rec), sizeof(rec));
    std::memcpy(&rec, bytes.data(), sizeof(rec));
    EXPECT_EQ(VTTM_FAULT_INFO_REASON(rec.info), uint32_t{VTTM_FAULT_BUS});
    EXPECT_EQ(VTTM_FAULT_INFO_VM(rec.info), 1u);
    EXPECT_EQ(rec.addr, 64u);

    MapIova(0, kB | kReadWrite);
    EXPECT_EQ(in_vm(Fill(VTTM_SPACE_VM, 0, 4096, 0x66666666)), 0u);
    EXPECT_EQ(vm->Read32(kB), 0x66666666u);
}

TEST_F(Iommu, RightsAreKept) {
    StartBehindIommu();
    SwitchOn();
    MapIova(0, kA | kRead);
    vm->Write32(kA, 0x77777777);
    EXPECT_EQ(FillIova(0, 64, 0), uint32_t{VTTM_FAULT_BUS});
    EXPECT_EQ(vm->Read32(kA), 0x77777777u);
    ExpectIommuFault(kIova, false);
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY,
                       {Copy(VTTM_SPACE_VRAM, 0, VTTM_SPACE_SYSTEM, kIova, 4)}),
              0u);
    EXPECT_EQ(vm->Read32(kVramBase), 0x77777777u);
}

// Half of a range is there: what lies before the hole is done, and nothing behind it.
TEST_F(Iommu, HoleInTheMiddle) {
    StartBehindIommu();
    SwitchOn();
    MapIova(0, kA | kReadWrite);
    MapIova(2, kB | kReadWrite);
    EXPECT_EQ(FillIova(0, 3 * 4096, 0x12121212), uint32_t{VTTM_FAULT_BUS});
    EXPECT_EQ(gpu->Reg64(VTTM_REG_FAULT_ADDR_LO), kIova + 4096);
    EXPECT_EQ(vm->Read32(kB), 0u);
    ExpectIommuFault(kIova + 4096, false);
}

// The IOMMU interrupts the guest from within the device's access, which takes QEMU's big lock.
TEST_F(Iommu, FaultInterruptsTheGuest) {
    constexpr uint64_t kCode = 0x8000, kHandler = 0x9000, kCell = 0x7000;
    TempDir dir;
    std::string firmware(65536, '\xf4');
    const std::string jump("\xea\x00\x80\x00\x00", 5);
    firmware.replace(0xfff0, jump.size(), jump);
    std::ofstream(dir.File("bios"), std::ios::binary) << firmware;
    StartBehindIommu({.accel = "tcg", .more = {"-bios", dir.File("bios"), "-S"}});
    vm->WriteBytes(kCode, std::vector<uint8_t>{0xeb, 0xfe});  // 1: jmp 1b
    // The handler of the NMI: mov byte [0x7000], 0x11; iret
    vm->WriteBytes(2 * 4, std::vector<uint8_t>{0x00, 0x90, 0x00, 0x00});
    vm->WriteBytes(kHandler, std::vector<uint8_t>{0xc6, 0x06, 0x00, 0x70, 0x11, 0xcf});
    SwitchOn();
    vm->Write32(kFaultAddress, 0xfee00000);
    vm->Write32(kFaultData, 0x400);  // NMI
    vm->Write32(kFaultControl, 0);
    vm->Qmp("cont");
    EXPECT_EQ(FillIova(5, 64, 0), uint32_t{VTTM_FAULT_BUS});
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (vm->Read(kCell, 1) != 0x11) {
        ASSERT_LT(std::chrono::steady_clock::now(), end) << "no interrupt";
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {}), 0u);
}

// Whoever waits for the workers under QEMU's big lock has to serve them meanwhile.
TEST_F(Iommu, LifeGoesOnWhileBusy) {
    StartBehindIommu();
    SwitchOn();
    for (int i = 0; i < 5; i++) {
        KeepBusy();
        vm->Qmp("stop");
        vm->Qmp("cont");
        const unsigned express = gpu->Capability(kCapExpress);
        vm->SetConfig32(kSlot, express + 8, 1u << 15);
        BringUp();
        KeepBusy();
        const unsigned power = gpu->Capability(kCapPower);
        vm->SetConfig32(kSlot, power + 4, 3);
        vm->SetConfig32(kSlot, power + 4, 0);
        BringUp();
        EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_SYSTEM, kA, 4096, 1)}), 0u);
        KeepBusy();
        SystemReset();  // which switches the IOMMU off, too
        BringUp();
        SwitchOn();
    }
    KeepBusy();
    EXPECT_EQ(vm->Quit(), 0);
}

}  // namespace
}  // namespace vttm::qtest
