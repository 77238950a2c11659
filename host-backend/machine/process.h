// SPDX-License-Identifier: Apache-2.0
// Finding and ending the QEMU process by what it is, not by what libvirt remembers of it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace vttm::machine {

// What a reaper calls itself (/proc/PID/comm).
inline constexpr const char* kReaperName = "vttm-reaper";

// Processes that run this executable and have `marker` as a part of an argument (the domain's name,
// which is unique). Zombies are not found.
std::vector<pid_t> find_processes(const std::filesystem::path& executable, std::string_view marker);

// SIGKILLs them until none is left or `limit` is over; true if none is left.
bool kill_processes(const std::filesystem::path& executable, std::string_view marker,
                    std::chrono::milliseconds limit);

// Processes that were started with this "NAME=VALUE" in their environment: all that a program starts, in whatever group or
// session, if it was given one that nobody else has.
std::vector<pid_t> find_by_environment(std::string_view entry);

// SIGKILLs them until none is left; true if so. Reapers (reaper.h), which clean up after those that are killed here, have
// until `limit` before they are killed, too.
bool end_by_environment(std::string_view entry, std::chrono::milliseconds limit);

// False for zombies: QEMU's parent may be a container's first process, which reaps nobody.
bool process_alive(pid_t pid);

// The first open memfd of the process with exactly this size, as a path /proc/PID/fd/N; empty if
// there is none. Throws std::filesystem::filesystem_error if the process may not be inspected.
std::filesystem::path find_memfd(pid_t pid, std::uint64_t bytes);

}  // namespace vttm::machine
