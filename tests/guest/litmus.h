// SPDX-License-Identifier: Apache-2.0
// The page over which a guest and its host race: each writes a word of its own, then reads the
// other's. If both read the old value, somebody's write overtook his read: no barrier was between.
#pragma once

#include <atomic>
#include <cstdint>

namespace vttm::litmus {

// The first bytes of the page, by which the host finds it in guest RAM.
inline constexpr char kMagic[] = "vttm-litmus-page";
// A value of `round` that ends the guest's part.
inline constexpr std::uint64_t kEnd = ~std::uint64_t{0};

// A cache line apart, so that each word moves by itself. All are numbers of rounds, from 1 on.
struct Page {
    char magic[64];
    alignas(64) std::atomic<std::uint64_t> round;       // host: this round may begin
    alignas(64) std::atomic<std::uint64_t> guest_word;  // what the guest writes
    alignas(64) std::atomic<std::uint64_t> host_word;   // what the host writes
    alignas(64) std::atomic<std::uint64_t> guest_saw;   // the host's word, as the guest read it
    alignas(64) std::atomic<std::uint64_t> finished;    // guest: this round is over
};
static_assert(sizeof(Page) <= 4096 && std::atomic<std::uint64_t>::is_always_lock_free);

// The guest's part; returns the program's exit status. `argument` is "fenced" or "plain".
int run_guest(const char* argument);

}  // namespace vttm::litmus
