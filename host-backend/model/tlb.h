// SPDX-License-Identifier: Apache-2.0
// The modelled TLB of one engine: leaves by (VM, page). It forgets only by invalidation, by reset,
// and, when it is full, by deterministic eviction. Not thread-safe: the owner serializes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace vttm::model {

class Tlb {
public:
    // @capacity: entries, at least 1.
    explicit Tlb(size_t capacity);

    // The cached leaf of @vpn (VA >> VTTM_PAGE_SHIFT) in @vm, or 0 (a cached leaf has VALID set).
    uint64_t lookup(uint32_t vm, uint64_t vpn) const;
    // Caches the valid leaf @pte; the caller has just missed (the key is not in the TLB).
    void insert(uint32_t vm, uint64_t vpn, uint64_t pte);

    void invalidate_all();
    void invalidate_vm(uint32_t vm);
    void invalidate_range(uint32_t vm, uint64_t first_vpn, uint64_t pages);

    size_t size() const { return used_; }
    uint64_t evictions() const { return evictions_; }

private:
    struct Slot {
        uint64_t key;
        uint64_t pte;  // 0: free
    };

    static uint64_t key_of(uint32_t vm, uint64_t vpn);
    size_t home(uint64_t key) const;
    void place(uint64_t key, uint64_t pte);
    void erase_slot(size_t i);
    void evict_one();
    bool grow();
    template <typename Match>
    void erase_if(Match match);

    size_t capacity_;
    size_t used_ = 0;
    size_t hand_ = 0;  // where the search for the next victim starts
    uint64_t evictions_ = 0;
    unsigned shift_ = 0;  // 64 - log2(slots_.size())
    std::vector<Slot> slots_;
};

}  // namespace vttm::model
