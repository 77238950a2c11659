// SPDX-License-Identifier: Apache-2.0
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <ctime>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "host-backend/cli/commands.h"
#include "host-backend/cli/compare/bench_guest.h"
#include "host-backend/cli/conclude.h"
#include "host-backend/cli/kernel_check.h"
#include "host-backend/cli/output.h"
#include "host-backend/cli/swap_cycle.h"
#include "protocol/vttm_stamp.h"

namespace vttm::cli {
namespace {

using std::chrono::seconds;

// The edge: buffers and a hog that together are more than the guest's RAM.
constexpr std::uint64_t kEdgeRamMib = 512;
constexpr std::uint64_t kEdgeBuffersMib = 300;
constexpr std::uint64_t kEdgeHogMib = 400;

machine::MachineConfig bench_machine(const CommonOptions& common, const Manifest& manifest,
                                     std::uint64_t ram_mib, std::uint64_t swap_mib) {
    machine::MachineConfig mc = machine_config(common, manifest);
    SwapCycleConfig shape;
    shape.ram_mib = ram_mib;
    shape.swap_mib = swap_mib;
    shape.vram_mib = 64;
    shape_machine(shape, mc);
    return mc;
}

void run_in_one_boot(const CommonOptions& common, const CompareOptions& options,
                     const machine::MachineConfig& mc, Progress& progress, Comparison& c) {
    machine::Machine machine(mc);  // before any thread: it forks its reaper
    progress.phase("boot");
    machine.start();
    Session session(machine, vttm_mix64(c.seed), common.started + seconds(options.timeout_s));
    BenchGuest guest(session, c.buffers, c.buffer_bytes, progress);
    // Round by round over all ways, not way by way: whatever drifts, drifts for all.
    for (unsigned round = 1; round <= options.rounds; ++round)
        for (const Way& way : c.ways) {
            progress.phase(fmt::format("round {}/{}: {} to memory and back", round, options.rounds,
                                       way.label()));
            c.memory.push_back(guest.memory(way));
        }
    for (unsigned round = 1; round <= options.disk_rounds; ++round)
        for (const Way& way : c.ways) {
            progress.phase(fmt::format("round {}/{}: {} to disk and back", round, options.disk_rounds,
                                       way.label()));
            c.disk.push_back(guest.disk(way));
        }
    if (options.cycles)
        for (const Way& way : c.ways) {
            progress.phase(fmt::format("{}: {} cycles", way.label(), options.cycles));
            c.wear.push_back(guest.wear(way, options.cycles, false));
        }
    if (options.disk_cycles)
        for (const Way& way : c.ways) {
            progress.phase(fmt::format("{}: {} cycles to disk", way.label(), options.disk_cycles));
            c.disk_wear.push_back(guest.wear(way, options.disk_cycles, true));
        }
    for (unsigned percent : options.swap_full)
        for (const Way& way : c.ways) {
            progress.phase(fmt::format("{}: swap {} % full", way.label(), percent));
            c.full.push_back(guest.swap_full(way, percent));
        }
    check_kernel(machine, machine::variant_named(mc.variant), progress);
    machine.stop(seconds(5));
}

EdgeRun run_edge(const CommonOptions& common, const CompareOptions& options,
                 const machine::MachineConfig& mc, const Way& way, std::uint64_t seed,
                 Progress& progress) {
    machine::Machine machine(mc);
    try {
        machine.start();
        Session session(machine, vttm_mix64(seed), common.started + seconds(options.timeout_s));
        BenchGuest guest(session, kEdgeBuffersMib / 2, 2u << 20, progress);
        EdgeRun r = guest.edge(way, kEdgeHogMib);
        machine.stop(seconds(5));
        return r;
    } catch (const machine::AgentError& e) {
        // No memory even for the buffers: the way did not bear the edge; the next run goes on.
        return {.way = way, .oom_kills = machine.oom_kills().size(), .error = e.what()};
    } catch (const machine::AgentGone& e) {
        return {.way = way, .oom_kills = machine.oom_kills().size(), .error = e.what()};
    }
}

}  // namespace

int compare_command(const CommonOptions& common, const CompareOptions& options) {
    const Manifest manifest = load_manifest(common.vm_json);
    const machine::MachineConfig mc =
        bench_machine(common, manifest, options.ram_mib, options.swap_mib);
    Comparison c;
    c.started = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
    c.kernel_release = manifest.kernel_release;
    c.accelerator = mc.accel;
    c.seed = options.seed ? options.seed : std::random_device{}() | 1u;
    for (const std::string& name : options.ways) c.ways.push_back(parse_way(name).value());
    c.buffers = options.buffers;
    c.buffer_bytes = options.buffer_kib << 10;

    Progress progress(common.quiet, common.started);
    std::optional<Failure> failure;
    try {
        if (options.rounds || options.disk_rounds || options.cycles || options.disk_cycles ||
            !options.swap_full.empty())
            run_in_one_boot(common, options, mc, progress, c);
        const auto edge = bench_machine(common, manifest, kEdgeRamMib, options.swap_mib);
        for (unsigned run = 1; run <= options.edge_runs; ++run)
            for (const Way& way : c.ways) {
                progress.phase(fmt::format("edge {}/{}: {}", run, options.edge_runs, way.label()));
                c.edge.push_back(run_edge(common, options, edge, way, c.seed + run, progress));
            }
    } catch (const std::exception&) {
        failure = current_failure();  // what was measured before it is told all the same
    }

    std::vector<std::string> reasons;
    report::ExitCode code = judge(c, &reasons);
    if (failure) {
        code = report::heavier(code, failure->code);
        reasons.push_back(failure->text);
    }
    for (std::string& line : unmet(c, options.demands)) {
        code = report::heavier(code, report::ExitCode::kUnmet);
        reasons.push_back(std::move(line));
    }
    const auto json =
        options.json.empty() ? common.build_dir() / "reports" / "compare.json" : options.json;
    save_output(json, to_json(c).dump(2) + "\n", "--json=FILE");
    print_out(to_markdown(c) + fmt::format("{}{}report: {}\n", fmt::join(reasons, "\n"),
                                           reasons.empty() ? "" : "\n", json.string()));
    return report::to_int(code);
}

}  // namespace vttm::cli
