// SPDX-License-Identifier: Apache-2.0
// Poisoned page tables in VRAM: who reads an entry there faults; who need not read it does not notice.
#include "tests/unit/model/faults_machine.h"

namespace vttm::model::test {
namespace {

constexpr uint64_t kVa = 0x123456789000;

class FaultsWalk : public FaultsMachine {
protected:
    FaultsWalk() : vram_tables_(bus_, true) {
        root_ = vram_tables_.new_root();
        wr64(VTTM_REG_VM_ROOT_LO(kVm), root_);
        for (uint64_t i = 0; i < 8; i++)
            vram_tables_.set(root_, kVa + i * kPage, sys_pte(kFree + i * kPage));
        invalidate(VTTM_TLB_INV_ALL);
    }
    // Where the entry of @va in the table of @level lies.
    uint64_t offset(uint64_t va, int level) {
        return static_cast<uint64_t>(
            reinterpret_cast<uint8_t*>(vram_tables_.entry(root_, va, level)) - bus_.vram());
    }
    void poison(int level, uint64_t va = kVa) {
        plan(R"({"kind": "vram-poison", "offset": )" +
             std::to_string(offset(va, level) / kPage * kPage) + "}");
    }
    vttm_pkt_fill fill(uint64_t va, uint64_t len = 4) {
        return fill_packet(VTTM_SPACE_VM, va, len, 0x77);
    }
    uint64_t mmu_stat(const char* name) { return json::parse(stats())["mmu"][name]; }
    uint32_t word(uint64_t addr) { return *reinterpret_cast<uint32_t*>(bus_.ram(addr)); }

    PageTables vram_tables_;
};

TEST_F(FaultsWalk, EveryLevelFaults) {
    for (int level = 3; level >= 0; level--) {
        invalidate(VTTM_TLB_INV_ALL);
        poison(level);
        expect_fault(kCopy, fill(kVa), VTTM_FAULT_POISON, kVa);
        EXPECT_TRUE(rd(VTTM_REG_FAULT_INFO) & VTTM_FAULT_INFO_WRITE) << "the access, not the walk";
        EXPECT_EQ(injected(), 1u);
        EXPECT_EQ(record()["log"][0]["address"], offset(kVa, level));
        no_plan();
        EXPECT_EQ(run(kCopy, fill(kVa)), 0u) << "nothing wrong was cached";
    }
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 0u);
}

TEST_F(FaultsWalk, WhatTheTlbHoldsIsNotWalked) {
    EXPECT_EQ(run(kCopy, fill(kVa)), 0u);
    poison(0);
    EXPECT_EQ(run(kCopy, fill(kVa)), 0u);
    EXPECT_EQ(injected(), 0u);
    expect_fault(kCopy, fill(kVa + kPage), VTTM_FAULT_POISON, kVa + kPage);
    EXPECT_EQ(run(kCopy, fill(kVa)), 0u) << "a fault drops nothing";
    invalidate(VTTM_TLB_INV_RANGE, kVm, kVa, 1);
    expect_fault(kCopy, fill(kVa), VTTM_FAULT_POISON, kVa);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 0u);
}

// Tables above the one where a walk begins are not read.
TEST_F(FaultsWalk, WhatTheWalkCacheHoldsIsNotWalked) {
    EXPECT_EQ(run(kCopy, fill(kVa)), 0u);
    for (int level = 3; level >= 1; level--) {
        poison(level);
        EXPECT_EQ(run(kCopy, fill(kVa + (4 - static_cast<uint64_t>(level)) * kPage)), 0u) << level;
        EXPECT_EQ(injected(), 0u);
    }
    EXPECT_EQ(mmu_stat("walk_hits"), 3u);
    invalidate(VTTM_TLB_INV_VM, kVm);
    expect_fault(kCopy, fill(kVa), VTTM_FAULT_POISON, kVa);
    EXPECT_EQ(injected(), 1u);
    EXPECT_EQ(mmu_stat("walk_hits"), 3u);
    // It came as far as to the table of level 1, so what led there is known.
    no_plan();
    EXPECT_EQ(run(kCopy, fill(kVa)), 0u);
    EXPECT_EQ(mmu_stat("walk_hits"), 4u);
}

TEST_F(FaultsWalk, NoRetryCuresIt) {
    wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY);
    poison(0);
    expect_fault(kCopy, fill(kVa), VTTM_FAULT_POISON, kVa);
}

// A driver that moves the table away gets on: poison is a page's, not an address's.
TEST_F(FaultsWalk, AnotherTableInItsPlace) {
    poison(0);
    expect_fault(kCopy, fill(kVa), VTTM_FAULT_POISON, kVa);
    const uint64_t table = kRamSize - kPage;
    std::memcpy(bus_.ram(table), bus_.vram(offset(kVa, 0) / kPage * kPage), kPage);
    vram_tables_.store(vram_tables_.entry(root_, kVa, 1), table | VTTM_PTE_VALID | VTTM_PTE_SYSTEM);
    invalidate(VTTM_TLB_INV_VM, kVm);
    EXPECT_EQ(run(kCopy, fill(kVa)), 0u);
    EXPECT_EQ(injected(), 1u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 0u);
}

// The forgotten invalidation is told, and what the stale walk then meets.
TEST_F(FaultsWalk, AStaleWalkMeetsItToo) {
    EXPECT_EQ(run(kCopy, fill(kVa)), 0u);
    poison(0);
    const uint64_t table = kRamSize - kPage;
    std::memcpy(bus_.ram(table), bus_.vram(offset(kVa, 0) / kPage * kPage), kPage);
    vram_tables_.store(vram_tables_.entry(root_, kVa, 1), table | VTTM_PTE_VALID | VTTM_PTE_SYSTEM);
    expect_fault(kCopy, fill(kVa + kPage), VTTM_FAULT_POISON, kVa + kPage);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 1u);
}

// Tables in system memory at the same address are another memory.
TEST_F(FaultsWalk, OnlyVramIsPoisoned) {
    const uint64_t root = make_vm(kVm + 1);
    tables_.set(root, kVa, sys_pte(kFree));
    plan(R"({"kind": "vram-poison", "offset": )" + std::to_string(kTables) + R"(, "pages": 64})");
    put_set_vm(kCopy, kVm + 1);
    EXPECT_EQ(run(kCopy, fill(kVa)), 0u);
    EXPECT_EQ(injected(), 0u);
}

// What lies before it is done, and counted once, though it was found in looking ahead.
TEST_F(FaultsWalk, WhatLiesBeforeIsDone) {
    const uint64_t last = (kVa | ((2ull << 20) - 1)) + 1 - kPage;  // of its table
    vram_tables_.set(root_, last, sys_pte(kFree));
    vram_tables_.set(root_, last + kPage, sys_pte(kFree + kPage));
    poison(0, last + kPage);
    expect_fault(kCopy, fill(last, 2 * kPage), VTTM_FAULT_POISON, last + kPage);
    EXPECT_EQ(word(kFree + kPage - 4), 0x77u);
    EXPECT_NE(word(kFree + kPage), 0x77u);
    EXPECT_EQ(injected(), 1u);
    EXPECT_EQ(record()["log"].size(), 1u);
}

// Every engine has caches of its own, and every kind of access walks.
TEST_F(FaultsWalk, EveryEngineAndPacket) {
    poison(0);
    expect_fault(kStamp, hash(VTTM_SPACE_VM, kVa, 64, 0, VTTM_SPACE_SYSTEM, kResultAddr),
                 VTTM_FAULT_POISON, kVa);
    expect_fault(kCopy, sem_signal(VTTM_SPACE_VM, kVa, 1), VTTM_FAULT_POISON, kVa);
    put_packet(kCopy, indirect(VTTM_SPACE_VM, kVa, 1));
    EXPECT_EQ(finish(kCopy), VTTM_FAULT_POISON);
    EXPECT_EQ(injected(), 3u);
}

}  // namespace
}  // namespace vttm::model::test
