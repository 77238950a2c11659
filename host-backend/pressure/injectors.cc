// SPDX-License-Identifier: Apache-2.0
#include "host-backend/pressure/injectors.h"

#include <algorithm>
#include <exception>
#include <stdexcept>

namespace vttm::pressure {
namespace {

using nlohmann::json;

std::uint64_t number(const json& reply, const char* key, std::uint64_t fallback) {
    const auto it = reply.find(key);
    return it != reply.end() && it->is_number_unsigned() ? it->get<std::uint64_t>() : fallback;
}

bool flag(const json& reply, const char* key) {
    const auto it = reply.find(key);
    return it != reply.end() && it->is_boolean() && it->get<bool>();
}

json call(machine::AgentClient& agent, const CallLimit& limit, const char* op,
          json args = nullptr) {
    return agent.call_until(limit.until, op, std::move(args), limit.each);
}

// For a destructor's release: it must not wait long for a guest that may be sick, but it is tried
// even when the scenario's time is over.
CallLimit last_try() { return {.each = std::chrono::seconds(10)}; }

}  // namespace

AnonymousHog::AnonymousHog(machine::AgentClient& agent, Config config)
    : agent_(agent), config_(config) {
    if (config_.step_mib == 0 || config_.touch_mib == 0)
        throw std::invalid_argument("AnonymousHog: a step of 0 MiB");
}

AnonymousHog::~AnonymousHog() {
    config_.limit = last_try();
    try {
        release();
    } catch (const std::exception&) {  // whoever asks the guest next has its own error to report
    }
}

Step AnonymousHog::step() {
    std::uint64_t grow = config_.step_mib;
    if (config_.max_mib != 0) {
        if (held_mib_ >= config_.max_mib) return {};
        grow = std::min(grow, config_.max_mib - held_mib_);
    }
    // Remembered first: a hog whose answer did not come holds memory all the same.
    asked_ = true;
    const json reply = call(agent_, config_.limit, "pressure.hog",
                            {{"mib", grow}, {"step_mib", std::min(config_.touch_mib, grow)}});
    Step step;
    step.killed = flag(reply, "killed");
    const std::uint64_t held = step.killed ? 0 : number(reply, "held_mib", held_mib_ + grow);
    step.amount = held > held_mib_ ? held - held_mib_ : 0;
    step.progressed = step.amount > 0;
    held_mib_ = held;
    return step;
}

void AnonymousHog::release() {
    if (!asked_) return;
    asked_ = false;
    held_mib_ = 0;
    call(agent_, config_.limit, "pressure.release");
}

MemcgLimit::MemcgLimit(machine::AgentClient& agent, Config config)
    : agent_(agent), config_(config) {
    if (config_.step_mib == 0 || config_.floor_mib == 0 || config_.start_mib < config_.floor_mib)
        throw std::invalid_argument("MemcgLimit: start >= floor > 0 and step > 0 wanted");
}

MemcgLimit::~MemcgLimit() {
    config_.limit = last_try();
    try {
        release();
    } catch (const std::exception&) {  // as above
    }
}

Step MemcgLimit::step() {
    if (limit_mib_ == config_.floor_mib) return {};
    const std::uint64_t next = limit_mib_ == 0 ? config_.start_mib
                               : limit_mib_ > config_.floor_mib + config_.step_mib
                                   ? limit_mib_ - config_.step_mib
                                   : config_.floor_mib;
    // Remembered first, as above.
    limit_mib_ = next;
    const json reply = call(agent_, config_.limit, "pressure.memcg", {{"limit_mib", next}});
    return {.progressed = true, .amount = next, .killed = flag(reply, "killed")};
}

void MemcgLimit::release() {
    if (limit_mib_ == 0) return;
    limit_mib_ = 0;
    call(agent_, config_.limit, "pressure.memcg", {{"limit_mib", 0}});
}

}  // namespace vttm::pressure
