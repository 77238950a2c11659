// SPDX-License-Identifier: Apache-2.0
// The parts of preflight() that can be tested without a machine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string_view>

#include "host-backend/machine/machine.h"

namespace vttm::machine {

// MemAvailable of /proc/meminfo in bytes; nullopt if the text has none.
std::optional<std::uint64_t> mem_available(std::string_view meminfo);

// What is left under the memory limits of a cgroup (version 2) and of those above it; nullopt
// without any limit. `mount` is the cgroup file system, `self` the text of /proc/self/cgroup.
std::optional<std::uint64_t> cgroup_available(const std::filesystem::path& mount,
                                              std::string_view self);

// What the host must have for guest RAM, VRAM and QEMU itself.
std::uint64_t ram_needed(const MachineConfig& config);
// What the disk directory must hold: the whole swap disk and room for the witness log.
std::uint64_t disk_needed(const MachineConfig& config);

// Throw TooLittleRam, DiskFull.
// `source` is where the number comes from.
void check_ram(std::uint64_t available, std::uint64_t needed, const std::filesystem::path& source);
void check_disk(std::uint64_t free, std::uint64_t needed, const std::filesystem::path& dir);

}  // namespace vttm::machine
