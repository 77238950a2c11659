// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "host-backend/cli/stages/stage.h"
#include "host-backend/cli/swap_cycle.h"
#include "protocol/vttm_stamp.h"

namespace vttm::cli {

report::TestResults run_short_cycles(const StageContext& context) {
    using report::TestStatus;
    SwapCycleConfig config =
        load_swap_cycle(context.source_root / "tests" / "scenarios" / "swap-cycle-short.toml");
    if (!config.seed) config.seed = 20261120;  // a test repeats
    machine::MachineConfig mc = machine_config(context.common, context.manifest);
    shape_machine(config, mc);
    machine::Machine machine(mc);
    context.progress.phase("test cycle: boot");
    machine.start();
    Session session(machine, vttm_mix64(config.seed),
                    Session::Clock::now() + std::chrono::seconds(config.timeout_s));
    report::TestResults results;
    for (const std::string& backup : config.backups) {
        report::RunReport report;
        SwapCycle(session, config, backup, context.progress).run(report);
        for (const auto& cycle : report.cycles) {
            std::string why;
            for (const std::string& reason : cycle.verdict.reasons) why += reason + "\n";
            results.cases.push_back(make_case(
                "swap_cycle", fmt::format("{}_{}", backup, cycle.result.cycle),
                cycle.verdict.kind == oracle::VerdictKind::kPass ? TestStatus::kPassed
                                                                 : TestStatus::kFailed,
                why));
        }
    }
    machine.stop(std::chrono::seconds(5));
    return results;
}

}  // namespace vttm::cli
