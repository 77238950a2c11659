// SPDX-License-Identifier: Apache-2.0
// Performance counters: what a page, a leaf, a packet and a fault add.
#include "tests/unit/independent/fixture.h"

namespace vttm::independent {
namespace {

constexpr uint64_t kVa = 0x5000000000;
constexpr uint64_t kChunk = 256 << 10;

class Counters : public IndependentDriver {
protected:
    std::array<uint64_t, VTTM_NUM_COUNTERS> All(unsigned engine = VTTM_ENGINE_COPY) {
        std::array<uint64_t, VTTM_NUM_COUNTERS> out{};
        for (uint32_t i = 0; i < VTTM_NUM_COUNTERS; i++) out[i] = device->Counter(engine, 8 * i);
        return out;
    }
    /// What a program adds, once the ring is idle; the FENCE counts with it.
    std::array<uint64_t, VTTM_NUM_COUNTERS> Cost(Ring& ring, const Program& p,
                                                 unsigned engine = VTTM_ENGINE_COPY) {
        const auto before = All(engine);
        EXPECT_EQ(ring.Run(p), 0u);
        EXPECT_TRUE(ring.WaitIdle());
        auto after = All(engine);
        for (uint32_t i = 0; i < VTTM_NUM_COUNTERS; i++) after[i] -= before[i];
        return after;
    }
    static uint64_t Of(const std::array<uint64_t, VTTM_NUM_COUNTERS>& c, uint32_t which) {
        return c[which / 8];
    }
};

TEST_F(Counters, TranslationsOfSmallAndLargeLeaves) {
    AddressSpace vm(*device, 8);
    vm.Map(kVa, Vram(device->AllocVram(4 * VTTM_PAGE_SIZE)), 4 * VTTM_PAGE_SIZE);
    const Program p = Program().SetVm(8).Fill(Virtual(kVa), 4 * VTTM_PAGE_SIZE, 1);
    auto cost = Cost(*copy, p);
    EXPECT_EQ(Of(cost, VTTM_CNT_TLB_MISSES), 4u);
    EXPECT_EQ(Of(cost, VTTM_CNT_ROOT_WALKS), 1u);
    EXPECT_EQ(Of(cost, VTTM_CNT_WALK_HITS), 3u);
    EXPECT_EQ(Of(cost, VTTM_CNT_TLB_HITS), 0u);
    EXPECT_EQ(Of(cost, VTTM_CNT_BYTES), 4 * VTTM_PAGE_SIZE);
    EXPECT_EQ(Of(cost, VTTM_CNT_PACKETS), 3u);
    EXPECT_GT(Of(cost, VTTM_CNT_BUSY_NS), 0u);
    cost = Cost(*copy, p);
    EXPECT_EQ(Of(cost, VTTM_CNT_TLB_MISSES), 0u);
    EXPECT_EQ(Of(cost, VTTM_CNT_TLB_HITS), 4u);

    // A large leaf: one translation per chunk.
    const uint64_t va = kVa + (2 << 20);
    vm.Map(va, Vram(device->AllocVram(2 << 20, 2 << 20)), 2 << 20, Leaf::k2M);
    cost = Cost(*copy, Program().SetVm(8).Fill(Virtual(va), 4 * kChunk, 1));
    EXPECT_EQ(Of(cost, VTTM_CNT_TLB_MISSES), 1u);
    EXPECT_EQ(Of(cost, VTTM_CNT_TLB_HITS), 3u);
    ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_VM, 8));
    cost = Cost(*copy, Program().SetVm(8).Fill(Virtual(va), 4, 1));
    EXPECT_EQ(Of(cost, VTTM_CNT_ROOT_WALKS), 1u)
        << "an invalidation empties the page-walk cache, too";
    const auto all = All();
    EXPECT_EQ(Of(all, VTTM_CNT_TLB_MISSES),
              Of(all, VTTM_CNT_ROOT_WALKS) + Of(all, VTTM_CNT_WALK_HITS));
}

TEST_F(Counters, FaultsAndPacketsOfAJobThatFails) {
    const auto before = All();
    OneFault(*copy, Program().SetVm(0).Fill(Vram(1), 4, 0).Nop().Fill(Vram(0), 4, 0),
             VTTM_FAULT_BAD_PACKET);
    const auto after = All();
    EXPECT_EQ(Of(after, VTTM_CNT_FAULTS) - Of(before, VTTM_CNT_FAULTS), 1u);
    EXPECT_EQ(Of(after, VTTM_CNT_PACKETS) - Of(before, VTTM_CNT_PACKETS), 2u) << "SET_VM and FENCE";
    EXPECT_EQ(Of(after, VTTM_CNT_BYTES), Of(before, VTTM_CNT_BYTES));
    EXPECT_EQ(Of(All(VTTM_ENGINE_STAMP), VTTM_CNT_FAULTS), 0u) << "the other engine's";
}

TEST_F(Counters, RegistersAndCountersAgree) {
    EXPECT_EQ(copy->Run(Program().Fill(Vram(0), 4096, 0)), 0u);
    ASSERT_TRUE(copy->WaitIdle());
    EXPECT_EQ(device->Counter(VTTM_ENGINE_COPY, VTTM_CNT_BYTES), copy->Rd64(VTTM_ENG_BYTES_LO));
    EXPECT_EQ(device->Counter(VTTM_ENGINE_COPY, VTTM_CNT_PACKETS), copy->Rd(VTTM_ENG_PACKETS));
    device->Wr64(VTTM_COUNTER_BASE(VTTM_ENGINE_COPY) + VTTM_CNT_BYTES, 0);
    EXPECT_EQ(device->Counter(VTTM_ENGINE_COPY, VTTM_CNT_BYTES), 4096u) << "writes are ignored";
    ASSERT_TRUE(copy->Reset(VTTM_ENG_CTRL_RESET));
    EXPECT_EQ(device->Counter(VTTM_ENGINE_COPY, VTTM_CNT_BYTES), 4096u)
        << "an engine reset leaves them";
}

TEST_F(Counters, TimeAtAWaitIsNotBusyTime) {
    const Place word = System(device->AllocSystem(VTTM_PAGE_SIZE));
    const uint64_t busy = device->Counter(VTTM_ENGINE_COPY, VTTM_CNT_BUSY_NS);
    copy->Put(Program().Wait(word, 1, VTTM_CMP_EQ));
    const uint64_t seq = copy->Fence();
    ASSERT_TRUE(copy->WaitStatus(VTTM_ENG_STATUS_WAITING));
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    device->Write64(word, 1);
    ASSERT_TRUE(copy->WaitFence(seq));
    ASSERT_TRUE(copy->WaitIdle());
    EXPECT_LT(device->Counter(VTTM_ENGINE_COPY, VTTM_CNT_BUSY_NS) - busy, 50'000'000u);
}

}  // namespace
}  // namespace vttm::independent
