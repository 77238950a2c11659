// SPDX-License-Identifier: Apache-2.0
// A fault plan at work: who has been hit, and for each ring, whom the plan hits next.
//
// Events are counted by ring, and what is drawn is a function of the plan's seed, the rule, the
// ring and the number of the event: so it is the same each time the ring is given the same packets,
// whatever other rings and engines do meanwhile.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "host-backend/model/fault_plan.h"

namespace vttm::model {

class Clock;

// One event that a rule hits.
struct Strike {
    const FaultRule* rule = nullptr;
    unsigned index = 0;  // of the rule
    uint64_t event = 0;  // its number, from 1
    uint64_t draw = 0;   // 64 random bits
};

// The plan in force and what it has done. Engines add to it, the host reads.
class FaultRecord {
public:
    FaultRecord(FaultPlan plan, const Clock& clock);

    const FaultPlan& plan() const { return plan_; }
    void count_event(unsigned rule) {
        counts_[rule].events.fetch_add(1, std::memory_order_relaxed);
    }
    // @logged: an entry of its own, beyond the count.
    void injected(const Strike& strike, unsigned engine, unsigned ring, uint64_t addr, bool logged);
    uint64_t total() const { return total_.load(); }
    std::string json() const;

private:
    struct Count {
        std::atomic<uint64_t> events{0};
        std::atomic<uint64_t> injected{0};
    };
    struct Entry {
        uint64_t number;
        unsigned rule, engine, ring;
        uint64_t event, addr, time_ns;
    };

    const FaultPlan plan_;
    const Clock& clock_;
    std::vector<Count> counts_;
    std::atomic<uint64_t> total_{0};
    mutable std::mutex mu_;
    std::deque<Entry> log_;  // the last ones
    uint64_t logged_ = 0;
};

// The rules that concern one ring. For its engine's worker.
class FaultLane {
public:
    FaultLane(FaultRecord& record, unsigned engine, unsigned ring);

    // An event that rules of @kind (and @target) count: the rule that it is hit by, if any. Who
    // asks tells injected() when it is done.
    std::optional<Strike> event(FaultKind kind, FaultTarget target = kTargetNone);
    void injected(const Strike& strike, uint64_t addr, bool logged = true) {
        record_.injected(strike, engine_, ring_, addr, logged);
    }
    // Whether a rule is about it.
    bool has(FaultKind kind) const;
    // Both at once.
    std::optional<Strike> strike(FaultKind kind, FaultTarget target, uint64_t addr);

    // Whether this access to system memory shall fail. A packet's first one is the event.
    void packet_begins() { asked_ = false; }
    void packet_ends() { asked_ = true; }
    bool system_access_fails(uint64_t addr);
    // The first byte of VRAM [offset, offset + len) that cannot be read.
    std::optional<uint64_t> first_poisoned(uint64_t offset, uint64_t len) const;
    void poison_met(uint64_t offset);
    // 0: no limit.
    uint64_t bytes_per_second() const;
    void slowed_down();

private:
    struct Rule {
        const FaultRule* rule;
        unsigned index;
        uint64_t seen = 0;
        uint64_t hits = 0;
    };
    uint64_t draw(const Rule& rule) const;

    FaultRecord& record_;
    const unsigned engine_;
    const unsigned ring_;
    std::vector<Rule> rules_;
    bool asked_ = true;
};

}  // namespace vttm::model
