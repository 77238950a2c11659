// SPDX-License-Identifier: Apache-2.0
// A machine with every ring of both engines set up, each with VM 5 current and a fence of its own.
#pragma once

#include <array>

#include "tests/unit/model/machine.h"
#include "tests/unit/model/packets.h"

namespace vttm::model::test {

class RingsMachine : public Machine {
protected:
    static constexpr uint32_t kVm = 5;
    struct Lane {
        unsigned e, r;
    };

    RingsMachine() {
        root_ = make_vm(kVm);
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++)
            for (unsigned r = 0; r < VTTM_NUM_RINGS; r++) {
                start({e, r});
                put(Lane{e, r}, vttm_pkt_set_vm{VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), kVm});
                EXPECT_EQ(finish(Lane{e, r}), 0u);
            }
    }
    static uint32_t block(Lane l, uint32_t off) { return VTTM_RING_BLOCK(l.e, l.r) + off; }
    uint32_t reg(Lane l, uint32_t off) { return rd(block(l, off)); }
    void set(Lane l, uint32_t off, uint32_t v) { wr(block(l, off), v); }
    static uint64_t ring_addr(Lane l) { return kRingAddr[l.e] + l.r * 0x8000; }
    static uint64_t fence_addr(Lane l) { return kFenceAddr + (l.e * VTTM_NUM_RINGS + l.r) * 64; }
    uint64_t last_fence(Lane l) { return rd64(block(l, VTTM_ENG_LAST_FENCE_LO)); }

    void start(Lane l) {
        wr64(block(l, VTTM_ENG_RING_BASE_LO), ring_addr(l));
        set(l, VTTM_ENG_RING_SIZE, VTTM_RING_MIN_SIZE);
        set(l, VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
        tails_[l.e][l.r] = 0;
    }
    template <typename T>
    void put(Lane l, const T& packet) {
        uint32_t words[sizeof(T) / 4];
        std::memcpy(words, &packet, sizeof(T));
        uint32_t& tail = tails_[l.e][l.r];
        for (uint32_t w : words) {
            auto* p = reinterpret_cast<uint32_t*>(bus_.ram(ring_addr(l) + tail));
            __atomic_store_n(p, w, __ATOMIC_RELAXED);
            tail = (tail + 4) % VTTM_RING_MIN_SIZE;
        }
    }
    uint64_t put_fence(Lane l, bool irq = false) {
        const uint64_t addr = fence_addr(l), seq = ++seqs_[l.e][l.r];
        put(l, vttm_pkt_fence{VTTM_PKT_HDR(VTTM_OP_FENCE, irq ? VTTM_PKT_FLAG_IRQ : 0, 5), lo(addr),
                              hi(addr), lo(seq), hi(seq)});
        return seq;
    }
    void ring(Lane l) { set(l, VTTM_ENG_TAIL, tails_[l.e][l.r]); }
    uint32_t wait(Lane l) {
        EXPECT_TRUE(wait_for([&] { return last_fence(l) == seqs_[l.e][l.r]; }))
            << "engine " << l.e << " ring " << l.r;
        return reinterpret_cast<vttm_fence_value*>(bus_.ram(fence_addr(l)))->status;
    }
    uint32_t finish(Lane l) {
        put_fence(l);
        ring(l);
        return wait(l);
    }
    template <typename T>
    uint32_t run(Lane l, const T& packet) {
        put(l, packet);
        return finish(l);
    }
    uint64_t word(uint64_t addr) {
        return __atomic_load_n(reinterpret_cast<uint64_t*>(bus_.ram(addr)), __ATOMIC_ACQUIRE);
    }

    // Holds engine 0 within a packet of ring 3, at the highest priority, until let_go().
    void hold() {
        held_ = go_ = false;
        bus_.on_map([this](uint64_t addr, bool write) {
            if (addr == kHold) {
                held_ = true;
                while (!go_) std::this_thread::yield();
            } else if (seen_) {
                seen_(addr, write);
            }
        });
        set({0, 3}, VTTM_ENG_PRIORITY, VTTM_PRIORITY_MAX);
        put(Lane{0, 3}, fill_packet(VTTM_SPACE_SYSTEM, kHold, 4, 0));
        put_fence({0, 3});
        ring({0, 3});
        ASSERT_TRUE(wait_for([&] { return held_.load(); }));
    }
    void let_go() { go_ = true; }

    static constexpr uint64_t kHold = 0x8000;
    static constexpr uint64_t kChunk = 256 * 1024;
    uint64_t root_;
    uint32_t tails_[VTTM_NUM_ENGINES][VTTM_NUM_RINGS] = {};
    uint64_t seqs_[VTTM_NUM_ENGINES][VTTM_NUM_RINGS] = {};
    std::atomic<bool> held_{false}, go_{false};
    std::function<void(uint64_t, bool)> seen_;  // other mappings, by the worker
};

}  // namespace vttm::model::test
