// SPDX-License-Identifier: Apache-2.0
// Drives a libFuzzer target without libFuzzer: `PROGRAM FILE...` replays inputs, and
// `PROGRAM --seed N --runs N [--max-len N]` makes reproducible random ones. A failing input is
// named by its seed: run it again with --seed N --runs 1.
#include <CLI/CLI.hpp>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
    CLI::App app{"Runs a fuzz target on files, or on random inputs that follow from a seed"};
    std::vector<std::string> files;
    uint64_t seed = 1, runs = 100;
    size_t max_len = 4096;
    app.add_option("files", files, "inputs to replay")->check(CLI::ExistingFile);
    app.add_option("--seed", seed, "seed of the first random input")->capture_default_str();
    app.add_option("--runs", runs, "random inputs to try")->capture_default_str();
    app.add_option("--max-len", max_len, "bytes of the longest random input")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    CLI11_PARSE(app, argc, argv);

    for (const std::string& file : files) {
        std::ifstream in(file, std::ios::binary);
        const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
        std::printf("%s: %zu bytes\n", file.c_str(), bytes.size());
        std::fflush(stdout);
        LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
    }
    if (!files.empty()) return 0;
    for (uint64_t i = 0; i < runs; i++) {
        std::mt19937_64 rng(seed + i);
        std::vector<uint8_t> bytes(1 + rng() % max_len);
        for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng());
        std::fprintf(stderr, "\rseed %llu", static_cast<unsigned long long>(seed + i));
        LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
    }
    std::fprintf(stderr, "\n%llu inputs, none failed\n", static_cast<unsigned long long>(runs));
    return 0;
}
