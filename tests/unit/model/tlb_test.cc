// SPDX-License-Identifier: Apache-2.0
// The TLB as a data structure, against a map.
#include "host-backend/model/tlb.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace vttm::model {
namespace {

TEST(Tlb, AgreesWithAMapUnderRandomUse) {
    std::mt19937_64 rng(3);
    Tlb tlb(1 << 16);
    std::map<std::pair<uint32_t, uint64_t>, uint64_t> model;
    for (int i = 0; i < 200000; i++) {
        const uint32_t vm = rng() % 4;
        const uint64_t vpn = (rng() % 8) << 33 | rng() % 3000;
        switch (rng() % 1000) {
            case 0:
                tlb.invalidate_vm(vm);
                std::erase_if(model, [&](auto& e) { return e.first.first == vm; });
                break;
            case 1:
            case 2:
            case 3: {
                const uint64_t n = rng() % 2 ? rng() % 50 : rng() % 100000;
                tlb.invalidate_range(vm, vpn, n);
                std::erase_if(model, [&](auto& e) {
                    return e.first.first == vm && e.first.second >= vpn && e.first.second - vpn < n;
                });
                break;
            }
            case 4:
                if (rng() % 20) break;
                tlb.invalidate_all();
                model.clear();
                break;
            default: {
                const auto it = model.find({vm, vpn});
                const uint64_t got = tlb.lookup(vm, vpn);
                ASSERT_EQ(got, it == model.end() ? 0 : it->second);
                if (!got) {
                    const uint64_t pte = (rng() << 12) | 1;
                    tlb.insert(vm, vpn, pte);
                    model[{vm, vpn}] = pte;
                }
            }
        }
        ASSERT_EQ(tlb.size(), model.size());
    }
    EXPECT_EQ(tlb.evictions(), 0u);
}

TEST(Tlb, HoldsItsCapacityAndEvictsOne) {
    for (size_t capacity : {1u, 2u, 7u, 4096u, 5000u, 100000u}) {
        Tlb tlb(capacity);
        for (uint64_t i = 0; i < capacity; i++) tlb.insert(1, i * 513, i << 12 | 1);
        EXPECT_EQ(tlb.evictions(), 0u);
        for (uint64_t i = 0; i < capacity; i++) ASSERT_EQ(tlb.lookup(1, i * 513), i << 12 | 1);
        tlb.insert(2, 5, 1);
        EXPECT_EQ(tlb.size(), capacity);
        EXPECT_EQ(tlb.evictions(), 1u);
        EXPECT_EQ(tlb.lookup(2, 5), 1u);
    }
}

TEST(Tlb, ExtremeKeys) {
    Tlb tlb(16);
    const uint64_t last = (1ull << 36) - 1;
    tlb.insert(255, last, 3);
    tlb.insert(0, 0, 5);
    EXPECT_EQ(tlb.lookup(255, last), 3u);
    EXPECT_EQ(tlb.lookup(254, last), 0u);
    tlb.invalidate_range(255, last, ~0ull);
    EXPECT_EQ(tlb.lookup(255, last), 0u);
    tlb.invalidate_range(0, ~0ull, ~0ull);
    EXPECT_EQ(tlb.lookup(0, 0), 5u);
    tlb.invalidate_range(0, 0, ~0ull);
    EXPECT_EQ(tlb.lookup(0, 0), 0u);
}

}  // namespace
}  // namespace vttm::model
