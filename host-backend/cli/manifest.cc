// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/manifest.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "host-backend/machine/variant.h"

namespace vttm::cli {
namespace {

std::string text(const nlohmann::json& j, const char* key, const std::filesystem::path& from) {
    if (!j.contains(key) || !j[key].is_string())
        throw ManifestError(
            fmt::format("{}: key \"{}\" is missing or no string; run ./vttm build", from.string(), key));
    return j[key].get<std::string>();
}

std::filesystem::path file(const nlohmann::json& j, const char* key,
                           const std::filesystem::path& from) {
    std::filesystem::path p = text(j, key, from);
    if (!std::filesystem::is_regular_file(p))
        throw ManifestError(fmt::format("{}: \"{}\" names {}, which is not there; run ./vttm build",
                                        from.string(), key, p.string()));
    return p;
}

}  // namespace

Manifest load_manifest(const std::filesystem::path& path) {
    std::ifstream in(path);
    if (!in)
        throw ManifestError(
            fmt::format("cannot read {}; start through ./vttm, which writes it", path.string()));
    nlohmann::json j = nlohmann::json::parse(in, nullptr, false);
    if (!j.is_object())
        throw ManifestError(fmt::format("{} is not JSON; run ./vttm build", path.string()));
    Manifest m;
    m.qemu = file(j, "qemu", path);
    m.kernel = file(j, "kernel", path);
    m.initramfs = file(j, "initramfs", path);
    m.kernel_release = text(j, "kernel_release", path);
    m.variant = text(j, "variant", path);
    try {
        machine::variant_named(m.variant);
    } catch (const std::runtime_error& e) {
        throw ManifestError(fmt::format("{}: {}; run ./vttm build", path.string(), e.what()));
    }
    m.accel = text(j, "accel", path);
    if (m.accel != "kvm" && m.accel != "tcg")
        throw ManifestError(
            fmt::format("{}: accel is \"{}\", not kvm or tcg; run ./vttm doctor", path.string(), m.accel));
    return m;
}

}  // namespace vttm::cli
