// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/tlb.h"

#include <algorithm>
#include <bit>
#include <new>

#include "protocol/vttm_pte.h"

namespace vttm::model {

namespace {
constexpr unsigned kVpnBits = VTTM_VA_BITS - VTTM_PAGE_SHIFT;
constexpr unsigned kVmBits = 8;
constexpr unsigned kSizeShift = kVpnBits + kVmBits;
constexpr uint64_t kVpns = 1ull << kVpnBits;
constexpr size_t kAhead = 8;  // nodes
constexpr size_t kGroup = 8;  // neighbouring keys whose buckets share a cache line

static_assert(VTTM_MAX_VMS == 1u << kVmBits);

unsigned size_of_key(uint64_t key) { return static_cast<unsigned>(key >> kSizeShift); }
uint32_t vm_of_key(uint64_t key) {
    return static_cast<uint32_t>(key >> kVpnBits & ((1u << kVmBits) - 1));
}
uint64_t key_of(uint32_t vm, uint64_t vpn, unsigned size, unsigned shift) {
    return static_cast<uint64_t>(size) << kSizeShift | static_cast<uint64_t>(vm) << kVpnBits |
           vpn >> shift;
}
}  // namespace

// Chains of nodes behind twice as many buckets as nodes. The memory of both is only touched where
// it is used.
Tlb::Tlb(size_t capacity, const Shifts& shifts, unsigned generation_bits)
    : shifts_(shifts),
      capacity_(std::max<size_t>(capacity, 1)),
      generation_mask_(static_cast<uint32_t>((1ull << generation_bits) - 1)) {
    const size_t n = std::max(kGroup, std::bit_ceil(capacity_) * 2);
    buckets_.reset(static_cast<Index*>(std::calloc(n, sizeof(Index))));
    if (!buckets_) throw std::bad_alloc();
    bucket_shift_ = 64 - static_cast<unsigned>(std::countr_zero(n));
    nodes_.reserve(capacity_);
}

// Neighbours have different buckets, and so do pages at a stride.
Tlb::Index& Tlb::bucket(uint64_t key) const {
    const uint64_t group = key / kGroup * 0x9e3779b97f4a7c15ull;
    return buckets_.get()[(group >> bucket_shift_) ^ (key & (kGroup - 1))];
}

bool Tlb::is_dead(const Node& n) const { return n.generation != vms_[vm_of_key(n.key)].generation; }

Tlb::List& Tlb::list_of(const Node& n) { return vms_[vm_of_key(n.key)].lists[size_of_key(n.key)]; }

Tlb::Index Tlb::find(uint64_t key) const {
    Index i = bucket(key);
    while (i && (node(i).key != key || is_dead(node(i)))) i = node(i).chain;
    // What an engine copies pushes the nodes out of the CPU's caches. Neighbours were mostly inserted one behind the other,
    // and are looked up so: fetching ahead takes a tenth off a copy in leaves of 4 KiB.
    if (i) {
        __builtin_prefetch(nodes_.data() + std::min<size_t>(i + kAhead, nodes_.size() - 1));
        if (key % kGroup == 0) __builtin_prefetch(&bucket(key + kGroup));
    }
    return i;
}

Tlb::Hit Tlb::lookup(uint32_t vm, uint64_t vpn) const {
    for (unsigned size = 0; size < kSizes; size++) {
        if (!vms_[vm].lists[size].count) continue;
        if (const Index i = find(key_of(vm, vpn, size, shifts_[size]))) return {node(i).pte, size};
    }
    return {};
}

// --- Nodes ---------------------------------------------------------------------------------------

void Tlb::append(List& list, Index i) {
    node(i).prev = list.last;
    node(i).next = 0;
    (list.last ? node(list.last).next : list.first) = i;
    list.last = i;
    list.count++;
}

void Tlb::unlink(List& list, Index i) {
    const Node& n = node(i);
    (n.prev ? node(n.prev).next : list.first) = n.next;
    (n.next ? node(n.next).prev : list.last) = n.prev;
    list.count--;
}

void Tlb::unchain(Index i) {
    Index* at = &bucket(node(i).key);
    while (*at != i) at = &node(*at).chain;
    *at = node(i).chain;
}

// A node that is in no list any more can be used again.
void Tlb::release(Index i) {
    unchain(i);
    node(i).chain = free_;
    free_ = i;
}

void Tlb::drop(Index i) {
    unlink(list_of(node(i)), i);
    live_--;
    release(i);
}

// Uses the node again that has been dead for longest.
void Tlb::bury() {
    const Index i = dead_.first;
    unlink(dead_, i);
    release(i);
}

void Tlb::evict(Index i) {
    drop(i);
    evictions_++;
}

// Makes room for one more node in the chain of @key.
void Tlb::trim_chain(uint64_t key) {
    unsigned length = 0;
    Index last = 0;
    for (Index i = bucket(key), next; i; i = next) {
        next = node(i).chain;
        if (is_dead(node(i))) {
            unlink(dead_, i);
            release(i);
        } else {
            length++;
            last = i;
        }
    }
    if (length >= kMaxChain) evict(last);
}

Tlb::Index Tlb::take_node() {
    if (!free_ && nodes_.size() < capacity_) {
        nodes_.emplace_back();
        return static_cast<Index>(nodes_.size());
    }
    if (!free_ && dead_.first) bury();
    if (!free_) {
        evict(static_cast<Index>(hand_ + 1));  // no node is free or dead: it is a live one
        hand_ = (hand_ + 1) % capacity_;
    }
    const Index i = free_;
    free_ = node(i).chain;
    return i;
}

void Tlb::insert(uint32_t vm, uint64_t vpn, unsigned size, uint64_t pte) {
    const uint64_t key = key_of(vm, vpn, size, shifts_[size]);
    trim_chain(key);
    const Index i = take_node();
    Index& first = bucket(key);
    node(i) = Node{key, pte, vms_[vm].generation, first, 0, 0};
    first = i;
    append(list_of(node(i)), i);
    live_++;
}

// --- Invalidation --------------------------------------------------------------------------------

void Tlb::invalidate_all() {
    if (!live_) return;
    for (uint32_t vm = 0; vm < VTTM_MAX_VMS; vm++) invalidate_vm(vm);
}

// Each call that kills buries one, the oldest first: so, with fewer nodes than generations, no node
// is left of a generation when its number comes again.
void Tlb::invalidate_vm(uint32_t vm) {
    if (vm >= VTTM_MAX_VMS) return;
    bool any = false;
    for (List& list : vms_[vm].lists) {
        if (!list.first) continue;
        any = true;
        live_ -= list.count;
        node(list.first).prev = dead_.last;
        (dead_.last ? node(dead_.last).next : dead_.first) = list.first;
        dead_.last = list.last;
        dead_.count += list.count;
        list = List();
    }
    if (!any) return;
    vms_[vm].generation = (vms_[vm].generation + 1) & generation_mask_;
    bury();
}

// Drops what has one of @keys keys from @first on: by the keys or by the nodes, as is less work.
void Tlb::invalidate_list(List& list, uint64_t first, uint64_t keys) {
    if (keys < list.count) {
        for (uint64_t key = first; key < first + keys; key++)
            if (const Index i = find(key)) drop(i);
        return;
    }
    for (Index i = list.first, next; i; i = next) {
        next = node(i).next;
        if (node(i).key - first < keys) drop(i);
    }
}

void Tlb::invalidate_range(uint32_t vm, uint64_t first_vpn, uint64_t pages) {
    if (!pages || first_vpn >= kVpns || vm >= VTTM_MAX_VMS) return;
    const uint64_t last_vpn = first_vpn + std::min(pages, kVpns - first_vpn) - 1;
    std::array<uint64_t, kSizes> first, keys;
    uint64_t probes = 0;
    for (unsigned size = 0; size < kSizes; size++) {
        first[size] = key_of(vm, first_vpn, size, shifts_[size]);
        keys[size] = key_of(vm, last_vpn, size, shifts_[size]) - first[size] + 1;
        probes += std::min<uint64_t>(keys[size], vms_[vm].lists[size].count);
    }
    if (probes > kMaxProbes) {
        invalidate_vm(vm);
        return;
    }
    for (unsigned size = 0; size < kSizes; size++)
        invalidate_list(vms_[vm].lists[size], first[size], keys[size]);
}

}  // namespace vttm::model
