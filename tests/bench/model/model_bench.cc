// SPDX-License-Identifier: Apache-2.0
// The model's benchmarks. With --demand it ends with 9 if an engine is slower than it must be.
#include "tests/bench/model/model_bench.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "tests/bench/demands.h"

namespace vttm::model::bench {

BenchMachine& machine() {
    static BenchMachine m(kBytes);
    static const bool planned = [] {
        const char* plan = std::getenv("VTTM_BENCH_FAULT_PLAN");
        if (plan) m.set_fault_plan(plan);
        return plan != nullptr;
    }();
    (void)planned;
    return m;
}

std::vector<Figure>& figures() {
    static std::vector<Figure> all;
    return all;
}

namespace {

// Of a large copy: 0.9 of memcpy. Of stamps: half of it. Not of scattered pages: there each page is
// a walk and a stream that the CPU's prefetcher meets anew, so the bound says little. By the wall half
// of it will do: that finds an engine that sleeps, and other work on the machine does not miss it.
vttm::bench::Demands demands() {
    std::vector<vttm::bench::Demands::Demand> out;
    for (const char* place : {"vram", "in-order", "2m"}) {
        for (const auto& [what, least] :
             {std::pair{"copy", 0.9}, {"stamp-write", 0.5}, {"stamp-verify", 0.5}}) {
            const std::string figure = std::string(what) + "/" + place;
            out.push_back({figure + " (CPU)", least});
            out.push_back({figure + " (wall)", least / 2});
        }
    }
    return vttm::bench::Demands(out);
}

void print_figures() {
    if (figures().empty()) return;
    std::printf("\nPaired with what is named: median [least, most] of the ratios by CPU time; by the "
                "wall, ratio of the best times\n");
    for (const Figure& f : figures()) {
        const auto rate = [](double s) { return static_cast<double>(kBytes) / s / 1e9; };
        std::printf("  %-24s %6.2f GB/s, %s %6.2f GB/s: %5.2f [%.2f, %.2f], wall %5.2f\n",
                    f.name.c_str(), rate(f.pairs.work_seconds()), f.bound.c_str(),
                    rate(f.pairs.bound_seconds()), f.pairs.ratio(), f.pairs.least(),
                    f.pairs.most(), f.pairs.wall());
    }
}

}  // namespace
}  // namespace vttm::model::bench

int main(int argc, char** argv) {
    auto demands = vttm::model::bench::demands();
    demands.parse(argc, argv);
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    benchmark::RunSpecifiedBenchmarks();
    vttm::model::bench::print_figures();
    for (const auto& f : vttm::model::bench::figures()) {
        demands.measured(f.name + " (CPU)", f.pairs.ratio());
        demands.measured(f.name + " (wall)", f.pairs.wall());
    }
    return demands.status();
}
