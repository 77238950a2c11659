// SPDX-License-Identifier: Apache-2.0
// How fast the host looks, against memcpy of the same bytes on as many threads.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>
#include <span>
#include <thread>
#include <vector>

#include "host-backend/oracle/ram_witness.h"

namespace {

using namespace vttm::oracle;

constexpr std::uint64_t kBytes = 512ull << 20;
constexpr std::uint64_t kKey = 0xfeedfacecafebeefull;

// RAM as a guest has it: every page touched; the share @stamped of them ours, the rest noise.
class Ram {
public:
    Ram() {
        void* p = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (p == MAP_FAILED) throw std::bad_alloc();
        bytes_ = {static_cast<std::byte*>(p), kBytes};
    }
    ~Ram() { ::munmap(bytes_.data(), bytes_.size()); }
    Ram(const Ram&) = delete;
    Ram& operator=(const Ram&) = delete;

    void stamp(std::uint64_t percent) {
        std::uint64_t seed = 1;
        for (std::uint64_t page = 0; page < kBytes / kPageSize; page++) {
            std::byte* at = bytes_.data() + page * kPageSize;
            if (page % 100 < percent) {
                const vttm_stamp_id id{.key = kKey, .page = page, .buffer = 1, .generation = 1};
                vttm_stamp_fill(at, &id);
                continue;
            }
            for (std::size_t i = 0; i < kPageSize; i += 64) {
                seed = vttm_mix64(seed + i);
                std::memcpy(at + i, &seed, sizeof(seed));
            }
        }
    }
    std::span<std::byte> bytes() const { return bytes_; }

private:
    std::span<std::byte> bytes_;
};

Ram& ram() {
    static Ram the_ram;
    return the_ram;
}

unsigned threads() { return std::max(1u, std::thread::hardware_concurrency()); }

void memcpy_all(benchmark::State& state) {
    ram().stamp(0);
    static Ram copy;
    for (auto _ : state) {
        const std::size_t part = kBytes / threads();
        std::vector<std::jthread> pool;
        for (unsigned t = 0; t < threads(); t++) {
            pool.emplace_back([part, t] {
                std::memcpy(copy.bytes().data() + t * part, ram().bytes().data() + t * part, part);
            });
        }
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kBytes));
}
BENCHMARK(memcpy_all)->UseRealTime()->Unit(benchmark::kMillisecond);

// The argument: percent of the pages that carry our stamps and are checked whole.
void scan_ram(benchmark::State& state) {
    ram().stamp(static_cast<std::uint64_t>(state.range(0)));
    Ledger ledger(kKey);
    ledger.add({.id = 1, .pages = kBytes / kPageSize});
    ledger.filled(1, 1);
    const RamWitness witness(ledger, {.bytes = ram().bytes(), .below_4g = kBytes, .fd = -1});
    std::uint64_t live = 0;
    for (auto _ : state) live = witness.scan().live_pages();
    state.counters["live_pages"] = static_cast<double>(live);
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kBytes));
}
BENCHMARK(scan_ram)->Arg(0)->Arg(10)->Arg(50)->Arg(100)->UseRealTime()->Unit(
    benchmark::kMillisecond);

// All pages claimed resident, each checked at its address.
void check_claims(benchmark::State& state) {
    ram().stamp(100);
    Ledger ledger(kKey);
    ledger.add({.id = 1, .pages = kBytes / kPageSize});
    ledger.filled(1, 1);
    Placement claim;
    claim.add_buffer(1, kBytes / kPageSize,
                     {{1, kBytes / kPageSize - 1, {PlaceKind::kShmem, kPageSize, -1}}});
    const RamWitness witness(ledger, {.bytes = ram().bytes(), .below_4g = kBytes, .fd = -1});
    for (auto _ : state) {
        if (!witness.check(claim).bad.empty()) state.SkipWithError("bad pages");
    }
    state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kBytes));
}
BENCHMARK(check_claims)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace

BENCHMARK_MAIN();
