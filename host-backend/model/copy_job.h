// SPDX-License-Identifier: Apache-2.0
// What a packet of the copy engine asks for, as a sequence of contiguous segments.
#pragma once

#include <cstdint>
#include <vector>

#include "host-backend/model/executor.h"

namespace vttm::model {

class CopyJob {
public:
    // One contiguous piece of the work; src counts only if something is copied.
    struct Segment {
        uint64_t dst = 0;
        uint64_t src = 0;
        uint64_t len = 0;
    };

    // Takes over the operands; a fault says what is wrong with them.
    Fault begin(const ExecContext& ctx, const Packet& packet);
    // A list of pieces is part of the operands: where it lies, and where its bytes go. Empty: none
    // is needed (any more).
    Range list() const;
    const uint8_t* list_bytes() const { return reinterpret_cast<const uint8_t*>(entries_.data()); }
    uint8_t* list_bytes() { return reinterpret_cast<uint8_t*>(entries_.data()); }
    // The list is there: checks it. Every segment is sound when this or begin() has found no fault.
    Fault check_list(const ExecContext& ctx);

    bool fills() const { return fills_; }
    uint32_t value() const { return value_; }
    uint32_t dst_space() const { return dst_.space; }
    uint32_t src_space() const { return src_.space; }
    // The next segment in the order of the work; false: there is none.
    bool next(Segment& out);
    bool at_end() const { return index_ == segments(); }
    // Where that sequence is; false: it does not go so far. Every segment is sound.
    uint64_t index() const { return index_; }
    bool seek(uint64_t index);
    // A list of pieces, there or wanted.
    bool has_list() const { return kind_ != Kind::rows; }
    // Bytes in all; known when the list is there.
    uint64_t total() const { return kind_ == Kind::rows ? width_ * height_ : sum_; }

private:
    // @height rows of @width bytes; a linear range is one row.
    struct Rect {
        uint32_t space = 0;
        uint64_t addr = 0;
        uint64_t pitch = 0;
    };
    enum class Kind { rows, scatter, gather };

    Fault begin_linear(const ExecContext& ctx, const Packet& packet);
    Fault begin_2d(const ExecContext& ctx, const Packet& packet);
    Fault begin_sg(const ExecContext& ctx, const Packet& packet);
    Fault check_rows(const ExecContext& ctx) const;
    uint64_t segments() const { return kind_ == Kind::rows ? height_ : entries_.size(); }
    uint64_t extent(const Rect& r) const { return (height_ - 1) * r.pitch + width_; }
    bool rows_overlap() const;
    Fault bad_packet(const ExecContext& ctx) const;

    Kind kind_ = Kind::rows;
    bool fills_ = false;
    uint32_t value_ = 0;
    uint64_t packet_addr_ = 0;
    Rect dst_, src_;  // of SCATTER and GATHER the side that is no list counts, with the other's space
    uint64_t width_ = 0;
    uint64_t height_ = 0;
    uint64_t index_ = 0;  // of the next segment
    Range list_;
    bool list_wanted_ = false;
    std::vector<vttm_sg_entry> entries_;
    uint64_t linear_pos_ = 0;
    uint64_t sum_ = 0;  // of the list
};

}  // namespace vttm::model
