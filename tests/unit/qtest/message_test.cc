// SPDX-License-Identifier: Apache-2.0
// MSI-X messages that the guest sends where no interrupt controller is: into the configuration space that resets the
// device, puts it to sleep, or unplugs it. What was raised with them is not sent behind that.
#include "tests/unit/qtest/vtd.h"

namespace vttm::qtest {
namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kCommand = 0x04;
constexpr uint32_t kEngineVector = VTTM_MSIX_ENGINE(VTTM_ENGINE_COPY);

class OwnMessage : public QtestFixture, public ::testing::WithParamInterface<bool> {
protected:
    void StartIt() {
        VmOptions options;
        if (GetParam()) Vtd::AddTo(options);
        Start(options);
        ecam_ = vm->ExtendedConfig(kSlot);
    }
    /// From now on an error writes @data there.
    void AimErrorsAt(unsigned reg, uint32_t data) {
        const uint64_t entry = kMsixBase + VTTM_MSIX_ERROR * 16;
        vm->Write32(entry, Lo(ecam_ + reg));
        vm->Write32(entry + 4, Hi(ecam_ + reg));
        vm->Write32(entry + 8, data);
    }
    /// An error's and a fence's interrupt at once, with the other engine at work.
    void RaiseBoth() {
        gpu->Submit(VTTM_ENGINE_STAMP, std::vector<Packet>(20, StampWrite(VTTM_SPACE_SYSTEM, 8 * kMiB, 4096,
                                                                          {.key = 1, .buffer = 1, .generation = 1})));
        ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY,
                                   gpu->Submit(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 8 * kMiB, 4, 0)}, VTTM_PKT_FLAG_IRQ)));
        vm->Write32(kMessage + 16 * kEngineVector, 0);
        const uint32_t both = VTTM_IRQ_ERROR | VTTM_IRQ_ENGINE(VTTM_ENGINE_COPY);
        const auto end = Clock::now() + kPatience;
        while (gpu->Reg(VTTM_REG_IRQ_STATUS) != both) ASSERT_LT(Clock::now(), end);
        gpu->SetReg(VTTM_REG_IRQ_ENABLE, both);
    }
    bool WaitConfig(unsigned reg, uint32_t mask, uint32_t value) {
        const auto end = Clock::now() + kPatience;
        while ((vm->Config32(kSlot, reg) & mask) != value)
            if (Clock::now() > end) return false;
        return true;
    }
    void ExpectWorks() {
        BringUp();
        EXPECT_FALSE(gpu->WaitMessage(kEngineVector, std::chrono::milliseconds(0))) << "of what was before";
        EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 0x55555555)}), 0u);
        EXPECT_EQ(vm->Read32(kVramBase), 0x55555555u);
    }
    uint64_t ecam_ = 0;
};

TEST_P(OwnMessage, ResetsTheFunction) {
    StartIt();
    const unsigned express = gpu->Capability(kCapExpress);
    for (int i = 0; i < 20; i++) {
        AimErrorsAt(express + 8, 1u << 15);
        ASSERT_NO_FATAL_FAILURE(RaiseBoth());
        ASSERT_TRUE(WaitConfig(kCommand, 7, 0)) << "no reset";
        ExpectWorks();
    }
    EXPECT_EQ(vm->Quit(), 0);
    EXPECT_EQ(vm->process().Log(), "");
}

TEST_P(OwnMessage, PutsTheFunctionToSleep) {
    StartIt();
    const unsigned power = gpu->Capability(kCapPower);
    for (int i = 0; i < 20; i++) {
        AimErrorsAt(power + 4, 3);
        ASSERT_NO_FATAL_FAILURE(RaiseBoth());
        ASSERT_TRUE(WaitConfig(power + 4, 3, 3)) << "it does not sleep";
        vm->SetConfig32(kSlot, power + 4, 0);
        ExpectWorks();
    }
    EXPECT_EQ(vm->Quit(), 0);
    EXPECT_EQ(vm->process().Log(), "");
}

INSTANTIATE_TEST_SUITE_P(Behind, OwnMessage, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "AnIommu" : "Nothing"; });

// A second device, behind a root port that its message switches off: it is unplugged from within its own interrupt.
class Unplugged : public QtestFixture {
protected:
    static constexpr unsigned kPort = 5;
    static constexpr uint64_t kRegs = 0xe1000000, kMsix = 0xe1010000, kItsRing = kRing + 0x20000, kItsFence = kFence + 0x1000;

    void SetConfig(unsigned reg, uint32_t value) {
        vm->Out32(0xcf8, 0x80000000u | 1u << 16 | reg);
        vm->Out32(0xcfc, value);
    }
    uint32_t Config(unsigned reg) {
        vm->Out32(0xcf8, 0x80000000u | 1u << 16 | reg);
        return vm->In32(0xcfc);
    }
    static unsigned Find(unsigned id, auto config) {
        unsigned cap = config(0x34) & 0xfc;
        while (cap && (config(cap) & 0xff) != id) cap = config(cap) >> 8 & 0xfc;
        return cap;
    }
    void Plug(uint64_t slot_control) {
        vm->Qmp("device_add", {{"driver", "vttm"}, {"id", "vttm1"}, {"vram", "vram1"}, {"bus", "rp"}});
        vm->Write32(slot_control, 0x100);  // power and its indicator on
        vm->SetConfig32(kPort, 0x18, 1u << 16 | 1u << 8);
        vm->SetConfig32(kPort, 0x20, 0xe100e100);
        vm->SetConfig32(kPort, kCommand, 6);
        SetConfig(0x10 + 4 * VTTM_BAR_REGS, Lo(kRegs));
        SetConfig(0x10 + 4 * VTTM_BAR_MSIX, Lo(kMsix));
        SetConfig(kCommand, 6);
        ASSERT_EQ(vm->Read32(kRegs), VTTM_MAGIC);
        SetConfig(Find(kCapMsix, [&](unsigned reg) { return Config(reg); }), 1u << 31);
    }
    void AimAll(uint64_t addr, uint32_t data) {
        for (unsigned v = 0; v < VTTM_NUM_VECTORS; v++) {
            vm->Write64(kMsix + 16 * v, addr);
            vm->Write64(kMsix + 16 * v + 8, data);
        }
        vm->Write32(kRegs + VTTM_REG_IRQ_ENABLE, ~0u);
    }
    void Raise() {
        const Packet fault = Fill(VTTM_SPACE_VRAM, 8 * kMiB, 4, 0);
        const Packet fence = MakePacket(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ, {Lo(kItsFence), Hi(kItsFence), 1, 0});
        std::vector<uint32_t> words = fault;
        words.insert(words.end(), fence.begin(), fence.end());
        vm->WriteWords(kItsRing, words);
        const uint64_t engine = kRegs + VTTM_ENGINE_BASE(VTTM_ENGINE_COPY);
        vm->Write64(engine + VTTM_ENG_RING_BASE_LO, kItsRing);
        vm->Write32(engine + VTTM_ENG_RING_SIZE, kRingSize);
        vm->Write32(engine + VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
        vm->Write32(engine + VTTM_ENG_TAIL, static_cast<uint32_t>(4 * words.size()));
    }
};

TEST_F(Unplugged, ByItsOwnMessage) {
    // The port's own hotplug, not ACPI's.
    Start({.more = {"-global", "ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off", "-device",
                    "pcie-root-port,id=rp,addr=05.0,chassis=1", "-object",
                    "memory-backend-memfd,id=vram1,size=8M,share=on"}});
    const unsigned express = Find(kCapExpress, [&](unsigned reg) { return vm->Config32(kPort, reg); });
    const uint64_t slot_control = vm->ExtendedConfig(kPort) + express + 0x18;
    for (int i = 0; i < 10; i++) {
        ASSERT_NO_FATAL_FAILURE(Plug(slot_control));
        AimAll(slot_control, 0x700);  // both off
        Raise();
        EXPECT_EQ(vm->Event("DEVICE_DELETED").at("data").at("path"), "/machine/peripheral/vttm1");
        EXPECT_EQ(Config(0), ~0u);
    }
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 1)}), 0u);
    EXPECT_EQ(vm->Quit(), 0);
}

}  // namespace
}  // namespace vttm::qtest
