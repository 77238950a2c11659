// SPDX-License-Identifier: Apache-2.0
// How near the engines come to memory bandwidth: each run of an engine beside a run of memcpy (or
// memset) of as many bytes, in turns, from and to the same memory. Compared is CPU time of the whole
// process (the waiting side sleeps), so that a busy machine distorts it little.
#include <benchmark/benchmark.h>

#include <cstring>
#include <string>

#include "tests/bench/model/model_bench.h"

namespace vttm::model::bench {
namespace {

constexpr int kPairs = 41;

const char* name(Placement p) {
    switch (p) {
        case Placement::vram: return "vram";
        case Placement::ram_in_order: return "in-order";
        case Placement::ram_scattered: return "scattered";
        case Placement::ram_2m: return "2m";
    }
    return "?";
}

Placement place(const benchmark::State& state) { return static_cast<Placement>(state.range(0)); }

uint8_t* page(Placement p, uint64_t i) {
    BenchMachine& m = machine();
    if (p == Placement::ram_scattered) i = BenchMachine::scattered(i, kPages);
    return (p == Placement::vram ? m.vram() : m.ram()) + i * VTTM_PAGE_SIZE;
}

// Where pages lie scattered the bound is taken page by page: with the CPU, no table in between.
void copy_by_cpu(Placement p) {
    const uint8_t* from = machine().vram() + kBytes;
    if (p != Placement::ram_scattered) {
        std::memcpy(page(p, 0), from, kBytes);
    } else {
        for (uint64_t i = 0; i < kPages; i++)
            std::memcpy(page(p, i), from + i * VTTM_PAGE_SIZE, VTTM_PAGE_SIZE);
    }
    benchmark::ClobberMemory();
}

void fill_by_cpu(Placement p) {
    if (p != Placement::ram_scattered) {
        std::memset(page(p, 0), 0x5a, kBytes);
    } else {
        for (uint64_t i = 0; i < kPages; i++) std::memset(page(p, i), 0x5a, VTTM_PAGE_SIZE);
    }
    benchmark::ClobberMemory();
}

template <typename Work, typename Bound>
void run_pairs(benchmark::State& state, const std::string& what, const char* bound_name,
               Work&& work, Bound&& bound) {
    Figure figure{what + "/" + name(place(state)), bound_name, {}};
    work();
    bound();
    for (auto _ : state) state.SetIterationTime(figure.pairs.run(work, bound).cpu);
    state.SetBytesProcessed(static_cast<int64_t>(state.iterations() * kBytes));
    state.counters["ratio"] = figure.pairs.ratio();
    state.counters["least"] = figure.pairs.least();
    state.counters["most"] = figure.pairs.most();
    state.counters["wall"] = figure.pairs.wall();
    figures().push_back(std::move(figure));
}

// One packet over all pages, through the VM.
template <typename Packet, typename Bound>
void run_engine(benchmark::State& state, const std::string& what, const char* bound_name,
                unsigned engine, const Packet& packet, Bound&& bound) {
    BenchMachine& m = machine();
    m.map_pages(place(state));
    run_pairs(
        state, what, bound_name,
        [&] {
            if (m.run(engine, packet)) state.SkipWithError("the packet failed");
        },
        bound);
}

void BM_engine_copy(benchmark::State& state) {
    run_engine(state, "copy", "memcpy", VTTM_ENGINE_COPY, BenchMachine::copy(kBytes),
               [&] { copy_by_cpu(place(state)); });
}

void BM_engine_fill(benchmark::State& state) {
    run_engine(state, "fill", "memset", VTTM_ENGINE_COPY, BenchMachine::fill(kBytes),
               [&] { fill_by_cpu(place(state)); });
}

void BM_engine_stamp_write(benchmark::State& state) {
    run_engine(state, "stamp-write", "memcpy", VTTM_ENGINE_STAMP,
               BenchMachine::stamp(false, kPages), [&] { copy_by_cpu(place(state)); });
}

// The second half of VRAM is stamped as well, so that the bound's memcpy leaves all pages good.
void stamp_source() {
    vttm_stamp_id id{1, 0, 1, 1};
    for (; id.page < kPages; id.page++)
        vttm_stamp_fill(machine().vram() + kBytes + id.page * VTTM_PAGE_SIZE, &id);
}

void BM_engine_stamp_verify(benchmark::State& state) {
    stamp_source();
    run_engine(state, "stamp-verify", "memcpy", VTTM_ENGINE_STAMP,
               BenchMachine::stamp(true, kPages), [&] { copy_by_cpu(place(state)); });
    machine().run(VTTM_ENGINE_STAMP, BenchMachine::stamp(true, kPages));
    if (machine().result().good != kPages) state.SkipWithError("bad pages");
}

// The header's functions on one core, as the compiler makes them of it here: no engine, no tables.
void BM_stamp_fill(benchmark::State& state) {
    const Placement p = place(state);
    run_pairs(
        state, "header-fill", "memcpy",
        [&] {
            vttm_stamp_id id{1, 0, 1, 1};
            for (; id.page < kPages; id.page++) vttm_stamp_fill(page(p, id.page), &id);
            benchmark::ClobberMemory();
        },
        [&] { copy_by_cpu(p); });
}

void BM_stamp_check(benchmark::State& state) {
    const Placement p = place(state);
    stamp_source();
    copy_by_cpu(p);
    run_pairs(
        state, "header-check", "memcpy",
        [&] {
            uint64_t good = 0;
            vttm_stamp_id id{1, 0, 1, 1};
            for (; id.page < kPages; id.page++) good += vttm_stamp_check(page(p, id.page), &id);
            if (good != kPages) state.SkipWithError("bad pages");
        },
        [&] { copy_by_cpu(p); });
}

void timing(benchmark::internal::Benchmark* b) {
    b->ArgName("place")->UseManualTime()->Iterations(kPairs)->Unit(benchmark::kMillisecond);
}
void all_places(benchmark::internal::Benchmark* b) {
    timing(b);
    b->DenseRange(0, 3);
}
void two_places(benchmark::internal::Benchmark* b) {
    timing(b);
    b->Arg(static_cast<int64_t>(Placement::vram));
    b->Arg(static_cast<int64_t>(Placement::ram_scattered));
}

BENCHMARK(BM_engine_copy)->Apply(all_places);
BENCHMARK(BM_engine_stamp_write)->Apply(all_places);
BENCHMARK(BM_engine_stamp_verify)->Apply(all_places);
BENCHMARK(BM_engine_fill)->Apply(all_places);
BENCHMARK(BM_stamp_fill)->Apply(two_places);
BENCHMARK(BM_stamp_check)->Apply(two_places);

}  // namespace
}  // namespace vttm::model::bench
