// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <iterator>

#include "host-backend/cli/stages/stage.h"
#include "host-backend/machine/machine.h"

namespace vttm::cli {
namespace {

using report::TestStatus;

// TTM's own suites, then those of the series (guest-driver/patches).
constexpr const char* kModules[] = {
    "ttm_device_test", "ttm_pool_test",        "ttm_resource_test", "ttm_tt_test",
    "ttm_bo_test",     "ttm_bo_validate_test", "ttm_backup_test",   "ttm_backup_insert_test",
};

// Warnings that cases of the suites provoke on purpose: no VMA manager, and a ticket with no_wait.
constexpr const char* kExpected[] = {
    R"(^WARNING: .*ttm_device\.c:\d+ at ttm_device_init\+)",
    R"(^WARNING: .*ttm_bo\.h:\d+ at ttm_bo_reserve_no_wait_ticket\+)",
};

report::TestResults kunit_boot(const StageContext& context, const std::string& backup) {
    machine::MachineConfig config = machine_config(context.common, context.manifest);
    // No vttm.ko: TTM's suite wants the device manager for itself.
    config.cmdline_extra += fmt::format(" vttm.mode=kunit ttm.backup={}", backup);
    config.expected_splats.assign(std::begin(kExpected), std::end(kExpected));
    machine::Machine machine(config);
    context.progress.phase(fmt::format("test kunit: boot, ttm.backup={}", backup));
    machine.start();
    context.progress.phase(fmt::format("test kunit: suites, ttm.backup={}", backup));
    auto reply = machine.agent().call("kunit", {{"modules", kModules}}, std::chrono::seconds(600));

    report::TestResults results;
    const auto mode = machine.agent().call("hello").value("backup", nlohmann::json());
    if (mode != backup)
        results.cases.push_back(make_case("kunit", "backup_mode", TestStatus::kFailed,
                                          fmt::format("the kernel runs with ttm.backup={}, asked for {}",
                                                      mode.dump(), backup)));
    for (const auto& suite : reply.at("results")) {
        const auto name = suite.at("suite").get<std::string>();
        try {
            results.append(report::parse_ktap(suite.at("ktap").get<std::string>()));
        } catch (const report::ParseError& e) {
            results.cases.push_back(make_case(name, "ktap", TestStatus::kFailed, e.what()));
        }
    }
    if (reply.at("results").size() < std::size(kModules))
        results.cases.push_back(make_case(
            "kunit", "suites", TestStatus::kFailed,
            fmt::format("{} modules gave only {} suites", std::size(kModules),
                        reply.at("results").size())));
    machine.check();
    machine.stop(std::chrono::seconds(5));
    return results;
}

}  // namespace

report::TestResults run_kunit(const StageContext& context) {
    report::TestResults all;
    for (const char* backup : {"copy", "insert"}) all.append(kunit_boot(context, backup), backup);
    return all;
}

}  // namespace vttm::cli
