// SPDX-License-Identifier: Apache-2.0
// What the device shows on the PCI bus, and the ways in which it is refused.
#include <fmt/format.h>
#include <sys/stat.h>

#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

using ::testing::Values;

class Pci : public QtestFixture {
protected:
    /// Size of a 32-bit BAR, or of the pair from @bar on.
    uint64_t BarSize(unsigned bar, bool wide) {
        const unsigned reg = 0x10 + 4 * bar;
        vm->SetConfig32(kSlot, reg, ~0u);
        if (wide) vm->SetConfig32(kSlot, reg + 4, ~0u);
        uint64_t mask = vm->Config32(kSlot, reg) & ~0xfull;
        mask |= wide ? static_cast<uint64_t>(vm->Config32(kSlot, reg + 4)) << 32 : ~0ull << 32;
        return ~mask + 1;
    }
    uint32_t BarFlags(unsigned bar) { return vm->Config32(kSlot, 0x10 + 4 * bar) & 0xf; }
};

TEST_F(Pci, Identity) {
    StartCold();
    EXPECT_EQ(vm->Config32(kSlot, 0x00),
              VTTM_PCI_DEVICE_ID << 16 | static_cast<uint32_t>(VTTM_PCI_VENDOR_ID));
    EXPECT_EQ(vm->Config32(kSlot, 0x08) >> 16, 0x0380u) << "display controller, other";
    EXPECT_EQ(vm->Config32(kSlot, 0x08) & 0xff, static_cast<uint32_t>(VTTM_PCI_REVISION));
}

TEST_F(Pci, Bars) {
    StartCold();
    EXPECT_EQ(BarSize(VTTM_BAR_REGS, false), VTTM_REGS_SIZE);
    EXPECT_EQ(BarFlags(VTTM_BAR_REGS), 0u);
    EXPECT_EQ(BarSize(VTTM_BAR_VRAM, true), 8 * kMiB);
    EXPECT_EQ(BarFlags(VTTM_BAR_VRAM), 0xcu) << "64-bit, prefetchable";
    EXPECT_EQ(BarSize(VTTM_BAR_MSIX, false), 4096u);
}

TEST_F(Pci, CapabilitiesOnExpressBus) {
    StartCold();
    const unsigned msix = gpu->Capability(kCapMsix);
    ASSERT_NE(msix, 0u);
    EXPECT_EQ((vm->Config32(kSlot, msix) >> 16 & 0x7ff) + 1,
              static_cast<uint32_t>(VTTM_NUM_VECTORS));
    EXPECT_EQ(vm->Config32(kSlot, msix + 4) & 7, static_cast<uint32_t>(VTTM_BAR_MSIX));
    EXPECT_NE(gpu->Capability(kCapExpress), 0u);
}

TEST_F(Pci, ConventionalBus) {
    Start({.machine = "pc"});
    EXPECT_EQ(gpu->Capability(kCapExpress), 0u);
    EXPECT_EQ(gpu->Reg(VTTM_REG_MAGIC), VTTM_MAGIC);
}

TEST_F(Pci, DiscoveryRegisters) {
    Start({.witness = true});
    EXPECT_EQ(gpu->Reg(VTTM_REG_MAGIC), VTTM_MAGIC);
    EXPECT_EQ(gpu->Reg(VTTM_REG_ABI), VTTM_ABI_MAJOR << 16 | VTTM_ABI_MINOR);
    EXPECT_EQ(gpu->Reg64(VTTM_REG_VRAM_SIZE_LO), 8 * kMiB);
    EXPECT_EQ(gpu->Reg64(VTTM_REG_VRAM_VISIBLE_LO), 8 * kMiB);
    EXPECT_EQ(gpu->Reg(VTTM_REG_NUM_ENGINES), VTTM_NUM_ENGINES);
    EXPECT_TRUE(gpu->Reg(VTTM_REG_FEATURES_LO) & VTTM_FEATURE_WITNESS);
}

TEST_F(Pci, NoWitnessFeatureWithoutLog) {
    Start();
    EXPECT_FALSE(gpu->Reg(VTTM_REG_FEATURES_LO) & VTTM_FEATURE_WITNESS);
}

TEST_F(Pci, OddAccessesReachTheModel) {
    Start();
    const uint32_t before = gpu->Reg(VTTM_REG_BAD_ACCESS);
    EXPECT_EQ(vm->Read(kRegsBase + VTTM_REG_MAGIC, 1), 0u);
    EXPECT_EQ(vm->Read(kRegsBase + VTTM_REG_MAGIC, 2), 0u);
    vm->Write(kRegsBase + VTTM_REG_IRQ_ENABLE, 0xff, 1);
    EXPECT_EQ(vm->Read(kRegsBase + VTTM_REG_MAGIC + 2, 4), 0u) << "unaligned";
    EXPECT_EQ(gpu->Reg(VTTM_REG_BAD_ACCESS), before + 4);
    EXPECT_EQ(gpu->Reg(VTTM_REG_IRQ_ENABLE), 0u);
}

TEST_F(Pci, VramIsTheSharedFile) {
    Start();
    vm->Write64(kVramBase + 5 * kMiB, 0x1122334455667788);
    EXPECT_EQ(VramFile(5 * kMiB, 8),
              (std::vector<uint8_t>{0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11}));
    SetVramFile(8 * kMiB - 4, {1, 2, 3, 4});
    EXPECT_EQ(vm->Read32(kVramBase + 8 * kMiB - 4), 0x04030201u);
}

TEST_F(Pci, SmallVisibleVram) {
    Start({.device_properties = ",vram-visible=2M"});
    EXPECT_EQ(gpu->Reg64(VTTM_REG_VRAM_SIZE_LO), 8 * kMiB);
    EXPECT_EQ(gpu->Reg64(VTTM_REG_VRAM_VISIBLE_LO), 2 * kMiB);
    // The GPU reaches what the CPU cannot see.
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 6 * kMiB, 4096, 0x5a5a5a5a)}), 0u);
    EXPECT_EQ(VramFile(6 * kMiB, 4096), std::vector<uint8_t>(4096, 0x5a));
    EXPECT_NE(vm->Read32(kVramBase + 6 * kMiB), 0x5a5a5a5au);
    EXPECT_EQ(BarSize(VTTM_BAR_VRAM, true), 2 * kMiB);
}

// How much of the VRAM's file has memory behind it, in bytes.
uint64_t Allocated(const std::string& file) {
    struct stat st {};
    EXPECT_EQ(::stat(file.c_str(), &st), 0) << file;
    return static_cast<uint64_t>(st.st_blocks) * 512;
}

TEST_F(Pci, VramBalloonFreesTheHostsMemory) {
    Start({.device_properties = ",vram-target=6M"});
    EXPECT_EQ(gpu->Reg64(VTTM_REG_VRAM_TARGET_LO), 6 * kMiB) << "set before the guest ran";
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 8 * kMiB, 0x5a5a5a5a)}), 0u);
    EXPECT_EQ(Allocated(vm->vram_path()), 8 * kMiB);

    gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_VRAM);
    vm->SetDeviceProperty("vram-target", 4 * kMiB);
    EXPECT_TRUE(gpu->WaitMessage(VTTM_MSIX_VRAM));
    EXPECT_EQ(gpu->Reg64(VTTM_REG_VRAM_TARGET_LO), 4 * kMiB);
    EXPECT_EQ(vm->DeviceProperty("vram-target"), 4 * kMiB);
    EXPECT_EQ(vm->DeviceProperty("vram-limit"), 8 * kMiB) << "nobody has given anything up";

    gpu->SetReg64(VTTM_REG_VRAM_LIMIT_LO, 4 * kMiB);
    EXPECT_EQ(vm->DeviceProperty("vram-limit"), 4 * kMiB);
    EXPECT_EQ(Allocated(vm->vram_path()), 4 * kMiB);
    EXPECT_EQ(VramFile(4 * kMiB - 4096, 4096), std::vector<uint8_t>(4096, 0x5a));
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 4 * kMiB, 4096, 1)}),
              uint32_t{VTTM_FAULT_VRAM_RANGE});
    EXPECT_THROW(vm->SetDeviceProperty("vram-target", 3 * kMiB), QemuError);
    EXPECT_THROW(vm->SetDeviceProperty("vram-target", 10 * kMiB), QemuError);

    vm->SetDeviceProperty("vram-target", 8 * kMiB);
    gpu->SetReg64(VTTM_REG_VRAM_LIMIT_LO, 8 * kMiB);
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 4 * kMiB, 4096, 1)}), 0u);
}

TEST_F(Pci, StatsAreJson) {
    Start();
    const auto stats = nlohmann::json::parse(vm->DeviceProperty("stats").get<std::string>());
    EXPECT_TRUE(stats.contains("engines"));
    EXPECT_EQ(vm->DeviceProperty("witness-lost"), 0);
}

struct Refusal {
    const char* name;
    const char* backend;  ///< -object, or empty
    const char* device;   ///< -device
    const char* message;  ///< part of what QEMU says
};

void PrintTo(const Refusal& refusal, std::ostream* os) { *os << refusal.name; }

class Refused : public QtestBase, public ::testing::WithParamInterface<Refusal> {};

TEST_P(Refused, EndsWithAClearMessage) {
    TempDir dir;
    std::vector<std::string> args = Vm::BaseArguments({});
    if (*GetParam().backend) args.insert(args.end(), {"-object", GetParam().backend});
    args.insert(args.end(), {"-device", GetParam().device});
    QemuProcess qemu(args, dir.File("log"));
    EXPECT_EQ(qemu.Wait(20), 1);
    EXPECT_NE(qemu.Log().find(GetParam().message), std::string::npos)
        << "expected '" << GetParam().message << "' in:\n"
        << qemu.Log();
}

constexpr const char* kGoodBackend = "memory-backend-memfd,id=vram0,size=4M,share=on";

INSTANTIATE_TEST_SUITE_P(
    Properties, Refused,
    Values(Refusal{"NoVram", "", "vttm", "property 'vram' is missing"},
           Refusal{"UnknownBackend", "", "vttm,vram=nowhere", "'nowhere' not found"},
           Refusal{"PrivateBackend", "memory-backend-ram,id=vram0,size=4M", "vttm,vram=vram0",
                   "'vram0' is private: VRAM needs share=on"},
           Refusal{"NotPowerOfTwo", "memory-backend-memfd,id=vram0,size=6M,share=on",
                   "vttm,vram=vram0", "has 6291456 bytes: VRAM must be a power of two"},
           Refusal{"TooSmall", "memory-backend-memfd,id=vram0,size=1M,share=on", "vttm,vram=vram0",
                   "has 1048576 bytes: VRAM must be a power of two and at least 2097152 bytes"},
           Refusal{"BackendInUse", "", "vttm,vram=ram0", "'ram0' is already in use"},
           Refusal{"VisibleTooLarge", kGoodBackend, "vttm,vram=vram0,vram-visible=8M",
                   "'vram-visible' is 8388608 bytes"},
           Refusal{"VisibleTooSmall", kGoodBackend, "vttm,vram=vram0,vram-visible=4K",
                   "'vram-visible' is 4096 bytes"},
           Refusal{"VisibleNotPowerOfTwo", kGoodBackend, "vttm,vram=vram0,vram-visible=3M",
                   "'vram-visible' is 3145728 bytes"},
           Refusal{"OddTarget", kGoodBackend, "vttm,vram=vram0,vram-target=3M",
                   "'vram-target' is 3145728 bytes"},
           Refusal{"TargetTooLarge", kGoodBackend, "vttm,vram=vram0,vram-target=6M",
                   "'vram-target' is 6291456 bytes"},
           Refusal{"NoFolderForLog", kGoodBackend, "vttm,vram=vram0,witness-log=/nonexistent/w",
                   "cannot create the witness log: Could not create '/nonexistent/w'"},
           Refusal{"NoRoomForARecord", kGoodBackend, "vttm,vram=vram0,witness-log-max=79",
                   "'witness-log-max' is 79 bytes: it must be 0 (no limit), or 80 at least"},
           Refusal{"NoRoomForATraceRecord", kGoodBackend, "vttm,vram=vram0,trace-log-max=1",
                   "'trace-log-max' is 1 bytes: it must be 0 (no limit), or "},
           Refusal{"NoTlb", kGoodBackend, "vttm,vram=vram0,tlb-entries=0",
                   "'tlb-entries' is 0: it must be from 1 to 16777216"},
           Refusal{"TlbTooLarge", kGoodBackend, "vttm,vram=vram0,tlb-entries=16777217",
                   "'tlb-entries' is 16777217: it must be from 1 to 16777216"},
           Refusal{"UnknownProperty", kGoodBackend, "vttm,vram=vram0,color=red",
                   "Property 'vttm.color' not found"}),
    [](const auto& info) { return info.param.name; });

TEST_F(QtestBase, BackendServesOneDevice) {
    TempDir dir;
    std::vector<std::string> args = Vm::BaseArguments({});
    args.insert(args.end(), {"-object", kGoodBackend, "-device", "vttm,vram=vram0", "-device",
                             "vttm,vram=vram0"});
    QemuProcess qemu(args, dir.File("log"));
    EXPECT_EQ(qemu.Wait(20), 1);
    EXPECT_NE(qemu.Log().find("'vram0' is already in use"), std::string::npos) << qemu.Log();
}

}  // namespace
}  // namespace vttm::qtest
