// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/vram_balloon.h"

#include <algorithm>

#include "protocol/vttm_regs.h"

namespace vttm::model {

VramBalloon::VramBalloon(Bus& bus, IrqController& irq)
    : bus_(bus), irq_(irq), target_(bus.vram_size()) {}

bool VramBalloon::is_possible(uint64_t bytes) const {
    return bytes <= bus_.vram_size() && bytes % VTTM_VRAM_LIMIT_UNIT == 0;
}

uint64_t VramBalloon::target() const {
    std::lock_guard lock(mu_);
    return target_;
}

bool VramBalloon::set_target(uint64_t bytes) {
    if (!is_possible(bytes)) return false;
    {
        std::lock_guard lock(mu_);
        if (target_ == bytes) return true;
        target_ = bytes;
    }
    irq_.raise(VTTM_IRQ_VRAM);
    return true;
}

bool VramBalloon::write_limit(uint64_t val, uint64_t mask) {
    uint64_t was, now;
    {
        std::lock_guard lock(mu_);
        was = bus_.vram_limit();
        now = (was & ~mask) | (val & mask);
        if (!is_possible(now) || now > std::max(was, target_)) return false;
        // What is given up is freed within this write: not any amount at once.
        if (now < was && was - now > VTTM_VRAM_LIMIT_STEP) return false;
        bus_.set_vram_limit(now);
    }
    if (now < was) bus_.vram_given_up(now, was - now);
    return true;
}

void VramBalloon::restore(const State& state) {
    std::lock_guard lock(mu_);
    target_ = state.target;
    bus_.set_vram_limit(state.limit);
}

// The target is the host's, and stays.
void VramBalloon::reset() {
    std::lock_guard lock(mu_);
    bus_.set_vram_limit(bus_.vram_size());
}

}  // namespace vttm::model
