// SPDX-License-Identifier: Apache-2.0
#include "host-backend/report/exit_code.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>
#include <string>

namespace vttm::report {
namespace {

TEST(ExitCode, NumbersRoundTripAndNamesAreUnique) {
    std::set<std::string_view> names;
    int known = 0;
    for (int i = 0; i < 256; i++) {
        const auto code = exit_code_from_int(i);
        if (!code) continue;
        known++;
        EXPECT_EQ(to_int(*code), i);
        EXPECT_FALSE(describe(*code).empty());
        names.insert(name_of(*code));
    }
    EXPECT_EQ(known, 18);
    EXPECT_EQ(names.size(), 18u);
    EXPECT_FALSE(exit_code_from_int(17));
    EXPECT_FALSE(exit_code_from_int(-1));
}

TEST(ExitCode, OfVerdicts) {
    EXPECT_EQ(to_int(exit_code(oracle::VerdictKind::kPass)), 0);
    EXPECT_EQ(to_int(exit_code(oracle::VerdictKind::kContent)), 1);
    EXPECT_EQ(to_int(exit_code(oracle::VerdictKind::kDisagree)), 1);
    EXPECT_EQ(to_int(exit_code(oracle::VerdictKind::kInconclusive)), 7);
    EXPECT_EQ(to_int(exit_code(oracle::VerdictKind::kLeak)), 8);
}

// The order that docs/report.md gives; a code that is missing here has no place in it.
TEST(ExitCode, TheHeavierOfTwo) {
    const ExitCode order[] = {
        ExitCode::kInterrupted,    ExitCode::kGuestPanic,     ExitCode::kNoBoot,
        ExitCode::kGuestHang,      ExitCode::kContent,        ExitCode::kLeak,
        ExitCode::kUsage,          ExitCode::kNoDisk,         ExitCode::kNoRam,
        ExitCode::kBuildFailed,    ExitCode::kPatchFailed,    ExitCode::kNoNetwork,
        ExitCode::kMissingPackage, ExitCode::kInfrastructure, ExitCode::kTimeout,
        ExitCode::kInconclusive,   ExitCode::kUnmet,          ExitCode::kPass};
    ASSERT_EQ(std::size(order), 18u);
    for (std::size_t i = 0; i < std::size(order); i++) {
        for (std::size_t k = i; k < std::size(order); k++) {
            EXPECT_EQ(heavier(order[i], order[k]), order[i]);
            EXPECT_EQ(heavier(order[k], order[i]), order[i]);
        }
    }
}

TEST(ExitCode, TheDocumentHasEachOfThem) {
    std::ifstream in(VTTM_REPORT_DOC);
    std::stringstream text;
    text << in.rdbuf();
    for (int i = 0; i < 256; i++) {
        const auto code = exit_code_from_int(i);
        if (!code) continue;
        EXPECT_THAT(text.str(), ::testing::HasSubstr(fmt::format("| {} | `{}` | {} |", i,
                                                                 name_of(*code), describe(*code))));
    }
}

}  // namespace
}  // namespace vttm::report
