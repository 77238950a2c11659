// SPDX-License-Identifier: Apache-2.0
// What a kernel with assertions knows beyond its console: leaked memory, and whether lockdep still looks (after its first
// report, or for lack of room, it stops, and the latter it says too quietly for the console).
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "host-backend/cli/guest_exec.h"
#include "host-backend/cli/progress.h"
#include "host-backend/machine/machine.h"
#include "host-backend/machine/variant.h"

namespace vttm::cli {

struct Leaks {
    std::vector<std::string> ours;    // reports of what TTM, vttm.ko, or a file of the series allocated
    std::vector<std::string> tests;   // of what the KUnit cases or their helpers allocated themselves
    std::vector<std::string> others;  // of the rest of the kernel
};

// Of the text of /sys/kernel/debug/kmemleak. Throws std::runtime_error for one that is not such.
Leaks parse_kmemleak(std::string_view text);

// What the run of the script that asks kmemleak shows. Throws machine::Leak if memory of ours leaked, also when kmemleak
// broke off then; machine::Inconclusive if it looked, or told, only in part, or not at all. Returns the other leaks.
// save_logs: called for the error, and tells where they are.
Leaks judge_kmemleak(const GuestRun& run, const std::function<std::filesystem::path()>& save_logs);

// Of the text of /proc/lockdep_stats. Throws std::runtime_error if it does not say.
bool lockdep_looks(std::string_view stats);

// To be asked at the end of a run, with the buffers freed. Throws machine::GuestPanic if lockdep does not look, what
// judge_kmemleak() throws, and what Machine::check() throws. Asks nothing of a kernel that has neither.
void check_kernel(machine::Machine& machine, const machine::Variant& variant, Progress& progress);

}  // namespace vttm::cli
