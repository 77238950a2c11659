// SPDX-License-Identifier: Apache-2.0
// A cache of page-table entries, by VM and address range: the modelled TLB of an engine (leaves)
// and its page-walk cache (upper entries). It forgets only by invalidation, by reset, and, when it
// is full, by deterministic eviction. Not thread-safe: the owner serializes.
//
// A guest chooses what is in here and what is dropped, and whoever writes the register waits for
// it: so nothing costs more than kMaxProbes looks at kMaxChain nodes, whatever was done before. To
// drop a VM is to give it the next generation: its nodes, all of the old one, are dead where they
// are, and are used again one by one.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "protocol/vttm_regs.h"

namespace vttm::model {

class Tlb {
public:
    static constexpr unsigned kSizes = 3;
    // Most nodes that share a hash. Sound address spaces stay below; a guest that has found
    // addresses that collide loses the oldest of them.
    static constexpr unsigned kMaxChain = 8;
    // Most entries that one invalidation looks at; more, and all of the VM is dropped.
    static constexpr uint64_t kMaxProbes = 4096;

    // Shift of each size of range that an entry may cover, relative to a page: smallest first.
    using Shifts = std::array<unsigned, kSizes>;

    struct Hit {
        uint64_t pte = 0;   // 0: nothing is cached (what is has VALID set)
        unsigned size = 0;  // index into the shifts
    };

    // @capacity: entries of all sizes, at least 1, below 2^@generation_bits.
    Tlb(size_t capacity, const Shifts& shifts, unsigned generation_bits = 32);

    // The cached entry that covers @vpn (VA >> VTTM_PAGE_SHIFT) in @vm; of several the smallest.
    Hit lookup(uint32_t vm, uint64_t vpn) const;
    // Caches the valid entry @pte, which covers a range of @size around @vpn; the caller has just
    // missed (nothing is cached for this range).
    void insert(uint32_t vm, uint64_t vpn, unsigned size, uint64_t pte);

    void invalidate_all();
    void invalidate_vm(uint32_t vm);
    // Drops every entry that covers any of these pages; all of @vm if that would be more than
    // kMaxProbes looks.
    void invalidate_range(uint32_t vm, uint64_t first_vpn, uint64_t pages);

    size_t size() const { return live_; }
    uint64_t evictions() const { return evictions_; }

private:
    using Index = uint32_t;  // of a node, plus 1; 0: none

    struct Node {
        uint64_t key;
        uint64_t pte;
        uint32_t generation;
        Index chain;  // next of the same hash; of a free node: the next free one
        Index prev, next;
    };
    // Nodes of a VM and size, or dead ones, the oldest first.
    struct List {
        Index first = 0;
        Index last = 0;
        size_t count = 0;
    };
    struct Vm {
        uint32_t generation = 0;
        std::array<List, kSizes> lists;
    };
    struct Free {
        void operator()(Index* p) const { std::free(p); }
    };

    Node& node(Index i) { return nodes_[i - 1]; }
    const Node& node(Index i) const { return nodes_[i - 1]; }
    Index& bucket(uint64_t key) const;
    bool is_dead(const Node& n) const;
    List& list_of(const Node& n);
    Index find(uint64_t key) const;

    void append(List& list, Index i);
    void unlink(List& list, Index i);
    void unchain(Index i);
    void release(Index i);
    void drop(Index i);
    void bury();
    void evict(Index i);
    void trim_chain(uint64_t key);
    Index take_node();
    void invalidate_list(List& list, uint64_t first, uint64_t keys);

    const Shifts shifts_;
    const size_t capacity_;
    const uint32_t generation_mask_;
    std::vector<Node> nodes_;  // grows to the capacity, never beyond: its memory stays where it is
    std::unique_ptr<Index, Free> buckets_;
    unsigned bucket_shift_;  // 64 - log2(number of buckets)
    std::array<Vm, VTTM_MAX_VMS> vms_{};
    List dead_;
    Index free_ = 0;
    size_t live_ = 0;
    size_t hand_ = 0;  // the next victim when there is nothing but live nodes
    uint64_t evictions_ = 0;
};

}  // namespace vttm::model
