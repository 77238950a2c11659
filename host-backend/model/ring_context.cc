// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/ring_context.h"

#include <algorithm>
#include <utility>

namespace vttm::model {

namespace {

// How often a ring that waits looks, if nobody tells it to: at first.
constexpr std::chrono::microseconds kFirstPoll{10};

}  // namespace

RingContext::RingContext(EngineCore& core, unsigned number)
    : core_(core),
      shared_(core.shared),
      number_(number),
      ctx_{shared_.bus, shared_.roots, shared_.clock, core.mmu, core.witness, *this, core.index,
           kNoVm},
      execs_(make_executors(ctx_, core.cls)),
      ibs_(ctx_) {}

Executors RingContext::make_executors(ExecContext& ctx, vttm_engine_class cls) {
    const bool copies = cls == VTTM_CLASS_COPY;
    return {copies ? make_copy_executor(ctx) : make_stamp_executor(ctx),
            copies ? nullptr : make_hash_executor(ctx), make_sync_executor(ctx)};
}

Executor* Executors::of(uint32_t op) const {
    switch (op) {
        case VTTM_OP_NOP:
        case VTTM_OP_SET_VM:
        case VTTM_OP_FENCE:
        case VTTM_OP_INDIRECT:
            return nullptr;
        case VTTM_OP_TIMESTAMP:
        case VTTM_OP_SEM_SIGNAL:
        case VTTM_OP_SEM_WAIT:
        case VTTM_OP_COND_SKIP:
            return sync.get();
        case VTTM_OP_HASH:
            return hash.get();
        default:
            return cls.get();
    }
}

// --- Turns ---------------------------------------------------------------------------------------

bool RingContext::has_work() const {
    if (core_.hung) return false;
    if (held_until_) return std::chrono::steady_clock::now() >= *held_until_;
    if (stalled_) return false;
    if (waiting_)
        return enabled_ && (look_again_ || (shared_.clock.is_real() &&
                                            std::chrono::steady_clock::now() >= poll_at_));
    return packet_open_ || (enabled_ && !halted_ && (in_ib_ || ring_.head != ring_.tail));
}

std::optional<RingContext::Time> RingContext::poll_time() const {
    if (core_.hung) return std::nullopt;
    if (held_until_) return held_until_;
    if (!waiting_ || stalled_ || !enabled_ || !shared_.clock.is_real()) return std::nullopt;
    return poll_at_;
}

RingContext::Turn RingContext::begin_turn() {
    look_again_ = false;  // what changes from now on is another reason to look
    held_until_.reset();
    return {ring_, std::exchange(give_up_, false)};
}

void RingContext::end_turn() {
    packet_open_ = exec_ || fetched_;
    in_ib_ = ibs_.depth();
    if (hold_.count() || slow_.count()) [[unlikely]]
        begin_hold();
    const bool waited = std::exchange(waiting_, exec_ && wait_ && !stalled_);
    if (!waiting_) return;
    back_off_ = waited ? std::min(2 * back_off_, kLastPoll) : kFirstPoll;
    poll_at_ = std::chrono::steady_clock::now() + back_off_;
}

void RingContext::reset() {
    halted_ = false;
    packet_open_ = false;
    in_ib_ = false;
    stalled_ = false;
    give_up_ = false;
    waiting_ = false;
    exec_ = nullptr;
    ibs_.clear();
    error_ = VTTM_FAULT_NONE;
    ctx_.vm = kNoVm;
    forget_faults();
    ring_.head = 0;
    ring_.tail = 0;
}

void RingContext::device_reset() {
    reset();
    enabled_ = false;
    priority_ = 0;
    stall_ = 0;
    ring_ = RingState();
    last_fence_.store(0, std::memory_order_release);
}

void RingContext::step(const Turn& turn) {
    over_ = false;
    if (landing_) [[unlikely]]
        land();
    else if (turn.give_up)
        drop_packet(VTTM_FAULT_NOT_VALID);  // the fault was reported when the ring stalled
    else if (exec_)
        run_packet();
    else if (std::exchange(fetched_, false) ||
             ((ibs_.depth() ? fetch_indirect() : fetch(turn.ring)) && !held_up(turn.ring)))
        dispatch();
    if (!exec_ && !fetched_) ibs_.leave_finished();
    if (faults_ || !late_.empty()) [[unlikely]]
        packet_over();
}

bool RingContext::fetch(const RingState& ring) {
    uint32_t next = 0;
    packet_pos_ = ring.head;
    packet_.words[0] = 0;
    Fault fault;
    if (faults_ && faults_->strike(FaultKind::dma_error, kTargetRing, ring.base + ring.head))
        [[unlikely]]
        fault = {VTTM_FAULT_BUS, ring.base + ring.head};
    else
        fault = fetch_packet(shared_.bus, ring, core_.cls, packet_, next);
    if (fault) {
        fault.vm = ctx_.vm;
        halt(fault);
        return false;
    }
    behind_ = ((ring.tail - next) & (ring.size - 1)) / 4;
    std::lock_guard lock(core_.mu);
    ring_.head = next;
    packet_open_ = true;
    return true;
}

// A fault here is an error of the job, or a stall after which the whole packet is fetched anew.
bool RingContext::fetch_indirect() {
    packet_.words[0] = 0;
    const Fault fault = ibs_.fetch(core_.cls, packet_, behind_);
    if (!fault) return true;
    if (is_retryable(fault))
        stall(fault);
    else
        fail_packet(fault);
    return false;
}

// --- Packets -------------------------------------------------------------------------------------

void RingContext::dispatch() {
    const uint32_t op = packet_.op();
    // After an error only what every packet behind relies on is obeyed.
    if (error_ && op != VTTM_OP_FENCE && op != VTTM_OP_SET_VM) return;
    trace(VTTM_TRACE_PACKET_BEGIN, packet_.words[0], packet_.bus_addr);
    if (ibs_.unprivileged() && !unprivileged_ok(packet_.words[0])) {
        fail_packet({VTTM_FAULT_PRIVILEGE, packet_.bus_addr, false, ctx_.vm});
        return;
    }
    if (!flags_ok(packet_.words[0])) {
        if (op == VTTM_OP_SET_VM) ctx_.vm = kNoVm;
        fail_packet({VTTM_FAULT_BAD_PACKET, packet_.bus_addr, false, ctx_.vm});
        return;
    }
    switch (op) {
        case VTTM_OP_NOP:
            finish_packet();
            break;
        case VTTM_OP_SET_VM:
            set_vm();
            break;
        case VTTM_OP_FENCE:
            fence();
            break;
        case VTTM_OP_COND_SKIP:
            if (packet_.as<vttm_pkt_cond_skip>().skip > behind_)
                fail_packet({VTTM_FAULT_BAD_PACKET, packet_.bus_addr, false, ctx_.vm});
            else
                execute(*execs_.sync);
            break;
        case VTTM_OP_INDIRECT:
            indirect();
            break;
        default:
            execute(*execs_.of(op));
            break;
    }
}

void RingContext::execute(Executor& exec) {
    wait_ = false;  // what a reset ended may have waited
    if (faults_) [[unlikely]]
        strike_data();
    if (Fault fault = exec.begin(packet_))
        fail_packet(fault);
    else
        exec_ = &exec;
}

void RingContext::run_packet() {
    wait_ = false;
    const Executor::Step s = exec_->step();
    core_.bytes.fetch_add(s.bytes, std::memory_order_relaxed);
    if (faults_) [[unlikely]]
        after_step(s);
    if (s.fault && is_retryable(s.fault)) {
        stall(s.fault);
    } else if (s.fault) {
        fail_packet(s.fault);
    } else if (s.done) {
        if (s.skip) skip(s.skip);
        finish_packet();
        if (s.signalled) shared_.memory_signalled();
    } else {
        wait_ = s.waits;
    }
}

void RingContext::set_vm() {
    const uint32_t vm = packet_.as<vttm_pkt_set_vm>().vm;
    if (vm >= VTTM_MAX_VMS) {
        // What follows must not run in the VM before.
        ctx_.vm = kNoVm;
        fail_packet({VTTM_FAULT_NO_VM, packet_.bus_addr, false, kNoVm});
        return;
    }
    ctx_.vm = vm;
    finish_packet();
}

void RingContext::fence() {
    const auto p = packet_.as<vttm_pkt_fence>();
    const uint64_t addr = join64(p.addr_lo, p.addr_hi);
    const uint64_t seq = join64(p.seq_lo, p.seq_hi);

    if (addr % sizeof(vttm_fence_value)) {
        fail_packet({VTTM_FAULT_BAD_PACKET, packet_.bus_addr, false, ctx_.vm});
        return;
    }
    const LateFence fence{addr, seq, error_, (packet_.flags() & VTTM_PKT_FLAG_IRQ) != 0};
    if (faults_ && strike_fence(fence)) [[unlikely]]
        return;
    if (!write_fence(fence)) {
        fail_packet({VTTM_FAULT_BUS, addr, true, ctx_.vm});
        return;
    }
    error_ = VTTM_FAULT_NONE;
    core_.fences.fetch_add(1, std::memory_order_relaxed);
    finish_packet();
    tell_fence(fence);
}

bool RingContext::write_fence(const LateFence& fence) {
    Bus::Mapping m = shared_.bus.map(fence.addr, sizeof(vttm_fence_value), true);
    if (m.size() < sizeof(vttm_fence_value) ||
        reinterpret_cast<uintptr_t>(m.data()) % alignof(vttm_fence_value))
        return false;
    trace(VTTM_TRACE_FENCE, fence.seq, fence.addr);
    auto* value = reinterpret_cast<vttm_fence_value*>(m.data());
    __atomic_store_n(&value->status, fence.status, __ATOMIC_RELAXED);
    __atomic_store_n(&value->rsvd, 0u, __ATOMIC_RELAXED);
    __atomic_store_n(&value->seq, fence.seq, __ATOMIC_RELEASE);
    return true;
}

void RingContext::tell_fence(const LateFence& fence) {
    last_fence_.store(fence.seq, std::memory_order_release);
    if (fence.irq) raise(VTTM_IRQ_ENGINE(core_.index));
    shared_.memory_signalled();
}

void RingContext::indirect() {
    const auto p = packet_.as<vttm_pkt_indirect>();
    const Range ib{VTTM_PKT_DST_OF(packet_.flags()), join64(p.addr_lo, p.addr_hi),
                   uint64_t{p.dwords} * 4};

    if (!p.dwords || p.dwords > VTTM_IB_MAX_DWORDS || ib.addr % 4 ||
        ibs_.depth() == VTTM_IB_MAX_DEPTH) {
        fail_packet({VTTM_FAULT_BAD_PACKET, packet_.bus_addr, false, ctx_.vm});
        return;
    }
    if (auto reason = check_range(shared_.bus, ib)) {
        fail_packet(operand_fault(ctx_, packet_.bus_addr, reason, ib.addr, false));
        return;
    }
    finish_packet();
    ibs_.enter(ib, packet_.flags() & VTTM_PKT_FLAG_UNPRIVILEGED);
}

// Over what lies behind the packet under way; no more than behind_.
void RingContext::skip(uint32_t dwords) {
    if (ibs_.depth()) {
        ibs_.skip(dwords);
        return;
    }
    std::lock_guard lock(core_.mu);
    ring_.head = (ring_.head + dwords * 4) & (ring_.size - 1);
}

void RingContext::finish_packet() {
    exec_ = nullptr;
    core_.packets.fetch_add(1, std::memory_order_relaxed);
    core_.witness.flush();
    trace(VTTM_TRACE_PACKET_END, packet_.words[0], packet_.bus_addr);
    over_ = true;
}

// --- Faults --------------------------------------------------------------------------------------

void RingContext::fail_packet(const Fault& fault) {
    report(fault);
    drop_packet(fault.reason);
}

void RingContext::drop_packet(vttm_fault_reason reason) {
    exec_ = nullptr;
    trace(VTTM_TRACE_PACKET_END, packet_.words[0], packet_.bus_addr);
    ibs_.clear();
    if (!error_) error_ = reason;
    over_ = true;
}

// Only what the driver can cure by making an entry valid. Steps begin anew where they faulted.
bool RingContext::is_retryable(const Fault& fault) const {
    return fault.reason == VTTM_FAULT_NOT_VALID && fault.vm < VTTM_MAX_VMS &&
           shared_.roots.mode(fault.vm) & VTTM_VM_MODE_RETRY;
}

void RingContext::stall(const Fault& fault) {
    uint32_t number;
    {
        // Before the record is written: who reads it can answer at once.
        std::lock_guard lock(core_.mu);
        stall_ = stall_ < VTTM_ENG_STALL_MAX ? stall_ + 1 : 1;
        stalled_ = true;
        stall_told_ = false;
        number = stall_;
    }
    record_fault(fault, number);
    {
        std::lock_guard lock(core_.mu);
        stall_told_ = true;
    }
    raise(VTTM_IRQ_ERROR);
}

// Who sees HALTED finds the fault on record, and the handler of the interrupt sees HALTED.
void RingContext::halt(const Fault& fault) {
    record_fault(fault, 0);
    {
        std::lock_guard lock(core_.mu);
        halted_ = true;
    }
    raise(VTTM_IRQ_ERROR);
}

void RingContext::report(const Fault& fault) {
    record_fault(fault, 0);
    raise(VTTM_IRQ_ERROR);
}

void RingContext::trace(vttm_trace_kind kind, uint64_t value, uint64_t addr) const {
    shared_.trace.engine(kind, core_.index, number_, value, addr);
}

// All but the interrupt.
void RingContext::record_fault(const Fault& fault, uint32_t stall) {
    trace(VTTM_TRACE_FAULT, fault.info(core_.index, number_), fault.addr);
    vttm_witness_record rec = witness_record(VTTM_WITNESS_FAULT, fault.addr);
    rec.stamp_class = fault.reason;
    rec.space = VTTM_SPACE_VM;
    core_.witness.add(rec);
    core_.witness.flush();
    shared_.faults.record(fault, core_.index, number_);
    vttm_fault_record entry{};
    entry.info = fault.info(core_.index, number_);
    entry.addr = fault.addr;
    entry.time_ns = rec.time_ns;
    entry.last_fence = last_fence_.load(std::memory_order_relaxed);
    entry.packet_pos = packet_pos_;
    entry.packet_hdr = packet_.words[0];
    entry.stall = stall;
    entry.ib = ibs_.fault_info();
    entry.ib_addr = ibs_.depth() ? packet_.bus_addr : 0;
    shared_.fault_ring.add(entry);
}

void RingContext::stale_used(uint64_t va, uint32_t space, uint64_t phys, uint64_t pages) {
    vttm_witness_record rec = witness_record(VTTM_WITNESS_STALE, va);
    rec.space = space;
    rec.phys = phys;
    rec.npages = pages;
    core_.witness.add(rec);
    shared_.faults.count_stale(core_.index);
}

vttm_witness_record RingContext::witness_record(vttm_witness_kind kind, uint64_t va) const {
    vttm_witness_record rec{};
    if (exec_) {
        const PageIdentity id = exec_->identify(va);
        rec.buffer = id.buffer;
        rec.generation = id.generation;
        rec.page = id.page;
    }
    rec.kind = kind;
    rec.npages = 1;
    rec.va = va;
    rec.engine_vm = core_.index << 16 | ctx_.vm;
    rec.time_ns = shared_.clock.now_ns();
    return rec;
}

}  // namespace vttm::model
