// SPDX-License-Identifier: Apache-2.0
// vttm-cli: what ./vttm hands over to once everything is built.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "host-backend/cli/commands.h"
#include "host-backend/cli/compare/figures.h"
#include "host-backend/cli/conclude.h"
#include "host-backend/cli/output.h"
#include "host-backend/machine/interrupt.h"
#include "host-backend/report/exit_code.h"

namespace {

using namespace vttm;
using report::ExitCode;

// When ./vttm began (it says so in VTTM_STARTED, seconds since the epoch), so that times shown to
// people include its share.
std::chrono::steady_clock::time_point command_start() {
    const auto now = std::chrono::steady_clock::now();
    const char* text = std::getenv("VTTM_STARTED");
    if (!text) return now;
    const double started = std::strtod(text, nullptr);
    const double wall = std::chrono::duration<double>(
                            std::chrono::system_clock::now().time_since_epoch()).count();
    const double ago = wall - started;
    if (started <= 0 || ago < 0 || ago > 86400) return now;
    return now - std::chrono::milliseconds(static_cast<long>(ago * 1000));
}

// CLI11 exits with codes of its own; here a wrong command line is always kUsage.
int parse_failed(const CLI::App& app, const CLI::ParseError& e) {
    int code = app.exit(e);
    return code == 0 ? 0 : report::to_int(ExitCode::kUsage);
}

void add_run(CLI::App& app, cli::RunOptions& run, std::string& scenario) {
    cli::SwapCycleConfig& c = run.config;
    app.add_option("scenario", scenario, "name in tests/scenarios, or a .toml file")
        ->default_val("swap-cycle");
    app.add_option("--json", run.json, "where the report goes (default: build/reports/NAME.json)");
    app.add_option_function<std::string>(
        "--fault-plan",
        [&c](const std::string& path) {
            std::ifstream file;
            if (!std::filesystem::is_directory(path)) file.open(path);
            c.fault_plan.assign(std::istreambuf_iterator<char>(file), {});
            if (!file || c.fault_plan.empty()) throw CLI::ValidationError("--fault-plan", "cannot read " + path);
        },
        "a file with orders for the GPU to fail (docs/faults.md)");
    app.add_option("--trace", run.trace, "records GPU, guest and host on one clock, for ui.perfetto.dev");
    app.add_option("--cycles", c.cycles, "cycles per backup");
    app.add_option("--backup", c.backups, "some of copy, insert, swapcache")->delimiter(',');
    app.add_option("--ram", c.ram_mib, "guest RAM in MiB");
    app.add_option("--vram", c.vram_mib, "device VRAM in MiB, a power of two");
    app.add_option("--swap", c.swap_mib, "swap disk in MiB");
    app.add_option("--gtt-buffers", c.gtt_buffers_mib, "GTT buffers in MiB (0: as much as RAM)");
    app.add_option("--vram-buffers", c.vram_buffers_mib, "VRAM buffers in MiB");
    app.add_option("--memcg-limit", c.memcg_limit_mib, "memory.max of the hog in MiB (0: none)");
    app.add_option("--seed", c.seed, "repeats a run (0: a new one)");
    app.add_option("--timeout", c.timeout_s, "seconds for the whole scenario");
}

void add_compare(CLI::App& app, cli::CompareOptions& o) {
    app.add_option("--ways", o.ways,
                   "what to compare: ttm.backup, and after a slash ttm.restore (auto, copy)")
        ->delimiter(',')
        ->check([](const std::string& way) {
            return cli::parse_way(way) ? std::string() : "no such way: " + way;
        });
    app.add_option("--rounds", o.rounds, "rounds to memory and back, per way");
    app.add_option("--disk-rounds", o.disk_rounds, "rounds to disk and back, per way");
    app.add_option("--cycles", o.cycles, "cycles after which large blocks are counted (0: none)");
    app.add_option("--disk-cycles", o.disk_cycles, "the same for cycles to the swap disk and back (0: none)");
    app.add_option("--swap-full", o.swap_full, "shares of the swap disk that are taken, in percent")
        ->delimiter(',')
        ->check(CLI::Range(1, 100));
    app.add_option("--edge-runs", o.edge_runs, "boots of a 512 MiB guest per way, for OOM kills");
    app.add_option("--buffers", o.buffers, "how many")->check(CLI::Range(1, 4096));
    app.add_option("--buffer-kib", o.buffer_kib, "size of each, a multiple of 4")
        ->check(CLI::Range(4, 16384));
    app.add_option("--ram", o.ram_mib, "guest RAM in MiB");
    app.add_option("--swap", o.swap_mib, "swap disk in MiB");
    app.add_option("--seed", o.seed, "of the content (0: a new one)");
    app.add_option("--timeout", o.timeout_s, "seconds for all");
    app.add_option(
        "--max-out", o.demands.max_out,
        "ends with 9 if a zero-copy way takes more than this share of copy/copy's time out");
    app.add_option("--max-in", o.demands.max_in,
                   "likewise, for the time in; not of ways that copy back");
    app.add_option(
        "--min-blocks", o.demands.min_blocks,
        "ends with 9 if a zero-copy way leaves less than this percentage of the 2 MiB blocks, "
        "after the cycles to memory and, if there were any, after those to disk");
    app.add_flag("--no-more-oom", o.demands.no_more_oom,
                 "ends with 9 if more processes are killed for lack of memory with a zero-copy way than with copy/copy; "
                 "needs --edge-runs");
    app.add_option("--json", o.json, "where the report goes (default: build/reports/compare.json)");
}

std::filesystem::path scenario_path(const std::filesystem::path& root, const std::string& name) {
    if (name.ends_with(".toml")) return name;
    return root / "tests" / "scenarios" / (name + ".toml");
}

// Throws std::runtime_error, also for a scenario that is not there.
cli::SwapCycleConfig load_scenario(const std::filesystem::path& root, const std::string& name) {
    const auto path = scenario_path(root, name);
    if (!std::filesystem::is_regular_file(path))
        throw std::runtime_error(
            fmt::format("no scenario {}; there are those in tests/scenarios, or name a .toml file",
                        path.string()));
    return cli::load_swap_cycle(path);
}

int dispatch(int argc, char** argv) {
    CLI::App app{"vttm: a virtual GPU for TTM; swaps its buffers out and proves that no byte was lost"};
    app.require_subcommand(1);
    app.fallthrough();
    cli::CommonOptions common;
    common.started = command_start();
    std::filesystem::path root = ".";
    app.add_option("--vm", common.vm_json, "vm.json that ./vttm wrote")->required();
    app.add_option("--source-root", root, "the source tree (scenarios, tests)");
    app.add_option("--connect", common.connect_uri, "libvirt URI (default: embedded, no daemon)");
    app.add_option("--logs", common.logs_dir, "where the logs of a failed run go");
    app.add_option("--accel", common.accel, "tcg or kvm (default: what works)")
        ->check(CLI::IsMember({"tcg", "kvm"}));
    app.add_option("--cmdline", common.cmdline, "appended to the guest kernel's command line");
    app.add_option("--vcpus", common.vcpus, "CPUs of the guest (default: 1)")->check(CLI::Range(1, 255));
    app.add_flag("--keep", common.keep, "keep run directory and swap disk");
    app.add_flag("--quiet", common.quiet, "no progress");

    std::string scenario;
    cli::RunOptions run;
    CLI::App* run_app = app.add_subcommand("run", "the main job: a scenario, by default swap-cycle");
    add_run(*run_app, run, scenario);

    cli::TestOptions test;
    CLI::App* test_app = app.add_subcommand("test", "all tests: host, machine, guest, kernel, swap cycle");
    test_app->add_option("stages", test.only, "only these (see --list)");
    test_app->add_flag("--list", test.list, "names the stages");
    test_app->add_option("--results", test.results_dir, "where JUnit and KTAP go (default: build/reports)");

    CLI::App* shell_app = app.add_subcommand("shell", "boots the guest with a shell on this terminal");

    cli::BenchOptions bench;
    CLI::App* bench_app = app.add_subcommand("bench", "benchmarks: host code; time to the first check, "
                                                      "and the backups against each other");
    bench_app->add_option("scenario", bench.scenario, "name in tests/scenarios, or a .toml file")
        ->default_val(bench.scenario);
    bench_app->add_option("--runs", bench.runs, "repetitions")->check(CLI::Range(1, 100));
    bench_app->add_option("--json", bench.json, "where the figures go (default: build/reports/bench.json)");

    cli::CompareOptions compare;
    CLI::App* compare_app =
        app.add_subcommand("compare", "the backups side by side in one boot: cost, wear, limits");
    add_compare(*compare_app, compare);

    cli::Manifest manifest;
    try {
        app.parse(argc, argv);
        if (*run_app) {
            // The scenario gives the defaults, so what the command line says comes once more over it.
            run.config = load_scenario(root, scenario);
            manifest = cli::load_manifest(common.vm_json);
            cli::fit_to_variant(run.config, machine::variant_named(manifest.variant));
            app.parse(argc, argv);
            cli::check_swap_cycle(run.config);
            if (!run.trace.empty() && run.config.migrate)
                throw std::runtime_error("--trace: the clocks of a machine that migrates are not followed");
        }
        if (*bench_app) bench.backups = load_scenario(root, bench.scenario).backups;
    } catch (const CLI::ParseError& e) {
        return parse_failed(app, e);
    } catch (const cli::ManifestError&) {
        throw;  // no fault of the command line
    } catch (const std::runtime_error& e) {
        cli::print_err(fmt::format("vttm: {}\n", e.what()));
        return report::to_int(ExitCode::kUsage);
    }
    test.source_root = bench.source_root = root;
    if (*run_app) return cli::run_command(common, manifest, run);
    if (*test_app) return cli::test_command(common, test);
    if (*shell_app) return cli::shell_command(common);
    if (*compare_app) return cli::compare_command(common, compare);
    if (*bench_app) return cli::bench_command(common, bench);
    return report::to_int(ExitCode::kUsage);
}

}  // namespace

int main(int argc, char** argv) {
    machine::InterruptGuard interrupts;
    try {
        return dispatch(argc, argv);
    } catch (const std::exception&) {
        const cli::Failure failure = cli::current_failure();
        cli::print_err(fmt::format("vttm: {}\n", failure.text));
        return report::to_int(failure.code);
    }
}
