// SPDX-License-Identifier: Apache-2.0
// What a caller demands of the figures of `./vttm compare`, to fail a CI job that no longer meets it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "host-backend/cli/compare/figures.h"

namespace vttm::cli {

// Of each zero-copy way; nothing is demanded where there is no value.
struct Demands {
    std::optional<double> max_out;     // time out, as a share of that of upstream's copying (copy/copy)
    std::optional<double> max_in;      // time in, likewise; only of ways whose way back does not copy
    std::optional<double> min_blocks;  // free 2 MiB blocks after the cycles, percent of those before
    // No more processes killed for lack of memory than with copy/copy: in the edge runs, which are then due, and while
    // swap is nearly full.
    bool no_more_oom = false;

    bool any() const { return max_out || max_in || min_blocks || no_more_oom; }
};

// What is not met, one line each; a demand of which nothing was measured is not met.
std::vector<std::string> unmet(const Comparison& c, const Demands& demands);

}  // namespace vttm::cli
