// SPDX-License-Identifier: Apache-2.0
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <random>

#include "host-backend/cli/commands.h"
#include "host-backend/cli/swap_cycle.h"
#include "host-backend/report/run_report.h"
#include "protocol/vttm_stamp.h"

namespace vttm::cli {
namespace {

using std::chrono::seconds;

report::RunReport new_report(const RunOptions& options, const Manifest& manifest,
                             const machine::MachineConfig& machine) {
    report::RunReport r;
    r.tool_version = "0.1.0";
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
    Session session(machine, vttm_mix64(config.seed),
                    common.started + seconds(config.timeout_s));
    const oracle::Counters before = session.counters();
    for (const std::string& backup : config.backups) {
        SwapCycle cycle(session, config, backup, progress);
        cycle.run(report);
    }
    report.balances = take_balances(before, session.counters());
}

void conclude(report::RunReport& report) {
    std::vector<oracle::Verdict> verdicts;
    for (const auto& c : report.cycles) verdicts.push_back(c.verdict);
    oracle::Verdict end;
    for (const oracle::Balance& b : report.balances)
        if (!b.even()) {
            end.kind = oracle::VerdictKind::kLeak;
            end.reasons.push_back(fmt::format("over the whole run {} went from {} to {} {}", b.name,
                                              b.before, b.after, b.unit));
        }
    verdicts.push_back(end);
    if (report.cycles.empty()) verdicts.push_back({oracle::VerdictKind::kInconclusive, {}, {}});
    report.verdict = oracle::combine(verdicts);
    // A fault that the device saw is a content failure, whatever the guest made of it.
    if (report.exit_code == report::ExitCode::kInfrastructure &&
        report.verdict.kind == oracle::VerdictKind::kContent)
        report.exit_code = report::ExitCode::kContent;
    if (report.exit_code == report::ExitCode::kPass)
        report.exit_code = report::exit_code(report.verdict.kind);
}

}  // namespace

int run_command(const CommonOptions& common, RunOptions options) {
    const Manifest manifest = load_manifest(common.vm_json);
    SwapCycleConfig& config = options.config;
    if (!config.seed) config.seed = std::random_device{}() | 1u;
    machine::MachineConfig mc = machine_config(common, manifest);
    shape_machine(config, mc);
    report::RunReport report = new_report(options, manifest, mc);

    machine::Machine machine(mc);  // before any thread: it forks its reaper
    Progress progress(common.quiet, common.started);
    try {
        progress.phase(fmt::format("boot {} ({}), seed {}", manifest.kernel_release, mc.accel,
                                   config.seed));
        machine.start();
        progress.note(fmt::format("guest is up after {} ms", machine.boot_time().count()));
        run_backups(machine, options, common, progress, report);
        conclude(report);
        // Before the stop, which takes the console with it.
        if (report.exit_code != report::ExitCode::kPass)
            report.log_dir = machine.save_logs().string();
        machine.stop(seconds(5));
    } catch (const machine::Error& e) {
        auto code = report::exit_code_from_int(e.exit_code());
        report.exit_code = code.value_or(report::ExitCode::kInfrastructure);
        report.error = e.what();
        report.log_dir = machine.save_logs().string();
        machine.stop();
        conclude(report);
    } catch (const std::exception& e) {
        report.exit_code = report::ExitCode::kInfrastructure;
        report.error = e.what();
        report.log_dir = machine.save_logs().string();
        machine.stop();
        conclude(report);
    }
    report.seconds = progress.seconds();

    fmt::print("{}", report::format_table(report, report::style_for(STDOUT_FILENO)));
    std::fflush(stdout);  // the verdict is out before anything can fail on the way to the file
    if (options.json.empty()) {
        std::filesystem::create_directories(common.build_dir() / "reports");
        options.json = common.build_dir() / "reports" / (config.name + ".json");
    }
    report::write_file(options.json.string(), report::to_json(report).dump(2) + "\n");
    fmt::print("report: {}\n", options.json.string());
    if (!report.log_dir.empty()) fmt::print("logs:   {}\n", report.log_dir);
    return report::to_int(report.exit_code);
}

}  // namespace vttm::cli
