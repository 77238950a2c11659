// SPDX-License-Identifier: Apache-2.0
// What `./vttm bench` makes of several runs' reports. Times depend on the machine; the ratios are taken
// within one run each, so that they mean something on a loaded or emulated machine, too.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

namespace vttm::cli {

struct Figure {
    std::string name;
    std::string unit;            // "s", "ms/MiB"; "" for a ratio
    std::vector<double> values;  // one per run that has it

    double min() const;
    double median() const;  // of an even number the mean of the two in the middle
    double max() const;
};

// From reports of `./vttm run` (docs/report.md): time to the first content check, also in boots of the
// same run; per backup the time per MiB out and in, and both as a share of what `copy` took in the same
// run. Figures without a value are left out.
std::vector<Figure> bench_figures(const std::vector<nlohmann::json>& runs);

// A line each: name, min, median, max.
std::string format_figures(const std::vector<Figure>& figures);
nlohmann::json figures_json(const std::vector<Figure>& figures);

}  // namespace vttm::cli
