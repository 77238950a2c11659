// SPDX-License-Identifier: Apache-2.0
// The MMU of one engine: its TLB, its page-walk cache, page-table walks, and the check for stale
// translations. Belongs to the engine's worker; others touch it only while the worker stands still.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "host-backend/model/page_table.h"
#include "host-backend/model/tlb.h"

namespace vttm::model {

class FaultLane;

struct Translation {
    vttm_fault_reason reason = VTTM_FAULT_NONE;
    bool stale = false;   // what a cache held was used, and the tables say something else
    uint32_t space = 0;   // VTTM_SPACE_VRAM or VTTM_SPACE_SYSTEM
    uint64_t phys = 0;    // of the page
    uint64_t bytes = 0;   // from the page's start to the end of its leaf
    uint64_t poisoned = 0;  // VRAM offset of the table's entry that could not be read, if that is it
};

struct TlbInvalidation {
    uint32_t scope = VTTM_TLB_INV_ALL;
    uint32_t vm = 0;
    uint64_t start = 0;  // VA
    uint64_t pages = 0;
};

class Mmu {
public:
    // Since creation.
    struct Counters {
        uint64_t hits = 0;
        uint64_t misses = 0;
        uint64_t evictions = 0;
        uint64_t walk_hits = 0;  // TLB misses that began in the middle, by the page-walk cache
        uint64_t walk_misses = 0;
        std::array<uint64_t, Tlb::kSizes> fills{};  // leaves cached: 4 KiB, 64 KiB, 2 MiB

        Counters& operator+=(const Counters& other);
    };

    // The page-walk cache has room for a 64th of @tlb_entries: each stands for 512 pages at least.
    Mmu(const Bus& bus, size_t tlb_entries);

    // Translates the page of @va (below 2^48). What the caches hold is used as it is, right or not:
    // the tables are walked through @walker from the root only to tell whether it was stale.
    // @faults: what the host has spoiled, if anything: it matters only to what the device really
    // reads, so to no TLB hit, and from where the page-walk cache leads to. Is only asked.
    Translation translate(Walker& walker, uint32_t vm, uint64_t va, bool write,
                          const FaultLane* faults = nullptr);
    void invalidate(const TlbInvalidation& inv);

    Counters counters() const;
    // Goes on counting from @counters, with empty caches.
    void restore(const Counters& counters);

private:
    // Only the owner writes it; readers may see it late.
    class Counter {
    public:
        void set(uint64_t n) { n_.store(n, std::memory_order_relaxed); }
        Counter& operator++() {
            n_.store(n_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
            return *this;
        }
        operator uint64_t() const { return n_.load(std::memory_order_relaxed); }

    private:
        std::atomic<uint64_t> n_{0};
    };

    Tlb::Hit look_up(Walker& walker, uint32_t vm, uint64_t va, const WalkResult& now,
                     const FaultLane* faults, Translation& t);
    WalkResult walk_from_cache(Walker& walker, uint32_t vm, uint64_t va, const WalkResult& now,
                               const FaultLane* faults, Translation& t);
    static void meet_poison(const FaultLane& faults, uint64_t va, unsigned level, WalkResult& walk,
                            Translation& t);

    const Bus& bus_;
    Tlb tlb_;
    Tlb walks_;
    Counter hits_, misses_, walk_hits_, walk_misses_;
    std::array<Counter, Tlb::kSizes> fills_;
    std::atomic<uint64_t> evictions_{0};
    uint64_t evictions_before_ = 0;  // that the TLB does not count
};

}  // namespace vttm::model
