// SPDX-License-Identifier: Apache-2.0
// The stages of `./vttm test`. Each runs by itself and returns its cases; what it cannot run it
// reports as skipped with the reason.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "host-backend/cli/manifest.h"
#include "host-backend/cli/options.h"
#include "host-backend/cli/progress.h"
#include "host-backend/report/test_results.h"

namespace vttm::cli {

struct StageContext {
    const CommonOptions& common;
    const Manifest& manifest;
    std::filesystem::path source_root;
    Progress& progress;
};

// GoogleTest programs of this build in one Meson suite: "unit" (no machine) or "vm".
report::TestResults run_host_suite(const StageContext& context, const std::string& suite);
// The GoogleTest program in the guest.
report::TestResults run_guest_tests(const StageContext& context);
// The kernel's own KUnit suites, once per ttm.backup.
report::TestResults run_kunit(const StageContext& context);
// Faults planted from the host in a live swap cycle; each must be found and named.
report::TestResults run_self_test(const StageContext& context);
// A short swap cycle per backup.
report::TestResults run_short_cycles(const StageContext& context);

// One case; message says why it failed or was skipped.
report::TestCase make_case(std::string suite, std::string name, report::TestStatus status,
                           std::string message = "");

}  // namespace vttm::cli
