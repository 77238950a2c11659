// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "host-backend/oracle/forensics.h"
#include "host-backend/oracle/ledger.h"
#include "host-backend/oracle/swap_witness.h"
#include "host-backend/oracle/zero_copy.h"

namespace vttm::oracle {

// Kernel and driver counters by name ("pswpout", "inserted_pages", ...).
using Counters = std::map<std::string, std::int64_t>;

// after - before for every name in @after (a name missing before counts as 0).
Counters delta(const Counters& before, const Counters& after);

// Something that must return to where it was once the buffers are freed.
struct Balance {
    std::string name;
    std::string unit;  // "pages", "bytes", "" ...
    std::int64_t before = 0;
    std::int64_t after = 0;
    std::int64_t tolerance = 0;  // |after - before| up to this is even

    bool even() const;
};

// A page on which the witnesses do not agree: nothing = that witness did not call it bad.
struct Disagreement {
    PageId id;
    std::optional<PageClass> device, cpu, host;
};

// All that was seen in one cycle (fill, out, look, in, verify).
struct CycleResult {
    std::string backup;       // "copy", "insert" or "swapcache"
    std::uint32_t cycle = 0;  // from 1
    std::uint64_t pages_filled = 0;
    WitnessReport device, cpu, host;
    std::uint64_t stale_uses = 0;  // device used a stale translation (witness log)
    std::uint64_t device_faults = 0;
    double swapped_share = 0;  // GTT-domain pages found good in the swap file, 0..1
    std::uint64_t pages_on_disk = 0;
    ZeroCopyStats zero_copy;
    RunStats runs;
    std::uint64_t second_copies = 0;  // live pages in RAM beyond the first
    std::uint64_t leftovers = 0;      // older generations in RAM
    std::uint64_t strays = 0;         // content of freed buffers in RAM
    Counters counters;                // deltas over the cycle
    Counters levels;                  // values at the end of the pressure; nr_gpu_*: the highest sampled
    std::vector<Balance> balances;    // empty if the buffers were not freed in this cycle
    double seconds_out = 0, seconds_in = 0;
    std::uint64_t bytes_out = 0, bytes_in = 0;
};

// By weight: the heavier one wins when verdicts are combined.
enum class VerdictKind : std::uint8_t { kPass, kInconclusive, kLeak, kDisagree, kContent };
std::string_view name_of(VerdictKind k);  // "PASS", "INCONCLUSIVE", "LEAK", "DISAGREE", "CONTENT"

// A value that may not exceed a limit. One that is missing makes the cycle inconclusive.
struct Bound {
    std::string name;
    std::int64_t max = 0;
    VerdictKind kind = VerdictKind::kInconclusive;  // if it does
    std::string meaning;                            // what that shows, for people
};

// What a cycle must show to be a pass.
struct Policy {
    double min_swapped_share = 0.75;
    // Each must have grown over the cycle, else the path under test did not run.
    std::vector<std::string> must_grow = {"pswpout"};
    // None may have grown, else another path ran than the one under test.
    std::vector<std::string> must_not_grow;
    // Bounds for the share of unchanged pages; needs known pages if either is set.
    std::optional<double> min_unchanged, max_unchanged;
    std::uint64_t min_known_pages = 1;             // for the share to mean anything
    std::optional<double> min_huge_unsplit_share;  // of RunStats::huge_groups
    std::optional<std::uint64_t> max_second_copies;
    std::vector<Bound> max_levels;  // of CycleResult::levels
    std::vector<Bound> max_growth;  // of CycleResult::counters
    bool need_device = true, need_cpu = true, need_host = true;

    // The defaults for a backup: `insert`: pswpout and inserted_pages grow, unchanged >= 0.99;
    // `swapcache`: the same with swapcache_pages;
    // `copy`: pswpout and copied_pages grow, inserted_pages does not, unchanged <= 0.01.
    static Policy for_backup(std::string_view backup);
};

struct Verdict {
    VerdictKind kind = VerdictKind::kPass;
    std::vector<std::string> reasons;  // why, heaviest first; empty for a pass
    std::vector<Disagreement> disagreements;
};

// Pages that at least one of the witnesses that looked calls bad and that not all of them call bad
// of the same class.
std::vector<Disagreement> disagreements(const CycleResult& r);

// CONTENT: a page is bad for every witness that looked, or the device used a stale translation or
// faulted. DISAGREE: a page is bad for some witnesses only, or of different classes. LEAK: a
// balance is not even, or freed content lies in RAM. A bound that is exceeded: its own kind.
// INCONCLUSIVE: a witness is missing or did not
// check all pages, or the path under test did not run.
Verdict judge(const CycleResult& r, const Policy& policy);

Verdict combine(std::span<const Verdict> verdicts);

}  // namespace vttm::oracle
