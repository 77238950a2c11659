// SPDX-License-Identifier: Apache-2.0
// The TLB as a data structure, against a map.
#include "host-backend/model/tlb.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <tuple>
#include <vector>

namespace vttm::model {
namespace {

constexpr Tlb::Shifts kShifts{0, 4, 9};

// What a TLB must do, entry by entry and page by page.
class Reference {
public:
    Tlb::Hit lookup(uint32_t vm, uint64_t vpn) const {
        for (unsigned size = 0; size < Tlb::kSizes; size++) {
            const auto it = entries_.find({size, vm, vpn >> kShifts[size]});
            if (it != entries_.end()) return {it->second, size};
        }
        return {};
    }
    void insert(uint32_t vm, uint64_t vpn, unsigned size, uint64_t pte) {
        entries_[{size, vm, vpn >> kShifts[size]}] = pte;
    }
    void invalidate_all() { entries_.clear(); }
    void invalidate_vm(uint32_t vm) {
        std::erase_if(entries_, [&](auto& e) { return std::get<1>(e.first) == vm; });
    }
    // True if all of the VM went.
    bool invalidate_range(uint32_t vm, uint64_t vpn, uint64_t n) {
        if (n && looks(vm, vpn, n) > Tlb::kMaxProbes) {
            invalidate_vm(vm);
            return true;
        }
        std::erase_if(entries_, [&](auto& e) {
            const auto [size, of, index] = e.first;
            const uint64_t first = index << kShifts[size];
            const uint64_t end = (index + 1) << kShifts[size];
            return of == vm && first < vpn + n && end > vpn && n;
        });
        return false;
    }
    size_t size() const { return entries_.size(); }

private:
    // The least work that finds all entries in a range: by its keys or by the VM's entries.
    uint64_t looks(uint32_t vm, uint64_t vpn, uint64_t n) const {
        uint64_t sum = 0;
        for (unsigned size = 0; size < Tlb::kSizes; size++) {
            const uint64_t keys =
                ((vpn + n - 1) >> kShifts[size]) - (vpn >> kShifts[size]) + 1;
            const auto here = std::count_if(entries_.begin(), entries_.end(), [&](auto& e) {
                return std::get<0>(e.first) == size && std::get<1>(e.first) == vm;
            });
            sum += std::min<uint64_t>(keys, static_cast<uint64_t>(here));
        }
        return sum;
    }

    std::map<std::tuple<unsigned, uint32_t, uint64_t>, uint64_t> entries_;
};

TEST(Tlb, AgreesWithAMapUnderRandomUse) {
    std::mt19937_64 rng(3);
    Tlb tlb(1 << 16, kShifts);
    Reference model;
    std::array<uint64_t, Tlb::kSizes> hits{};
    uint64_t by_range = 0, by_vm = 0;
    for (int i = 0; i < 600000; i++) {
        const uint32_t vm = rng() % 4;
        const uint64_t vpn = (rng() % 8) << 33 | rng() % 3000;
        switch (rng() % 8000) {
            case 0:
                tlb.invalidate_vm(vm);
                model.invalidate_vm(vm);
                break;
            case 1:
            case 2:
            case 3: {
                const uint64_t n = rng() % 2 ? rng() % 50 : rng() % 100000;
                tlb.invalidate_range(vm, vpn, n);
                ++(model.invalidate_range(vm, vpn, n) ? by_vm : by_range);
                break;
            }
            case 4:
                if (rng() % 4) break;
                tlb.invalidate_all();
                model.invalidate_all();
                break;
            default: {
                const Tlb::Hit want = model.lookup(vm, vpn);
                const Tlb::Hit got = tlb.lookup(vm, vpn);
                ASSERT_EQ(got.pte, want.pte);
                if (got.pte) {
                    ASSERT_EQ(got.size, want.size);
                    hits[got.size]++;
                } else {
                    const uint64_t pte = (rng() << 12) | 1;
                    const unsigned size = rng() % 50 ? 0 : 1 + rng() % 2;
                    tlb.insert(vm, vpn, size, pte);
                    model.insert(vm, vpn, size, pte);
                }
            }
        }
        ASSERT_EQ(tlb.size(), model.size());
    }
    EXPECT_EQ(tlb.evictions(), 0u);
    for (uint64_t n : hits) EXPECT_GT(n, 500u) << "each size was used";
    EXPECT_GT(by_range, 50u);
    EXPECT_GT(by_vm, 2u) << "ranges too large to look at were tried";
}

// So few generations that they come again and again: nothing of an earlier round may come back.
TEST(Tlb, GenerationsWrapAround) {
    constexpr size_t kCapacity = 15;
    std::mt19937_64 rng(5);
    Tlb tlb(kCapacity, kShifts, 4);
    Reference model;
    unsigned drops = 0;
    for (int i = 0; i < 300000; i++) {
        const uint32_t vm = rng() % 3;
        const uint64_t vpn = rng() % 64;
        const Tlb::Hit want = model.lookup(vm, vpn);
        ASSERT_EQ(tlb.lookup(vm, vpn).pte, want.pte) << "step " << i;
        if (rng() % 6 == 0) {
            tlb.invalidate_vm(vm);
            model.invalidate_vm(vm);
            drops++;
        } else if (!want.pte && model.size() < kCapacity) {
            const uint64_t pte = (rng() << 12) | 1;
            tlb.insert(vm, vpn, 0, pte);
            model.insert(vm, vpn, 0, pte);
        }
        ASSERT_EQ(tlb.size(), model.size());
    }
    EXPECT_GT(drops, 100u * 16);
    EXPECT_EQ(tlb.evictions(), 0u);
}

// A number of a generation comes again only when the last entry of its first round is gone, even if
// nothing was cached meanwhile that would have used the room.
TEST(Tlb, DeadEntriesStayDeadAfterAllGenerations) {
    for (unsigned dead = 1; dead <= 14; dead++) {
        Tlb tlb(15, kShifts, 4);
        for (uint64_t i = 0; i < dead; i++) tlb.insert(1, 100 + i, 0, 0x1001);
        for (unsigned bump = 1; bump <= 16; bump++) {
            if (bump > 1) tlb.insert(1, 1, 0, 0x2001);
            tlb.invalidate_vm(1);
            for (uint64_t i = 0; i < dead; i++)
                ASSERT_EQ(tlb.lookup(1, 100 + i).pte, 0u) << dead << " dead, " << bump << " drops";
        }
        tlb.insert(1, 1, 0, 0x2001);  // else the lookups below end at once
        for (uint64_t i = 0; i < dead; i++) ASSERT_EQ(tlb.lookup(1, 100 + i).pte, 0u);
    }
}

// What was dropped with its VM takes no room from what is cached.
TEST(Tlb, DroppedVmsMakeRoom) {
    for (size_t capacity : {1u, 8u, 4096u, 5000u}) {
        Tlb tlb(capacity, kShifts);
        for (uint32_t vm = 0; vm < 4; vm++) {
            for (uint64_t i = 0; i < capacity; i++) tlb.insert(vm, i * 3, i % 2, vm << 12 | 1);
            ASSERT_EQ(tlb.size(), capacity);
            for (uint64_t i = 0; i < capacity; i++) ASSERT_TRUE(tlb.lookup(vm, i * 3).pte);
            tlb.invalidate_vm(vm);
            ASSERT_EQ(tlb.size(), 0u);
            for (uint64_t i = 0; i < capacity; i++) ASSERT_FALSE(tlb.lookup(vm, i * 3).pte);
        }
        EXPECT_EQ(tlb.evictions(), 0u);
    }
}

// A range that is too large to look at drops its VM, and leaves the others alone.
TEST(Tlb, LargeRangesDropTheVm) {
    constexpr uint64_t kMany = Tlb::kMaxProbes + 1;
    for (const uint64_t pages : {kMany - 1, kMany}) {
        Tlb tlb(3 * kMany, kShifts);
        for (uint64_t i = 0; i < kMany; i++) {
            tlb.insert(1, i, 0, 0x1001);
            tlb.insert(2, i, 0, 0x2001);
        }
        const uint64_t far = 1ull << 30;
        tlb.insert(1, far, 0, 0x3001);
        tlb.invalidate_range(1, 0, pages);
        EXPECT_EQ(tlb.lookup(1, 0).pte, 0u);
        EXPECT_EQ(tlb.lookup(1, pages - 1).pte, 0u);
        EXPECT_EQ(tlb.lookup(1, far).pte, pages < kMany ? 0x3001u : 0u);
        EXPECT_EQ(tlb.lookup(2, 0).pte, 0x2001u);
        EXPECT_EQ(tlb.size(), pages < kMany ? kMany + 2 : kMany);
    }
}

// Addresses that a guest has chosen so that they meet in one bucket push each other out instead of
// making every look slow.
TEST(Tlb, CollidingAddressesStayFew) {
    constexpr size_t kCapacity = 4096;
    constexpr unsigned kShift = 64 - 13;  // twice as many buckets
    Tlb tlb(kCapacity, kShifts);
    std::vector<uint64_t> vpns;
    const auto bucket = [](uint64_t vpn) {
        return vpn / 8 * 0x9e3779b97f4a7c15ull >> kShift;
    };
    for (uint64_t vpn = 0; vpns.size() < 100; vpn += 8)
        if (bucket(vpn) == bucket(0)) vpns.push_back(vpn);
    for (uint64_t vpn : vpns) tlb.insert(0, vpn, 0, vpn << 12 | 1);
    EXPECT_EQ(tlb.size(), Tlb::kMaxChain);
    EXPECT_EQ(tlb.evictions(), vpns.size() - Tlb::kMaxChain);
    for (size_t i = vpns.size() - Tlb::kMaxChain; i < vpns.size(); i++)
        EXPECT_EQ(tlb.lookup(0, vpns[i]).pte, vpns[i] << 12 | 1) << "the newest stay";
}

// A range that touches any page of a large entry drops all of it, and nothing beside it.
TEST(Tlb, RangesDropLargeEntriesWhole) {
    for (unsigned size : {1u, 2u}) {
        const uint64_t n = 1ull << kShifts[size];
        const struct {
            uint64_t first, pages;
            bool drops;
        } cases[] = {{3 * n, 1, true},          {4 * n - 1, 1, true},      {3 * n + n / 2, 2, true},
                     {0, 3 * n, false},         {0, 3 * n + 1, true},      {4 * n, 100 * n, false},
                     {4 * n - 1, 1 << 20, true}, {3 * n, 0, false},         {0, ~0ull, true}};
        for (const auto& c : cases) {
            Tlb tlb(64, kShifts);
            tlb.insert(7, 3 * n + 5, size, 0x1001);
            tlb.insert(6, 3 * n + 5, size, 0x2001);
            tlb.invalidate_range(7, c.first, c.pages);
            EXPECT_EQ(tlb.lookup(7, 4 * n - 1).pte, c.drops ? 0 : 0x1001u)
                << "size " << size << " from " << c.first << " pages " << c.pages;
            EXPECT_EQ(tlb.lookup(6, 3 * n).pte, 0x2001u);
            EXPECT_EQ(tlb.lookup(7, 4 * n).pte, 0u);
            EXPECT_EQ(tlb.lookup(7, 3 * n - 1).pte, 0u);
        }
    }
}

TEST(Tlb, HoldsItsCapacityAndEvictsOne) {
    for (size_t capacity : {1u, 2u, 7u, 4096u, 5000u, 100000u}) {
        Tlb tlb(capacity, kShifts);
        for (uint64_t i = 0; i < capacity; i++) tlb.insert(1, i * 513, 0, i << 12 | 1);
        EXPECT_EQ(tlb.evictions(), 0u);
        for (uint64_t i = 0; i < capacity; i++) ASSERT_EQ(tlb.lookup(1, i * 513).pte, i << 12 | 1);
        tlb.insert(2, 5, 0, 1);
        EXPECT_EQ(tlb.size(), capacity);
        EXPECT_EQ(tlb.evictions(), 1u);
        EXPECT_EQ(tlb.lookup(2, 5).pte, 1u);
    }
}

TEST(Tlb, ExtremeKeys) {
    Tlb tlb(16, kShifts);
    const uint64_t last = (1ull << 36) - 1;
    tlb.insert(255, last, 0, 3);
    tlb.insert(0, 0, 0, 5);
    EXPECT_EQ(tlb.lookup(255, last).pte, 3u);
    EXPECT_EQ(tlb.lookup(254, last).pte, 0u);
    tlb.invalidate_range(255, last, ~0ull);
    EXPECT_EQ(tlb.lookup(255, last).pte, 0u);
    tlb.invalidate_range(0, ~0ull, ~0ull);
    EXPECT_EQ(tlb.lookup(0, 0).pte, 5u);
    tlb.invalidate_range(0, 0, ~0ull);
    EXPECT_EQ(tlb.lookup(0, 0).pte, 0u);
}

}  // namespace
}  // namespace vttm::model
