// SPDX-License-Identifier: Apache-2.0
// TIMESTAMP, SEM_SIGNAL, SEM_WAIT and COND_SKIP: packets about one word of memory.
#include "host-backend/model/executor.h"

namespace vttm::model {

namespace {

bool compares(uint32_t how, uint64_t memory, uint64_t value) {
    switch (how) {
        case VTTM_CMP_EQ:
            return memory == value;
        case VTTM_CMP_NE:
            return memory != value;
        case VTTM_CMP_GE:
            return memory >= value;
        case VTTM_CMP_GT:
            return memory > value;
        case VTTM_CMP_LE:
            return memory <= value;
        case VTTM_CMP_LT:
            return memory < value;
        default:  // VTTM_CMP_SEQ
            return !((memory - value) >> 63);
    }
}

class SyncExecutor final : public Executor {
public:
    explicit SyncExecutor(ExecContext& ctx)
        : ctx_(ctx), at_(ctx.bus, ctx.mmu, ctx.roots, ctx.stale) {}

    Fault begin(const Packet& packet) override {
        word_ = {VTTM_PKT_DST_OF(packet.flags()), 0, sizeof(uint64_t)};
        op_ = packet.op();
        compare_ = VTTM_CMP_EQ;
        flag_ = packet.flags() & VTTM_PKT_FLAG_ADD;
        switch (op_) {
            case VTTM_OP_TIMESTAMP: {
                const auto p = packet.as<vttm_pkt_timestamp>();
                word_.addr = join64(p.addr_lo, p.addr_hi);
                break;
            }
            case VTTM_OP_SEM_SIGNAL: {
                const auto p = packet.as<vttm_pkt_sem_signal>();
                word_.addr = join64(p.addr_lo, p.addr_hi);
                value_ = join64(p.value_lo, p.value_hi);
                break;
            }
            case VTTM_OP_SEM_WAIT: {
                const auto p = packet.as<vttm_pkt_sem_wait>();
                word_.addr = join64(p.addr_lo, p.addr_hi);
                value_ = join64(p.value_lo, p.value_hi);
                compare_ = p.compare;
                break;
            }
            default: {
                const auto p = packet.as<vttm_pkt_cond_skip>();
                word_.addr = join64(p.addr_lo, p.addr_hi);
                value_ = join64(p.value_lo, p.value_hi);
                mask_ = join64(p.mask_lo, p.mask_hi);
                compare_ = p.compare;
                skip_ = p.skip;
                if (flag_) word_.len = sizeof(uint32_t);
                break;
            }
        }
        if (word_.addr % word_.len || compare_ > VTTM_CMP_LAST)
            return operand_fault(ctx_, packet.bus_addr, VTTM_FAULT_BAD_PACKET, 0, false);
        if (auto reason = check_range(ctx_.bus, word_))
            return operand_fault(ctx_, packet.bus_addr, reason, word_.addr, writes());
        return {};
    }

    Step step() override {
        Step result;
        at_.start(word_, ctx_.vm, writes());
        at_.begin_chunk(word_.len);
        if (const auto piece = at_.piece()) {
            if (piece->len < word_.len || reinterpret_cast<uintptr_t>(piece->ptr) % word_.len)
                result.fault = at_.fault_here(VTTM_FAULT_BUS);
            else
                access(piece->ptr, result);
            if (!result.fault) at_.advance(word_.len);
        } else {
            result.fault = at_.fault();
        }
        at_.end_chunk();
        return result;
    }

    PageIdentity identify(uint64_t) const override { return {}; }

private:
    bool writes() const { return op_ == VTTM_OP_TIMESTAMP || op_ == VTTM_OP_SEM_SIGNAL; }

    void access(uint8_t* ptr, Step& result) {
        auto* word = reinterpret_cast<uint64_t*>(ptr);
        result.done = true;
        switch (op_) {
            case VTTM_OP_TIMESTAMP:
                __atomic_store_n(word, ctx_.clock.now_ns(), __ATOMIC_RELEASE);
                break;
            case VTTM_OP_SEM_SIGNAL:
                if (flag_)
                    __atomic_fetch_add(word, value_, __ATOMIC_ACQ_REL);
                else
                    __atomic_store_n(word, value_, __ATOMIC_RELEASE);
                result.signalled = true;
                break;
            case VTTM_OP_SEM_WAIT:
                result.done = compares(compare_, __atomic_load_n(word, __ATOMIC_ACQUIRE), value_);
                result.waits = !result.done;
                break;
            default: {
                const uint64_t memory =
                    flag_ ? __atomic_load_n(reinterpret_cast<uint32_t*>(ptr), __ATOMIC_ACQUIRE)
                          : __atomic_load_n(word, __ATOMIC_ACQUIRE);
                if (compares(compare_, memory & mask_, value_)) result.skip = skip_;
                break;
            }
        }
    }

    ExecContext& ctx_;
    Cursor at_;
    Range word_;
    uint32_t op_ = 0;
    bool flag_ = false;  // VTTM_PKT_FLAG_ADD or VTTM_PKT_FLAG_DWORD
    uint32_t compare_ = 0;
    uint64_t value_ = 0;
    uint64_t mask_ = 0;
    uint32_t skip_ = 0;
};

static_assert(VTTM_PKT_FLAG_ADD == VTTM_PKT_FLAG_DWORD);

}  // namespace

std::unique_ptr<Executor> make_sync_executor(ExecContext& ctx) {
    return std::make_unique<SyncExecutor>(ctx);
}

}  // namespace vttm::model
