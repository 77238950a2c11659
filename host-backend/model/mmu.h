// SPDX-License-Identifier: Apache-2.0
// The MMU of one engine: its TLB, page-table walks on a miss, and the check for stale translations.
// Belongs to the engine's worker; others touch it only while the worker stands still.
#pragma once

#include <atomic>
#include <cstdint>

#include "host-backend/model/page_table.h"
#include "host-backend/model/tlb.h"

namespace vttm::model {

struct Translation {
    vttm_fault_reason reason = VTTM_FAULT_NONE;
    bool stale = false;   // the TLB's leaf was used, and the tables say something else
    uint32_t space = 0;   // VTTM_SPACE_VRAM or VTTM_SPACE_SYSTEM
    uint64_t phys = 0;    // of the page
};

struct TlbInvalidation {
    uint32_t scope = VTTM_TLB_INV_ALL;
    uint32_t vm = 0;
    uint64_t start = 0;  // VA
    uint64_t pages = 0;
};

class Mmu {
public:
    Mmu(const Bus& bus, size_t tlb_entries) : bus_(bus), tlb_(tlb_entries) {}

    // Translates the page of @va (below 2^48). A hit is used as it is, right or not: the tables are
    // walked through @walker only to tell whether the hit was stale.
    Translation translate(Walker& walker, uint32_t vm, uint64_t va, bool write);
    void invalidate(const TlbInvalidation& inv);

    uint64_t hits() const { return hits_.load(std::memory_order_relaxed); }
    uint64_t misses() const { return misses_.load(std::memory_order_relaxed); }
    uint64_t evictions() const { return evictions_.load(std::memory_order_relaxed); }

private:
    // Only the owner writes these; readers may see them late.
    static void bump(std::atomic<uint64_t>& n) {
        n.store(n.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    }

    const Bus& bus_;
    Tlb tlb_;
    std::atomic<uint64_t> hits_{0};
    std::atomic<uint64_t> misses_{0};
    std::atomic<uint64_t> evictions_{0};
};

}  // namespace vttm::model
