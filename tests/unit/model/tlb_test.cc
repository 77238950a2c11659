// SPDX-License-Identifier: Apache-2.0
// The TLB as a data structure, against a map.
#include "host-backend/model/tlb.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <random>
#include <tuple>

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
    void invalidate_range(uint32_t vm, uint64_t vpn, uint64_t n) {
        std::erase_if(entries_, [&](auto& e) {
            const auto [size, of, index] = e.first;
            const uint64_t first = index << kShifts[size];
            const uint64_t end = (index + 1) << kShifts[size];
            return of == vm && first < vpn + n && end > vpn && n;
        });
    }
    size_t size() const { return entries_.size(); }

private:
    std::map<std::tuple<unsigned, uint32_t, uint64_t>, uint64_t> entries_;
};

TEST(Tlb, AgreesWithAMapUnderRandomUse) {
    std::mt19937_64 rng(3);
    Tlb tlb(1 << 16, kShifts);
    Reference model;
    std::array<uint64_t, Tlb::kSizes> hits{};
    for (int i = 0; i < 200000; i++) {
        const uint32_t vm = rng() % 4;
        const uint64_t vpn = (rng() % 8) << 33 | rng() % 3000;
        switch (rng() % 1000) {
            case 0:
                tlb.invalidate_vm(vm);
                model.invalidate_vm(vm);
                break;
            case 1:
            case 2:
            case 3: {
                const uint64_t n = rng() % 2 ? rng() % 50 : rng() % 100000;
                tlb.invalidate_range(vm, vpn, n);
                model.invalidate_range(vm, vpn, n);
                break;
            }
            case 4:
                if (rng() % 20) break;
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
