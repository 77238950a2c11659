// SPDX-License-Identifier: Apache-2.0
// Packets of ABI 1.2, as a driver would build them.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "protocol/vttm_packets.h"

namespace vttm::model::test {

inline uint32_t lo32(uint64_t v) { return static_cast<uint32_t>(v); }
inline uint32_t hi32(uint64_t v) { return static_cast<uint32_t>(v >> 32); }

struct Surface {
    uint32_t space;
    uint64_t addr;
    uint32_t pitch;
};

inline vttm_pkt_copy_2d copy_2d(const Surface& dst, const Surface& src, uint32_t width,
                                uint32_t height) {
    return {VTTM_PKT_HDR(VTTM_OP_COPY_2D, VTTM_PKT_DST(dst.space) | VTTM_PKT_SRC(src.space), 9),
            lo32(dst.addr), hi32(dst.addr), lo32(src.addr), hi32(src.addr), dst.pitch, src.pitch,
            width, height};
}

inline vttm_pkt_fill_2d fill_2d(const Surface& dst, uint32_t width, uint32_t height,
                                uint32_t value) {
    return {VTTM_PKT_HDR(VTTM_OP_FILL_2D, VTTM_PKT_DST(dst.space), 7), lo32(dst.addr),
            hi32(dst.addr), dst.pitch, width, height, value};
}

// @linear and @pieces are the spaces of the two sides.
inline vttm_pkt_sg sg(bool scatter, uint32_t linear, uint64_t addr, uint32_t pieces,
                      uint32_t list_space, uint64_t list, uint32_t count) {
    const uint32_t flags = scatter ? VTTM_PKT_DST(pieces) | VTTM_PKT_SRC(linear)
                                   : VTTM_PKT_DST(linear) | VTTM_PKT_SRC(pieces);
    return {VTTM_PKT_HDR(scatter ? VTTM_OP_SCATTER : VTTM_OP_GATHER,
                         flags | VTTM_PKT_LIST(list_space), 6),
            lo32(addr), hi32(addr), lo32(list), hi32(list), count};
}

inline vttm_pkt_hash hash(uint32_t space, uint64_t addr, uint64_t len, uint64_t seed,
                          uint32_t result_space, uint64_t result) {
    return {VTTM_PKT_HDR(VTTM_OP_HASH, VTTM_PKT_DST(space) | VTTM_PKT_SRC(result_space), 9),
            lo32(addr), hi32(addr), lo32(len), hi32(len), lo32(seed), hi32(seed), lo32(result),
            hi32(result)};
}

inline vttm_pkt_indirect indirect(uint32_t space, uint64_t addr, uint32_t dwords,
                                  bool unprivileged = false) {
    return {VTTM_PKT_HDR(VTTM_OP_INDIRECT,
                         VTTM_PKT_DST(space) | (unprivileged ? VTTM_PKT_FLAG_UNPRIVILEGED : 0), 4),
            lo32(addr), hi32(addr), dwords};
}

// Packets behind each other, for an indirect buffer.
class Commands {
public:
    template <typename T>
    Commands& operator<<(const T& packet) {
        const size_t at = words_.size();
        words_.resize(at + sizeof(T) / 4);
        std::memcpy(&words_[at], &packet, sizeof(T));
        return *this;
    }
    uint32_t dwords() const { return static_cast<uint32_t>(words_.size()); }
    const std::vector<uint32_t>& words() const { return words_; }

private:
    std::vector<uint32_t> words_;
};

inline vttm_pkt_timestamp timestamp(uint32_t space, uint64_t addr) {
    return {VTTM_PKT_HDR(VTTM_OP_TIMESTAMP, VTTM_PKT_DST(space), 3), lo32(addr), hi32(addr)};
}

inline vttm_pkt_sem_signal sem_signal(uint32_t space, uint64_t addr, uint64_t value,
                                      bool add = false) {
    return {VTTM_PKT_HDR(VTTM_OP_SEM_SIGNAL,
                         VTTM_PKT_DST(space) | (add ? VTTM_PKT_FLAG_ADD : 0), 5),
            lo32(addr), hi32(addr), lo32(value), hi32(value)};
}

inline vttm_pkt_sem_wait sem_wait(uint32_t space, uint64_t addr, uint64_t value,
                                  uint32_t compare = VTTM_CMP_GE) {
    return {VTTM_PKT_HDR(VTTM_OP_SEM_WAIT, VTTM_PKT_DST(space), 6), lo32(addr), hi32(addr),
            lo32(value), hi32(value), compare};
}

inline vttm_pkt_cond_skip cond_skip(uint32_t space, uint64_t addr, uint64_t value,
                                    uint32_t compare, uint32_t skip, uint64_t mask = ~0ull,
                                    bool dword = false) {
    return {VTTM_PKT_HDR(VTTM_OP_COND_SKIP,
                         VTTM_PKT_DST(space) | (dword ? VTTM_PKT_FLAG_DWORD : 0), 9),
            lo32(addr), hi32(addr), lo32(value), hi32(value), lo32(mask), hi32(mask), compare,
            skip};
}

}  // namespace vttm::model::test
