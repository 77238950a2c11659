// SPDX-License-Identifier: Apache-2.0
// What the agent says of the KUnit suites, as test cases.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "host-backend/report/test_results.h"

namespace vttm::cli {

// reply: of the agent's `kunit` for so many modules. mode: ttm.backup as the kernel reads it back. Adds a
// failed case for a text that is no KTAP, for modules that gave no suite, and for another mode than asked.
void add_kunit_cases(const nlohmann::json& reply, std::size_t modules, const nlohmann::json& mode,
                     const std::string& backup, report::TestResults& into);

}  // namespace vttm::cli
