// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/indirect.h"

#include "protocol/vttm_fault.h"

namespace vttm::model {

uint32_t IbStack::fault_info() const {
    if (!depth_) return 0;
    return depth_ | top().range.space << 4 |
           (top().unprivileged ? VTTM_FAULT_IB_UNPRIVILEGED : 0u);
}

void IbStack::enter(const Range& range, bool unprivileged) {
    const bool inherited = this->unprivileged();
    depth_++;
    top() = {range, 0, ctx_.vm, unprivileged || inherited};
}

void IbStack::leave_finished() {
    while (depth_ && top().pos == top().range.len) depth_--;
}

// Copies @n dwords; each is read once.
Fault IbStack::read(const Buffer& ib, uint64_t pos, uint32_t* out, uint32_t n) {
    Fault fault;
    in_.start({ib.range.space, ib.range.addr + pos, uint64_t{n} * 4}, ib.vm, false);
    in_.begin_chunk(in_.left());
    while (in_.left() && !fault) {
        const auto piece = in_.piece();
        if (!piece) {
            fault = in_.fault();
        } else if (piece->len < 4 || reinterpret_cast<uintptr_t>(piece->ptr) % 4) {
            fault = in_.fault_here(VTTM_FAULT_BUS);
        } else {
            const uint64_t words = piece->len / 4;
            const auto* src = reinterpret_cast<const uint32_t*>(piece->ptr);
            for (uint64_t i = 0; i < words; i++)
                *out++ = __atomic_load_n(src + i, __ATOMIC_RELAXED);
            in_.advance(words * 4);
        }
    }
    in_.end_chunk();
    return fault;
}

Fault IbStack::fetch(vttm_engine_class cls, Packet& out, uint32_t& behind) {
    Buffer& ib = top();
    const uint32_t left = static_cast<uint32_t>((ib.range.len - ib.pos) / 4);

    out.bus_addr = ib.range.addr + ib.pos;
    if (Fault fault = read(ib, ib.pos, out.words.data(), 1)) return fault;
    out.dwords = VTTM_PKT_DWORDS(out.words[0]);
    if (!framing_ok(cls, out.words[0]) || out.dwords > left)
        return {VTTM_FAULT_BAD_FRAMING, out.bus_addr, false, ib.vm};
    if (Fault fault = read(ib, ib.pos + 4, out.words.data() + 1, out.dwords - 1)) return fault;
    ib.pos += out.dwords * 4;
    behind = left - out.dwords;
    return {};
}

}  // namespace vttm::model
