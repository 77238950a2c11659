// SPDX-License-Identifier: Apache-2.0
// The packets of the copy engine: walks the segments of a CopyJob.
#include <algorithm>
#include <cstring>

#include "host-backend/model/copy_job.h"
#include "host-backend/model/read_spoiler.h"
#include "host-backend/model/write_spoiler.h"

namespace vttm::model {

namespace {

// Most segments of a step. One of a single byte maps up to 14 places: two of data, and of tables those that lead to each,
// twice where the page-walk cache is stale. A mapping is dear behind an IOMMU.
constexpr unsigned kMaxSegments = 32;

class CopyExecutor final : public Executor {
public:
    explicit CopyExecutor(ExecContext& ctx)
        : ctx_(ctx),
          src_(ctx.bus, ctx.mmu, ctx.roots, ctx.stale),
          dst_(ctx.bus, ctx.mmu, ctx.roots, ctx.stale) {}

    Fault begin(const Packet& packet) override {
        if (Fault fault = job_.begin(ctx_, packet)) return fault;
        const Range list = job_.list();
        loading_ = list.len;
        list_len_ = list.len;
        src_.start(loading_ ? list : Range{job_.src_space(), 0, 0}, ctx_.vm, false);
        dst_.start({job_.dst_space(), 0, 0}, ctx_.vm, true);
        return {};
    }

    Step step() override {
        Step result;
        if (loading_) {
            result.fault = load_list();
            return result;
        }
        unsigned segments = 0;
        while (!result.fault && result.bytes < kChunkBytes) {
            if (!dst_.left()) {
                CopyJob::Segment s;
                if (segments++ == kMaxSegments) break;
                if (!job_.next(s)) break;
                dst_.go_to(s.dst, s.len);
                if (!job_.fills()) src_.go_to(s.src, s.len);
            }
            const uint64_t n = std::min(kChunkBytes - result.bytes, dst_.left());
            dst_.begin_chunk(n);
            if (job_.fills()) {
                result.fault = fill(n, result.bytes);
            } else {
                src_.begin_chunk(n);
                result.fault = copy(n, result.bytes);
            }
        }
        src_.end_chunk();
        dst_.end_chunk();
        result.done = !result.fault && !dst_.left() && job_.at_end();
        return result;
    }

    PageIdentity identify(uint64_t) const override { return {}; }

    void save(StateWriter& out) const override {
        if (job_.has_list()) {
            out.flag("loading", loading_);
            const uint8_t* list = job_.list_bytes();
            out.blob("list", {list, list + list_len_}, list_len_);
        }
        out.u64("segment", job_.index());
        out.u64("left", loading_ ? src_.left() : dst_.left());
    }

    void load(StateReader& in) override {
        uint64_t segment = 0, left = 0;
        if (job_.has_list()) load_list_state(in);
        in.u64("segment", segment);
        in.u64("left", left);
        if (loading_) {
            in.require(!segment, "segment", "begins before the list is there");
            in.require(left && left <= list_len_, "left", "is not within the list");
            src_.go_to(job_.list().addr + (list_len_ - left), left);
            return;
        }
        CopyJob::Segment s;
        if (segment) {
            in.require(job_.seek(segment - 1) && job_.next(s), "segment", "is not in the packet");
            in.require(left || !job_.at_end(), "left", "says that the packet is over");
        }
        in.require(left <= s.len && !(job_.fills() && left % 4), "left", "is not in the segment");
        dst_.go_to(s.dst + (s.len - left), left);
        if (!job_.fills()) src_.go_to(s.src + (s.len - left), left);
    }

private:
    void load_list_state(StateReader& in) {
        StateBytes list;
        in.flag("loading", loading_);
        in.blob("list", list, list_len_);
        in.require(list.size() == list_len_, "list", "is shorter than the packet says");
        std::copy(list.begin(), list.end(), job_.list_bytes());
        if (loading_) return;
        in.require(!job_.check_list(ctx_), "list", "would have been refused");
        src_.start({job_.src_space(), 0, 0}, ctx_.vm, false);
    }

    // Copies the list of pieces here; nothing of it is read again.
    Fault load_list() {
        Fault fault;
        src_.begin_chunk(src_.left());
        while (!fault && src_.left()) {
            if (const auto from = src_.piece()) {
                std::memcpy(job_.list_bytes() + (list_len_ - src_.left()), from->ptr, from->len);
                src_.advance(from->len);
            } else {
                fault = src_.fault();
            }
        }
        src_.end_chunk();
        if (fault) return fault;
        loading_ = false;
        src_.start({job_.src_space(), 0, 0}, ctx_.vm, false);
        return job_.check_list(ctx_);
    }

    Fault copy(uint64_t n, uint64_t& bytes) {
        while (n) {
            const auto from = src_.piece();
            if (!from) return src_.fault();
            const auto to = dst_.piece();
            if (!to) return dst_.fault();
            const uint64_t len = std::min(from->len, to->len);
            // Two virtual ranges may lead to the same page: then the bytes are the driver's
            // problem, but the copy itself must stay defined.
            const uint8_t* data = ctx_.read_spoiler
                                      ? ctx_.read_spoiler->seen(*from, len, job_.total())
                                      : from->ptr;
            std::memmove(begin_write(*to, len), data, len);
            end_write(*to, len);
            src_.advance(len);
            dst_.advance(len);
            bytes += len;
            n -= len;
        }
        return {};
    }

    // Where the @len bytes at @to are written: there, unless the host wants them spoiled.
    uint8_t* begin_write(const Cursor::Piece& to, uint64_t len) {
        return ctx_.spoiler ? ctx_.spoiler->stage(to.ptr, len, job_.total()) : to.ptr;
    }
    void end_write(const Cursor::Piece& to, uint64_t len) {
        if (ctx_.spoiler) ctx_.spoiler->commit(to, len);
    }

    Fault fill(uint64_t n, uint64_t& bytes) {
        while (n) {
            const auto to = dst_.piece();
            if (!to) return dst_.fault();
            const uint64_t words = to->len / 4;
            if (!words || reinterpret_cast<uintptr_t>(to->ptr) % 4)
                return dst_.fault_here(VTTM_FAULT_BUS);
            std::fill_n(reinterpret_cast<uint32_t*>(begin_write(*to, words * 4)), words,
                        job_.value());
            end_write(*to, words * 4);
            dst_.advance(words * 4);
            bytes += words * 4;
            n -= words * 4;
        }
        return {};
    }

    ExecContext& ctx_;
    Cursor src_;
    Cursor dst_;
    CopyJob job_;
    bool loading_ = false;  // src_ is at the list of pieces
    uint64_t list_len_ = 0;
};

}  // namespace

std::unique_ptr<Executor> make_copy_executor(ExecContext& ctx) {
    return std::make_unique<CopyExecutor>(ctx);
}

}  // namespace vttm::model
