// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/meson_introspect.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "host-backend/cli/subprocess.h"
#include "host-backend/machine/errors.h"

namespace vttm::cli {

nlohmann::json meson_introspect(const std::filesystem::path& build, const std::string& what) {
    std::string text;
    const auto r = run_subprocess({.argv = {"meson", "introspect", what, build.string()},
                                   .on_line = [&](std::string_view l) { text.append(l).append("\n"); }});
    auto list = nlohmann::json::parse(text, nullptr, false);
    if (r.status == 0 && list.is_array()) return list;
    throw machine::InfraError({.what = fmt::format("meson introspect {} ended with {}", what, r.status),
                               .where = build,
                               .todo = "build again: ./vttm build; a broken folder: ./vttm clean first",
                               .excerpt = text.substr(0, 2000)});
}

}  // namespace vttm::cli
