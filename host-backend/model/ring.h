// SPDX-License-Identifier: Apache-2.0
// Takes packets out of a ring in guest memory.
#pragma once

#include <cstdint>

#include "host-backend/model/bus.h"
#include "host-backend/model/fault.h"
#include "host-backend/model/packet.h"

namespace vttm::model {

// The ring's registers at one moment.
struct RingState {
    uint64_t base = 0;
    uint32_t size = 0;  // 0: not set up
    uint32_t head = 0;
    uint32_t tail = 0;
};

// Copies the packet at HEAD into @out. On success returns no fault and sets @next_head. Every fault
// here is one that halts the engine. @ring.head != @ring.tail.
Fault fetch_packet(const Bus& bus, const RingState& ring, vttm_engine_class cls, Packet& out,
                   uint32_t& next_head);

bool ring_size_ok(uint32_t size);

}  // namespace vttm::model
