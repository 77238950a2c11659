// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/verdict.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <utility>

namespace vttm::oracle {
namespace {

constexpr std::size_t kListed = 5;  // bad pages named in a reason; the report lists all

// A class per witness; nothing for a witness that did not call the page bad.
using Opinions = std::map<PageId, Disagreement>;

Opinions opinions(const CycleResult& r) {
    Opinions out;
    const auto add = [&](const WitnessReport& w, std::optional<PageClass> Disagreement::*whose) {
        if (!w.present) return;
        for (const BadPage& bad : w.bad) {
            Disagreement& d = out[bad.id];
            d.id = bad.id;
            d.*whose = bad.cls;
        }
    };
    add(r.device, &Disagreement::device);
    add(r.cpu, &Disagreement::cpu);
    add(r.host, &Disagreement::host);
    return out;
}

// The classes that the witnesses that looked gave.
std::vector<std::optional<PageClass>> votes(const CycleResult& r, const Disagreement& d) {
    std::vector<std::optional<PageClass>> v;
    if (r.device.present) v.push_back(d.device);
    if (r.cpu.present) v.push_back(d.cpu);
    if (r.host.present) v.push_back(d.host);
    return v;
}

bool all_bad(const std::vector<std::optional<PageClass>>& v) {
    return std::all_of(v.begin(), v.end(), [](const auto& c) { return c.has_value(); });
}

bool all_same(const std::vector<std::optional<PageClass>>& v) {
    return std::adjacent_find(v.begin(), v.end(), std::not_equal_to<>()) == v.end();
}

std::string opinion(std::optional<PageClass> c) { return std::string(c ? name_of(*c) : "good"); }

// Collects reasons and keeps the heaviest kind.
class Judgement {
public:
    void add(VerdictKind kind, std::string reason) {
        reasons_.emplace_back(kind, std::move(reason));
    }
    Verdict finish(std::vector<Disagreement> split) {
        std::stable_sort(reasons_.begin(), reasons_.end(),
                         [](const auto& a, const auto& b) { return a.first > b.first; });
        Verdict v;
        if (!reasons_.empty()) v.kind = reasons_.front().first;
        for (auto& [kind, text] : reasons_) v.reasons.push_back(std::move(text));
        v.disagreements = std::move(split);
        return v;
    }

private:
    std::vector<std::pair<VerdictKind, std::string>> reasons_;
};

void judge_content(Judgement& j, const CycleResult& r, const std::vector<Disagreement>& split) {
    std::vector<std::string> listed;
    std::uint64_t bad = 0;
    for (const auto& [id, d] : opinions(r)) {
        const auto v = votes(r, d);
        if (!all_bad(v)) continue;
        if (bad++ < kListed) {
            listed.push_back(
                fmt::format("buffer {} page {} ({})", id.buffer, id.page, opinion(v.front())));
        }
    }
    if (bad) {
        j.add(VerdictKind::kContent,
              fmt::format("{} bad page{} for every witness: {}{}", bad, bad == 1 ? "" : "s",
                          fmt::join(listed, ", "), bad > kListed ? ", ..." : ""));
    }
    if (r.stale_uses) {
        j.add(VerdictKind::kContent,
              fmt::format("the device used {} stale translation(s): the driver reused pages "
                          "without invalidating",
                          r.stale_uses));
    }
    if (r.device_faults) {
        j.add(
            VerdictKind::kContent,
            fmt::format("the device met {} fault(s) in the driver's page tables", r.device_faults));
    }
    if (split.empty()) return;
    listed.clear();
    for (const Disagreement& d : split) {
        if (listed.size() == kListed) break;
        listed.push_back(fmt::format("buffer {} page {} (device {}, cpu {}, host {})", d.id.buffer,
                                     d.id.page, r.device.present ? opinion(d.device) : "-",
                                     r.cpu.present ? opinion(d.cpu) : "-",
                                     r.host.present ? opinion(d.host) : "-"));
    }
    j.add(VerdictKind::kDisagree,
          fmt::format("the witnesses disagree on {} page{}: {}{}", split.size(),
                      split.size() == 1 ? "" : "s", fmt::join(listed, ", "),
                      split.size() > kListed ? ", ..." : ""));
}

void judge_leaks(Judgement& j, const CycleResult& r) {
    for (const Balance& b : r.balances) {
        if (b.even()) continue;
        j.add(VerdictKind::kLeak,
              fmt::format("{} did not return: {} before, {} after{}{} (tolerance {})", b.name,
                          b.before, b.after, b.unit.empty() ? "" : " ", b.unit, b.tolerance));
    }
    if (r.strays) {
        j.add(VerdictKind::kLeak,
              fmt::format("{} pages of freed buffers still lie in guest RAM", r.strays));
    }
}

void judge_witness(Judgement& j, const CycleResult& r, const WitnessReport& w, Witness who,
                   bool needed) {
    if (!needed && !w.present) return;
    if (!w.present) {
        j.add(VerdictKind::kInconclusive, fmt::format("witness {} did not look", name_of(who)));
    } else if (w.checked != r.pages_filled) {
        j.add(VerdictKind::kInconclusive, fmt::format("witness {} checked {} of {} pages",
                                                      name_of(who), w.checked, r.pages_filled));
    }
}

void judge_path(Judgement& j, const CycleResult& r, const Policy& policy) {
    const auto say = [&](std::string reason) {
        j.add(VerdictKind::kInconclusive, std::move(reason));
    };
    if (r.pages_filled == 0) say("no page was filled");
    judge_witness(j, r, r.device, Witness::kDevice, policy.need_device);
    judge_witness(j, r, r.cpu, Witness::kCpu, policy.need_cpu);
    judge_witness(j, r, r.host, Witness::kHost, policy.need_host);
    // Not (a >= b): a share that is not a number must not pass.
    if (!(r.swapped_share >= policy.min_swapped_share)) {
        say(fmt::format("only {:.1f} % of the GTT pages were in the swap file (needed {:.1f} %)",
                        r.swapped_share * 100, policy.min_swapped_share * 100));
    }
    for (const std::string& name : policy.must_grow) {
        const auto it = r.counters.find(name);
        if (it == r.counters.end()) {
            say(fmt::format("counter {} is missing: cannot tell whether the path ran", name));
        } else if (it->second <= 0) {
            say(fmt::format("counter {} did not grow (delta {}): the path under test did not run",
                            name, it->second));
        }
    }
    for (const std::string& name : policy.must_not_grow) {
        const auto it = r.counters.find(name);
        if (it == r.counters.end()) {
            say(fmt::format("counter {} is missing: cannot tell which path ran", name));
        } else if (it->second > 0) {
            say(fmt::format("counter {} grew by {}: another path ran than the one under test", name,
                            it->second));
        }
    }
    if (policy.min_unchanged || policy.max_unchanged) {
        const auto share = r.zero_copy.share();
        if (!share || r.zero_copy.known() < policy.min_known_pages) {
            say(fmt::format("zero-copy: only {} pages were seen in the page cache (needed {})",
                            r.zero_copy.known(), policy.min_known_pages));
        } else if (policy.min_unchanged && *share < *policy.min_unchanged) {
            say(
                fmt::format("zero-copy: {:.2f} % of the pages kept their guest-physical page "
                            "(needed {:.2f} %)",
                            *share * 100, *policy.min_unchanged * 100));
        } else if (policy.max_unchanged && *share > *policy.max_unchanged) {
            say(
                fmt::format("zero-copy: {:.2f} % of the pages kept their guest-physical page "
                            "although this backup copies (at most {:.2f} %): the measurement or "
                            "the backup is not what it says",
                            *share * 100, *policy.max_unchanged * 100));
        }
    }
    if (policy.min_huge_unsplit_share) {
        const double share = r.runs.huge_groups ? static_cast<double>(r.runs.huge_unsplit) /
                                                      static_cast<double>(r.runs.huge_groups)
                                                : 0.0;
        if (!(share >= *policy.min_huge_unsplit_share)) {
            say(fmt::format("{} of {} 2 MiB pages reached the swap file unsplit (needed {:.1f} %)",
                            r.runs.huge_unsplit, r.runs.huge_groups,
                            *policy.min_huge_unsplit_share * 100));
        }
    }
    if (policy.max_second_copies && r.second_copies > *policy.max_second_copies) {
        say(fmt::format("{} second copies of pages in guest RAM (at most {})", r.second_copies,
                        *policy.max_second_copies));
    }
}

void judge_bounds(Judgement& j, const Counters& values, const std::vector<Bound>& bounds) {
    for (const Bound& b : bounds) {
        const auto it = values.find(b.name);
        if (it == values.end()) {
            j.add(VerdictKind::kInconclusive,
                  fmt::format("{} is missing: cannot tell whether {}", b.name, b.meaning));
        } else if (it->second > b.max) {
            j.add(b.kind, fmt::format("{}: {} is {} (at most {})", b.meaning, b.name, it->second, b.max));
        }
    }
}

}  // namespace

Counters delta(const Counters& before, const Counters& after) {
    Counters out;
    for (const auto& [name, value] : after) {
        const auto it = before.find(name);
        out[name] = value - (it == before.end() ? 0 : it->second);
    }
    return out;
}

bool Balance::even() const { return std::llabs(after - before) <= tolerance; }

Policy Policy::for_backup(std::string_view backup) {
    Policy p;
    if (backup == "insert") {
        p.must_grow.emplace_back("inserted_pages");
        p.min_unchanged = 0.99;
    } else if (backup == "swapcache") {
        p.must_grow.emplace_back("swapcache_pages");
        p.min_unchanged = 0.99;
    } else if (backup == "copy") {
        p.must_grow.emplace_back("copied_pages");
        p.must_not_grow.emplace_back("inserted_pages");
        p.max_unchanged = 0.01;
    }
    return p;
}

std::string_view name_of(VerdictKind k) {
    switch (k) {
        case VerdictKind::kPass:
            return "PASS";
        case VerdictKind::kInconclusive:
            return "INCONCLUSIVE";
        case VerdictKind::kLeak:
            return "LEAK";
        case VerdictKind::kDisagree:
            return "DISAGREE";
        case VerdictKind::kContent:
            return "CONTENT";
    }
    return "?";
}

std::vector<Disagreement> disagreements(const CycleResult& r) {
    std::vector<Disagreement> out;
    for (const auto& [id, d] : opinions(r)) {
        if (!all_same(votes(r, d))) out.push_back(d);
    }
    return out;
}

Verdict judge(const CycleResult& r, const Policy& policy) {
    Judgement j;
    std::vector<Disagreement> split = disagreements(r);
    judge_content(j, r, split);
    judge_leaks(j, r);
    judge_path(j, r, policy);
    judge_bounds(j, r.levels, policy.max_levels);
    judge_bounds(j, r.counters, policy.max_growth);
    return j.finish(std::move(split));
}

Verdict combine(std::span<const Verdict> verdicts) {
    Verdict out;
    std::vector<const Verdict*> order;
    for (const Verdict& v : verdicts) order.push_back(&v);
    std::stable_sort(order.begin(), order.end(),
                     [](const Verdict* a, const Verdict* b) { return a->kind > b->kind; });
    for (const Verdict* v : order) {
        out.kind = std::max(out.kind, v->kind);
        out.reasons.insert(out.reasons.end(), v->reasons.begin(), v->reasons.end());
        out.disagreements.insert(out.disagreements.end(), v->disagreements.begin(),
                                 v->disagreements.end());
    }
    return out;
}

}  // namespace vttm::oracle
