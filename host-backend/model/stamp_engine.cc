// SPDX-License-Identifier: Apache-2.0
// STAMP_WRITE and STAMP_VERIFY.
#include <algorithm>
#include <cstring>

#include "host-backend/model/executor.h"
#include "host-backend/model/read_spoiler.h"
#include "host-backend/model/stamp_page.h"
#include "host-backend/model/write_spoiler.h"

namespace vttm::model {

namespace {

constexpr uint32_t kMaxPages = 1u << 20;
constexpr uint64_t kResultAlign = 16;

static_assert(VTTM_STAMP_PAGE_SIZE == VTTM_PAGE_SIZE);
static_assert(kChunkBytes % VTTM_PAGE_SIZE == 0);
static_assert(VTTM_STAMP_NUM_CLASSES <= sizeof(vttm_stamp_result::by_class) / sizeof(uint32_t));

class StampExecutor final : public Executor {
public:
    explicit StampExecutor(ExecContext& ctx)
        : ctx_(ctx),
          pages_(ctx.bus, ctx.mmu, ctx.roots, ctx.stale),
          out_(ctx.bus, ctx.mmu, ctx.roots, ctx.stale) {}

    Fault begin(const Packet& packet) override;
    Step step() override;
    PageIdentity identify(uint64_t va) const override;
    void save(StateWriter& out) const override;
    void load(StateReader& in) override;

private:
    template <class Io>
    static void io_result(Io& io, vttm_stamp_result& result);
    Fault run_pages(uint64_t chunk, uint64_t& bytes);
    vttm_stamp_class verify_page(const uint8_t* page);
    Fault write_result();

    ExecContext& ctx_;
    const StampPage& code_ = stamp_page();
    Cursor pages_;
    Cursor out_;
    bool verify_ = false;
    uint64_t va_ = 0;
    uint64_t first_page_ = 0;
    uint64_t npages_ = 0;
    uint64_t time_ns_ = 0;
    vttm_stamp_id id_{};  // of the page at the cursor
    bool at_result_ = false;
    Range result_range_;
    vttm_stamp_result result_{};
};

Fault StampExecutor::begin(const Packet& packet) {
    const auto p = packet.as<vttm_pkt_stamp>();
    const bool verify = packet.op() == VTTM_OP_STAMP_VERIFY;
    const Range pages{VTTM_PKT_DST_OF(packet.flags()), join64(p.va_lo, p.va_hi),
                      p.npages * static_cast<uint64_t>(VTTM_PAGE_SIZE)};
    const Range result{VTTM_PKT_SRC_OF(packet.flags()), join64(p.result_lo, p.result_hi),
                       sizeof(vttm_stamp_result)};
    const uint64_t page = join64(p.page_lo, p.page_hi);

    if (p.npages == 0 || p.npages > kMaxPages || pages.addr % VTTM_PAGE_SIZE || p.buffer == 0 ||
        p.generation == 0 || page > UINT64_MAX - (p.npages - 1))
        return operand_fault(ctx_, packet.bus_addr, VTTM_FAULT_BAD_PACKET, 0, false);
    if (auto reason = check_range(ctx_.bus, pages))
        return operand_fault(ctx_, packet.bus_addr, reason, pages.addr, !verify);
    if (verify) {
        if (result.addr % kResultAlign ||
            result.addr % VTTM_PAGE_SIZE > VTTM_PAGE_SIZE - sizeof(vttm_stamp_result))
            return operand_fault(ctx_, packet.bus_addr, VTTM_FAULT_BAD_PACKET, 0, false);
        if (auto reason = check_range(ctx_.bus, result))
            return operand_fault(ctx_, packet.bus_addr, reason, result.addr, true);
    }
    verify_ = verify;
    va_ = pages.addr;
    first_page_ = page;
    npages_ = p.npages;
    time_ns_ = ctx_.clock.now_ns();
    id_ = {join64(p.key_lo, p.key_hi), page, p.buffer, p.generation};
    result_range_ = result;
    result_ = {};
    at_result_ = false;
    pages_.start(pages, ctx_.vm, !verify);
    return {};
}

PageIdentity StampExecutor::identify(uint64_t va) const {
    const uint64_t index = (va - va_) / VTTM_PAGE_SIZE;
    if (at_result_ || va < va_ || index >= npages_) return {};  // the result is in no buffer
    return {id_.buffer, id_.generation, first_page_ + index};
}

Executor::Step StampExecutor::step() {
    const uint64_t chunk = std::min(kChunkBytes, pages_.left());
    Step result;

    pages_.begin_chunk(chunk);
    result.fault = run_pages(chunk, result.bytes);
    pages_.end_chunk();
    if (!result.fault && !pages_.left()) {
        if (verify_) result.fault = write_result();
        result.done = true;
    }
    return result;
}

Fault StampExecutor::run_pages(uint64_t chunk, uint64_t& bytes) {
    while (bytes < chunk) {
        const auto piece = pages_.piece();
        if (!piece) return pages_.fault();
        const uint64_t n = piece->len / VTTM_PAGE_SIZE;
        if (!n || reinterpret_cast<uintptr_t>(piece->ptr) % sizeof(uint64_t))
            return pages_.fault_here(VTTM_FAULT_BUS);

        vttm_witness_record rec{};
        rec.kind = verify_ ? VTTM_WITNESS_VERIFY : VTTM_WITNESS_WRITE;
        rec.buffer = id_.buffer;
        rec.generation = id_.generation;
        rec.npages = 1;
        rec.space = piece->space;
        rec.engine_vm = ctx_.engine << 16 | ctx_.vm;
        rec.time_ns = time_ns_;
        // Never verify's: that writes but its result.
        WriteSpoiler* spoiler = verify_ ? nullptr : ctx_.spoiler;
        uint8_t* first = piece->ptr;
        const uint8_t* seen = first;
        if (spoiler) [[unlikely]]
            first = spoiler->stage(first, n * VTTM_PAGE_SIZE, npages_ * VTTM_PAGE_SIZE);
        if (verify_ && ctx_.read_spoiler) [[unlikely]]
            seen = ctx_.read_spoiler->seen(*piece, n * VTTM_PAGE_SIZE, npages_ * VTTM_PAGE_SIZE);
        for (uint64_t i = 0; i < n; i++) {
            if (verify_)
                rec.stamp_class = verify_page(seen + i * VTTM_PAGE_SIZE);
            else
                code_.fill(first + i * VTTM_PAGE_SIZE, id_);
            rec.page = id_.page++;
            rec.va = piece->addr + i * VTTM_PAGE_SIZE;
            rec.phys = piece->phys + i * VTTM_PAGE_SIZE;
            ctx_.witness.add(rec);
        }
        if (spoiler) [[unlikely]]
            spoiler->commit(*piece, n * VTTM_PAGE_SIZE);
        pages_.advance(n * VTTM_PAGE_SIZE);
        bytes += n * VTTM_PAGE_SIZE;
    }
    return {};
}

vttm_stamp_class StampExecutor::verify_page(const uint8_t* page) {
    vttm_stamp_class cls = VTTM_STAMP_GOOD;

    result_.checked++;
    if (!code_.is_good(page, id_)) {
        // The guest may be writing this very page: what is judged is one copy of it.
        alignas(uint64_t) uint8_t copy[VTTM_PAGE_SIZE];
        std::memcpy(copy, page, sizeof(copy));
        cls = vttm_stamp_classify(copy, &id_);
    }
    if (cls == VTTM_STAMP_GOOD) {
        result_.good++;
    } else {
        if (!result_.bad++) result_.first_bad_page = id_.page;
        result_.by_class[cls]++;
    }
    return cls;
}

Fault StampExecutor::write_result() {
    at_result_ = true;
    return out_.write_once(result_range_, ctx_.vm, &result_);
}

template <class Io>
void StampExecutor::io_result(Io& io, vttm_stamp_result& result) {
    io.u64("good", result.good);
    io.u64("bad", result.bad);
    io.u64("first-bad-page", result.first_bad_page);
    for (unsigned c = 1; c < VTTM_STAMP_NUM_CLASSES; c++) io.u32("class", result.by_class[c]);
}

void StampExecutor::save(StateWriter& out) const {
    vttm_stamp_result result = result_;
    out.u64("left", pages_.left());
    out.u64("time", time_ns_);
    if (verify_) io_result(out, result);
}

void StampExecutor::load(StateReader& in) {
    uint64_t left = 0;
    in.u64("left", left, npages_ * VTTM_PAGE_SIZE);
    // A result that met a retryable fault is still to be written.
    in.require(left % VTTM_PAGE_SIZE == 0 && (left || verify_), "left", "is no place in the packet");
    in.u64("time", time_ns_);
    const uint64_t done = npages_ - left / VTTM_PAGE_SIZE;
    if (verify_) {
        io_result(in, result_);
        uint64_t bad = 0;
        for (uint32_t n : result_.by_class) bad += n;
        in.require(result_.good <= done && result_.bad == done - result_.good &&
                       result_.bad == bad,
                   "bad", "does not add up with the pages that were checked");
        in.require(result_.bad ? result_.first_bad_page - first_page_ < done
                               : !result_.first_bad_page,
                   "first-bad-page", "is none that was checked");
        result_.checked = done;
        at_result_ = !left;
    }
    id_.page = first_page_ + done;
    pages_.go_to(va_ + done * VTTM_PAGE_SIZE, left);
}

}  // namespace

std::unique_ptr<Executor> make_stamp_executor(ExecContext& ctx) {
    return std::make_unique<StampExecutor>(ctx);
}

}  // namespace vttm::model
