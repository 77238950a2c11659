// SPDX-License-Identifier: Apache-2.0
// TIMESTAMP, SEM_SIGNAL and SEM_WAIT: values, order between engines and CPU, and what a ring that waits
// must not do: block others, survive a reset, or burn a core.
#include "tests/unit/model/fault_machine.h"

namespace vttm::model::test {
namespace {

constexpr auto V = VTTM_SPACE_VRAM;
constexpr auto S = VTTM_SPACE_SYSTEM;
constexpr auto M = VTTM_SPACE_VM;
constexpr uint64_t kVa = 0x10000000;
constexpr uint64_t kSem = 0x3000;

class Semaphore : public FaultMachine {
protected:
    Semaphore() { std::memset(bus_.ram(kSem), 0, kPage); }
    uint64_t* word(uint64_t addr = kSem) { return reinterpret_cast<uint64_t*>(bus_.ram(addr)); }
    uint64_t get(uint64_t addr = kSem) { return __atomic_load_n(word(addr), __ATOMIC_ACQUIRE); }
    void set(uint64_t value, uint64_t addr = kSem) {
        __atomic_store_n(word(addr), value, __ATOMIC_RELEASE);
    }
    bool wait_waiting(unsigned e) {
        return wait_for([&] { return eng(e, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_WAITING; });
    }
    uint64_t last_fence(unsigned e) {
        return rd64(VTTM_ENGINE_BASE(e) + VTTM_ENG_LAST_FENCE_LO);
    }
    // Puts a wait on kSem for 1 and a fence behind it, and sees engine @e wait.
    void start_wait(unsigned e, uint64_t seq = 77) {
        put_packet(e, sem_wait(S, kSem, 1));
        put_fence(e, seq, false, kFenceAddr + 0x40);
        ring(e);
        ASSERT_TRUE(wait_waiting(e));
        EXPECT_EQ(eng(e, VTTM_ENG_STATUS), VTTM_ENG_STATUS_WAITING) << "and not IDLE";
    }
};

TEST_F(Semaphore, TimestampIsTheDevicesTime) {
    const uint64_t before = rd64(VTTM_REG_TIMESTAMP_LO);
    EXPECT_EQ(run(0, timestamp(S, kSem)), 0u);
    EXPECT_EQ(run(1, timestamp(V, 0x100)), 0u);
    tables_.set(root_, kVa, sys_pte(kFree));
    EXPECT_EQ(run(0, timestamp(M, kVa + 8)), 0u);
    const uint64_t after = rd64(VTTM_REG_TIMESTAMP_LO);
    const uint64_t t[] = {before, get(), *reinterpret_cast<uint64_t*>(bus_.vram(0x100)),
                          get(kFree + 8), after};
    for (int i = 1; i < 5; i++) EXPECT_LT(t[i - 1], t[i]) << i;
    EXPECT_TRUE(bus_.vram_was_dirtied(0x100, 8));
}

TEST_F(Semaphore, SignalStoresOrAdds) {
    EXPECT_EQ(run(0, sem_signal(S, kSem, 0x123456789abcdef0)), 0u);
    EXPECT_EQ(get(), 0x123456789abcdef0u);
    EXPECT_EQ(run(1, sem_signal(S, kSem, 0x10, true)), 0u);
    EXPECT_EQ(get(), 0x123456789abcdf00u);
    EXPECT_EQ(run(1, sem_signal(S, kSem, ~0ull, true)), 0u) << "modulo 2^64";
    EXPECT_EQ(get(), 0x123456789abcdeffu);
    EXPECT_EQ(run(0, sem_signal(V, 0x20, 5)), 0u);
    EXPECT_EQ(*reinterpret_cast<uint64_t*>(bus_.vram(0x20)), 5u);
    EXPECT_EQ(bytes(0), 0u) << "BYTES counts content";
}

TEST_F(Semaphore, AdditionsOfBothEnginesAndTheCpuAreAtomic) {
    constexpr int kTimes = 20000;
    std::thread engines[2];
    for (unsigned e = 0; e < 2; e++)
        engines[e] = std::thread([&, e] {
            for (int i = 0; i < kTimes / 100; i++) {
                for (int j = 0; j < 100; j++) put_packet(e, sem_signal(S, kSem, 1, true));
                ring(e);
                ASSERT_TRUE(wait_idle(e));
            }
        });
    std::atomic<bool> stop{false};
    uint64_t mine = 0;
    std::thread cpu([&] {
        for (; !stop; mine++) __atomic_fetch_add(word(), 1, __ATOMIC_RELAXED);
    });
    for (auto& t : engines) t.join();
    stop = true;
    cpu.join();
    EXPECT_EQ(get(), 2u * kTimes + mine);
}

// Every comparison with memory below, at and above the value; what does not hold waits until it does.
TEST_F(Semaphore, Comparisons) {
    constexpr uint64_t kTop = 1ull << 63;
    const uint64_t values[] = {0, 1, 7, kTop - 1, kTop, kTop + 7, ~0ull};
    for (uint32_t how = 0; how <= VTTM_CMP_LAST; how++)
        for (uint64_t memory : values)
            for (uint64_t value : values) {
                const bool holds[] = {memory == value, memory != value,
                                      memory >= value, memory > value,
                                      memory <= value, memory < value,
                                      static_cast<int64_t>(memory - value) >= 0};
                set(memory);
                if (holds[how]) {
                    ASSERT_EQ(run(0, sem_wait(S, kSem, value, how)), 0u);
                    continue;
                }
                // What it waits for may not exist (below 0); then the reset ends it.
                put_packet(0, sem_wait(S, kSem, value, how));
                ring(0);
                ASSERT_TRUE(wait_waiting(0)) << how << " " << memory << " " << value;
                reset_engine(0);
                ASSERT_EQ(eng(0, VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
            }
}

TEST_F(Semaphore, TheCpuEndsTheWait) {
    start_wait(0);
    set(1);
    ASSERT_TRUE(wait_for([&] { return last_fence(0) == 77; }));
    EXPECT_TRUE(wait_for([&] { return eng(0, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_IDLE; }));  // a moment after the fence
}

// Engine 1 fills, signals; engine 0 reads behind its wait. Then the other way round, many times.
TEST_F(Semaphore, EnginesHandWorkToEachOther) {
    const vttm_stamp_id id{1, 0, 1, 1};
    for (uint64_t round = 1; round <= 300; round++) {
        vttm_stamp_id now = id;
        now.generation = static_cast<uint32_t>(round);
        put_packet(0, sem_wait(S, kSem, round));
        put_packet(0, copy_packet(S, kFree, V, 0, 16 * kPage));
        put_packet(0, sem_signal(V, 0x100000, round));
        put_fence(0, round, false, kFenceAddr + 0x40);
        ring(0);
        put_packet(1, stamp_packet(false, V, 0, 16, now));
        put_packet(1, sem_signal(S, kSem, 1, true));
        put_packet(1, sem_wait(V, 0x100000, round, VTTM_CMP_EQ));
        put_packet(1, stamp_packet(true, S, kFree, 16, now));
        ASSERT_EQ(finish(1), 0u);
        ASSERT_EQ(result().good, 16u) << round;
        // The ring of engine 0 must not be overrun.
        ASSERT_TRUE(wait_idle(0));
    }
}

TEST_F(Semaphore, AFenceCanBeWaitedFor) {
    put_packet(0, sem_wait(S, kFenceAddr + 0x80, 500, VTTM_CMP_SEQ));
    put_fence(0, 1, false, kFenceAddr + 0x40);
    ring(0);
    ASSERT_TRUE(wait_waiting(0));
    put_fence(1, 500, false, kFenceAddr + 0x80);
    ring(1);
    ASSERT_TRUE(wait_for([&] { return last_fence(0) == 1; }));
}

TEST_F(Semaphore, AWaitHoldsUpNobodyElse) {
    start_wait(0);
    const vttm_stamp_id id{1, 0, 1, 1};
    EXPECT_EQ(run(1, stamp_packet(false, V, 0, 2, id)), 0u);
    invalidate(VTTM_TLB_INV_ALL);
    vttm_model_pause(model_.get());
    const uint64_t calls = bus_.callbacks();
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(bus_.callbacks(), calls) << "it does not look while paused";
    set(1);
    vttm_model_resume(model_.get());
    ASSERT_TRUE(wait_for([&] { return last_fence(0) == 77; }));
}

// Signals, fences and doorbells make it look at once: far more often than the pauses alone would.
TEST_F(Semaphore, WhatWakesIt) {
    start_wait(0);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // past the first, short looks
    std::atomic<unsigned> looks{0};
    bus_.on_map([&](uint64_t addr, bool) { looks += addr == kSem; });
    const std::function<void()> wakers[] = {
        [&] { put_packet(1, sem_signal(S, kSem + 64, 1)), ring(1); },
        [&] { put_fence(1, 1, false, kFenceAddr + 0x80), ring(1); },
        [&] { ring(0); },
    };
    for (const auto& wake : wakers) {
        constexpr unsigned kTimes = 40;
        std::chrono::nanoseconds best = std::chrono::hours(1);
        // On a busy machine a try may take long for other reasons.
        for (int tries = 0; tries < 100 && best > std::chrono::milliseconds(kTimes / 2); tries++) {
            const auto start = std::chrono::steady_clock::now();
            for (unsigned i = 0; i < kTimes; i++) {
                const unsigned before = looks;
                wake();
                while (looks == before) std::this_thread::yield();
            }
            best = std::min<std::chrono::nanoseconds>(best,
                                                      std::chrono::steady_clock::now() - start);
            ASSERT_TRUE(wait_idle(1));
        }
        EXPECT_LE(best, std::chrono::milliseconds(kTimes / 2)) << &wake - wakers;
    }
    set(1);
    ASSERT_TRUE(wait_for([&] { return last_fence(0) == 77; }));
    bus_.on_map(nullptr);
}

TEST_F(Semaphore, AWaitBurnsNoCore) {
    start_wait(0);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // past the first, short looks
    const uint64_t calls = bus_.callbacks();
    const auto start = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    const uint64_t looks = bus_.callbacks() - calls;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(
        std::chrono::steady_clock::now() - start);
    EXPECT_LE(looks, 4u * static_cast<uint64_t>(ms.count())) << "map and unmap, once a ms";
    EXPECT_GE(looks, 2u);
    set(1);
    ASSERT_TRUE(wait_for([&] { return last_fence(0) == 77; }));
}

TEST_F(Semaphore, ResetsEndIt) {
    start_wait(0);
    reset_engine(0);
    EXPECT_EQ(eng(0, VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
    EXPECT_EQ(finish(0), 0u);
    start_wait(1);
    vttm_model_reset(model_.get());
    EXPECT_EQ(eng(1, VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
    setup_ring(1);
    EXPECT_EQ(finish(1), 0u);
    EXPECT_NE(last_fence(1), 77u);
    start_wait(1);
    model_.reset();  // the destructor does not hang
    EXPECT_EQ(bus_.threads(), 0);
}

// The packet behind a reset is not taken for one that waits.
TEST_F(Semaphore, ResetsForgetIt) {
    start_wait(0);
    reset_engine(0);
    std::atomic<bool> inside{false}, go{false};
    bus_.on_map([&](uint64_t addr, bool) {
        if (addr != kFree) return;
        inside = true;
        while (!go) std::this_thread::yield();
    });
    put_packet(0, fill_packet(S, kFree, 4, 1));
    ring(0);
    ASSERT_TRUE(wait_for([&] { return inside.load(); }));
    EXPECT_EQ(eng(0, VTTM_ENG_STATUS), 0u);
    go = true;
    ASSERT_TRUE(wait_idle(0));
    bus_.on_map(nullptr);
}

TEST_F(Semaphore, DisablingSuspendsIt) {
    start_wait(0);
    eng_wr(0, VTTM_ENG_CTRL, 0);
    ASSERT_TRUE(wait_for([&] { return eng(0, VTTM_ENG_STATUS) == 0; })) << "neither WAITING nor IDLE";
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // a look under way
    const uint64_t calls = bus_.callbacks();
    set(1);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(bus_.callbacks(), calls) << "it does not look";
    EXPECT_NE(last_fence(0), 77u);
    eng_wr(0, VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    ASSERT_TRUE(wait_for([&] { return last_fence(0) == 77; }));
}

TEST_F(Semaphore, InAnErrorNothingIsSignalledOrWaitedFor) {
    put_packet(0, fill_packet(V, 2, 4, 0));  // BAD_PACKET
    put_packet(0, sem_signal(S, kSem, 1));
    put_packet(0, sem_wait(S, kSem, 100));
    put_packet(0, timestamp(S, kSem + 8));
    EXPECT_EQ(finish(0), VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(get(), 0u);
    EXPECT_EQ(get(kSem + 8), 0u);
    put_packet(0, sem_signal(S, kSem, 1));  // behind the FENCE
    EXPECT_EQ(finish(0), 0u);
    EXPECT_EQ(get(), 1u);
}

TEST_F(Semaphore, BadOperands) {
    const auto bad = VTTM_FAULT_BAD_PACKET;
    for (uint64_t off : {1, 2, 4}) {
        expect_fault(0, timestamp(S, kSem + off), bad);
        expect_fault(0, sem_signal(S, kSem + off, 1), bad);
        expect_fault(0, sem_wait(S, kSem + off, 0), bad);
    }
    for (uint32_t how : {uint32_t{VTTM_CMP_LAST} + 1, ~0u})
        expect_fault(1, sem_wait(S, kSem, 0, how), bad);
    expect_fault(0, timestamp(3, kSem), bad);
    expect_fault(0, sem_signal(3, kSem, 1), bad);
    expect_fault(0, sem_wait(3, kSem, 0), bad);
    for (uint32_t flag : {1u << 2, 1u << 5, 1u << 7}) {
        auto signal = sem_signal(S, kSem, 1);
        signal.hdr |= VTTM_PKT_HDR(0, flag, 0);
        expect_fault(0, signal, bad);
        auto wait = sem_wait(S, kSem, 0);
        wait.hdr |= VTTM_PKT_HDR(0, flag | VTTM_PKT_FLAG_ADD, 0);
        expect_fault(0, wait, bad);
        auto time = timestamp(S, kSem);
        time.hdr |= VTTM_PKT_HDR(0, flag | VTTM_PKT_FLAG_ADD, 0);
        expect_fault(0, time, bad);
    }
    expect_fault(0, timestamp(V, kVramSize), VTTM_FAULT_VRAM_RANGE, kVramSize);
    EXPECT_TRUE(rd(VTTM_REG_FAULT_INFO) & VTTM_FAULT_INFO_WRITE);
    expect_fault(0, sem_wait(M, 1ull << 48, 0), VTTM_FAULT_VA_RANGE, 1ull << 48);
    EXPECT_FALSE(rd(VTTM_REG_FAULT_INFO) & VTTM_FAULT_INFO_WRITE);
    expect_fault(0, sem_signal(S, kRamSize, 0), VTTM_FAULT_BUS, kRamSize);
    expect_fault(0, sem_wait(S, ~0ull - 7, 0), VTTM_FAULT_BUS, ~0ull - 7);
    tables_.set(root_, kVa, sys_pte(kSem, false));
    expect_fault(0, sem_signal(M, kVa, 1, true), VTTM_FAULT_READ_ONLY, kVa);
    expect_fault(0, timestamp(M, kVa), VTTM_FAULT_READ_ONLY, kVa);
    expect_fault(0, sem_wait(M, kVa + kPage, 0), VTTM_FAULT_NOT_VALID, kVa + kPage);
    EXPECT_EQ(get(), 0u);
    EXPECT_EQ(run(0, sem_wait(M, kVa, 0)), 0u);
}

TEST_F(Semaphore, StallsBeforeItWaits) {
    wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY);
    put_packet(0, sem_signal(M, kVa + 8, 3, true));
    put_packet(0, sem_wait(M, kVa + kPage, 1));
    put_fence(0, 2);
    ring(0);
    set(1, kSem + kPage);
    cure_stalls(0, {{kVa + 8, sys_pte(kSem)}, {kVa + kPage, sys_pte(kSem + kPage)}}, 2);
    EXPECT_EQ(get(kSem + 8), 3u) << "added once";
    EXPECT_EQ(fence_status(), 0u);
}

// A page that is taken away and invalidated is not looked at any more.
TEST_F(Semaphore, TheWaitFollowsTheTables) {
    tables_.set(root_, kVa, sys_pte(kSem));
    put_packet(0, sem_wait(M, kVa, 1));
    put_fence(0, 9, false, kFenceAddr + 0x40);
    ring(0);
    ASSERT_TRUE(wait_waiting(0));
    set(0, kFree);
    tables_.set(root_, kVa, sys_pte(kFree));
    invalidate(VTTM_TLB_INV_RANGE, kVm, kVa, 1);
    set(1);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_NE(last_fence(0), 9u) << "the old page";
    set(1, kFree);
    ASSERT_TRUE(wait_for([&] { return last_fence(0) == 9; }));
}

// Waits, signals, resets and register accesses at once: no race (TSan), and alive at the end.
TEST_F(Semaphore, Storm) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (unsigned e = 0; e < 2; e++)
        threads.emplace_back([&, e] {
            for (int i = 0; !stop; i++) {
                put_packet(e, sem_wait(S, kSem + e * 8, i));
                put_packet(e, sem_signal(S, kSem + 8 - e * 8, 1, true));
                ring(e);
                for (int t = 0; t < 50 && !(eng(e, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE); t++)
                    std::this_thread::yield();
                if (i % 16 == 15) reset_engine(e);
            }
        });
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    stop = true;
    for (auto& t : threads) t.join();
    vttm_model_reset(model_.get());
    for (unsigned e = 0; e < 2; e++) {
        setup_ring(e);
        EXPECT_EQ(finish(e), 0u);
    }
}

}  // namespace
}  // namespace vttm::model::test
