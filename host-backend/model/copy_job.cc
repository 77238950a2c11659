// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/copy_job.h"

#include <algorithm>

namespace vttm::model {

namespace {

constexpr uint64_t kMaxLen = 1ull << 32;

bool overlap(const Range& a, const Range& b) {
    if (a.space != b.space) return false;
    return a.addr < b.addr ? b.addr - a.addr < a.len : a.addr - b.addr < b.len;
}

}  // namespace

Fault CopyJob::bad_packet(const ExecContext& ctx) const {
    return {VTTM_FAULT_BAD_PACKET, packet_addr_, false, ctx.vm};
}

Fault CopyJob::begin(const ExecContext& ctx, const Packet& packet) {
    packet_addr_ = packet.bus_addr;
    index_ = 0;
    list_wanted_ = false;
    kind_ = Kind::rows;
    fills_ = packet.op() == VTTM_OP_FILL || packet.op() == VTTM_OP_FILL_2D;
    dst_ = {VTTM_PKT_DST_OF(packet.flags())};
    src_ = {VTTM_PKT_SRC_OF(packet.flags())};
    switch (packet.op()) {
        case VTTM_OP_COPY_2D:
        case VTTM_OP_FILL_2D:
            return begin_2d(ctx, packet);
        case VTTM_OP_SCATTER:
        case VTTM_OP_GATHER:
            return begin_sg(ctx, packet);
        default:
            return begin_linear(ctx, packet);
    }
}

Fault CopyJob::begin_linear(const ExecContext& ctx, const Packet& packet) {
    height_ = 1;
    if (fills_) {
        const auto p = packet.as<vttm_pkt_fill>();
        dst_.addr = join64(p.dst_lo, p.dst_hi);
        width_ = join64(p.len_lo, p.len_hi);
        value_ = p.value;
    } else {
        const auto p = packet.as<vttm_pkt_copy>();
        dst_.addr = join64(p.dst_lo, p.dst_hi);
        src_.addr = join64(p.src_lo, p.src_hi);
        width_ = join64(p.len_lo, p.len_hi);
    }
    return check_rows(ctx);
}

Fault CopyJob::begin_2d(const ExecContext& ctx, const Packet& packet) {
    if (fills_) {
        const auto p = packet.as<vttm_pkt_fill_2d>();
        dst_.addr = join64(p.dst_lo, p.dst_hi);
        dst_.pitch = p.pitch;
        width_ = p.width;
        height_ = p.height;
        value_ = p.value;
    } else {
        const auto p = packet.as<vttm_pkt_copy_2d>();
        dst_.addr = join64(p.dst_lo, p.dst_hi);
        dst_.pitch = p.dst_pitch;
        src_.addr = join64(p.src_lo, p.src_hi);
        src_.pitch = p.src_pitch;
        width_ = p.width;
        height_ = p.height;
    }
    if (dst_.pitch < width_ || (!fills_ && src_.pitch < width_)) return bad_packet(ctx);
    return check_rows(ctx);
}

// No operand of 32 bits can make extent() overflow: (2^32 - 2) * (2^32 - 1) + 2^32 < 2^64.
Fault CopyJob::check_rows(const ExecContext& ctx) const {
    if (!width_ || !height_ || width_ > kMaxLen || height_ > kMaxLen / width_)
        return bad_packet(ctx);
    if (fills_ && (dst_.addr % 4 || dst_.pitch % 4 || width_ % 4)) return bad_packet(ctx);
    if (!fills_ && rows_overlap()) return bad_packet(ctx);
    if (auto reason = check_range(ctx.bus, {dst_.space, dst_.addr, extent(dst_)}))
        return operand_fault(ctx, packet_addr_, reason, dst_.addr, true);
    if (fills_) return {};
    if (auto reason = check_range(ctx.bus, {src_.space, src_.addr, extent(src_)}))
        return operand_fault(ctx, packet_addr_, reason, src_.addr, false);
    return {};
}

bool CopyJob::rows_overlap() const {
    const Range dst{dst_.space, dst_.addr, extent(dst_)};
    const Range src{src_.space, src_.addr, extent(src_)};
    if (!overlap(dst, src)) return false;
    if (dst_.pitch != src_.pitch || !dst_.pitch) return true;
    // Between the starts lie @rows whole rows and a rest. A row of the later rectangle can only meet
    // the one of the earlier that is @rows up, or the next of it.
    const uint64_t distance = std::max(dst.addr, src.addr) - std::min(dst.addr, src.addr);
    const uint64_t rows = distance / dst_.pitch, rest = distance % dst_.pitch;
    return (rest < width_ && rows < height_) ||
           (dst_.pitch - rest < width_ && rows + 1 < height_);
}

Fault CopyJob::begin_sg(const ExecContext& ctx, const Packet& packet) {
    const auto p = packet.as<vttm_pkt_sg>();
    const bool scatter = packet.op() == VTTM_OP_SCATTER;

    kind_ = scatter ? Kind::scatter : Kind::gather;
    (scatter ? src_ : dst_).addr = join64(p.addr_lo, p.addr_hi);
    list_ = {VTTM_PKT_LIST_OF(packet.flags()), join64(p.list_lo, p.list_hi),
             p.count * uint64_t{sizeof(vttm_sg_entry)}};
    if (!p.count || p.count > VTTM_SG_MAX || list_.addr % sizeof(vttm_sg_entry) ||
        dst_.space > VTTM_SPACE_SYSTEM || src_.space > VTTM_SPACE_SYSTEM)
        return bad_packet(ctx);
    if (auto reason = check_range(ctx.bus, list_))
        return operand_fault(ctx, packet_addr_, reason, list_.addr, false);
    entries_.resize(p.count);
    list_wanted_ = true;
    return {};
}

Range CopyJob::list() const { return list_wanted_ ? list_ : Range{}; }

Fault CopyJob::check_list(const ExecContext& ctx) {
    const bool scatter = kind_ == Kind::scatter;
    const Rect& linear = scatter ? src_ : dst_;
    Range whole{linear.space, linear.addr, 0};

    list_wanted_ = false;
    linear_pos_ = linear.addr;
    for (const vttm_sg_entry& e : entries_) {
        if (!e.len || e.rsvd) return bad_packet(ctx);
        whole.len += e.len;
    }
    if (whole.len > kMaxLen) return bad_packet(ctx);
    sum_ = whole.len;
    if (auto reason = check_range(ctx.bus, whole))
        return operand_fault(ctx, packet_addr_, reason, whole.addr, !scatter);
    for (const vttm_sg_entry& e : entries_) {
        const Range piece{(scatter ? dst_ : src_).space, e.addr, e.len};
        if (overlap(piece, whole)) return bad_packet(ctx);
        if (auto reason = check_range(ctx.bus, piece))
            return operand_fault(ctx, packet_addr_, reason, e.addr, scatter);
    }
    return {};
}

bool CopyJob::next(Segment& out) {
    if (at_end()) return false;
    if (kind_ == Kind::rows) {
        out = {dst_.addr + index_ * dst_.pitch, src_.addr + index_ * src_.pitch, width_};
    } else {
        const vttm_sg_entry& e = entries_[index_];
        out = kind_ == Kind::scatter ? Segment{e.addr, linear_pos_, e.len}
                                     : Segment{linear_pos_, e.addr, e.len};
        linear_pos_ += e.len;
    }
    index_++;
    return true;
}

bool CopyJob::seek(uint64_t index) {
    if (index > segments()) return false;
    index_ = index;
    if (kind_ == Kind::rows) return true;
    linear_pos_ = (kind_ == Kind::scatter ? src_ : dst_).addr;
    for (uint64_t i = 0; i < index; i++) linear_pos_ += entries_[i].len;
    return true;
}

}  // namespace vttm::model
