// SPDX-License-Identifier: Apache-2.0
// The page-walk cache: what it saves, what drops it, and that using a stale upper entry is seen.
#include "tests/unit/model/mmu_machine.h"

namespace vttm::model::test {
namespace {

class WalkCache : public MmuTest {
protected:
    // How many misses of the TLB began in the middle since the last call.
    uint64_t new_walk_hits() {
        const uint64_t now = mmu_stat("walk_hits");
        const uint64_t n = now - seen_;
        seen_ = now;
        return n;
    }
    uint64_t seen_ = 0;
};

TEST_F(WalkCache, NeighboursBeginInTheMiddle) {
    for (uint64_t i = 0; i < 4; i++) tables_.set(root_, kVa + i * kPage, sys_pte(kFree));
    EXPECT_EQ(fill(kVa, 1), 0u);
    EXPECT_EQ(new_walk_hits(), 0u);
    EXPECT_EQ(mmu_stat("walk_misses"), 1u);
    for (uint64_t i = 1; i < 4; i++) {
        EXPECT_EQ(fill(kVa + i * kPage, 1), 0u);
        EXPECT_EQ(new_walk_hits(), 1u);
    }
    EXPECT_EQ(fill(kVa, 2), 0u);
    EXPECT_EQ(new_walk_hits(), 0u) << "the TLB had it";
    // Another table of level 0, 1, 2, below what is known.
    for (uint64_t far : {2ull << 20, 1ull << 30, 1ull << 39}) {
        tables_.set(root_, kVa + far, sys_pte(kFree));
        EXPECT_EQ(fill(kVa + far, 1), 0u);
        EXPECT_EQ(new_walk_hits(), far == 1ull << 39 ? 0u : 1u);
    }
    // Another VM has a cache of its own.
    wr64(VTTM_REG_VM_ROOT_LO(2), root_);
    put_set_vm(0, 2);
    EXPECT_EQ(fill(kVa, 1), 0u);
    EXPECT_EQ(new_walk_hits(), 0u);
    EXPECT_EQ(stale(), 0u);
}

TEST_F(WalkCache, EntriesThatAreNotValidAreNotCached) {
    tables_.set(root_, kVa, sys_pte(kFree));
    for (int level = 3; level >= 1; level--) {
        uint64_t* e = tables_.entry(root_, kVa, level);
        const uint64_t good = *e;
        const uint64_t bads[] = {0, good | 1ull << 55, sys_pte(kRamSize)};
        for (uint64_t bad : bads) {
            tables_.store(e, bad);
            EXPECT_NE(fill(kVa, 1), 0u);
        }
        tables_.store(e, good);
    }
    EXPECT_EQ(fill(kVa, 1), 0u) << "making an entry valid needs no invalidation";
    EXPECT_EQ(stale(), 0u);
}

// A table moved without an invalidation: the old one is used, and that is said.
TEST_F(WalkCache, StaleUpperEntriesAreUsedAndReported) {
    uint32_t count = 0;
    for (int level = 3; level >= 1; level--) {
        // The walk of the first page caches what leads to the second; its leaf is in no TLB.
        const uint64_t va = kVa + (static_cast<uint64_t>(level) << 41);
        tables_.set(root_, va, sys_pte(kFree));
        tables_.set(root_, va + kPage, sys_pte(kFree + kPage));
        ASSERT_EQ(fill(va, 1), 0u);
        ASSERT_EQ(stale(), count);

        uint64_t* e = tables_.entry(root_, va, level);
        const uint64_t old = *e;
        tables_.store(e, 0);
        tables_.set(root_, va + kPage, sys_pte(kFree + 2 * kPage));  // through new tables
        ASSERT_NE(*e, old);
        bus_.clear_witness();
        EXPECT_EQ(fill(va + kPage, 5), 0u) << "level " << level;
        EXPECT_EQ(word(kFree + kPage), 5u) << "by the old table";
        EXPECT_EQ(stale(), ++count) << "level " << level;
        const auto log = bus_.witness();
        ASSERT_EQ(log.size(), 1u);
        EXPECT_EQ(log[0].kind, VTTM_WITNESS_STALE);
        EXPECT_EQ(log[0].va, va + kPage);
        EXPECT_EQ(log[0].phys, kFree + kPage);

        // Any page below is enough to drop the upper entry; the leaf goes with its own page.
        invalidate(VTTM_TLB_INV_RANGE, 1, va + kPage, 1);
        EXPECT_EQ(fill(va + kPage, 6), 0u);
        EXPECT_EQ(word(kFree + 2 * kPage), 6u) << "level " << level;
        EXPECT_EQ(stale(), count);
        *reinterpret_cast<uint32_t*>(bus_.ram(kFree + kPage)) = 0;
        *reinterpret_cast<uint32_t*>(bus_.ram(kFree + 2 * kPage)) = 0;
    }
}

TEST_F(WalkCache, AStaleTableMayAlsoLeadNowhere) {
    tables_.set(root_, kVa, sys_pte(kFree));
    ASSERT_EQ(fill(kVa, 1), 0u);
    uint64_t* e = tables_.entry(root_, kVa, 1);
    const uint64_t old = *e;
    tables_.store(e, 0);
    tables_.set(root_, kVa + kPage, sys_pte(kFree));
    bus_.clear_witness();
    expect_fault(fill(kVa + kPage, 1), VTTM_FAULT_NOT_VALID, true, kVa + kPage);
    EXPECT_EQ(stale(), 1u) << "the new table has it, the old one was asked";
    const auto log = bus_.witness();
    ASSERT_EQ(log.size(), 2u);
    EXPECT_EQ(log[0].kind, VTTM_WITNESS_STALE);
    EXPECT_EQ(log[0].phys, old & VTTM_PTE_ADDR) << "the old table";
    EXPECT_EQ(log[1].kind, VTTM_WITNESS_FAULT);
}

// A leaf of 2 MiB put in the place of a table.
TEST_F(WalkCache, ATableThatBecameALeafIsStale) {
    constexpr uint64_t k2M = 1ull << VTTM_LEAF_2M_SHIFT;
    const uint64_t base = kVa & ~(k2M - 1);
    tables_.set(root_, base, sys_pte(kFree + kPage));
    ASSERT_EQ(fill(base, 1), 0u);
    tables_.store(tables_.entry(root_, base, 1), sys_pte(2 * k2M) | VTTM_PTE_LARGE);
    expect_fault(fill(base + 5 * kPage, 1), VTTM_FAULT_NOT_VALID, true, base + 5 * kPage);
    EXPECT_EQ(stale(), 1u);
    invalidate(VTTM_TLB_INV_RANGE, 1, base, 1);
    EXPECT_EQ(fill(base + 5 * kPage, 7), 0u);
    EXPECT_EQ(word(2 * k2M + 5 * kPage), 7u);
    EXPECT_EQ(stale(), 1u);
}

TEST_F(WalkCache, EveryScopeDropsIt) {
    const struct {
        uint32_t scope, vm;
        uint64_t start;
        uint32_t pages;
        bool drops;
    } cases[] = {
        {VTTM_TLB_INV_ALL, 0, 0, 0, true},
        {VTTM_TLB_INV_VM, 1, 0, 0, true},
        {VTTM_TLB_INV_VM, 2, 0, 0, false},
        {VTTM_TLB_INV_RANGE, 1, kVa & ~0x1fffffull, 1, true},
        {VTTM_TLB_INV_RANGE, 1, kVa | 0x1ff000, 1, true},
        {VTTM_TLB_INV_RANGE, 2, kVa, 1, false},
        {VTTM_TLB_INV_RANGE, 1, kVa, 0, false},
        {VTTM_TLB_INV_RANGE, 1, kVa + (2 << 20), 1, false},  // the table beside it
    };
    uint64_t page = 0;
    for (const auto& c : cases) {
        tables_.set(root_, kVa + ++page * kPage, sys_pte(kFree));
        ASSERT_EQ(fill(kVa + page * kPage, 1), 0u);
        uint64_t* e = tables_.entry(root_, kVa, 1);
        const uint64_t good = *e;
        const uint32_t before = stale();
        tables_.store(e, 0);
        invalidate(c.scope, c.vm, c.start, c.pages);
        const uint64_t next = kVa + ++page * kPage;
        EXPECT_EQ(read_page(next), VTTM_FAULT_NOT_VALID);
        EXPECT_EQ(stale() - before, c.drops ? 0u : 1u)
            << c.scope << " vm " << c.vm << std::hex << " " << c.start;
        tables_.store(e, good);
        invalidate(VTTM_TLB_INV_ALL);
    }
}

TEST_F(WalkCache, ARootThatChangedIsStale) {
    tables_.set(root_, kVa, sys_pte(kFree));
    tables_.set(root_, kVa + kPage, sys_pte(kFree + kPage));
    ASSERT_EQ(fill(kVa, 1), 0u);
    wr64(VTTM_REG_VM_ROOT_LO(1), 0);
    EXPECT_EQ(fill(kVa + kPage, 2), 0u);
    EXPECT_EQ(stale(), 1u);
    invalidate(VTTM_TLB_INV_VM, 1);
    EXPECT_EQ(fill(kVa + kPage, 2), VTTM_FAULT_NO_VM);
    EXPECT_EQ(stale(), 1u);
}

// Like the TLB: an engine's reset leaves it, the device's does not.
TEST_F(WalkCache, Resets) {
    tables_.set(root_, kVa, sys_pte(kFree));
    tables_.set(root_, kVa + kPage, sys_pte(kFree));
    ASSERT_EQ(fill(kVa, 1), 0u);
    new_walk_hits();
    reset_engine(0);
    put_set_vm(0, 1);
    ASSERT_EQ(fill(kVa + kPage, 1), 0u);
    EXPECT_EQ(new_walk_hits(), 1u);
    vttm_model_reset(model_.get());
    setup_ring(0);
    wr64(VTTM_REG_VM_ROOT_LO(1), root_);
    put_set_vm(0, 1);
    ASSERT_EQ(fill(kVa + kPage, 1), 0u);
    EXPECT_EQ(new_walk_hits(), 0u);
}

}  // namespace
}  // namespace vttm::model::test
