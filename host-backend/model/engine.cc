// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/engine.h"

#include <pthread.h>
#include <signal.h>

#include <string>
#include <utility>

namespace vttm::model {

namespace {

// More waiting invalidations than this are folded into one of everything: a guest that floods the
// register costs no memory.
constexpr size_t kMaxInvalidations = 1024;

// Keeps signals of the embedding process away from a thread that starts meanwhile.
class SignalsBlocked {
public:
    SignalsBlocked() {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &old_, nullptr); }
    SignalsBlocked(const SignalsBlocked&) = delete;
    SignalsBlocked& operator=(const SignalsBlocked&) = delete;

private:
    sigset_t old_;
};

}  // namespace

Engine::Engine(const EngineShared& shared, unsigned index, vttm_engine_class cls,
               size_t tlb_entries)
    : shared_(shared),
      index_(index),
      class_(cls),
      mmu_(shared.bus, tlb_entries),
      witness_(shared.bus),
      ctx_{shared.bus, shared.roots, shared.clock, mmu_, witness_, *this, index, kNoVm},
      class_exec_(cls == VTTM_CLASS_COPY ? make_copy_executor(ctx_) : make_stamp_executor(ctx_)),
      hash_exec_(cls == VTTM_CLASS_STAMP ? make_hash_executor(ctx_) : nullptr),
      exec_(class_exec_.get()) {
    invalidations_.reserve(kMaxInvalidations);
    SignalsBlocked blocked;
    worker_ = std::thread([this] { run(); });
    const std::string name = "vttm-engine" + std::to_string(index);
    pthread_setname_np(worker_.native_handle(), name.c_str());
}

Engine::~Engine() { stop(); }

// --- Requests ------------------------------------------------------------------------------------

void Engine::apply_invalidation(const TlbInvalidation& inv) {
    mmu_.invalidate(inv);
    inv_done_.fetch_add(1, std::memory_order_release);
}

void Engine::request_invalidate(const TlbInvalidation& inv) {
    std::lock_guard lock(mu_);
    if (!busy_) {
        apply_invalidation(inv);
    } else if (invalidations_.size() < kMaxInvalidations) {
        invalidations_.push_back(inv);
    } else {
        invalidations_.back() = TlbInvalidation();
        invalidations_folded_++;
    }
}

// Forgets the ring's content and the packet under way. TLB, ring set-up and counters stay.
void Engine::apply_engine_reset() {
    engine_reset_wanted_ = false;
    halted_ = false;
    packet_open_ = false;
    stalled_ = false;
    give_up_ = false;
    executing_ = false;
    error_ = VTTM_FAULT_NONE;
    ctx_.vm = kNoVm;
    ring_.head = 0;
    ring_.tail = 0;
    resets_.fetch_add(1, std::memory_order_relaxed);
}

void Engine::apply_device_reset() {
    apply_engine_reset();
    device_reset_wanted_ = false;
    enabled_ = false;
    stall_ = 0;
    ring_ = RingState();
    invalidations_.clear();
    invalidations_folded_ = 0;
    mmu_.invalidate(TlbInvalidation());
    inv_done_.store(0, std::memory_order_release);
    last_fence_.store(0, std::memory_order_release);
    packets_at_reset_.store(packets_.load());
    bytes_at_reset_.store(bytes_.load());
}

void Engine::request_device_reset() {
    {
        std::lock_guard lock(mu_);
        if (busy_) {
            device_reset_wanted_ = true;
            return;
        }
        apply_device_reset();
    }
    shared_.device_reset_done();
}

void Engine::pause() {
    std::unique_lock lock(mu_);
    paused_++;
    at_rest_.wait(lock, [this] { return !busy_; });
}

void Engine::resume() {
    std::lock_guard lock(mu_);
    if (paused_ && !--paused_) wake_.notify_one();
}

void Engine::stop() {
    {
        std::lock_guard lock(mu_);
        stop_ = true;
        wake_.notify_one();
    }
    if (worker_.joinable()) worker_.join();
}

// --- Worker --------------------------------------------------------------------------------------

bool Engine::has_work() const {
    if (stalled_) return false;
    return packet_open_ || (enabled_ && !halted_ && ring_.head != ring_.tail);
}

// Between two chunks: obeys what was asked meanwhile. false: the worker shall end.
bool Engine::serve_requests(std::unique_lock<std::mutex>& lock) {
    for (;;) {
        for (const TlbInvalidation& inv : invalidations_) apply_invalidation(inv);
        invalidations_.clear();
        inv_done_.fetch_add(invalidations_folded_, std::memory_order_release);
        invalidations_folded_ = 0;

        const bool rest = stop_ || paused_ || !has_work();
        if ((rest || engine_reset_wanted_ || device_reset_wanted_) && !witness_.empty()) {
            // What was done is in the log before anyone can see that the engine has stopped.
            lock.unlock();
            witness_.flush();
            lock.lock();
            continue;
        }
        if (device_reset_wanted_) {
            apply_device_reset();
            lock.unlock();
            shared_.device_reset_done();
            lock.lock();
            continue;
        }
        if (engine_reset_wanted_) {
            apply_engine_reset();
            continue;
        }
        if (stop_) return false;
        if (!rest) return true;
        busy_ = false;
        at_rest_.notify_all();
        wake_.wait(lock, [this] { return stop_ || (!paused_ && has_work()); });
        busy_ = true;
    }
}

void Engine::run() {
    shared_.bus.thread_enter();
    std::unique_lock lock(mu_);
    busy_ = true;
    while (serve_requests(lock)) {
        const RingState ring = ring_;
        const bool give_up = std::exchange(give_up_, false);
        lock.unlock();
        const uint64_t start = shared_.clock.now_ns();
        step(ring, give_up);
        busy_ns_.fetch_add(shared_.clock.now_ns() - start, std::memory_order_relaxed);
        lock.lock();
        if (!executing_) packet_open_ = false;
    }
    busy_ = false;
    at_rest_.notify_all();
    lock.unlock();
    shared_.bus.thread_exit();
}

void Engine::step(const RingState& ring, bool give_up) {
    if (!executing_) {
        if (fetch(ring)) dispatch();
        return;
    }
    if (give_up) {
        drop_packet(VTTM_FAULT_NOT_VALID);  // the fault was reported when the engine stalled
        return;
    }
    const Executor::Step s = exec_->step();
    bytes_.fetch_add(s.bytes, std::memory_order_relaxed);
    if (s.fault && is_retryable(s.fault))
        stall(s.fault);
    else if (s.fault)
        fail_packet(s.fault);
    else if (s.done)
        finish_packet();
}

bool Engine::fetch(const RingState& ring) {
    uint32_t next = 0;
    packet_pos_ = ring.head;
    packet_.words[0] = 0;
    Fault fault = fetch_packet(shared_.bus, ring, class_, packet_, next);
    if (fault) {
        fault.vm = ctx_.vm;
        halt(fault);
        return false;
    }
    std::lock_guard lock(mu_);
    ring_.head = next;
    packet_open_ = true;
    return true;
}

void Engine::dispatch() {
    const uint32_t op = packet_.op();
    // After an error only what every packet behind relies on is obeyed.
    if (error_ && op != VTTM_OP_FENCE && op != VTTM_OP_SET_VM) return;
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
        default:
            exec_ = (op == VTTM_OP_HASH ? hash_exec_ : class_exec_).get();
            if (Fault fault = exec_->begin(packet_))
                fail_packet(fault);
            else
                executing_ = true;
            break;
    }
}

void Engine::set_vm() {
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

void Engine::fence() {
    const auto p = packet_.as<vttm_pkt_fence>();
    const uint64_t addr = join64(p.addr_lo, p.addr_hi);
    const uint64_t seq = join64(p.seq_lo, p.seq_hi);

    if (addr % sizeof(vttm_fence_value)) {
        fail_packet({VTTM_FAULT_BAD_PACKET, packet_.bus_addr, false, ctx_.vm});
        return;
    }
    {
        Bus::Mapping m = shared_.bus.map(addr, sizeof(vttm_fence_value), true);
        if (m.size() < sizeof(vttm_fence_value) ||
            reinterpret_cast<uintptr_t>(m.data()) % alignof(vttm_fence_value)) {
            fail_packet({VTTM_FAULT_BUS, addr, true, ctx_.vm});
            return;
        }
        auto* value = reinterpret_cast<vttm_fence_value*>(m.data());
        __atomic_store_n(&value->status, error_, __ATOMIC_RELAXED);
        __atomic_store_n(&value->rsvd, 0u, __ATOMIC_RELAXED);
        __atomic_store_n(&value->seq, seq, __ATOMIC_RELEASE);
    }
    error_ = VTTM_FAULT_NONE;
    fences_.fetch_add(1, std::memory_order_relaxed);
    finish_packet();
    last_fence_.store(seq, std::memory_order_release);
    if (packet_.flags() & VTTM_PKT_FLAG_IRQ) shared_.irq.raise(VTTM_IRQ_ENGINE(index_));
}

void Engine::finish_packet() {
    executing_ = false;
    packets_.fetch_add(1, std::memory_order_relaxed);
    witness_.flush();
}

void Engine::fail_packet(const Fault& fault) {
    report(fault);
    drop_packet(fault.reason);
}

void Engine::drop_packet(vttm_fault_reason reason) {
    executing_ = false;
    if (!error_) error_ = reason;
}

// Only what the driver can cure by making an entry valid. Steps begin anew where they faulted.
bool Engine::is_retryable(const Fault& fault) const {
    return fault.reason == VTTM_FAULT_NOT_VALID && fault.vm < VTTM_MAX_VMS &&
           shared_.roots.mode(fault.vm) & VTTM_VM_MODE_RETRY;
}

void Engine::stall(const Fault& fault) {
    uint32_t number;
    {
        // Before the record is written: who reads it can answer at once.
        std::lock_guard lock(mu_);
        stall_ = stall_ < VTTM_ENG_STALL_MAX ? stall_ + 1 : 1;
        stalled_ = true;
        stall_told_ = false;
        number = stall_;
    }
    record_fault(fault, number);
    {
        std::lock_guard lock(mu_);
        stall_told_ = true;
    }
    shared_.irq.raise(VTTM_IRQ_ERROR);
}

void Engine::halt(const Fault& fault) {
    {
        std::lock_guard lock(mu_);
        halted_ = true;
    }
    report(fault);
}

void Engine::report(const Fault& fault) {
    record_fault(fault, 0);
    shared_.irq.raise(VTTM_IRQ_ERROR);
}

// All but the interrupt.
void Engine::record_fault(const Fault& fault, uint32_t stall) {
    vttm_witness_record rec = witness_record(VTTM_WITNESS_FAULT, fault.addr);
    rec.stamp_class = fault.reason;
    rec.space = VTTM_SPACE_VM;
    witness_.add(rec);
    witness_.flush();
    shared_.faults.record(fault, index_);
    vttm_fault_record entry{};
    entry.info = fault.info(index_);
    entry.addr = fault.addr;
    entry.time_ns = rec.time_ns;
    entry.last_fence = last_fence_.load(std::memory_order_relaxed);
    entry.packet_pos = packet_pos_;
    entry.packet_hdr = packet_.words[0];
    entry.stall = stall;
    shared_.fault_ring.add(entry);
}

void Engine::stale_used(uint64_t va, uint32_t space, uint64_t phys, uint64_t pages) {
    vttm_witness_record rec = witness_record(VTTM_WITNESS_STALE, va);
    rec.space = space;
    rec.phys = phys;
    rec.npages = pages;
    witness_.add(rec);
    shared_.faults.count_stale();
}

vttm_witness_record Engine::witness_record(vttm_witness_kind kind, uint64_t va) const {
    vttm_witness_record rec{};
    if (executing_) {
        const PageIdentity id = exec_->identify(va);
        rec.buffer = id.buffer;
        rec.generation = id.generation;
        rec.page = id.page;
    }
    rec.kind = kind;
    rec.npages = 1;
    rec.va = va;
    rec.engine_vm = index_ << 16 | ctx_.vm;
    rec.time_ns = shared_.clock.now_ns();
    return rec;
}

}  // namespace vttm::model
