// SPDX-License-Identifier: Apache-2.0
// That a benchmark called with --demand can fail: its arithmetic, and the program itself with a
// device that the host has made slow.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <thread>
#include <vector>

#include "tests/bench/demands.h"
#include "tests/bench/paired.h"
#include "tests/bench/program.h"

namespace vttm::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(Pairs, RatioIsTheMedianWithinPairs) {
    Pairs p;
    // The second pair met a machine that was three times as slow: its ratio is what it was.
    p.add({2, 4}, {1, 1});
    p.add({6, 2}, {3, 3});
    p.add({1, 1}, {4, 4});  // something disturbed the bound alone
    EXPECT_DOUBLE_EQ(p.ratio(), 0.5);
    EXPECT_DOUBLE_EQ(p.least(), 0.5);
    EXPECT_DOUBLE_EQ(p.most(), 4);
    EXPECT_DOUBLE_EQ(p.work_seconds(), 2);
    EXPECT_DOUBLE_EQ(p.bound_seconds(), 3);
    EXPECT_DOUBLE_EQ(p.wall(), 1) << "best of each";
}

TEST(Pairs, WhoSleepsTakesNoCpuAndIsFoundByTheWall) {
    Pairs p;
    const auto work = [] {
        volatile unsigned n = 0;
        while (n < 3000000) n = n + 1;
    };
    for (int i = 0; i < 5; i++)
        p.run(
            [&] {
                work();
                std::this_thread::sleep_for(std::chrono::milliseconds(50));
            },
            work);
    EXPECT_GT(p.ratio(), 0.5);
    EXPECT_LT(p.wall(), 0.5);
}

TEST(Pairs, TurnsChange) {
    Pairs p;
    std::string order;
    for (int i = 0; i < 3; i++) p.run([&] { order += 'w'; }, [&] { order += 'b'; });
    EXPECT_EQ(order, "wbbwwb");
}

TEST(Pairs, NothingMeasuredMeetsNoBound) {
    EXPECT_EQ(Pairs().ratio(), 0);
    EXPECT_EQ(Pairs().wall(), 0);
}

class DemandsTest : public ::testing::Test {
protected:
    void parse(std::vector<std::string> args) {
        std::vector<char*> argv;
        for (auto& a : args) argv.push_back(a.data());
        argv.push_back(nullptr);
        int argc = static_cast<int>(args.size());
        demands.parse(argc, argv.data());
        left.assign(argv.data(), argv.data() + argc);
        EXPECT_EQ(argv[static_cast<size_t>(argc)], nullptr);
    }
    Demands demands{{{"copy", 0.9}, {"stamp", 0.5}}};
    std::vector<std::string> left;
};

TEST_F(DemandsTest, TakesItsOptionAndNoOther) {
    parse({"bench", "--benchmark_filter=x", "--demand"});
    EXPECT_TRUE(demands.demanded());
    EXPECT_THAT(left, ElementsAre("bench", "--benchmark_filter=x"));
    Demands others({});
    EXPECT_FALSE(others.demanded());
}

TEST_F(DemandsTest, WhatIsBelowOrNotThereIsMissed) {
    parse({"bench", "--demand"});
    demands.measured("copy", 0.8999);
    EXPECT_THAT(demands.missed(), ElementsAre("copy: 0.900, demanded 0.900", "stamp: not measured"));
    EXPECT_EQ(demands.status(), Demands::kMissed);
    demands.measured("copy", 0.9);
    demands.measured("stamp", std::nan(""));
    EXPECT_THAT(demands.missed(), ElementsAre(HasSubstr("stamp: ")));
    demands.measured("stamp", 0.5);
    EXPECT_THAT(demands.missed(), IsEmpty());
    EXPECT_EQ(demands.status(), 0);
}

TEST_F(DemandsTest, WithoutTheOptionNothingIsDemanded) {
    parse({"bench"});
    EXPECT_EQ(demands.status(), 0);
}

TEST(BenchModel, AFigureThatWasNotMeasuredIsMissed) {
    const Said said = run("", "--demand --benchmark_filter=BM_decode_header");
    EXPECT_EQ(said.status, Demands::kMissed) << said.text;
    EXPECT_THAT(said.text, HasSubstr("missed: copy/vram (CPU): not measured"));
    EXPECT_EQ(run("", "--benchmark_filter=BM_decode_header").status, 0);
}

// It sleeps after each chunk: its CPU time is as good as ever.
TEST(BenchModel, AnEngineThatSleepsIsMissed) {
    const Said said = run(R"(VTTM_BENCH_FAULT_PLAN='{"faults": [{"kind": "bandwidth", "engine": )"
                          R"("copy", "mib_per_second": 1000}]}')",
                          "--demand --benchmark_filter=BM_engine_copy/place:0");
    EXPECT_EQ(said.status, Demands::kMissed) << said.text;
    const double wall = missed(said, "copy/vram (wall)");
    EXPECT_GT(wall, 0) << said.text;
    EXPECT_LT(wall, 0.45) << said.text;
}

TEST(BenchModel, AnEngineThatWorksTwiceIsMissed) {
    const Said said = run("VTTM_BENCH_TIMES=2", "--demand --benchmark_filter=BM_engine_copy/place:3");
    EXPECT_EQ(said.status, Demands::kMissed) << said.text;
    const double cpu = missed(said, "copy/2m (CPU)");
    EXPECT_GT(cpu, 0) << said.text;
    EXPECT_LT(cpu, 0.9) << said.text;
}

TEST(BenchModel, AWrongFaultPlanIsNoFigure) {
    const Said said = run("VTTM_BENCH_FAULT_PLAN=nonsense", "--demand --benchmark_filter=BM_engine_copy/place:3");
    EXPECT_NE(said.status, 0);
    EXPECT_THAT(said.text, Not(HasSubstr("demands are met")));
}

}  // namespace
}  // namespace vttm::bench
