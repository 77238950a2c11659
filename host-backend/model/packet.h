// SPDX-License-Identifier: Apache-2.0
// Packets as the engines see them: a private copy, framing checked.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "protocol/vttm_packets.h"
#include "protocol/vttm_regs.h"

namespace vttm::model {

struct Packet {
    std::array<uint32_t, VTTM_PKT_MAX_DWORDS> words;
    uint32_t dwords = 0;
    uint64_t bus_addr = 0;  // of the header, for fault reports

    uint32_t op() const { return VTTM_PKT_OP(words[0]); }
    uint32_t flags() const { return VTTM_PKT_FLAGS(words[0]); }

    // The packet as its struct; the framing check has made sure that the length fits.
    template <typename T>
    T as() const {
        T t;
        std::memcpy(&t, words.data(), sizeof(t));
        return t;
    }
};

inline uint64_t join64(uint32_t lo, uint32_t hi) { return static_cast<uint64_t>(hi) << 32 | lo; }

// Whether an engine of class @cls knows @header's opcode, and its length is right for it.
bool framing_ok(vttm_engine_class cls, uint32_t header);

// Whether a packet with @header may stand in an unprivileged indirect buffer.
bool unprivileged_ok(uint32_t header);

// Whether @header has only the flags that its opcode defines.
bool flags_ok(uint32_t header);

}  // namespace vttm::model
