// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/packets.h"

#include <array>
#include <bit>

namespace vttm::guest {
namespace {

constexpr std::uint32_t lo(std::uint64_t value) { return static_cast<std::uint32_t>(value); }
constexpr std::uint32_t hi(std::uint64_t value) { return static_cast<std::uint32_t>(value >> 32); }

template <typename Packet>
constexpr std::uint32_t header(vttm_opcode op) {
    return VTTM_PKT_HDR(op, VTTM_PKT_DST(VTTM_SPACE_VM) | VTTM_PKT_SRC(VTTM_SPACE_VM),
                        sizeof(Packet) / 4);
}

}  // namespace

template <typename Packet>
PacketBuilder& PacketBuilder::append(const Packet& packet) {
    const auto words = std::bit_cast<std::array<std::uint32_t, sizeof(Packet) / 4>>(packet);
    words_.insert(words_.end(), words.begin(), words.end());
    return *this;
}

PacketBuilder& PacketBuilder::nop(std::uint32_t dwords) {
    words_.push_back(VTTM_PKT_HDR(VTTM_OP_NOP, 0, dwords));
    words_.resize(words_.size() + dwords - 1, 0);
    return *this;
}

PacketBuilder& PacketBuilder::copy(std::uint64_t dst, std::uint64_t src, std::uint64_t bytes) {
    return append(vttm_pkt_copy{header<vttm_pkt_copy>(VTTM_OP_COPY), lo(dst), hi(dst), lo(src),
                                hi(src), lo(bytes), hi(bytes)});
}

PacketBuilder& PacketBuilder::fill(std::uint64_t dst, std::uint64_t bytes, std::uint32_t value) {
    return append(vttm_pkt_fill{header<vttm_pkt_fill>(VTTM_OP_FILL), lo(dst), hi(dst), lo(bytes),
                                hi(bytes), value});
}

PacketBuilder& PacketBuilder::stamp(vttm_opcode op, std::uint64_t va, const StampRange& range,
                                    std::uint64_t result) {
    return append(vttm_pkt_stamp{header<vttm_pkt_stamp>(op), lo(va), hi(va), range.pages,
                                 range.buffer, range.generation, lo(range.first_page),
                                 hi(range.first_page), lo(range.key), hi(range.key), lo(result),
                                 hi(result)});
}

PacketBuilder& PacketBuilder::stamp_write(std::uint64_t va, const StampRange& range) {
    return stamp(VTTM_OP_STAMP_WRITE, va, range, 0);
}

PacketBuilder& PacketBuilder::stamp_verify(std::uint64_t va, const StampRange& range,
                                           std::uint64_t result) {
    return stamp(VTTM_OP_STAMP_VERIFY, va, range, result);
}

PacketBuilder& PacketBuilder::raw(std::span<const std::uint32_t> words) {
    words_.insert(words_.end(), words.begin(), words.end());
    return *this;
}

}  // namespace vttm::guest
