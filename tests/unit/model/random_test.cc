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

#if defined(__SANITIZE_THREAD__)
// Two engines that a random guest lets write into the same memory race in the guest's bytes, as in
// hardware. What is the model's own is covered by Lifecycle.Storm.
constexpr bool kGuestMemoryMayRace = false;
#else
constexpr bool kGuestMemoryMayRace = true;
#endif

TEST(RandomGuest, NeverBreaksTheModel) {
    if (!kGuestMemoryMayRace) GTEST_SKIP() << "random guests race in their own memory";
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    uint64_t seed = 1;
    for (; seed <= 2000 && std::chrono::steady_clock::now() < end; seed++) {
        std::mt19937_64 rng(seed);
        std::vector<uint8_t> bytes(1 + rng() % 4096);
        for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng());
        ASSERT_EQ(fuzz::run_model_input(bytes.data(), bytes.size()), "") << "seed " << seed;
    }
    EXPECT_GT(seed, 1u) << "no input was tried";
    RecordProperty("inputs", static_cast<int>(seed - 1));
}

TEST(RandomGuest, DegenerateInputs) {
    EXPECT_EQ(fuzz::run_model_input(nullptr, 0), "");
    for (int fill : {0x00, 0xff, 0x55, 0x0c}) {
        std::vector<uint8_t> bytes(2000, static_cast<uint8_t>(fill));
        EXPECT_EQ(fuzz::run_model_input(bytes.data(), bytes.size()), "") << fill;
    }
}

}  // namespace
}  // namespace vttm::model::test
