// SPDX-License-Identifier: Apache-2.0
// Leaves of 64 KiB and 2 MiB, and leaves without access.
#include <functional>

#include "tests/unit/model/mmu_machine.h"

namespace vttm::model::test {
namespace {

constexpr uint64_t k64K = 1ull << VTTM_LEAF_64K_SHIFT;
constexpr uint64_t k2M = 1ull << VTTM_LEAF_2M_SHIFT;
constexpr uint64_t kBase = 0x123456600000;  // VA, multiple of 2 MiB
constexpr uint64_t kMemory = 2 * k2M;       // bus address, multiple of 2 MiB, and kFree
static_assert(kBase % k2M == 0 && kMemory % k2M == 0 && kMemory >= kFree);

class LargeLeaf : public MmuTest {
protected:
    explicit LargeLeaf(uint32_t tlb_entries = 0) : MmuTest(tlb_entries) {}

    uint64_t* entry(uint64_t va, int level) { return tables_.entry(root_, va, level); }
    void map_2m(uint64_t va, uint64_t pte) { tables_.store(entry(va, 1), pte | VTTM_PTE_LARGE); }
    // @pte: of the first of the 16 pages.
    void map_64k(uint64_t va, uint64_t pte) {
        for (uint64_t i = 0; i < k64K; i += kPage)
            tables_.set(root_, va + i, (pte + i) | VTTM_PTE_LARGE);
    }
    void map_4k(uint64_t va, uint64_t pte, uint64_t bytes) {
        for (uint64_t i = 0; i < bytes; i += kPage) tables_.set(root_, va + i, pte + i);
    }
    uint32_t fill_all(uint64_t va, uint64_t len, uint32_t value) {
        return run(0, fill_packet(VTTM_SPACE_VM, va, len, value));
    }
    // Whether exactly [@addr, @addr + @len) of system memory behind kMemory holds @value.
    bool only_holds(uint64_t addr, uint64_t len, uint32_t value) {
        for (uint64_t a = kMemory; a < kMemory + 2 * k2M; a += 4)
            if ((word(a) == value) != (a >= addr && a - addr < len)) return false;
        return true;
    }
};

TEST_F(LargeLeaf, A2MLeafIsAllOfItsRange) {
    map_2m(kBase, sys_pte(kMemory));
    EXPECT_EQ(fill_all(kBase, k2M, 7), 0u);
    EXPECT_TRUE(only_holds(kMemory, k2M, 7));
    EXPECT_EQ(fill_all(kBase + 0x12344, 0x4568, 8), 0u);
    EXPECT_TRUE(only_holds(kMemory + 0x12344, 0x4568, 8));
    EXPECT_EQ(mmu_stat("fills_2m"), 1u);
    EXPECT_EQ(mmu_stat("misses"), 1u) << "one leaf is one entry of the TLB";
    expect_fault(fill_all(kBase + k2M - 4, 8, 9), VTTM_FAULT_NOT_VALID, true, kBase + k2M);
}

TEST_F(LargeLeaf, A64KLeafIsAllOfItsRange) {
    map_64k(kBase + 3 * k64K, sys_pte(kMemory + 5 * k64K));
    EXPECT_EQ(fill_all(kBase + 3 * k64K, k64K, 7), 0u);
    EXPECT_TRUE(only_holds(kMemory + 5 * k64K, k64K, 7));
    EXPECT_EQ(fill_all(kBase + 3 * k64K + 0x7ffc, 8, 8), 0u);
    EXPECT_TRUE(only_holds(kMemory + 5 * k64K + 0x7ffc, 8, 8));
    EXPECT_EQ(mmu_stat("fills_64k"), 1u);
    EXPECT_EQ(mmu_stat("misses"), 1u);
    expect_fault(fill(kBase + 4 * k64K, 1), VTTM_FAULT_NOT_VALID, true, kBase + 4 * k64K);
    expect_fault(fill(kBase + 3 * k64K - 4, 1), VTTM_FAULT_NOT_VALID, true, kBase + 3 * k64K - 4);
}

TEST_F(LargeLeaf, LeavesInVram) {
    map_2m(kBase, vram_pte(k2M));
    map_64k(kBase + k2M, vram_pte(2 * k2M + k64K));
    EXPECT_EQ(fill_all(kBase, k2M, 5), 0u);
    EXPECT_EQ(fill_all(kBase + k2M, k64K, 6), 0u);
    auto at = [&](uint64_t off) { return *reinterpret_cast<uint32_t*>(bus_.vram(off)); };
    EXPECT_EQ(at(k2M - 4), 0u);
    EXPECT_EQ(at(k2M), 5u);
    EXPECT_EQ(at(2 * k2M - 4), 5u);
    EXPECT_EQ(at(2 * k2M), 0u);
    EXPECT_EQ(at(2 * k2M + k64K - 4), 0u);
    EXPECT_EQ(at(2 * k2M + k64K), 6u);
    EXPECT_EQ(at(2 * k2M + 2 * k64K - 4), 6u);
    EXPECT_EQ(at(2 * k2M + 2 * k64K), 0u);
    map_2m(kBase + 2 * k2M, vram_pte(kVramSize));
    expect_fault(fill(kBase + 2 * k2M, 1), VTTM_FAULT_VRAM_RANGE, true, kBase + 2 * k2M);
}

// All three sizes behind each other, in one packet, across their borders, by both engines.
TEST_F(LargeLeaf, SizesMixInOneRange) {
    const uint64_t va = kBase + k2M - k64K - 4 * kPage;
    map_4k(va, sys_pte(kMemory + k2M + k64K), 4 * kPage);
    map_64k(kBase + k2M - k64K, sys_pte(kMemory + k2M));
    map_2m(kBase + k2M, sys_pte(kMemory));
    const uint32_t pages = 4 + 16 + 512;
    put_set_vm(1, 1);
    EXPECT_EQ(run(1, stamp_packet(false, VTTM_SPACE_VM, va, pages, {9, 0, 1, 1})), 0u);
    EXPECT_EQ(run(1, stamp_packet(true, VTTM_SPACE_VM, va, pages, {9, 0, 1, 1})), 0u);
    EXPECT_EQ(result().good, pages);
    // Where each page really lies is in the witness log.
    uint64_t seen = 0;
    for (const auto& rec : bus_.witness()) {
        for (uint64_t i = 0; i < rec.npages; i++, seen++) {
            const uint64_t page = rec.page + i;
            const uint64_t want = page < 4    ? kMemory + k2M + k64K + page * kPage
                                  : page < 20 ? kMemory + k2M + (page - 4) * kPage
                                              : kMemory + (page - 20) * kPage;
            ASSERT_EQ(rec.phys + i * kPage, want) << "page " << page;
        }
    }
    EXPECT_EQ(seen, 2u * pages);
    EXPECT_EQ(mmu_stat("fills_4k"), 4u);
    EXPECT_EQ(mmu_stat("fills_64k"), 1u);
    EXPECT_EQ(mmu_stat("fills_2m"), 1u);
    EXPECT_EQ(stale(), 0u);
}

TEST_F(LargeLeaf, RightsHoldForAllSizes) {
    map_2m(kBase, sys_pte(kMemory, false));
    map_64k(kBase + k2M, sys_pte(kMemory, false));
    for (uint64_t va : {kBase + k2M - kPage, kBase + k2M + k64K - kPage}) {
        EXPECT_EQ(read_page(va), 0u);
        expect_fault(fill(va, 1), VTTM_FAULT_READ_ONLY, true, va);
    }
    EXPECT_TRUE(only_holds(0, 0, 1));
}

TEST_F(LargeLeaf, NoAccessIsNeitherReadNorWritten) {
    const uint64_t guard = VTTM_PTE_VALID | VTTM_PTE_NO_ACCESS;
    tables_.set(root_, kBase, guard);
    map_64k(kBase + k64K, guard);
    map_2m(kBase + k2M, guard);
    // Neither WRITE nor a place in memory helps, nor does a place that is none hurt.
    tables_.set(root_, kBase + kPage, sys_pte(kMemory) | VTTM_PTE_NO_ACCESS);
    tables_.set(root_, kBase + 2 * kPage, vram_pte(kVramSize) | VTTM_PTE_NO_ACCESS);
    for (uint64_t va : {kBase, kBase + k64K + 5 * kPage, kBase + k2M + 300 * kPage, kBase + kPage,
                        kBase + 2 * kPage}) {
        expect_fault(fill(va, 1), VTTM_FAULT_NO_ACCESS, true, va);
        expect_fault(read_page(va), VTTM_FAULT_NO_ACCESS, false, va);
    }
    EXPECT_TRUE(only_holds(0, 0, 1));
    EXPECT_EQ(stale(), 0u);
    // It is a valid leaf: cached, so that access needs an invalidation.
    tables_.set(root_, kBase, sys_pte(kMemory));
    expect_fault(fill(kBase, 1), VTTM_FAULT_NO_ACCESS, true, kBase);
    EXPECT_EQ(stale(), 1u);
    invalidate(VTTM_TLB_INV_RANGE, 1, kBase, 1);
    EXPECT_EQ(fill(kBase, 1), 0u);
    // It is a property of leaves.
    for (int level = 3; level >= 1; level--) {
        const uint64_t va = kBase + 5 * k2M;
        tables_.set(root_, va, sys_pte(kMemory));
        uint64_t* e = entry(va, level);
        const uint64_t good = *e;
        tables_.store(e, good | VTTM_PTE_NO_ACCESS);
        invalidate(VTTM_TLB_INV_ALL);
        expect_fault(fill(va, 1), VTTM_FAULT_RESERVED_BITS, true, va);
        tables_.store(e, good);
    }
}

TEST_F(LargeLeaf, AtTheWrongLevel) {
    tables_.set(root_, kBase, sys_pte(kMemory));
    for (int level : {3, 2}) {
        uint64_t* e = entry(kBase, level);
        const uint64_t good = *e;
        tables_.store(e, sys_pte(0) | VTTM_PTE_LARGE);
        expect_fault(fill(kBase, 1), VTTM_FAULT_LEAF_LEVEL, true, kBase);
        tables_.store(e, good);
    }
    invalidate(VTTM_TLB_INV_VM, 1);
    wr64(VTTM_REG_VM_ROOT_LO(1), root_ | VTTM_PTE_LARGE);
    expect_fault(fill(kBase, 1), VTTM_FAULT_LEAF_LEVEL, true, kBase);
    wr64(VTTM_REG_VM_ROOT_LO(1), root_ | VTTM_PTE_NO_ACCESS);
    expect_fault(fill(kBase, 1), VTTM_FAULT_RESERVED_BITS, true, kBase);
}

// Reserved bits come before the level, and NO_ACCESS is one of them wherever no leaf can be.
TEST_F(LargeLeaf, WithoutAccessAtTheWrongLevel) {
    constexpr uint64_t kBoth = VTTM_PTE_LARGE | VTTM_PTE_NO_ACCESS, kValid = VTTM_PTE_VALID;
    tables_.set(root_, kBase, sys_pte(kMemory));
    for (int level : {3, 2}) {
        uint64_t* e = entry(kBase, level);
        const uint64_t good = *e;
        for (uint64_t bad : {good | kBoth, sys_pte(0) | kBoth, kValid | kBoth}) {
            tables_.store(e, bad);
            expect_fault(fill(kBase, 1), VTTM_FAULT_RESERVED_BITS, true, kBase);
            expect_fault(read_page(kBase), VTTM_FAULT_RESERVED_BITS, false, kBase);
        }
        tables_.store(e, kBoth);
        expect_fault(fill(kBase, 1), VTTM_FAULT_NOT_VALID, true, kBase);
        tables_.store(e, good);
    }
    // At level 1 it is a leaf, and its address comes before its rights.
    uint64_t* e = entry(kBase, 1);
    const uint64_t good = *e;
    tables_.store(e, sys_pte(kMemory + kPage) | kBoth);
    expect_fault(fill(kBase, 1), VTTM_FAULT_LEAF_ALIGN, true, kBase);
    tables_.store(e, sys_pte(kMemory) | kBoth);
    expect_fault(fill(kBase, 1), VTTM_FAULT_NO_ACCESS, true, kBase);
    tables_.store(e, good);
    invalidate(VTTM_TLB_INV_VM, 1);
    wr64(VTTM_REG_VM_ROOT_LO(1), root_ | kBoth);
    expect_fault(fill(kBase, 1), VTTM_FAULT_RESERVED_BITS, true, kBase);
    EXPECT_EQ(stale(), 0u);
}

TEST_F(LargeLeaf, AddressesThatDoNotFit) {
    for (uint64_t off : {kPage, k64K, k2M / 2, k2M - kPage}) {
        map_2m(kBase, sys_pte(kMemory + off));
        expect_fault(fill(kBase, 1), VTTM_FAULT_LEAF_ALIGN, true, kBase);
        map_2m(kBase, vram_pte(off));
        expect_fault(read_page(kBase + k2M - kPage), VTTM_FAULT_LEAF_ALIGN, false,
                     kBase + k2M - kPage);
    }
    for (uint64_t off : {kPage, 8 * kPage, 15 * kPage}) {
        map_64k(kBase + k2M, sys_pte(kMemory + off));
        for (uint64_t i = 0; i < 16; i++)
            expect_fault(fill(kBase + k2M + i * kPage, 1), VTTM_FAULT_LEAF_ALIGN, true,
                         kBase + k2M + i * kPage);
    }
    // One LARGE entry that nothing else agrees with, wherever it is.
    map_4k(kBase + 2 * k2M, sys_pte(kMemory), k64K);
    tables_.set(root_, kBase + 2 * k2M + 3 * kPage, sys_pte(kMemory) | VTTM_PTE_LARGE);
    expect_fault(fill(kBase + 2 * k2M + 3 * kPage, 1), VTTM_FAULT_LEAF_ALIGN, true,
                 kBase + 2 * k2M + 3 * kPage);
    EXPECT_EQ(fill(kBase + 2 * k2M, 1), 0u) << "its neighbours are leaves of their own";
    EXPECT_EQ(mmu_stat("fills_64k") + mmu_stat("fills_2m"), 0u);
}

TEST_F(LargeLeaf, EntriesThatDoNotAgree) {
    const uint64_t va = kBase + 7 * k64K;
    const uint64_t pte = sys_pte(kMemory + k64K) | VTTM_PTE_LARGE;
    for (uint64_t odd = 0; odd < 16; odd++) {
        const uint64_t good = pte + odd * kPage;
        const uint64_t bads[] = {0,
                                 good & ~VTTM_PTE_LARGE,
                                 good & ~VTTM_PTE_WRITE,
                                 good & ~VTTM_PTE_SYSTEM,
                                 good + k64K,
                                 good ^ kPage,
                                 good | VTTM_PTE_NO_ACCESS,
                                 good | 1ull << 60};
        for (uint64_t bad : bads) {
            map_64k(va, pte);
            tables_.set(root_, va + odd * kPage, bad);
            const uint64_t other = va + (odd + 5) % 16 * kPage;
            expect_fault(fill(other, 1), VTTM_FAULT_LEAF_MIXED, true, other);
        }
    }
    EXPECT_EQ(mmu_stat("fills_64k"), 0u) << "what is wrong is not cached";
    map_64k(va, pte);
    EXPECT_EQ(fill(va, 1), 0u) << "and needs no invalidation";
    EXPECT_EQ(stale(), 0u);
}

// --- The TLB -------------------------------------------------------------------------------------

TEST_F(LargeLeaf, EveryChangeOfAUsedLeafIsStale) {
    const struct {
        const char* what;
        std::function<void()> change;
    } changes[] = {
        {"2 MiB cleared", [&] { tables_.store(entry(kBase, 1), 0); }},
        {"2 MiB read-only", [&] { map_2m(kBase, sys_pte(kMemory, false)); }},
        {"2 MiB without access",
         [&] { map_2m(kBase, sys_pte(kMemory) | VTTM_PTE_NO_ACCESS); }},
        {"2 MiB elsewhere", [&] { map_2m(kBase, sys_pte(kMemory + k2M)); }},
        {"2 MiB misaligned", [&] { map_2m(kBase, sys_pte(kMemory + kPage)); }},
        {"2 MiB split, to the same pages",
         [&] {
             tables_.store(entry(kBase, 1), 0);
             map_4k(kBase, sys_pte(kMemory), k2M);
         }},
    };
    uint32_t count = 0;
    for (const auto& c : changes) {
        tables_.store(entry(kBase, 1), 0);
        invalidate(VTTM_TLB_INV_ALL);
        map_2m(kBase, sys_pte(kMemory));
        ASSERT_EQ(fill(kBase, 1), 0u) << c.what;
        ASSERT_EQ(stale(), count) << c.what;
        c.change();
        EXPECT_EQ(fill(kBase + k2M - kPage, 2), 0u) << c.what;
        EXPECT_EQ(word(kMemory + k2M - kPage), 2u) << c.what << ": the old page";
        EXPECT_EQ(stale(), ++count) << c.what;
    }

    const uint64_t va = kBase + k2M;
    for (uint64_t changed : {0u, 6u, 15u}) {
        const uint64_t good = sys_pte(kMemory + changed * kPage) | VTTM_PTE_LARGE;
        const uint64_t bads[] = {0, good & ~VTTM_PTE_LARGE, good & ~VTTM_PTE_WRITE};
        for (uint64_t bad : bads) {
            invalidate(VTTM_TLB_INV_ALL);
            map_64k(va, sys_pte(kMemory));
            ASSERT_EQ(fill(va, 1), 0u);
            ASSERT_EQ(stale(), count);
            // One of the 16 is enough, whichever is used.
            tables_.set(root_, va + changed * kPage, bad);
            EXPECT_EQ(fill(va + 9 * kPage, 2), 0u);
            EXPECT_EQ(stale(), ++count);
        }
    }
    invalidate(VTTM_TLB_INV_ALL);
    map_64k(va, sys_pte(kMemory));
    ASSERT_EQ(fill(va, 1), 0u);
    map_4k(va, sys_pte(kMemory), k64K);
    EXPECT_EQ(fill(va, 1), 0u);
    EXPECT_EQ(stale(), ++count) << "64 KiB split, to the same pages";
    invalidate(VTTM_TLB_INV_RANGE, 1, va + 15 * kPage, 1);
    EXPECT_EQ(fill(va, 1), 0u);
    EXPECT_EQ(stale(), count);
    map_64k(va, sys_pte(kMemory));
    EXPECT_EQ(fill(va, 1), 0u);
    EXPECT_EQ(stale(), ++count) << "4 KiB merged, to the same pages";
}

// In the first 64 KiB the entry of the smaller leaf reads just as that of the larger one did.
TEST_F(LargeLeaf, ALeafThatOnlyShrankIsStale) {
    map_2m(kBase, sys_pte(kMemory));
    EXPECT_EQ(fill(kBase, 1), 0u);
    tables_.store(entry(kBase, 1), 0);
    for (uint64_t i = 0; i < k2M; i += k64K) map_64k(kBase + i, sys_pte(kMemory + i));
    EXPECT_EQ(fill(kBase, 2), 0u);
    EXPECT_EQ(stale(), 1u);
    invalidate(VTTM_TLB_INV_RANGE, 1, kBase, 1);
    EXPECT_EQ(fill(kBase, 3), 0u);
    EXPECT_EQ(stale(), 1u);
}

TEST_F(LargeLeaf, InvalidatingAnyPageOfALeafDropsIt) {
    const struct {
        uint64_t start;
        uint32_t pages;
        bool drops_2m, drops_64k;  // at kBase and at kBase + k2M
    } cases[] = {
        {kBase, 1, true, false},
        {kBase + k2M - kPage, 1, true, false},
        {kBase + k2M - kPage, 2, true, true},
        {kBase + k2M + k64K - kPage, 1, false, true},
        {kBase + k2M + k64K, 100000, false, false},
        {0, static_cast<uint32_t>(kBase >> 12), false, false},
        {kBase - kPage, 1, false, false},
        {kBase - kPage, 100000, true, true},
        {kBase, 0, false, false},
    };
    for (const auto& c : cases) {
        map_2m(kBase, sys_pte(kMemory));
        map_64k(kBase + k2M, sys_pte(kMemory));
        invalidate(VTTM_TLB_INV_ALL);
        ASSERT_EQ(read_page(kBase), 0u);
        ASSERT_EQ(read_page(kBase + k2M), 0u);
        map_2m(kBase, sys_pte(kMemory + k2M));
        map_64k(kBase + k2M, sys_pte(kMemory + k2M));
        const uint32_t before = stale();
        invalidate(VTTM_TLB_INV_RANGE, 1, c.start, c.pages);
        ASSERT_EQ(read_page(kBase + 100 * kPage), 0u);
        EXPECT_EQ(stale() - before, c.drops_2m ? 0u : 1u) << std::hex << c.start << " " << c.pages;
        const uint32_t between = stale();
        ASSERT_EQ(read_page(kBase + k2M + 7 * kPage), 0u);
        EXPECT_EQ(stale() - between, c.drops_64k ? 0u : 1u)
            << std::hex << c.start << " " << c.pages;
    }
}

TEST_F(LargeLeaf, StaleUseIsCountedPerLeafAndTheLogNamesThePages) {
    map_2m(kBase, sys_pte(kMemory));
    EXPECT_EQ(fill_all(kBase, 4, 1), 0u);
    map_2m(kBase, sys_pte(kMemory + k2M));
    EXPECT_EQ(fill_all(kBase + 3 * kPage + 8, 4 * kPage, 2), 0u);  // 5 pages, in one chunk
    EXPECT_EQ(stale(), 1u);
    const auto log = bus_.witness();
    ASSERT_EQ(log.size(), 1u);
    EXPECT_EQ(log[0].kind, VTTM_WITNESS_STALE);
    EXPECT_EQ(log[0].va, kBase + 3 * kPage);
    EXPECT_EQ(log[0].phys, kMemory + 3 * kPage);
    EXPECT_EQ(log[0].npages, 5u);
    EXPECT_EQ(word(kMemory + 7 * kPage + 4), 2u);
    EXPECT_EQ(word(kMemory + 7 * kPage + 8), 0u);
}

class LargeLeafSmallTlb : public LargeLeaf {
protected:
    LargeLeafSmallTlb() : LargeLeaf(3) {}
};

// A TLB that always evicts: all sizes still lead to the right pages.
TEST_F(LargeLeafSmallTlb, EvictsAllSizes) {
    for (uint64_t i = 0; i < 8; i++) {
        map_64k(kBase + i * k64K, sys_pte(kMemory + (7 - i) * k64K));
        map_2m(kBase + (1 + i) * k2M, sys_pte(kMemory + i % 2 * k2M));
    }
    for (uint32_t round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 8; i++) {
            ASSERT_EQ(fill(kBase + i * k64K + 8, round << 8 | 0x10), 0u);
            ASSERT_EQ(word(kMemory + (7 - i) * k64K + 8), round << 8 | 0x10);
            ASSERT_EQ(fill(kBase + (1 + i) * k2M + k2M - 4, round << 8 | i), 0u);
            ASSERT_EQ(word(kMemory + i % 2 * k2M + k2M - 4), round << 8 | i);
        }
    }
    EXPECT_GT(mmu_stat("evictions"), 30u);
    EXPECT_EQ(stale(), 0u);
}

}  // namespace
}  // namespace vttm::model::test
