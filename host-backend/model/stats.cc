// SPDX-License-Identifier: Apache-2.0
// Counters as JSON. They count since creation: a guest's reset does not wipe them.
#include <nlohmann/json.hpp>

#include "host-backend/model/device.h"

namespace vttm::model {

std::string Device::stats_json() const {
    constexpr const char* kNames[VTTM_NUM_ENGINES] = {"copy", "stamp"};
    nlohmann::ordered_json j;
    Mmu::Counters mmu;

    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
        const EngineTotals t = engines_[e]->totals();
        j["engines"][kNames[e]] = {{"packets", t.packets}, {"bytes", t.bytes},
                                   {"busy_ns", t.busy_ns}, {"fences", t.fences},
                                   {"resets", t.resets},
                                   {"faults", faults_.total_of(e)},
                                   {"stale", faults_.stale_total_of(e)},
                                   {"tlb_hits", t.mmu.hits},
                                   {"tlb_misses", t.mmu.misses},
                                   {"root_walks", t.mmu.walk_misses},
                                   {"walk_hits", t.mmu.walk_hits}};
        mmu += t.mmu;
    }
    j["mmu"] = {{"hits", mmu.hits},
                {"misses", mmu.misses},
                {"evictions", mmu.evictions},
                {"walk_hits", mmu.walk_hits},
                {"walk_misses", mmu.walk_misses},
                {"fills_4k", mmu.fills[0]},
                {"fills_64k", mmu.fills[1]},
                {"fills_2m", mmu.fills[2]},
                {"faults", faults_.total()},
                {"stale", faults_.stale_total()}};
    j["registers"] = {{"bad_access", bad_accesses_.load()}, {"resets", resets_.load()}};
    j["injected"] = injected();
    // What is of the moment comes last.
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) j["at_work"][kNames[e]] = engines_[e]->has_work();
    j["time_ns"] = clock_.now_ns();
    return j.dump();
}

}  // namespace vttm::model
