// SPDX-License-Identifier: Apache-2.0
// Counters as JSON. They count since creation: a guest's reset does not wipe them.
#include <nlohmann/json.hpp>

#include "host-backend/model/device.h"

namespace vttm::model {

std::string Device::stats_json() const {
    constexpr const char* kNames[VTTM_NUM_ENGINES] = {"copy", "stamp"};
    nlohmann::ordered_json j;
    uint64_t hits = 0, misses = 0, evictions = 0;

    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
        const EngineTotals t = engines_[e]->totals();
        j["engines"][kNames[e]] = {{"packets", t.packets}, {"bytes", t.bytes},
                                   {"busy_ns", t.busy_ns}, {"fences", t.fences},
                                   {"resets", t.resets}};
        hits += t.tlb_hits;
        misses += t.tlb_misses;
        evictions += t.tlb_evictions;
    }
    j["mmu"] = {{"hits", hits},
                {"misses", misses},
                {"evictions", evictions},
                {"faults", faults_.total()},
                {"stale", faults_.stale_total()}};
    j["registers"] = {{"bad_access", bad_accesses_.load()}, {"resets", resets_.load()}};
    return j.dump();
}

}  // namespace vttm::model
