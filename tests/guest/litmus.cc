// SPDX-License-Identifier: Apache-2.0
#include "tests/guest/litmus.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <new>
#include <string_view>

namespace vttm::litmus {
namespace {

// Linux's smp_mb() on x86-64.
inline void kernel_barrier() { asm volatile("lock addl $0,-4(%%rsp)" ::: "memory", "cc"); }
inline void no_barrier() { asm volatile("" ::: "memory"); }

template <typename Barrier>
void race(Page& page, Barrier barrier) {
    constexpr auto relaxed = std::memory_order_relaxed;
    for (std::uint64_t round = 1;; ++round) {
        std::uint64_t told;
        do told = page.round.load(std::memory_order_acquire);
        while (told < round);
        if (told == kEnd) return;
        page.guest_word.store(round, relaxed);
        barrier();
        page.guest_saw.store(page.host_word.load(relaxed), relaxed);
        page.finished.store(round, std::memory_order_release);
    }
}

}  // namespace

int run_guest(const char* argument) {
    const std::string_view mode = argument;
    if (mode != "fenced" && mode != "plain") {
        std::fprintf(stderr, "litmus: '%s' is neither fenced nor plain\n", argument);
        return 2;
    }
    void* memory = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
    if (memory == MAP_FAILED) {
        std::perror("litmus: mmap");
        return 1;
    }
    Page& page = *new (memory) Page{};
    // The name last, and in two parts: nowhere else in RAM is the whole of it.
    std::memcpy(page.magic + 5, kMagic + 5, sizeof(kMagic) - 5);
    std::memcpy(page.magic, kMagic, 5);
    mode == "fenced" ? race(page, kernel_barrier) : race(page, no_barrier);
    std::memset(page.magic, 0, sizeof(page.magic));
    ::munmap(memory, 4096);
    return 0;
}

}  // namespace vttm::litmus
