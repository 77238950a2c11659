// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "host-backend/cli/commands.h"
#include "host-backend/cli/subprocess.h"
#include "host-backend/machine/interrupt.h"

namespace vttm::cli {
namespace {

int run_benchmarks(const CommonOptions& common) {
    std::string text;
    run_subprocess({.argv = {"meson", "introspect", "--benchmarks", common.build_dir().string()},
                    .on_line = [&](std::string_view l) { text.append(l); }});
    auto list = nlohmann::json::parse(text, nullptr, false);
    if (!list.is_array()) throw std::runtime_error("meson introspect --benchmarks failed");
    int worst = 0;
    for (const auto& b : list) {
        fmt::print("--- {}\n", b.at("name").get<std::string>());
        auto r = run_subprocess({.argv = b.at("cmd").get<std::vector<std::string>>(),
                                 .on_line = [](std::string_view l) { fmt::print("{}\n", l); },
                                 .cancelled = [] { return machine::interrupted() != 0; }});
        machine::throw_if_interrupted();
        worst = std::max(worst, r.status);
    }
    return worst;
}

// `./vttm run` as a user would, and what its report says of the first content check.
double time_to_first_check(const CommonOptions& common, const BenchOptions& options) {
    const auto json = common.build_dir() / "reports" / "bench-first-check.json";
    std::string output;
    auto r = run_subprocess({.argv = {(options.source_root / "vttm").string(), "run",
                                      "swap-cycle-short", "--backup", "insert", "--json",
                                      json.string()},
                             .on_line = [&](std::string_view l) { output.append(l).append("\n"); },
                             .cancelled = [] { return machine::interrupted() != 0; }});
    machine::throw_if_interrupted();
    if (r.status != 0)
        throw std::runtime_error(fmt::format("./vttm run ended with {}:\n{}", r.status, output));
    return nlohmann::json::parse(std::ifstream(json)).at("seconds_to_first_check").get<double>();
}

}  // namespace

int bench_command(const CommonOptions& common, const BenchOptions& options) {
    const Manifest manifest = load_manifest(common.vm_json);
    const int worst = run_benchmarks(common);
    std::vector<double> seconds;
    for (unsigned i = 0; i < options.runs; ++i)
        seconds.push_back(time_to_first_check(common, options));
    std::sort(seconds.begin(), seconds.end());
    fmt::print("--- ./vttm run to the first content check ({}{}), {} runs\n", manifest.accel,
               manifest.accel == "tcg" ? ": emulated, no hardware figure" : "", seconds.size());
    fmt::print("min {:.2f} s, median {:.2f} s, max {:.2f} s\n", seconds.front(),
               seconds[seconds.size() / 2], seconds.back());
    return worst;
}

}  // namespace vttm::cli
