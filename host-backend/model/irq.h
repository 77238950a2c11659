// SPDX-License-Identifier: Apache-2.0
// Interrupt status and enable. A vector fires when its event comes while it is enabled, and when
// it is enabled while its status bit is latched; so no event is lost between the two.
#pragma once

#include <cstdint>
#include <mutex>

#include "host-backend/model/bus.h"
#include "host-backend/model/tracer.h"
#include "protocol/vttm_regs.h"

namespace vttm::model {

class IrqController {
public:
    IrqController(const Bus& bus, const Tracer& trace) : bus_(bus), trace_(trace) {}

    void raise(uint32_t bit);
    // Two faults of the host: an event whose message gets lost, and a message without an event.
    void latch(uint32_t bit);
    void fire_spurious(uint32_t bit);
    // Nothing is sent any more; status goes on.
    void mute(bool on);
    void write_enable(uint32_t bits);
    void clear_status(uint32_t bits);
    void reset();
    uint32_t status() const;
    uint32_t enable() const;

    struct State {
        uint32_t status = 0;
        uint32_t enable = 0;
    };
    State state() const;
    void restore(const State& state);  // fires nothing
    template <class Io>
    static void io(Io& io, State& s) {
        constexpr uint32_t kAll = (1u << VTTM_NUM_VECTORS) - 1;
        io.u32("status", s.status, kAll);
        io.u32("enable", s.enable, kAll);
    }

private:
    void fire(uint32_t bits) const;
    uint32_t allowed(uint32_t bits) const { return muted_ ? 0 : bits; }  // mu_ held

    const Bus& bus_;
    const Tracer& trace_;
    mutable std::mutex mu_;
    uint32_t status_ = 0;
    uint32_t enable_ = 0;
    bool muted_ = false;
};

}  // namespace vttm::model
