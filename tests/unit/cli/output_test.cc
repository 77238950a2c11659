// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "host-backend/machine/errors.h"
#include "tests/unit/cli/tiny_filesystem.h"

namespace vttm::cli {
namespace {

using report::ExitCode;
using ::testing::HasSubstr;

struct Closer {
    void operator()(std::FILE* f) const { std::fclose(f); }
};
using File = std::unique_ptr<std::FILE, Closer>;

report::RunReport passed_run() {
    report::RunReport run;
    run.scenario = "swap-cycle";
    run.cycles.resize(1);
    conclude(run, std::nullopt);
    return run;
}

report::TestResults tests(int failed) {
    report::TestResults r;
    r.cases.push_back({.suite = "s", .name = "good", .message = ""});
    if (failed)
        r.cases.push_back({.suite = "s", .name = "bad", .status = report::TestStatus::kFailed,
                           .message = std::string(1 << 16, 'm')});
    return r;
}

class OutputTest : public ::testing::Test {
protected:
    void SetUp() override {
        if (!tiny_.why_not().empty()) GTEST_SKIP() << tiny_.why_not();
        tiny_.fill();
        files_ = tiny_.files();
    }
    std::string printed() {
        std::fflush(out_.get());
        std::rewind(out_.get());
        std::string text(1 << 16, '\0');
        text.resize(std::fread(text.data(), 1, text.size(), out_.get()));
        return text;
    }
    test::TinyFilesystem tiny_;
    File out_{std::tmpfile()};
    std::size_t files_ = 0;
};

TEST_F(OutputTest, AFullDiskIsNamedAndLeavesNothing) {
    try {
        save_output(tiny_.dir() / "out.json", std::string(1 << 16, 'x'), "--json=FILE");
        FAIL() << "it was written to a full disk";
    } catch (const machine::DiskFull& e) {
        EXPECT_EQ(e.exit_code(), 12);
        EXPECT_THAT(e.what(), HasSubstr("cannot write out.json: the disk is full"));
        EXPECT_THAT(e.what(), HasSubstr((tiny_.dir() / "out.json").string()));
        EXPECT_THAT(e.what(), HasSubstr("what to do: free space there, or choose another place with "
                                        "--json=FILE"));
    }
    EXPECT_EQ(tiny_.files(), files_) << "half a file stayed";
}

TEST_F(OutputTest, ARunThatPassedButLostItsReportEndsWith12) {
    EXPECT_EQ(publish(passed_run(), tiny_.dir() / "out.json", out_.get()), ExitCode::kNoDisk);
    EXPECT_THAT(printed(), HasSubstr("PASS")) << "the verdict is out all the same";
}

TEST_F(OutputTest, BadPagesAreNotHiddenBehindAFullDisk) {
    report::RunReport run = passed_run();
    run.cycles[0].verdict.kind = oracle::VerdictKind::kContent;
    conclude(run, std::nullopt);
    EXPECT_EQ(publish(run, tiny_.dir() / "out.json", out_.get()), ExitCode::kContent);
}

TEST_F(OutputTest, ResultsOfTestsOnAFullDisk) {
    EXPECT_EQ(publish_tests(tests(0), std::nullopt, tiny_.dir() / "results", out_.get()),
              ExitCode::kNoDisk);
    EXPECT_TRUE(printed().ends_with("1 passed, 0 failed\n")) << "the last line stays";
    EXPECT_EQ(publish_tests(tests(1), std::nullopt, tiny_.dir(), out_.get()), ExitCode::kContent);
}

TEST(Output, FullStandardOutput) {
    const File full(std::fopen("/dev/full", "w"));
    ASSERT_TRUE(full);
    EXPECT_THROW(print_out("x\n", full.get()), machine::DiskFull);
    // The report is written though the table could not be.
    test::TinyFilesystem dir;
    const auto json = dir.dir() / "out.json";
    EXPECT_EQ(publish(passed_run(), json, full.get()), ExitCode::kNoDisk);
    EXPECT_EQ(nlohmann::json::parse(std::ifstream(json)).at("exit_code"), 0);
    std::filesystem::remove(json);
}

TEST(Output, TheLastLineOfTestsIsTheSameWithSkips) {
    test::TinyFilesystem dir;
    const File out(std::tmpfile());
    report::TestResults some = tests(0);
    some.cases.push_back({.suite = "s", .name = "not_here", .status = report::TestStatus::kSkipped,
                          .message = "why"});
    EXPECT_EQ(publish_tests(some, std::nullopt, dir.dir() / "results", out.get()), ExitCode::kPass);
    std::rewind(out.get());
    std::string text(4096, '\0');
    text.resize(std::fread(text.data(), 1, text.size(), out.get()));
    EXPECT_TRUE(text.ends_with("\n1 skipped\n1 passed, 0 failed\n")) << text;
    std::filesystem::remove_all(dir.dir() / "results");
}

TEST(Output, WritesTableAndReport) {
    test::TinyFilesystem dir;
    const File out(std::tmpfile());
    const auto json = dir.dir() / "new" / "out.json";
    EXPECT_EQ(publish(passed_run(), json, out.get()), ExitCode::kPass);
    EXPECT_TRUE(std::filesystem::exists(json));
    std::filesystem::remove_all(dir.dir() / "new");
}

}  // namespace
}  // namespace vttm::cli
