// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <optional>

#include "host-backend/cli/commands.h"
#include "host-backend/cli/output.h"
#include "host-backend/cli/stages/balloon_cases.h"
#include "host-backend/cli/stages/stage.h"
#include "host-backend/machine/interrupt.h"
#include "host-backend/report/exit_code.h"

namespace vttm::cli {
namespace {

using report::TestResults;
using report::TestStatus;

const std::vector<Stage>& stages() {
    static const std::vector<Stage> all = {
        {.name = "unit",
         .what = "host tests, no machine",
         .may_skip = true,
         .run = [](const StageContext& c, TestResults& r) { run_host_suite(c, "unit", r); }},
        {.name = "vm",
         .what = "QEMU device by qtest; machine errors by planted panics, hangs, kills",
         .run = [](const StageContext& c, TestResults& r) { run_host_suite(c, "vm", r); }},
        {.name = "guest", .what = "driver and library tests in the guest", .run = run_guest_tests},
        {.name = "kunit", .what = "the kernel's KUnit suites, per ttm.backup", .run = run_kunit},
        {.name = "planted",
         .what = "faults planted in RAM and swap file of live cycles, per ttm.backup",
         .run = run_self_test},
        {.name = "faults",
         .what = "faults of the device, ordered by the host, under a guest that works",
         .run = run_device_faults},
        {.name = "plug", .what = "the device unplugged by the host, and plugged again, under load", .run = run_hot_unplug},
        {.name = "balloon",
         .what = "VRAM taken back before there is a driver, under mappings, without RAM to move it to",
         .run = run_balloon},
        {.name = "migrate",
         .what = "the machine moved, and taken back in time, with the device at work",
         .run = run_migration},
        {.name = "power",
         .what = "sleep; resets that lose VRAM, an unbind and a shutdown while engines are slow",
         .run = run_power},
        {.name = "cycle",
         .what = "short swap cycles per ttm.backup; a limited hog, a VRAM balloon, an IOMMU",
         .run = run_short_cycles},
        {.name = "series",
         .what = "the kernel series compiled after each patch and in each configuration; sparse",
         .only_named = true,
         .run = run_series},
    };
    return all;
}

void print_cases(const TestResults& results) {
    std::string text;
    for (const auto& c : results.cases) {
        if (c.status == TestStatus::kPassed) continue;
        text += fmt::format("{}: {}\n", c.status == TestStatus::kFailed ? "FAILED" : "SKIP",
                            c.full_name());
        if (!c.message.empty()) text += c.message + "\n";
    }
    // Output that takes nothing more is told at the end, which writes there, too.
    std::fputs(text.c_str(), stdout);
    std::fflush(stdout);  // in order with the progress on stderr
}

int print_list() {
    std::string text;
    for (const Stage& s : stages())
        text += fmt::format("{:<8} {}{}\n", s.name, s.what, s.only_named ? " (only when named)" : "");
    print_out(text);
    return 0;
}

}  // namespace

int test_command(const CommonOptions& common, const TestOptions& options) {
    if (options.list) return print_list();
    for (const std::string& name : options.only)
        if (std::none_of(stages().begin(), stages().end(),
                         [&](const Stage& s) { return name == s.name; })) {
            print_err(fmt::format("vttm: no test stage \"{}\"; there are:\n", name));
            print_list();
            return report::to_int(report::ExitCode::kUsage);
        }
    const Manifest manifest = load_manifest(common.vm_json);
    Progress progress(common.quiet, common.started);
    const auto results_dir =
        options.results_dir.empty() ? common.build_dir() / "reports" : options.results_dir;
    const StageContext context{.common = common,
                               .manifest = manifest,
                               .variant = machine::variant_named(manifest.variant),
                               .source_root = options.source_root,
                               .results_dir = results_dir,
                               .progress = progress};

    TestResults all;
    std::optional<Failure> first;
    for (const Stage& stage : stages()) {
        const bool named =
            std::find(options.only.begin(), options.only.end(), stage.name) != options.only.end();
        if (options.only.empty() ? stage.only_named : !named) continue;
        const double begin = progress.seconds();
        const TestResults results = run_stage(stage, context, first);
        const report::TestCounts n = results.counts();
        progress.note(fmt::format("stage {}: {} passed, {} failed, {} skipped in {:.1f} s", stage.name,
                                  n.passed, n.failed, n.skipped, progress.seconds() - begin));
        print_cases(results);
        all.append(results, stage.name);
        if (machine::interrupted()) break;
    }
    return report::to_int(publish_tests(all, first, results_dir));
}

}  // namespace vttm::cli
