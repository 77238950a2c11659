// SPDX-License-Identifier: Apache-2.0
// Command packets, one behind the other, as vttm_packets.h lays them out: content of a ring or of
// an indirect buffer.
#pragma once

#include <cstring>
#include <vector>

#include "protocol/vttm_packets.h"
#include "protocol/vttm_pte.h"

namespace vttm::independent {

/// An address and the space that it is in.
struct Place {
    uint32_t space = VTTM_SPACE_VM;
    uint64_t address = 0;
    Place operator+(uint64_t n) const { return {space, address + n}; }
};
inline Place Virtual(uint64_t va) { return {VTTM_SPACE_VM, va}; }
inline Place Vram(uint64_t offset) { return {VTTM_SPACE_VRAM, offset}; }
inline Place System(uint64_t bus) { return {VTTM_SPACE_SYSTEM, bus}; }

inline uint32_t Lo(uint64_t v) { return static_cast<uint32_t>(v); }
inline uint32_t Hi(uint64_t v) { return static_cast<uint32_t>(v >> 32); }

/// What a STAMP packet names beside the place.
struct StampRun {
    uint32_t npages = 1;
    uint32_t buffer = 1;
    uint32_t generation = 1;
    uint64_t page = 0;
    uint64_t key = 0x5eed;
};

class Program {
public:
    template <typename Packet>
    Program& Put(uint8_t op, uint32_t flags, Packet packet) {
        packet.hdr = VTTM_PKT_HDR(op, flags, sizeof packet / 4);
        const size_t at = dwords_.size();
        dwords_.resize(at + sizeof packet / 4);
        std::memcpy(&dwords_[at], &packet, sizeof packet);
        return *this;
    }
    /// Dwords as they are: for packets that are none.
    Program& Raw(std::initializer_list<uint32_t> dwords) {
        for (const uint32_t d : dwords) dwords_.push_back(d);
        return *this;
    }
    Program& Append(const Program& other) {
        for (const uint32_t d : other.dwords_) dwords_.push_back(d);
        return *this;
    }

    Program& Nop(uint32_t dwords = 1) {
        dwords_.push_back(VTTM_PKT_HDR(VTTM_OP_NOP, 0, dwords));
        dwords_.resize(dwords_.size() + dwords - 1, 0xffffffff);
        return *this;
    }
    Program& SetVm(uint32_t vm) { return Put(VTTM_OP_SET_VM, 0, vttm_pkt_set_vm{0, vm}); }
    Program& Fence(uint64_t bus, uint64_t seq, bool irq = false) {
        return Put(VTTM_OP_FENCE, irq ? VTTM_PKT_FLAG_IRQ : 0,
                   vttm_pkt_fence{0, Lo(bus), Hi(bus), Lo(seq), Hi(seq)});
    }
    Program& Timestamp(Place at) {
        return Put(VTTM_OP_TIMESTAMP, VTTM_PKT_DST(at.space),
                   vttm_pkt_timestamp{0, Lo(at.address), Hi(at.address)});
    }
    Program& Signal(Place at, uint64_t value, bool add = false) {
        return Put(VTTM_OP_SEM_SIGNAL, VTTM_PKT_DST(at.space) | (add ? VTTM_PKT_FLAG_ADD : 0),
                   vttm_pkt_sem_signal{0, Lo(at.address), Hi(at.address), Lo(value), Hi(value)});
    }
    Program& Wait(Place at, uint64_t value, uint32_t compare) {
        return Put(
            VTTM_OP_SEM_WAIT, VTTM_PKT_DST(at.space),
            vttm_pkt_sem_wait{0, Lo(at.address), Hi(at.address), Lo(value), Hi(value), compare});
    }
    Program& SkipIf(Place at, uint64_t mask, uint32_t compare, uint64_t value, uint32_t skip,
                    bool dword = false) {
        return Put(VTTM_OP_COND_SKIP, VTTM_PKT_DST(at.space) | (dword ? VTTM_PKT_FLAG_DWORD : 0),
                   vttm_pkt_cond_skip{0, Lo(at.address), Hi(at.address), Lo(value), Hi(value),
                                      Lo(mask), Hi(mask), compare, skip});
    }
    Program& Indirect(Place at, uint32_t dwords, bool unprivileged = false) {
        return Put(VTTM_OP_INDIRECT,
                   VTTM_PKT_DST(at.space) | (unprivileged ? VTTM_PKT_FLAG_UNPRIVILEGED : 0),
                   vttm_pkt_indirect{0, Lo(at.address), Hi(at.address), dwords});
    }
    Program& Copy(Place dst, Place src, uint64_t bytes) {
        return Put(VTTM_OP_COPY, VTTM_PKT_DST(dst.space) | VTTM_PKT_SRC(src.space),
                   vttm_pkt_copy{0, Lo(dst.address), Hi(dst.address), Lo(src.address),
                                 Hi(src.address), Lo(bytes), Hi(bytes)});
    }
    Program& Fill(Place dst, uint64_t bytes, uint32_t value) {
        return Put(VTTM_OP_FILL, VTTM_PKT_DST(dst.space),
                   vttm_pkt_fill{0, Lo(dst.address), Hi(dst.address), Lo(bytes), Hi(bytes), value});
    }
    Program& Copy2d(Place dst, uint32_t dst_pitch, Place src, uint32_t src_pitch, uint32_t width,
                    uint32_t height) {
        return Put(VTTM_OP_COPY_2D, VTTM_PKT_DST(dst.space) | VTTM_PKT_SRC(src.space),
                   vttm_pkt_copy_2d{0, Lo(dst.address), Hi(dst.address), Lo(src.address),
                                    Hi(src.address), dst_pitch, src_pitch, width, height});
    }
    Program& Fill2d(Place dst, uint32_t pitch, uint32_t width, uint32_t height, uint32_t value) {
        return Put(
            VTTM_OP_FILL_2D, VTTM_PKT_DST(dst.space),
            vttm_pkt_fill_2d{0, Lo(dst.address), Hi(dst.address), pitch, width, height, value});
    }
    Program& Scatter(uint32_t pieces_space, Place from, Place list, uint32_t count) {
        return Put(
            VTTM_OP_SCATTER,
            VTTM_PKT_DST(pieces_space) | VTTM_PKT_SRC(from.space) | VTTM_PKT_LIST(list.space),
            vttm_pkt_sg{0, Lo(from.address), Hi(from.address), Lo(list.address), Hi(list.address),
                        count});
    }
    Program& Gather(Place to, uint32_t pieces_space, Place list, uint32_t count) {
        return Put(VTTM_OP_GATHER,
                   VTTM_PKT_DST(to.space) | VTTM_PKT_SRC(pieces_space) | VTTM_PKT_LIST(list.space),
                   vttm_pkt_sg{0, Lo(to.address), Hi(to.address), Lo(list.address),
                               Hi(list.address), count});
    }
    Program& StampWrite(Place at, const StampRun& run) {
        return Stamp(VTTM_OP_STAMP_WRITE, at, run, Virtual(0));
    }
    Program& StampVerify(Place at, const StampRun& run, Place result) {
        return Stamp(VTTM_OP_STAMP_VERIFY, at, run, result);
    }
    Program& Hash(Place at, uint64_t bytes, uint64_t seed, Place result) {
        return Put(VTTM_OP_HASH, VTTM_PKT_DST(at.space) | VTTM_PKT_SRC(result.space),
                   vttm_pkt_hash{0, Lo(at.address), Hi(at.address), Lo(bytes), Hi(bytes), Lo(seed),
                                 Hi(seed), Lo(result.address), Hi(result.address)});
    }

    const std::vector<uint32_t>& dwords() const { return dwords_; }
    uint32_t size() const { return static_cast<uint32_t>(dwords_.size()); }
    uint32_t bytes() const { return size() * 4; }

private:
    Program& Stamp(uint8_t op, Place at, const StampRun& run, Place result) {
        return Put(op, VTTM_PKT_DST(at.space) | VTTM_PKT_SRC(result.space),
                   vttm_pkt_stamp{0, Lo(at.address), Hi(at.address), run.npages, run.buffer,
                                  run.generation, Lo(run.page), Hi(run.page), Lo(run.key),
                                  Hi(run.key), Lo(result.address), Hi(result.address)});
    }

    std::vector<uint32_t> dwords_;
};

}  // namespace vttm::independent
