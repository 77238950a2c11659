// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/compare/allocations.h"

#include <nlohmann/json.hpp>
#include <string>

namespace vttm::cli {
namespace {

constexpr std::uint64_t kPage = 4096;

}  // namespace

void Allocations::add(const nlohmann::json& allocated) {
    for (const auto& run : allocated) {
        const auto first = run.at(0).get<std::uint64_t>();
        const auto count = run.at(1).get<std::uint64_t>();
        for (std::uint64_t i = 0; i < count; ++i) pages_.insert(first + i * kPage);
    }
}

Content Allocations::content(const nlohmann::json& claim) const {
    Content found;
    for (const auto& buffer : claim.at("buffers"))
        for (const auto& run : buffer.at("runs")) {
            const auto kind = run.at(2).get<std::string>();
            if (kind != "shmem" && kind != "swapcache") continue;
            const auto count = run.at(1).get<std::uint64_t>();
            const auto first = run.at(3).get<std::uint64_t>();
            found.resident += count;
            for (std::uint64_t i = 0; i < count; ++i) found.fresh += pages_.contains(first + i * kPage);
        }
    return found;
}

}  // namespace vttm::cli
