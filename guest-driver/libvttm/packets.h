// SPDX-License-Identifier: Apache-2.0
// Builds command packets (protocol/vttm_packets.h) with addresses in the file's GPU address space.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "protocol/vttm_packets.h"

namespace vttm::guest {

// Which pages a stamp packet writes or checks; see struct vttm_stamp_id.
struct StampRange {
    std::uint32_t buffer = 0;
    std::uint32_t generation = 0;
    std::uint64_t first_page = 0;
    std::uint32_t pages = 0;
    std::uint64_t key = 0;
};

class PacketBuilder {
public:
    PacketBuilder& nop(std::uint32_t dwords = 1);
    PacketBuilder& copy(std::uint64_t dst, std::uint64_t src, std::uint64_t bytes);
    PacketBuilder& fill(std::uint64_t dst, std::uint64_t bytes, std::uint32_t value);
    // `va` is the address of page `range.first_page`.
    PacketBuilder& stamp_write(std::uint64_t va, const StampRange& range);
    // `result` is the address of a struct vttm_stamp_result.
    PacketBuilder& stamp_verify(std::uint64_t va, const StampRange& range, std::uint64_t result);
    // Words as they are: for tests of what the driver must refuse.
    PacketBuilder& raw(std::span<const std::uint32_t> words);

    std::span<const std::uint32_t> dwords() const { return words_; }
    std::size_t size() const { return words_.size(); }
    void clear() { words_.clear(); }

    static constexpr std::size_t kStampDwords = sizeof(vttm_pkt_stamp) / 4;

private:
    template <typename Packet>
    PacketBuilder& append(const Packet& packet);
    PacketBuilder& stamp(vttm_opcode op, std::uint64_t va, const StampRange& range,
                         std::uint64_t result);

    std::vector<std::uint32_t> words_;
};

}  // namespace vttm::guest
