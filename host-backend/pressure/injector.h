// SPDX-License-Identifier: Apache-2.0
// Ways to put the guest under memory pressure, all driven from the host through the agent.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace vttm::pressure {

struct Step {
    // False when a further step cannot add pressure (limit reached, nothing left to reclaim).
    bool progressed = false;
    // Amount of this step in the injector's own unit (see its class); may be 0.
    std::uint64_t amount = 0;
    // The guest's OOM killer ended the hog; release() and start again.
    bool killed = false;
};

class Injector {
public:
    virtual ~Injector() = default;
    virtual std::string name() const = 0;
    // Adds one unit of pressure. Throws machine::Error of the agent call.
    virtual Step step() = 0;
    // Takes all of this injector's pressure away. Idempotent.
    virtual void release() = 0;
};

enum class Outcome {
    kReached,    // the predicate became true
    kExhausted,  // the injector could not add pressure any more
    kKilled,     // the hog was OOM-killed
    kStepLimit,  // max_steps steps were not enough
};

// Steps until `reached` says so; asks it before the first step and after each one.
Outcome step_until(Injector& injector, const std::function<bool(const Step&)>& reached,
                   unsigned max_steps);

}  // namespace vttm::pressure
