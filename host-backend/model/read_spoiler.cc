// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/read_spoiler.h"

#include <cstring>

namespace vttm::model {

const uint8_t* ReadSpoiler::seen(const Cursor::Piece& from, uint64_t len, uint64_t total) {
    // A place beyond the packet's bytes is never met.
    const uint64_t byte = strike_.rule->byte.value_or(strike_.draw % total);
    const uint64_t at = byte - done_;
    const bool here = byte >= done_ && at < len;
    done_ += len;
    if (!here) return from.ptr;

    scratch_.resize((len + 7) / 8);
    auto* bytes = reinterpret_cast<uint8_t*>(scratch_.data());
    std::memcpy(bytes, from.ptr, len);
    const auto bit = strike_.rule->bit.value_or(static_cast<unsigned>(strike_.draw >> 61));
    bytes[at] = static_cast<uint8_t>(bytes[at] ^ (1u << bit));
    lane_.injected(strike_, from.phys + at);
    return bytes;
}

}  // namespace vttm::model
