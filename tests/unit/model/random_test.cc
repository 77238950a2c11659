// SPDX-License-Identifier: Apache-2.0
// Random guests against the model, reproducible by seed and bounded in time. The same entry serves
// the fuzzer (tests/fuzz).
#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <vector>

#include "tests/fuzz/model_input.h"

namespace vttm::model::test {
namespace {

std::vector<uint8_t> random_bytes(uint64_t seed) {
    std::mt19937_64 rng(seed);
    std::vector<uint8_t> bytes(1 + rng() % 4096);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng());
    return bytes;
}

TEST(RandomGuest, NeverBreaksTheModel) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    uint64_t seed = 1;
    for (; seed <= 1240 && std::chrono::steady_clock::now() < end; seed++) {
        const auto bytes = random_bytes(seed);
        ASSERT_EQ(fuzz::run_model_input(bytes.data(), bytes.size(), true), "") << "seed " << seed;
    }
    EXPECT_GT(seed, 1u) << "no input was tried";
    RecordProperty("inputs", static_cast<int>(seed - 1));
}

// What an input meets is what a new device would show it: else one input may hide, or cause, what
// another one finds.
TEST(RandomGuest, LeavesNothingBehind) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(3);
    uint64_t seed = 1;
    for (; seed <= 124 && std::chrono::steady_clock::now() < end; seed++) {
        const auto bytes = random_bytes(seed);
        ASSERT_EQ(fuzz::run_model_input_twice(bytes.data(), bytes.size()), "") << "seed " << seed;
    }
    EXPECT_GT(seed, 5u);
}

TEST(RandomGuest, DegenerateInputs) {
    EXPECT_EQ(fuzz::run_model_input(nullptr, 0, true), "");
    for (int fill : {0x00, 0xff, 0x55, 0x0c}) {
        std::vector<uint8_t> bytes(2000, static_cast<uint8_t>(fill));
        EXPECT_EQ(fuzz::run_model_input(bytes.data(), bytes.size(), true), "") << fill;
    }
}

}  // namespace
}  // namespace vttm::model::test
