// SPDX-License-Identifier: Apache-2.0
// Each input of the fuzzers' corpus, as the fuzzers run it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "tests/fuzz/model_input.h"
#include "tests/fuzz/state_input.h"
#include "tests/fuzz/walk_input.h"

namespace vttm::fuzz {
namespace {

using Bytes = std::vector<uint8_t>;

void replay(const char* target, const std::function<std::string(const Bytes&)>& run,
            size_t least = 100) {
    const char* corpus = std::getenv("VTTM_REPLAY_CORPUS");  // another one
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(
             std::filesystem::path(corpus ? corpus : VTTM_CORPUS) / target))
        files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    ASSERT_GT(files.size(), least) << "the corpus is gone";
    for (const auto& path : files) {
        std::ifstream in(path, std::ios::binary);
        const Bytes bytes{std::istreambuf_iterator<char>(in), {}};
        ASSERT_FALSE(bytes.empty()) << path;
        EXPECT_EQ(run(bytes), "") << path;
    }
}

TEST(Replay, Model) {
    replay("model", [](const Bytes& b) { return run_model_input(b.data(), b.size(), true); });
}

// ... and a new device does the same to the last bit: threads and real time do not matter.
TEST(Replay, ModelTwice) {
    replay("model", [](const Bytes& b) { return run_model_input_twice(b.data(), b.size()); });
}

TEST(Replay, State) {
    replay("state", [](const Bytes& b) { return run_state_input(b.data(), b.size()); }, 20);
}

TEST(Replay, Walk) {
    replay("walk", [](const Bytes& b) { return run_walk_input(b.data(), b.size(), true); });
}

}  // namespace
}  // namespace vttm::fuzz
