// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/stages/cycle_cases.h"

#include <fmt/format.h>

#include "host-backend/cli/stages/stage.h"

namespace vttm::cli {

using report::TestStatus;

void add_cycle_cases(const report::RunReport& run, const std::string& suite,
                     report::TestResults& into) {
    for (const auto& cycle : run.cycles) {
        std::string why;
        for (const std::string& reason : cycle.verdict.reasons) why += reason + "\n";
        const bool pass = cycle.verdict.kind == oracle::VerdictKind::kPass;
        into.cases.push_back(make_case(suite,
                                       fmt::format("{}_{}", cycle.result.backup, cycle.result.cycle),
                                       pass ? TestStatus::kPassed : TestStatus::kFailed, why));
    }
}

}  // namespace vttm::cli
