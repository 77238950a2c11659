// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "host-backend/oracle/verdict.h"
#include "host-backend/report/exit_code.h"

namespace vttm::report {

// One cycle with its verdict.
struct CycleRecord {
    oracle::CycleResult result;
    oracle::Verdict verdict;
};

// All that one `vttm run` has to say.
struct RunReport {
    std::string tool_version;
    std::string scenario;     // "swap-cycle"
    std::string started;      // ISO 8601, UTC
    std::string accelerator;  // "kvm" or "tcg"
    std::string kernel_release;
    std::string kernel_variant;
    std::string log_dir;     // where the logs are; "" for a pass
    std::uint64_t seed = 0;  // repeats the run
    std::uint64_t guest_ram_bytes = 0;
    std::uint64_t vram_bytes = 0;
    std::uint64_t swap_bytes = 0;
    double seconds = 0;                 // whole run
    double seconds_to_boot = 0;         // QEMU's start to the guest agent's first word
    double seconds_to_first_check = 0;  // start of the command to the first content check
    std::vector<CycleRecord> cycles;    // in order, all backups
    // Balances over the whole run, taken after all buffers were freed.
    std::vector<oracle::Balance> balances;
    std::string faults;  // what the device says of the fault plan (JSON, docs/faults.md); "": there was none
    // Overall. A run that broke off (hang, panic, ...) has an exit code beyond the verdict's and
    // says why in @error.
    oracle::Verdict verdict;
    ExitCode exit_code = ExitCode::kPass;
    std::string error;
};

// The figures of one backup over its cycles: one column of the table.
struct BackupSummary {
    std::string backup;
    std::uint64_t cycles = 0;
    std::uint64_t pages_filled = 0;
    oracle::ClassCounts device{}, cpu{}, host{};  // by class, good included
    std::uint64_t device_checked = 0, cpu_checked = 0, host_checked = 0;
    std::uint64_t pages_on_disk = 0;
    double min_swapped_share = 0;  // of the cycles
    oracle::ZeroCopyStats zero_copy;
    oracle::RunStats runs;
    std::uint64_t second_copies = 0, leftovers = 0, strays = 0;
    std::uint64_t stale_uses = 0, device_faults = 0;
    oracle::Counters counters;  // sums of the deltas
    oracle::Counters levels;    // maxima of the levels
    double seconds_out = 0, seconds_in = 0;
    std::uint64_t bytes_out = 0, bytes_in = 0;
    oracle::VerdictKind verdict = oracle::VerdictKind::kPass;

    double ms_per_mib_out() const;  // 0 if nothing went out
    double ms_per_mib_in() const;
};

// One per backup, in the order of first appearance.
std::vector<BackupSummary> summarize(const RunReport& run);

struct TableStyle {
    bool colour = false;       // ANSI colours: only for a terminal
    std::size_t max_bad = 20;  // bad pages listed below the table; JSON has all
};
// Colour if @fd is a terminal and NO_COLOR is not set.
TableStyle style_for(int fd);

// The table per backup, then bad pages, disagreements, uneven balances and the verdict with its
// reasons. Ends with a newline.
std::string format_table(const RunReport& run, const TableStyle& style);

// Schema: docs/report.md.
nlohmann::json to_json(const RunReport& run);

// Writes @text to @path by way of a temporary file beside it, so that a reader never sees half.
// Throws std::system_error (disk full: errc::no_space_on_device).
void write_file(const std::string& path, const std::string& text);

}  // namespace vttm::report
