// SPDX-License-Identifier: Apache-2.0
// VRAM that the host asks back: VRAM_TARGET, VRAM_LIMIT, and what engines may still reach.
#include <gmock/gmock.h>

#include "tests/unit/model/mmu_machine.h"

namespace vttm::model::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;

constexpr uint64_t kUnit = VTTM_VRAM_LIMIT_UNIT;
constexpr uint64_t kKept = kVramSize - 2 * kUnit;

class VramBalloonTest : public MmuTest {
protected:
    bool ask(uint64_t bytes) { return vttm_model_set_vram_target(model_.get(), bytes) == 0; }
    uint64_t target() { return rd64(VTTM_REG_VRAM_TARGET_LO); }
    uint64_t limit() { return rd64(VTTM_REG_VRAM_LIMIT_LO); }
    void keep(uint64_t bytes) { wr64(VTTM_REG_VRAM_LIMIT_LO, bytes); }
    uint32_t refused() { return rd(VTTM_REG_BAD_ACCESS); }
    uint32_t fill_vram(uint64_t offset) {
        return run(VTTM_ENGINE_COPY, fill_packet(VTTM_SPACE_VRAM, offset, kPage, 0x77));
    }
};

TEST_F(VramBalloonTest, AllIsOfferedAndKeptAtFirst) {
    EXPECT_TRUE(rd(VTTM_REG_FEATURES_LO) & VTTM_FEATURE_VRAM_BALLOON);
    EXPECT_EQ(target(), kVramSize);
    EXPECT_EQ(limit(), kVramSize);
    EXPECT_EQ(vttm_model_vram_target(model_.get()), kVramSize);
    EXPECT_EQ(vttm_model_vram_limit(model_.get()), kVramSize);
}

TEST_F(VramBalloonTest, TheHostsWishIsAnInterruptAndTakesNothing) {
    wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_VRAM);
    EXPECT_TRUE(ask(kKept));
    EXPECT_TRUE(bus_.wait_irq(VTTM_MSIX_VRAM, 1));
    EXPECT_EQ(rd(VTTM_REG_IRQ_STATUS), VTTM_IRQ_VRAM);
    EXPECT_EQ(target(), kKept);
    EXPECT_EQ(limit(), kVramSize);
    EXPECT_EQ(fill_vram(kKept), 0u);
    EXPECT_TRUE(ask(kKept));  // nothing new
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_VRAM), 1u);
    EXPECT_THAT(bus_.given_up(), IsEmpty());
}

TEST_F(VramBalloonTest, AWishThatCannotBeIsRefused) {
    for (uint64_t wrong : {kVramSize + kUnit, kKept + kPage, uint64_t{1}, ~uint64_t{0}})
        EXPECT_FALSE(ask(wrong)) << wrong;
    EXPECT_EQ(target(), kVramSize);
    EXPECT_TRUE(ask(0));
    EXPECT_EQ(target(), 0u);
}

TEST_F(VramBalloonTest, TheGuestWritesNoTarget) {
    wr64(VTTM_REG_VRAM_TARGET_LO, kKept);
    EXPECT_EQ(target(), kVramSize);
    EXPECT_EQ(refused(), 0u);  // read only, as other registers are
}

TEST_F(VramBalloonTest, WhatWasGivenUpIsOutOfReach) {
    ask(kKept);
    keep(kKept);
    EXPECT_EQ(limit(), kKept);
    EXPECT_EQ(vttm_model_vram_limit(model_.get()), kKept);
    EXPECT_THAT(bus_.given_up(), ElementsAre(Pair(kKept, kVramSize - kKept)));
    EXPECT_EQ(fill_vram(kKept - kPage), 0u);
    EXPECT_EQ(fill_vram(kKept), uint32_t{VTTM_FAULT_VRAM_RANGE});
    EXPECT_EQ(fill_vram(kKept - kPage / 2), uint32_t{VTTM_FAULT_VRAM_RANGE}) << "half of it";
}

// A translation from before, still in the TLB, is as good as a new one: not at all.
TEST_F(VramBalloonTest, CachedTranslationsDoNotReachItEither) {
    tables_.set(root_, kVa, vram_pte(kKept));
    EXPECT_EQ(fill(kVa, 1), 0u);
    keep(kKept);
    expect_fault(fill(kVa, 2), VTTM_FAULT_VRAM_RANGE, true, kVa);
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.vram(kKept)), 1u);
    invalidate(VTTM_TLB_INV_ALL);
    expect_fault(fill(kVa, 2), VTTM_FAULT_VRAM_RANGE, true, kVa);
}

TEST_F(VramBalloonTest, NobodyTakesMoreBackThanIsOffered) {
    ask(kKept);
    keep(kKept - kUnit);
    keep(kVramSize);
    EXPECT_EQ(limit(), kKept - kUnit);
    EXPECT_EQ(refused(), 1u);
    keep(kKept);
    EXPECT_EQ(limit(), kKept);
    EXPECT_EQ(fill_vram(kKept - kPage), 0u);
    ask(kVramSize);
    keep(kVramSize);
    EXPECT_EQ(limit(), kVramSize);
    EXPECT_THAT(bus_.given_up(), ElementsAre(Pair(kKept - kUnit, 3 * kUnit))) << "once";
}

// What one write may free is bounded, whatever the size of VRAM.
TEST_F(VramBalloonTest, NoWriteGivesUpMoreThanAStep) {
    constexpr uint64_t kBig = VTTM_VRAM_LIMIT_STEP + 2 * kUnit;
    FakeBus bus(kRamSize, kBig);
    vttm_model_config config{};
    config.api = VTTM_MODEL_API;
    config.vram = bus.vram();
    config.vram_size = kBig;
    config.vram_visible = kUnit;
    const vttm_model_ops ops = bus.ops();
    const ModelPtr model(vttm_model_create(&config, &ops, &bus, nullptr, 0));
    ASSERT_TRUE(model);
    const auto keep_of_big = [&](uint64_t bytes) {
        vttm_model_mmio_write(model.get(), VTTM_REG_VRAM_LIMIT_LO, bytes, 8);
        return vttm_model_vram_limit(model.get());
    };
    EXPECT_EQ(keep_of_big(kUnit), kBig) << "a unit too much";
    EXPECT_EQ(keep_of_big(2 * kUnit), 2 * kUnit);
    EXPECT_EQ(keep_of_big(0), 0u);
    EXPECT_THAT(bus.given_up(),
                ElementsAre(Pair(2 * kUnit, uint64_t{VTTM_VRAM_LIMIT_STEP}), Pair(0, 2 * kUnit)));
}

// Who never gave anything up may give up less than was asked for, or more.
TEST_F(VramBalloonTest, TheGuestDecidesHowMuch) {
    ask(kUnit);
    keep(kVramSize - kUnit);
    EXPECT_EQ(limit(), kVramSize - kUnit);
    keep(0);
    EXPECT_EQ(limit(), 0u);
    EXPECT_EQ(fill_vram(0), uint32_t{VTTM_FAULT_VRAM_RANGE});
}

TEST_F(VramBalloonTest, OddLimitsAreRefused) {
    for (uint64_t wrong : {kUnit + kPage, kVramSize + kUnit, ~uint64_t{0}}) keep(wrong);
    wr(VTTM_REG_VRAM_LIMIT_LO, kPage);
    wr(VTTM_REG_VRAM_LIMIT_HI, 1);
    EXPECT_EQ(limit(), kVramSize);
    EXPECT_EQ(refused(), 5u);
    wr(VTTM_REG_VRAM_LIMIT_LO, kKept);
    EXPECT_EQ(limit(), kKept);
}

TEST_F(VramBalloonTest, AResetGivesAllBackButTheWishStays) {
    ask(kKept);
    keep(kKept);
    wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    ASSERT_TRUE(wait_for([&] { return !(rd(VTTM_REG_DEV_STATUS) & VTTM_DEV_STATUS_RESETTING); }));
    EXPECT_EQ(limit(), kVramSize);
    EXPECT_EQ(target(), kKept);
    EXPECT_EQ(rd(VTTM_REG_IRQ_STATUS), 0u);
}

// The limit changes while engines are at work: no access goes wrong, whatever each of them meets.
TEST_F(VramBalloonTest, LimitsThatMoveUnderARunningEngine) {
    std::atomic<bool> stop{false};
    std::thread guest([&] {
        for (uint64_t i = 0; !stop; i++) keep(i % 2 ? kKept : kVramSize);
    });
    std::thread host([&] {
        for (uint64_t i = 0; !stop; i++) ask(i % 3 ? kVramSize : kKept);
    });
    for (int i = 0; i < 200; i++) {
        const uint32_t status = fill_vram(kKept);
        EXPECT_TRUE(status == 0 || status == VTTM_FAULT_VRAM_RANGE) << status;
        EXPECT_EQ(fill_vram(0), 0u);
    }
    stop = true;
    guest.join();
    host.join();
}

}  // namespace
}  // namespace vttm::model::test
