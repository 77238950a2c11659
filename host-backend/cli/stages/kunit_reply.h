// SPDX-License-Identifier: Apache-2.0
// What the agent says of the KUnit suites, as test cases.
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "host-backend/report/test_results.h"

namespace vttm::cli {

// reply: of the agent's `kunit` for so many modules. mode: ttm.backup as the kernel reads it back. Adds a
// failed case for a text that is no KTAP, for modules that gave no suite, and for another mode than asked.
void add_kunit_cases(const nlohmann::json& reply, std::size_t modules, const nlohmann::json& mode,
                     const std::string& backup, report::TestResults& into);

// Appends what the kernel said, word for word: with what cases that pass measured. `file` and its folder are made.
// Throws std::runtime_error if it cannot be written.
void keep_kunit_text(const nlohmann::json& reply, const std::filesystem::path& file);

}  // namespace vttm::cli
