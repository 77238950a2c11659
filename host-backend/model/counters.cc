// SPDX-License-Identifier: Apache-2.0
// The counters of the engines, for the guest: since device reset. (The host's, in stats.cc, are
// since creation.)
#include "host-backend/model/device.h"

namespace vttm::model {

Counts Device::counts(unsigned engine) const {
    return counts_of(engines_[engine]->totals(), faults_.total_of(engine),
                     faults_.stale_total_of(engine));
}

Counts Device::counts_of(const EngineTotals& t, uint64_t faults, uint64_t stale) {
    Counts c{};
    c[VTTM_CNT_BUSY_NS / 8] = t.busy_ns;
    c[VTTM_CNT_BYTES / 8] = t.bytes;
    c[VTTM_CNT_PACKETS / 8] = t.packets;
    c[VTTM_CNT_FAULTS / 8] = faults;
    c[VTTM_CNT_STALE / 8] = stale;
    c[VTTM_CNT_TLB_HITS / 8] = t.mmu.hits;
    c[VTTM_CNT_TLB_MISSES / 8] = t.mmu.misses;
    c[VTTM_CNT_ROOT_WALKS / 8] = t.mmu.walk_misses;
    c[VTTM_CNT_WALK_HITS / 8] = t.mmu.walk_hits;
    return c;
}

// nullopt: @off is none of theirs, or a high half.
std::optional<uint64_t> Device::read_counter(uint32_t off) const {
    constexpr uint32_t kBlock = VTTM_COUNTER_BASE(1u) - VTTM_COUNTER_BASE(0u);
    if (off < VTTM_COUNTER_BASE(0u) || off >= VTTM_COUNTER_BASE(VTTM_NUM_ENGINES) || off % 8)
        return std::nullopt;
    const uint32_t engine = (off - VTTM_COUNTER_BASE(0u)) / kBlock;
    const uint32_t which = off % kBlock / 8;
    if (which >= VTTM_NUM_COUNTERS) return std::nullopt;
    std::lock_guard lock(regs_mu_);
    return counts(engine)[which] - counts_at_reset_[engine][which];
}

}  // namespace vttm::model
