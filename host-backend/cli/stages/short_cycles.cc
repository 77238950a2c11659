// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "host-backend/cli/stages/cycle_cases.h"
#include "host-backend/cli/stages/stage.h"
#include "host-backend/cli/swap_cycle.h"
#include "protocol/vttm_stamp.h"

namespace vttm::cli {
namespace {

// The scenario's cycles in a guest of its own; one case per cycle, also of those before an exception.
void run_scenario(const StageContext& context, const char* scenario, const char* suite,
                  report::TestResults& into) {
    SwapCycleConfig config = load_swap_cycle(context.source_root / "tests" / "scenarios" /
                                             fmt::format("{}.toml", scenario));
    if (!config.seed) config.seed = 20261120;  // a test repeats
    const machine::MachineConfig mc = stage_machine(context, config);
    machine::Machine machine(mc);
    context.progress.phase(fmt::format("test cycle: {}: boot", scenario));
    machine.start();
    Session session(machine, vttm_mix64(config.seed),
                    Session::Clock::now() + std::chrono::seconds(config.timeout_s));
    report::RunReport run;
    try {
        for (const std::string& backup : config.backups)
            SwapCycle(session, config, backup, context.progress).run(run);
    } catch (const std::exception&) {
        add_cycle_cases(run, suite, into);
        throw;
    }
    add_cycle_cases(run, suite, into);
    check_guest(context, machine);
    machine.stop(std::chrono::seconds(5));
}

}  // namespace

void run_short_cycles(const StageContext& context, report::TestResults& into) {
    run_scenario(context, "swap-cycle-short", "swap_cycle", into);
    run_scenario(context, "memcg-limit", "memcg_limit", into);
    run_scenario(context, "vram-balloon", "vram_balloon", into);
    run_scenario(context, "iommu", "iommu", into);
    run_scenario(context, "migrate", "migrate", into);
}

}  // namespace vttm::cli
