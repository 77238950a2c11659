// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/compare/demands.h"

#include <fmt/format.h>

#include <utility>

namespace vttm::cli {
namespace {

class Judge {
public:
    explicit Judge(const Comparison& c) : c_(c) {}

    // @figure is nothing if it was not measured; @fails tells whether it misses @bound.
    template <typename Fails>
    void demand(const Way& way, const char* what, const char* unit, std::optional<double> figure,
                double bound, Fails fails) {
        if (!figure)
            lines_.push_back(fmt::format("{}: {} was not measured, but {}{} is demanded", way.label(),
                                         what, bound, unit));
        else if (fails(*figure, bound))
            lines_.push_back(fmt::format("{}: {} is {:.4g}{}, but {}{} is demanded", way.label(), what,
                                         *figure, unit, bound, unit));
    }

    void ratios(const Way& way, const char* what, double (*figure)(const MemoryRound&), double bound) {
        demand(way, what, "", paired_ratio(c_.memory, way, kBase, figure), bound,
               [](double is, double most) { return !(is <= most); });
    }

    void blocks(const Way& way, double bound) {
        const auto fewer = [](double is, double least) { return !(is >= least); };
        demand(way, "the share of 2 MiB blocks left", " %", blocks_left(c_.wear, way), bound, fewer);
        if (!c_.disk_wear.empty())
            demand(way, "the share of 2 MiB blocks left after cycles to disk", " %", blocks_left(c_.disk_wear, way),
                   bound, fewer);
    }

    void killed(const Way& way) {
        more_killed(way, "with hardly any memory", killed_in(c_.edge, way), killed_in(c_.edge, kBase));
        if (!c_.full.empty())
            more_killed(way, "with swap nearly full", killed_in(c_.full, way), killed_in(c_.full, kBase));
    }

    std::vector<std::string> take() { return std::move(lines_); }

private:
    // Only of as many runs can one have fewer kills than the other.
    void more_killed(const Way& way, const char* when, const Killed& is, const Killed& most) {
        if (is.runs == 0 || is.runs != most.runs)
            lines_.push_back(fmt::format("{}: OOM kills {} were not measured in as many runs as {}'s ({} and {}), but "
                                         "no more are demanded",
                                         way.label(), when, kBase.label(), is.runs, most.runs));
        else if (is.kills > most.kills)
            lines_.push_back(fmt::format("{}: {} OOM kills {} in {} runs, but no more than {}'s {} are demanded",
                                         way.label(), is.kills, when, is.runs, kBase.label(), most.kills));
    }

    inline static const Way kBase{"copy", "copy"};
    const Comparison& c_;
    std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> unmet(const Comparison& c, const Demands& demands) {
    Judge judge(c);
    bool any_way = false;
    for (const Way& way : c.ways) {
        if (!zero_copy(way)) continue;
        any_way = true;
        if (demands.max_out) judge.ratios(way, "out, times copy/copy,", ms_per_mib_out, *demands.max_out);
        if (demands.max_in && way.restore == "auto")
            judge.ratios(way, "in, times copy/copy,", ms_per_mib_in, *demands.max_in);
        if (demands.min_blocks) judge.blocks(way, *demands.min_blocks);
        if (demands.no_more_oom) judge.killed(way);
    }
    auto lines = judge.take();
    if (demands.any() && !any_way) lines.emplace_back("figures are demanded, but no zero-copy way was compared");
    return lines;
}

}  // namespace vttm::cli
