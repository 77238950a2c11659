// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/bench_figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>

#include "host-backend/cli/median.h"

namespace vttm::cli {
namespace {

using nlohmann::json;

// Collects values under their names, in the order of first appearance.
class Collector {
public:
    void add(const std::string& name, const char* unit, std::optional<double> value) {
        if (!value) return;
        auto it = std::find_if(figures.begin(), figures.end(),
                               [&](const Figure& f) { return f.name == name; });
        if (it == figures.end()) it = figures.insert(figures.end(), {name, unit, {}});
        it->values.push_back(*value);
    }
    std::vector<Figure> figures;
};

// A time that was measured: a number above zero.
std::optional<double> positive(const json& j, const char* key) {
    if (!j.contains(key) || !j[key].is_number()) return std::nullopt;
    const double v = j[key].get<double>();
    return v > 0 ? std::optional(v) : std::nullopt;
}

std::optional<double> ratio(std::optional<double> a, std::optional<double> b) {
    return a && b ? std::optional(*a / *b) : std::nullopt;
}

}  // namespace

double Figure::min() const { return *std::min_element(values.begin(), values.end()); }
double Figure::max() const { return *std::max_element(values.begin(), values.end()); }

double Figure::median() const { return cli::median(values).value(); }

std::vector<Figure> bench_figures(const std::vector<json>& runs) {
    Collector c;
    for (const json& run : runs) {
        const auto check = positive(run, "seconds_to_first_check");
        c.add("first content check", "s", check);
        c.add("first content check / boot", "", ratio(check, positive(run, "seconds_to_boot")));
        std::map<std::string, json> times;
        for (const json& b : run.at("backups")) times[b.at("backup").get<std::string>()] = b.at("times");
        for (const char* way : {"out", "in"}) {
            const std::string key = fmt::format("ms_per_mib_{}", way);
            for (const auto& [backup, t] : times)
                c.add(fmt::format("{}, {}", backup, way), "ms/MiB", positive(t, key.c_str()));
            if (!times.contains("copy")) continue;
            for (const auto& [backup, t] : times)
                if (backup != "copy")
                    c.add(fmt::format("{} / copy, {}", backup, way), "",
                          ratio(positive(t, key.c_str()), positive(times["copy"], key.c_str())));
        }
    }
    return std::move(c.figures);
}

std::string format_figures(const std::vector<Figure>& figures) {
    std::string out = fmt::format("{:<34} {:>9} {:>9} {:>9}\n", "", "min", "median", "max");
    for (const Figure& f : figures)
        out += fmt::format("{:<34} {:>9.3f} {:>9.3f} {:>9.3f}\n",
                           f.unit.empty() ? f.name : fmt::format("{}, {}", f.name, f.unit), f.min(),
                           f.median(), f.max());
    return out;
}

json figures_json(const std::vector<Figure>& figures) {
    json out = json::array();
    for (const Figure& f : figures)
        out.push_back({{"name", f.name},
                       {"unit", f.unit},
                       {"min", f.min()},
                       {"median", f.median()},
                       {"max", f.max()},
                       {"values", f.values}});
    return out;
}

}  // namespace vttm::cli
