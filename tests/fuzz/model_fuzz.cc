// SPDX-License-Identifier: Apache-2.0
// libFuzzer target of the model. With clang: -fsanitize=fuzzer,address,undefined on this file,
// model_input.cc and the model. Without it, fuzz_main.cc drives the same entry.
#include <cstdio>
#include <cstdlib>

#include "tests/fuzz/model_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    static uint64_t inputs = 0;
    const std::string wrong = vttm::fuzz::run_model_input(data, size, ++inputs % 64 == 0);
    if (!wrong.empty()) {
        std::fprintf(stderr, "model fuzz: %s\n", wrong.c_str());
        std::abort();
    }
    return 0;
}
