// SPDX-License-Identifier: Apache-2.0
// libFuzzer target of packet decoder and page-table walk; tests/fuzz/fuzz.sh builds it with clang.
// Without libFuzzer, fuzz_main.cc drives the same entry.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/walk_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static uint64_t inputs = 0;
    const std::string wrong = vttm::fuzz::run_walk_input(data, size, ++inputs % 64 == 0);
    if (!wrong.empty()) {
        std::fprintf(stderr, "walk fuzz: %s\n", wrong.c_str());
        std::abort();
    }
    return 0;
}
