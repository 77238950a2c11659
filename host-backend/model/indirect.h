// SPDX-License-Identifier: Apache-2.0
// The indirect buffers that a ring is in, one within the other.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "host-backend/model/executor.h"

namespace vttm::model {

class IbStack {
public:
    explicit IbStack(const ExecContext& ctx)
        : ctx_(ctx), in_(ctx.bus, ctx.mmu, ctx.roots, ctx.stale) {}

    unsigned depth() const { return depth_; }  // 0: in the ring
    bool unprivileged() const { return depth_ && top().unprivileged; }
    // Of a fault record: where its packet is.
    uint32_t fault_info() const;

    // @range was checked, and depth() is below VTTM_IB_MAX_DEPTH.
    void enter(const Range& range, bool unprivileged);
    // Copies the next packet into @out; @behind: dwords that lie behind it. On a fault nothing has
    // happened: fetching again begins with the header.
    Fault fetch(vttm_engine_class cls, Packet& out, uint32_t& behind);
    void skip(uint32_t dwords) { top().pos += dwords * 4; }
    void leave_finished();
    void clear() { depth_ = 0; }

    struct Buffer {
        Range range;
        uint32_t pos = 0;  // bytes
        uint32_t vm = kNoVm;
        bool unprivileged = false;
    };
    // Those that it is in, the outermost first.
    std::vector<Buffer> state() const { return {buffers_.begin(), buffers_.begin() + depth_}; }
    void restore(const std::vector<Buffer>& buffers) {
        depth_ = static_cast<unsigned>(buffers.size());
        std::copy(buffers.begin(), buffers.end(), buffers_.begin());
    }

private:
    Buffer& top() { return buffers_[depth_ - 1]; }
    const Buffer& top() const { return buffers_[depth_ - 1]; }
    Fault read(const Buffer& ib, uint64_t pos, uint32_t* out, uint32_t n);

    const ExecContext& ctx_;
    Cursor in_;
    std::array<Buffer, VTTM_IB_MAX_DEPTH> buffers_;
    unsigned depth_ = 0;
};

}  // namespace vttm::model
