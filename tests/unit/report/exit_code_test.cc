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
    EXPECT_EQ(known, 17);
    EXPECT_EQ(names.size(), 17u);
    EXPECT_FALSE(exit_code_from_int(9));
    EXPECT_FALSE(exit_code_from_int(-1));
}

TEST(ExitCode, OfVerdicts) {
    EXPECT_EQ(to_int(exit_code(oracle::VerdictKind::kPass)), 0);
    EXPECT_EQ(to_int(exit_code(oracle::VerdictKind::kContent)), 1);
    EXPECT_EQ(to_int(exit_code(oracle::VerdictKind::kDisagree)), 1);
    EXPECT_EQ(to_int(exit_code(oracle::VerdictKind::kInconclusive)), 7);
    EXPECT_EQ(to_int(exit_code(oracle::VerdictKind::kLeak)), 8);
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
