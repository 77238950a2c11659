// SPDX-License-Identifier: Apache-2.0
#include "host-backend/report/exit_code.h"

#include <array>
#include <stdexcept>

namespace vttm::report {
namespace {

struct Entry {
    ExitCode code;
    std::string_view name;
    std::string_view text;
};

constexpr std::array<Entry, 17> kEntries = {{
    {ExitCode::kPass, "pass", "everything that was checked is right"},
    {ExitCode::kContent, "content", "pages are bad, or the witnesses disagree"},
    {ExitCode::kUsage, "usage", "wrong usage"},
    {ExitCode::kGuestPanic, "guest-panic", "panic, oops or warning in the guest kernel"},
    {ExitCode::kGuestHang, "guest-hang", "the guest makes no progress"},
    {ExitCode::kTimeout, "timeout", "still progressing, but over its time limit"},
    {ExitCode::kInfrastructure, "infrastructure", "QEMU or libvirt failed, or an image is broken"},
    {ExitCode::kInconclusive, "inconclusive", "the path under test did not run"},
    {ExitCode::kLeak, "leak", "something was not given back"},
    {ExitCode::kMissingPackage, "missing-package", "a package is missing and cannot be installed"},
    {ExitCode::kNoNetwork, "no-network", "no network, or a download failed"},
    {ExitCode::kNoDisk, "no-disk", "too little disk space"},
    {ExitCode::kPatchFailed, "patch-failed", "a patch does not apply"},
    {ExitCode::kBuildFailed, "build-failed", "a build failed"},
    {ExitCode::kNoRam, "no-ram", "too little RAM"},
    {ExitCode::kNoBoot, "no-boot", "the kernel does not boot"},
    {ExitCode::kInterrupted, "interrupted", "interrupted"},
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
