// SPDX-License-Identifier: Apache-2.0
// The device behind an IOMMU (VT-d): each access is translated, and what is not mapped (any more) is
// a fault of the device, and of the IOMMU, and reaches no memory.
#include <fstream>
#include <optional>
#include <thread>

#include "protocol/vttm_fault.h"
#include "tests/unit/qtest/vtd.h"

namespace vttm::qtest {
namespace {

constexpr uint64_t kA = 0x300000;
constexpr uint64_t kB = 0x400000;

class Iommu : public QtestFixture {
protected:
    void StartBehindIommu(VmOptions options = {}) {
        Vtd::AddTo(options);
        Start(options);
        vtd.emplace(*vm);
    }
    uint32_t FillIova(unsigned n, uint64_t len, uint32_t value) {
        return gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_SYSTEM, kIova + n * 4096, len, value)});
    }
    /// Takes the IOMMU's fault record away and looks whether it is of this access.
    void ExpectIommuFault(uint64_t addr, bool read) {
        const Vtd::Denied denied = vtd->TakeDenied();
        EXPECT_TRUE(denied.recorded) << "no fault recorded";
        EXPECT_EQ(denied.addr, addr);
        EXPECT_EQ(denied.source, kSlot) << "another device's";
        EXPECT_EQ(denied.read, read);
    }

    std::optional<Vtd> vtd;
};

TEST_F(Iommu, SwitchedOffItIsNotThere) {
    StartBehindIommu();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_SYSTEM, kA, 4096, 0x11111111)}), 0u);
    EXPECT_EQ(vm->Read32(kA + 4092), 0x11111111u);
}

TEST_F(Iommu, EachAccessIsTranslated) {
    StartBehindIommu();
    vtd->SwitchOn();
    // Two pages in the wrong order: what is contiguous for the device need not be so in RAM.
    vtd->MapIova(0, (kA + 4096) | kVtdReadWrite);
    vtd->MapIova(1, kA | kVtdReadWrite);
    EXPECT_EQ(FillIova(0, 8192, 0x22222222), 0u);
    EXPECT_EQ(vm->Read32(kA), 0x22222222u);
    EXPECT_EQ(vm->Read32(kA + 8188), 0x22222222u);
    EXPECT_EQ(vm->Read32(kA + 8192), 0u);
    vtd->MapIova(0, kB | kVtdReadWrite);
    vtd->Invalidate();
    EXPECT_EQ(FillIova(0, 4096, 0x33333333), 0u);
    EXPECT_EQ(vm->Read32(kB), 0x33333333u);
    EXPECT_EQ(vm->Read32(kA + 4096), 0x22222222u) << "the old place was used";
    EXPECT_FALSE(vtd->has_denied());
    gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(0));
    gpu->Submit(VTTM_ENGINE_COPY, {}, VTTM_PKT_FLAG_IRQ);
    EXPECT_TRUE(gpu->WaitMessage(VTTM_MSIX_ENGINE(0)));
}

// A driver that unmaps a buffer too early: the device reports it and reaches nothing.
TEST_F(Iommu, StaleAddressIsAFault) {
    StartBehindIommu();
    vtd->SwitchOn();
    gpu->SetReg64(VTTM_REG_FAULT_RING_BASE_LO, kData);
    gpu->SetReg(VTTM_REG_FAULT_RING_SIZE, 4096);
    gpu->SetReg(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    vtd->MapIova(0, kA | kVtdReadWrite);
    gpu->MapPages({kIova | VTTM_PTE_SYSTEM | VTTM_PTE_WRITE | VTTM_PTE_VALID});
    const auto in_vm = [&](const Packet& packet) {
        return gpu->Run(VTTM_ENGINE_COPY, {SetVm(1), packet});
    };
    EXPECT_EQ(in_vm(Fill(VTTM_SPACE_VM, 0, 4096, 0x44444444)), 0u);

    // The device has the translation to kIova in its TLB: that is no way around the IOMMU.
    vtd->MapIova(0, 0);
    vtd->Invalidate();
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

    vtd->MapIova(0, kB | kVtdReadWrite);
    EXPECT_EQ(in_vm(Fill(VTTM_SPACE_VM, 0, 4096, 0x66666666)), 0u);
    EXPECT_EQ(vm->Read32(kB), 0x66666666u);
}

TEST_F(Iommu, RightsAreKept) {
    StartBehindIommu();
    vtd->SwitchOn();
    vtd->MapIova(0, kA | kVtdRead);
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
    vtd->SwitchOn();
    vtd->MapIova(0, kA | kVtdReadWrite);
    vtd->MapIova(2, kB | kVtdReadWrite);
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
    vtd->SwitchOn();
    vtd->SetFaultMessage(0xfee00000, 0x400);  // NMI
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
    vtd->SwitchOn();
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
        vtd->SwitchOn();
    }
    KeepBusy();
    EXPECT_EQ(vm->Quit(), 0);
}

// Other IOMMUs write their interrupts to memory, in the middle of an access that they deny: a guest that aims them at the
// device's configuration space would have it wait for itself. Those are refused, wherever they stand.
class OtherIommu : public QtestBase, public ::testing::WithParamInterface<const char*> {
protected:
    static constexpr const char* kBackend = "memory-backend-memfd,id=vram0,size=4M,share=on";
    static std::vector<std::string> Arguments(std::initializer_list<const char*> devices) {
        std::vector<std::string> args = Vm::BaseArguments({});
        args.insert(args.end(), {"-object", kBackend});
        for (const char* device : devices) args.insert(args.end(), {"-device", device});
        return args;
    }
    static void ExpectReason(const std::string& text) {
        EXPECT_NE(text.find("vttm: the device cannot be behind the IOMMU '"), text.npos) << text;
        EXPECT_NE(text.find("only intel-iommu is supported"), text.npos) << text;
    }
};

TEST_P(OtherIommu, IsRefused) {
    for (const auto& devices : {std::initializer_list<const char*>{GetParam(), "vttm,vram=vram0"},
                                std::initializer_list<const char*>{"vttm,vram=vram0", GetParam()}}) {
        TempDir dir;
        QemuProcess qemu(Arguments(devices), dir.File("log"));
        EXPECT_EQ(qemu.Wait(20), 1);
        ExpectReason(qemu.Log());
    }
}

TEST_P(OtherIommu, IsRefusedToADeviceThatIsPlugged) {
    TempDir dir;
    std::vector<std::string> args = Arguments({GetParam(), "pcie-root-port,id=rp,chassis=1"});
    LineSocket qmp(dir.File("qmp"));
    args.insert(args.end(), {"-chardev", "socket,id=qmp,path=" + dir.File("qmp"), "-mon", "chardev=qmp,mode=control"});
    QemuProcess qemu(args, dir.File("log"));
    qmp.Accept(qemu);
    qmp.Receive();
    qmp.Send(R"({"execute":"qmp_capabilities"})");
    qmp.Receive();
    qmp.Send(R"({"execute":"device_add","arguments":{"driver":"vttm","vram":"vram0","bus":"rp"}})");
    ExpectReason(qmp.Receive());
    qmp.Send(R"({"execute":"quit"})");
    EXPECT_EQ(qemu.Wait(20), 0);
}

INSTANTIATE_TEST_SUITE_P(Kinds, OtherIommu, ::testing::Values("virtio-iommu-pci", "amd-iommu"),
                         [](const auto& info) { return std::string(info.param).substr(0, info.param[0] == 'a' ? 3 : 6); });

}  // namespace
}  // namespace vttm::qtest
