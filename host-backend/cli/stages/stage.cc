// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/stages/stage.h"

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <exception>
#include <fstream>
#include <iterator>
#include <string_view>

#include "host-backend/cli/kernel_check.h"
#include "host-backend/cli/ordered_faults.h"
#include "host-backend/cli/swap_cycle.h"

namespace vttm::cli {
namespace {

using report::TestStatus;

// True if it cannot be told: then a skip for want of it fails.
bool have_cap_sys_admin() {
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> data{};
    if (::syscall(SYS_capget, &header, data.data()) != 0) return true;
    return (data[CAP_TO_INDEX(CAP_SYS_ADMIN)].effective & CAP_TO_MASK(CAP_SYS_ADMIN)) != 0;
}

// A case may need what the set-up or the kernel variant cannot give; its word is taken only where that is really
// missing.
bool may_stand(std::string_view message, const machine::Variant& variant) {
    const auto says = [&](const char* need) {
        return message.find(need) != std::string_view::npos;
    };
    return (says("needs root") && ::geteuid() != 0) ||
           (says("needs CAP_SYS_ADMIN") && !have_cap_sys_admin()) ||
           ((says("needs huge pages") || says("only orders up to 0 here")) && !variant.huge_pages) ||
           (says("needs a kernel without assertions") && !variant.own_pace);
}

void fail_skips(report::TestResults& results, const machine::Variant& variant) {
    for (auto& c : results.cases)
        if (c.status == TestStatus::kSkipped && !may_stand(c.message, variant)) {
            c.status = TestStatus::kFailed;
            c.message = "skipped where nothing may be skipped: " + c.message;
        }
}

}  // namespace

report::TestCase make_case(std::string suite, std::string name, TestStatus status,
                           std::string message) {
    report::TestCase c;
    c.suite = std::move(suite);
    c.name = std::move(name);
    c.status = status;
    c.message = std::move(message);
    return c;
}

report::TestResults run_stage(const Stage& stage, const StageContext& context,
                              std::optional<Failure>& first_failure) {
    report::TestResults results;
    try {
        stage.run(context, results);
    } catch (const std::exception&) {
        const Failure failure = current_failure();
        results.cases.push_back(
            make_case(stage.name, failure.kind, TestStatus::kFailed, failure.text));
        if (!first_failure || first_failure->code == report::ExitCode::kInconclusive ||
            failure.code == report::ExitCode::kInterrupted)
            first_failure = failure;
    }
    if (!stage.may_skip) fail_skips(results, context.variant);
    return results;
}

machine::MachineConfig stage_machine(const StageContext& context) {
    return machine_config(context.common, context.manifest);
}

machine::MachineConfig stage_machine(const StageContext& context, SwapCycleConfig& scenario) {
    machine::MachineConfig config = stage_machine(context);
    fit_to_variant(scenario, context.variant);
    shape_machine(scenario, config);
    return config;
}

void check_guest(const StageContext& context, machine::Machine& machine, Orders orders) {
    check_kernel(machine, context.variant, context.progress);
    if (orders == Orders::kNone) check_no_faults(machine);
}

std::string console_of(const machine::Machine& machine) {
    std::ifstream file(machine.console_log(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace vttm::cli
