// SPDX-License-Identifier: Apache-2.0
// SCATTER and GATHER: content, the list that is read once and checked whole, wrong lists, faults.
#include "tests/unit/model/fault_machine.h"

namespace vttm::model::test {
namespace {

constexpr auto V = VTTM_SPACE_VRAM;
constexpr auto S = VTTM_SPACE_SYSTEM;
constexpr auto M = VTTM_SPACE_VM;
constexpr uint64_t kList = 0x10000;  // room for the longest one, and more
constexpr uint64_t kVa = 0x10000000;

class Sg : public FaultMachine {
protected:
    void set_list(const std::vector<vttm_sg_entry>& list, uint64_t at = kList) {
        std::memcpy(bus_.ram(at), list.data(), list.size() * sizeof(list[0]));
    }
    static vttm_sg_entry piece(uint64_t addr, uint32_t len) { return {addr, len, 0}; }
    void expect_bad(const std::vector<vttm_sg_entry>& list, bool scatter,
                    vttm_fault_reason reason = VTTM_FAULT_BAD_PACKET, uint64_t addr = ~0ull) {
        set_list(list);
        const uint64_t before = bytes(0);
        expect_fault(0, sg(scatter, S, kFree, V, S, kList, static_cast<uint32_t>(list.size())),
                     reason, addr);
        EXPECT_EQ(bytes(0), before) << "nothing is written before the whole list is checked";
    }
};

TEST_F(Sg, RandomListsMatchALoop) {
    std::mt19937_64 rng(11);
    Memory shadow(kVramSize);
    for (int i = 0; i < 120; i++) {
        std::vector<vttm_sg_entry> list(1 + rng() % (i % 10 ? 50 : VTTM_SG_MAX));
        uint64_t total = 0;
        for (auto& e : list) {
            e = piece(0, 1 + rng() % (i % 7 ? 2000 : 1));
            if (i % 20 == 0) e.len = 1 + rng() % 900;
            e.addr = rng() % (kVramSize - e.len + 1);
            total += e.len;
        }
        if (total > kRamSize - kFree) continue;
        set_list(list);
        const uint64_t linear = kFree + rng() % (kRamSize - kFree - total + 1);
        const bool scatter = i % 2;
        const uint64_t before = bytes(0);
        const auto packet = sg(scatter, S, linear, V, S, kList, uint32_t(list.size()));
        std::vector<uint8_t> want;
        uint64_t pos = linear;
        for (const auto& e : list) {
            if (scatter)
                std::memcpy(shadow.data() + e.addr, bus_.ram(pos), e.len);
            else
                want.insert(want.end(), bus_.vram(e.addr), bus_.vram(e.addr) + e.len);
            pos += e.len;
        }
        ASSERT_EQ(run(0, packet), 0u);
        ASSERT_EQ(bytes(0) - before, total);
        if (!scatter) {
            ASSERT_EQ(std::memcmp(bus_.ram(linear), want.data(), total), 0) << i;
        }
        ASSERT_EQ(std::memcmp(shadow.data(), bus_.vram(), kVramSize), 0) << i;
    }
}

TEST_F(Sg, EverySideHasItsOwnSpace) {
    for (uint64_t i = 0; i < 4; i++) {
        tables_.set(root_, kVa + i * kPage, vram_pte((8 - i) * kPage));
        tables_.set(root_, kVa + (16 + i) * kPage, sys_pte(kList + (3 - i) * kPage));
    }
    // The list straddles two pages that lie elsewhere each; its pieces are virtual, too.
    const std::vector<vttm_sg_entry> list = {piece(kVa + 4000, 200), piece(kVa + 3 * kPage, 50),
                                             piece(kVa + 1, 3000)};
    std::memcpy(bus_.ram(kList + 4 * kPage - 16), &list[0], 16);
    std::memcpy(bus_.ram(kList + 2 * kPage), &list[1], 32);
    const uint64_t at = kVa + 16 * kPage + kPage - 16;
    ASSERT_EQ(run(0, sg(true, S, kFree, M, M, at, 3)), 0u);
    ASSERT_EQ(run(0, sg(false, V, 0x100000, M, M, at, 3)), 0u);
    EXPECT_EQ(std::memcmp(bus_.vram(0x100000), bus_.ram(kFree), 3250), 0);
    EXPECT_EQ(std::memcmp(bus_.vram(8 * kPage + 1), bus_.ram(kFree + 250), 3000), 0);
    EXPECT_EQ(std::memcmp(bus_.vram(5 * kPage), bus_.ram(kFree + 200), 50), 0);
}

TEST_F(Sg, OfPiecesThatOverlapTheLaterOneStays) {
    set_list({piece(0, 8), piece(4, 8)});
    ASSERT_EQ(run(0, sg(true, S, kFree, V, S, kList, 2)), 0u);
    EXPECT_EQ(std::memcmp(bus_.vram(), bus_.ram(kFree), 4), 0);
    EXPECT_EQ(std::memcmp(bus_.vram(4), bus_.ram(kFree + 8), 8), 0);
}

// Each byte of the list is mapped once, and changing it afterwards changes nothing.
TEST_F(Sg, TheListIsReadOnce) {
    std::vector<vttm_sg_entry> list(VTTM_SG_MAX, piece(0, 16));
    for (uint64_t i = 0; i < list.size(); i++) list[i].addr = i * 32;
    set_list(list);
    bus_.limit_mappings(4096);
    std::atomic<uint64_t> list_maps{0}, planted{0};
    bus_.on_map([&](uint64_t addr, bool) {
        if (addr >= kList && addr < kList + list.size() * 16) {
            list_maps++;
        } else if (addr >= kFree && !planted++) {
            auto evil = list;
            for (auto& e : evil) e = piece(~0ull, ~0u);
            set_list(evil);
        }
    });
    ASSERT_EQ(run(0, sg(true, S, kFree, V, S, kList, VTTM_SG_MAX)), 0u);
    bus_.on_map(nullptr);
    EXPECT_GT(planted, 0u);
    EXPECT_EQ(list_maps, VTTM_SG_MAX * 16 / 4096);
    for (uint64_t i = 0; i < list.size(); i++)
        ASSERT_EQ(std::memcmp(bus_.vram(i * 32), bus_.ram(kFree + i * 16), 16), 0) << i;
}

TEST_F(Sg, BadLists) {
    for (bool scatter : {true, false}) {
        expect_bad({piece(0, 4), piece(8, 0)}, scatter);
        expect_bad({piece(0, 4), {8, 4, 1}}, scatter);
        expect_bad({piece(0, ~0u), piece(0, 2)}, scatter);  // 2^32 + 1 bytes
        expect_bad({piece(0, 4), piece(kVramSize - 3, 4)}, scatter, VTTM_FAULT_VRAM_RANGE,
                   kVramSize - 3);
        expect_bad({piece(0, 4), piece(~0ull, 4)}, scatter, VTTM_FAULT_VRAM_RANGE, ~0ull - 0);
    }
    EXPECT_EQ(bus_.vram()[0], 0);
    // The sum of the lengths counts at the other side.
    set_list({piece(0, 4), piece(8, 4)});
    expect_fault(0, sg(true, V, kVramSize - 7, S, S, kList, 2), VTTM_FAULT_VRAM_RANGE,
                 kVramSize - 7);
    EXPECT_FALSE(rd(VTTM_REG_FAULT_INFO) & VTTM_FAULT_INFO_WRITE);
    expect_fault(0, sg(false, V, kVramSize - 7, S, S, kList, 2), VTTM_FAULT_VRAM_RANGE,
                 kVramSize - 7);
    EXPECT_TRUE(rd(VTTM_REG_FAULT_INFO) & VTTM_FAULT_INFO_WRITE);
}

TEST_F(Sg, OverlapOfThePiecesWithTheOtherSide) {
    for (bool scatter : {true, false}) {
        set_list({piece(kFree + 0x1000, 16), piece(kFree + 31, 16)});
        expect_fault(0, sg(scatter, S, kFree, S, S, kList, 2), VTTM_FAULT_BAD_PACKET);
        set_list({piece(kFree + 0x1000, 16), piece(kFree + 32, 16)});
        EXPECT_EQ(run(0, sg(scatter, S, kFree, S, S, kList, 2)), 0u);
    }
}

TEST_F(Sg, BadOperands) {
    set_list({piece(0, 4)});
    const auto bad = VTTM_FAULT_BAD_PACKET;
    expect_fault(0, sg(true, S, kFree, V, S, kList, 0), bad);
    expect_fault(0, sg(true, S, kFree, V, S, kList, VTTM_SG_MAX + 1), bad);
    expect_fault(0, sg(true, S, kFree, V, S, kList, ~0u), bad);
    expect_fault(0, sg(true, S, kFree, V, S, kList + 8, 1), bad);
    expect_fault(0, sg(true, 3, kFree, V, S, kList, 1), bad);
    expect_fault(0, sg(true, S, kFree, 3, S, kList, 1), bad);
    expect_fault(0, sg(true, S, kFree, V, 3, kList, 1), bad);
    auto odd = sg(true, S, kFree, V, S, kList, 1);
    odd.hdr |= VTTM_PKT_HDR(0, 0x40u, 0);
    expect_fault(0, odd, bad);
    expect_fault(0, sg(true, S, kFree, V, V, kVramSize, 1), VTTM_FAULT_VRAM_RANGE, kVramSize);
    expect_fault(0, sg(true, S, kFree, V, S, ~0ull - 15, 2), VTTM_FAULT_BUS, ~0ull - 15);
    expect_fault(0, sg(true, S, kFree, V, S, kRamSize, 1), VTTM_FAULT_BUS, kRamSize);
    expect_fault(0, sg(true, S, kFree, V, M, kVa, 1), VTTM_FAULT_NOT_VALID, kVa);
    EXPECT_EQ(run(0, sg(true, S, kFree, V, S, kList, 1)), 0u);
}

TEST_F(Sg, StallsAtTheListAndAtItsPieces) {
    wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY);
    tables_.set(root_, kVa, sys_pte(kList));
    std::vector<vttm_sg_entry> list(257);
    for (uint64_t i = 0; i < list.size(); i++) list[i] = piece(kVa + 0x100000 + i * 32, 16);
    set_list(list);
    put_packet(0, sg(true, S, kFree, M, M, kVa, 257));  // one entry is on the second page
    put_fence(0, 3);
    ring(0);
    cure_stalls(0,
                {{kVa + kPage, sys_pte(kList + kPage)},
                 {kVa + 0x100000, vram_pte(0)},
                 {kVa + 0x101000, vram_pte(kPage)},
                 {kVa + 0x102000, vram_pte(2 * kPage)}},
                3);
    EXPECT_EQ(fence_status(), 0u);
    EXPECT_EQ(bytes(0), 257u * 16);
    for (uint64_t i = 0; i < list.size(); i++)
        ASSERT_EQ(std::memcmp(bus_.vram(i * 32), bus_.ram(kFree + i * 16), 16), 0) << i;
}

TEST_F(Sg, AListThatFailedIsForgotten) {
    set_list({piece(0, 4), piece(kVramSize, 4)});
    expect_fault(0, sg(true, S, kFree, V, S, kList, 2), VTTM_FAULT_VRAM_RANGE);
    EXPECT_EQ(run(0, fill_packet(V, 0x100, 4, 7)), 0u);
    EXPECT_EQ(bytes(0), 4u);
    set_list({piece(0x200, 4)});
    EXPECT_EQ(run(0, sg(true, S, kFree, V, S, kList, 1)), 0u);
    EXPECT_EQ(bytes(0), 8u);
}

}  // namespace
}  // namespace vttm::model::test
