// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/irq.h"

namespace vttm::model {

namespace {
constexpr uint32_t kAllIrqs = (1u << VTTM_NUM_VECTORS) - 1;
}

// Bit n of status and enable belongs to MSI-X vector n (VTTM_IRQ_* and VTTM_MSIX_* agree).
void IrqController::fire(uint32_t bits) const {
    for (unsigned v = 0; v < VTTM_NUM_VECTORS; v++) {
        if (!(bits & (1u << v))) continue;
        trace_.device(VTTM_TRACE_IRQ, v);
        bus_.irq(v);
    }
}

void IrqController::raise(uint32_t bit) {
    uint32_t now;
    {
        std::lock_guard lock(mu_);
        status_ |= bit;
        now = allowed(bit & enable_);
    }
    fire(now);
}

void IrqController::latch(uint32_t bit) {
    std::lock_guard lock(mu_);
    status_ |= bit;
}

void IrqController::fire_spurious(uint32_t bit) {
    uint32_t now;
    {
        std::lock_guard lock(mu_);
        now = allowed(bit);
    }
    fire(now);
}

void IrqController::mute(bool on) {
    std::lock_guard lock(mu_);
    muted_ = on;
}

void IrqController::write_enable(uint32_t bits) {
    uint32_t now;
    {
        std::lock_guard lock(mu_);
        uint32_t added = bits & kAllIrqs & ~enable_;
        enable_ = bits & kAllIrqs;
        now = allowed(added & status_);
    }
    fire(now);
}

void IrqController::clear_status(uint32_t bits) {
    std::lock_guard lock(mu_);
    status_ &= ~bits;
}

void IrqController::reset() {
    std::lock_guard lock(mu_);
    status_ = 0;
    enable_ = 0;
}

IrqController::State IrqController::state() const {
    std::lock_guard lock(mu_);
    return {status_, enable_};
}

void IrqController::restore(const State& state) {
    std::lock_guard lock(mu_);
    status_ = state.status;
    enable_ = state.enable;
}

uint32_t IrqController::status() const {
    std::lock_guard lock(mu_);
    return status_;
}

uint32_t IrqController::enable() const {
    std::lock_guard lock(mu_);
    return enable_;
}

}  // namespace vttm::model
