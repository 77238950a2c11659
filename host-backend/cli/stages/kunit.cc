// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "host-backend/cli/kernel_check.h"
#include "host-backend/cli/stages/kunit_reply.h"
#include "host-backend/cli/stages/stage.h"

namespace vttm::cli {
namespace {

// TTM's own suites, then those of the series (guest-driver/patches).
const std::vector<std::string> kModules = {
    "ttm_device_test",        "ttm_pool_test",           "ttm_resource_test",
    "ttm_tt_test",            "ttm_bo_validate_test",    "ttm_backup_test",
    "ttm_backup_insert_test", "ttm_backup_extract_test", "ttm_backup_speed_test",
    "ttm_backup_device_test", "ttm_backup_pool_test",
    "swap_backup_kunit",
};
// Last: its case ttm_bo_reserve_deadlock makes lockdep report, which is then off until the next boot.
constexpr const char* kEndsLockdep = "ttm_bo_test";

constexpr const char* kDeadlockReport =
    "^WARNING: possible (recursive locking|circular locking dependency) detected";

// What cases of the suites provoke on purpose: no VMA manager, a ticket with no_wait, a deadlock.
std::vector<machine::ExpectedSplat> expected_splats(const machine::Variant& variant) {
    std::vector<machine::ExpectedSplat> expected = {
        {R"(^WARNING: .*ttm_device\.c:\d+ at ttm_device_init\+)", "ttm_device_init_no_vma_man"},
        {R"(^WARNING: .*ttm_bo\.h:\d+ at ttm_bo_reserve_no_wait_ticket\+)",
         "ttm_bo_reserve_no_wait_ticket"},
    };
    if (variant.lockdep) expected.push_back({kDeadlockReport, "ttm_bo_reserve_deadlock"});
    return expected;
}

// A lockdep that does not report the deadlock that is there, has not looked at the rest either.
report::TestCase deadlock_reported(const machine::Machine& machine) {
    const std::regex report(kDeadlockReport);
    for (const std::string& line : machine.expected_seen())
        if (std::regex_search(line, report))
            return make_case("kunit", "lockdep_reports_deadlock", report::TestStatus::kPassed);
    return make_case("kunit", "lockdep_reports_deadlock", report::TestStatus::kFailed,
                     "no lockdep report of ttm_bo_reserve_deadlock");
}

void kunit_boot(const StageContext& context, const std::string& backup, report::TestResults& into) {
    machine::MachineConfig config = stage_machine(context);
    // Memory beyond what DMA32 pools may take.
    config.low_ram_mib = config.ram_mib * 2 / 3;
    // No vttm.ko: TTM's suite wants the device manager for itself.
    config.cmdline_extra += fmt::format(" vttm.mode=kunit ttm.backup={}", backup);
    // modprobe waits for each case, uninterruptibly, and with KASAN one may take minutes.
    config.cmdline_extra += fmt::format(" sysctl.kernel.hung_task_timeout_secs={}",
                                        context.variant.scaled(std::chrono::seconds(120)).count());
    config.expected_splats = expected_splats(context.variant);
    machine::Machine machine(config);
    context.progress.phase(fmt::format("test kunit: boot, ttm.backup={}", backup));
    machine.start();
    context.progress.phase(fmt::format("test kunit: suites, ttm.backup={}", backup));
    const auto text = context.results_dir / fmt::format("kunit-{}.ktap", backup);
    std::filesystem::remove(text);
    const auto run = [&](const std::vector<std::string>& modules) {
        const auto limit = context.variant.scaled(std::chrono::seconds(600));
        const auto reply = machine.agent().call(
            "kunit",
            {{"modules", modules}, {"timeout_ms", std::chrono::milliseconds(limit).count()}}, limit);
        const auto mode = machine.agent().call("hello").value("backup", nlohmann::json());
        keep_kunit_text(reply, text);
        add_kunit_cases(reply, modules.size(), mode, backup, into);
        machine.check();
    };
    run(kModules);
    check_guest(context, machine);
    run({kEndsLockdep});
    // Leaks of the last one as well; but lockdep has to be off now.
    machine::Variant without_lockdep = context.variant;
    without_lockdep.lockdep = false;
    check_kernel(machine, without_lockdep, context.progress);
    if (context.variant.lockdep) {
        report::TestResults results;
        results.cases.push_back(deadlock_reported(machine));
        into.append(results, backup);
    }
    machine.stop(std::chrono::seconds(5));
}

}  // namespace

void run_kunit(const StageContext& context, report::TestResults& into) {
    for (const char* backup : {"copy", "insert", "swapcache"}) kunit_boot(context, backup, into);
}

}  // namespace vttm::cli
