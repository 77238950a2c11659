// SPDX-License-Identifier: Apache-2.0
// A device that is attacked by one input after the other, and what proves that nothing of an input
// is left for the next one. The engines' workers are real threads, but only one thread runs at a
// time: each register write is followed until all is at rest, so that an input always does the
// same. What shall happen while an engine works is done by the hook, within its callbacks.
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
inline constexpr uint64_t kVram = 2 << 20;
inline constexpr uint64_t kFence = 0x1000;
inline constexpr uint64_t kRing = 0x10000;  // one 4 KiB ring per engine
inline constexpr uint64_t kFaultRing = 0x14000;
inline constexpr uint64_t kTables = 0x20000;  // 16 pages: 4 roots, 4 tables each of levels 2, 1, 0
inline constexpr uint64_t kData = 0x40000;    // pages that the leaves start with
inline constexpr uint64_t kHole = 0x80000;    // 64 KiB that are not there
inline constexpr uint64_t kHoleSize = 0x10000;
inline constexpr uint64_t kScratch = 0xa0000;  // for the proof that the engines work
inline constexpr uint32_t kVms = 4;

constexpr uint32_t eng(unsigned e, uint32_t off) { return VTTM_ENGINE_BASE(e) + off; }

class Arena {
public:
    explicit Arena(uint32_t tlb_entries);

    // Registers. A write that would have two engines at work is left out.
    void wr(uint64_t off, uint64_t v, unsigned size = 4);
    uint64_t rd(uint64_t off, unsigned size = 4);
    void setup();
    void setup_ring(unsigned e);
    void put(unsigned e, const uint32_t* words, size_t n);
    uint32_t tail(unsigned e) const { return tail_[e]; }
    // RAM, as the guest's CPU writes it.
    void poke(uint64_t addr, const void* bytes, size_t n);
    void limit_mappings(uint64_t bytes) { bus_.limit_mappings(bytes); }

    // Not within a hook.
    void reset();
    void pause();
    void resume();
    bool paused() const { return paused_; }
    std::string stats() const { return device_.stats_json(); }

    // @hook: called within callbacks, on the worker of the engine at work. After kPatience of them
    // the engine is reset: the guest does not wait for ever.
    void begin(std::function<void()> hook);
    // Resets all. What the model did wrong, or an empty string. @thorough: every byte is looked at.
    std::string end(bool thorough);
    // Of all that the input could see or do; equal for equal inputs. Good after end().
    uint64_t digest() const { return digest_; }

private:
    static constexpr unsigned kPatience = 128;

    void settle();
    void called_back();
    void build_memory();
    uint64_t registers() const;
    std::string revive(bool thorough);
    std::string prove_engine(unsigned e, uint32_t vm, bool thorough);
    std::string check_copy(uint32_t vm) const;

    FuzzBus bus_;
    mutable model::Device device_;
    std::vector<uint32_t> offsets_;  // of registers that always read the same after a reset
    uint64_t clean_registers_ = 0;
    uint64_t inputs_ = 0;

    std::function<void()> hook_;
    std::array<uint32_t, VTTM_NUM_ENGINES> tail_{};
    unsigned paused_ = 0;
    bool in_hook_ = false;
    int engine_ = -1;  // the one that is at work, or will be at the next resume
    unsigned callbacks_ = 0;
    uint64_t seen_ = 0;
    uint64_t digest_ = 0;
};

}  // namespace vttm::fuzz
