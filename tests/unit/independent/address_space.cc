// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/independent/address_space.h"

#include <stdexcept>

namespace vttm::independent {

AddressSpace::AddressSpace(Device& device, uint32_t vm, uint32_t tables)
    : device_(device), vm_(vm), tables_(tables), root_(NewTable()) {
    WriteRoot(Pointer(root_));
}

Place AddressSpace::NewTable() {
    const Place table = device_.AllocPlace(tables_, VTTM_PAGE_SIZE);
    device_.Write(table, std::vector<uint8_t>(VTTM_PAGE_SIZE, 0));
    return table;
}

uint64_t AddressSpace::Pointer(Place to, uint64_t flags) {
    return to.address | (to.space == VTTM_SPACE_SYSTEM ? VTTM_PTE_SYSTEM : 0) | flags |
           VTTM_PTE_VALID;
}

Place AddressSpace::Entry(uint64_t va, int level) {
    Place table = root_;
    for (int l = VTTM_PT_LEVELS - 1;; l--) {
        const Place at = table + VTTM_PT_INDEX(va, l) * 8;
        if (l == level) return at;
        uint64_t entry = device_.Read64(at);
        if (!(entry & VTTM_PTE_VALID)) {
            entry = Pointer(NewTable());
            device_.Write64(at, entry);
        }
        if (entry & VTTM_PTE_LARGE) throw std::logic_error("a large leaf is in the way");
        table = {entry & VTTM_PTE_SYSTEM ? VTTM_SPACE_SYSTEM : VTTM_SPACE_VRAM,
                 entry & VTTM_PTE_ADDR};
    }
}

void AddressSpace::Map(uint64_t va, Place to, uint64_t bytes, Leaf leaf, uint64_t rights) {
    const uint64_t large = leaf == Leaf::k4K ? 0 : VTTM_PTE_LARGE;
    const int level = leaf == Leaf::k2M ? 1 : 0;
    const uint64_t step = leaf == Leaf::k2M ? static_cast<uint64_t>(leaf) : VTTM_PAGE_SIZE;
    for (uint64_t at = 0; at < bytes; at += step) {
        Set(va + at, level, Pointer(to + at, rights | large));
    }
}

void AddressSpace::Unmap(uint64_t va, uint64_t bytes, Leaf leaf) {
    const int level = leaf == Leaf::k2M ? 1 : 0;
    const uint64_t step = leaf == Leaf::k2M ? static_cast<uint64_t>(leaf) : VTTM_PAGE_SIZE;
    for (uint64_t at = 0; at < bytes; at += step) Set(va + at, level, 0);
}

}  // namespace vttm::independent
