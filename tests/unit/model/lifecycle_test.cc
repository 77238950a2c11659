// SPDX-License-Identifier: Apache-2.0
// Reset, pause, destruction: at rest, in the middle of a packet, and in each other's way.
#include <nlohmann/json.hpp>

#include "tests/unit/model/machine.h"

namespace vttm::model::test {
namespace {

constexpr uint64_t kLong = 8ull << 20;  // many chunks

class Lifecycle : public Machine {
protected:
    Lifecycle() {
        setup_ring(0);
        setup_ring(1);
    }
    // Starts a copy of many chunks and waits until it is in the middle of one; go_ lets it on.
    void start_held_copy() {
        bus_.on_map([this](uint64_t addr, bool) {
            if (addr < kFree + kChunk || addr >= kFree + kLong) return;
            inside_ = true;
            while (!go_) std::this_thread::yield();
            // On a loaded machine the test needs time to get a word in.
            if (slow_) std::this_thread::sleep_for(std::chrono::milliseconds(10));
        });
        put_packet(0, copy_packet(VTTM_SPACE_VRAM, 0, VTTM_SPACE_SYSTEM, kFree, kLong));
        put_fence(0, 99);
        ring(0);
        ASSERT_TRUE(wait_for([&] { return inside_.load(); }));
        EXPECT_EQ(eng(0, VTTM_ENG_STATUS), 0u);
    }
    static constexpr uint64_t kChunk = 256 * 1024;
    std::atomic<bool> inside_{false};
    std::atomic<bool> go_{false};
    std::atomic<bool> slow_{false};
};

TEST_F(Lifecycle, EngineResetDropsThePacketUnderWay) {
    std::memset(bus_.ram(kFree), 0xee, kLong);
    start_held_copy();
    eng_wr(0, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RESET);
    EXPECT_TRUE(eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_RESETTING);
    eng_wr(0, VTTM_ENG_TAIL, 64);  // ignored while resetting
    eng_wr(0, VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    EXPECT_EQ(finish(1), 0u) << "the other engine goes on";
    go_ = true;
    ASSERT_TRUE(wait_for([&] { return eng(0, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_IDLE; }));
    EXPECT_EQ(eng(0, VTTM_ENG_HEAD), 0u);
    EXPECT_EQ(eng(0, VTTM_ENG_TAIL), 0u);
    EXPECT_EQ(eng(0, VTTM_ENG_CTRL), 0u);
    EXPECT_EQ(eng(0, VTTM_ENG_RING_SIZE), VTTM_RING_MIN_SIZE) << "the ring's place stays";
    EXPECT_EQ(bus_.vram()[kLong - 1], 0) << "the packet was not finished";
    EXPECT_EQ(bus_.vram()[0], 0xee);
    EXPECT_EQ(rd64(VTTM_ENGINE_BASE(0) + VTTM_ENG_LAST_FENCE_LO), 0u);
    bus_.on_map(nullptr);
    setup_ring(0);
    EXPECT_EQ(finish(0), 0u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 0u);
}

TEST_F(Lifecycle, EngineResetClearsTheError) {
    put_packet(0, fill_packet(VTTM_SPACE_VRAM, 2, 4, 0));
    ring(0);
    ASSERT_TRUE(wait_idle(0));
    reset_engine(0);
    EXPECT_EQ(finish(0), 0u);
}

TEST_F(Lifecycle, ResetAndEnableInOneWrite) {
    put(0, {VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1)});
    EXPECT_EQ(finish(0), 0u);
    eng_wr(0, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RESET | VTTM_ENG_CTRL_ENABLE);
    ASSERT_TRUE(wait_for([&] { return eng(0, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_IDLE; }));
    EXPECT_EQ(eng(0, VTTM_ENG_CTRL), VTTM_ENG_CTRL_ENABLE);
    tail_[0] = 0;
    EXPECT_EQ(finish(0), 0u);
}

TEST_F(Lifecycle, DeviceResetInTheMiddle) {
    wr(VTTM_REG_IRQ_ENABLE, 7);
    start_held_copy();
    wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    EXPECT_EQ(rd(VTTM_REG_DEV_STATUS), VTTM_DEV_STATUS_RESETTING);
    wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);  // once more changes nothing
    wr(VTTM_REG_IRQ_ENABLE, 1);                  // ignored
    wr64(VTTM_REG_VM_ROOT_LO(1), 1);             // ignored
    // Engine 1 was at rest and has obeyed already; still the device takes nothing.
    eng_wr(1, VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    eng_wr(1, VTTM_ENG_RING_SIZE, VTTM_RING_MIN_SIZE);
    go_ = true;
    ASSERT_TRUE(wait_for([&] { return rd(VTTM_REG_DEV_STATUS) == 0; }));
    EXPECT_EQ(rd(VTTM_REG_IRQ_ENABLE), 0u);
    EXPECT_EQ(rd64(VTTM_REG_VM_ROOT_LO(1)), 0u);
    EXPECT_EQ(eng(1, VTTM_ENG_CTRL), 0u);
    EXPECT_EQ(eng(1, VTTM_ENG_RING_SIZE), 0u);
    EXPECT_EQ(eng(0, VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
    EXPECT_EQ(rd64(VTTM_ENGINE_BASE(0) + VTTM_ENG_BYTES_LO), 0u);
    bus_.on_map(nullptr);
    setup_ring(0);
    EXPECT_EQ(finish(0), 0u);
}

TEST_F(Lifecycle, DeviceResetForgetsTheTlb) {
    constexpr uint64_t kVa = 0x1000000;
    uint64_t root = make_vm(1);
    tables_.set(root, kVa, sys_pte(kFree));
    put_set_vm(0, 1);
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VM, kVa, 4, 1)), 0u);
    vttm_model_reset(model_.get());
    EXPECT_EQ(rd(VTTM_REG_DEV_STATUS), 0u);
    setup_ring(0);
    wr64(VTTM_REG_VM_ROOT_LO(1), root);
    tables_.set(root, kVa, sys_pte(kFree + kPage));
    put_set_vm(0, 1);
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VM, kVa, 4, 2)), 0u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 0u);
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.ram(kFree + kPage)), 2u);
}

TEST_F(Lifecycle, VramKeepsItsBytesOverReset) {
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VRAM, 0, 64, 0x12345678)), 0u);
    vttm_model_reset(model_.get());
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.vram(60)), 0x12345678u);
}

TEST_F(Lifecycle, PauseStopsBetweenChunksAndResumeGoesOn) {
    std::memset(bus_.ram(kFree), 0xee, kLong);
    start_held_copy();
    slow_ = true;
    std::atomic<bool> started{false}, paused{false};
    std::thread pauser([&] {
        started = true;
        vttm_model_pause(model_.get());
        paused = true;
    });
    ASSERT_TRUE(wait_for([&] { return started.load(); }));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(paused) << "the chunk under way is waited for";
    go_ = true;
    pauser.join();
    const uint64_t calls = bus_.callbacks();
    vttm_model_pause(model_.get());  // nests
    vttm_model_resume(model_.get());
    EXPECT_EQ(bus_.open_mappings(), 0);
    put_fence(1, 1);
    ring(1);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(bus_.callbacks(), calls) << "no callback while paused";
    EXPECT_EQ(bus_.vram()[kLong - 1], 0);
    // Registers and invalidation work all the same.
    invalidate(VTTM_TLB_INV_ALL);
    EXPECT_EQ(eng(0, VTTM_ENG_STATUS), 0u);
    slow_ = false;
    vttm_model_resume(model_.get());
    ASSERT_TRUE(wait_for([&] {
        return rd64(VTTM_ENGINE_BASE(0) + VTTM_ENG_LAST_FENCE_LO) == 99;
    }));
    EXPECT_EQ(bus_.vram()[kLong - 1], 0xee);
    ASSERT_TRUE(wait_idle(1));
}

// Busy time is not counted for it: the ring has work all the while.
TEST_F(Lifecycle, DeviceTimeGoesOnWhilePausedAndOverResets) {
    constexpr uint64_t kPause = 300'000'000;
    const uint32_t busy = VTTM_COUNTER_BASE(0) + VTTM_CNT_BUSY_NS;
    start_held_copy();
    std::thread pauser([&] { vttm_model_pause(model_.get()); });
    go_ = true;
    pauser.join();
    bus_.on_map(nullptr);
    const uint64_t then = rd64(VTTM_REG_TIMESTAMP_LO), busy_then = rd64(busy);
    std::this_thread::sleep_for(std::chrono::nanoseconds(kPause));
    EXPECT_GE(rd64(VTTM_REG_TIMESTAMP_LO), then + kPause);
    vttm_model_resume(model_.get());
    ASSERT_TRUE(wait_idle(0));
    const uint64_t end = rd64(VTTM_REG_TIMESTAMP_LO);
    EXPECT_LE(rd64(busy) - busy_then, end - then - kPause);
    vttm_model_reset(model_.get());
    EXPECT_GE(rd64(VTTM_REG_TIMESTAMP_LO), end);
}

TEST_F(Lifecycle, ResetWhilePausedInTheMiddle) {
    start_held_copy();
    std::thread pauser([&] { vttm_model_pause(model_.get()); });
    go_ = true;
    pauser.join();
    bus_.on_map(nullptr);
    vttm_model_reset(model_.get());
    EXPECT_EQ(eng(0, VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
    setup_ring(0);
    put_fence(0, 5);
    ring(0);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(eng(0, VTTM_ENG_HEAD), 0u) << "a reset does not end the pause";
    vttm_model_resume(model_.get());
    ASSERT_TRUE(wait_idle(0));
}

// What was done before a pause or a reset is in the log when the engine stands still.
class LifecycleWitness : public Lifecycle {
protected:
    static constexpr uint32_t kPages = 1024;

    // Starts a STAMP_WRITE and holds it in its third chunk.
    void start_held_stamp() {
        bus_.on_map([this](uint64_t addr, bool) {
            if (addr != kFree + 2 * kChunk) return;
            inside_ = true;
            while (!go_) std::this_thread::yield();
        });
        put_packet(1, stamp_packet(false, VTTM_SPACE_SYSTEM, kFree, kPages, {1, 0, 1, 1}));
        put_fence(1, 1);
        ring(1);
        ASSERT_TRUE(wait_for([&] { return inside_.load(); }));
    }
    uint64_t logged() {
        uint64_t pages = 0;
        for (const auto& w : bus_.witness()) pages += w.npages;
        return pages;
    }
};

TEST_F(LifecycleWitness, IsHandedOverBeforeAPause) {
    start_held_stamp();
    std::thread pauser([&] { vttm_model_pause(model_.get()); });
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    go_ = true;
    pauser.join();
    EXPECT_GE(logged(), 2 * kChunk / kPage);
    EXPECT_EQ(rd64(VTTM_ENGINE_BASE(1) + VTTM_ENG_BYTES_LO), logged() * kPage);
    vttm_model_resume(model_.get());
    ASSERT_TRUE(wait_idle(1));
    EXPECT_EQ(logged(), kPages);
}

TEST_F(LifecycleWitness, IsHandedOverBeforeAReset) {
    start_held_stamp();
    eng_wr(1, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RESET);
    go_ = true;
    ASSERT_TRUE(wait_for([&] { return eng(1, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_IDLE; }));
    EXPECT_EQ(logged(), 3 * kChunk / kPage) << "up to the chunk under way";
    EXPECT_EQ(rd64(VTTM_ENGINE_BASE(1) + VTTM_ENG_BYTES_LO), logged() * kPage);
}

TEST_F(Lifecycle, DestroyInTheMiddle) {
    start_held_copy();
    std::thread release([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
        go_ = true;
    });
    model_.reset();
    release.join();
    EXPECT_EQ(bus_.threads(), 0);
}

TEST_F(Lifecycle, DestroyWhilePaused) {
    vttm_model_pause(model_.get());
    model_.reset();
    EXPECT_EQ(bus_.threads(), 0);
}

// The interrupt handler of a careless embedder calls straight back into the model.
TEST_F(Lifecycle, CallbacksMayUseRegisters) {
    wr(VTTM_REG_IRQ_ENABLE, 7);
    bus_.on_irq([&](unsigned) {
        wr(VTTM_REG_IRQ_STATUS, rd(VTTM_REG_IRQ_STATUS));
        wr(VTTM_REG_TLB_INV_CMD, 0);
        rd(VTTM_REG_TLB_INV_DONE);
        eng(0, VTTM_ENG_STATUS);
        eng_wr(1, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RESET);
    });
    for (int i = 0; i < 100; i++) {
        put_fence(0, ++seq_);
        ring(0);
        ASSERT_TRUE(wait_idle(0));
    }
    bus_.on_irq([&](unsigned) { wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET); });
    put_fence(0, ++seq_);
    ring(0);
    ASSERT_TRUE(wait_for([&] { return eng(0, VTTM_ENG_RING_SIZE) == 0; }));
    ASSERT_TRUE(wait_for([&] { return rd(VTTM_REG_DEV_STATUS) == 0; }));
    bus_.on_irq(nullptr);
}

// Everything at once from many threads: no deadlock, no data race (TSan), and alive at the end.
TEST_F(Lifecycle, Storm) {
    std::atomic<bool> stop{false};
    make_vm(1);
    std::vector<std::thread> threads;
    auto loop = [&](auto body) {
        threads.emplace_back([&stop, body] {
            for (uint32_t i = 0; !stop; i++) body(i);
        });
    };
    wr(VTTM_REG_IRQ_ENABLE, 7);
    loop([&](uint32_t i) {
        eng_wr(0, VTTM_ENG_TAIL, (i * 28) & 0xffc);
        std::this_thread::yield();
    });
    loop([&](uint32_t i) {
        if (i % 8 == 0) wr64(VTTM_ENGINE_BASE(i / 8 % 2) + VTTM_ENG_RING_BASE_LO, kRingAddr[0]);
        eng_wr(i % 2, VTTM_ENG_RING_SIZE, VTTM_RING_MIN_SIZE);
        eng_wr(i % 2, VTTM_ENG_CTRL, i % 16 ? VTTM_ENG_CTRL_ENABLE : VTTM_ENG_CTRL_RESET);
        std::this_thread::yield();
    });
    loop([&](uint32_t i) {
        wr(VTTM_REG_TLB_INV_CMD, i % 3);
        rd(VTTM_REG_TLB_INV_DONE);
        rd64(VTTM_REG_FAULT_ADDR_LO);
        wr(VTTM_REG_FAULT_STATUS, 1);
        wr(VTTM_REG_IRQ_STATUS, 7);
        for (uint32_t off = 0; off < 0x3c; off += 4) rd(VTTM_ENGINE_BASE(0) + off);
        stats();
        std::this_thread::yield();
    });
    loop([&](uint32_t i) {
        vttm_model_pause(model_.get());
        if (i % 4 == 0) vttm_model_reset(model_.get());
        if (i % 4 == 2) wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
        vttm_model_resume(model_.get());
        std::this_thread::sleep_for(std::chrono::microseconds(300));
    });
    // Ring content: long fills, so that there is something to interrupt.
    while (tail_[0] < 0xfe0) put_packet(0, fill_packet(VTTM_SPACE_VRAM, 0, kVramSize, 1));
    std::this_thread::sleep_for(std::chrono::milliseconds(400));
    stop = true;
    for (auto& t : threads) t.join();
    vttm_model_reset(model_.get());
    setup_ring(0);
    setup_ring(1);
    EXPECT_EQ(finish(0), 0u);
    EXPECT_EQ(finish(1), 0u);
}

TEST_F(Lifecycle, StatsAreJsonAndOutliveResets) {
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VRAM, 0, 4096, 1)), 0u);
    EXPECT_NE(run(0, fill_packet(VTTM_SPACE_VRAM, 1, 4, 1)), 0u);
    rd(0xfffe);
    vttm_model_reset(model_.get());
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 0u);
    const auto j = nlohmann::json::parse(stats());
    EXPECT_EQ(j["engines"]["copy"]["bytes"], 4096);
    EXPECT_EQ(j["engines"]["copy"]["packets"], 3);
    EXPECT_EQ(j["engines"]["copy"]["fences"], 2);
    EXPECT_GT(j["engines"]["copy"]["busy_ns"], 0);
    EXPECT_EQ(j["engines"]["stamp"]["packets"], 0);
    EXPECT_EQ(j["mmu"]["faults"], 1);
    for (const char* k : {"hits", "misses", "stale", "evictions"}) EXPECT_EQ(j["mmu"][k], 0) << k;
    EXPECT_EQ(j["registers"]["bad_access"], 1);
    EXPECT_EQ(j["registers"]["resets"], 1);
    char small[8];
    const size_t need = vttm_model_stats_json(model_.get(), small, sizeof(small));
    EXPECT_GT(need, sizeof(small));
    EXPECT_LE(need, stats().size()) << "its time goes on";
    EXPECT_EQ(std::strlen(small), 7u);
}

}  // namespace
}  // namespace vttm::model::test
