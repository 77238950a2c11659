// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/vram_claims.h"

#include <algorithm>

namespace vttm::cli {

std::uint64_t pages_in_vram_from(const oracle::Placement& claim, const oracle::Ledger& ledger,
                                 std::uint64_t offset) {
    constexpr std::uint64_t kPage = 4096;
    std::uint64_t n = 0;
    for (const auto& [id, info] : ledger.buffers()) {
        const auto* runs = claim.runs(id);
        if (!runs) continue;
        for (const oracle::PlacementRun& run : *runs) {
            if (run.place.kind != oracle::PlaceKind::kVram) continue;
            const std::uint64_t end = run.place.addr + run.count * kPage;
            if (end > offset) n += (end - std::max(run.place.addr, offset)) / kPage;
        }
    }
    return n;
}

}  // namespace vttm::cli
