// SPDX-License-Identifier: Apache-2.0
// Which pages with content are new ones. A page's flags do not tell whether it was allocated for content; that it was
// allocated during the shrink and holds content afterwards does.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <unordered_set>

namespace vttm::cli {

// Of backed-up content, in pages.
struct Content {
    std::uint64_t resident = 0;  // in memory
    std::uint64_t fresh = 0;     // of these, in a page that was allocated during the shrink
    bool operator==(const Content&) const = default;
};

class Allocations {
public:
    // `allocated` of the agent's shrinker.scan.
    void add(const nlohmann::json& allocated);
    // claim: of the agent's placement, after the shrink.
    Content content(const nlohmann::json& claim) const;

private:
    std::unordered_set<std::uint64_t> pages_;  // addresses
};

}  // namespace vttm::cli
