// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "host-backend/report/run_report.h"
#include "host-backend/report/test_results.h"

namespace vttm::cli {

// A case per cycle of the run: "<suite>.<backup>_<cycle>", passed if its verdict is a pass.
void add_cycle_cases(const report::RunReport& run, const std::string& suite,
                     report::TestResults& into);

}  // namespace vttm::cli
