// SPDX-License-Identifier: Apache-2.0
// COPY and FILL.
#include <algorithm>
#include <cstring>

#include "host-backend/model/executor.h"

namespace vttm::model {

namespace {

constexpr uint64_t kMaxLen = 1ull << 32;

bool overlap(const Range& a, const Range& b) {
    if (a.space != b.space) return false;
    return a.addr < b.addr ? b.addr - a.addr < a.len : a.addr - b.addr < b.len;
}

class CopyExecutor final : public Executor {
public:
    explicit CopyExecutor(ExecContext& ctx)
        : ctx_(ctx),
          src_(ctx.bus, ctx.mmu, ctx.roots, ctx.stale),
          dst_(ctx.bus, ctx.mmu, ctx.roots, ctx.stale) {}

    Fault begin(const Packet& packet) override {
        return packet.op() == VTTM_OP_COPY ? begin_copy(packet) : begin_fill(packet);
    }

    Step step() override {
        const uint64_t chunk = std::min(kChunkBytes, dst_.left());
        Step result;

        dst_.begin_chunk(chunk);
        if (filling_) {
            result.fault = fill(chunk, result.bytes);
        } else {
            src_.begin_chunk(chunk);
            result.fault = copy(chunk, result.bytes);
            src_.end_chunk();
        }
        dst_.end_chunk();
        result.done = !dst_.left();
        return result;
    }

    PageIdentity identify(uint64_t) const override { return {}; }

private:
    Fault begin_copy(const Packet& packet) {
        const auto p = packet.as<vttm_pkt_copy>();
        const uint64_t len = join64(p.len_lo, p.len_hi);
        const Range dst{VTTM_PKT_DST_OF(packet.flags()), join64(p.dst_lo, p.dst_hi), len};
        const Range src{VTTM_PKT_SRC_OF(packet.flags()), join64(p.src_lo, p.src_hi), len};

        if (len == 0 || len > kMaxLen || overlap(dst, src))
            return operand_fault(ctx_, packet, VTTM_FAULT_BAD_PACKET, 0, false);
        if (auto reason = check_range(ctx_.bus, dst))
            return operand_fault(ctx_, packet, reason, dst.addr, true);
        if (auto reason = check_range(ctx_.bus, src))
            return operand_fault(ctx_, packet, reason, src.addr, false);
        filling_ = false;
        dst_.start(dst, ctx_.vm, true);
        src_.start(src, ctx_.vm, false);
        return {};
    }

    Fault begin_fill(const Packet& packet) {
        const auto p = packet.as<vttm_pkt_fill>();
        const Range dst{VTTM_PKT_DST_OF(packet.flags()), join64(p.dst_lo, p.dst_hi),
                        join64(p.len_lo, p.len_hi)};

        if (dst.len == 0 || dst.len > kMaxLen || dst.len % 4 || dst.addr % 4)
            return operand_fault(ctx_, packet, VTTM_FAULT_BAD_PACKET, 0, false);
        if (auto reason = check_range(ctx_.bus, dst))
            return operand_fault(ctx_, packet, reason, dst.addr, true);
        filling_ = true;
        value_ = p.value;
        dst_.start(dst, ctx_.vm, true);
        return {};
    }

    Fault copy(uint64_t chunk, uint64_t& bytes) {
        while (bytes < chunk) {
            const auto from = src_.piece();
            if (!from) return src_.fault();
            const auto to = dst_.piece();
            if (!to) return dst_.fault();
            const uint64_t n = std::min(from->len, to->len);
            // Two virtual ranges may lead to the same page: then the bytes are the driver's
            // problem, but the copy itself must stay defined.
            std::memmove(to->ptr, from->ptr, n);
            src_.advance(n);
            dst_.advance(n);
            bytes += n;
        }
        return {};
    }

    Fault fill(uint64_t chunk, uint64_t& bytes) {
        while (bytes < chunk) {
            const auto to = dst_.piece();
            if (!to) return dst_.fault();
            const uint64_t words = to->len / 4;
            if (!words || reinterpret_cast<uintptr_t>(to->ptr) % 4)
                return dst_.fault_here(VTTM_FAULT_BUS);
            std::fill_n(reinterpret_cast<uint32_t*>(to->ptr), words, value_);
            dst_.advance(words * 4);
            bytes += words * 4;
        }
        return {};
    }

    ExecContext& ctx_;
    Cursor src_;
    Cursor dst_;
    bool filling_ = false;
    uint32_t value_ = 0;
};

}  // namespace

std::unique_ptr<Executor> make_copy_executor(ExecContext& ctx) {
    return std::make_unique<CopyExecutor>(ctx);
}

}  // namespace vttm::model
