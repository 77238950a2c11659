// SPDX-License-Identifier: Apache-2.0
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "host-backend/cli/commands.h"
#include "host-backend/cli/conclude.h"
#include "host-backend/cli/kernel_check.h"
#include "host-backend/cli/ordered_faults.h"
#include "host-backend/cli/output.h"
#include "host-backend/cli/swap_cycle.h"
#include "host-backend/cli/trace_recorder.h"
#include "host-backend/report/run_report.h"
#include "protocol/vttm_stamp.h"

namespace vttm::cli {
namespace {

using std::chrono::seconds;

report::RunReport new_report(const RunOptions& options, const Manifest& manifest,
                             const machine::MachineConfig& machine) {
    report::RunReport r;
    r.tool_version = VTTM_VERSION;
    r.scenario = options.config.name;
    r.started = fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr)));
    r.accelerator = machine.accel;
    r.kernel_release = manifest.kernel_release;
    r.kernel_variant = manifest.variant;
    r.seed = options.config.seed;
    r.guest_ram_bytes = machine.ram_mib << 20;
    r.vram_bytes = machine.vram_mib << 20;
    r.swap_bytes = machine.swap_mib << 20;
    return r;
}

void run_backups(machine::Machine& machine, const RunOptions& options, const CommonOptions& common,
                 Progress& progress, report::RunReport& report) {
    const SwapCycleConfig& config = options.config;
    if (!config.fault_plan.empty()) machine.set_device_property("fault-plan", config.fault_plan);
    Session session(machine, vttm_mix64(config.seed),
                    common.started + seconds(config.timeout_s));
    const oracle::Counters before = session.counters();
    for (const std::string& name : untold_balances(before))
        progress.note(fmt::format("this kernel does not tell {}: whether it returns to zero is not checked", name));
    for (const std::string& backup : config.backups) {
        SwapCycle cycle(session, config, backup, progress);
        cycle.run(report);
    }
    report.balances = take_balances(before, session.counters());
    progress.phase("what the kernel has to say");
    check_kernel(machine, machine::variant_named(report.kernel_variant), progress);
    if (config.fault_plan.empty()) check_no_faults(machine);
}

}  // namespace

int run_command(const CommonOptions& common, const Manifest& manifest, RunOptions options) {
    SwapCycleConfig& config = options.config;
    if (!config.seed) config.seed = std::random_device{}() | 1u;
    machine::MachineConfig mc = machine_config(common, manifest);
    shape_machine(config, mc);
    mc.trace = !options.trace.empty();
    report::RunReport report = new_report(options, manifest, mc);

    machine::Machine machine(mc);  // before any thread: it forks its reaper
    Progress progress(common.quiet, common.started);
    std::optional<TraceRecorder> recorder;
    if (mc.trace) recorder.emplace(machine, options.trace);
    std::optional<Failure> failure;  // the first is the cause
    const auto attempt = [&](const std::function<void()>& step) {
        try {
            step();
        } catch (const std::exception&) {
            if (!failure) failure = current_failure();
        }
        conclude(report, failure);
    };
    attempt([&] {
        progress.phase(fmt::format("boot {} ({}), seed {}", manifest.kernel_release, mc.accel,
                                   config.seed));
        machine.start();
        report.seconds_to_boot = std::chrono::duration<double>(machine.boot_time()).count();
        progress.note(fmt::format("guest is up after {} ms", machine.boot_time().count()));
        if (recorder) {
            recorder->start();
            progress.on_phase([&](const std::string& name) { recorder->phase(name); });
        }
        run_backups(machine, options, common, progress, report);
    });
    progress.on_phase({});
    // What struck is the first question of who looks at a run that broke off.
    if (!config.fault_plan.empty() && machine.qemu_pid())
        attempt([&] { report.faults = fault_record(machine).dump(); });
    if (recorder) attempt([&] { recorder->finish(!failure, progress); });
    // Before the stop, which takes the console with it.
    if (report.exit_code != report::ExitCode::kPass) report.log_dir = machine.save_logs().string();
    attempt([&] { machine.stop(failure ? seconds(0) : seconds(5)); });
    // The guest's last words may be a splat.
    if (report.exit_code != report::ExitCode::kPass) report.log_dir = machine.save_logs().string();
    report.seconds = progress.seconds();
    if (common.keep)
        progress.note(fmt::format("kept: {} (logs), {} (swap disk, witness log)",
                                  machine.run_dir().string(),
                                  machine.swap_disk().parent_path().string()));

    const auto json = options.json.empty()
                          ? common.build_dir() / "reports" / (config.name + ".json")
                          : options.json;
    return report::to_int(publish(report, json));
}

}  // namespace vttm::cli
