// SPDX-License-Identifier: Apache-2.0
// How much VRAM the host leaves the guest, and how much of it the guest keeps (VTTM_REG_VRAM_TARGET).
#pragma once

#include <cstdint>
#include <mutex>

#include "host-backend/model/bus.h"
#include "host-backend/model/irq.h"

namespace vttm::model {

class VramBalloon {
public:
    VramBalloon(Bus& bus, IrqController& irq);

    uint64_t target() const;
    uint64_t limit() const { return bus_.vram_limit(); }
    // By the host. false: not a multiple of VTTM_VRAM_LIMIT_UNIT, or more than there is.
    bool set_target(uint64_t bytes);
    // By the guest: changes the bits of @mask. false: a value that the register cannot take.
    bool write_limit(uint64_t val, uint64_t mask);
    void reset();

    struct State {
        uint64_t target = 0;
        uint64_t limit = 0;
    };
    State state() const { return {target(), limit()}; }
    void restore(const State& state);  // raises nothing, gives up nothing
    template <class Io>
    static void io(Io& io, State& s, uint64_t vram_size) {
        io.u64("target", s.target, vram_size);
        io.u64("limit", s.limit, vram_size);
        io.require(s.target % VTTM_VRAM_LIMIT_UNIT == 0, "target", "is not a multiple of 2 MiB");
        io.require(s.limit % VTTM_VRAM_LIMIT_UNIT == 0, "limit", "is not a multiple of 2 MiB");
    }

private:
    bool is_possible(uint64_t bytes) const;

    Bus& bus_;
    IrqController& irq_;
    mutable std::mutex mu_;  // target_, and changes of the limit
    uint64_t target_;
};

}  // namespace vttm::model
