// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/page_table.h"

#include <bit>

namespace vttm::model {

static_assert(std::endian::native == std::endian::little, "page tables are read in place");

namespace {

constexpr uint64_t kReserved = ~(VTTM_PTE_FLAGS | VTTM_PTE_ADDR);

// The guest may change an entry at any time: it is read once, whole.
uint64_t load_entry(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }

// What is wrong with an entry in the table of @level by itself. NO_ACCESS is a reserved bit of what is
// no leaf, and above level 1 nothing is one, whatever LARGE says.
vttm_fault_reason check_entry(uint64_t entry, unsigned level) {
    if (!(entry & VTTM_PTE_VALID)) return VTTM_FAULT_NOT_VALID;
    const bool leaf = level == 0 || (level == 1 && entry & VTTM_PTE_LARGE);
    if (entry & (leaf ? kReserved : kReserved | VTTM_PTE_NO_ACCESS)) return VTTM_FAULT_RESERVED_BITS;
    if (level > 1 && entry & VTTM_PTE_LARGE) return VTTM_FAULT_LEAF_LEVEL;
    return VTTM_FAULT_NONE;
}

}  // namespace

// Whether the leaf @entry of @va is sound, and the @shift of its size.
vttm_fault_reason Walker::check_leaf(const Table& table, uint64_t entry, unsigned level,
                                     uint64_t va, unsigned& shift) {
    constexpr uint64_t k64K = 1ull << VTTM_LEAF_64K_SHIFT;
    constexpr uint64_t k2M = 1ull << VTTM_LEAF_2M_SHIFT;

    if (level == 1) {
        shift = VTTM_LEAF_2M_SHIFT;
        return entry & VTTM_PTE_ADDR & (k2M - 1) ? VTTM_FAULT_LEAF_ALIGN : VTTM_FAULT_NONE;
    }
    if (!(entry & VTTM_PTE_LARGE)) {
        shift = VTTM_PAGE_SHIFT;
        return VTTM_FAULT_NONE;
    }
    shift = VTTM_LEAF_64K_SHIFT;
    if ((entry ^ va) & (k64K - VTTM_PAGE_SIZE)) return VTTM_FAULT_LEAF_ALIGN;
    const uint64_t* first = &table.words[VTTM_PT_INDEX(va, 0) & ~(VTTM_LEAF_64K_ENTRIES - 1)];
    const uint64_t base = entry & ~(k64K - VTTM_PAGE_SIZE);
    for (uint64_t i = 0; i < VTTM_LEAF_64K_ENTRIES; i++)
        if (load_entry(first + i) != (base | i << VTTM_PAGE_SHIFT)) return VTTM_FAULT_LEAF_MIXED;
    return VTTM_FAULT_NONE;
}

vttm_fault_reason Walker::enter(Table& table, uint64_t entry) {
    const uint64_t addr = entry & VTTM_PTE_ADDR;

    table.entry = 0;
    table.mapping = Bus::Mapping();
    if (entry & VTTM_PTE_SYSTEM) {
        table.mapping = bus_.map(addr, VTTM_PAGE_SIZE, false);
        if (table.mapping.size() < VTTM_PAGE_SIZE) return VTTM_FAULT_BUS;
        if (reinterpret_cast<uintptr_t>(table.mapping.data()) % sizeof(uint64_t))
            return VTTM_FAULT_BUS;
        table.words = reinterpret_cast<const uint64_t*>(table.mapping.data());
    } else {
        if (!bus_.vram_contains(addr, VTTM_PAGE_SIZE)) return VTTM_FAULT_VRAM_RANGE;
        table.words = reinterpret_cast<const uint64_t*>(bus_.vram() + addr);
    }
    table.entry = entry;
    return VTTM_FAULT_NONE;
}

WalkResult Walker::walk(uint32_t vm, uint64_t va) {
    if (vm >= VTTM_MAX_VMS) return {VTTM_FAULT_NO_VM};
    const uint64_t root = roots_.get(vm);
    if (!(root & VTTM_PTE_VALID)) return {VTTM_FAULT_NO_VM};
    if (root & (kReserved | VTTM_PTE_NO_ACCESS)) return {VTTM_FAULT_RESERVED_BITS};
    if (root & VTTM_PTE_LARGE) return {VTTM_FAULT_LEAF_LEVEL};
    return walk_from(VTTM_PT_LEVELS - 1, root, va);
}

WalkResult Walker::walk_from(unsigned level, uint64_t entry, uint64_t va) {
    WalkResult result;
    for (;; level--) {
        Table& table = tables_[level];
        if (table.entry != entry && (result.reason = enter(table, entry))) return result;
        result.tables[level] = entry;
        entry = load_entry(&table.words[VTTM_PT_INDEX(va, level)]);
        result.reason = check_entry(entry, level);
        if (result.reason) return result;
        if (level == 0 || entry & VTTM_PTE_LARGE) break;
    }
    result.reason = check_leaf(tables_[level], entry, level, va, result.shift);
    if (!result.reason) result.pte = entry;
    return result;
}

void Walker::release() {
    for (Table& table : tables_) table = Table();
}

}  // namespace vttm::model
