// SPDX-License-Identifier: Apache-2.0
// Identity, sizes, register rules, interrupts: what a driver does before its first packet.
#include "tests/unit/independent/fixture.h"

namespace vttm::independent {
namespace {

class Discovery : public IndependentDriver {};

TEST_F(Discovery, PciIdentityAndBars) {
    PciFunction& pci = device->pci();
    EXPECT_EQ(pci.Read(4, 0x08),
              0x03800000u | VTTM_PCI_REVISION);  // class, subclass, interface, revision
    EXPECT_EQ(pci.bar(VTTM_BAR_REGS).size, VTTM_REGS_SIZE);
    EXPECT_EQ(pci.bar(VTTM_BAR_VRAM).size, wire->config().vram_visible);
    EXPECT_TRUE(pci.bar(VTTM_BAR_VRAM).is_64_bit);
    EXPECT_TRUE(pci.bar(VTTM_BAR_VRAM).prefetchable);
    EXPECT_EQ(pci.MsixVectors(), static_cast<unsigned>(VTTM_NUM_VECTORS));
    EXPECT_NE(pci.bar(VTTM_BAR_MSIX).size, 0u);
}

TEST_F(Discovery, AbiFeaturesAndSizes) {
    EXPECT_EQ(device->Rd(VTTM_REG_ABI), VTTM_ABI_MAJOR << 16 | VTTM_ABI_MINOR);
    const uint64_t needed = VTTM_FEATURE_STALE_DETECT | VTTM_FEATURE_LARGE_LEAVES |
                            VTTM_FEATURE_NO_ACCESS | VTTM_FEATURE_WALK_CACHE |
                            VTTM_FEATURE_FAULT_RING | VTTM_FEATURE_FAULT_RETRY |
                            VTTM_FEATURE_COPY_2D | VTTM_FEATURE_COPY_SG | VTTM_FEATURE_HASH |
                            VTTM_FEATURE_SYNC | VTTM_FEATURE_INDIRECT | VTTM_FEATURE_RINGS |
                            VTTM_FEATURE_COUNTERS | VTTM_FEATURE_VRAM_BALLOON;
    EXPECT_EQ(device->features() & needed, needed);
    EXPECT_FALSE(device->features() & VTTM_FEATURE_WITNESS) << "this machine has no witness log";
    EXPECT_EQ(device->vram_size(), wire->config().vram);
    EXPECT_EQ(device->vram_visible(), wire->config().vram_visible);
    EXPECT_EQ(device->Rd(VTTM_REG_NUM_ENGINES), VTTM_NUM_ENGINES);
    EXPECT_EQ(device->Rd(VTTM_REG_NUM_VMS), VTTM_MAX_VMS);
    EXPECT_EQ(device->Rd(VTTM_REG_NUM_RINGS), VTTM_NUM_RINGS);
    EXPECT_EQ(copy->Rd(VTTM_ENG_CLASS), static_cast<uint32_t>(VTTM_CLASS_COPY));
    EXPECT_EQ(stamp->Rd(VTTM_ENG_CLASS), static_cast<uint32_t>(VTTM_CLASS_STAMP));
}

TEST_F(Discovery, BadAccessesReadZeroDoNothingAndAreCounted) {
    const uint64_t regs = device->regs();
    const auto counted = [&](const char* what) {
        EXPECT_EQ(device->Rd(VTTM_REG_BAD_ACCESS), ++bad_accesses) << what;
    };
    EXPECT_EQ(wire->Load(1, regs + VTTM_REG_MAGIC), 0u);
    counted("a byte");
    EXPECT_EQ(wire->Load(2, regs + VTTM_REG_MAGIC), 0u);
    counted("a word");
    EXPECT_EQ(wire->Load(4, regs + VTTM_REG_MAGIC + 1), 0u);
    counted("misaligned");
    EXPECT_EQ(wire->Load(8, regs + VTTM_REG_MAGIC), 0u);
    counted("8 bytes where no pair is");
    EXPECT_EQ(device->Rd(0x0048), 0u);
    counted("a hole is read");
    device->Wr(0x0048, 1);
    counted("a hole is written");
    wire->Store(2, regs + VTTM_REG_IRQ_ENABLE, 7);
    counted("a word is written");
    EXPECT_EQ(device->Rd(VTTM_REG_IRQ_ENABLE), 0u);
    copy->Wr(VTTM_ENG_RING_SIZE, 0x2000);
    counted("the place of an enabled ring");
    EXPECT_EQ(copy->Rd(VTTM_ENG_RING_SIZE), VTTM_RING_MIN_SIZE);
    copy->Wr(VTTM_ENG_PRIORITY, VTTM_PRIORITY_MAX + 1);
    counted("an undefined priority");
    device->Wr(VTTM_REG_VM_MODE(3), ~0u);
    counted("undefined bits of VM_MODE");
    EXPECT_EQ(device->Rd(VTTM_REG_VM_MODE(3)), 0u);
    device->Wr(VTTM_RING_BLOCK(VTTM_ENGINE_COPY, 1) + VTTM_ENG_CTRL, VTTM_ENG_CTRL_RESET);
    counted("an engine reset beside ring 0");

    Ring off(*device, VTTM_ENGINE_COPY, 1);
    for (const uint32_t size : {0u, 0x800u, 0x1800u, 0x200000u}) {
        off.Wr(VTTM_ENG_RING_SIZE, size);
        counted("a size that no ring has");
    }
    // RO registers are no rule's breach: the write is ignored.
    device->Wr(VTTM_REG_MAGIC, 0);
    device->Wr(VTTM_REG_VRAM_SIZE_LO, 0);
    EXPECT_EQ(device->Rd(VTTM_REG_MAGIC), VTTM_MAGIC);
    EXPECT_EQ(device->vram_size(), device->Rd64(VTTM_REG_VRAM_SIZE_LO));
}

TEST_F(Discovery, TimestampRunsAndLowLatchesHigh) {
    const uint64_t first = device->Rd64(VTTM_REG_TIMESTAMP_LO);
    const uint32_t lo = device->Rd(VTTM_REG_TIMESTAMP_LO);
    const uint64_t second = static_cast<uint64_t>(device->Rd(VTTM_REG_TIMESTAMP_HI)) << 32 | lo;
    EXPECT_GT(second, first);
    EXPECT_GT(device->Rd64(VTTM_REG_TIMESTAMP_LO), second);
}

TEST_F(Discovery, ApertureShowsVramToTheEnginesBothWays) {
    const std::vector<uint8_t> bytes = Random(8192);
    const Place vram = Vram(device->AllocVram(bytes.size()));
    const Place system = System(device->AllocSystem(bytes.size()));
    device->Write(vram, bytes);
    EXPECT_EQ(copy->Run(Program().Copy(system, vram, bytes.size())), 0u);
    EXPECT_EQ(device->Read(system, bytes.size()), bytes);
    EXPECT_EQ(copy->Run(Program().Fill(vram, 64, 0x01020304)), 0u);
    EXPECT_EQ(device->Read64(vram + 56), 0x0102030401020304u);
    EXPECT_EQ(device->Read(vram + 64, 8),
              std::vector<uint8_t>(bytes.begin() + 64, bytes.begin() + 72));
}

TEST_F(Discovery, InterruptPerFenceAndPerFault) {
    device->Wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ERROR | VTTM_IRQ_ENGINE(VTTM_ENGINE_COPY));
    copy->Fence(true);
    ASSERT_TRUE(Poll([&] { return device->TakeInterrupt(VTTM_MSIX_ENGINE(VTTM_ENGINE_COPY)); }));
    EXPECT_TRUE(copy->Done(copy->seq())) << "the interrupt came before the fence value";
    EXPECT_EQ(copy->Rd64(VTTM_ENG_LAST_FENCE_LO), copy->seq());
    EXPECT_EQ(device->Rd(VTTM_REG_IRQ_STATUS), VTTM_IRQ_ENGINE(VTTM_ENGINE_COPY));
    // At each event, though the status is still latched.
    copy->Fence(true);
    ASSERT_TRUE(Poll([&] { return device->TakeInterrupt(VTTM_MSIX_ENGINE(VTTM_ENGINE_COPY)); }));
    device->Wr(VTTM_REG_IRQ_STATUS, ~0u);
    EXPECT_EQ(device->Rd(VTTM_REG_IRQ_STATUS), 0u);

    // No flag: no interrupt, and no status either.
    EXPECT_EQ(copy->Run(Program().Nop()), 0u);
    EXPECT_EQ(device->Rd(VTTM_REG_IRQ_STATUS), 0u);
    EXPECT_FALSE(device->TakeInterrupt(VTTM_MSIX_ENGINE(VTTM_ENGINE_COPY)));

    OneFault(*copy, Program().Fill(Vram(2), 4, 0), VTTM_FAULT_BAD_PACKET);
    EXPECT_TRUE(Poll([&] { return device->TakeInterrupt(VTTM_MSIX_ERROR); }));
    EXPECT_FALSE(device->TakeInterrupt(VTTM_MSIX_ENGINE(VTTM_ENGINE_STAMP)));
}

TEST_F(Discovery, LatchedStatusFiresWhenItIsEnabled) {
    const unsigned vector = VTTM_MSIX_ENGINE(VTTM_ENGINE_STAMP);
    const uint64_t seq = stamp->Fence(true);
    ASSERT_TRUE(stamp->WaitFence(seq));
    ASSERT_TRUE(
        Poll([&] { return device->Rd(VTTM_REG_IRQ_STATUS) & VTTM_IRQ_ENGINE(VTTM_ENGINE_STAMP); }));
    EXPECT_FALSE(device->TakeInterrupt(vector));
    device->Wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(VTTM_ENGINE_STAMP));
    EXPECT_TRUE(Poll([&] { return device->TakeInterrupt(vector); }));
    device->Wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(VTTM_ENGINE_STAMP));
    EXPECT_FALSE(device->TakeInterrupt(vector)) << "a bit that was set already";
    device->Wr(VTTM_REG_IRQ_STATUS, VTTM_IRQ_ENGINE(VTTM_ENGINE_STAMP));

    // A vector that PCI has masked is pending, and fires when unmasked.
    device->pci().MaskMsix(vector, true);
    ASSERT_TRUE(stamp->WaitFence(stamp->Fence(true)));
    EXPECT_TRUE(Poll([&] { return device->pci().MsixPending(vector); }));
    EXPECT_FALSE(device->TakeInterrupt(vector));
    device->pci().MaskMsix(vector, false);
    EXPECT_TRUE(Poll([&] { return device->TakeInterrupt(vector); }));
}

}  // namespace
}  // namespace vttm::independent
