// SPDX-License-Identifier: Apache-2.0
// What a fault plan does to the bytes that one packet writes: a bit flips, some are lost, some come
// later than they should.
#pragma once

#include <cstdint>
#include <utility>
#include <variant>
#include <vector>

#include "host-backend/model/access.h"
#include "host-backend/model/fault_lane.h"

namespace vttm::model {

// What was to happen and has been put off, until some packets of the ring have overtaken it.
struct LateFence {
    uint64_t addr = 0;
    uint64_t seq = 0;
    uint32_t status = 0;
    bool irq = false;
};
struct LateWrite {
    uint32_t space = 0;  // VTTM_SPACE_VRAM or VTTM_SPACE_SYSTEM
    uint64_t phys = 0;
    std::vector<uint8_t> bytes;
};
struct LateEffect {
    uint64_t packets = 0;             // so many must end first, that of the effect included
    std::chrono::microseconds us{0};  // ... and then the ring stands still for so long
    std::variant<LateFence, LateWrite> what;
};

// Between stage() and commit() the executor writes @len bytes to what stage() gave, in the order in
// which the packet writes them. Where no fault lies that is the memory itself.
class WriteSpoiler {
public:
    WriteSpoiler(FaultLane& lane, std::vector<LateEffect>& late) : lane_(lane), late_(late) {}

    void add(const Strike& strike) { faults_.push_back({strike, 0, 0}); }
    bool empty() const { return faults_.empty(); }
    // @total: bytes that the packet writes in all, from the first call on the same.
    uint8_t* stage(uint8_t* to, uint64_t len, uint64_t total);
    void commit(const Cursor::Piece& to, uint64_t len);

private:
    struct Spot {
        Strike strike;
        uint64_t from, end;  // of the packet's bytes
    };
    // The part of @f within the @len bytes that come next, counted from these.
    std::pair<uint64_t, uint64_t> part(const Spot& f, uint64_t len) const;
    void place(Spot& f, uint64_t total) const;

    FaultLane& lane_;
    std::vector<LateEffect>& late_;
    std::vector<Spot> faults_;
    bool placed_ = false;
    bool staged_ = false;
    uint64_t done_ = 0;
    std::vector<uint64_t> scratch_;
};

}  // namespace vttm::model
