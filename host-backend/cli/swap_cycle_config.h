// SPDX-License-Identifier: Apache-2.0
// Parameters of the scenario `swap-cycle`, from a TOML file and the command line.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "host-backend/machine/variant.h"

namespace vttm::cli {

struct SwapCycleConfig {
    std::string name = "swap-cycle";
    std::uint64_t ram_mib = 1536;       // guest RAM
    std::uint64_t vram_mib = 256;       // device VRAM
    std::uint64_t swap_mib = 4096;      // swap disk (sparse file)
    std::uint64_t gtt_buffers_mib = 0;  // 0: as much as ram_mib, which exceeds what is free
    std::uint64_t vram_buffers_mib = 320;
    unsigned cycles = 4;                           // per backup
    std::vector<std::string> backups = {"copy", "insert"};
    double swapped_share = 0.75;      // of the GTT pages, to be in the swap file before the check
    std::uint64_t hog_step_mib = 32;  // growth of the memory hog between samples
    std::uint64_t memcg_limit_mib = 0;  // memory.max of the hog's cgroup; 0: none
    std::uint64_t vram_target_mib =
        0;  // VRAM that is left from the pressure until all is verified; 0: all
    bool iommu = false;               // the device behind an IOMMU
    bool migrate = false;  // into another QEMU under pressure, with all content where it is then
    std::string fault_plan;   // orders for the GPU (docs/faults.md), in force from boot to end; empty: none
    std::uint64_t seed = 0;           // 0: from the clock; printed, so that a run can be repeated
    double min_unchanged = 0.99;      // insert: share of pages whose guest-physical page stays
    double min_unsplit = 0.95;  // insert: share of the 2 MiB pages that reach the disk in one piece
    std::uint64_t timeout_s = 3600;   // whole scenario
};

// Reads a scenario file over the defaults. Unknown keys, wrong types and values out of range are
// errors (std::runtime_error naming file, line and key).
SwapCycleConfig load_swap_cycle(const std::filesystem::path& path);

// Throws std::runtime_error with the name and the value of the first bad parameter.
void check_swap_cycle(const SwapCycleConfig& config);

// What a scenario may ask of a kernel variant: more time of a slow one; of one without huge pages no 2 MiB pages.
void fit_to_variant(SwapCycleConfig& config, const machine::Variant& variant);

}  // namespace vttm::cli
