// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/manifest.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "host-backend/machine/variant.h"

namespace vttm::cli {
namespace {

std::string text(const nlohmann::json& j, const char* key, const std::filesystem::path& from) {
    if (!j.contains(key) || !j[key].is_string())
        throw std::runtime_error(
            fmt::format("{}: key \"{}\" is missing or no string; run ./vttm build", from.string(), key));
    return j[key].get<std::string>();
}

std::filesystem::path file(const nlohmann::json& j, const char* key,
                           const std::filesystem::path& from) {
    std::filesystem::path p = text(j, key, from);
    if (!std::filesystem::is_regular_file(p))
        throw std::runtime_error(fmt::format("{}: \"{}\" names {}, which is not there; run ./vttm build",
                                             from.string(), key, p.string()));
    return p;
}

}  // namespace

Manifest load_manifest(const std::filesystem::path& path) {
    std::ifstream in(path);
    if (!in)
        throw std::runtime_error(
            fmt::format("cannot read {}; start through ./vttm, which writes it", path.string()));
    nlohmann::json j = nlohmann::json::parse(in, nullptr, false);
    if (!j.is_object())
        throw std::runtime_error(fmt::format("{} is not JSON; run ./vttm build", path.string()));
    Manifest m;
    m.qemu = file(j, "qemu", path);
    m.kernel = file(j, "kernel", path);
    m.initramfs = file(j, "initramfs", path);
    m.kernel_release = text(j, "kernel_release", path);
    m.variant = text(j, "variant", path);
    machine::variant_named(m.variant);
    m.accel = text(j, "accel", path);
    if (m.accel != "kvm" && m.accel != "tcg")
        throw std::runtime_error(
            fmt::format("{}: accel is \"{}\", not kvm or tcg; run ./vttm doctor", path.string(), m.accel));
    return m;
}

std::optional<std::string> variant_of(const std::filesystem::path& path) {
    std::ifstream in(path);
    const nlohmann::json j = nlohmann::json::parse(in, nullptr, false);
    if (!j.is_object() || !j.contains("variant") || !j["variant"].is_string()) return std::nullopt;
    return j["variant"].get<std::string>();
}

}  // namespace vttm::cli
