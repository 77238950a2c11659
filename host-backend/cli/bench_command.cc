// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>

#include "host-backend/cli/bench_figures.h"
#include "host-backend/cli/commands.h"
#include "host-backend/cli/meson_introspect.h"
#include "host-backend/cli/output.h"
#include "host-backend/cli/progress.h"
#include "host-backend/cli/subprocess.h"
#include "host-backend/machine/errors.h"
#include "host-backend/machine/interrupt.h"
#include "host-backend/report/exit_code.h"

namespace vttm::cli {
namespace {

using nlohmann::json;
using report::ExitCode;

// The scenario has a time limit of its own; this one is for what hangs beside it.
constexpr std::chrono::hours kRunLimit{4};

// Benchmarks of host code. One that failed is named; if all there was is a figure that is not what
// the benchmark was told to demand, it has ended with kUnmet.
ExitCode run_benchmarks(const CommonOptions& common) {
    ExitCode worst = ExitCode::kPass;
    for (const auto& b : meson_introspect(common.build_dir(), "--benchmarks")) {
        const auto name = b.at("name").get<std::string>();
        print_out(fmt::format("--- {}\n", name));
        const auto r = run_subprocess({.argv = b.at("cmd").get<std::vector<std::string>>(),
                                       .on_line = [](std::string_view l) {
                                           print_out(std::string(l) + "\n");
                                       },
                                       .cancelled = [] { return machine::interrupted() != 0; }});
        machine::throw_if_interrupted();
        if (r.status == 0 && !r.timed_out) continue;
        if (r.timed_out || r.status != report::to_int(ExitCode::kUnmet))
            worst = ExitCode::kInfrastructure;
        else if (worst == ExitCode::kPass)
            worst = ExitCode::kUnmet;
        print_err(fmt::format("vttm: benchmark {} {}\n", name,
                   r.timed_out ? "was over its time limit" : fmt::format("ended with {}", r.status)));
    }
    return worst;
}

struct Run {
    int status = 0;
    json report;
};

// `./vttm run` as a user would.
Run run_scenario(const CommonOptions& common, const BenchOptions& options, const Manifest& manifest,
                 const std::vector<std::string>& backups) {
    const auto path = common.build_dir() / "reports" / "bench-run.json";
    std::filesystem::remove(path);
    std::string output;
    const auto r = run_subprocess({.argv = bench_run_argv(common, options, manifest, backups, path),
                                   .timeout = kRunLimit,
                                   .on_line = [&](std::string_view l) { output.append(l).append("\n"); },
                                   .cancelled = [] { return machine::interrupted() != 0; }});
    machine::throw_if_interrupted();
    if (r.status != 0) {
        print_err(fmt::format("{}vttm: ./vttm run {} ended with {}; its output is above\n", output,
                   options.scenario, r.status));
        return {r.status, {}};
    }
    return {0, json::parse(std::ifstream(path))};
}

// A status that is one of ours stays; anything else (a signal, say) is infrastructure.
int own_code(int status) {
    return report::to_int(report::exit_code_from_int(status).value_or(ExitCode::kInfrastructure));
}

}  // namespace

int bench_command(const CommonOptions& common, const BenchOptions& options) {
    const Manifest manifest = load_manifest(common.vm_json);
    std::vector<std::string> backups = options.backups;
    const ExitCode benchmarks = run_benchmarks(common);
    Progress progress(common.quiet, common.started);
    std::vector<json> runs;
    for (unsigned i = 0; i < options.runs; ++i) {
        progress.phase(fmt::format("./vttm run {} ({}), {} of {}", options.scenario,
                                   fmt::join(backups, " then "), i + 1, options.runs));
        Run run = run_scenario(common, options, manifest, backups);
        if (run.status != 0) return own_code(run.status);
        runs.push_back(std::move(run.report));
        // Who comes first has the fresher guest: take turns.
        std::reverse(backups.begin(), backups.end());
    }
    const std::string accel = runs.front().at("accelerator");
    const auto figures = bench_figures(runs);
    print_out(fmt::format("--- ./vttm run {}: kernel {} ({}), {}{}, {} runs; \"a / b\": within one run\n{}",
                          options.scenario, manifest.kernel_release, manifest.variant, accel,
                          accel == "tcg" ? " (emulated: times are no hardware times)" : "", runs.size(),
                          format_figures(figures)));
    const json out = {{"format", "vttm-bench"},
                      {"version", 1},
                      {"scenario", options.scenario},
                      {"accelerator", accel},
                      {"times_are_hardware", accel != "tcg"},
                      {"kernel", runs.front().at("kernel")},
                      {"runs", runs.size()},
                      {"figures", figures_json(figures)}};
    const auto path =
        options.json.empty() ? common.build_dir() / "reports" / "bench.json" : options.json;
    save_output(path, out.dump(2) + "\n", "--json=FILE");
    print_out(fmt::format("report: {}\n", path.string()));
    return report::to_int(benchmarks);
}

}  // namespace vttm::cli
