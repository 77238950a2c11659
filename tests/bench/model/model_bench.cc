// SPDX-License-Identifier: Apache-2.0
// How near the engines come to memory bandwidth. Everything runs in one process, one after the
// other, over the same memory; at the end each figure is given relative to memcpy of this very run.
// Rates are per CPU second of the process (the waiting side sleeps), so that a busy machine
// distorts them little.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "host-backend/model/tlb.h"
#include "tests/bench/model/bench_machine.h"

namespace vttm::model::bench {
namespace {

constexpr uint64_t kBytes = 64ull << 20;  // well beyond the caches
constexpr uint32_t kPages = kBytes / VTTM_PAGE_SIZE;

BenchMachine& machine() {
    static BenchMachine m(kBytes);
    return m;
}

void BM_memcpy(benchmark::State& state) {
    BenchMachine& m = machine();
    for (auto _ : state) {
        std::memcpy(m.vram(), m.ram(), kBytes);
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBytes));
}

// The bounds where pages lie scattered: page by page with the CPU, no table in between.
uint8_t* scattered_page(uint64_t i) {
    return machine().ram() + BenchMachine::scattered(i, kPages) * VTTM_PAGE_SIZE;
}

void BM_memcpy_scattered(benchmark::State& state) {
    const uint8_t* from = machine().vram();
    for (auto _ : state) {
        for (uint64_t i = 0; i < kPages; i++)
            std::memcpy(scattered_page(i), from + i * VTTM_PAGE_SIZE, VTTM_PAGE_SIZE);
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBytes));
}

void BM_memset(benchmark::State& state) {
    BenchMachine& m = machine();
    for (auto _ : state) {
        std::memset(m.vram(), 0x5a, kBytes);
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBytes));
}

// The header's functions on one core: the bound for the engine.
void BM_stamp_fill(benchmark::State& state) {
    BenchMachine& m = machine();
    for (auto _ : state) {
        vttm_stamp_id id{1, 0, 1, 1};
        for (; id.page < kPages; id.page++) vttm_stamp_fill(m.vram() + id.page * 4096, &id);
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBytes));
}

void BM_stamp_check(benchmark::State& state) {
    const bool scattered = state.range(0);
    const auto page = [&](uint64_t i) {
        return scattered ? scattered_page(i) : machine().vram() + i * VTTM_PAGE_SIZE;
    };
    vttm_stamp_id id{1, 0, 1, 1};
    for (; id.page < kPages; id.page++) vttm_stamp_fill(page(id.page), &id);
    for (auto _ : state) {
        uint64_t good = 0;
        for (id.page = 0; id.page < kPages; id.page++)
            good += vttm_stamp_check(page(id.page), &id);
        if (good != kPages) state.SkipWithError("bad pages");
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBytes));
}

// One packet over all pages, through the VM; range(0) chooses how the pages lie.
template <typename Packet>
void run_engine(benchmark::State& state, unsigned engine, Packet packet) {
    BenchMachine& m = machine();
    m.map_pages(static_cast<Placement>(state.range(0)));
    for (auto _ : state) {
        const uint32_t status = m.run(engine, packet);
        if (status) state.SkipWithError("the packet failed");
    }
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBytes));
}

void BM_engine_stamp_write(benchmark::State& state) {
    run_engine(state, VTTM_ENGINE_STAMP, BenchMachine::stamp(false, kPages));
}

void BM_engine_stamp_verify(benchmark::State& state) {
    BenchMachine& m = machine();
    m.map_pages(static_cast<Placement>(state.range(0)));
    m.run(VTTM_ENGINE_STAMP, BenchMachine::stamp(false, kPages));
    run_engine(state, VTTM_ENGINE_STAMP, BenchMachine::stamp(true, kPages));
    if (m.result().good != kPages) state.SkipWithError("bad pages");
}

void BM_engine_copy(benchmark::State& state) {
    run_engine(state, VTTM_ENGINE_COPY, BenchMachine::copy(kBytes));
}

void BM_engine_fill(benchmark::State& state) {
    run_engine(state, VTTM_ENGINE_COPY, BenchMachine::fill(kBytes));
}

// Doorbell to fence of an empty job: what a submit costs at least.
void BM_fence_round_trip(benchmark::State& state) {
    BenchMachine& m = machine();
    for (auto _ : state) m.run(VTTM_ENGINE_COPY, BenchMachine::nop());
}

// Fetching and decoding a packet in the ring; items are packets.
void BM_decode(benchmark::State& state) {
    struct {
        uint32_t words[1000];
    } nops;
    std::fill(std::begin(nops.words), std::end(nops.words), BenchMachine::nop());
    for (auto _ : state) machine().run(VTTM_ENGINE_COPY, nops);
    state.SetItemsProcessed(state.iterations() * std::size(nops.words));
}

// ... in an indirect buffer in system memory (0) or through the VM's page tables (1).
void BM_decode_indirect(benchmark::State& state) {
    constexpr uint32_t kPackets = 100000;
    BenchMachine& m = machine();
    m.map_pages(Placement::ram_in_order);
    const bool vm = state.range(0);
    auto* words = reinterpret_cast<uint32_t*>(vm ? m.ram() : m.scratch());
    std::fill_n(words, kPackets, BenchMachine::nop());
    const uint64_t addr = vm ? BenchMachine::kVa : m.scratch_addr();
    const uint32_t space = vm ? VTTM_SPACE_VM : VTTM_SPACE_SYSTEM;
    const vttm_pkt_indirect packet{VTTM_PKT_HDR(VTTM_OP_INDIRECT, VTTM_PKT_DST(space), 4),
                                   static_cast<uint32_t>(addr), static_cast<uint32_t>(addr >> 32),
                                   kPackets};
    for (auto _ : state)
        if (m.run(VTTM_ENGINE_COPY, packet)) state.SkipWithError("the buffer failed");
    state.SetItemsProcessed(state.iterations() * kPackets);
}

// Two engines wait for each other in turns; items are hand-overs from one to the other and back.
void BM_semaphore_round_trip(benchmark::State& state) {
    constexpr unsigned kRounds = 80;
    struct Round {
        vttm_pkt_sem_signal signal;
        vttm_pkt_sem_wait wait;
    };
    struct {
        Round rounds[kRounds];
    } ping, pong;
    static uint64_t value = 0;
    BenchMachine& m = machine();
    std::memset(m.scratch(), 0, 16);
    value = 0;
    const auto lo = [](uint64_t v) { return static_cast<uint32_t>(v); };
    const auto hi = [](uint64_t v) { return static_cast<uint32_t>(v >> 32); };
    const auto signal = [&](uint64_t addr, uint64_t v) -> vttm_pkt_sem_signal {
        return {VTTM_PKT_HDR(VTTM_OP_SEM_SIGNAL, VTTM_PKT_DST(VTTM_SPACE_SYSTEM), 5), lo(addr),
                hi(addr), lo(v), hi(v)};
    };
    const auto wait = [&](uint64_t addr, uint64_t v) -> vttm_pkt_sem_wait {
        return {VTTM_PKT_HDR(VTTM_OP_SEM_WAIT, VTTM_PKT_DST(VTTM_SPACE_SYSTEM), 6), lo(addr),
                hi(addr), lo(v), hi(v), VTTM_CMP_GE};
    };
    const uint64_t a = m.scratch_addr(), b = a + 8;
    for (auto _ : state) {
        for (unsigned i = 0; i < kRounds; i++) {
            value++;
            ping.rounds[i] = {signal(a, value), wait(b, value)};
            pong.rounds[i] = {signal(b, value - 1), wait(a, value)};
        }
        m.submit(VTTM_ENGINE_STAMP, pong);
        m.submit(VTTM_ENGINE_STAMP, signal(b, value));
        m.run(VTTM_ENGINE_COPY, ping);
    }
    state.SetItemsProcessed(state.iterations() * kRounds);
}

// What an access costs on top of the walk that checks it: range(0) is how many sizes of leaves the
// TLB holds (the smallest first, so the hit is in the last).
void BM_tlb_hit(benchmark::State& state) {
    constexpr unsigned kShifts[] = {0, 4, 9};
    Tlb tlb(1 << 20, {0, 4, 9});
    const unsigned last = static_cast<unsigned>(state.range(0)) - 1;
    for (unsigned size = 0; size < last; size++) tlb.insert(2, 0, size, 1);
    for (uint64_t i = 0; i < 4096; i++) tlb.insert(1, i << kShifts[last], last, i << 12 | 1);
    uint64_t vpn = 0, sum = 0;
    for (auto _ : state) {
        sum += tlb.lookup(1, vpn << kShifts[last]).pte;
        vpn = (vpn + 1) % 4096;
    }
    benchmark::DoNotOptimize(sum);
}

void placements(benchmark::internal::Benchmark* b) {
    b->ArgName("place");
    for (Placement p : {Placement::vram, Placement::ram_in_order, Placement::ram_scattered,
                        Placement::ram_2m})
        b->Arg(static_cast<int64_t>(p));
    b->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
}

BENCHMARK(BM_memcpy)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_memcpy_scattered)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_memset)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_stamp_fill)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);
BENCHMARK(BM_stamp_check)
    ->ArgName("scattered")
    ->Arg(0)
    ->Arg(1)
    ->MeasureProcessCPUTime()
    ->Unit(benchmark::kMillisecond);
BENCHMARK(BM_engine_stamp_write)->Apply(placements);
BENCHMARK(BM_engine_stamp_verify)->Apply(placements);
BENCHMARK(BM_engine_copy)->Apply(placements);
BENCHMARK(BM_engine_fill)->Apply(placements);
BENCHMARK(BM_tlb_hit)->ArgName("sizes")->DenseRange(1, 3);
BENCHMARK(BM_fence_round_trip)->UseRealTime();
BENCHMARK(BM_decode)->MeasureProcessCPUTime();
BENCHMARK(BM_decode_indirect)->ArgName("vm")->Arg(0)->Arg(1)->MeasureProcessCPUTime();
BENCHMARK(BM_semaphore_round_trip)->UseRealTime();

// Keeps the rates, to relate them to memcpy at the end.
class Reporter : public benchmark::ConsoleReporter {
public:
    void ReportRuns(const std::vector<Run>& runs) override {
        ConsoleReporter::ReportRuns(runs);
        for (const Run& run : runs) {
            const auto it = run.counters.find("bytes_per_second");
            if (it != run.counters.end() && !run.error_occurred)
                rates_.emplace_back(run.benchmark_name(), it->second.value);
        }
    }
    void print_ratios() const {
        double base = 0;
        for (const auto& [name, rate] : rates_)
            if (name.rfind("BM_memcpy/", 0) == 0) base = rate;
        if (base <= 0) return;
        std::printf("\nRelative to memcpy in this run (%.2f GB/s):\n", base / 1e9);
        for (const auto& [name, rate] : rates_)
            std::printf("  %-44s %6.2f GB/s  %5.2f\n", name.c_str(), rate / 1e9, rate / base);
        std::printf("place: 0 VRAM, 1 system pages in order, 2 system pages scattered, "
                    "3 leaves of 2 MiB\n");
    }

private:
    std::vector<std::pair<std::string, double>> rates_;
};

}  // namespace
}  // namespace vttm::model::bench

int main(int argc, char** argv) {
    benchmark::Initialize(&argc, argv);
    if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
    vttm::model::bench::Reporter reporter;
    benchmark::RunSpecifiedBenchmarks(&reporter);
    reporter.print_ratios();
    return 0;
}
