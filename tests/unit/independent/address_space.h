// SPDX-License-Identifier: Apache-2.0
// Page tables of one VM, built by hand in system memory or in VRAM, as vttm_pte.h says.
#pragma once

#include <cstdint>

#include "protocol/vttm_pte.h"
#include "tests/unit/independent/device.h"

namespace vttm::independent {

enum class Leaf : uint64_t {
    k4K = VTTM_PAGE_SIZE,
    k64K = 1ull << VTTM_LEAF_64K_SHIFT,
    k2M = 1ull << VTTM_LEAF_2M_SHIFT
};

class AddressSpace {
public:
    /// Tables lie in @tables (VTTM_SPACE_SYSTEM or VTTM_SPACE_VRAM); the root is written at once.
    AddressSpace(Device& device, uint32_t vm, uint32_t tables = VTTM_SPACE_SYSTEM);

    /// Maps [va, va + bytes) to memory at @to in leaves of one size; all is a multiple of it.
    void Map(uint64_t va, Place to, uint64_t bytes, Leaf leaf = Leaf::k4K,
             uint64_t rights = VTTM_PTE_WRITE);
    /// Makes the leaves invalid; the invalidation is the caller's.
    void Unmap(uint64_t va, uint64_t bytes, Leaf leaf = Leaf::k4K);

    /// Where the entry of @level on the way to @va stands; tables down to it are made.
    Place Entry(uint64_t va, int level);
    uint64_t Get(uint64_t va, int level) { return device_.Read64(Entry(va, level)); }
    void Set(uint64_t va, int level, uint64_t entry) { device_.Write64(Entry(va, level), entry); }
    Place NewTable();
    /// The entry that leads to a table, or a leaf for memory.
    static uint64_t Pointer(Place to, uint64_t flags = 0);
    void WriteRoot(uint64_t entry) { device_.Wr64(VTTM_REG_VM_ROOT_LO(vm_), entry); }

    uint32_t vm() const { return vm_; }
    Place root() const { return root_; }

private:
    Device& device_;
    uint32_t vm_;
    uint32_t tables_;
    Place root_;
};

}  // namespace vttm::independent
