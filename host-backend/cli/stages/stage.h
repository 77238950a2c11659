// SPDX-License-Identifier: Apache-2.0
// The stages of `./vttm test`. Each runs by itself and adds its cases as they come, so that an exception
// (the machine's error, the user's Ctrl-C) takes none of those away that were finished before it; what
// it cannot run it adds as skipped with the reason.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "host-backend/cli/conclude.h"
#include "host-backend/cli/manifest.h"
#include "host-backend/cli/options.h"
#include "host-backend/cli/progress.h"
#include "host-backend/cli/swap_cycle_config.h"
#include "host-backend/machine/machine.h"
#include "host-backend/machine/variant.h"
#include "host-backend/report/test_results.h"

namespace vttm::cli {

struct StageContext {
    const CommonOptions& common;
    const Manifest& manifest;
    const machine::Variant& variant;  // the manifest's
    std::filesystem::path source_root;
    std::filesystem::path results_dir;  // where a stage may keep what the results do not have room for
    Progress& progress;
};

struct Stage {
    const char* name;
    const char* what;
    // False: the set-up gives all that its cases need, so a skip means that something is lost; but for
    // cases that say they need root, where the user is not, or CAP_SYS_ADMIN, where it is not there
    // (a container's root), or something that the kernel variant is known not to have (huge pages, its own pace).
    bool may_skip = false;
    // True: too long for each `./vttm test`; runs only when it is named.
    bool only_named = false;
    std::function<void(const StageContext&, report::TestResults&)> run;
};

// Runs one stage. An exception becomes a failed case behind those that are there already, and the
// failure, unless an earlier stage has failed already (the first is the cause; but the user's Ctrl-C
// always counts, and what was only inconclusive is no cause).
report::TestResults run_stage(const Stage& stage, const StageContext& context,
                              std::optional<Failure>& first_failure);

// What each stage with guests does alike. The machine of vm.json; the same as a scenario needs it, which is fitted to the
// kernel variant; and what that kernel has to say at the end.
machine::MachineConfig stage_machine(const StageContext& context);
machine::MachineConfig stage_machine(const StageContext& context, SwapCycleConfig& scenario);
// That the device has failed by no order, unless the stage gave some.
enum class Orders { kNone, kFaults };
void check_guest(const StageContext& context, machine::Machine& machine, Orders orders = Orders::kNone);
// What the guest has said on its console so far.
std::string console_of(const machine::Machine& machine);

// GoogleTest programs of this build in one Meson suite: "unit" (no machine) or "vm".
void run_host_suite(const StageContext& context, const std::string& suite, report::TestResults& into);
// The GoogleTest program in the guest.
void run_guest_tests(const StageContext& context, report::TestResults& into);
// Those of its tests that put the guest to sleep.
void run_sleep_tests(const StageContext& context, report::TestResults& into);
// The kernel's own KUnit suites, once per ttm.backup.
void run_kunit(const StageContext& context, report::TestResults& into);
// Faults planted from the host in a live swap cycle; each must be found and named.
void run_self_test(const StageContext& context, report::TestResults& into);
// Faults of the device that the host orders: spoiled content is found, the driver survives the rest.
void run_device_faults(const StageContext& context, report::TestResults& into);
// The device unplugged by the host while the guest works, and plugged again.
void run_hot_unplug(const StageContext& context, report::TestResults& into);
// The machine moved, and taken back in time, with the device at work and in the middle of a swap cycle.
void run_migration(const StageContext& context, report::TestResults& into);
// The function reset, the driver unbound and the machine shut down at a bad moment.
void run_power(const StageContext& context, report::TestResults& into);
// A short swap cycle per backup, and one with the hog in a limited memory cgroup.
void run_short_cycles(const StageContext& context, report::TestResults& into);

// The kernel series compiled patch by patch and in several configurations, and what sparse says of it.
void run_series(const StageContext& context, report::TestResults& into);

// One case; message says why it failed or was skipped.
report::TestCase make_case(std::string suite, std::string name, report::TestStatus status,
                           std::string message = "");

}  // namespace vttm::cli
