// SPDX-License-Identifier: Apache-2.0
#include "tests/fuzz/reference_walk.h"

#include "protocol/vttm_packets.h"

namespace vttm::fuzz {

namespace {

constexpr uint64_t kAddress = 0x000ffffffffff000;
constexpr uint64_t kMustBeZero = 0xfff0000000000fe0;
constexpr unsigned kPageBits = 12, k64KBits = 16, k2MBits = 21;

uint64_t low(uint64_t va, unsigned bits) { return va & ((1ull << bits) - 1); }
// Bits of the range of addresses below a table of @level.
unsigned below(unsigned level) { return kPageBits + 9 * (level + 1); }
uint32_t space(uint64_t entry) {
    return entry & VTTM_PTE_SYSTEM ? VTTM_SPACE_SYSTEM : VTTM_SPACE_VRAM;
}

}  // namespace

vttm_fault_reason ReferenceMmu::table_fault(uint64_t entry) const {
    if (read_(entry & VTTM_PTE_SYSTEM, entry & kAddress)) return VTTM_FAULT_NONE;
    return entry & VTTM_PTE_SYSTEM ? VTTM_FAULT_BUS : VTTM_FAULT_VRAM_RANGE;
}

vttm_fault_reason ReferenceMmu::check_64k(uint64_t table, uint64_t entry, uint64_t va) const {
    if (low(entry & kAddress, k64KBits) != (low(va, k64KBits) & kAddress))
        return VTTM_FAULT_LEAF_ALIGN;
    const uint64_t first = (va >> kPageBits & 0x1f0) * 8;
    for (uint64_t i = 0; i < 16; i++) {
        const uint64_t want = (entry & ~0xf000ull) + i * 0x1000;
        if (*read_(table & VTTM_PTE_SYSTEM, (table & kAddress) + first + i * 8) != want)
            return VTTM_FAULT_LEAF_MIXED;
    }
    return VTTM_FAULT_NONE;
}

ReferenceMmu::Walk ReferenceMmu::walk_tables(unsigned level, uint64_t table, uint64_t va,
                                             bool real) const {
    Walk walk;
    for (;; level--) {
        if ((walk.reason = table_fault(table))) return walk;
        walk.led_to[level] = table;
        const uint64_t index = va >> (kPageBits + 9 * level) & 511;
        const uint64_t at = (table & kAddress) + index * 8;
        if (real && !(table & VTTM_PTE_SYSTEM) && is_poisoned(at)) {
            walk.reason = VTTM_FAULT_POISON;
            walk.unread = at;
            return walk;
        }
        const uint64_t entry = *read_(table & VTTM_PTE_SYSTEM, at);
        const bool large = entry & VTTM_PTE_LARGE;
        const bool leaf = level == 0 || (level == 1 && large);

        if (!(entry & VTTM_PTE_VALID))
            walk.reason = VTTM_FAULT_NOT_VALID;
        else if (entry & kMustBeZero || (!leaf && entry & VTTM_PTE_NO_ACCESS))
            walk.reason = VTTM_FAULT_RESERVED_BITS;
        else if (large && level > 1)
            walk.reason = VTTM_FAULT_LEAF_LEVEL;
        else if (leaf && level == 1 && low(entry & kAddress, k2MBits))
            walk.reason = VTTM_FAULT_LEAF_ALIGN;
        else if (level == 0 && large)
            walk.reason = check_64k(table, entry, va);
        if (walk.reason) return walk;
        if (leaf) {
            walk.bits = level ? k2MBits : large ? k64KBits : kPageBits;
            walk.entry = entry & ~(low(kAddress, walk.bits));
            return walk;
        }
        table = entry;
    }
}

ReferenceMmu::Walk ReferenceMmu::walk_root(uint32_t vm, uint64_t va, bool real) const {
    const auto it = roots_.find(vm);
    const uint64_t root = it == roots_.end() ? 0 : it->second;
    Walk walk;
    if (!(root & VTTM_PTE_VALID))
        walk.reason = VTTM_FAULT_NO_VM;
    else if (root & (kMustBeZero | VTTM_PTE_NO_ACCESS))
        walk.reason = VTTM_FAULT_RESERVED_BITS;
    else if (root & VTTM_PTE_LARGE)
        walk.reason = VTTM_FAULT_LEAF_LEVEL;
    return walk.reason ? walk : walk_tables(3, root, va, real);
}

std::optional<ReferenceMmu::Cached> ReferenceMmu::look(const Cache& cache, uint32_t vm, uint64_t va,
                                                       std::initializer_list<unsigned> sizes) {
    for (unsigned bits : sizes)
        if (const auto it = cache.find({vm, bits, va >> bits}); it != cache.end())
            return Cached{it->second, bits};
    return std::nullopt;
}

model::Translation ReferenceMmu::translate(uint32_t vm, uint64_t va, bool write) {
    model::Translation t;
    if (vm >= VTTM_MAX_VMS) {
        t.reason = VTTM_FAULT_NO_VM;
        return t;
    }
    const Walk now = walk_root(vm, va, false);
    auto leaf = look(leaves_, vm, va, {kPageBits, k64KBits, k2MBits});
    if (leaf) {
        t.stale = now.reason || now.bits != leaf->bits || now.entry != leaf->entry;
    } else {
        unsigned known = 3;  // the lowest table that the page-walk cache knows
        uint64_t from = 0;
        for (unsigned level = 0; level < 3; level++) {
            const auto it = tables_.find({vm, below(level), va >> below(level)});
            if (it == tables_.end()) continue;
            known = level;
            from = it->second;
            if (from == now.led_to[level]) break;
            t.stale = true;
            t.phys = from & kAddress;
            t.space = space(from);
            break;
        }
        const Walk walk = known < 3 ? walk_tables(known, from, va, true) : walk_root(vm, va, true);
        for (unsigned level = 0; level < known; level++)
            if (walk.led_to[level])
                tables_[{vm, below(level), va >> below(level)}] = walk.led_to[level];
        t.reason = walk.reason;
        t.poisoned = walk.unread;
        if (t.reason) return t;
        leaves_[{vm, walk.bits, va >> walk.bits}] = walk.entry;
        leaf = Cached{walk.entry, walk.bits};
    }
    const uint64_t in_leaf = low(va, leaf->bits) & kAddress;
    t.space = space(leaf->entry);
    t.phys = (leaf->entry & kAddress) + in_leaf;
    t.bytes = (1ull << leaf->bits) - in_leaf;
    if (leaf->entry & VTTM_PTE_NO_ACCESS)
        t.reason = VTTM_FAULT_NO_ACCESS;
    else if (write && !(leaf->entry & VTTM_PTE_WRITE))
        t.reason = VTTM_FAULT_READ_ONLY;
    else if (t.space == VTTM_SPACE_VRAM && (t.phys > vram_size_ || t.bytes > vram_size_ - t.phys))
        t.reason = VTTM_FAULT_VRAM_RANGE;
    return t;
}

void ReferenceMmu::drop(Cache& cache, const model::TlbInvalidation& inv) {
    std::erase_if(cache, [&](const auto& item) {
        const auto [vm, bits, index] = item.first;
        if (inv.scope != VTTM_TLB_INV_VM && inv.scope != VTTM_TLB_INV_RANGE) return true;
        if (vm != inv.vm) return false;
        if (inv.scope == VTTM_TLB_INV_VM) return true;
        // In pages, so that nothing overflows.
        const uint64_t first = index << (bits - kPageBits), n = 1ull << (bits - kPageBits);
        const uint64_t start = inv.start >> kPageBits;
        return first + n > start && first < start + inv.pages && inv.pages;
    });
}

void ReferenceMmu::invalidate(const model::TlbInvalidation& inv) {
    drop(leaves_, inv);
    drop(tables_, inv);
}

}  // namespace vttm::fuzz
