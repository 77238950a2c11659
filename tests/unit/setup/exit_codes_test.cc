// SPDX-License-Identifier: Apache-2.0
// The shell's exit codes and those of the documents are those of host-backend/report/exit_code.h.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

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
    {"UNMET", ExitCode::kUnmet},
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

// The codes in the first column of the table under "## Exit codes".
std::vector<int> codes_of(const char* document) {
    std::ifstream in(source_root() / document);
    std::vector<int> codes;
    bool there = false;
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with("## ")) there = line == "## Exit codes";
        if (there && line.starts_with("| ") && std::isdigit(static_cast<unsigned char>(line[2])))
            codes.push_back(std::stoi(line.substr(2)));
    }
    return codes;
}

TEST(ExitCodes, TheDocumentsNameThemAll) {
    std::vector<int> all;
    for (const auto& [name, code] : kCodes) all.push_back(report::to_int(code));
    EXPECT_THAT(codes_of("README.md"), ::testing::ElementsAreArray(all));
    EXPECT_THAT(codes_of("docs/report.md"), ::testing::ElementsAreArray(all));
}

// docs/report.md gives each code's short name, as in JSON.
TEST(ExitCodes, TheReportsDocumentHasTheirNames) {
    std::ifstream in(source_root() / "docs/report.md");
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    for (const auto& [name, code] : kCodes)
        EXPECT_THAT(text, ::testing::HasSubstr(
                              fmt::format("\n| {} | `{}` |", report::to_int(code), report::name_of(code))));
}

}  // namespace
}  // namespace vttm::setup_test
