// SPDX-License-Identifier: Apache-2.0
// STAMP_WRITE and STAMP_VERIFY: each class planted and found, wrong operands, results, witness log.
#include <array>

#include "tests/unit/model/machine.h"

namespace vttm::model::test {
namespace {

constexpr uint64_t kVa = 0x40000000;
constexpr vttm_stamp_id kId{0x1234567890abcdef, 100, 7, 3};

class Stamp : public Machine {
protected:
    Stamp() {
        setup_ring(1);
        root_ = make_vm(4);
        put_set_vm(1, 4);
        EXPECT_EQ(finish(1), 0u);
    }
    void map(uint64_t pages, uint64_t stride = kPage) {
        for (uint64_t i = 0; i < pages; i++)
            tables_.set(root_, kVa + i * kPage, sys_pte(kFree + i * stride));
    }
    uint32_t write(uint32_t n, const vttm_stamp_id& id = kId) {
        return run(1, stamp_packet(false, VTTM_SPACE_VM, kVa, n, id));
    }
    vttm_stamp_result verify(uint32_t n, const vttm_stamp_id& id = kId) {
        EXPECT_EQ(run(1, stamp_packet(true, VTTM_SPACE_VM, kVa, n, id)), 0u);
        return result();
    }
    static vttm_stamp_id at(uint64_t i) {
        vttm_stamp_id id = kId;
        id.page += i;
        return id;
    }
    uint8_t* page(uint64_t i) { return bus_.ram(kFree + i * kPage); }
    uint64_t root_;
};

TEST_F(Stamp, WritesWhatTheHeaderSays) {
    map(300, 2 * kPage);
    EXPECT_EQ(write(300), 0u);
    for (uint64_t i = 0; i < 300; i++) {
        const vttm_stamp_id id = at(i);
        ASSERT_TRUE(vttm_stamp_check(bus_.ram(kFree + i * 2 * kPage), &id)) << i;
    }
    const auto r = verify(300);
    EXPECT_EQ(r.checked, 300u);
    EXPECT_EQ(r.good, 300u);
    EXPECT_EQ(r.bad, 0u);
    EXPECT_EQ(rd64(VTTM_ENGINE_BASE(1) + VTTM_ENG_BYTES_LO), 600 * kPage);
}

TEST_F(Stamp, EverySpaceForPagesAndResult) {
    map(1);
    tables_.set(root_, kVa + 0x100000, vram_pte(0x3000));
    const struct {
        uint32_t space;
        uint64_t pages, result;
        const uint8_t* result_at;
    } spaces[] = {{VTTM_SPACE_VM, kVa, kVa + 0x100000 + 64, bus_.vram(0x3040)},
                  {VTTM_SPACE_VRAM, 0x200000, 0x5ff0 - 48, bus_.vram(0x5ff0 - 48)},
                  {VTTM_SPACE_SYSTEM, kFree + 0x100000, kResultAddr, bus_.ram(kResultAddr)}};
    for (const auto& p : spaces) {
        EXPECT_EQ(run(1, stamp_packet(false, p.space, p.pages, 1, kId)), 0u);
        for (const auto& r : spaces) {
            EXPECT_EQ(run(1, stamp_packet(true, p.space, p.pages, 1, kId, r.space, r.result)), 0u);
            vttm_stamp_result got;
            std::memcpy(&got, r.result_at, sizeof(got));
            EXPECT_EQ(got.good, 1u) << p.space << " " << r.space;
            std::memset(const_cast<uint8_t*>(r.result_at), 0xff, sizeof(got));
        }
    }
    EXPECT_TRUE(bus_.vram_was_dirtied(0x200000, kPage));
}

TEST_F(Stamp, EachClassIsFoundAndReported) {
    constexpr uint32_t kPages = 70;  // more than a chunk
    map(kPages);
    ASSERT_EQ(write(kPages), 0u);
    vttm_stamp_id id = at(3);
    std::memset(page(3), 0, kPage);  // zero
    id = at(10);
    id.generation--;
    vttm_stamp_fill(page(10), &id);  // stale
    id = at(11);
    vttm_stamp_fill(page(20), &id);  // foreign: another page of the buffer
    id = at(21);
    id.buffer++;
    vttm_stamp_fill(page(21), &id);  // foreign: another buffer
    std::memcpy(page(30) + 1024, page(31) + 1024, 1024);  // torn
    std::memset(page(33), 0, 64);                         // torn: one line is zero
    page(40)[777] ^= 0x10;                                // bit flip
    for (int i = 0; i < 9; i++) page(50)[i * 400] ^= 1;   // garbage: 9 flips
    std::memset(page(69), 0x5a, kPage);                   // garbage
    bus_.clear_witness();
    const auto r = verify(kPages);
    EXPECT_EQ(r.checked, kPages);
    EXPECT_EQ(r.bad, 9u);
    EXPECT_EQ(r.good, kPages - 9u);
    EXPECT_EQ(r.first_bad_page, kId.page + 3);
    const std::array<uint32_t, 8> classes = {0, 1, 1, 2, 2, 1, 2, 0};
    for (int c = 0; c < 8; c++) EXPECT_EQ(r.by_class[c], classes[c]) << c;

    const std::map<uint64_t, uint32_t> want = {
        {3, VTTM_STAMP_ZERO},     {10, VTTM_STAMP_STALE},   {20, VTTM_STAMP_FOREIGN},
        {21, VTTM_STAMP_FOREIGN}, {30, VTTM_STAMP_TORN},    {33, VTTM_STAMP_TORN},
        {40, VTTM_STAMP_BITFLIP}, {50, VTTM_STAMP_GARBAGE}, {69, VTTM_STAMP_GARBAGE}};
    std::map<uint64_t, uint32_t> got;
    uint64_t seen = 0;
    for (const auto& w : bus_.witness()) {
        EXPECT_EQ(w.kind, VTTM_WITNESS_VERIFY);
        EXPECT_EQ(w.page, kId.page + seen);
        for (uint64_t i = 0; i < w.npages; i++, seen++)
            if (w.stamp_class) got[seen] = w.stamp_class;
    }
    EXPECT_EQ(seen, kPages);
    EXPECT_EQ(got, want);
}

TEST_F(Stamp, WrongIdentityIsNeverGood) {
    map(4);
    ASSERT_EQ(write(4), 0u);
    vttm_stamp_id id = kId;
    id.generation = 4;
    EXPECT_EQ(verify(4, id).by_class[VTTM_STAMP_STALE], 4u);
    id = kId;
    id.buffer = 8;
    EXPECT_EQ(verify(4, id).by_class[VTTM_STAMP_FOREIGN], 4u);
    id = kId;
    id.page++;
    EXPECT_EQ(verify(4, id).by_class[VTTM_STAMP_FOREIGN], 4u);
    id = kId;
    id.key ^= 1;
    EXPECT_EQ(verify(4, id).by_class[VTTM_STAMP_GARBAGE], 4u) << "not of this run";
}

TEST_F(Stamp, BadOperands) {
    map(2);
    auto expect_bad = [&](vttm_pkt_stamp p, vttm_fault_reason reason) {
        EXPECT_EQ(run(1, p), reason);
        EXPECT_EQ(VTTM_FAULT_INFO_ENGINE(rd(VTTM_REG_FAULT_INFO)), 1u);
        clear_fault();
    };
    constexpr auto VM = VTTM_SPACE_VM;
    for (bool v : {false, true}) {
        expect_bad(stamp_packet(v, VM, kVa, 0, kId), VTTM_FAULT_BAD_PACKET);
        expect_bad(stamp_packet(v, VM, kVa, (1u << 20) + 1, kId), VTTM_FAULT_BAD_PACKET);
        expect_bad(stamp_packet(v, VM, kVa, ~0u, kId), VTTM_FAULT_BAD_PACKET);
        expect_bad(stamp_packet(v, VM, kVa + 8, 1, kId), VTTM_FAULT_BAD_PACKET);
        expect_bad(stamp_packet(v, 3, kVa, 1, kId), VTTM_FAULT_BAD_PACKET);
        expect_bad(stamp_packet(v, VM, kVa, 1, {1, 0, 0, 1}), VTTM_FAULT_BAD_PACKET);
        expect_bad(stamp_packet(v, VM, kVa, 1, {1, 0, 1, 0}), VTTM_FAULT_BAD_PACKET);
        expect_bad(stamp_packet(v, VM, kVa, 2, {1, ~0ull, 1, 1}), VTTM_FAULT_BAD_PACKET);
        expect_bad(stamp_packet(v, VM, (1ull << 48) - kPage, 2, kId), VTTM_FAULT_VA_RANGE);
        expect_bad(stamp_packet(v, VM, ~0xfffull, 2, kId), VTTM_FAULT_VA_RANGE);
        expect_bad(stamp_packet(v, VTTM_SPACE_VRAM, kVramSize - kPage, 2, kId),
                   VTTM_FAULT_VRAM_RANGE);
        expect_bad(stamp_packet(v, VTTM_SPACE_SYSTEM, ~0xfffull, 2, kId), VTTM_FAULT_BUS);
        expect_bad(stamp_packet(v, VTTM_SPACE_SYSTEM, kRamSize, 1, kId), VTTM_FAULT_BUS);
        expect_bad(stamp_packet(v, VM, kVa, 3, kId), VTTM_FAULT_NOT_VALID);
        EXPECT_EQ(run(1, stamp_packet(v, VM, kVa, 1, {1, ~0ull, 1, 1})), 0u) << "the last index";
    }
    auto bad_flags = stamp_packet(false, VM, kVa, 1, kId);
    bad_flags.hdr |= VTTM_PKT_HDR(0, VTTM_PKT_FLAG_IRQ, 0);
    expect_bad(bad_flags, VTTM_FAULT_BAD_PACKET);
    // Results: alignment, page border, range, and a place that cannot be written.
    constexpr auto S = VTTM_SPACE_SYSTEM;
    expect_bad(stamp_packet(true, VM, kVa, 1, kId, S, kResultAddr + 8), VTTM_FAULT_BAD_PACKET);
    expect_bad(stamp_packet(true, VM, kVa, 1, kId, S, kResultAddr + kPage - 48),
               VTTM_FAULT_BAD_PACKET);
    expect_bad(stamp_packet(true, VM, kVa, 1, kId, 3, kResultAddr), VTTM_FAULT_BAD_PACKET);
    expect_bad(stamp_packet(true, VM, kVa, 1, kId, VTTM_SPACE_VRAM, kVramSize),
               VTTM_FAULT_VRAM_RANGE);
    expect_bad(stamp_packet(true, VM, kVa, 1, kId, VM, 1ull << 48), VTTM_FAULT_VA_RANGE);
    expect_bad(stamp_packet(true, VM, kVa, 1, kId, S, kRamSize), VTTM_FAULT_BUS);
    expect_bad(stamp_packet(true, VM, kVa, 1, kId, VM, kVa + 0x5000), VTTM_FAULT_NOT_VALID);
    tables_.set(root_, kVa + 0x6000, sys_pte(kFree, false));
    expect_bad(stamp_packet(true, VM, kVa, 1, kId, VM, kVa + 0x6000), VTTM_FAULT_READ_ONLY);
}

TEST_F(Stamp, VerifyNeedsNoWriteAccess) {
    map(1);
    ASSERT_EQ(write(1), 0u);
    tables_.set(root_, kVa, sys_pte(kFree, false));
    invalidate(VTTM_TLB_INV_ALL);
    EXPECT_EQ(verify(1).good, 1u);
    EXPECT_EQ(write(1), VTTM_FAULT_READ_ONLY);
}

TEST_F(Stamp, RamThatEndsInsideAPageIsABusFault) {
    map(2);
    bus_.add_hole(kFree + kPage + 100, 8);
    EXPECT_EQ(write(2), VTTM_FAULT_BUS);
    EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), kVa + kPage);
    const vttm_stamp_id id = at(0);
    EXPECT_TRUE(vttm_stamp_check(page(0), &id));
}

// --- The witness log -----------------------------------------------------------------------------

TEST_F(Stamp, WitnessMergesNeighboursOnly) {
    // Physical pages: 0 1 2 | 10 11 | 5 | VRAM 6 (as if behind 5) 7
    const uint64_t phys[] = {0, 1, 2, 10, 11, 5};
    for (int i = 0; i < 6; i++)
        tables_.set(root_, kVa + i * kPage, sys_pte(kFree + phys[i] * kPage));
    tables_.set(root_, kVa + 6 * kPage, vram_pte(kFree + 6 * kPage));
    tables_.set(root_, kVa + 7 * kPage, vram_pte(kFree + 7 * kPage));
    ASSERT_EQ(write(8), 0u);
    const auto log = bus_.witness();
    ASSERT_EQ(log.size(), 4u);
    const struct {
        uint64_t first, n, phys;
        uint32_t space;
    } want[] = {{0, 3, 0, VTTM_SPACE_SYSTEM},
                {3, 2, 10, VTTM_SPACE_SYSTEM},
                {5, 1, 5, VTTM_SPACE_SYSTEM},
                {6, 2, 6, VTTM_SPACE_VRAM}};
    for (size_t i = 0; i < 4; i++) {
        EXPECT_EQ(log[i].kind, VTTM_WITNESS_WRITE);
        EXPECT_EQ(log[i].stamp_class, 0u);
        EXPECT_EQ(log[i].buffer, kId.buffer);
        EXPECT_EQ(log[i].generation, kId.generation);
        EXPECT_EQ(log[i].page, kId.page + want[i].first);
        EXPECT_EQ(log[i].npages, want[i].n);
        EXPECT_EQ(log[i].va, kVa + want[i].first * kPage);
        EXPECT_EQ(log[i].phys, kFree + want[i].phys * kPage);
        EXPECT_EQ(log[i].space, want[i].space);
        EXPECT_EQ(log[i].engine_vm, 1u << 16 | 4u);
        EXPECT_EQ(log[i].time_ns, log[0].time_ns);
    }
}

TEST_F(Stamp, WitnessMergesAcrossChunksAndSplitsByClass) {
    map(1000);
    ASSERT_EQ(write(1000), 0u);
    ASSERT_EQ(bus_.witness().size(), 1u);
    EXPECT_EQ(bus_.witness()[0].npages, 1000u);
    bus_.clear_witness();
    std::memset(page(500), 0, 2 * kPage);
    EXPECT_EQ(verify(1000).bad, 2u);
    const auto log = bus_.witness();
    ASSERT_EQ(log.size(), 3u);
    EXPECT_EQ(log[0].npages, 500u);
    EXPECT_EQ(log[1].npages, 2u);
    EXPECT_EQ(log[1].stamp_class, VTTM_STAMP_ZERO);
    EXPECT_EQ(log[2].page, kId.page + 502);
    EXPECT_EQ(log[2].npages, 498u);
}

TEST_F(Stamp, WitnessOfManyRunsIsComplete) {
    constexpr uint32_t kPages = 900;  // more runs than a batch
    for (uint64_t i = 0; i < kPages; i++)
        tables_.set(root_, kVa + i * kPage, sys_pte(kFree + (kPages - 1 - i) * kPage));
    ASSERT_EQ(write(kPages), 0u);
    const auto log = bus_.witness();
    ASSERT_EQ(log.size(), kPages);
    for (uint64_t i = 0; i < kPages; i++) {
        ASSERT_EQ(log[i].page, kId.page + i);
        ASSERT_EQ(log[i].phys, kFree + (kPages - 1 - i) * kPage);
    }
}

TEST_F(Stamp, WitnessOfStaleAndFaults) {
    map(3);
    ASSERT_EQ(write(3), 0u);
    tables_.set(root_, kVa + kPage, sys_pte(kFree + 50 * kPage));
    bus_.clear_witness();
    ASSERT_EQ(run(1, stamp_packet(true, VTTM_SPACE_VM, kVa, 4, kId)), VTTM_FAULT_NOT_VALID);
    std::vector<vttm_witness_record> stale, fault;
    uint64_t verified = 0;
    for (const auto& w : bus_.witness()) {
        if (w.kind == VTTM_WITNESS_STALE) stale.push_back(w);
        if (w.kind == VTTM_WITNESS_FAULT) fault.push_back(w);
        if (w.kind == VTTM_WITNESS_VERIFY) verified += w.npages;
    }
    EXPECT_EQ(verified, 3u);
    ASSERT_EQ(stale.size(), 1u);
    EXPECT_EQ(stale[0].buffer, kId.buffer);
    EXPECT_EQ(stale[0].generation, kId.generation);
    EXPECT_EQ(stale[0].page, kId.page + 1);
    EXPECT_EQ(stale[0].phys, kFree + kPage) << "the page that was really used";
    EXPECT_EQ(stale[0].npages, 1u);
    ASSERT_EQ(fault.size(), 1u);
    EXPECT_EQ(fault[0].stamp_class, VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(fault[0].page, kId.page + 3);
    EXPECT_EQ(fault[0].va, kVa + 3 * kPage);
    EXPECT_EQ(fault[0].phys, 0u);
}

TEST_F(Stamp, WitnessIsCompleteBeforeTheFenceIsWritten) {
    map(64);
    std::atomic<uint64_t> pages_at_fence{0};
    bus_.on_map([&](uint64_t addr, bool is_write) {
        if (addr != kFenceAddr || !is_write) return;
        uint64_t pages = 0;
        for (const auto& w : bus_.witness()) pages += w.npages;
        pages_at_fence = pages;
    });
    for (int i = 0; i < 10; i++) {
        bus_.clear_witness();
        ASSERT_EQ(write(64), 0u);
        ASSERT_EQ(pages_at_fence, 64u);
    }
    bus_.on_map(nullptr);
}

}  // namespace
}  // namespace vttm::model::test
