// SPDX-License-Identifier: Apache-2.0
// Faults for the sanitizers to find (tests/sanitize.sh): in code of its own, and in the model's where
// a guest's memory is not what it should be. Without a report it ends with 0.
#if __has_include(<sanitizer/asan_interface.h>)
#include <sanitizer/asan_interface.h>
#endif

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/bench/model/bench_machine.h"

namespace {

using vttm::model::bench::BenchMachine;
using vttm::model::bench::Placement;

constexpr uint64_t kBytes = 2ull << 20;

// The compiler must neither see the fault nor leave it out.
template <typename T>
T hidden(T value) {
    volatile T v = value;
    return v;
}

void race() {
    int shared = 0;
    const auto add = [&] {
        for (int i = 0; i < 1000; i++) shared = hidden(shared) + 1;
    };
    std::thread one(add), two(add);
    one.join();
    two.join();
}

// One thread after the other: nothing hangs, but it could.
void lock_order() {
    std::mutex a, b;
    std::thread([&] { std::scoped_lock first(a); std::scoped_lock second(b); }).join();
    std::thread([&] { std::scoped_lock first(b); std::scoped_lock second(a); }).join();
}

void overflow() {
    const auto bytes = std::make_unique<char[]>(hidden(16));
    bytes[hidden(16)] = 1;
}

void use_after_free() {
    char* bytes = new char[hidden(16)];
    delete[] bytes;
    bytes[hidden(3)] = 1;
}

void leak() {
    char* volatile bytes = new char[hidden(16)];
    bytes[0] = 1;
    bytes = nullptr;
}

void shift() { std::printf("%d\n", 1 << hidden(40)); }

// The copy engine writes what this thread reads, and no fence is between them: it is looked at until
// it has changed, so that neither side can be over before the other begins.
void model_race() {
    BenchMachine m(kBytes);
    m.map_pages(Placement::ram_in_order);
    m.submit(VTTM_ENGINE_COPY, BenchMachine::fill(kBytes));
    const volatile uint8_t* last = m.ram() + kBytes - 1;
    for (int i = 0; i < 10000 && *last != 0x5a; i++)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    m.run(VTTM_ENGINE_COPY, BenchMachine::nop());
}

// A line in the middle of the guest's memory is none: the copy engine's fill runs over it.
void model_poison() {
    BenchMachine m(kBytes);
    m.map_pages(Placement::ram_in_order);
#ifdef ASAN_POISON_MEMORY_REGION
    ASAN_POISON_MEMORY_REGION(m.ram() + kBytes / 2, 64);
#endif
    m.run(VTTM_ENGINE_COPY, BenchMachine::fill(kBytes));
}

// All that the model's plants do, but the fault.
void none() {
    BenchMachine m(kBytes);
    m.map_pages(Placement::ram_in_order);
    if (m.run(VTTM_ENGINE_COPY, BenchMachine::fill(kBytes)))
        throw std::runtime_error("the fill failed");
}

}  // namespace

int main(int argc, char** argv) {
    static constexpr struct {
        const char* name;
        void (*plant)();
    } kPlants[] = {{"none", none},
                   {"race", race},
                   {"lock-order", lock_order},
                   {"overflow", overflow},
                   {"use-after-free", use_after_free},
                   {"leak", leak},
                   {"shift", shift},
                   {"model-race", model_race},
                   {"model-poison", model_poison}};
    for (const auto& p : kPlants)
        if (argc == 2 && std::string(argv[1]) == p.name) return p.plant(), 0;
    std::fprintf(stderr, "usage: sanitize-plant PLANT\n");
    return 2;
}
