// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/ring.h"

#include <algorithm>
#include <bit>

namespace vttm::model {

namespace {

// Copies @n dwords from byte offset @pos on, around the end of the ring. Each dword is read once.
bool read_ring(const Bus& bus, const RingState& ring, uint32_t pos, uint32_t* out, uint32_t n) {
    while (n) {
        pos &= ring.size - 1;
        uint32_t bytes = std::min<uint32_t>(n * 4, ring.size - pos);
        Bus::Mapping m = bus.map(ring.base + pos, bytes, false);
        uint32_t got = static_cast<uint32_t>(m.size() / 4);
        if (!got || reinterpret_cast<uintptr_t>(m.data()) % 4) return false;
        const uint32_t* src = reinterpret_cast<const uint32_t*>(m.data());
        for (uint32_t i = 0; i < got; i++) out[i] = __atomic_load_n(src + i, __ATOMIC_RELAXED);
        out += got;
        n -= got;
        pos += got * 4;
    }
    return true;
}

}  // namespace

bool ring_size_ok(uint32_t size) {
    return size >= VTTM_RING_MIN_SIZE && size <= VTTM_RING_MAX_SIZE && std::has_single_bit(size);
}

Fault fetch_packet(const Bus& bus, const RingState& ring, vttm_engine_class cls, Packet& out,
                   uint32_t& next_head) {
    const uint64_t at = ring.base + ring.head;
    const Fault bad_framing{VTTM_FAULT_BAD_FRAMING, at};
    const Fault bad_bus{VTTM_FAULT_BUS, at};

    if (!ring_size_ok(ring.size) || ring.head >= ring.size || ring.tail >= ring.size ||
        ring.head % 4 || ring.tail % 4)
        return bad_framing;
    if (ring.base > UINT64_MAX - (ring.size - 1)) return bad_bus;

    const uint32_t avail = ((ring.tail - ring.head) & (ring.size - 1)) / 4;
    if (!read_ring(bus, ring, ring.head, out.words.data(), 1)) return bad_bus;
    out.dwords = VTTM_PKT_DWORDS(out.words[0]);
    out.bus_addr = at;
    if (!framing_ok(cls, out.words[0]) || out.dwords > avail) return bad_framing;
    if (!read_ring(bus, ring, ring.head + 4, out.words.data() + 1, out.dwords - 1)) return bad_bus;
    next_head = (ring.head + out.dwords * 4) & (ring.size - 1);
    return {};
}

}  // namespace vttm::model
