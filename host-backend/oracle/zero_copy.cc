// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/zero_copy.h"

#include <algorithm>

namespace vttm::oracle {

std::optional<double> ZeroCopyStats::share() const {
    if (!known()) return std::nullopt;
    return static_cast<double>(unchanged) / static_cast<double>(known());
}

ZeroCopyStats& ZeroCopyStats::operator+=(const ZeroCopyStats& o) {
    unchanged += o.unchanged;
    changed += o.changed;
    unknown += o.unknown;
    bad += o.bad;
    late += o.late;
    return *this;
}

void ZeroCopyTracker::sample(const Placement& placement, const RamWitness& ram,
                             const WitnessLog& log, const SwapWitness* swap) {
    samples_++;
    std::erase_if(buffers_, [&](const auto& entry) { return !ledger_.find(entry.first); });
    for (const auto& [id, b] : ledger_.buffers()) {
        const auto* runs = placement.runs(id);
        if (!runs || b.generation == 0) continue;
        Buffer& state = buffers_[id];
        if (state.generation != b.generation) {
            state.generation = b.generation;
            state.pages.assign(b.pages, Judged{});
        }
        for (const PlacementRun& run : *runs) {
            if (run.place.kind == PlaceKind::kNone || run.place.kind == PlaceKind::kVram ||
                run.first >= b.pages) {
                continue;
            }
            const std::uint64_t count = std::min(run.count, b.pages - run.first);
            SightingSpan span{std::nullopt, 0};
            for (std::uint64_t i = 0; i < count; i++) {
                const std::uint64_t page = run.first + i;
                if (span.count == 0) span = log.last_span({id, page}, b.generation);
                Place at = run.place;
                if (at.kind != PlaceKind::kSwap) at.addr += i * kPageSize;
                if (at.slot >= 0) at.slot += static_cast<std::int64_t>(i);
                const vttm_stamp_id want{
                    .key = ledger_.key(), .page = page, .buffer = id, .generation = b.generation};
                judge(state.pages[page], want, b.domain, at, span.first, ram, swap);
                span.count--;
                if (span.first) span.first->phys += kPageSize;
            }
        }
    }
}

void ZeroCopyTracker::judge(Judged& known, const vttm_stamp_id& want, Domain domain,
                            const Place& at, const std::optional<Sighting>& seen,
                            const RamWitness& ram, const SwapWitness* swap) {
    const std::uint64_t serial = seen ? seen->serial : 0;
    const bool current = known.seen && known.serial >= serial;
    if (current && known.counted) return;
    const bool outdated = current;  // seen elsewhere in RAM since the device's access
    const auto conclude = [&](bool counted) { known = {serial, true, counted}; };

    switch (at.kind) {
        case PlaceKind::kGtt:
        case PlaceKind::kSystem:
            if (seen && seen->system && seen->phys != at.addr) conclude(false);
            return;
        case PlaceKind::kSwap:
            // Too late: what comes back into the page cache from here on was read, not backed up.
            stats_.late++;
            conclude(true);
            return;
        case PlaceKind::kShmem:
        case PlaceKind::kSwapcache:
            break;
        case PlaceKind::kNone:
        case PlaceKind::kVram:
            return;
    }

    if (ram.classify_at(at.addr, want) != PageClass::kGood) {
        stats_.bad++;
        return;
    }
    if (!seen || !seen->system || domain != Domain::kGtt || outdated) {
        stats_.unknown++;
    } else if (seen->phys == at.addr) {
        stats_.unchanged++;
    } else if (at.kind == PlaceKind::kShmem ||
               (swap && swap->classify_at(at.slot, want) != PageClass::kGood)) {
        stats_.changed++;
    } else {
        stats_.unknown++;  // written out and perhaps read back since
    }
    conclude(true);
}

void ZeroCopyTracker::reset_stats() {
    stats_ = {};
    samples_ = 0;
}

}  // namespace vttm::oracle
