// SPDX-License-Identifier: Apache-2.0
// The engines' counters: what each counts, for whom, how they are read, and what a reset does.
#include <thread>

#include "tests/unit/model/mmu_machine.h"

namespace vttm::model::test {
namespace {

class Counters : public MmuTest {
protected:
    uint64_t count(unsigned e, uint32_t which) { return rd64(VTTM_COUNTER_BASE(e) + which); }
    std::array<uint64_t, VTTM_NUM_COUNTERS> all(unsigned e) {
        std::array<uint64_t, VTTM_NUM_COUNTERS> values;
        for (uint32_t i = 0; i < VTTM_NUM_COUNTERS; i++) values[i] = count(e, i * 8);
        return values;
    }
    // A number of the model's statistics of engine 0.
    uint64_t stat(const char* name) {
        return nlohmann::json::parse(stats()).at("engines").at("copy").at(name).get<uint64_t>();
    }
    void device_reset() {
        wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
        ASSERT_TRUE(wait_for([&] { return !rd(VTTM_REG_DEV_STATUS); }));
        inv_issued_ = 0;
    }
};

TEST_F(Counters, CountWhatTheyAreNamedFor) {
    constexpr uint64_t kPages = 3;
    ASSERT_TRUE(rd64(VTTM_REG_FEATURES_LO) & VTTM_FEATURE_COUNTERS);
    ASSERT_TRUE(wait_idle(0));
    const auto other = all(1);
    for (uint64_t i = 0; i < kPages; i++) tables_.set(root_, kVa + i * kPage, sys_pte(kFree));
    auto before = all(0);
    const auto grown = [&](uint32_t which) { return count(0, which) - before[which / 8]; };
    const auto fill_all = [&] {
        EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VM, kVa, kPages * kPage, 1)), 0u);
        ASSERT_TRUE(wait_idle(0));
    };
    fill_all();
    EXPECT_EQ(grown(VTTM_CNT_PACKETS), 2u) << "with the fence";
    EXPECT_EQ(grown(VTTM_CNT_BYTES), kPages * kPage);
    EXPECT_EQ(grown(VTTM_CNT_TLB_HITS), 0u);
    EXPECT_EQ(grown(VTTM_CNT_TLB_MISSES), kPages);
    EXPECT_EQ(grown(VTTM_CNT_ROOT_WALKS), 1u);
    EXPECT_EQ(grown(VTTM_CNT_WALK_HITS), kPages - 1);
    EXPECT_GT(grown(VTTM_CNT_BUSY_NS), 0u);
    EXPECT_EQ(grown(VTTM_CNT_FAULTS), 0u);
    EXPECT_EQ(grown(VTTM_CNT_STALE), 0u);

    before = all(0);
    tables_.set(root_, kVa + kPage, sys_pte(kFree + kPage));  // and no invalidation
    fill_all();
    EXPECT_EQ(grown(VTTM_CNT_TLB_HITS), kPages);
    EXPECT_EQ(grown(VTTM_CNT_TLB_MISSES), 0u);
    EXPECT_EQ(grown(VTTM_CNT_STALE), 1u);

    before = all(0);
    EXPECT_EQ(fill(kVa + 100 * kPage, 1), VTTM_FAULT_NOT_VALID);
    ASSERT_TRUE(wait_idle(0));
    EXPECT_EQ(grown(VTTM_CNT_FAULTS), 1u);
    EXPECT_EQ(grown(VTTM_CNT_PACKETS), 1u) << "only the fence";
    EXPECT_EQ(grown(VTTM_CNT_BYTES), 0u);
    EXPECT_EQ(grown(VTTM_CNT_TLB_MISSES), 1u);
    EXPECT_EQ(all(1), other) << "the other engine has done nothing";

    EXPECT_EQ(count(0, VTTM_CNT_FAULTS), rd(VTTM_REG_FAULT_COUNT));
    EXPECT_EQ(count(0, VTTM_CNT_STALE), rd(VTTM_REG_STALE_COUNT));
    EXPECT_EQ(count(0, VTTM_CNT_BYTES), rd64(VTTM_ENGINE_BASE(0) + VTTM_ENG_BYTES_LO));
    EXPECT_EQ(count(0, VTTM_CNT_PACKETS), eng(0, VTTM_ENG_PACKETS));
    const std::pair<uint32_t, const char*> names[] = {
        {VTTM_CNT_BUSY_NS, "busy_ns"},       {VTTM_CNT_BYTES, "bytes"},
        {VTTM_CNT_PACKETS, "packets"},       {VTTM_CNT_FAULTS, "faults"},
        {VTTM_CNT_STALE, "stale"},           {VTTM_CNT_TLB_HITS, "tlb_hits"},
        {VTTM_CNT_TLB_MISSES, "tlb_misses"}, {VTTM_CNT_ROOT_WALKS, "root_walks"},
        {VTTM_CNT_WALK_HITS, "walk_hits"}};
    ASSERT_EQ(std::size(names), VTTM_NUM_COUNTERS);
    for (const auto& [which, name] : names) EXPECT_EQ(count(0, which), stat(name)) << name;
}

TEST_F(Counters, AreReadInTwoWidthsAndNotWritten) {
    tables_.set(root_, kVa, sys_pte(kFree));
    EXPECT_EQ(fill(kVa, 1), 0u);
    ASSERT_TRUE(wait_idle(0));
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
        const auto values = all(e);
        for (uint32_t i = 0; i < VTTM_NUM_COUNTERS; i++) {
            const uint32_t at = VTTM_COUNTER_BASE(e) + i * 8;
            EXPECT_EQ(rd(at), lo(values[i]));
            EXPECT_EQ(rd(at + 4), hi(values[i]));
            wr(at, ~0u);
            wr(at + 4, ~0u);
            wr64(at, ~0ull);
        }
        EXPECT_EQ(all(e), values);
    }
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 0u);
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
        rd64(VTTM_COUNTER_BASE(e) + VTTM_NUM_COUNTERS * 8);
        wr(VTTM_COUNTER_BASE(e) + VTTM_NUM_COUNTERS * 8, 1);
        rd(VTTM_COUNTER_BASE(e) + 0xfc);
    }
    rd64(VTTM_COUNTER_BASE(VTTM_NUM_ENGINES));
    vttm_model_mmio_read(model_.get(), VTTM_COUNTER_BASE(0) + 4, 8);
    vttm_model_mmio_read(model_.get(), VTTM_COUNTER_BASE(0), 2);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 3 * VTTM_NUM_ENGINES + 3);
}

TEST_F(Counters, ADeviceResetClearsThemForTheGuestOnly) {
    EXPECT_EQ(fill(kVa, 1), VTTM_FAULT_NOT_VALID);
    tables_.set(root_, kVa, sys_pte(kFree));
    tables_.set(root_, kVa + kPage, sys_pte(kFree));
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VM, kVa, 2 * kPage, 1)), 0u);
    tables_.set(root_, kVa, sys_pte(kFree + kPage));
    EXPECT_EQ(fill(kVa, 1), 0u);
    ASSERT_TRUE(wait_idle(0));
    const auto values = all(0);
    for (uint64_t v : values) EXPECT_NE(v, 0u);
    const uint64_t host = stat("packets");
    reset_engine(0);
    EXPECT_EQ(all(0), values) << "an engine reset leaves them";
    device_reset();
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++)
        for (uint64_t v : all(e)) EXPECT_EQ(v, 0u);
    EXPECT_EQ(stat("packets"), host);

    setup_ring(0);
    wr64(VTTM_REG_VM_ROOT_LO(1), root_);
    put_set_vm(0, 1);
    EXPECT_EQ(fill(kVa, 1), 0u);
    ASSERT_TRUE(wait_idle(0));
    EXPECT_EQ(count(0, VTTM_CNT_PACKETS), 3u);
    EXPECT_EQ(count(0, VTTM_CNT_TLB_MISSES), 1u);
    EXPECT_EQ(count(0, VTTM_CNT_FAULTS), 0u);
}

TEST_F(Counters, TimeIsCountedOnlyAtWork) {
    EXPECT_EQ(fill(kVa, 1), VTTM_FAULT_NOT_VALID);
    ASSERT_TRUE(wait_idle(0));
    const uint64_t idle = count(0, VTTM_CNT_BUSY_NS);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(count(0, VTTM_CNT_BUSY_NS), idle);

    // Waits for an answer.
    wr(VTTM_REG_VM_MODE(1), VTTM_VM_MODE_RETRY);
    put_packet(0, fill_packet(VTTM_SPACE_VM, kVa, 4, 1));
    ring(0);
    ASSERT_TRUE(wait_for([&] { return eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
    const uint64_t stalled = count(0, VTTM_CNT_BUSY_NS);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(count(0, VTTM_CNT_BUSY_NS), stalled);
    EXPECT_EQ(count(0, VTTM_CNT_FAULTS), 2u);

    // Holds within a mapping: that is work. The time is told when the chunk ends.
    bus_.on_map([&](uint64_t, bool write) {
        if (write) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    });
    tables_.set(root_, kVa, sys_pte(kFree));
    eng_wr(0, VTTM_ENG_ANSWER, VTTM_ENG_ANSWER_VAL(eng(0, VTTM_ENG_STALL), VTTM_ENG_ANSWER_RETRY));
    EXPECT_EQ(finish(0), 0u);
    ASSERT_TRUE(wait_idle(0));
    bus_.on_map(nullptr);
    EXPECT_GE(count(0, VTTM_CNT_BUSY_NS), stalled + 20'000'000);
    EXPECT_LE(count(0, VTTM_CNT_BUSY_NS), rd64(VTTM_REG_TIMESTAMP_LO));
}

// Beyond 32 bits, and read all the time: never back, never torn.
TEST_F(Counters, Have64BitsThatDoNotTear) {
    constexpr uint64_t k2M = 1ull << VTTM_LEAF_2M_SHIFT, kLen = 1ull << 32;
    for (uint64_t at = 0; at < kLen; at += k2M)
        tables_.store(tables_.entry(root_, at, 1), vram_pte(0) | VTTM_PTE_LARGE);
    put_packet(0, fill_packet(VTTM_SPACE_VM, 0, kLen, 7));
    put_packet(0, fill_packet(VTTM_SPACE_VM, 0, k2M, 7));
    put_fence(0, ++seq_, false);
    ring(0);
    uint64_t last = 0, reads = 0;
    while (!(eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE)) {
        const uint64_t now = count(0, VTTM_CNT_BYTES);
        ASSERT_GE(now, last);
        ASSERT_LE(now, kLen + k2M);
        last = now;
        reads++;
    }
    EXPECT_EQ(count(0, VTTM_CNT_BYTES), kLen + k2M);
    EXPECT_EQ(rd(VTTM_COUNTER_BASE(0) + VTTM_CNT_BYTES + 4), 1u);
    EXPECT_GT(reads, 10u);
}

}  // namespace
}  // namespace vttm::model::test
