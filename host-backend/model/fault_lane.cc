// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/fault_lane.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "host-backend/model/executor.h"

namespace vttm::model {

namespace {

constexpr size_t kMaxLog = 256;

// splitmix64: the same on each machine, unlike the distributions of the standard library.
uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

bool concerns(const FaultRule& rule, unsigned engine, unsigned ring) {
    // Poison is where it is, whoever comes; what has no engine else was done when the plan came.
    if (rule.kind == FaultKind::vram_poison) return true;
    return rule.engine == engine && (!rule.ring || rule.ring == ring);
}

}  // namespace

// --- Record --------------------------------------------------------------------------------------

FaultRecord::FaultRecord(FaultPlan plan, const Clock& clock)
    : plan_(std::move(plan)), clock_(clock), counts_(plan_.rules.size()) {}

void FaultRecord::injected(const Strike& strike, unsigned engine, unsigned ring, uint64_t addr,
                           bool logged) {
    counts_[strike.index].injected.fetch_add(1);
    total_.fetch_add(1);
    if (!logged) return;
    const uint64_t now = clock_.now_ns();
    std::lock_guard lock(mu_);
    if (log_.size() == kMaxLog) log_.pop_front();
    log_.push_back({logged_++, strike.index, engine, ring, strike.event, addr, now});
}

std::string FaultRecord::json() const {
    static constexpr const char* kEngines[VTTM_NUM_ENGINES] = {"copy", "stamp"};
    nlohmann::ordered_json j{{"seed", plan_.seed},
                             {"total", total_.load()},
                             {"rules", nlohmann::ordered_json::array()},
                             {"log", nlohmann::ordered_json::array()}};
    for (size_t i = 0; i < counts_.size(); i++)
        j["rules"].push_back({{"kind", name_of(plan_.rules[i].kind)},
                              {"events", counts_[i].events.load()},
                              {"injected", counts_[i].injected.load()}});
    std::lock_guard lock(mu_);
    for (const Entry& e : log_)
        j["log"].push_back({{"number", e.number},
                            {"rule", e.rule},
                            {"kind", name_of(plan_.rules[e.rule].kind)},
                            {"engine", kEngines[e.engine]},
                            {"ring", e.ring},
                            {"event", e.event},
                            {"address", e.addr},
                            {"time_ns", e.time_ns}});
    return j.dump();
}

// --- Lane ----------------------------------------------------------------------------------------

FaultLane::FaultLane(FaultRecord& record, unsigned engine, unsigned ring)
    : record_(record), engine_(engine), ring_(ring) {
    const auto& rules = record.plan().rules;
    for (unsigned i = 0; i < rules.size(); i++)
        if (concerns(rules[i], engine, ring)) rules_.push_back({&rules[i], i});
}

uint64_t FaultLane::draw(const Rule& rule) const {
    const uint64_t who = uint64_t{rule.index} << 16 | engine_ << 8 | ring_;
    return mix(mix(mix(record_.plan().seed) ^ who) ^ rule.seen);
}

// Each rule counts each event; one event is hit by one rule of a kind, the first of the plan.
std::optional<Strike> FaultLane::event(FaultKind kind, FaultTarget target) {
    std::optional<Strike> strike;
    for (Rule& r : rules_) {
        if (r.rule->kind != kind || r.rule->target != target) continue;
        r.seen++;
        record_.count_event(r.index);
        if (strike || r.seen < r.rule->nth || (r.rule->count && r.hits == r.rule->count)) continue;
        const uint64_t bits = draw(r);
        // 53 bits make a double in [0, 1).
        if (static_cast<double>(bits >> 11) * 0x1p-53 >= r.rule->probability) continue;
        r.hits++;
        strike = Strike{r.rule, r.index, r.seen, mix(bits)};
    }
    return strike;
}

std::optional<Strike> FaultLane::strike(FaultKind kind, FaultTarget target, uint64_t addr) {
    const auto hit = event(kind, target);
    if (hit) injected(*hit, addr);
    return hit;
}

bool FaultLane::system_access_fails(uint64_t addr) {
    return !std::exchange(asked_, true) && strike(FaultKind::dma_error, kTargetData, addr);
}

std::optional<uint64_t> FaultLane::first_poisoned(uint64_t offset, uint64_t len) const {
    std::optional<uint64_t> first;
    for (const Rule& r : rules_) {
        if (r.rule->kind != FaultKind::vram_poison) continue;
        const uint64_t begin = r.rule->offset, end = begin + r.rule->pages * VTTM_PAGE_SIZE;
        const uint64_t from = std::max(begin, offset);
        if (from < end && from < offset + len) first = std::min(first.value_or(from), from);
    }
    return first;
}

void FaultLane::poison_met(uint64_t offset) {
    for (Rule& r : rules_) {
        if (r.rule->kind != FaultKind::vram_poison || offset < r.rule->offset ||
            offset - r.rule->offset >= r.rule->pages * VTTM_PAGE_SIZE)
            continue;
        record_.count_event(r.index);
        injected({r.rule, r.index, ++r.seen, 0}, offset);
        return;
    }
}

bool FaultLane::has(FaultKind kind) const {
    return std::ranges::any_of(rules_, [&](const Rule& r) { return r.rule->kind == kind; });
}

uint64_t FaultLane::bytes_per_second() const {
    uint64_t least = 0;
    for (const Rule& r : rules_)
        if (r.rule->kind == FaultKind::bandwidth && (!least || r.rule->bytes_per_second < least))
            least = r.rule->bytes_per_second;
    return least;
}

void FaultLane::slowed_down() {
    for (Rule& r : rules_) {
        if (r.rule->kind != FaultKind::bandwidth || r.rule->bytes_per_second != bytes_per_second())
            continue;
        record_.count_event(r.index);
        injected({r.rule, r.index, ++r.seen, 0}, 0, false);
        return;
    }
}

}  // namespace vttm::model
