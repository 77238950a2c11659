// SPDX-License-Identifier: Apache-2.0
// What a fault plan of the host does to one ring. Without a plan nothing of this runs.
#include <algorithm>
#include <cstring>
#include <utility>

#include "host-backend/model/ring_context.h"

namespace vttm::model {

namespace {

using std::chrono::microseconds;
using std::chrono::steady_clock;

// As far as a FENCE is looked for ahead.
constexpr unsigned kMaxAhead = 256;
// So many late effects a ring keeps at a time; what would be one more is done in time.
constexpr size_t kMaxLate = 1024;

bool does_work(uint32_t op) {
    return op != VTTM_OP_NOP && op != VTTM_OP_SET_VM && op != VTTM_OP_FENCE;
}

}  // namespace

// A fault that is under way keeps on: a late fence comes, a hang lasts. But what the packet under
// way writes and reads is not spoiled any more.
void RingContext::set_faults(std::unique_ptr<FaultLane> lane) {
    end_strikes();
    job_seen_ = false;
    early_fence_.reset();  // told, and told again when its turn comes
    lane_ = std::move(lane);
    faults_ = lane_.get();
}

// What was still to come to the packet under way does not.
void RingContext::end_strikes() {
    ctx_.spoiler = nullptr;
    ctx_.read_spoiler = nullptr;
    spoiler_.reset();
    read_spoiler_.reset();
    hang_.reset();
}

// For a reset of the ring: what was under way is lost, late effects too.
void RingContext::forget_faults() {
    end_strikes();
    fetched_ = landing_ = job_seen_ = false;
    late_.clear();
    early_fence_.reset();
    held_until_.reset();
    hold_ = microseconds(0);
    slow_ = std::chrono::nanoseconds(0);
}

// --- Before a packet begins ----------------------------------------------------------------------

// Whether the packet that was just fetched must not begin yet, or never.
bool RingContext::held_up(const RingState& ring) {
    if (!faults_) [[likely]]
        return false;
    if (strike_device()) {
        fetched_ = true;
        return true;
    }
    constexpr FaultTarget kVectors[] = {kTargetErrorIrq, kTargetEngineIrq, kTargetVramIrq};
    const uint32_t bits[] = {VTTM_IRQ_ERROR, VTTM_IRQ_ENGINE(core_.index), VTTM_IRQ_VRAM};
    for (unsigned i = 0; i < std::size(kVectors); i++)
        if (faults_->strike(FaultKind::irq_spurious, kVectors[i], packet_.bus_addr))
            shared_.irq.fire_spurious(bits[i]);
    strike_early_fence(ring);
    if (const auto late = faults_->strike(FaultKind::latency, kTargetNone, packet_.bus_addr))
        hold(late->rule->us);
    fetched_ = hold_.count();
    return fetched_;
}

bool RingContext::strike_device() {
    const uint64_t at = packet_.bus_addr;
    const auto gone = faults_->event(FaultKind::surprise_removal);
    const auto reset = faults_->event(FaultKind::device_reset);
    const auto hang = faults_->event(FaultKind::engine_hang);
    if (gone) {
        shared_.remove_device();
        faults_->injected(*gone, at);
    } else if (reset && shared_.reset_device()) {
        faults_->injected(*reset, at);
    } else if (hang && !hang->rule->chunks) {
        hang_engine(*hang);
    } else {
        hang_ = hang;
        return false;
    }
    return true;
}

void RingContext::hang_engine(const Strike& strike) {
    {
        std::lock_guard lock(core_.mu);
        core_.hung = true;
    }
    faults_->injected(strike, packet_.bus_addr);
}

// The event is the first packet of a job that works, if the job's FENCE is in the ring already.
void RingContext::strike_early_fence(const RingState& ring) {
    if (!faults_->has(FaultKind::fence_early)) return;
    if (!ibs_.depth() && packet_.op() == VTTM_OP_FENCE) job_seen_ = false;
    if (job_seen_ || !does_work(packet_.op())) return;
    RingState ahead = ring;
    Packet p;
    if (!ibs_.depth()) ahead.head = (ahead.head + packet_.dwords * 4) & (ring.size - 1);
    for (unsigned i = 0; i < kMaxAhead && ahead.head != ahead.tail; i++) {
        uint32_t next = 0;
        if (fetch_packet(shared_.bus, ahead, core_.cls, p, next)) return;
        if (p.op() != VTTM_OP_FENCE) {
            ahead.head = next;
            continue;
        }
        job_seen_ = true;
        const auto strike = faults_->event(FaultKind::fence_early);
        const auto f = p.as<vttm_pkt_fence>();
        const LateFence fence{join64(f.addr_lo, f.addr_hi), join64(f.seq_lo, f.seq_hi), error_,
                              (p.flags() & VTTM_PKT_FLAG_IRQ) != 0};
        if (!strike || fence.addr % sizeof(vttm_fence_value) || !write_fence(fence)) return;
        faults_->injected(*strike, fence.addr);
        early_fence_ = ahead.head;
        tell_fence(fence);
        hold(strike->rule->us);
        return;
    }
}

// --- Packets -------------------------------------------------------------------------------------

// Whether something else than what it should becomes of the FENCE that is being run.
bool RingContext::strike_fence(const LateFence& fence) {
    // One that was skipped is told here at the latest to be of the past.
    const bool told = !ibs_.depth() && std::exchange(early_fence_, std::nullopt) == packet_pos_;
    if (!told && faults_->strike(FaultKind::dma_error, kTargetFence, fence.addr)) {
        fail_packet({VTTM_FAULT_BUS, fence.addr, true, ctx_.vm});
        return true;
    }
    const auto never =
        told ? std::nullopt : faults_->strike(FaultKind::fence_never, kTargetNone, fence.addr);
    const auto late = told || never || late_.size() >= kMaxLate
                          ? std::nullopt
                          : faults_->strike(FaultKind::fence_late, kTargetNone, fence.addr);
    if (!told && !never && !late) return false;
    if (late) late_.push_back({late->rule->packets + 1, late->rule->us, fence});
    error_ = VTTM_FAULT_NONE;
    finish_packet();
    return true;
}

void RingContext::raise(uint32_t irq) {
    const FaultTarget vector = irq == VTTM_IRQ_ERROR ? kTargetErrorIrq : kTargetEngineIrq;
    if (faults_ && faults_->strike(FaultKind::irq_lost, vector, 0)) [[unlikely]]
        shared_.irq.latch(irq);
    else
        shared_.irq.raise(irq);
}

// The packet that is about to begin.
void RingContext::strike_data() {
    faults_->packet_begins();
    const auto hang = hang_;  // was drawn when the packet was taken up
    end_strikes();
    if ((hang_ = hang)) hang_in_ = hang->rule->chunks;
    const uint32_t op = packet_.op();
    const bool copies = core_.cls == VTTM_CLASS_COPY && op >= VTTM_OP_COPY;
    const bool fills = copies && (op == VTTM_OP_FILL || op == VTTM_OP_FILL_2D);
    if (op == VTTM_OP_STAMP_VERIFY || op == VTTM_OP_HASH || (copies && !fills))
        if (const auto strike = faults_->event(FaultKind::bit_flip, kTargetRead))
            ctx_.read_spoiler = &read_spoiler_.emplace(*faults_, *strike);
    if (!copies && op != VTTM_OP_STAMP_WRITE) return;
    spoiler_.emplace(*faults_, late_);
    for (FaultKind kind :
         {FaultKind::bit_flip, FaultKind::write_dropped, FaultKind::write_reordered})
        if (const auto strike = faults_->event(kind);
            strike && (kind != FaultKind::write_reordered || late_.size() < kMaxLate))
            spoiler_->add(*strike);
    if (spoiler_->empty())
        spoiler_.reset();
    else
        ctx_.spoiler = &*spoiler_;
}

// Behind each step of a packet. A hang leaves it where it is.
void RingContext::after_step(const Executor::Step& s) {
    throttle(s.bytes);
    if (!hang_ || s.done || s.fault || !s.bytes || --hang_in_) return;
    hang_engine(*hang_);
    hang_.reset();
}

void RingContext::throttle(uint64_t bytes) {
    const uint64_t limit = bytes ? faults_->bytes_per_second() : 0;
    if (!limit) return;
    faults_->slowed_down();
    slow_ += std::chrono::nanoseconds(
        static_cast<int64_t>(static_cast<double>(bytes) * 1e9 / static_cast<double>(limit)));
}

// --- Late effects --------------------------------------------------------------------------------

// At the end of a turn.
void RingContext::packet_over() {
    if (!over_) return;
    if (faults_) faults_->packet_ends();
    microseconds wait{0};
    bool due = false;
    for (LateEffect& e : late_) {
        if (e.packets) e.packets--;
        if (e.packets) continue;
        due = true;
        wait = std::max(wait, e.us);
    }
    if (!due) return;
    landing_ = true;
    if (wait.count() && shared_.clock.is_real())
        hold(wait);
    else
        land();
}

void RingContext::land() {
    std::vector<LateEffect> due;
    landing_ = false;
    std::erase_if(late_, [&](LateEffect& e) {
        if (e.packets) return false;
        due.push_back(std::move(e));
        return true;
    });
    for (const LateEffect& e : due) {
        if (const auto* fence = std::get_if<LateFence>(&e.what)) {
            if (!write_fence(*fence)) continue;
            core_.fences.fetch_add(1, std::memory_order_relaxed);
            tell_fence(*fence);
        } else {
            land(std::get<LateWrite>(e.what));
        }
    }
}

void RingContext::land(const LateWrite& write) const {
    const Bus& bus = shared_.bus;
    const uint64_t len = write.bytes.size();
    if (write.space == VTTM_SPACE_VRAM) {
        if (!bus.vram_contains(write.phys, len)) return;
        std::memcpy(bus.vram() + write.phys, write.bytes.data(), len);
        bus.vram_dirty(write.phys, len);
        return;
    }
    for (uint64_t at = 0; at < len;) {
        const Bus::Mapping m = bus.map(write.phys + at, len - at, true);
        if (!m) return;  // the guest has taken it away meanwhile
        std::memcpy(m.data(), write.bytes.data() + at, m.size());
        at += m.size();
    }
}

// With mu held, at the end of a turn.
void RingContext::begin_hold() {
    const auto now = steady_clock::now();
    const auto us = std::exchange(hold_, microseconds(0));
    const auto slow = std::exchange(slow_, std::chrono::nanoseconds(0));
    if (!shared_.clock.is_real()) return;
    if (us.count()) held_until_ = now + us;
    if (slow.count()) core_.stands_until = now + slow;
}

}  // namespace vttm::model
