// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/page_table.h"

#include <bit>

namespace vttm::model {

static_assert(std::endian::native == std::endian::little, "page tables are read in place");

namespace {

constexpr uint64_t kReserved = ~(VTTM_PTE_FLAGS | VTTM_PTE_ADDR);

// The guest may change an entry at any time: it is read once, whole.
uint64_t load_entry(const uint64_t* p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }

}  // namespace

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
    if (vm >= VTTM_MAX_VMS) return {VTTM_FAULT_NO_VM, 0};
    uint64_t entry = roots_.get(vm);
    if (!(entry & VTTM_PTE_VALID)) return {VTTM_FAULT_NO_VM, 0};

    for (unsigned level = VTTM_PT_LEVELS; level-- > 0;) {
        Table& table = tables_[level];
        if (entry & kReserved) return {VTTM_FAULT_RESERVED_BITS, 0};
        if (table.entry != entry) {
            if (auto reason = enter(table, entry)) return {reason, 0};
        }
        entry = load_entry(&table.words[VTTM_PT_INDEX(va, level)]);
        if (!(entry & VTTM_PTE_VALID)) return {VTTM_FAULT_NOT_VALID, 0};
    }
    if (entry & kReserved) return {VTTM_FAULT_RESERVED_BITS, 0};
    return {VTTM_FAULT_NONE, entry};
}

void Walker::release() {
    for (Table& table : tables_) table = Table();
}

}  // namespace vttm::model
