// SPDX-License-Identifier: Apache-2.0
// What a fault plan does to the bytes that one packet reads: a bit is wrong on its way to the engine.
// The memory stays as it is.
#pragma once

#include <cstdint>
#include <vector>

#include "host-backend/model/access.h"
#include "host-backend/model/fault_lane.h"

namespace vttm::model {

class ReadSpoiler {
public:
    ReadSpoiler(FaultLane& lane, const Strike& strike) : lane_(lane), strike_(strike) {}

    // What the executor sees of the @len bytes at @from, which come next in the order in which the
    // packet reads its data: the memory itself, or a copy with the fault in it, good until the next
    // call. @total: bytes that it reads in all, each time the same.
    const uint8_t* seen(const Cursor::Piece& from, uint64_t len, uint64_t total);

private:
    FaultLane& lane_;
    const Strike strike_;
    uint64_t done_ = 0;
    std::vector<uint64_t> scratch_;
};

}  // namespace vttm::model
