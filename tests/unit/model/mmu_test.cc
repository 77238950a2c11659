// SPDX-License-Identifier: Apache-2.0
// Page tables and TLB: every fault reason, stale translations, invalidation.
#include <functional>

#include "host-backend/model/tlb.h"
#include "tests/unit/model/mmu_machine.h"

namespace vttm::model::test {
namespace {

TEST_F(MmuTest, NotValidAtEveryLevel) {
    expect_fault(fill(kVa, 1), VTTM_FAULT_NOT_VALID, true, kVa);
    for (int level = 3; level >= 0; level--) {
        tables_.set(root_, kVa, sys_pte(kFree));
        uint64_t* e = tables_.entry(root_, kVa, level);
        const uint64_t good = *e;
        // Whatever else an entry without VALID holds is the driver's.
        tables_.store(e, ~uint64_t{VTTM_PTE_VALID});
        expect_fault(fill(kVa + 8, 1), VTTM_FAULT_NOT_VALID, true, kVa + 8);
        expect_fault(read_page(kVa), VTTM_FAULT_NOT_VALID, false, kVa);
        tables_.store(e, good);
    }
    EXPECT_EQ(fill(kVa, 0x11), 0u) << "making an entry valid needs no invalidation";
    EXPECT_EQ(word(kFree), 0x11u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 0u);
}

TEST_F(MmuTest, ReservedBitsAtEveryLevel) {
    for (int level = 3; level >= 0; level--) {
        for (int bit : {5, 6, 11, 52, 62, 63}) {
            tables_.set(root_, kVa, sys_pte(kFree));
            uint64_t* e = tables_.entry(root_, kVa, level);
            const uint64_t good = *e;
            tables_.store(e, good | 1ull << bit);
            expect_fault(fill(kVa, 1), VTTM_FAULT_RESERVED_BITS, true, kVa);
            tables_.store(e, good);
        }
    }
    invalidate(VTTM_TLB_INV_VM, 1);
    wr64(VTTM_REG_VM_ROOT_LO(1), root_ | 1ull << 60);
    expect_fault(fill(kVa, 1), VTTM_FAULT_RESERVED_BITS, true, kVa);
}

TEST_F(MmuTest, TablesThatAreNotThere) {
    for (int level = 3; level >= 1; level--) {
        tables_.set(root_, kVa, sys_pte(kFree));
        uint64_t* e = tables_.entry(root_, kVa, level);
        const uint64_t good = *e;
        tables_.store(e, sys_pte(kRamSize));
        expect_fault(fill(kVa, 1), VTTM_FAULT_BUS, true, kVa);
        tables_.store(e, sys_pte(VTTM_PTE_ADDR));
        expect_fault(fill(kVa, 1), VTTM_FAULT_BUS, true, kVa);
        tables_.store(e, vram_pte(kVramSize));
        expect_fault(fill(kVa, 1), VTTM_FAULT_VRAM_RANGE, true, kVa);
        tables_.store(e, good);
    }
    invalidate(VTTM_TLB_INV_VM, 1);
    bus_.add_hole(root_ & VTTM_PTE_ADDR, kPage);
    expect_fault(fill(kVa, 1), VTTM_FAULT_BUS, true, kVa);
}

TEST_F(MmuTest, LeavesThatLeadNowhere) {
    tables_.set(root_, kVa, vram_pte(kVramSize));
    expect_fault(fill(kVa, 1), VTTM_FAULT_VRAM_RANGE, true, kVa);
    tables_.set(root_, kVa + kPage, vram_pte(VTTM_PTE_ADDR));
    expect_fault(read_page(kVa + kPage), VTTM_FAULT_VRAM_RANGE, false, kVa + kPage);
    tables_.set(root_, kVa + 2 * kPage, sys_pte(kRamSize));
    expect_fault(fill(kVa + 2 * kPage, 1), VTTM_FAULT_BUS, true, kVa + 2 * kPage);
    tables_.set(root_, kVa + 3 * kPage, vram_pte(kVramSize - kPage));
    EXPECT_EQ(fill(kVa + 3 * kPage + kPage - 4, 9), 0u);
    EXPECT_EQ(bus_.vram()[kVramSize - 4], 9);
}

TEST_F(MmuTest, ReadOnly) {
    tables_.set(root_, kVa, sys_pte(kFree, false));
    EXPECT_EQ(read_page(kVa), 0u);
    expect_fault(fill(kVa, 1), VTTM_FAULT_READ_ONLY, true, kVa);
    EXPECT_EQ(word(kFree), 0u);
    // WRITE of upper entries is ignored.
    for (int level = 3; level >= 1; level--)
        *tables_.entry(root_, kVa + kPage, level) &= ~VTTM_PTE_WRITE;
    tables_.set(root_, kVa + kPage, sys_pte(kFree + kPage));
    EXPECT_EQ(fill(kVa + kPage, 1), 0u);
}

TEST_F(MmuTest, NoVm) {
    put_set_vm(0, 2);  // in range, no root
    EXPECT_EQ(fill(kVa, 1), VTTM_FAULT_NO_VM);
    EXPECT_EQ(VTTM_FAULT_INFO_VM(rd(VTTM_REG_FAULT_INFO)), 2u);
    clear_fault();
    for (uint32_t bad : {VTTM_MAX_VMS, 0x10001u, 0xffffffffu}) {
        put_set_vm(0, 1);
        put_set_vm(0, bad);
        EXPECT_EQ(fill(kVa, 1), VTTM_FAULT_NO_VM);
        // The VM before is not current any more.
        EXPECT_EQ(fill(kVa, 1), VTTM_FAULT_NO_VM);
    }
    // Physical spaces need no VM.
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VRAM, 0, 4, 1)), 0u);
}

TEST_F(MmuTest, NoVmIsCurrentAfterReset) {
    reset_engine(0);
    EXPECT_EQ(fill(kVa, 1), VTTM_FAULT_NO_VM);
    EXPECT_EQ(VTTM_FAULT_INFO_VM(rd(VTTM_REG_FAULT_INFO)), 0xffffu);
}

TEST_F(MmuTest, TablesInVram) {
    PageTables vram_tables(bus_, true);
    const uint64_t root = vram_tables.new_root();
    wr64(VTTM_REG_VM_ROOT_LO(9), root);
    vram_tables.set(root, kVa, sys_pte(kFree + 5 * kPage));
    put_set_vm(0, 9);
    EXPECT_EQ(fill(kVa, 0x42), 0u);
    EXPECT_EQ(word(kFree + 5 * kPage), 0x42u);
}

TEST_F(MmuTest, FaultInTheMiddleKeepsWhatWasDone) {
    for (uint64_t i = 0; i < 10; i++)
        if (i != 6) tables_.set(root_, kVa + i * kPage, sys_pte(kFree + i * kPage));
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VM, kVa + 16, 9 * kPage, 0x99)), VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), kVa + 6 * kPage);
    EXPECT_EQ(word(kFree + 6 * kPage - 4), 0x99u);
    EXPECT_EQ(word(kFree + 7 * kPage), 0u);
}

// --- The TLB -------------------------------------------------------------------------------------

TEST_F(MmuTest, StaleTranslationIsUsedAndReported) {
    tables_.set(root_, kVa, sys_pte(kFree));
    EXPECT_EQ(fill(kVa, 1), 0u);
    tables_.set(root_, kVa, sys_pte(kFree + kPage));
    EXPECT_EQ(fill(kVa + 4, 2), 0u);
    EXPECT_EQ(word(kFree + 4), 2u) << "the old page";
    EXPECT_EQ(word(kFree + kPage + 4), 0u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 1u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 0u) << "stale use is no fault";

    const auto log = bus_.witness();
    ASSERT_EQ(log.size(), 1u);
    EXPECT_EQ(log[0].kind, VTTM_WITNESS_STALE);
    EXPECT_EQ(log[0].va, kVa);
    EXPECT_EQ(log[0].phys, kFree);
    EXPECT_EQ(log[0].space, VTTM_SPACE_SYSTEM);
    EXPECT_EQ(log[0].npages, 1u);
    EXPECT_EQ(log[0].engine_vm, 0u << 16 | 1u);

    invalidate(VTTM_TLB_INV_RANGE, 1, kVa, 1);
    EXPECT_EQ(fill(kVa + 4, 3), 0u);
    EXPECT_EQ(word(kFree + kPage + 4), 3u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 1u);
}

TEST_F(MmuTest, EveryChangeOfAUsedEntryIsStale) {
    const uint64_t leaf = sys_pte(kFree);
    struct {
        const char* what;
        int level;
        uint64_t value;
    } changes[] = {
        {"leaf cleared", 0, 0},
        {"leaf read-only", 0, sys_pte(kFree, false)},
        {"leaf moved to VRAM", 0, vram_pte(kFree)},
        {"leaf with reserved bits", 0, leaf | 1ull << 55},
        {"leaf without access", 0, leaf | VTTM_PTE_NO_ACCESS},
        {"table of level 0 gone", 1, 0},
        {"table of level 0 not in RAM", 1, sys_pte(kRamSize)},
        {"table of level 1 empty", 2, sys_pte(kFree + 0x100000)},
        {"table of level 2 gone", 3, 0},
    };
    uint32_t stale = 0;
    for (const auto& c : changes) {
        tables_.set(root_, kVa, leaf);
        invalidate(VTTM_TLB_INV_ALL);
        ASSERT_EQ(fill(kVa, 1), 0u);
        ASSERT_EQ(rd(VTTM_REG_STALE_COUNT), stale) << c.what;
        uint64_t* e = tables_.entry(root_, kVa, c.level);
        const uint64_t old = *e;
        tables_.store(e, c.value);
        EXPECT_EQ(fill(kVa, 2), 0u) << c.what;
        EXPECT_EQ(word(kFree), 2u) << c.what;
        EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), ++stale) << c.what;
        tables_.store(e, old);
    }
    tables_.set(root_, kVa, leaf);
    wr64(VTTM_REG_VM_ROOT_LO(1), 0);
    EXPECT_EQ(fill(kVa, 3), 0u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), ++stale) << "root cleared";
    invalidate(VTTM_TLB_INV_VM, 1);
    EXPECT_EQ(fill(kVa, 3), VTTM_FAULT_NO_VM);
}

TEST_F(MmuTest, WriteThroughAStaleReadOnlyLeafFaults) {
    tables_.set(root_, kVa, sys_pte(kFree, false));
    EXPECT_EQ(read_page(kVa), 0u);
    tables_.set(root_, kVa, sys_pte(kFree));
    EXPECT_EQ(fill(kVa, 1), VTTM_FAULT_READ_ONLY) << "more rights need an invalidation too";
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 1u);
    invalidate(VTTM_TLB_INV_RANGE, 1, kVa, 1);
    EXPECT_EQ(fill(kVa, 1), 0u);
}

TEST_F(MmuTest, StaleIsCountedPerPage) {
    for (uint64_t i = 0; i < 100; i++)
        tables_.set(root_, kVa + i * kPage, sys_pte(kFree + i * kPage));
    const auto all = fill_packet(VTTM_SPACE_VM, kVa, 100 * kPage, 5);
    EXPECT_EQ(run(0, all), 0u);
    for (uint64_t i = 0; i < 100; i += 3)
        tables_.set(root_, kVa + i * kPage, sys_pte(kFree + (200 + i) * kPage));
    EXPECT_EQ(run(0, all), 0u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 34u);
    EXPECT_EQ(bus_.witness().size(), 34u);
}

TEST_F(MmuTest, InvalidationScopes) {
    const uint64_t root2 = make_vm(2);
    auto map = [&](uint64_t phys) {
        for (uint64_t i = 0; i < 4; i++) {
            tables_.set(root_, kVa + i * kPage, sys_pte(phys + i * kPage));
            tables_.set(root2, kVa + i * kPage, sys_pte(phys + i * kPage));
        }
    };
    // Which of the 2 x 4 translations are stale (bit 4 * (vm - 1) + page)?
    auto stale_set = [&] {
        uint32_t set = 0;
        for (uint32_t vm = 1; vm <= 2; vm++) {
            put_set_vm(0, vm);
            for (uint64_t i = 0; i < 4; i++) {
                const uint32_t before = rd(VTTM_REG_STALE_COUNT);
                EXPECT_EQ(read_page(kVa + i * kPage), 0u);
                if (rd(VTTM_REG_STALE_COUNT) != before) set |= 1u << (4 * (vm - 1) + i);
            }
        }
        return set;
    };
    struct {
        uint32_t scope, vm;
        uint64_t start;
        uint32_t pages;
        uint32_t stale_after;
    } cases[] = {
        {VTTM_TLB_INV_ALL, 0, 0, 0, 0x00},
        {VTTM_TLB_INV_VM, 1, 0, 0, 0xf0},
        {VTTM_TLB_INV_VM, 2, 0, 0, 0x0f},
        {VTTM_TLB_INV_VM, 200, 0, 0, 0xff},
        {VTTM_TLB_INV_RANGE, 1, kVa, 1, 0xfe},
        {VTTM_TLB_INV_RANGE, 1, kVa + kPage, 2, 0xf9},
        {VTTM_TLB_INV_RANGE, 2, kVa + 2 * kPage, 0xffffffff, 0x3f},
        {VTTM_TLB_INV_RANGE, 2, 0, 0xffffffff, 0xff},  // ends 16 TiB below
        {VTTM_TLB_INV_RANGE, 1, kVa, 0, 0xff},
        {VTTM_TLB_INV_RANGE, 1, ~0xfffull, 0xffffffff, 0xff},
        {VTTM_TLB_INV_RANGE, 0xffff, kVa, 4, 0xff},
    };
    for (const auto& c : cases) {
        map(kFree);
        invalidate(VTTM_TLB_INV_ALL);
        ASSERT_EQ(stale_set(), 0u);
        map(kFree + 16 * kPage);
        invalidate(c.scope, c.vm, c.start, c.pages);
        EXPECT_EQ(stale_set(), c.stale_after) << c.scope << " vm " << c.vm << " pages " << c.pages;
    }
}

TEST_F(MmuTest, TlbsAreSeparatePerEngineAndOutliveAnEngineReset) {
    tables_.set(root_, kVa, sys_pte(kFree));
    put_set_vm(1, 1);
    EXPECT_EQ(run(1, stamp_packet(false, VTTM_SPACE_VM, kVa, 1, {9, 0, 1, 1})), 0u);
    tables_.set(root_, kVa, sys_pte(kFree + kPage));
    EXPECT_EQ(fill(kVa, 7), 0u);
    EXPECT_EQ(word(kFree + kPage), 7u) << "the copy engine had not cached it";
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 0u);
    reset_engine(1);
    put_set_vm(1, 1);
    EXPECT_EQ(run(1, stamp_packet(true, VTTM_SPACE_VM, kVa, 1, {9, 0, 1, 1})), 0u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 1u);
    EXPECT_EQ(result().good, 1u) << "still the old page";
}

TEST_F(MmuTest, InvalidationReachesAPacketUnderWay) {
    // A fill that is held up in the middle by the bus; its second half must see the new leaves.
    constexpr uint64_t kPages = 128;  // two chunks
    for (uint64_t i = 0; i < kPages; i++)
        tables_.set(root_, kVa + i * kPage, sys_pte(kFree + i * kPage));
    const auto all = fill_packet(VTTM_SPACE_VM, kVa, kPages * kPage, 0x1111);
    EXPECT_EQ(run(0, all), 0u);  // fills the TLB
    std::atomic<bool> inside{false}, go{false};
    bus_.on_map([&](uint64_t addr, bool write) {
        if (!write || addr != kFree) return;
        inside = true;
        while (!go) std::this_thread::yield();
    });
    put_packet(0, fill_packet(VTTM_SPACE_VM, kVa, kPages * kPage, 0x2222));
    ring(0);
    ASSERT_TRUE(wait_for([&] { return inside.load(); }));
    for (uint64_t i = kPages / 2; i < kPages; i++)
        tables_.set(root_, kVa + i * kPage, sys_pte(kFree + (1000 + i) * kPage));
    wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(VTTM_TLB_INV_VM, 1));
    EXPECT_EQ(rd(VTTM_REG_TLB_INV_DONE), 0u) << "an engine is in the middle of its work";
    go = true;
    EXPECT_TRUE(wait_for([&] { return rd(VTTM_REG_TLB_INV_DONE) == 1; }));
    inv_issued_ = 1;
    EXPECT_EQ(finish(0), 0u);
    bus_.on_map(nullptr);
    EXPECT_EQ(word(kFree), 0x2222u);
    EXPECT_EQ(word(kFree + (kPages - 1) * kPage), 0x1111u) << "the old page was let go";
    EXPECT_EQ(word(kFree + (1000 + kPages - 1) * kPage), 0x2222u);
    EXPECT_EQ(stale(), 0u) << "each entry was changed before its use and dropped before it, too";
}

// The detector compares with what the tables say now. Whether the old page is in use for something else
// already, it cannot know: a driver that changes entries under a running job does no harm as long as it
// waits for the invalidation, and is counted all the same.
class StaleUnderAJob : public MmuTest {
protected:
    static constexpr uint64_t kPages = 128, kChunkPages = 64;  // two chunks
    static uint64_t before(uint64_t i) { return kFree + 2 * i * kPage; }
    static uint64_t after(uint64_t i) { return kFree + (2 * i + 1) * kPage; }

    // Runs a fill with 2 over pages that were filled with 1; does @meanwhile when it has come to its
    // first page.
    void fill_and(const std::function<void()>& meanwhile) {
        for (uint64_t i = 0; i < kPages; i++) tables_.set(root_, kVa + i * kPage, sys_pte(before(i)));
        EXPECT_EQ(fill_all(1), 0u);
        std::atomic<bool> inside{false}, go{false};
        bus_.on_map([&](uint64_t addr, bool write) {
            if (!write || addr != before(0)) return;
            inside = true;
            while (!go) std::this_thread::yield();
        });
        put_packet(0, fill_packet(VTTM_SPACE_VM, kVa, kPages * kPage, 2));
        ring(0);
        ASSERT_TRUE(wait_for([&] { return inside.load(); }));
        meanwhile();
        EXPECT_EQ(stale(), 0u) << "what is not used is not counted";
        go = true;
        EXPECT_EQ(finish(0), 0u);
        bus_.on_map(nullptr);
    }
    uint32_t fill_all(uint32_t value) {
        return run(0, fill_packet(VTTM_SPACE_VM, kVa, kPages * kPage, value));
    }
    void move(uint64_t page) { tables_.set(root_, kVa + page * kPage, sys_pte(after(page))); }
};

TEST_F(StaleUnderAJob, IsCountedUpToTheInvalidationAndNoFurther) {
    fill_and([&] {
        move(10);               // in the chunk under way, which ends by what it knows
        move(kChunkPages + 1);  // in the next one, which comes behind the invalidation
        wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(VTTM_TLB_INV_VM, 1));
        EXPECT_EQ(rd(VTTM_REG_TLB_INV_DONE), 0u);
    });
    EXPECT_EQ(rd(VTTM_REG_TLB_INV_DONE), 1u);
    EXPECT_EQ(stale(), 1u) << "no bug of the driver, and counted";
    EXPECT_EQ(word(before(10)), 2u) << "that is allowed until DONE has caught up";
    EXPECT_EQ(word(after(10)), 0u);
    EXPECT_EQ(word(before(kChunkPages + 1)), 1u);
    EXPECT_EQ(word(after(kChunkPages + 1)), 2u);
    EXPECT_EQ(fill_all(3), 0u);
    EXPECT_EQ(word(after(10)), 3u);
    EXPECT_EQ(stale(), 1u) << "no more once DONE has caught up";
}

TEST_F(StaleUnderAJob, WithoutInvalidationEachLeafIsCounted) {
    fill_and([&] {
        for (uint64_t i = kChunkPages; i < kPages; i++) move(i);
    });
    EXPECT_EQ(stale(), kPages - kChunkPages);
    EXPECT_EQ(word(before(kPages - 1)), 2u);
    EXPECT_EQ(word(after(kPages - 1)), 0u);
    invalidate(VTTM_TLB_INV_VM, 1);
    EXPECT_EQ(fill_all(3), 0u);
    EXPECT_EQ(word(after(kPages - 1)), 3u);
    EXPECT_EQ(stale(), kPages - kChunkPages);
}

// What the rule asks for to stay at 0: no job under way uses what is changed.
TEST_F(StaleUnderAJob, IsZeroIfTheJobUsesOtherEntries) {
    const uint64_t other = kVa + (1ull << 30);
    tables_.set(root_, other, sys_pte(kFree + 600 * kPage));
    EXPECT_EQ(fill(other, 7), 0u);
    fill_and([&] {
        tables_.set(root_, other, 0);
        wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(VTTM_TLB_INV_VM, 1));
    });
    EXPECT_EQ(fill(other, 8), VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(stale(), 0u);
}

TEST_F(MmuTest, FloodOfInvalidationsIsCountedToTheLast) {
    tables_.set(root_, kVa, sys_pte(kFree));
    std::atomic<bool> inside{false}, go{false};
    bus_.on_map([&](uint64_t addr, bool write) {
        if (!write || addr != kFree) return;
        inside = true;
        while (!go) std::this_thread::yield();
    });
    put_packet(0, fill_packet(VTTM_SPACE_VM, kVa, 4, 1));
    ring(0);
    ASSERT_TRUE(wait_for([&] { return inside.load(); }));
    for (int i = 0; i < 5000; i++)
        wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(VTTM_TLB_INV_RANGE, 3));
    go = true;
    inv_issued_ = 5000;
    invalidate(VTTM_TLB_INV_ALL);
    bus_.on_map(nullptr);
    EXPECT_EQ(finish(0), 0u);
}

// More entries in the range than an invalidation looks at: the VM's other pages go as well, another
// VM's do not, and what was not invalidated is still told of.
TEST_F(MmuTest, LargeRangesDropTheVmOnly) {
    constexpr uint64_t kPages = Tlb::kMaxProbes + 1, kFar = kVa + (1ull << 40);
    const uint64_t other = make_vm(2);
    for (uint64_t i = 0; i < kPages; i++) tables_.set(root_, kVa + i * kPage, sys_pte(kFree));
    tables_.set(root_, kFar, sys_pte(kFree + kPage));
    tables_.set(other, kVa, sys_pte(kFree + 2 * kPage));
    const auto use_other = [&] {
        put_set_vm(0, 2);
        EXPECT_EQ(fill(kVa, 1), 0u);
        put_set_vm(0, 1);
    };
    const auto use_all = [&] {
        ASSERT_EQ(run(0, fill_packet(VTTM_SPACE_VM, kVa, kPages * kPage, 1)), 0u);
        ASSERT_EQ(fill(kFar, 1), 0u);
        use_other();
    };
    for (const uint64_t pages : {kPages - 1, kPages}) {
        use_all();
        const uint32_t before = stale();
        tables_.set(root_, kFar, sys_pte(kFree + 3 * kPage));
        tables_.set(other, kVa, sys_pte(kFree + 4 * kPage));
        invalidate(VTTM_TLB_INV_RANGE, 1, kVa, static_cast<uint32_t>(pages));
        EXPECT_EQ(fill(kFar, 2), 0u);
        EXPECT_EQ(stale(), before + (pages < kPages ? 1u : 0u));
        use_other();
        EXPECT_EQ(stale(), before + (pages < kPages ? 2u : 1u));
        tables_.set(root_, kFar, sys_pte(kFree + kPage));
        tables_.set(other, kVa, sys_pte(kFree + 2 * kPage));
        invalidate(VTTM_TLB_INV_ALL);
    }
}

class SmallTlb : public MmuTest {
protected:
    SmallTlb() : MmuTest(4) {}
};

TEST_F(SmallTlb, EvictsDeterministically) {
    for (uint64_t i = 0; i < 64; i++)
        tables_.set(root_, kVa + i * kPage, sys_pte(kFree + i * kPage));
    std::string first;
    for (int round = 0; round < 3; round++) {
        ModelPtr gone = std::move(model_);
        gone.reset();
        create(4);
        setup_ring(0);
        wr64(VTTM_REG_VM_ROOT_LO(1), root_);
        put_set_vm(0, 1);
        for (uint64_t i = 0; i < 500; i++) ASSERT_EQ(read_page(kVa + i * 37 % 7 * kPage), 0u);
        std::string s = stats();
        s = s.substr(s.find("\"mmu\""));
        s.erase(s.find("\"time_ns\""));
        if (first.empty()) first = s;
        EXPECT_EQ(s, first);
    }
    EXPECT_EQ(first.find("\"evictions\":0"), std::string::npos);
}

}  // namespace
}  // namespace vttm::model::test
