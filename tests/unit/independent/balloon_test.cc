// SPDX-License-Identifier: Apache-2.0
// The VRAM balloon as a driver sees it; the host's side is QMP.
#include "tests/unit/independent/fixture.h"

namespace vttm::independent {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class Balloon : public IndependentDriver {
protected:
    MachineConfig config() const override {
        return {.vram = 256 * kMiB, .vram_visible = 32 * kMiB};
    }
    void HostWants(uint64_t bytes) {
        wire->Qmp(
            "qom-set",
            {{"path", "/machine/peripheral/vttm0"}, {"property", "vram-target"}, {"value", bytes}});
    }
    uint64_t HostSees() {
        return wire->Qmp("qom-get",
                         {{"path", "/machine/peripheral/vttm0"}, {"property", "vram-limit"}});
    }
    uint64_t Target() { return device->Rd64(VTTM_REG_VRAM_TARGET_LO); }
    uint64_t Limit() { return device->Rd64(VTTM_REG_VRAM_LIMIT_LO); }
    void SetLimit(uint64_t bytes) { device->Wr64(VTTM_REG_VRAM_LIMIT_LO, bytes); }
    /// Steps of at most 64 MiB from the top down, as the specification asks for.
    void Shrink(uint64_t to) {
        for (uint64_t at = Limit(); at > to;) {
            at = at - to > VTTM_VRAM_LIMIT_STEP ? at - VTTM_VRAM_LIMIT_STEP : to;
            SetLimit(at);
        }
    }
};

TEST_F(Balloon, RequestInterruptAckAndBack) {
    EXPECT_EQ(Target(), 256 * kMiB);
    EXPECT_EQ(Limit(), 256 * kMiB);
    device->Wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_VRAM);
    HostWants(96 * kMiB);
    ASSERT_TRUE(Poll([&] { return device->TakeInterrupt(VTTM_MSIX_VRAM); }));
    EXPECT_EQ(device->Rd(VTTM_REG_IRQ_STATUS), VTTM_IRQ_VRAM);
    device->Wr(VTTM_REG_IRQ_STATUS, VTTM_IRQ_VRAM);
    EXPECT_EQ(Target(), 96 * kMiB);
    EXPECT_EQ(Limit(), 256 * kMiB) << "nobody takes it by force";
    EXPECT_EQ(copy->Run(Program().Fill(Vram(200 * kMiB), 8, 1)), 0u);

    Shrink(Target());
    EXPECT_EQ(Limit(), 96 * kMiB);
    EXPECT_EQ(HostSees(), 96 * kMiB);
    EXPECT_EQ(device->Rd64(VTTM_REG_VRAM_SIZE_LO), 256 * kMiB) << "SIZE stays";
    EXPECT_EQ(copy->Run(Program().Fill(Vram(96 * kMiB - 8), 8, 1)), 0u);
    OneFault(*copy, Program().Fill(Vram(96 * kMiB), 8, 1), VTTM_FAULT_VRAM_RANGE);
    OneFault(*copy, Program().Fill(Vram(96 * kMiB - 4), 8, 1), VTTM_FAULT_VRAM_RANGE);

    HostWants(128 * kMiB);
    ASSERT_TRUE(Poll([&] { return device->TakeInterrupt(VTTM_MSIX_VRAM); }));
    SetLimit(Target());
    EXPECT_EQ(Limit(), 128 * kMiB);
    EXPECT_EQ(HostSees(), 128 * kMiB);
    EXPECT_EQ(copy->Run(Program().Fill(Vram(128 * kMiB - 8), 8, 1)), 0u);
}

TEST_F(Balloon, WhatTheTlbHoldsDoesNotReachWhatWasGivenUp) {
    AddressSpace vm(*device, 3);
    vm.Map(0x200000, Vram(254 * kMiB), 2 * kMiB, Leaf::k2M);
    EXPECT_EQ(copy->Run(Program().SetVm(3).Fill(Virtual(0x200000), 8, 1)), 0u);
    HostWants(200 * kMiB);
    Shrink(200 * kMiB);
    EXPECT_EQ(
        OneFault(*copy, Program().SetVm(3).Fill(Virtual(0x200000), 8, 1), VTTM_FAULT_VRAM_RANGE)
            .addr,
        0x200000u);
}

TEST_F(Balloon, WritesThatAreRefused) {
    const auto refused = [&](uint64_t bytes, const char* what) {
        const uint64_t before = Limit();
        SetLimit(bytes);
        EXPECT_EQ(Limit(), before) << what;
        EXPECT_EQ(device->Rd(VTTM_REG_BAD_ACCESS), ++bad_accesses) << what;
    };
    refused(255 * kMiB, "no multiple of 2 MiB");
    refused(258 * kMiB, "beyond VRAM");
    refused(256 * kMiB - VTTM_VRAM_LIMIT_STEP - 2 * kMiB, "more than a step at once");
    HostWants(128 * kMiB);
    Shrink(128 * kMiB);
    refused(130 * kMiB, "more than the host leaves");
    SetLimit(126 * kMiB);  // less than asked for is the guest's choice
    EXPECT_EQ(Limit(), 126 * kMiB);
    device->Wr(VTTM_REG_VRAM_LIMIT_LO, 124 * kMiB);  // 4 bytes: HI stays
    EXPECT_EQ(Limit(), 124 * kMiB);
}

TEST_F(Balloon, AResetGivesAllBackAndTheTargetStays) {
    HostWants(192 * kMiB);
    Shrink(192 * kMiB);
    ASSERT_TRUE(device->Reset());
    EXPECT_EQ(Limit(), 256 * kMiB);
    EXPECT_EQ(Target(), 192 * kMiB) << "a driver looks at it after a reset";
}

}  // namespace
}  // namespace vttm::independent
