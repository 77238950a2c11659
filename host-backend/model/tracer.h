// SPDX-License-Identifier: Apache-2.0
// When the device did what (protocol/vttm_trace.h), for an embedder that wants to know. For another one
// nothing is done, not even the clock is read.
#pragma once

#include <cstdint>

#include "host-backend/model/bus.h"
#include "host-backend/model/executor.h"

namespace vttm::model {

class Tracer {
public:
    Tracer(const Bus& bus, const Clock& clock) : bus_(bus), clock_(clock) {}

    void engine(vttm_trace_kind kind, unsigned engine, unsigned ring, uint64_t value,
                uint64_t addr = 0) const {
        if (!bus_.wants_trace()) [[likely]]
            return;
        bus_.trace({.kind = static_cast<uint32_t>(kind),
                    .engine = static_cast<uint16_t>(engine),
                    .ring = static_cast<uint16_t>(ring),
                    .time_ns = clock_.now_ns(),
                    .value = value,
                    .addr = addr});
    }
    void device(vttm_trace_kind kind, uint64_t value = 0) const {
        engine(kind, VTTM_TRACE_NONE, VTTM_TRACE_NONE, value);
    }

private:
    const Bus& bus_;
    const Clock& clock_;
};

}  // namespace vttm::model
