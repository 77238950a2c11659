// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace vttm::cli {

// What Meson knows of a build: for "--tests" and "--benchmarks" a list of {name, suite, cmd, env, timeout}.
// Throws machine::InfraError if meson fails or gives no list.
nlohmann::json meson_introspect(const std::filesystem::path& build, const std::string& what);

}  // namespace vttm::cli
