// SPDX-License-Identifier: Apache-2.0
#include "host-backend/report/exit_code.h"

#include <array>
#include <stdexcept>

namespace vttm::report {
namespace {

struct Entry {
    ExitCode code;
    int weight;  // see heavier()
    std::string_view name;
    std::string_view text;
};

constexpr std::array<Entry, 18> kEntries = {{
    {ExitCode::kPass, 0, "pass", "everything that was checked is right"},
    {ExitCode::kContent, 13, "content", "pages are bad, or the witnesses disagree"},
    {ExitCode::kUsage, 11, "usage", "wrong usage"},
    {ExitCode::kGuestPanic, 16, "guest-panic", "panic, oops or warning in the guest kernel"},
    {ExitCode::kGuestHang, 14, "guest-hang", "the guest makes no progress"},
    {ExitCode::kTimeout, 3, "timeout", "still progressing, but over its time limit"},
    {ExitCode::kInfrastructure, 4, "infrastructure",
     "QEMU or libvirt failed, or an image is broken"},
    {ExitCode::kInconclusive, 2, "inconclusive", "the path under test did not run"},
    {ExitCode::kLeak, 12, "leak", "something was not given back"},
    {ExitCode::kUnmet, 1, "unmet", "a figure is not what was demanded"},
    {ExitCode::kMissingPackage, 5, "missing-package",
     "a package is missing and cannot be installed"},
    {ExitCode::kNoNetwork, 6, "no-network", "no network, or a download failed"},
    {ExitCode::kNoDisk, 10, "no-disk", "too little disk space"},
    {ExitCode::kPatchFailed, 7, "patch-failed", "a patch does not apply"},
    {ExitCode::kBuildFailed, 8, "build-failed", "a build failed"},
    {ExitCode::kNoRam, 9, "no-ram", "too little RAM"},
    {ExitCode::kNoBoot, 15, "no-boot", "the kernel does not boot"},
    {ExitCode::kInterrupted, 17, "interrupted", "interrupted"},
}};

const Entry& entry(ExitCode c) {
    for (const Entry& e : kEntries) {
        if (e.code == c) return e;
    }
    throw std::logic_error("not an exit code");
}

}  // namespace

std::string_view name_of(ExitCode c) { return entry(c).name; }
std::string_view describe(ExitCode c) { return entry(c).text; }

std::optional<ExitCode> exit_code_from_int(int value) {
    for (const Entry& e : kEntries) {
        if (to_int(e.code) == value) return e.code;
    }
    return std::nullopt;
}

ExitCode heavier(ExitCode a, ExitCode b) { return entry(b).weight > entry(a).weight ? b : a; }

ExitCode exit_code(oracle::VerdictKind kind) {
    switch (kind) {
        case oracle::VerdictKind::kPass:
            return ExitCode::kPass;
        case oracle::VerdictKind::kInconclusive:
            return ExitCode::kInconclusive;
        case oracle::VerdictKind::kLeak:
            return ExitCode::kLeak;
        case oracle::VerdictKind::kDisagree:
        case oracle::VerdictKind::kContent:
            return ExitCode::kContent;
    }
    throw std::logic_error("not a verdict");
}

}  // namespace vttm::report
