// SPDX-License-Identifier: Apache-2.0
// COPY_2D and FILL_2D: content against a loop of the CPU, the overlap rule against brute force, wrong
// operands, faults in the middle, bounded steps.
#include "tests/unit/model/fault_machine.h"

namespace vttm::model::test {
namespace {

constexpr auto V = VTTM_SPACE_VRAM;
constexpr auto S = VTTM_SPACE_SYSTEM;
constexpr auto M = VTTM_SPACE_VM;
constexpr uint64_t kVa = 0x10000000;

class Copy2d : public FaultMachine {
protected:
    // VA kVa + i pages leads to every other page of VRAM: no two lie one behind the other.
    void map_scattered(uint64_t pages) {
        for (uint64_t i = 0; i < pages; i++)
            tables_.set(root_, kVa + i * kPage, vram_pte(i * 2 * kPage));
    }
};

TEST_F(Copy2d, RandomRectanglesMatchALoop) {
    std::mt19937_64 rng(3);
    Memory shadow(kVramSize);
    for (int i = 0; i < 300; i++) {
        const uint32_t width = 1 + rng() % (i % 3 ? 100 : 9000);
        const uint32_t height = 1 + rng() % (i % 5 ? 40 : 700);
        const uint32_t src_pitch = width + rng() % 300, dst_pitch = width + rng() % 300;
        const uint64_t src_extent = uint64_t{height - 1} * src_pitch + width;
        const uint64_t dst_extent = uint64_t{height - 1} * dst_pitch + width;
        if (std::max(src_extent, dst_extent) > kVramSize) continue;
        const uint64_t src = kFree + rng() % (kRamSize - kFree - src_extent + 1);
        const uint64_t dst = rng() % (kVramSize - dst_extent + 1);
        const uint64_t before = bytes(0);
        ASSERT_EQ(run(0, copy_2d({V, dst, dst_pitch}, {S, src, src_pitch}, width, height)), 0u);
        ASSERT_EQ(bytes(0) - before, uint64_t{width} * height);
        for (uint64_t y = 0; y < height; y++)
            std::memcpy(shadow.data() + dst + y * dst_pitch, bus_.ram(src + y * src_pitch), width);
    }
    EXPECT_EQ(std::memcmp(shadow.data(), bus_.vram(), kVramSize), 0);
}

TEST_F(Copy2d, ThroughPageTables) {
    map_scattered(64);
    constexpr uint32_t kW = 5000, kH = 30, kPitch = 7001;
    ASSERT_EQ(run(0, copy_2d({M, kVa + 77, kPitch}, {S, kFree + 1, kPitch}, kW, kH)), 0u);
    ASSERT_EQ(run(0, copy_2d({S, kFree + 0x400000, kW}, {M, kVa + 77, kPitch}, kW, kH)), 0u);
    for (uint64_t y = 0; y < kH; y++)
        ASSERT_EQ(std::memcmp(bus_.ram(kFree + 0x400000 + y * kW), bus_.ram(kFree + 1 + y * kPitch),
                              kW), 0) << y;
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 0u);
}

TEST_F(Copy2d, FillLeavesTheGapsAlone) {
    constexpr uint32_t kW = 36, kH = 3000, kPitch = 100;
    ASSERT_EQ(run(0, fill_2d({V, 0x1004, kPitch}, kW, kH, 0xcafef00d)), 0u);
    for (uint64_t y = 0; y < kH + 1; y++)
        for (uint64_t x = 0; x < kPitch; x += 4) {
            const bool in = y < kH && x < kW;
            ASSERT_EQ(*reinterpret_cast<uint32_t*>(bus_.vram(0x1004 + y * kPitch + x)),
                      in ? 0xcafef00du : 0u) << y << " " << x;
        }
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.vram(0x1000)), 0u);
    EXPECT_EQ(bytes(0), uint64_t{kW} * kH);
}

// Two windows of one surface are apart or not, byte for byte; and a copy between windows that are
// apart brings the right bytes.
TEST_F(Copy2d, OverlapRuleAgainstBruteForce) {
    std::mt19937_64 rng(5);
    unsigned refused = 0, done = 0;
    for (int i = 0; i < 1500; i++) {
        const uint32_t width = 1 + rng() % 12, height = 1 + rng() % 6;
        const uint32_t pitch = width + rng() % 12;
        const uint64_t a = kFree + rng() % 100, b = kFree + rng() % 100;
        std::vector<int> used(400);
        bool overlap = false;
        for (uint64_t y = 0; y < height; y++)
            for (uint64_t x = 0; x < width; x++) used[a - kFree + y * pitch + x] = 1;
        for (uint64_t y = 0; y < height; y++)
            for (uint64_t x = 0; x < width; x++) overlap |= used[b - kFree + y * pitch + x];
        std::vector<uint8_t> before(bus_.ram(kFree), bus_.ram(kFree) + 400);
        const uint32_t status = run(0, copy_2d({S, a, pitch}, {S, b, pitch}, width, height));
        ASSERT_EQ(status, overlap ? VTTM_FAULT_BAD_PACKET : VTTM_FAULT_NONE)
            << a - kFree << " " << b - kFree << " pitch " << pitch << " " << width << "x" << height;
        if (!overlap)
            for (uint64_t y = 0; y < height; y++)
                std::memcpy(&before[a - kFree + y * pitch], &before[b - kFree + y * pitch], width);
        ASSERT_EQ(std::memcmp(bus_.ram(kFree), before.data(), before.size()), 0);
        ++(overlap ? refused : done);
    }
    EXPECT_GT(refused, 100u);
    EXPECT_GT(done, 100u);
}

TEST_F(Copy2d, DifferentPitchesAskForExtentsApart) {
    // No byte in common, but the extents cross.
    expect_fault(0, copy_2d({S, kFree, 40}, {S, kFree + 20, 80}, 4, 4), VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(run(0, copy_2d({S, kFree, 40}, {S, kFree + 3 * 40 + 4, 80}, 4, 4)), 0u);
    // The same numbers in two spaces are two places.
    EXPECT_EQ(run(0, copy_2d({V, kFree, 40}, {S, kFree, 80}, 4, 4)), 0u);
}

TEST_F(Copy2d, BadOperands) {
    const auto bad = VTTM_FAULT_BAD_PACKET;
    expect_fault(0, copy_2d({V, 0, 8}, {S, kFree, 8}, 0, 1), bad);
    expect_fault(0, copy_2d({V, 0, 8}, {S, kFree, 8}, 8, 0), bad);
    expect_fault(0, copy_2d({V, 0, 7}, {S, kFree, 8}, 8, 1), bad);
    expect_fault(0, copy_2d({V, 0, 8}, {S, kFree, 7}, 8, 1), bad);
    expect_fault(0, copy_2d({V, 0, 0}, {S, kFree, 0}, 8, 1), bad);
    expect_fault(0, copy_2d({3, 0, 8}, {S, kFree, 8}, 8, 1), bad);
    expect_fault(0, copy_2d({V, 0, 8}, {3, kFree, 8}, 8, 1), bad);
    // More than 2^32 bytes in all, also when the product wraps.
    expect_fault(0, copy_2d({V, 0, ~0u}, {M, 0, ~0u}, 1u << 31, 3), bad);
    expect_fault(0, copy_2d({V, 0, ~0u}, {M, 0, ~0u}, 1u << 31, 1u << 31), bad);
    expect_fault(0, copy_2d({V, 0, ~0u}, {M, 0, ~0u}, ~0u, ~0u), bad);
    expect_fault(0, fill_2d({V, 2, 8}, 4, 2, 0), bad);
    expect_fault(0, fill_2d({V, 0, 6}, 4, 2, 0), bad);
    expect_fault(0, fill_2d({V, 0, 8}, 6, 2, 0), bad);
    expect_fault(0, fill_2d({V, 0, 4}, 8, 2, 0), bad);
    auto odd = copy_2d({V, 0, 8}, {S, kFree, 8}, 8, 1);
    odd.hdr |= VTTM_PKT_HDR(0, VTTM_PKT_FLAG_IRQ, 0);
    expect_fault(0, odd, bad);
    EXPECT_EQ(bytes(0), 0u);
}

TEST_F(Copy2d, ExtentsBeyondTheirSpace) {
    EXPECT_EQ(run(0, fill_2d({V, kVramSize - 104, 100}, 4, 2, 1)), 0u) << "to the last byte";
    expect_fault(0, fill_2d({V, kVramSize - 100, 100}, 4, 2, 1), VTTM_FAULT_VRAM_RANGE,
                 kVramSize - 100);
    expect_fault(0, fill_2d({V, 0, 0xfffffffc}, 4, 0x40000000, 1), VTTM_FAULT_VRAM_RANGE);
    expect_fault(0, copy_2d({V, ~0ull, 8}, {S, kFree, 8}, 8, 2), VTTM_FAULT_VRAM_RANGE);
    expect_fault(0, copy_2d({S, ~0ull - 14, 8}, {V, 0, 8}, 8, 2), VTTM_FAULT_BUS);
    expect_fault(0, copy_2d({V, 0, ~0u}, {S, 1, ~0u}, 1, ~0u), VTTM_FAULT_VRAM_RANGE);
    expect_fault(0, copy_2d({S, kFree, 8}, {S, ~0ull - (1ull << 40), ~0u}, 1, ~0u),
                 VTTM_FAULT_BUS, ~0ull - (1ull << 40));
    constexpr uint64_t kEnd = 1ull << VTTM_VA_BITS;
    expect_fault(0, fill_2d({M, kEnd - 100, 100}, 4, 2, 1), VTTM_FAULT_VA_RANGE, kEnd - 100);
    expect_fault(0, copy_2d({V, 0, 8}, {M, kEnd, 8}, 8, 2), VTTM_FAULT_VA_RANGE, kEnd);
}

TEST_F(Copy2d, WhatLiesBeforeTheFaultIsDone) {
    map_scattered(8);
    tables_.set(root_, kVa + 5 * kPage, 0);
    // Rows of 512 bytes at every 1024th: the first of page 5 is row 20.
    expect_fault(0, copy_2d({M, kVa, 1024}, {S, kFree, 512}, 512, 32), VTTM_FAULT_NOT_VALID,
                 kVa + 5 * kPage);
    EXPECT_EQ(bytes(0), 20u * 512);
    for (uint64_t y = 0; y < 20; y++)
        ASSERT_EQ(std::memcmp(bus_.vram(y / 4 * 2 * kPage + y % 4 * 1024),
                              bus_.ram(kFree + y * 512), 512), 0) << y;
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.vram(12 * kPage)), 0u) << "page 6 was not reached";
}

TEST_F(Copy2d, StallsGoOnInTheMiddleOfARow) {
    wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY);
    tables_.set(root_, kVa, vram_pte(0));
    put_packet(0, copy_2d({M, kVa + 100, 3000}, {S, kFree, 3000}, 2999, 3));
    put_fence(0, 7);
    ring(0);
    cure_stalls(0, {{kVa + kPage, vram_pte(kPage)}, {kVa + 2 * kPage, vram_pte(2 * kPage)}}, 7);
    EXPECT_EQ(fence_status(), 0u);
    for (uint64_t y = 0; y < 3; y++)
        EXPECT_EQ(std::memcmp(bus_.vram(100 + y * 3000), bus_.ram(kFree + y * 3000), 2999), 0);
    EXPECT_EQ(bytes(0), 3u * 2999);
}

// A step has few bytes and many rows, or the other way round: a pause never waits for more than one.
// A step of narrow rows ends after 32 of them: the engine hangs behind the first.
TEST_F(Copy2d, NarrowRowsAreBoundedToo) {
    char err[200] = "";
    ASSERT_EQ(vttm_model_set_fault_plan(
                  model_.get(), R"({"faults": [{"kind": "engine-hang", "engine": "copy", "chunks": 1}]})", err,
                  sizeof(err)), 0) << err;
    std::atomic<uint64_t> data{0};
    bus_.on_map([&](uint64_t addr, bool) { data += addr >= kFree; });
    put_packet(0, copy_2d({S, kFree, 2}, {S, kFree + 1, 2}, 1, 3u << 20));
    ring(0);
    ASSERT_TRUE(wait_for([&] { return data >= 2u * 32; }));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    vttm_model_pause(model_.get());
    EXPECT_EQ(data, 2u * 32);
    EXPECT_EQ(eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE, 0u);
    EXPECT_EQ(bus_.open_mappings(), 0);
    vttm_model_reset(model_.get());
    vttm_model_resume(model_.get());
    bus_.on_map(nullptr);
}

TEST_F(Copy2d, ReusedExecutorForgetsTheRectangle) {
    EXPECT_EQ(run(0, fill_2d({V, 0, 64}, 4, 4, 1)), 0u);
    EXPECT_EQ(run(0, fill_packet(V, 0x1000, 8, 2)), 0u);
    EXPECT_EQ(bytes(0), 16u + 8u);
    EXPECT_EQ(run(0, copy_packet(S, kFree, S, kFree + 8, 8)), 0u);
    EXPECT_EQ(run(0, copy_packet(S, kFree, S, kFree + 4, 8)), VTTM_FAULT_BAD_PACKET);
}

}  // namespace
}  // namespace vttm::model::test
