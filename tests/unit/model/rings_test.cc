// SPDX-License-Identifier: Apache-2.0
// Several rings per engine: each has a life of its own; priorities, turns, preemption; resets.
#include "protocol/vttm_fault.h"
#include "tests/unit/model/rings_machine.h"

namespace vttm::model::test {
namespace {

constexpr auto V = VTTM_SPACE_VRAM;
constexpr auto S = VTTM_SPACE_SYSTEM;
constexpr auto M = VTTM_SPACE_VM;
constexpr uint64_t kVa = 0x10000000;
constexpr uint64_t kWords = 0x3000;

class Rings : public RingsMachine {};

TEST_F(Rings, Registers) {
    EXPECT_EQ(rd(VTTM_REG_NUM_RINGS), VTTM_NUM_RINGS);
    const Lane l{1, 2};
    EXPECT_EQ(VTTM_RING_BLOCK(1, 0), VTTM_ENGINE_BASE(1)) << "where ABI 1.0 has the engine";
    for (uint32_t p = 0; p <= VTTM_PRIORITY_MAX; p++) {
        set(l, VTTM_ENG_PRIORITY, p);
        EXPECT_EQ(reg(l, VTTM_ENG_PRIORITY), p);
    }
    for (uint32_t bad : {VTTM_PRIORITY_MAX + 1, ~0u}) set(l, VTTM_ENG_PRIORITY, bad);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 2u);
    EXPECT_EQ(reg(l, VTTM_ENG_PRIORITY), VTTM_PRIORITY_MAX);
    EXPECT_EQ(reg({1, 1}, VTTM_ENG_PRIORITY), 0u);
    EXPECT_EQ(run({0, 1}, fill_packet(V, 0, 64, 1)), 0u);
    for (unsigned r = 0; r < VTTM_NUM_RINGS; r++) {
        EXPECT_EQ(rd64(block({0, r}, VTTM_ENG_BYTES_LO)), 64u) << "the engine's, in each block";
        EXPECT_EQ(reg({0, r}, VTTM_ENG_PACKETS), 2 * VTTM_NUM_RINGS + 2);
        EXPECT_EQ(reg({0, r}, VTTM_ENG_CLASS), uint32_t{VTTM_CLASS_COPY});
        EXPECT_EQ(reg({1, r}, VTTM_ENG_CLASS), uint32_t{VTTM_CLASS_STAMP});
        EXPECT_EQ(last_fence({0, r}), r == 1 ? 2u : 1u);
    }
    set({1, 0}, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RESET);
    EXPECT_EQ(reg(l, VTTM_ENG_PRIORITY), VTTM_PRIORITY_MAX) << "an engine reset leaves it";
    vttm_model_reset(model_.get());
    for (unsigned r = 0; r < VTTM_NUM_RINGS; r++) {
        for (uint32_t off : {VTTM_ENG_PRIORITY, VTTM_ENG_CTRL, VTTM_ENG_RING_SIZE, VTTM_ENG_TAIL,
                             VTTM_ENG_LAST_FENCE_LO, VTTM_ENG_RING_BASE_LO, VTTM_ENG_STALL})
            EXPECT_EQ(reg({1, r}, off), 0u) << r << " " << off;
        EXPECT_EQ(reg({1, r}, VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
    }
}

TEST_F(Rings, EachHasItsOwnVmErrorAndFence) {
    for (uint32_t r = 0; r < VTTM_NUM_RINGS; r++) {
        const uint64_t root = make_vm(10 + r);
        tables_.set(root, kVa, vram_pte(r * kPage));
        put(Lane{0, r}, vttm_pkt_set_vm{VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), 10 + r});
        if (r == 2) put(Lane{0, r}, fill_packet(V, 2, 4, 0));  // BAD_PACKET, its fence comes later
        ring({0, r});
    }
    for (uint32_t r = 0; r < VTTM_NUM_RINGS; r++) put(Lane{0, r}, fill_packet(M, kVa, 4, r + 1));
    for (uint32_t r = 0; r < VTTM_NUM_RINGS; r++)
        EXPECT_EQ(finish({0, r}), r == 2 ? VTTM_FAULT_BAD_PACKET : VTTM_FAULT_NONE) << r;
    for (uint32_t r = 0; r < VTTM_NUM_RINGS; r++)
        EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.vram(r * kPage)), r == 2 ? 0 : r + 1);
    EXPECT_EQ(VTTM_FAULT_INFO_RING(rd(VTTM_REG_FAULT_INFO)), 2u);
    EXPECT_EQ(VTTM_FAULT_INFO_ENGINE(rd(VTTM_REG_FAULT_INFO)), 0u);
    EXPECT_EQ(VTTM_FAULT_INFO_VM(rd(VTTM_REG_FAULT_INFO)), 12u);
    EXPECT_FALSE(rd(VTTM_REG_FAULT_INFO) & VTTM_FAULT_INFO_WRITE);
}

TEST_F(Rings, TheEnginesVectorServesAllRings) {
    wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(1));
    for (unsigned r = 0; r < VTTM_NUM_RINGS; r++) {
        put_fence({1, r}, true);
        ring({1, r});
        ASSERT_TRUE(bus_.wait_irq(VTTM_MSIX_ENGINE(1), r + 1));
    }
}

TEST_F(Rings, HigherPriorityGoesFirst) {
    hold();
    set({0, 1}, VTTM_ENG_PRIORITY, 1);
    set({0, 2}, VTTM_ENG_PRIORITY, 2);
    std::vector<uint64_t> order;
    seen_ = [&](uint64_t addr, bool write) {
        if (write && addr >= kWords && addr < kWords + kPage) order.push_back((addr - kWords) / 256);
    };
    for (unsigned r : {0u, 1u, 2u}) {
        for (uint64_t i = 0; i < 20; i++) put(Lane{0, r}, timestamp(S, kWords + r * 256 + i * 8));
        put_fence({0, r});
        ring({0, r});
    }
    let_go();
    for (unsigned r : {0u, 1u, 2u}) EXPECT_EQ(wait({0, r}), 0u);
    bus_.on_map(nullptr);
    std::vector<uint64_t> want(20, 2);
    want.insert(want.end(), 20, 1);
    want.insert(want.end(), 20, 0);
    EXPECT_EQ(order, want);
}

// A long packet is left between two chunks, and gone on with at the right place.
TEST_F(Rings, PreemptsALongPacket) {
    constexpr uint64_t kLen = 8 * kChunk;
    std::memset(bus_.ram(kFree), 0xee, kLen);
    set({0, 1}, VTTM_ENG_PRIORITY, 1);
    std::atomic<bool> inside{false}, go{false};
    std::atomic<int> done_before{-1};
    bus_.on_map([&](uint64_t addr, bool) {
        if (addr == kFree + 2 * kChunk) {
            inside = true;
            while (!go) std::this_thread::yield();
        }
        if (addr == kFree + 3 * kChunk) done_before = last_fence({0, 1}) == seqs_[0][1];
    });
    put(Lane{0, 0}, copy_packet(V, 0, S, kFree, kLen));
    put_fence({0, 0});
    ring({0, 0});
    ASSERT_TRUE(wait_for([&] { return inside.load(); }));
    for (int i = 0; i < 3; i++) put(Lane{0, 1}, fill_packet(V, 0x700000, 2 * kChunk, 7));
    put_fence({0, 1});
    ring({0, 1});
    go = true;
    EXPECT_EQ(wait({0, 1}), 0u);
    EXPECT_EQ(wait({0, 0}), 0u);
    bus_.on_map(nullptr);
    EXPECT_EQ(done_before, 1) << "all of the other ring came between two chunks";
    for (uint64_t i = 0; i < kLen; i += 999) ASSERT_EQ(bus_.vram(i)[0], 0xee) << i;
}

// Equals take turns by the chunk, also when another ring keeps coming in between.
TEST_F(Rings, EqualsTakeTurns) {
    for (bool disturbed : {false, true}) {
        std::vector<unsigned> order;
        seen_ = [&](uint64_t addr, bool) {
            if (addr < kFree || (addr - kFree) % kChunk) return;
            order.push_back(static_cast<unsigned>((addr - kFree) / (8 * kChunk)));
            if (disturbed) {
                put(Lane{0, 3}, fill_packet(V, 0x700000, 4, 1));
                ring({0, 3});
            }
        };
        hold();
        for (unsigned r = 0; r < 3; r++) {
            put(Lane{0, r}, copy_packet(V, 0, S, kFree + r * 8 * kChunk, 8 * kChunk));
            put_fence({0, r});
            ring({0, r});
        }
        let_go();
        for (unsigned r = 0; r < 3; r++) EXPECT_EQ(wait({0, r}), 0u);
        bus_.on_map(nullptr);
        ASSERT_EQ(order.size(), 24u);
        for (size_t i = 3; i < order.size(); i++)
            ASSERT_EQ(order[i], order[i - 3]) << i << (disturbed ? " disturbed" : "");
        EXPECT_NE(order[0], order[1]);
        EXPECT_NE(order[1], order[2]);
        EXPECT_NE(order[0], order[2]);
    }
}

// What a packet under way remembers is its ring's: lists, rectangles, hashes, buffers.
// Whose turn it is does not outlive a device reset: what runs after it does the same each time.
TEST_F(Rings, ADeviceResetForgetsTheTurn) {
    for (unsigned had_the_last : {1, 2, 3, 0}) {
        EXPECT_EQ(finish({0, had_the_last}), 0u);
        vttm_model_reset(model_.get());
        for (unsigned r = 0; r < VTTM_NUM_RINGS; r++) start({0, r});
        vttm_model_pause(model_.get());
        for (unsigned r : {1, 2}) {
            put(Lane{0, r}, fill_packet(S, kWords, 4, r));
            put_fence({0, r});
            ring({0, r});
        }
        vttm_model_resume(model_.get());
        for (unsigned r : {1, 2}) EXPECT_EQ(wait({0, r}), 0u);
        EXPECT_EQ(word(kWords) & 0xff, 2u) << had_the_last;
    }
}

TEST_F(Rings, PacketsUnderWayDoNotMix) {
    constexpr uint64_t kPart = 2ull << 20;
    for (uint64_t i = 0; i < kRamSize - kFree; i += 8)
        *reinterpret_cast<uint64_t*>(bus_.ram(kFree + i)) = vttm_mix64(i);
    // Ring 0 scatters 2 MiB in pieces of 512, ring 1 copies 2 MiB in rows of 1 KiB, ring 2 runs a buffer
    // of fills.
    std::vector<vttm_sg_entry> list(VTTM_SG_MAX);
    for (uint64_t i = 0; i < list.size(); i++)
        list[i] = {(list.size() - 1 - i) * 512, 512, 0};
    std::memcpy(bus_.ram(0x10000), list.data(), list.size() * 16);
    Commands c;
    for (uint32_t i = 0; i < 500; i++) c << fill_packet(V, 2 * kPart + i * 4, 4, i);
    std::memcpy(bus_.ram(0x30000), c.words().data(), c.dwords() * 4);
    hold();
    put(Lane{0, 0}, sg(true, S, kFree, V, S, 0x10000, VTTM_SG_MAX));
    put(Lane{0, 1}, copy_2d({V, kPart, 1024}, {S, kFree + kPart, 2048}, 1024, kPart / 1024));
    put(Lane{0, 2}, indirect(S, 0x30000, c.dwords()));
    for (unsigned r = 0; r < 3; r++) {
        put_fence({0, r});
        ring({0, r});
    }
    let_go();
    for (unsigned r = 0; r < 3; r++) EXPECT_EQ(wait({0, r}), 0u);
    bus_.on_map(nullptr);
    for (uint64_t i = 0; i < list.size(); i++)
        ASSERT_EQ(std::memcmp(bus_.vram(list[i].addr), bus_.ram(kFree + i * 512), 512), 0) << i;
    for (uint64_t y = 0; y < kPart / 1024; y++)
        ASSERT_EQ(std::memcmp(bus_.vram(kPart + y * 1024), bus_.ram(kFree + kPart + y * 2048), 1024),
                  0) << y;
    for (uint32_t i = 0; i < 500; i++)
        ASSERT_EQ(*reinterpret_cast<uint32_t*>(bus_.vram(2 * kPart + i * 4)), i);
}

TEST_F(Rings, AStallHoldsUpItsRingOnly) {
    wr64(VTTM_REG_FAULT_RING_BASE_LO, 0x80000);
    wr(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY);
    const Lane l{0, 2};
    set(l, VTTM_ENG_PRIORITY, 3);
    put(l, fill_packet(M, kVa, 4, 5));
    put_fence(l);
    ring(l);
    ASSERT_TRUE(wait_for([&] { return reg(l, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED; }));
    EXPECT_EQ(VTTM_FAULT_INFO_RING(rd(VTTM_REG_FAULT_INFO)), 2u);
    const auto* record = reinterpret_cast<vttm_fault_record*>(bus_.ram(0x80000));
    EXPECT_EQ(VTTM_FAULT_INFO_RING(record->info), 2u);
    EXPECT_EQ(record->stall, 1u);
    for (unsigned r : {0u, 1u, 3u}) {
        EXPECT_EQ(run({0, r}, fill_packet(V, 0, 4, 1)), 0u) << "the others go on";
        EXPECT_EQ(reg({0, r}, VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
    }
    invalidate(VTTM_TLB_INV_ALL);
    tables_.set(root_, kVa, vram_pte(0));
    // The number is that ring's: the same one elsewhere answers nothing.
    set({0, 0}, VTTM_ENG_ANSWER, VTTM_ENG_ANSWER_VAL(1, VTTM_ENG_ANSWER_RETRY));
    EXPECT_TRUE(reg(l, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED);
    set(l, VTTM_ENG_ANSWER, VTTM_ENG_ANSWER_VAL(1, VTTM_ENG_ANSWER_RETRY));
    EXPECT_EQ(wait(l), 0u);
}

TEST_F(Rings, AWaitHoldsUpItsRingOnly) {
    set({1, 1}, VTTM_ENG_PRIORITY, 3);
    for (uint64_t round = 1; round <= 100; round++) {
        put(Lane{1, 1}, sem_wait(S, kWords, round));
        put(Lane{1, 1}, sem_signal(S, kWords + 8, 1, true));
        put_fence({1, 1});
        ring({1, 1});
        if (round == 1) {
            ASSERT_TRUE(
                wait_for([&] { return reg({1, 1}, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_WAITING; }));
        }
        put(Lane{1, 0}, sem_signal(S, kWords, 1, true));
        put(Lane{1, 0}, sem_wait(S, kWords + 8, round));
        ASSERT_EQ(finish({1, 0}), 0u);
        ASSERT_EQ(wait({1, 1}), 0u);
    }
}

TEST_F(Rings, AHaltHoldsUpItsRingOnly) {
    put(Lane{0, 0}, VTTM_PKT_HDR(0x7f, 0, 1));
    put_fence({0, 0});
    ring({0, 0});
    ASSERT_TRUE(wait_for([&] { return reg({0, 0}, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_HALTED; }));
    EXPECT_EQ(run({0, 1}, fill_packet(V, 0, 4, 1)), 0u);
    set({0, 0}, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RING_RESET);
    ASSERT_TRUE(wait_for([&] { return reg({0, 0}, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_IDLE; }));
    EXPECT_EQ(reg({0, 1}, VTTM_ENG_CTRL), VTTM_ENG_CTRL_ENABLE);
    seqs_[0][0] = last_fence({0, 0});
    start({0, 0});
    EXPECT_EQ(finish({0, 0}), 0u);
}

// Waits on words that stay 0 keep every ring busy; then one is reset, then the engine.
TEST_F(Rings, ResetOfARingAndOfTheEngine) {
    for (unsigned r = 0; r < VTTM_NUM_RINGS; r++) {
        put(Lane{0, r}, sem_wait(S, kWords + r * 8, 1));
        put_fence({0, r});
        ring({0, r});
    }
    auto waits = [&](unsigned r) {
        return wait_for([&] { return reg({0, r}, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_WAITING; });
    };
    for (unsigned r = 0; r < VTTM_NUM_RINGS; r++) ASSERT_TRUE(waits(r));
    set({0, 2}, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RESET);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 1u) << "the engine's reset is at ring 0";
    EXPECT_EQ(reg({0, 2}, VTTM_ENG_CTRL), VTTM_ENG_CTRL_ENABLE) << "nothing has changed";
    set({0, 2}, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RING_RESET | VTTM_ENG_CTRL_ENABLE);
    ASSERT_TRUE(wait_for([&] { return reg({0, 2}, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_IDLE; }));
    EXPECT_EQ(reg({0, 2}, VTTM_ENG_CTRL), VTTM_ENG_CTRL_ENABLE);
    EXPECT_EQ(reg({0, 2}, VTTM_ENG_TAIL), 0u);
    tails_[0][2] = 0;
    EXPECT_EQ(finish({0, 2}), 0u);
    for (unsigned r : {0u, 1u, 3u}) EXPECT_TRUE(waits(r));

    set({0, 0}, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RESET | VTTM_ENG_CTRL_ENABLE);
    for (unsigned r = 0; r < VTTM_NUM_RINGS; r++) {
        ASSERT_TRUE(wait_for([&] { return reg({0, r}, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_IDLE; }));
        EXPECT_EQ(reg({0, r}, VTTM_ENG_CTRL), r ? 0 : VTTM_ENG_CTRL_ENABLE);
        EXPECT_EQ(reg({0, r}, VTTM_ENG_RING_SIZE), VTTM_RING_MIN_SIZE);
        seqs_[0][r] = last_fence({0, r});
        start({0, r});
        EXPECT_EQ(finish({0, r}), 0u);
    }
}

TEST_F(Rings, ResetsReachABusyEngine) {
    hold();
    put(Lane{0, 1}, sem_signal(S, kWords, 1));
    put(Lane{0, 2}, sem_signal(S, kWords + 8, 1));
    put_fence({0, 2});
    ring({0, 1});
    ring({0, 2});
    set({0, 1}, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RING_RESET);
    EXPECT_TRUE(reg({0, 1}, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_RESETTING);
    EXPECT_FALSE(reg({0, 2}, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_RESETTING);
    set({0, 1}, VTTM_ENG_PRIORITY, 2);  // ignored
    let_go();
    EXPECT_EQ(wait({0, 2}), 0u);
    EXPECT_EQ(wait({0, 3}), 0u);
    ASSERT_TRUE(wait_for([&] { return reg({0, 1}, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_IDLE; }));
    EXPECT_EQ(reg({0, 1}, VTTM_ENG_PRIORITY), 0u);
    EXPECT_EQ(word(kWords), 0u) << "it did not run";
    EXPECT_EQ(word(kWords + 8), 1u);
    hold();
    set({0, 0}, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RESET);
    for (unsigned r = 0; r < VTTM_NUM_RINGS; r++)
        EXPECT_TRUE(reg({0, r}, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_RESETTING) << r;
    let_go();
    for (unsigned r = 0; r < VTTM_NUM_RINGS; r++)
        ASSERT_TRUE(wait_for([&] { return reg({0, r}, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_IDLE; }));
    bus_.on_map(nullptr);
}

// Priorities, doorbells and resets from many threads: no race (TSan), and alive at the end.
TEST_F(Rings, Storm) {
    for (unsigned e = 0; e < 2; e++)
        for (unsigned r = 0; r < VTTM_NUM_RINGS; r++)
            while (tails_[e][r] < 0xf00) {
                put(Lane{e, r}, sem_signal(S, kWords + r * 8, 1, true));
                put(Lane{e, r}, sem_wait(S, kWords + r * 8, 1));
                put(Lane{e, r}, timestamp(S, kWords + 0x100 + r * 8));
            }
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 3; t++)
        threads.emplace_back([&, t] {
            for (uint32_t i = t; !stop; i++) {
                const Lane l{i % 2, i / 2 % VTTM_NUM_RINGS};
                set(l, VTTM_ENG_PRIORITY, i / 8 % 4);
                set(l, VTTM_ENG_TAIL, i * 68 % 0xf00 / 4 * 4);
                reg(l, VTTM_ENG_STATUS);
                if (i % 97 == 0) set(l, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RING_RESET);
                if (i % 997 == 0) set({l.e, 0}, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RESET);
                set(l, VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
                if (t == 2) {
                    wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_ALL);
                    std::this_thread::sleep_for(std::chrono::microseconds(50));
                }
            }
        });
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    stop = true;
    for (auto& t : threads) t.join();
    vttm_model_reset(model_.get());
    for (unsigned e = 0; e < 2; e++)
        for (unsigned r = 0; r < VTTM_NUM_RINGS; r++) {
            seqs_[e][r] = 0;
            start({e, r});
            EXPECT_EQ(finish({e, r}), 0u);
        }
}

}  // namespace
}  // namespace vttm::model::test
