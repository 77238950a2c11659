// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/compare/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>

namespace vttm::cli {
namespace {

constexpr double kPagesPerMiB = 256;

std::int64_t counter(const oracle::Counters& c, const std::string& name) {
    const auto it = c.find(name);
    return it == c.end() ? 0 : it->second;
}

// All counters whose name begins so ("restored_in_place" and its orders, for instance).
std::int64_t counters(const oracle::Counters& c, std::string_view prefix) {
    std::int64_t sum = 0;
    for (const auto& [name, value] : c)
        if (name.starts_with(prefix)) sum += value;
    return sum;
}

double ms_per_mib(std::uint64_t ns, std::uint64_t pages) {
    return pages ? static_cast<double>(ns) / 1e6 / (static_cast<double>(pages) / kPagesPerMiB) : 0;
}

std::string number(std::optional<double> v, const char* format = "{:.2f}") {
    return v ? fmt::format(fmt::runtime(format), *v) : "-";
}

// One table: a row per figure, a column per way.
class Table {
public:
    Table(std::string title, const std::vector<Way>& ways) : ways_(ways) {
        text_ = fmt::format("| {} |", title);
        for (const Way& w : ways) text_ += fmt::format(" {} |", w.label());
        text_ += "\n|---|";
        for (std::size_t i = 0; i < ways.size(); ++i) text_ += "---|";
        text_ += "\n";
    }
    void row(const std::string& label, const std::function<std::string(const Way&)>& cell) {
        text_ += fmt::format("| {} |", label);
        for (const Way& w : ways_) text_ += fmt::format(" {} |", cell(w));
        text_ += "\n";
    }
    const std::string& text() const { return text_; }

private:
    const std::vector<Way>& ways_;
    std::string text_;
};

template <typename Round, typename Figure>
std::optional<double> median_of(const std::vector<Round>& rounds, const Way& way, Figure&& figure) {
    std::vector<double> values;
    for (const Round& r : rounds)
        if (r.way == way) values.push_back(static_cast<double>(figure(r)));
    return median(std::move(values));
}

template <typename Round, typename Figure>
std::uint64_t sum_of(const std::vector<Round>& rounds, const Way& way, Figure&& figure) {
    std::uint64_t sum = 0;
    for (const Round& r : rounds)
        if (r.way == way) sum += static_cast<std::uint64_t>(figure(r));
    return sum;
}

std::string memory_table(const Comparison& c) {
    Table t("to memory and back", c.ways);
    const Way base{"copy", "copy"};
    const Way first = std::find(c.ways.begin(), c.ways.end(), base) != c.ways.end() ? base
                                                                                     : c.ways.front();
    auto med = [&](const char* label, auto figure, const char* format = "{:.0f}") {
        t.row(label, [&](const Way& w) { return number(median_of(c.memory, w, figure), format); });
    };
    med("pages backed up", [](const MemoryRound& r) { return r.pages_out; });
    med("data pages allocated while shrinking", [](const MemoryRound& r) { return r.content.fresh; });
    med("pages of all kinds allocated meanwhile", [](const MemoryRound& r) { return r.allocated; });
    med("pages copied out", [](const MemoryRound& r) { return counter(r.out, "copied_pages"); });
    med("allocations split", [](const MemoryRound& r) { return counter(r.out, "split_folios"); });
    med("fallbacks to another backup",
        [](const MemoryRound& r) { return counters(r.out, "insert_fallback") + counters(r.out, "swapcache_fallback"); });
    med("pages copied back",
        [](const MemoryRound& r) { return counter(r.in, "restored_copied_pages"); });
    med("folios taken back whole",
        [](const MemoryRound& r) { return counters(r.in, "restored_in_place_order"); });
    med("ms per MiB out", [](const MemoryRound& r) { return ms_per_mib_out(r); }, "{:.3f}");
    med("ms per MiB in", [](const MemoryRound& r) { return ms_per_mib_in(r); }, "{:.3f}");
    t.row("out, times `" + first.label() + "`", [&](const Way& w) {
        return number(paired_ratio(c.memory, w, first, ms_per_mib_out), "{:.3f}");
    });
    t.row("in, times `" + first.label() + "`", [&](const Way& w) {
        return number(paired_ratio(c.memory, w, first, ms_per_mib_in), "{:.3f}");
    });
    t.row("bad pages", [&](const Way& w) {
        return std::to_string(sum_of(c.memory, w, [](const MemoryRound& r) { return r.bad; }));
    });
    return t.text();
}

std::string disk_table(const Comparison& c) {
    Table t("to disk and back", c.ways);
    auto med = [&](const char* label, auto figure, const char* format = "{:.0f}") {
        t.row(label, [&](const Way& w) { return number(median_of(c.disk, w, figure), format); });
    };
    med("pages in the swap file, as the host finds them",
        [](const DiskRound& r) { return r.pages_on_disk; });
    med("2 MiB runs there", [](const DiskRound& r) { return r.huge_groups; });
    med("of these unsplit", [](const DiskRound& r) { return r.huge_unsplit; });
    med("thp_swpout", [](const DiskRound& r) { return counter(r.out, "thp_swpout"); });
    med("thp_swpout_fallback", [](const DiskRound& r) { return counter(r.out, "thp_swpout_fallback"); });
    med("pages copied back", [](const DiskRound& r) { return counter(r.in, "restored_copied_pages"); });
    med("folios read back whole",
        [](const DiskRound& r) { return counters(r.in, "restored_swapin_order"); });
    med("ms per MiB out", [](const DiskRound& r) {
        return ms_per_mib(static_cast<std::uint64_t>(r.out_seconds * 1e9), r.pages_on_disk);
    }, "{:.2f}");
    med("ms per MiB in", [](const DiskRound& r) { return ms_per_mib(r.in_ns, r.pages_on_disk); }, "{:.2f}");
    t.row("bad pages", [&](const Way& w) {
        return std::to_string(sum_of(c.disk, w, [](const DiskRound& r) { return r.bad; }));
    });
    return t.text();
}

std::string wear_table(const Comparison& c, const std::vector<WearRun>& runs, const char* where) {
    Table t(fmt::format("{} cycles to {} and back", runs.front().cycles, where), c.ways);
    auto sum = [&](const char* label, auto figure) {
        t.row(label, [&](const Way& w) { return std::to_string(sum_of(runs, w, figure)); });
    };
    if (&runs == &c.disk_wear)
        sum("pages on disk only, the fewest in a cycle", [](const WearRun& r) { return r.pages_on_disk; });
    sum("free 2 MiB blocks before", [](const WearRun& r) { return r.blocks_before; });
    sum("free 2 MiB blocks after", [](const WearRun& r) { return r.blocks_after; });
    t.row("left", [&](const Way& w) { return number(blocks_left(runs, w), "{:.1f} %"); });
    sum("bad pages", [](const WearRun& r) { return r.bad; });
    return t.text();
}

std::string full_table(const Comparison& c) {
    std::string text =
        "| swap full before | way | pages backed up | of these on disk only | inserted | copied | "
        "in the swap cache | OOM kills | bad pages |\n|---|---|---|---|---|---|---|---|---|\n";
    for (const FullRun& r : c.full)
        text += fmt::format("| {:.1f} % | {} | {} of {} | {} | {} | {} | {} | {} | {} |\n",
                            100 * r.full_before, r.way.label(), r.pages_out, r.pages, r.pages_on_disk,
                            counter(r.counters, "inserted_pages"), counter(r.counters, "copied_pages"),
                            counter(r.counters, "swapcache_pages"), r.oom_kills, r.bad);
    return text;
}

std::string edge_table(const Comparison& c) {
    Table t("hardly any memory", c.ways);
    auto count = [&](const char* label, auto test) {
        t.row(label, [&](const Way& w) {
            return std::to_string(std::count_if(c.edge.begin(), c.edge.end(), [&](const EdgeRun& r) {
                return r.way == w && test(r);
            }));
        });
    };
    count("runs", [](const EdgeRun&) { return true; });
    count("runs with an OOM kill", [](const EdgeRun& r) { return r.oom_kills > 0; });
    count("runs in which the hog lived", [](const EdgeRun& r) { return r.hog_survived; });
    count("runs that broke off", [](const EdgeRun& r) { return !r.error.empty(); });
    t.row("pages backed up, median", [&](const Way& w) {
        return number(median_of(c.edge, w, [](const EdgeRun& r) { return r.pages_out; }), "{:.0f}");
    });
    t.row("bad pages", [&](const Way& w) {
        return std::to_string(sum_of(c.edge, w, [](const EdgeRun& r) { return r.bad; }));
    });
    return t.text();
}

nlohmann::json way_json(const Way& w) { return {{"backup", w.backup}, {"restore", w.restore}}; }

}  // namespace

std::optional<Way> parse_way(std::string_view text) {
    const std::size_t slash = text.find('/');
    Way way{std::string(text.substr(0, slash)),
            slash == text.npos ? "auto" : std::string(text.substr(slash + 1))};
    const bool known = (way.backup == "copy" || way.backup == "insert" || way.backup == "swapcache") &&
                       (way.restore == "auto" || way.restore == "copy");
    return known ? std::optional(std::move(way)) : std::nullopt;
}

bool zero_copy(const Way& way) { return way.backup != "copy"; }

Killed killed_in(const std::vector<FullRun>& runs, const Way& way) {
    Killed found;
    for (const FullRun& r : runs) {
        if (r.way != way) continue;
        ++found.runs;
        found.kills += r.oom_kills;
    }
    return found;
}

Killed killed_in(const std::vector<EdgeRun>& runs, const Way& way) {
    Killed found;
    for (const EdgeRun& r : runs) {
        if (r.way != way) continue;
        ++found.runs;
        found.kills += std::max<std::uint64_t>(r.oom_kills, r.hog_survived ? 0 : 1);
    }
    return found;
}

std::optional<double> blocks_left(const std::vector<WearRun>& runs, const Way& way) {
    return median_of(runs, way, [](const WearRun& r) {
        return r.blocks_before ? 100.0 * static_cast<double>(r.blocks_after) /
                                     static_cast<double>(r.blocks_before)
                               : 0;
    });
}

double ms_per_mib_out(const MemoryRound& r) { return ms_per_mib(r.out_ns, r.pages_out); }
double ms_per_mib_in(const MemoryRound& r) { return ms_per_mib(r.in_ns, r.pages_out); }

report::ExitCode judge(const Comparison& c, std::vector<std::string>* reasons) {
    using report::ExitCode;
    ExitCode worst = ExitCode::kPass;
    auto content = [&](const auto& rounds, const char* what) {
        for (const auto& r : rounds) {
            if (!r.bad) continue;
            reasons->push_back(fmt::format("{}, {}: {} bad pages", r.way.label(), what, r.bad));
            worst = ExitCode::kContent;
        }
    };
    content(c.memory, "to memory and back");
    content(c.disk, "to disk and back");
    content(c.wear, "many cycles");
    content(c.disk_wear, "many cycles to disk");
    content(c.full, "swap nearly full");
    content(c.edge, "hardly any memory");
    if (worst != ExitCode::kPass) return worst;

    auto missed = [&](const Way& way, const std::string& why) {
        reasons->push_back(fmt::format("{}: {}", way.label(), why));
        worst = ExitCode::kInconclusive;
    };
    for (const MemoryRound& r : c.memory) {
        const std::int64_t copied = counter(r.out, "copied_pages");
        if (r.pages_out < r.pages)
            missed(r.way, fmt::format("only {} of {} pages were backed up", r.pages_out, r.pages));
        if (zero_copy(r.way) && copied > 0)
            missed(r.way, fmt::format("copied {} pages out", copied));
        if (!zero_copy(r.way) && copied < static_cast<std::int64_t>(r.pages_out))
            missed(r.way, fmt::format("copied only {} of {} pages out", copied, r.pages_out));
        if (r.content.resident < r.pages)
            missed(r.way, fmt::format("only {} of {} pages lay in memory, to tell new ones from old ones",
                                      r.content.resident, r.pages));
        if (zero_copy(r.way) && r.content.fresh > 0)
            missed(r.way, fmt::format("allocated {} pages for content while shrinking", r.content.fresh));
        if (!zero_copy(r.way) && r.content.fresh < r.content.resident)
            missed(r.way, fmt::format("the trace shows only {} of {} pages that a copy must allocate",
                                      r.content.fresh, r.content.resident));
    }
    for (const DiskRound& r : c.disk)
        if (r.pages_on_disk < r.pages * 3 / 4)
            missed(r.way, fmt::format("only {} of {} pages reached the disk", r.pages_on_disk, r.pages));
    for (const WearRun& r : c.disk_wear)
        if (r.pages_on_disk < r.pages * 3 / 4)
            missed(r.way, fmt::format("in a cycle to disk only {} of {} pages reached it", r.pages_on_disk, r.pages));
    for (const EdgeRun& r : c.edge)
        if (!r.error.empty()) missed(r.way, r.error);
    return worst;
}

std::string to_markdown(const Comparison& c) {
    std::string text = fmt::format("{} buffers of {} KiB; Linux {}; {}{}; seed {}\n\n", c.buffers,
                                   c.buffer_bytes >> 10, c.kernel_release, c.accelerator,
                                   c.accelerator == "tcg" ? " (emulated: ratios and counts count, times do not)"
                                                          : "", c.seed);
    if (!c.memory.empty()) text += memory_table(c) + "\n";
    if (!c.disk.empty()) text += disk_table(c) + "\n";
    if (!c.wear.empty()) text += wear_table(c, c.wear, "memory") + "\n";
    if (!c.disk_wear.empty()) text += wear_table(c, c.disk_wear, "disk") + "\n";
    if (!c.full.empty()) text += full_table(c) + "\n";
    if (!c.edge.empty()) text += edge_table(c) + "\n";
    text.pop_back();
    return text;
}

nlohmann::json to_json(const Comparison& c) {
    nlohmann::json out{{"started", c.started},       {"kernel_release", c.kernel_release},
                       {"accelerator", c.accelerator}, {"seed", c.seed},
                       {"buffers", c.buffers},       {"buffer_bytes", c.buffer_bytes}};
    auto list = [&](const char* name, const auto& rounds, auto&& fields) {
        out[name] = nlohmann::json::array();
        for (const auto& r : rounds) {
            nlohmann::json one = fields(r);
            one["way"] = way_json(r.way);
            one["bad"] = r.bad;
            out[name].push_back(std::move(one));
        }
    };
    list("memory", c.memory, [](const MemoryRound& r) {
        return nlohmann::json{{"pages", r.pages}, {"pages_out", r.pages_out}, {"out_ns", r.out_ns},
                              {"in_ns", r.in_ns}, {"allocated", r.allocated},
                              {"content", {{"resident", r.content.resident}, {"fresh", r.content.fresh}}},
                              {"out", r.out}, {"in", r.in}};
    });
    list("disk", c.disk, [](const DiskRound& r) {
        return nlohmann::json{{"pages", r.pages}, {"pages_on_disk", r.pages_on_disk},
                              {"huge_groups", r.huge_groups}, {"huge_unsplit", r.huge_unsplit},
                              {"out_seconds", r.out_seconds}, {"in_ns", r.in_ns}, {"out", r.out}, {"in", r.in}};
    });
    const auto worn = [](const WearRun& r) {
        return nlohmann::json{{"cycles", r.cycles}, {"pages", r.pages}, {"pages_on_disk", r.pages_on_disk},
                              {"blocks_before", r.blocks_before}, {"blocks_after", r.blocks_after}};
    };
    list("wear", c.wear, worn);
    list("disk_wear", c.disk_wear, worn);
    list("full", c.full, [](const FullRun& r) {
        return nlohmann::json{{"full_before", r.full_before}, {"pages", r.pages}, {"pages_out", r.pages_out},
                              {"pages_on_disk", r.pages_on_disk}, {"oom_kills", r.oom_kills},
                              {"counters", r.counters}};
    });
    list("edge", c.edge, [](const EdgeRun& r) {
        return nlohmann::json{{"oom_kills", r.oom_kills}, {"hog_survived", r.hog_survived},
                              {"pages_out", r.pages_out}, {"error", r.error}};
    });
    return out;
}

}  // namespace vttm::cli
