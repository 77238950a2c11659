// SPDX-License-Identifier: Apache-2.0
// What `./vttm compare` measures, and how it is told: figures of each way to back buffers up, taken in
// one boot, so that ratios and counts mean something even where times do not (an emulated CPU).
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "host-backend/cli/compare/allocations.h"
#include "host-backend/cli/median.h"
#include "host-backend/oracle/verdict.h"
#include "host-backend/report/exit_code.h"

namespace vttm::cli {

// How content goes out and comes back.
struct Way {
    std::string backup;   // ttm.backup
    std::string restore;  // ttm.restore: "auto" or "copy"

    // "insert", or "insert/copy" where the way back is told to copy.
    std::string label() const { return restore == "auto" ? backup : backup + "/" + restore; }
    bool operator==(const Way&) const = default;
};

// Reads what label() gives, and "insert/auto"; nothing for a backup or way back that does not exist.
std::optional<Way> parse_way(std::string_view text);

// Buffers out to memory (shmem, swap cache) by the shrinker, and back; nothing is written to disk.
struct MemoryRound {
    Way way;
    std::uint64_t pages = 0;           // of the buffers
    std::uint64_t pages_out = 0;       // backed up by the shrinker
    std::uint64_t out_ns = 0, in_ns = 0;  // by the guest's clock
    // Pages that the whole guest allocated during the shrink: data pages, page cache nodes, and what
    // else went on.
    std::uint64_t allocated = 0;
    Content content;                   // after a second shrink
    oracle::Counters out, in;          // deltas of the kernel's counters over each half
    std::uint64_t bad = 0;             // of the pages, as the device reads them afterwards
};

// The same buffers out to the swap disk and back from there.
struct DiskRound {
    Way way;
    std::uint64_t pages = 0;
    std::uint64_t pages_on_disk = 0;   // found good in the swap file by the host
    std::uint64_t huge_groups = 0, huge_unsplit = 0;  // 2 MiB runs in the swap file
    double out_seconds = 0;            // shrink and write, by the host's clock
    std::uint64_t in_ns = 0;
    oracle::Counters out, in;
    std::uint64_t bad = 0;             // host and device together
};

// Many cycles, to memory and back or to disk and back: what is left of the large blocks.
struct WearRun {
    Way way;
    unsigned cycles = 0;
    std::uint64_t pages = 0;
    std::uint64_t pages_on_disk = 0;   // the fewest in any cycle, by the guest's own account; 0 if it was to memory only
    std::uint64_t blocks_before = 0, blocks_after = 0;  // free, in units of order 9, without buffers
    std::uint64_t bad = 0;
};

// The same when the swap disk is nearly full of somebody else's pages.
struct FullRun {
    Way way;
    double full_before = 0;            // 0..1, as measured
    std::uint64_t pages = 0;
    std::uint64_t pages_out = 0;       // backed up
    std::uint64_t pages_on_disk = 0;   // of these, with their content in the swap file only
    oracle::Counters counters;
    std::uint64_t oom_kills = 0;
    std::uint64_t bad = 0;
};

// One boot of a guest with hardly any memory to spare.
struct EdgeRun {
    Way way;
    std::uint64_t oom_kills = 0;
    bool hog_survived = false;
    std::uint64_t pages_out = 0;
    std::uint64_t bad = 0;
    std::string error;                 // the run broke off, why; "" else
};

struct Comparison {
    std::string started, kernel_release, accelerator;
    std::uint64_t seed = 0;
    std::vector<Way> ways;
    unsigned buffers = 0;
    std::uint64_t buffer_bytes = 0;
    std::vector<MemoryRound> memory;
    std::vector<DiskRound> disk;
    std::vector<WearRun> wear;       // to memory
    std::vector<WearRun> disk_wear;  // to disk
    std::vector<FullRun> full;
    std::vector<EdgeRun> edge;
};

// Median over the rounds of (a in round i) / (b in round i), by figure (a positive number; rounds in
// which either is 0 do not count). Paired, because the machine's speed drifts.
template <typename Round>
std::optional<double> paired_ratio(const std::vector<Round>& rounds, const Way& a, const Way& b,
                                   double (*figure)(const Round&)) {
    std::vector<double> of_a, of_b, ratios;
    for (const Round& r : rounds) {
        if (r.way == a) of_a.push_back(figure(r));
        if (r.way == b) of_b.push_back(figure(r));
    }
    for (std::size_t i = 0; i < of_a.size() && i < of_b.size(); ++i)
        if (of_a[i] > 0 && of_b[i] > 0) ratios.push_back(of_a[i] / of_b[i]);
    return median(std::move(ratios));
}

bool zero_copy(const Way& way);

// What was killed for lack of memory, and in how many runs.
struct Killed {
    std::uint64_t runs = 0;
    std::uint64_t kills = 0;
};
Killed killed_in(const std::vector<FullRun>& runs, const Way& way);
// A hog that did not live counts, also where the kernel's log says nothing of it.
Killed killed_in(const std::vector<EdgeRun>& runs, const Way& way);

// Free 2 MiB blocks after the cycles, percent of those before; the median of the runs.
std::optional<double> blocks_left(const std::vector<WearRun>& runs, const Way& way);

double ms_per_mib_out(const MemoryRound& r);  // 0: nothing went out
double ms_per_mib_in(const MemoryRound& r);

// kContent if a page was bad anywhere, else kInconclusive if a way did not do what its name says
// (zero-copy ways copied, or copy did not; too few pages went out), else kPass. Reasons are appended.
report::ExitCode judge(const Comparison& c, std::vector<std::string>* reasons);

// Tables in Markdown, as docs/backups.md has them. Ends with a newline.
std::string to_markdown(const Comparison& c);
nlohmann::json to_json(const Comparison& c);

}  // namespace vttm::cli
