// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/fault_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"

namespace vttm::model {

namespace {

using nlohmann::json;

constexpr size_t kMaxText = 64 * 1024;
constexpr size_t kMaxRules = 256;
constexpr uint64_t kMaxUs = 60'000'000;  // a minute: a delay, not a hang
constexpr uint64_t kMaxBytes = VTTM_PAGE_SIZE;
constexpr uint64_t kMaxPackets = 1'000'000;
constexpr uint64_t kMaxChunks = 1'000'000;
constexpr uint64_t kMaxResetsAtOnce = 1000;
constexpr uint64_t kAny = std::numeric_limits<uint64_t>::max();

constexpr std::array<const char*, kFaultKinds> kNames{
    "engine-hang", "irq-lost", "irq-spurious",  "fence-late",       "fence-early",
    "fence-never", "bit-flip", "write-dropped", "write-reordered",  "dma-error",
    "vram-poison", "latency",  "bandwidth",     "surprise-removal", "device-reset"};
constexpr std::array<const char*, VTTM_NUM_ENGINES> kEngines{"copy", "stamp"};

template <typename Names>
std::string list(const Names& names) {
    std::string text;
    for (const char* name : names) text += (text.empty() ? "" : ", ") + std::string(name);
    return text;
}

// The members of one JSON object; each is asked for once, and what nobody asked for is an error.
class Members {
public:
    Members(const json& object, std::string where) : object_(object), where_(std::move(where)) {
        if (!object.is_object()) fail("is no object: write {...}");
    }

    [[noreturn]] void fail(const std::string& what) const {
        throw FaultPlanError(where_ + " " + what);
    }
    bool has(const char* key) const { return object_.contains(key); }

    uint64_t number(const char* key, uint64_t fallback, uint64_t least, uint64_t most) {
        const json* value = take(key);
        if (!value) return fallback;
        // Also refuses negative numbers and fractions.
        if (!value->is_number_unsigned() || value->get<uint64_t>() < least ||
            value->get<uint64_t>() > most)
            fail("has '" + std::string(key) + "': " + value->dump() +
                 ": it must be a whole number, at least " + std::to_string(least) +
                 (most == kAny ? "" : ", at most " + std::to_string(most)));
        return value->get<uint64_t>();
    }
    std::optional<uint64_t> optional(const char* key, uint64_t most) {
        if (!has(key)) return std::nullopt;
        return number(key, 0, 0, most);
    }
    double fraction(const char* key, double least, double most) {
        const json* value = take(key);
        const double v = value && value->is_number() ? value->get<double>() : -1;
        if (!(v > least && v <= most))
            fail("has '" + std::string(key) + "': " + (value ? value->dump() : "nothing") +
                 ": it must be a number above " + json(least).dump() + ", at most " +
                 json(most).dump());
        return v;
    }
    // The index of the member's text in @names.
    template <typename Names>
    unsigned one_of(const char* key, const Names& names) {
        const json* value = take(key);
        if (!value) fail("has no '" + std::string(key) + "': it must be one of " + list(names));
        if (value->is_string())
            for (unsigned i = 0; i < names.size(); i++)
                if (value->get_ref<const std::string&>() == names[i]) return i;
        fail("has '" + std::string(key) + "': " + value->dump() + ": it must be one of " +
             list(names));
    }
    const json* take(const char* key) {
        taken_.insert(key);
        const auto it = object_.find(key);
        return it == object_.end() ? nullptr : &*it;
    }
    void nothing_else() const {
        for (const auto& [key, value] : object_.items())
            if (!taken_.contains(key))
                fail("has '" + key + "', which nothing here knows: it may have " + list(known()));
    }

private:
    std::vector<const char*> known() const {
        std::vector<const char*> keys;
        for (const std::string& key : taken_) keys.push_back(key.c_str());
        return keys;
    }

    const json& object_;
    const std::string where_;
    std::set<std::string> taken_;
};

// Where the rule strikes, and how often.
void parse_events(Members& in, FaultRule& rule) {
    const bool may_be_at_once =
        rule.kind == FaultKind::surprise_removal || rule.kind == FaultKind::device_reset;
    const bool at_once = may_be_at_once && !in.has("engine");
    const bool endless = rule.kind == FaultKind::latency;

    if (!at_once) {
        rule.engine = in.one_of("engine", kEngines);
        if (const auto ring = in.optional("ring", VTTM_NUM_RINGS - 1))
            rule.ring = static_cast<unsigned>(*ring);
        rule.nth = in.number("nth", 1, 1, kAny);
        if (in.has("probability")) rule.probability = in.fraction("probability", 0, 1);
    }
    if (rule.kind == FaultKind::surprise_removal) return;  // there is but one
    rule.count = at_once ? in.number("count", 1, 1, kMaxResetsAtOnce)
                         : in.number("count", endless ? 0 : 1, 0, kAny);
}

// Which bytes of those that a packet writes, or reads.
void parse_bytes(Members& in, FaultRule& rule) {
    rule.byte = in.optional("byte", kAny);
    if (rule.kind != FaultKind::bit_flip) {
        rule.bytes = in.number("bytes", 64, 1, kMaxBytes);
        return;
    }
    static constexpr std::array<const char*, 2> kAccesses{"write", "read"};
    if (in.has("access") && in.one_of("access", kAccesses)) rule.target = kTargetRead;
    rule.bytes = 1;
    if (const auto bit = in.optional("bit", 7)) rule.bit = static_cast<unsigned>(*bit);
}

void parse_target(Members& in, FaultRule& rule) {
    static constexpr std::array<const char*, 3> kVectors{"engine", "error", "vram"};
    static constexpr std::array<const char*, 3> kAccesses{"data", "ring", "fence"};

    if (rule.kind == FaultKind::dma_error) {
        rule.target = kTargetData;
        if (in.has("access"))
            rule.target = static_cast<FaultTarget>(kTargetData + in.one_of("access", kAccesses));
        return;
    }
    rule.target = kTargetEngineIrq;
    if (in.has("vector"))
        rule.target = static_cast<FaultTarget>(kTargetEngineIrq + in.one_of("vector", kVectors));
    if (rule.kind == FaultKind::irq_lost && rule.target == kTargetVramIrq)
        in.fail("has 'vector': \"vram\": no engine raises that; it must be one of engine, error");
}

void parse_delay(Members& in, FaultRule& rule) {
    const bool needs_us = rule.kind == FaultKind::latency || rule.kind == FaultKind::fence_early;
    const uint64_t least_packets = rule.kind == FaultKind::write_reordered;

    if (needs_us && !in.has("us")) in.fail("has no 'us': say how many microseconds");
    rule.us = std::chrono::microseconds(in.number("us", 0, needs_us, kMaxUs));
    if (needs_us) return;
    rule.packets = in.number("packets", least_packets, least_packets, kMaxPackets);
    if (!rule.packets && !rule.us.count())
        in.fail("is not late at all: give 'us', or 'packets' that overtake it");
}

void parse_poison(Members& in, FaultRule& rule, uint64_t vram_size) {
    if (!in.has("offset")) in.fail("has no 'offset': say where in VRAM");
    rule.offset = in.number("offset", 0, 0, vram_size - VTTM_PAGE_SIZE);
    if (rule.offset % VTTM_PAGE_SIZE)
        in.fail("has 'offset': " + std::to_string(rule.offset) + ": it must be a multiple of " +
                std::to_string(VTTM_PAGE_SIZE));
    rule.pages = in.number("pages", 1, 1, (vram_size - rule.offset) / VTTM_PAGE_SIZE);
}

FaultRule parse_rule(const json& object, const std::string& where, uint64_t vram_size) {
    Members in(object, where);
    FaultRule rule;
    rule.kind = static_cast<FaultKind>(in.one_of("kind", kNames));
    switch (rule.kind) {
        case FaultKind::vram_poison:
            parse_poison(in, rule, vram_size);
            break;
        case FaultKind::bandwidth:
            rule.engine = in.one_of("engine", kEngines);
            // From 4 KiB/s: a chunk of 256 KiB then takes a minute.
            rule.bytes_per_second = static_cast<uint64_t>(
                std::ceil(in.fraction("mib_per_second", 0.0039, 1e6) * (1 << 20)));
            break;
        case FaultKind::irq_lost:
        case FaultKind::irq_spurious:
        case FaultKind::dma_error:
            parse_events(in, rule);
            parse_target(in, rule);
            break;
        case FaultKind::engine_hang:
            parse_events(in, rule);
            rule.chunks = in.number("chunks", 0, 0, kMaxChunks);
            break;
        case FaultKind::bit_flip:
        case FaultKind::write_dropped:
            parse_events(in, rule);
            parse_bytes(in, rule);
            break;
        case FaultKind::write_reordered:
            parse_events(in, rule);
            parse_bytes(in, rule);
            parse_delay(in, rule);
            break;
        case FaultKind::latency:
        case FaultKind::fence_late:
        case FaultKind::fence_early:
            parse_events(in, rule);
            parse_delay(in, rule);
            break;
        default:
            parse_events(in, rule);
            break;
    }
    in.nothing_else();
    return rule;
}

}  // namespace

const char* name_of(FaultKind kind) { return kNames[static_cast<size_t>(kind)]; }

FaultPlan parse_fault_plan(std::string_view text, uint64_t vram_size) {
    FaultPlan plan;
    if (text.find_first_not_of(" \t\r\n") == text.npos) return plan;
    if (text.size() > kMaxText)
        throw FaultPlanError("the plan has " + std::to_string(text.size()) + " bytes: at most " +
                             std::to_string(kMaxText) + " are taken");
    // The parser's events, to refuse what it would let pass: members that are there twice, and
    // depth.
    std::vector<std::set<std::string>> keys;
    const auto check = [&keys](int depth, json::parse_event_t event, json& value) {
        if (depth > 4)
            throw FaultPlanError("the plan is nested too deep: it is {\"faults\": [{...}]}");
        if (event == json::parse_event_t::object_start) keys.emplace_back();
        if (event == json::parse_event_t::object_end) keys.pop_back();
        if (event == json::parse_event_t::key &&
            !keys.back().insert(value.get<std::string>()).second)
            throw FaultPlanError("the plan has " + value.dump() + " twice in one object");
        return true;
    };
    json j;
    try {
        j = json::parse(text.begin(), text.end(), check);
    } catch (const json::exception& e) {
        throw FaultPlanError("the plan is no JSON: " + std::string(e.what()));
    }
    Members in(j, "the plan");
    plan.seed = in.number("seed", 0, 0, kAny);
    const json* faults = in.take("faults");
    in.nothing_else();
    if (!faults || !faults->is_array() || faults->size() > kMaxRules)
        in.fail("needs 'faults': [{\"kind\": ...}, ...], of at most " + std::to_string(kMaxRules));
    for (size_t i = 0; i < faults->size(); i++)
        plan.rules.push_back(
            parse_rule((*faults)[i], "faults[" + std::to_string(i) + "]", vram_size));
    return plan;
}

}  // namespace vttm::model
