// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "host-backend/cli/commands.h"
#include "host-backend/cli/stages/stage.h"
#include "host-backend/machine/errors.h"
#include "host-backend/report/exit_code.h"
#include "host-backend/report/run_report.h"

namespace vttm::cli {
namespace {

using report::TestStatus;

struct Stage {
    const char* name;
    const char* what;
    // False: the set-up gives all that its cases need, so a skip means that something is lost.
    bool may_skip;
    report::TestResults (*run)(const StageContext&);
};

constexpr Stage kStages[] = {
    {"unit", "host tests, no machine", true,
     [](const StageContext& c) { return run_host_suite(c, "unit"); }},
    {"vm", "QEMU device by qtest; machine errors by planted panics, hangs, kills", false,
     [](const StageContext& c) { return run_host_suite(c, "vm"); }},
    {"guest", "driver and library tests in the guest", false, run_guest_tests},
    {"kunit", "the kernel's KUnit suites, per ttm.backup", false, run_kunit},
    {"planted", "faults planted in RAM and swap file of a live cycle", false, run_self_test},
    {"cycle", "a short swap cycle per ttm.backup", false, run_short_cycles},
};

report::TestResults run_stage(const Stage& stage, const StageContext& context, int& worst) {
    try {
        return stage.run(context);
    } catch (const machine::Interrupted&) {
        throw;
    } catch (const machine::Error& e) {
        if (!worst) worst = e.exit_code();  // the first is the cause
        report::TestResults r;
        r.cases.push_back(make_case(stage.name, e.kind(), TestStatus::kFailed, e.what()));
        return r;
    } catch (const std::exception& e) {
        if (!worst) worst = report::to_int(report::ExitCode::kInfrastructure);
        report::TestResults r;
        r.cases.push_back(make_case(stage.name, "stage", TestStatus::kFailed, e.what()));
        return r;
    }
}

void fail_skips(report::TestResults& results) {
    for (auto& c : results.cases)
        if (c.status == TestStatus::kSkipped) {
            c.status = TestStatus::kFailed;
            c.message = "skipped where nothing may be skipped: " + c.message;
        }
}

void print_cases(const report::TestResults& results) {
    for (const auto& c : results.cases) {
        if (c.status == TestStatus::kPassed) continue;
        fmt::print("{}: {}\n", c.status == TestStatus::kFailed ? "FAILED" : "SKIP", c.full_name());
        if (!c.message.empty()) fmt::print("{}\n", c.message);
    }
    std::fflush(stdout);  // in order with the progress on stderr
}

int print_list() {
    for (const Stage& s : kStages) fmt::print("{:<8} {}\n", s.name, s.what);
    return 0;
}

}  // namespace

int test_command(const CommonOptions& common, const TestOptions& options) {
    if (options.list) return print_list();
    for (const std::string& name : options.only)
        if (std::none_of(std::begin(kStages), std::end(kStages),
                         [&](const Stage& s) { return name == s.name; })) {
            fmt::print(stderr, "vttm: no test stage \"{}\"; there are:\n", name);
            print_list();
            return report::to_int(report::ExitCode::kUsage);
        }
    const Manifest manifest = load_manifest(common.vm_json);
    Progress progress(common.quiet, common.started);
    const StageContext context{common, manifest, options.source_root, progress};

    report::TestResults all;
    int worst = 0;
    for (const Stage& stage : kStages) {
        if (!options.only.empty() &&
            std::find(options.only.begin(), options.only.end(), stage.name) == options.only.end())
            continue;
        const double begin = progress.seconds();
        report::TestResults results = run_stage(stage, context, worst);
        if (!stage.may_skip) fail_skips(results);
        const report::TestCounts n = results.counts();
        progress.note(fmt::format("stage {}: {} passed, {} failed, {} skipped in {:.1f} s", stage.name,
                                  n.passed, n.failed, n.skipped, progress.seconds() - begin));
        print_cases(results);
        all.append(results, stage.name);
    }

    const auto dir =
        options.results_dir.empty() ? common.build_dir() / "reports" : options.results_dir;
    std::filesystem::create_directories(dir);
    report::write_file((dir / "junit.xml").string(), report::to_junit(all, "vttm"));
    report::write_file((dir / "results.ktap").string(), report::to_ktap(all));
    fmt::print("results: {} (JUnit), results.ktap beside it\n", (dir / "junit.xml").string());
    const report::TestCounts n = all.counts();
    if (n.skipped)
        fmt::print("{} passed, {} failed, {} skipped\n", n.passed, n.failed, n.skipped);
    else
        fmt::print("{} passed, {} failed\n", n.passed, n.failed);
    std::fflush(stdout);
    if (worst) return worst;
    return n.failed || !n.passed ? report::to_int(report::ExitCode::kContent) : 0;
}

}  // namespace vttm::cli
