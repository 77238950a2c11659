// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host-backend/report/test_results.h"

namespace vttm::report {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What KUnit prints for one suite, in debugfs and in the kernel log.
constexpr const char* kSuite = R"(KTAP version 1
    KTAP version 1
    # Subtest: ttm_device
    # module: ttm_device_test
    1..3
    ok 1 ttm_device_init_basic
        KTAP version 1
        # Subtest: ttm_device_init_pools
        ok 1 No DMA allocations, no DMA32 required
        ok 2 DMA allocations, DMA32 required # SKIP no device
    # ttm_device_init_pools: pass:1 fail:0 skip:1 total:2
    ok 2 ttm_device_init_pools
    # ttm_device_fini: EXPECTATION FAILED at ttm_device_test.c:33
    Expected a == b, but
    not ok 3 ttm_device_fini
# ttm_device: pass:2 fail:1 skip:0 total:3
# Totals: pass:2 fail:1 skip:1 total:4
not ok 1 ttm_device
)";

TEST(Ktap, LeavesCountSuitesDoNot) {
    const TestResults r = parse_ktap(kSuite);
    EXPECT_EQ(r.counts().passed, 2u);
    EXPECT_EQ(r.counts().failed, 1u);
    EXPECT_EQ(r.counts().skipped, 1u);
    EXPECT_THAT(r.names(TestStatus::kPassed),
                ElementsAre("ttm_device.ttm_device_init_basic",
                            "ttm_device.ttm_device_init_pools.No DMA allocations, no DMA32 "
                            "required"));
    EXPECT_THAT(r.names(TestStatus::kFailed), ElementsAre("ttm_device.ttm_device_fini"));
    EXPECT_THAT(r.cases[3].message, HasSubstr("EXPECTATION FAILED at ttm_device_test.c:33"));
    EXPECT_EQ(r.cases[2].message, "SKIP no device");
}

TEST(Ktap, KernelLogStampsAreTakenOff) {
    std::string log;
    for (std::string_view rest = kSuite; !rest.empty();) {
        const std::size_t end = rest.find('\n');
        log += "[    1.234567] " + std::string(rest.substr(0, end)) + "\r\n";
        rest.remove_prefix(end + 1);
    }
    const TestResults r = parse_ktap("[    0.000000] Linux version 7\n" + log);
    EXPECT_EQ(r.counts().total(), 4u);
    EXPECT_THAT(r.names(TestStatus::kFailed), ElementsAre("ttm_device.ttm_device_fini"));
}

TEST(Ktap, KselftestCountsTheOuterLevel) {
    const TestResults r = parse_ktap(
        "TAP version 13\n1..2\n# timeout set to 45\n# ok 1 inner\n"
        "ok 1 selftests: mm: hmm\n# not ok 1 inner\nnot ok 2 selftests: mm: gup # exit=1\n");
    EXPECT_EQ(r.counts().passed, 1u);
    EXPECT_THAT(r.names(TestStatus::kFailed), ElementsAre("selftests: mm: gup"));
}

TEST(Ktap, DashBeforeTheName) {
    EXPECT_THAT(parse_ktap("1..1\nok 1 - name of it\n").names(TestStatus::kPassed),
                ElementsAre("name of it"));
}

TEST(Ktap, AnUnmetPlanFails) {
    const TestResults r = parse_ktap(
        "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: s\n    1..3\n    ok 1 a\n"
        "ok 1 s\n");
    EXPECT_EQ(r.counts().passed, 1u);
    EXPECT_THAT(r.names(TestStatus::kFailed), ElementsAre("s.missing"));
    EXPECT_THAT(parse_ktap("1..2\nok 1 a\n").names(TestStatus::kFailed), ElementsAre("missing"));
    EXPECT_THAT(parse_ktap("1..1\nok 1 a\nok 2 b\n").names(TestStatus::kFailed),
                ElementsAre("missing"));
}

TEST(Ktap, ASuiteThatDidNotEndFails) {
    const TestResults r = parse_ktap(
        "KTAP version 1\n1..2\n    # Subtest: s\n    1..2\n    ok 1 a\nBUG: kernel NULL pointer\n");
    EXPECT_THAT(r.names(TestStatus::kFailed), ElementsAre("s.missing", "missing"));
    EXPECT_EQ(r.counts().passed, 1u);
    // Also when all its planned tests came.
    EXPECT_GE(
        parse_ktap("KTAP version 1\n    # Subtest: s\n    1..1\n    ok 1 a\n").counts().failed, 1u);
}

TEST(Ktap, EveryTruncationIsAFailure) {
    // A suite whose tests all pass, cut at each line: never a clean pass before the end.
    const std::string whole =
        "KTAP version 1\n1..1\n    KTAP version 1\n    # Subtest: s\n    1..2\n    ok 1 a\n"
        "        KTAP version 1\n        # Subtest: b\n        1..1\n        ok 1 c\n"
        "    ok 2 b\nok 1 s\n";
    EXPECT_EQ(parse_ktap(whole).counts().failed, 0u);
    for (std::size_t cut = whole.find('\n'); cut + 1 < whole.size();
         cut = whole.find('\n', cut + 1)) {
        try {
            EXPECT_GT(parse_ktap(whole.substr(0, cut + 1)).counts().failed, 0u)
                << whole.substr(0, cut + 1);
        } catch (const ParseError&) {
            // no result line yet: as good
        }
    }
}

TEST(Ktap, ASuiteThatFailsAloneFails) {
    const TestResults r =
        parse_ktap("    # Subtest: s\n    1..1\n    ok 1 a\n    # s: init failed\nnot ok 1 s\n");
    EXPECT_THAT(r.names(TestStatus::kFailed), ElementsAre("s.suite"));
}

TEST(Ktap, ASkippedSuiteIsSkipped) {
    const TestResults r = parse_ktap(
        "KTAP version 1\n1..2\n    KTAP version 1\n    # Subtest: s\n    1..0 # SKIP\n"
        "ok 1 s # SKIP no device\nok 2 t\n");
    EXPECT_THAT(r.names(TestStatus::kSkipped), ElementsAre("s"));
    EXPECT_THAT(r.names(TestStatus::kFailed), IsEmpty());
}

TEST(Ktap, BailOutFails) {
    EXPECT_THAT(parse_ktap("1..1\nok 1 a\nBail out! no memory\n").names(TestStatus::kFailed),
                ElementsAre("bail-out"));
}

TEST(Ktap, NothingIsNoResult) {
    EXPECT_THROW(parse_ktap(""), ParseError);
    EXPECT_THROW(parse_ktap("hello\nKTAP version 1\n1..5\n"), ParseError);
}

TEST(Ktap, WhatIsWrittenCanBeRead) {
    TestResults r;
    r.cases.push_back({"a", "one # two", TestStatus::kPassed, "", 0});
    r.cases.push_back({"b.c", "fails", TestStatus::kFailed, "line 1\nline 2", 0});
    r.cases.push_back({"a", "skips", TestStatus::kSkipped, "why\nso", 0});
    r.cases.push_back({"", "lone", TestStatus::kPassed, "", 0});
    const std::string text = to_ktap(r);
    EXPECT_THAT(text, HasSubstr("KTAP version 1\n1..3\n"));
    const TestResults back = parse_ktap(text);
    EXPECT_EQ(back.counts().passed, 2u);
    EXPECT_THAT(back.names(TestStatus::kFailed), ElementsAre("b.c.fails"));
    EXPECT_THAT(back.names(TestStatus::kSkipped), ElementsAre("a.skips"));
    for (const TestCase& t : back.cases) {
        if (t.status != TestStatus::kFailed) continue;
        EXPECT_THAT(t.message, HasSubstr("line 2"));
    }
}

}  // namespace
}  // namespace vttm::report
