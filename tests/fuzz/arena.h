// SPDX-License-Identifier: Apache-2.0
// A device that is attacked by one input after the other, and what proves that nothing of an input
// is left for the next one. The engines' workers are real threads, but only one thread runs at a
// time, so that an input always does the same: the engines are paused but for the one whose turn it is,
// and after each register write they take turns until all are at rest. What one wakes in the other
// by a semaphore waits for its turn. What shall happen while an engine works is done by the hook, within its
// callbacks. A ring at a SEM_WAIT does not poll (the device's clock is not real): it looks when an
// engine signals or its doorbell is rung.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "host-backend/model/device.h"
#include "tests/fuzz/fuzz_bus.h"

namespace vttm::fuzz {

inline constexpr uint64_t kRam = 1 << 20;
inline constexpr uint64_t kVram = 4 << 20;  // two units of VTTM_REG_VRAM_LIMIT
inline constexpr uint64_t kFence = 0x1000;  // 16 bytes for each ring
inline constexpr uint64_t kRing = 0x8000;   // 4 KiB for each ring of each engine
inline constexpr uint64_t kFaultRing = 0x14000;
inline constexpr uint64_t kWords = 0x1a000;  // that semaphores are about
inline constexpr uint64_t kTables = 0x20000;  // 16 pages: 4 roots, 4 tables each of levels 2, 1, 0
inline constexpr uint64_t kData = 0x40000;    // pages that the leaves start with
inline constexpr uint64_t kHole = 0x80000;    // 64 KiB that are not there
inline constexpr uint64_t kHoleSize = 0x10000;
inline constexpr uint64_t kScratch = 0xa0000;  // for the proof that the engines work
inline constexpr uint32_t kVms = 4;

// A ring.
struct Lane {
    unsigned e = 0, r = 0;
};
inline constexpr unsigned kLanes = VTTM_NUM_ENGINES * VTTM_NUM_RINGS;
constexpr Lane lane(unsigned i) { return {i % VTTM_NUM_ENGINES, i / VTTM_NUM_ENGINES}; }
constexpr unsigned index(Lane l) { return l.r * VTTM_NUM_ENGINES + l.e; }
constexpr uint32_t reg(Lane l, uint32_t off) { return VTTM_RING_BLOCK(l.e, l.r) + off; }
constexpr uint64_t ring_addr(Lane l) { return kRing + index(l) * kPage; }
constexpr uint64_t fence_addr(Lane l) { return kFence + index(l) * 16; }

class Arena {
public:
    explicit Arena(uint32_t tlb_entries);

    void wr(uint64_t off, uint64_t v, unsigned size = 4);
    uint64_t rd(uint64_t off, unsigned size = 4);
    void setup();
    void setup_ring(Lane l);
    void put(Lane l, const uint32_t* words, size_t n);
    uint32_t tail(Lane l) const { return tail_[index(l)]; }
    // RAM and VRAM, as the guest's CPU writes it.
    void poke(uint64_t addr, const void* bytes, size_t n);
    void poke_vram(uint64_t offset, const void* bytes, size_t n);
    void set_vram_target(uint64_t bytes) { device_.vram_balloon().set_target(bytes); }
    void limit_mappings(uint64_t bytes) { bus_.limit_mappings(bytes); }

    // Not within a hook.
    void reset();
    // The host's; its end is the input's.
    void set_fault_plan(const std::string& text);
    void pause();
    void resume();
    bool paused() const { return paused_; }
    std::string stats() const { return device_.stats_json(); }

    // @hook: called within callbacks, on the worker of the engine at work. After kPatience of them, or
    // kPatienceTurns looks at the clock, the engine is reset: the guest does not wait for ever.
    void begin(std::function<void()> hook);
    // Resets all. What the model did wrong, or an empty string. @thorough: every byte is looked at.
    std::string end(bool thorough);
    // Of all that the input could see or do; equal for equal inputs. Good after end().
    uint64_t digest() const { return digest_; }

private:
    static constexpr unsigned kPatience = 128;
    static constexpr unsigned kPatienceTurns = 2048;

    static uint64_t next_time();
    void settle();
    void work(unsigned e);
    void called_back();
    void lose_patience();
    std::string move();
    void note_vram_limit();
    void build_memory();
    uint64_t registers() const;
    std::string revive(bool thorough);
    static uint32_t proof_seq(Lane l, uint32_t vm);
    void put_proof(Lane l, uint32_t vm, bool thorough, bool works);
    std::string check_proof(Lane l, uint32_t vm, bool thorough, bool works);
    std::string prove_rings(uint32_t vm, bool thorough);
    std::string check_copy(Lane l, uint32_t vm) const;

    FuzzBus bus_;
    mutable model::Device device_;
    std::vector<uint32_t> offsets_;  // of registers that always read the same after a reset
    uint64_t clean_registers_ = 0;
    uint64_t inputs_ = 0;

    std::function<void()> hook_;
    std::array<uint32_t, kLanes> tail_{};
    unsigned paused_ = 0;  // by the input, or as several writes shall come at once
    bool in_hook_ = false;
    bool faults_ = false;  // there was a plan
    unsigned engine_ = 0;  // the one that is at work
    unsigned callbacks_ = 0;
    unsigned turns_ = 0;
    uint64_t vram_end_ = 0;  // the highest limit that there was in this turn
    uint64_t seen_ = 0;
    uint64_t digest_ = 0;
};

}  // namespace vttm::fuzz
