// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>

#include "host-backend/oracle/verdict.h"

namespace vttm::report {

// Exit codes of the whole tool. images/lib/common.sh uses the same numbers; a test compares.
enum class ExitCode : int {
    kPass = 0,
    kContent = 1,  // bad pages, or witnesses disagree
    kUsage = 2,
    kGuestPanic = 3,       // panic, oops or splat in the guest
    kGuestHang = 4,        // no progress, heartbeats lost
    kTimeout = 5,          // still progressing, over its limit
    kInfrastructure = 6,   // QEMU or libvirt failed or died, image broken
    kInconclusive = 7,     // the path under test did not run
    kLeak = 8,             // balances not zero
    kUnmet = 9,            // right, but a figure is not what the caller demands
    kMissingPackage = 10,  // and it cannot be installed
    kNoNetwork = 11,       // or a download failed
    kNoDisk = 12,          // too little disk, or disk full
    kPatchFailed = 13,     // a patch does not apply
    kBuildFailed = 14,
    kNoRam = 15,   // too little RAM
    kNoBoot = 16,  // the kernel never reached the agent
    kInterrupted = 130,
};

constexpr int to_int(ExitCode c) { return static_cast<int>(c); }

// Short name ("pass", "content", "usage", ...) for JSON, and one line for people.
std::string_view name_of(ExitCode c);
std::string_view describe(ExitCode c);
std::optional<ExitCode> exit_code_from_int(int value);

// Of two codes that apply the one to end with. From heavy to light: the user's interruption; a
// kernel that reported its own fault, did not boot, or hangs; content lost; a leak; then what says
// nothing of the kernel: no disk, no RAM, infrastructure, timeout, ...; inconclusive; a demand
// unmet; pass. So what was proven against the kernel is never hidden behind a host that failed
// later.
ExitCode heavier(ExitCode a, ExitCode b);

// PASS 0, CONTENT and DISAGREE 1, INCONCLUSIVE 7, LEAK 8.
ExitCode exit_code(oracle::VerdictKind kind);

}  // namespace vttm::report
