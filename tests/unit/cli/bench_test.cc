// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "host-backend/cli/bench_figures.h"
#include "host-backend/cli/commands.h"

namespace vttm::cli {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ContainsRegex;
using ::testing::ElementsAre;
using ::testing::Not;

json run(double check, double boot, double copy_out, double insert_out) {
    return {{"seconds_to_first_check", check},
            {"seconds_to_boot", boot},
            {"backups",
             {{{"backup", "copy"}, {"times", {{"ms_per_mib_out", copy_out}, {"ms_per_mib_in", 4.0}}}},
              {{"backup", "insert"},
               {"times", {{"ms_per_mib_out", insert_out}, {"ms_per_mib_in", nullptr}}}}}}};
}

const Figure& figure(const std::vector<Figure>& all, const std::string& name) {
    for (const Figure& f : all)
        if (f.name == name) return f;
    throw std::out_of_range(name);
}

// The second run was twice as slow in all: times differ, ratios do not.
TEST(BenchFigures, RatiosAreTakenWithinOneRun) {
    const auto f = bench_figures({run(4, 2, 10, 5), run(8, 4, 20, 10)});
    EXPECT_THAT(figure(f, "first content check").values, ElementsAre(4, 8));
    EXPECT_THAT(figure(f, "first content check / boot").values, ElementsAre(2, 2));
    EXPECT_THAT(figure(f, "copy, out").values, ElementsAre(10, 20));
    EXPECT_THAT(figure(f, "insert / copy, out").values, ElementsAre(0.5, 0.5));
    EXPECT_EQ(figure(f, "insert / copy, out").unit, "");
    EXPECT_THROW(figure(f, "insert, in"), std::out_of_range) << "nothing came in: no figure";
    EXPECT_THROW(figure(f, "copy / copy, out"), std::out_of_range);
}

TEST(BenchFigures, WithoutCopyThereIsNoRatio) {
    json r = run(4, 2, 10, 5);
    r["backups"].erase(0);
    const auto f = bench_figures({r});
    EXPECT_THROW(figure(f, "insert / copy, out"), std::out_of_range);
    EXPECT_THAT(figure(f, "insert, out").values, ElementsAre(5));
}

TEST(BenchFigures, MedianAndRange) {
    const Figure odd{"f", "s", {3, 1, 2}}, even{"f", "s", {4, 1, 2, 3}};
    EXPECT_EQ(odd.median(), 2);
    EXPECT_EQ(even.median(), 2.5);
    EXPECT_EQ(odd.min(), 1);
    EXPECT_EQ(odd.max(), 3);
    EXPECT_THAT(format_figures({odd}), ContainsRegex("f, s +1.000 +2.000 +3.000\n"));
    EXPECT_EQ(figures_json({odd})[0].at("values"), json({3, 1, 2}));
}

TEST(BenchArgv, HandsOnWhatTheCommandLineSays) {
    CommonOptions common;
    common.accel = "tcg";
    common.cmdline = "a b";
    common.vcpus = 3;
    BenchOptions options;
    options.source_root = "/src";
    options.scenario = "mine.toml";
    Manifest manifest;
    manifest.variant = "debug";
    const auto argv = bench_run_argv(common, options, manifest, {"insert", "copy"}, "/j");
    EXPECT_EQ(argv.at(0), "/src/vttm");
    EXPECT_EQ(argv.at(1), "run");
    EXPECT_THAT(argv, AllOf(Contains("--variant=debug"), Contains("mine.toml"), Contains("insert,copy"),
                            Contains("--accel"), Contains("a b"), Contains("--vcpus"), Contains("3"), Not(Contains("--connect")),
                            Not(Contains("--keep"))));
}

}  // namespace
}  // namespace vttm::cli
