// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "host-backend/oracle/forensics.h"
#include "host-backend/oracle/ledger.h"
#include "host-backend/oracle/placement.h"

namespace vttm::oracle {

// A stretch of claimed pages of one filled buffer, short enough to be one step of a thread.
struct ClaimItem {
    std::uint32_t buffer = 0;
    std::uint32_t generation = 0;
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    Place place;  // of the first page

    PageId id(std::uint64_t i) const { return {buffer, first + i}; }
    vttm_stamp_id expected(std::uint64_t key, std::uint64_t i) const {
        return {.key = key, .page = first + i, .buffer = buffer, .generation = generation};
    }
    Place at(std::uint64_t i) const {
        Place p = place;
        if (is_resident(p.kind) || p.kind == PlaceKind::kVram) p.addr += i * kPageSize;
        if (p.slot >= 0) p.slot += static_cast<std::int64_t>(i);
        return p;
    }
};

// All claims whose kind satisfies @wanted, in the order of (buffer, page), at most 512 pages each.
template <typename Wanted>
std::vector<ClaimItem> claim_items(const Ledger& ledger, const Placement& placement,
                                   const Wanted& wanted) {
    constexpr std::uint64_t kMax = 512;
    std::vector<ClaimItem> items;
    for (const auto& [id, b] : ledger.buffers()) {
        const auto* runs = placement.runs(id);
        if (!runs || b.generation == 0) continue;
        for (const PlacementRun& r : *runs) {
            if (!wanted(r.place.kind) || r.first >= b.pages) continue;
            const ClaimItem whole{id, b.generation, r.first, std::min(r.count, b.pages - r.first),
                                  r.place};
            for (std::uint64_t at = 0; at < whole.count; at += kMax) {
                items.push_back({id, b.generation, r.first + at, std::min(kMax, whole.count - at),
                                 whole.at(at)});
            }
        }
    }
    return items;
}

// What to say of a page whose place does not exist.
inline BadPage missing_page(const vttm_stamp_id& expected, const Place& where) {
    BadPage bad;
    bad.id = {expected.buffer, expected.page};
    bad.generation = expected.generation;
    bad.cls = PageClass::kMissing;
    bad.where = where;
    return bad;
}

inline void sort_by_page(std::vector<BadPage>& bad) {
    std::sort(bad.begin(), bad.end(),
              [](const BadPage& a, const BadPage& b) { return a.id < b.id; });
}

}  // namespace vttm::oracle
