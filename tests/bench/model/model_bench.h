// SPDX-License-Identifier: Apache-2.0
// What the sources of bench-model share: one machine, and the figures that end up in its table.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/bench/model/bench_machine.h"
#include "tests/bench/paired.h"

namespace vttm::model::bench {

constexpr uint64_t kBytes = 64ull << 20;  // well beyond the caches
constexpr uint32_t kPages = kBytes / VTTM_PAGE_SIZE;

// Made at the first call; $VTTM_BENCH_FAULT_PLAN is its fault plan (docs/faults.md), so that a test
// can have it miss what is demanded.
BenchMachine& machine();

// Names as "copy/vram", in the order in which they were measured.
struct Figure {
    std::string name;
    std::string bound;
    vttm::bench::Pairs pairs;
};
std::vector<Figure>& figures();

}  // namespace vttm::model::bench
