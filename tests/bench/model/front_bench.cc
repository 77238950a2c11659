// SPDX-License-Identifier: Apache-2.0
// What it costs to come to an access: packets fetched and decoded, addresses translated, fences and
// semaphores.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "host-backend/model/mmu.h"
#include "host-backend/model/packet.h"
#include "tests/bench/model/model_bench.h"

namespace vttm::model::bench {
namespace {

// Time of one of @n things that each iteration does; "123n" is 123 ns.
benchmark::Counter each(double n) {
    return {n, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert};
}

// Doorbell to fence of an empty job: what a submit costs at least.
void BM_fence_round_trip(benchmark::State& state) {
    BenchMachine& m = machine();
    for (auto _ : state) m.run(VTTM_ENGINE_COPY, BenchMachine::nop());
}

// The decoder by itself: what is asked of the header of each packet.
void BM_decode_header(benchmark::State& state) {
    const uint32_t headers[] = {
        VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1),
        VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2),
        VTTM_PKT_HDR(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ, 5),
        VTTM_PKT_HDR(VTTM_OP_SEM_WAIT, VTTM_PKT_DST(VTTM_SPACE_SYSTEM), 6),
        VTTM_PKT_HDR(VTTM_OP_INDIRECT, VTTM_PKT_DST(VTTM_SPACE_VM), 4),
        VTTM_PKT_HDR(VTTM_OP_COPY, VTTM_PKT_SRC(VTTM_SPACE_VRAM), 7),
        VTTM_PKT_HDR(VTTM_OP_FILL, 0, 6),
        VTTM_PKT_HDR(VTTM_OP_STAMP_WRITE, 0, 12),  // not for this engine
    };
    for (auto _ : state) {
        uint32_t good = 0;
        for (uint32_t header : headers) {
            benchmark::DoNotOptimize(header);
            good += framing_ok(VTTM_CLASS_COPY, header) && flags_ok(header);
        }
        benchmark::DoNotOptimize(good);
        if (good != std::size(headers) - 1) state.SkipWithError("not what the decoder must say");
    }
    state.counters["ns_per_packet"] = each(std::size(headers));
}

// A NOP in the ring, from its fetch to its end; a fence for every thousand is in it.
void BM_decode(benchmark::State& state) {
    struct {
        uint32_t words[1000];
    } nops;
    std::fill(std::begin(nops.words), std::end(nops.words), BenchMachine::nop());
    for (auto _ : state) machine().run(VTTM_ENGINE_COPY, nops);
    state.counters["ns_per_packet"] = each(std::size(nops.words));
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
    state.counters["ns_per_packet"] = each(kPackets);
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

// The TLB by itself: range(0) is how many sizes of leaves it holds (the smallest first, so the hit
// is in the last).
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

// The whole of a translation that hits: besides the look-up the walk from the root that tells
// whether the hit is stale. Leaves of 4 KiB (1: in order, 2: scattered) or 2 MiB (3).
void BM_translate_hit(benchmark::State& state) {
    BenchMachine& m = machine();
    const auto placement = static_cast<Placement>(state.range(0));
    m.map_pages(placement);
    const Bus bus(BenchMachine::ops(), &m, m.vram(), 2 * kBytes);
    VmRoots roots;
    roots.set(0, m.root());
    Walker walker(bus, roots);
    Mmu mmu(bus, 1 << 20);
    uint64_t page = 0;
    const auto translate = [&] {
        const uint64_t va = BenchMachine::kVa + page * VTTM_PAGE_SIZE;
        page = (page + 1) % kPages;
        return mmu.translate(walker, 0, va, true);
    };
    for (uint32_t i = 0; i < kPages; i++) translate();
    const uint64_t misses = mmu.counters().misses;
    bool good = true;
    for (auto _ : state) {
        const Translation t = translate();
        good &= t.reason == VTTM_FAULT_NONE && !t.stale;
    }
    walker.release();
    if (!good) state.SkipWithError("a translation is wrong");
    if (mmu.counters().misses != misses) state.SkipWithError("not all of them hit");
}

BENCHMARK(BM_tlb_hit)->ArgName("sizes")->DenseRange(1, 3);
BENCHMARK(BM_translate_hit)->ArgName("place")->DenseRange(1, 3);
BENCHMARK(BM_decode_header);
BENCHMARK(BM_decode)->MeasureProcessCPUTime();
BENCHMARK(BM_decode_indirect)->ArgName("vm")->Arg(0)->Arg(1)->MeasureProcessCPUTime();
BENCHMARK(BM_fence_round_trip)->UseRealTime();
BENCHMARK(BM_semaphore_round_trip)->UseRealTime();

}  // namespace
}  // namespace vttm::model::bench
