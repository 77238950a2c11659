// SPDX-License-Identifier: Apache-2.0
// What a write to TLB_INV_CMD costs who writes it (in QEMU: the main loop or a vCPU, under the big
// lock) while both engines are at rest and both TLBs are full. Each VM holds 64 MiB of leaves of
// 4 KiB; one entry at least is dropped by each command, and the full TLB stays as full as it was.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "tests/bench/model/bench_machine.h"

namespace vttm::model::bench {
namespace {

constexpr uint64_t kBytes = 64ull << 20;
constexpr uint32_t kPages = kBytes / VTTM_PAGE_SIZE;
constexpr uint32_t kVms = (1u << 20) / kPages;

void must(uint32_t status) {
    if (status) throw std::runtime_error("a packet failed: " + std::to_string(status));
}

// Every page of every VM through both engines: 2^20 leaves in each TLB.
void fill_tlbs(BenchMachine& m) {
    for (uint32_t vm = 0; vm < kVms; vm++) {
        m.share_root(vm);
        for (unsigned e : {VTTM_ENGINE_COPY, VTTM_ENGINE_STAMP}) m.set_vm(e, vm);
        must(m.run(VTTM_ENGINE_COPY, BenchMachine::fill(kBytes)));
        must(m.run(VTTM_ENGINE_STAMP, BenchMachine::stamp(false, kPages)));
    }
}

BenchMachine& machine() {
    static BenchMachine m(kBytes);
    static const bool full = [] {
        m.map_pages(Placement::ram_in_order);
        fill_tlbs(m);
        return true;
    }();
    (void)full;
    return m;
}

// Puts back what a command has dropped: @pages from the start of @vm's range.
void refill(BenchMachine& m, uint32_t vm, uint32_t pages) {
    for (unsigned e : {VTTM_ENGINE_COPY, VTTM_ENGINE_STAMP}) m.set_vm(e, vm);
    must(m.run(VTTM_ENGINE_COPY, BenchMachine::fill(uint64_t{pages} * VTTM_PAGE_SIZE)));
    must(m.run(VTTM_ENGINE_STAMP, BenchMachine::stamp(false, pages)));
}

// range(0): scope; range(1): pages of a range.
void BM_invalidate(benchmark::State& state) {
    BenchMachine& m = machine();
    const uint32_t scope = static_cast<uint32_t>(state.range(0));
    const uint32_t pages = static_cast<uint32_t>(state.range(1));
    const uint32_t dropped = scope == VTTM_TLB_INV_RANGE ? std::min(pages, kPages) : kPages;
    double worst = 0;
    uint32_t vm = 0;
    for (auto _ : state) {
        const double seconds = m.invalidate(scope, vm, BenchMachine::kVa, pages);
        state.SetIterationTime(seconds);
        worst = std::max(worst, seconds);
        if (scope == VTTM_TLB_INV_ALL)
            fill_tlbs(m);
        else
            refill(m, vm, dropped);
        vm = (vm + 1) % kVms;
    }
    state.counters["worst_us"] = worst * 1e6;
}

BENCHMARK(BM_invalidate)
    ->ArgNames({"scope", "pages"})
    ->Args({VTTM_TLB_INV_RANGE, 1})
    ->Args({VTTM_TLB_INV_RANGE, 512})
    ->Args({VTTM_TLB_INV_RANGE, 4096})
    ->Args({VTTM_TLB_INV_RANGE, 0x7fffffff})
    ->Args({VTTM_TLB_INV_VM, 0})
    ->UseManualTime()
    ->Iterations(20)
    ->Unit(benchmark::kMicrosecond);
BENCHMARK(BM_invalidate)
    ->ArgNames({"scope", "pages"})
    ->Args({VTTM_TLB_INV_ALL, 0})
    ->UseManualTime()
    ->Iterations(2)
    ->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace vttm::model::bench

BENCHMARK_MAIN();
