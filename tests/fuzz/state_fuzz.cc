// SPDX-License-Identifier: Apache-2.0
// libFuzzer target of what loads a saved device; tests/fuzz/fuzz.sh builds it with clang.
// Without libFuzzer, fuzz_main.cc drives the same entry.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/state_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string wrong = vttm::fuzz::run_state_input(data, size);
    if (!wrong.empty()) {
        std::fprintf(stderr, "state fuzz: %s\n", wrong.c_str());
        std::abort();
    }
    return 0;
}
