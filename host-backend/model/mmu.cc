// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/mmu.h"

#include <algorithm>

#include "host-backend/model/fault_lane.h"
#include "protocol/vttm_packets.h"

namespace vttm::model {

namespace {

// Of leaves, and of the ranges of VA below an entry that leads to a table of level 0, 1 or 2.
constexpr Tlb::Shifts kLeafShifts{0, VTTM_LEAF_64K_SHIFT - VTTM_PAGE_SHIFT,
                                  VTTM_LEAF_2M_SHIFT - VTTM_PAGE_SHIFT};
constexpr Tlb::Shifts kWalkShifts{VTTM_PT_INDEX_BITS, 2 * VTTM_PT_INDEX_BITS,
                                  3 * VTTM_PT_INDEX_BITS};
constexpr size_t kPagesPerWalk = 64;
constexpr size_t kMinWalks = 4;

constexpr unsigned shift_of(unsigned size) { return VTTM_PAGE_SHIFT + kLeafShifts[size]; }

unsigned size_of(unsigned shift) {
    return static_cast<unsigned>(
        std::find(kLeafShifts.begin(), kLeafShifts.end(), shift - VTTM_PAGE_SHIFT) -
        kLeafShifts.begin());
}

// A leaf as it is cached: the entries of one of 64 KiB differ in their place within it.
uint64_t leaf_pte(const WalkResult& walk) {
    return walk.pte & ~((1ull << walk.shift) - VTTM_PAGE_SIZE);
}

void place(Translation& t, uint64_t entry) {
    t.phys = entry & VTTM_PTE_ADDR;
    t.space = entry & VTTM_PTE_SYSTEM ? VTTM_SPACE_SYSTEM : VTTM_SPACE_VRAM;
}

}  // namespace

Mmu::Mmu(const Bus& bus, size_t tlb_entries)
    : bus_(bus),
      tlb_(tlb_entries, kLeafShifts),
      walks_(std::max(tlb_entries / kPagesPerWalk, kMinWalks), kWalkShifts) {}

// What becomes of @walk, which has read tables from @level down, if one of them is poisoned: it has
// come as far as to that one.
void Mmu::meet_poison(const FaultLane& faults, uint64_t va, unsigned level, WalkResult& walk,
                      Translation& t) {
    for (;; level--) {
        const uint64_t table = walk.tables[level];
        if (!table) return;
        const uint64_t at = (table & VTTM_PTE_ADDR) + VTTM_PT_INDEX(va, level) * sizeof(uint64_t);
        if (!(table & VTTM_PTE_SYSTEM) && faults.first_poisoned(at, sizeof(uint64_t))) {
            std::fill_n(walk.tables.begin(), level, 0);
            walk.reason = VTTM_FAULT_POISON;
            t.poisoned = at;
            return;
        }
        if (!level) return;
    }
}

// A walk after a TLB miss: from the lowest table that the page-walk cache knows. @now is the walk
// from the root.
WalkResult Mmu::walk_from_cache(Walker& walker, uint32_t vm, uint64_t va, const WalkResult& now,
                                const FaultLane* faults, Translation& t) {
    const uint64_t vpn = va >> VTTM_PAGE_SHIFT;
    const Tlb::Hit hit = walks_.lookup(vm, vpn);
    const unsigned levels = hit.pte ? hit.size : Tlb::kSizes;  // below that nothing is cached
    WalkResult walk = now;

    ++(hit.pte ? walk_hits_ : walk_misses_);
    if (hit.pte && hit.pte != now.tables[hit.size]) {
        t.stale = true;
        place(t, hit.pte);
        walk = walker.walk_from(hit.size, hit.pte, va);
    }
    if (faults) [[unlikely]]
        meet_poison(*faults, va, levels, walk, t);
    for (unsigned level = 0; level < levels; level++)
        if (walk.tables[level]) walks_.insert(vm, vpn, level, walk.tables[level]);
    return walk;
}

// The leaf that the device goes by; none, and @t.reason, if there is none.
Tlb::Hit Mmu::look_up(Walker& walker, uint32_t vm, uint64_t va, const WalkResult& now,
                      const FaultLane* faults, Translation& t) {
    const uint64_t vpn = va >> VTTM_PAGE_SHIFT;
    if (const Tlb::Hit hit = tlb_.lookup(vm, vpn); hit.pte) {
        ++hits_;
        t.stale = now.reason != VTTM_FAULT_NONE || now.shift != shift_of(hit.size) ||
                  leaf_pte(now) != hit.pte;
        return hit;
    }
    ++misses_;
    const WalkResult walk = walk_from_cache(walker, vm, va, now, faults, t);
    t.reason = walk.reason;
    if (t.reason) return {};
    const Tlb::Hit leaf{leaf_pte(walk), size_of(walk.shift)};
    tlb_.insert(vm, vpn, leaf.size, leaf.pte);
    ++fills_[leaf.size];
    evictions_.store(evictions_before_ + tlb_.evictions(), std::memory_order_relaxed);
    return leaf;
}

Translation Mmu::translate(Walker& walker, uint32_t vm, uint64_t va, bool write,
                           const FaultLane* faults) {
    Translation t;

    // An engine without a VM has no cached leaves either.
    if (vm >= VTTM_MAX_VMS) return {VTTM_FAULT_NO_VM};

    const WalkResult now = walker.walk(vm, va);
    const Tlb::Hit leaf = look_up(walker, vm, va, now, faults, t);
    if (t.reason) return t;

    const uint64_t size = 1ull << shift_of(leaf.size);
    const uint64_t in_leaf = va & (size - 1) & ~(VTTM_PAGE_SIZE - 1);
    place(t, leaf.pte);
    t.phys += in_leaf;
    t.bytes = size - in_leaf;
    if (leaf.pte & VTTM_PTE_NO_ACCESS)
        t.reason = VTTM_FAULT_NO_ACCESS;
    else if (write && !(leaf.pte & VTTM_PTE_WRITE))
        t.reason = VTTM_FAULT_READ_ONLY;
    else if (t.space == VTTM_SPACE_VRAM && !bus_.vram_contains(t.phys, t.bytes))
        t.reason = VTTM_FAULT_VRAM_RANGE;
    return t;
}

void Mmu::invalidate(const TlbInvalidation& inv) {
    for (Tlb* cache : {&tlb_, &walks_}) {
        switch (inv.scope) {
            case VTTM_TLB_INV_VM:
                cache->invalidate_vm(inv.vm);
                break;
            case VTTM_TLB_INV_RANGE:
                cache->invalidate_range(inv.vm, inv.start >> VTTM_PAGE_SHIFT, inv.pages);
                break;
            default:
                cache->invalidate_all();
                break;
        }
    }
}

Mmu::Counters& Mmu::Counters::operator+=(const Counters& other) {
    hits += other.hits;
    misses += other.misses;
    evictions += other.evictions;
    walk_hits += other.walk_hits;
    walk_misses += other.walk_misses;
    for (unsigned i = 0; i < Tlb::kSizes; i++) fills[i] += other.fills[i];
    return *this;
}

Mmu::Counters Mmu::counters() const {
    Counters c;
    c.hits = hits_;
    c.misses = misses_;
    c.evictions = evictions_.load(std::memory_order_relaxed);
    c.walk_hits = walk_hits_;
    c.walk_misses = walk_misses_;
    for (unsigned i = 0; i < Tlb::kSizes; i++) c.fills[i] = fills_[i];
    return c;
}

void Mmu::restore(const Counters& c) {
    invalidate(TlbInvalidation());
    hits_.set(c.hits);
    misses_.set(c.misses);
    walk_hits_.set(c.walk_hits);
    walk_misses_.set(c.walk_misses);
    for (unsigned i = 0; i < Tlb::kSizes; i++) fills_[i].set(c.fills[i]);
    evictions_before_ = c.evictions - tlb_.evictions();
    evictions_.store(c.evictions, std::memory_order_relaxed);
}

}  // namespace vttm::model
