// SPDX-License-Identifier: Apache-2.0
#include "host-backend/pressure/injector.h"

namespace vttm::pressure {

Outcome step_until(Injector& injector, const std::function<bool(const Step&)>& reached,
                   unsigned max_steps) {
    if (reached(Step{})) return Outcome::kReached;
    for (unsigned i = 0; i < max_steps; ++i) {
        const Step step = injector.step();
        if (step.killed) return Outcome::kKilled;
        if (reached(step)) return Outcome::kReached;
        if (!step.progressed) return Outcome::kExhausted;
    }
    return Outcome::kStepLimit;
}

}  // namespace vttm::pressure
