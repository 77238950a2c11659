// SPDX-License-Identifier: Apache-2.0
// HASH.
#define XXH_INLINE_ALL  // no library beside the model's own
#include <xxhash.h>

#include <algorithm>
#include <cstring>

#include "host-backend/model/executor.h"
#include "host-backend/model/read_spoiler.h"

namespace vttm::model {

namespace {

constexpr uint64_t kMaxLen = 1ull << 32;
constexpr uint64_t kResultAlign = sizeof(vttm_hash_result);

// What XXH64_state_t holds, whatever its members are called in this version of the library.
struct HashState {
    uint64_t total;
    uint64_t lanes[4];
    uint8_t rest[32];  // total % 32 bytes that wait for more
    uint32_t rest_len;
    uint32_t reserved32;
    uint64_t reserved64;
};
static_assert(sizeof(HashState) == sizeof(XXH64_state_t));

class HashExecutor final : public Executor {
public:
    explicit HashExecutor(ExecContext& ctx)
        : ctx_(ctx),
          in_(ctx.bus, ctx.mmu, ctx.roots, ctx.stale),
          out_(ctx.bus, ctx.mmu, ctx.roots, ctx.stale) {}

    Fault begin(const Packet& packet) override {
        const auto p = packet.as<vttm_pkt_hash>();
        const Range in{VTTM_PKT_DST_OF(packet.flags()), join64(p.addr_lo, p.addr_hi),
                       join64(p.len_lo, p.len_hi)};
        result_range_ = {VTTM_PKT_SRC_OF(packet.flags()), join64(p.result_lo, p.result_hi),
                         sizeof(vttm_hash_result)};
        if (!in.len || in.len > kMaxLen || result_range_.addr % kResultAlign)
            return operand_fault(ctx_, packet.bus_addr, VTTM_FAULT_BAD_PACKET, 0, false);
        if (auto reason = check_range(ctx_.bus, in))
            return operand_fault(ctx_, packet.bus_addr, reason, in.addr, false);
        if (auto reason = check_range(ctx_.bus, result_range_))
            return operand_fault(ctx_, packet.bus_addr, reason, result_range_.addr, true);
        addr_ = in.addr;
        len_ = in.len;
        XXH64_reset(&state_, join64(p.seed_lo, p.seed_hi));
        in_.start(in, ctx_.vm, false);
        return {};
    }

    Step step() override {
        const uint64_t chunk = std::min(kChunkBytes, in_.left());
        Step result;

        in_.begin_chunk(chunk);
        while (result.bytes < chunk && !result.fault) {
            if (const auto piece = in_.piece()) {
                const uint8_t* data = ctx_.read_spoiler
                                          ? ctx_.read_spoiler->seen(*piece, piece->len, len_)
                                          : piece->ptr;
                XXH64_update(&state_, data, piece->len);
                result.bytes += piece->len;
                in_.advance(piece->len);
            } else {
                result.fault = in_.fault();
            }
        }
        in_.end_chunk();
        if (!result.fault && !in_.left()) {
            const vttm_hash_result value{XXH64_digest(&state_), len_};
            result.fault = out_.write_once(result_range_, ctx_.vm, &value);
            result.done = true;
        }
        return result;
    }

    PageIdentity identify(uint64_t) const override { return {}; }

    void save(StateWriter& out) const override {
        HashState h;
        std::memcpy(&h, &state_, sizeof(h));
        out.u64("left", in_.left());
        for (uint64_t lane : h.lanes) out.u64("lane", lane);
        out.blob("rest", {h.rest, h.rest + h.rest_len}, sizeof(h.rest));
    }

    void load(StateReader& in) override {
        uint64_t left = 0;
        StateBytes rest;
        HashState h{};
        // 0: its result met a retryable fault.
        in.u64("left", left, len_);
        for (uint64_t& lane : h.lanes) in.u64("lane", lane);
        in.blob("rest", rest, sizeof(h.rest) - 1);
        h.total = len_ - left;
        h.rest_len = static_cast<uint32_t>(rest.size());
        in.require(h.rest_len == h.total % sizeof(h.rest), "rest", "is not what is left over");
        std::copy(rest.begin(), rest.end(), h.rest);
        std::memcpy(&state_, &h, sizeof(h));
        in_.go_to(addr_ + h.total, left);
    }

private:
    ExecContext& ctx_;
    Cursor in_;
    Cursor out_;
    uint64_t addr_ = 0;
    uint64_t len_ = 0;
    Range result_range_;
    XXH64_state_t state_{};
};

}  // namespace

std::unique_ptr<Executor> make_hash_executor(ExecContext& ctx) {
    return std::make_unique<HashExecutor>(ctx);
}

}  // namespace vttm::model
