// SPDX-License-Identifier: Apache-2.0
// A cache of page-table entries, by VM and address range: the modelled TLB of an engine (leaves)
// and its page-walk cache (upper entries). It forgets only by invalidation, by reset, and, when it
// is full, by deterministic eviction. Not thread-safe: the owner serializes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace vttm::model {

class Tlb {
public:
    static constexpr unsigned kSizes = 3;
    // Shift of each size of range that an entry may cover, relative to a page: smallest first.
    using Shifts = std::array<unsigned, kSizes>;

    struct Hit {
        uint64_t pte = 0;   // 0: nothing is cached (what is has VALID set)
        unsigned size = 0;  // index into the shifts
    };

    // @capacity: entries of all sizes, at least 1.
    Tlb(size_t capacity, const Shifts& shifts);

    // The cached entry that covers @vpn (VA >> VTTM_PAGE_SHIFT) in @vm; of several the smallest.
    Hit lookup(uint32_t vm, uint64_t vpn) const;
    // Caches the valid entry @pte, which covers a range of @size around @vpn; the caller has just
    // missed (nothing is cached for this range).
    void insert(uint32_t vm, uint64_t vpn, unsigned size, uint64_t pte);

    void invalidate_all();
    void invalidate_vm(uint32_t vm);
    // Drops every entry that covers any of these pages.
    void invalidate_range(uint32_t vm, uint64_t first_vpn, uint64_t pages);

    size_t size() const { return used_; }
    uint64_t evictions() const { return evictions_; }

private:
    struct Slot {
        uint64_t key;
        uint64_t pte;  // 0: free
    };

    uint64_t key_of(uint32_t vm, uint64_t vpn, unsigned size) const;
    size_t home(uint64_t key) const;
    // The slot of @key, or the free one where it would be.
    size_t find(uint64_t key) const;
    void erase_slot(size_t i);
    void evict_one();
    bool grow();
    template <typename Match>
    void erase_if(Match match);
    void invalidate_keys(uint64_t first, uint64_t n);

    const Shifts shifts_;
    size_t capacity_;
    size_t used_ = 0;
    std::array<size_t, kSizes> used_by_size_{};
    size_t hand_ = 0;  // where the search for the next victim starts
    uint64_t evictions_ = 0;
    unsigned shift_ = 0;  // 64 - log2(slots_.size())
    std::vector<Slot> slots_;
};

}  // namespace vttm::model
