// SPDX-License-Identifier: Apache-2.0
// Walks page tables in VRAM or system memory (protocol/vttm_pte.h).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "host-backend/model/bus.h"
#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"

namespace vttm::model {

// The roots and modes of all VMs, as the registers hold them. Written by MMIO, read by the engines.
class VmRoots {
public:
    uint32_t mode(uint32_t vm) const { return modes_[vm].load(std::memory_order_acquire); }
    void set_mode(uint32_t vm, uint32_t mode) { modes_[vm].store(mode, std::memory_order_release); }
    uint64_t get(uint32_t vm) const { return roots_[vm].load(std::memory_order_acquire); }
    void set(uint32_t vm, uint64_t root) { roots_[vm].store(root, std::memory_order_release); }
    void reset() {
        for (auto& r : roots_) r.store(0, std::memory_order_release);
        for (auto& m : modes_) m.store(0, std::memory_order_release);
    }

private:
    std::array<std::atomic<uint64_t>, VTTM_MAX_VMS> roots_{};
    std::array<std::atomic<uint32_t>, VTTM_MAX_VMS> modes_{};
};

struct WalkResult {
    vttm_fault_reason reason = VTTM_FAULT_NONE;
    uint64_t pte = 0;        // the leaf, VALID set, if reason is NONE
    unsigned shift = 0;      // of the leaf's size
    // What led to the table of each level (the root's entry to that of level 3), for the levels
    // that the walk has entered; 0 for the others.
    std::array<uint64_t, VTTM_PT_LEVELS> tables{};
};

// Every walk reads every entry on its path from memory: nothing is remembered but where the tables
// are mapped, and that only while the entry that leads there still says the same. One walker serves
// one stream of neighbouring addresses; release() must be called before the work is paused.
class Walker {
public:
    Walker(const Bus& bus, const VmRoots& roots) : bus_(bus), roots_(roots) {}

    // @va below 2^48.
    WalkResult walk(uint32_t vm, uint64_t va);
    // Starts in the middle: @entry is what leads to the table of @level.
    WalkResult walk_from(unsigned level, uint64_t entry, uint64_t va);
    void release();

private:
    struct Table {
        uint64_t entry = 0;  // what led here; 0: nothing mapped
        Bus::Mapping mapping;
        const uint64_t* words = nullptr;
    };

    vttm_fault_reason enter(Table& table, uint64_t entry);
    static vttm_fault_reason check_leaf(const Table& table, uint64_t entry, unsigned level,
                                        uint64_t va, unsigned& shift);

    const Bus& bus_;
    const VmRoots& roots_;
    std::array<Table, VTTM_PT_LEVELS> tables_;
};

}  // namespace vttm::model
