// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/tlb.h"

#include <algorithm>
#include <bit>
#include <new>

#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"

namespace vttm::model {

namespace {
constexpr unsigned kVpnBits = VTTM_VA_BITS - VTTM_PAGE_SHIFT;
constexpr unsigned kVmBits = 8;
constexpr unsigned kSizeShift = kVpnBits + kVmBits;
constexpr uint64_t kVpns = 1ull << kVpnBits;
constexpr size_t kFirstSlots = 4096;

static_assert(VTTM_MAX_VMS == 1u << kVmBits);

unsigned size_of_key(uint64_t key) { return static_cast<unsigned>(key >> kSizeShift); }
uint32_t vm_of_key(uint64_t key) {
    return static_cast<uint32_t>(key >> kVpnBits & ((1u << kVmBits) - 1));
}
}  // namespace

// Open addressing with linear probing at a load of at most one half; erasing shifts back, so there
// are no tombstones and a lookup never degrades.
Tlb::Tlb(size_t capacity, const Shifts& shifts)
    : shifts_(shifts), capacity_(std::max<size_t>(capacity, 1)) {
    size_t n = std::min(kFirstSlots, std::bit_ceil(capacity_ * 2));
    slots_.assign(n, Slot{0, 0});
    shift_ = 64 - static_cast<unsigned>(std::countr_zero(n));
}

uint64_t Tlb::key_of(uint32_t vm, uint64_t vpn, unsigned size) const {
    return static_cast<uint64_t>(size) << kSizeShift | static_cast<uint64_t>(vm) << kVpnBits |
           vpn >> shifts_[size];
}

// Neighbouring pages share cache lines: eight consecutive keys have consecutive homes.
size_t Tlb::home(uint64_t key) const {
    uint64_t group = (key >> 3) * 0x9e3779b97f4a7c15ull;
    return ((group >> shift_) & ~size_t{7}) | (key & 7);
}

size_t Tlb::find(uint64_t key) const {
    const size_t mask = slots_.size() - 1;
    size_t i = home(key) & mask;
    while (slots_[i].pte && slots_[i].key != key) i = (i + 1) & mask;
    return i;
}

Tlb::Hit Tlb::lookup(uint32_t vm, uint64_t vpn) const {
    for (unsigned size = 0; size < kSizes; size++) {
        if (!used_by_size_[size]) continue;
        const uint64_t pte = slots_[find(key_of(vm, vpn, size))].pte;
        if (pte) return {pte, size};
    }
    return {};
}

void Tlb::insert(uint32_t vm, uint64_t vpn, unsigned size, uint64_t pte) {
    const uint64_t key = key_of(vm, vpn, size);
    if (used_ >= capacity_ || ((used_ + 1) * 2 > slots_.size() && !grow())) evict_one();
    slots_[find(key)] = Slot{key, pte};
    used_++;
    used_by_size_[size]++;
}

bool Tlb::grow() {
    std::vector<Slot> old;
    try {
        std::vector<Slot> bigger(slots_.size() * 2, Slot{0, 0});
        old.swap(slots_);
        slots_.swap(bigger);
    } catch (const std::bad_alloc&) {
        // Out of host memory: what there is now is the capacity.
        capacity_ = std::max<size_t>(used_, 1);
        return false;
    }
    shift_--;
    hand_ = 0;
    for (const Slot& s : old)
        if (s.pte) slots_[find(s.key)] = s;
    return true;
}

void Tlb::erase_slot(size_t i) {
    const size_t mask = slots_.size() - 1;
    used_by_size_[size_of_key(slots_[i].key)]--;
    size_t hole = i;
    for (size_t j = (i + 1) & mask; slots_[j].pte; j = (j + 1) & mask) {
        // An entry may fill the hole unless its home lies behind the hole.
        size_t from_home = (j - (home(slots_[j].key) & mask)) & mask;
        size_t from_hole = (j - hole) & mask;
        if (from_home >= from_hole) {
            slots_[hole] = slots_[j];
            hole = j;
        }
    }
    slots_[hole] = Slot{0, 0};
    used_--;
}

void Tlb::evict_one() {
    const size_t mask = slots_.size() - 1;
    if (!used_) return;
    while (!slots_[hand_ & mask].pte) hand_++;
    erase_slot(hand_ & mask);
    hand_ = (hand_ + 1) & mask;
    evictions_++;
}

template <typename Match>
void Tlb::erase_if(Match match) {
    for (size_t i = 0; i < slots_.size();) {
        if (slots_[i].pte && match(slots_[i].key))
            erase_slot(i);  // may have moved another entry here: look again
        else
            i++;
    }
}

void Tlb::invalidate_all() {
    if (!used_) return;
    std::fill(slots_.begin(), slots_.end(), Slot{0, 0});
    used_ = 0;
    used_by_size_ = {};
}

void Tlb::invalidate_vm(uint32_t vm) {
    if (!used_) return;
    erase_if([vm](uint64_t key) { return vm_of_key(key) == vm; });
}

void Tlb::invalidate_keys(uint64_t first, uint64_t n) {
    if (n > used_) {
        erase_if([=](uint64_t key) { return key - first < n; });
        return;
    }
    for (uint64_t key = first; key < first + n; key++) {
        const size_t i = find(key);
        if (slots_[i].pte) erase_slot(i);
    }
}

void Tlb::invalidate_range(uint32_t vm, uint64_t first_vpn, uint64_t pages) {
    if (!pages || first_vpn >= kVpns || vm >> kVmBits) return;
    const uint64_t last_vpn = first_vpn + std::min(pages, kVpns - first_vpn) - 1;
    for (unsigned size = 0; size < kSizes; size++) {
        if (!used_by_size_[size]) continue;
        const uint64_t first = key_of(vm, first_vpn, size);
        invalidate_keys(first, key_of(vm, last_vpn, size) - first + 1);
    }
}

}  // namespace vttm::model
