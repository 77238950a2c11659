// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/tlb.h"

#include <algorithm>
#include <bit>
#include <new>

#include "protocol/vttm_pte.h"

namespace vttm::model {

namespace {
constexpr unsigned kVpnBits = VTTM_VA_BITS - VTTM_PAGE_SHIFT;
constexpr size_t kFirstSlots = 4096;
}  // namespace

// Open addressing with linear probing at a load of at most one half; erasing shifts back, so there
// are no tombstones and a lookup never degrades.
Tlb::Tlb(size_t capacity) : capacity_(std::max<size_t>(capacity, 1)) {
    size_t n = std::min(kFirstSlots, std::bit_ceil(capacity_ * 2));
    slots_.assign(n, Slot{0, 0});
    shift_ = 64 - static_cast<unsigned>(std::countr_zero(n));
}

uint64_t Tlb::key_of(uint32_t vm, uint64_t vpn) {
    return static_cast<uint64_t>(vm) << kVpnBits | vpn;
}

// Neighbouring pages share cache lines: eight consecutive keys have consecutive homes.
size_t Tlb::home(uint64_t key) const {
    uint64_t group = (key >> 3) * 0x9e3779b97f4a7c15ull;
    return ((group >> shift_) & ~size_t{7}) | (key & 7);
}

uint64_t Tlb::lookup(uint32_t vm, uint64_t vpn) const {
    const uint64_t key = key_of(vm, vpn);
    const size_t mask = slots_.size() - 1;
    for (size_t i = home(key) & mask;; i = (i + 1) & mask) {
        if (!slots_[i].pte) return 0;
        if (slots_[i].key == key) return slots_[i].pte;
    }
}

void Tlb::place(uint64_t key, uint64_t pte) {
    const size_t mask = slots_.size() - 1;
    size_t i = home(key) & mask;
    while (slots_[i].pte) i = (i + 1) & mask;
    slots_[i] = Slot{key, pte};
}

void Tlb::insert(uint32_t vm, uint64_t vpn, uint64_t pte) {
    if (used_ >= capacity_ || ((used_ + 1) * 2 > slots_.size() && !grow())) evict_one();
    place(key_of(vm, vpn), pte);
    used_++;
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
        if (s.pte) place(s.key, s.pte);
    return true;
}

void Tlb::erase_slot(size_t i) {
    const size_t mask = slots_.size() - 1;
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
}

void Tlb::invalidate_vm(uint32_t vm) {
    if (!used_) return;
    erase_if([vm](uint64_t key) { return key >> kVpnBits == vm; });
}

void Tlb::invalidate_range(uint32_t vm, uint64_t first_vpn, uint64_t pages) {
    constexpr uint64_t kVpns = 1ull << kVpnBits;
    if (!used_ || first_vpn >= kVpns) return;
    pages = std::min(pages, kVpns - first_vpn);
    const uint64_t first = key_of(vm, first_vpn);
    if (pages > used_) {
        erase_if([=](uint64_t key) { return key - first < pages; });
        return;
    }
    const size_t mask = slots_.size() - 1;
    for (uint64_t key = first; key < first + pages; key++) {
        for (size_t i = home(key) & mask; slots_[i].pte; i = (i + 1) & mask) {
            if (slots_[i].key == key) {
                erase_slot(i);
                break;
            }
        }
    }
}

}  // namespace vttm::model
