// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <iterator>

#include "host-backend/cli/stages/kunit_reply.h"
#include "host-backend/cli/stages/stage.h"
#include "host-backend/machine/machine.h"

namespace vttm::cli {
namespace {

// TTM's own suites, then those of the series (guest-driver/patches).
constexpr const char* kModules[] = {
    "ttm_device_test", "ttm_pool_test",        "ttm_resource_test", "ttm_tt_test",
    "ttm_bo_test",     "ttm_bo_validate_test", "ttm_backup_test",   "ttm_backup_insert_test",
    "ttm_backup_extract_test", "ttm_backup_speed_test", "ttm_backup_device_test",
    "swap_backup_kunit",
};

// Warnings that cases of the suites provoke on purpose: no VMA manager, and a ticket with no_wait.
constexpr const char* kExpected[] = {
    R"(^WARNING: .*ttm_device\.c:\d+ at ttm_device_init\+)",
    R"(^WARNING: .*ttm_bo\.h:\d+ at ttm_bo_reserve_no_wait_ticket\+)",
};

void kunit_boot(const StageContext& context, const std::string& backup, report::TestResults& into) {
    machine::MachineConfig config = machine_config(context.common, context.manifest);
    // No vttm.ko: TTM's suite wants the device manager for itself.
    config.cmdline_extra += fmt::format(" vttm.mode=kunit ttm.backup={}", backup);
    config.expected_splats.assign(std::begin(kExpected), std::end(kExpected));
    machine::Machine machine(config);
    context.progress.phase(fmt::format("test kunit: boot, ttm.backup={}", backup));
    machine.start();
    context.progress.phase(fmt::format("test kunit: suites, ttm.backup={}", backup));
    const auto reply = machine.agent().call("kunit", {{"modules", kModules}}, std::chrono::seconds(600));
    const auto mode = machine.agent().call("hello").value("backup", nlohmann::json());
    add_kunit_cases(reply, std::size(kModules), mode, backup, into);
    machine.check();
    machine.stop(std::chrono::seconds(5));
}

}  // namespace

void run_kunit(const StageContext& context, report::TestResults& into) {
    for (const char* backup : {"copy", "insert", "swapcache"}) kunit_boot(context, backup, into);
}

}  // namespace vttm::cli
