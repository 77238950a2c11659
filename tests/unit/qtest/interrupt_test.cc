// SPDX-License-Identifier: Apache-2.0
// MSI-X: messages arrive, masked ones wait, none is lost.
#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

constexpr unsigned kCopyVector = VTTM_MSIX_ENGINE(VTTM_ENGINE_COPY);
constexpr std::chrono::milliseconds kQuiet{100};

class Interrupt : public QtestFixture {
protected:
    void StartEnabled() {
        Start();
        gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ERROR | VTTM_IRQ_ENGINE(0) | VTTM_IRQ_ENGINE(1));
    }
    void FenceWithIrq(unsigned engine) {
        ASSERT_TRUE(gpu->WaitFence(engine, gpu->Submit(engine, {}, VTTM_PKT_FLAG_IRQ)));
    }
    void Acknowledge(unsigned engine) { gpu->SetReg(VTTM_REG_IRQ_STATUS, VTTM_IRQ_ENGINE(engine)); }
};

TEST_F(Interrupt, EachEngineHasItsVector) {
    StartEnabled();
    for (unsigned engine = 0; engine < VTTM_NUM_ENGINES; engine++) {
        FenceWithIrq(engine);
        EXPECT_TRUE(gpu->WaitMessage(VTTM_MSIX_ENGINE(engine)));
        EXPECT_EQ(gpu->Reg(VTTM_REG_IRQ_STATUS), VTTM_IRQ_ENGINE(engine));
        Acknowledge(engine);
    }
    EXPECT_FALSE(gpu->WaitMessage(VTTM_MSIX_ERROR, kQuiet));
}

TEST_F(Interrupt, FaultRaisesTheErrorVector) {
    StartEnabled();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 8 * kMiB, 64, 0)}),
              static_cast<uint32_t>(VTTM_FAULT_VRAM_RANGE));
    EXPECT_TRUE(gpu->WaitMessage(VTTM_MSIX_ERROR));
}

TEST_F(Interrupt, FenceWithoutFlagIsSilent) {
    StartEnabled();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {}), 0u);
    EXPECT_FALSE(gpu->WaitMessage(kCopyVector, kQuiet));
}

TEST_F(Interrupt, MaskedVectorIsKeptPending) {
    StartEnabled();
    gpu->MaskVector(kCopyVector, true);
    FenceWithIrq(VTTM_ENGINE_COPY);
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (!gpu->VectorPending(kCopyVector)) {
        ASSERT_LT(std::chrono::steady_clock::now(), end) << "the pending bit is never set";
    }
    EXPECT_FALSE(gpu->WaitMessage(kCopyVector, std::chrono::milliseconds(0)));
    gpu->MaskVector(kCopyVector, false);
    EXPECT_TRUE(gpu->WaitMessage(kCopyVector));
    EXPECT_FALSE(gpu->VectorPending(kCopyVector));
}

// An interrupt that the register write itself raises comes from the CPU's thread, not from a
// worker.
TEST_F(Interrupt, EnablingALatchedInterruptFires) {
    Start();
    FenceWithIrq(VTTM_ENGINE_COPY);
    EXPECT_FALSE(gpu->WaitMessage(kCopyVector, kQuiet));
    gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(VTTM_ENGINE_COPY));
    EXPECT_TRUE(gpu->WaitMessage(kCopyVector));
}

TEST_F(Interrupt, NoneIsLostInManyRounds) {
    StartEnabled();
    for (int i = 0; i < 300; i++) {
        const unsigned engine = i % VTTM_NUM_ENGINES;
        const uint64_t seq = gpu->Submit(engine, {}, VTTM_PKT_FLAG_IRQ);
        ASSERT_TRUE(gpu->WaitMessage(VTTM_MSIX_ENGINE(engine))) << "round " << i;
        ASSERT_TRUE(gpu->WaitFence(engine, seq));
        Acknowledge(engine);
    }
}

}  // namespace
}  // namespace vttm::qtest
