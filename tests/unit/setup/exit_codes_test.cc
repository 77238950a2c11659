// SPDX-License-Identifier: Apache-2.0
// The shell's exit codes are those of host-backend/report/exit_code.h.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "host-backend/report/exit_code.h"
#include "tests/unit/setup/shell.h"

namespace vttm::setup_test {
namespace {

using report::ExitCode;

constexpr std::pair<const char*, ExitCode> kCodes[] = {
    {"PASS", ExitCode::kPass},
    {"CONTENT", ExitCode::kContent},
    {"USAGE", ExitCode::kUsage},
    {"PANIC", ExitCode::kGuestPanic},
    {"HANG", ExitCode::kGuestHang},
    {"TIMEOUT", ExitCode::kTimeout},
    {"INFRA", ExitCode::kInfrastructure},
    {"INCONCLUSIVE", ExitCode::kInconclusive},
    {"LEAK", ExitCode::kLeak},
    {"PACKAGE", ExitCode::kMissingPackage},
    {"NETWORK", ExitCode::kNoNetwork},
    {"DISK", ExitCode::kNoDisk},
    {"PATCH", ExitCode::kPatchFailed},
    {"BUILD", ExitCode::kBuildFailed},
    {"RAM", ExitCode::kNoRam},
    {"BOOT", ExitCode::kNoBoot},
    {"INTERRUPTED", ExitCode::kInterrupted},
};

TEST(ExitCodes, ShellAndCxxAgree) {
    Sandbox box;
    for (const auto& [name, code] : kCodes)
        EXPECT_EQ(box.run(fmt::format("exit \"$VTTM_EXIT_{}\"", name)).status, report::to_int(code)) << name;
}

TEST(ExitCodes, TheShellHasNoOthers) {
    Sandbox box;
    const std::string all = box.run("set | sed -n 's/^VTTM_EXIT_//p'").out;
    EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), std::ssize(kCodes)) << all;
}

}  // namespace
}  // namespace vttm::setup_test
