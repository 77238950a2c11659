// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "host-backend/oracle/ledger.h"
#include "host-backend/oracle/page.h"
#include "host-backend/oracle/placement.h"
#include "host-backend/oracle/ram_witness.h"
#include "host-backend/oracle/swap_witness.h"
#include "host-backend/oracle/witness_log.h"

namespace vttm::oracle {

struct ZeroCopyStats {
    std::uint64_t unchanged = 0;  // same guest-physical page as the device saw before
    std::uint64_t changed = 0;    // another one: copied
    // Cannot be told: the device never saw the page in guest RAM, it moved since the device saw it,
    // a buffer of domain vram (the copy engine moves it unlogged), or it may have been read back.
    std::uint64_t unknown = 0;
    // Looks that found other content at the claimed address: no evidence. The page may have gone on
    // to swap between claim and look, so it is looked at again in the next sample.
    std::uint64_t bad = 0;
    // First sampled when the guest claimed them in swap already: too late to tell, in no other figure.
    std::uint64_t late = 0;

    std::uint64_t known() const { return unchanged + changed; }
    // Share of unchanged among known pages, 0..1; nothing if there are none.
    std::optional<double> share() const;
    ZeroCopyStats& operator+=(const ZeroCopyStats& o);
};

// Host-observed zero-copy: is the guest-physical page that shmem holds the one the device used?
// Sampled while pages go out; each page counts once per device access, at the first sample that
// sees it backed up. Sample often enough that pages are seen in shmem before swap takes them: a
// page first seen in swap is late, and no later look at it counts.
class ZeroCopyTracker {
public:
    explicit ZeroCopyTracker(const Ledger& ledger) : ledger_(ledger) {}

    // @log must have been polled, and the device must not have been used between the claim and that
    // poll. @swap (may be null) helps with pages in the swap cache at another
    // address: one whose slot is not written yet is on its way out, so its address is evidence.
    void sample(const Placement& placement, const RamWitness& ram, const WitnessLog& log,
                const SwapWitness* swap = nullptr);

    const ZeroCopyStats& stats() const { return stats_; }
    std::uint64_t samples() const { return samples_; }
    // Starts the figures anew; pages already seen since their last device access stay counted.
    void reset_stats();

private:
    struct Judged {
        std::uint64_t serial = 0;  // of the device access that the judgement is about; 0: none
        bool seen = false;         // there is a judgement
        bool counted = false;      // else: seen at another address in RAM, the access is outdated
    };
    struct Buffer {
        std::uint32_t generation = 0;
        std::vector<Judged> pages;
    };

    void judge(Judged& known, const vttm_stamp_id& want, Domain domain, const Place& at,
               const std::optional<Sighting>& seen, const RamWitness& ram, const SwapWitness* swap);

    const Ledger& ledger_;
    ZeroCopyStats stats_;
    std::uint64_t samples_ = 0;
    std::unordered_map<std::uint32_t, Buffer> buffers_;
};

}  // namespace vttm::oracle
