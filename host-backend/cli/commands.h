// SPDX-License-Identifier: Apache-2.0
// The verbs. Each returns the exit code of the tool and throws machine::Error (with its own code) or
// std::exception (infrastructure).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "host-backend/cli/compare/demands.h"
#include "host-backend/cli/manifest.h"
#include "host-backend/cli/options.h"
#include "host-backend/cli/swap_cycle_config.h"

namespace vttm::cli {

struct RunOptions {
    SwapCycleConfig config;
    std::filesystem::path json;  // "": build/reports/<scenario>.json
    std::filesystem::path trace;  // "": none
};
int run_command(const CommonOptions& common, const Manifest& manifest, RunOptions options);

struct TestOptions {
    std::vector<std::string> only;  // stages; empty: all
    std::filesystem::path source_root;
    std::filesystem::path results_dir;  // "": build/reports
    bool list = false;
};
int test_command(const CommonOptions& common, const TestOptions& options);

int shell_command(const CommonOptions& common);

struct BenchOptions {
    unsigned runs = 3;
    std::string scenario = "swap-cycle-short";
    std::vector<std::string> backups;  // those of the scenario
    std::filesystem::path source_root;
    std::filesystem::path json;  // "": build/reports/bench.json
};
int bench_command(const CommonOptions& common, const BenchOptions& options);
// What bench calls: the same kernel variant, scenario and machine as its own command line says.
std::vector<std::string> bench_run_argv(const CommonOptions& common, const BenchOptions& options,
                                        const Manifest& manifest,
                                        const std::vector<std::string>& backups,
                                        const std::filesystem::path& json);

struct CompareOptions {
    // BACKUP[/RESTORE]; upstream is copy/copy.
    std::vector<std::string> ways = {"copy/copy", "insert", "insert/copy", "swapcache"};
    unsigned rounds = 5;                                // to memory and back, per way
    unsigned disk_rounds = 2;                           // to disk and back
    unsigned cycles = 100;                              // of the wear run, to memory and back; 0: none
    unsigned disk_cycles = 10;                          // the same to disk and back
    std::vector<unsigned> swap_full = {50, 90, 99, 100};  // percent
    unsigned edge_runs = 0;                             // boots with hardly any memory, per way
    unsigned buffers = 64;
    std::uint64_t buffer_kib = 2048;
    std::uint64_t ram_mib = 1536;
    std::uint64_t swap_mib = 1024;
    std::uint64_t seed = 0;
    std::uint64_t timeout_s = 3600;
    std::filesystem::path json;  // "": build/reports/compare.json
    Demands demands;
};
int compare_command(const CommonOptions& common, const CompareOptions& options);

}  // namespace vttm::cli
