// SPDX-License-Identifier: Apache-2.0
// What protocol/README.md says of page tables and the invalidation rule, written a second time and
// as plainly as can be: no mapping is kept, caches are maps without a limit, nothing is fast.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "host-backend/model/mmu.h"

namespace vttm::fuzz {

// Reads 8 bytes; nothing if there is no memory.
using ReadMemory = std::function<std::optional<uint64_t>(bool system, uint64_t addr)>;

class ReferenceMmu {
public:
    ReferenceMmu(ReadMemory read, uint64_t vram_size)
        : read_(std::move(read)), vram_size_(vram_size) {}

    void set_root(uint32_t vm, uint64_t root) { roots_[vm] = root; }
    model::Translation translate(uint32_t vm, uint64_t va, bool write);
    void invalidate(const model::TlbInvalidation& inv);
    // Pages of VRAM that cannot be read, by their offset.
    void poison(std::set<uint64_t> pages) { poisoned_ = std::move(pages); }
    bool is_poisoned(uint64_t offset) const { return poisoned_.contains(offset >> 12 << 12); }

private:
    struct Walk {
        vttm_fault_reason reason = VTTM_FAULT_NONE;
        uint64_t entry = 0;                // the leaf, as its first page's entry
        unsigned bits = 0;                 // of its size
        std::array<uint64_t, 4> led_to{};  // what led to the table of each level
        uint64_t unread = 0;               // the entry that is poisoned, if one is
    };
    struct Cached {
        uint64_t entry;
        unsigned bits;  // of the range that it is cached for
    };
    using Cache = std::map<std::tuple<uint32_t, unsigned, uint64_t>, uint64_t>;  // VM, bits, index

    // @real: the device's own, which poison hinders; else only to look what is there.
    Walk walk_root(uint32_t vm, uint64_t va, bool real) const;
    Walk walk_tables(unsigned level, uint64_t entry, uint64_t va, bool real) const;
    vttm_fault_reason table_fault(uint64_t entry) const;
    vttm_fault_reason check_64k(uint64_t table, uint64_t entry, uint64_t va) const;
    static std::optional<Cached> look(const Cache& cache, uint32_t vm, uint64_t va,
                                      std::initializer_list<unsigned> sizes);
    static void drop(Cache& cache, const model::TlbInvalidation& inv);

    ReadMemory read_;
    uint64_t vram_size_;
    std::map<uint32_t, uint64_t> roots_;
    Cache leaves_;
    Cache tables_;
    std::set<uint64_t> poisoned_;
};

}  // namespace vttm::fuzz
