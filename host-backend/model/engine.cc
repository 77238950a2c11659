// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/engine.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <string>
#include <utility>

namespace vttm::model {

namespace {

// More waiting invalidations than this are folded into one of everything: a guest that floods the
// register costs neither memory nor time.
constexpr size_t kMaxInvalidations = 64;

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
    : core_(shared, index, cls, tlb_entries) {
    for (unsigned r = 0; r < kRings; r++) rings_[r] = std::make_unique<RingContext>(core_, r);
    invalidations_.reserve(kMaxInvalidations);
    obeying_.reserve(kMaxInvalidations);
    SignalsBlocked blocked;
    worker_ = std::thread([this] { run(); });
    const std::string name = "vttm-engine" + std::to_string(index);
    pthread_setname_np(worker_.native_handle(), name.c_str());
}

Engine::~Engine() { stop(); }

// --- Requests ------------------------------------------------------------------------------------

void Engine::apply_invalidation(const TlbInvalidation& inv) {
    core_.mmu.invalidate(inv);
    inv_done_.fetch_add(1, std::memory_order_release);
}

void Engine::request_invalidate(const TlbInvalidation& inv) {
    std::lock_guard lock(mu());
    if (!busy_) {
        apply_invalidation(inv);
    } else if (invalidations_.size() < kMaxInvalidations) {
        invalidations_.push_back(inv);
    } else {
        invalidations_.back() = TlbInvalidation();
        invalidations_folded_++;
    }
}

// With mu() held.
void Engine::request_ring_reset(uint32_t rings) {
    if (busy_)
        reset_wanted_ |= rings;
    else
        apply_ring_reset(rings);
}

// Forgets the rings' content and their packets under way. TLB, ring set-up and counters stay.
void Engine::apply_ring_reset(uint32_t rings) {
    for (unsigned r = 0; r < kRings; r++)
        if (rings & (1u << r)) rings_[r]->reset();
    if (rings == kAllRings) core_.hung = false;
    reset_wanted_ &= ~rings;
    resets_.fetch_add(1, std::memory_order_relaxed);
}

void Engine::apply_device_reset() {
    apply_ring_reset(kAllRings);
    device_reset_wanted_ = false;
    for (auto& ring : rings_) ring->device_reset();
    invalidations_.clear();
    invalidations_folded_ = 0;
    last_ring_ = {};
    core_.mmu.invalidate(TlbInvalidation());
    inv_done_.store(0, std::memory_order_release);
    core_.packets_at_reset.store(core_.packets.load());
    core_.bytes_at_reset.store(core_.bytes.load());
}

void Engine::request_device_reset() {
    {
        std::lock_guard lock(mu());
        if (busy_) {
            device_reset_wanted_ = true;
            return;
        }
        apply_device_reset();
    }
    core_.shared.device_reset_done();
}

void Engine::set_faults(FaultRecord* record) {
    std::lock_guard lock(mu());
    for (unsigned r = 0; r < kRings; r++)
        rings_[r]->set_faults(record ? std::make_unique<FaultLane>(*record, core_.index, r)
                                     : nullptr);
    core_.stands_until.reset();
}

void Engine::hang() {
    std::lock_guard lock(mu());
    core_.hung = true;
}

void Engine::look_again() {
    std::lock_guard lock(mu());
    bool anyone = false;
    for (auto& ring : rings_) {
        ring->look_again();
        anyone |= ring->waiting();
    }
    if (anyone && !paused_) wake_.notify_one();
}

void Engine::pause() {
    std::unique_lock lock(mu());
    paused_++;
    at_rest_.wait(lock, [this] { return !busy_; });
}

void Engine::resume() {
    std::lock_guard lock(mu());
    if (paused_ && !--paused_) wake_.notify_one();
}

bool Engine::has_work() const {
    std::lock_guard lock(mu());
    return busy_ || std::ranges::any_of(rings_, [](const auto& ring) { return ring->has_work(); });
}

bool Engine::wait_at_rest(std::chrono::steady_clock::time_point end) {
    std::unique_lock lock(mu());
    return at_rest_.wait_until(lock, end, [this] {
        return !busy_ && (paused_ || std::ranges::none_of(rings_, [](const auto& ring) {
                              return ring->has_work();
                          }));
    });
}

void Engine::stop() {
    {
        std::lock_guard lock(mu());
        stop_ = true;
        wake_.notify_one();
    }
    if (worker_.joinable()) worker_.join();
}

// --- Worker --------------------------------------------------------------------------------------

// Whether the host slows the whole engine down, and it has to wait still.
bool Engine::stands() const {
    return core_.stands_until && std::chrono::steady_clock::now() < *core_.stands_until;
}

// The ring whose turn it is: of those that have work and the highest priority, the one behind that
// which had the last turn of this priority. None if there is nothing to do.
RingContext* Engine::next_ring() {
    std::array<bool, kRings> ready;
    uint32_t priority = 0;
    bool any = false;
    if (core_.stands_until) [[unlikely]] {
        if (stands()) return nullptr;
        core_.stands_until.reset();
    }
    for (unsigned r = 0; r < kRings; r++) {
        ready[r] = rings_[r]->has_work();
        any |= ready[r];
        if (ready[r]) priority = std::max(priority, rings_[r]->priority());
    }
    if (!any) return nullptr;
    unsigned& last = last_ring_[priority];
    do {
        last = (last + 1) % kRings;
    } while (!ready[last] || rings_[last]->priority() != priority);
    return rings_[last].get();
}

// Stands still until there may be something to do.
void Engine::rest(std::unique_lock<std::mutex>& lock) {
    std::optional<RingContext::Time> until;
    // While the engine hangs or stands still no ring gets a turn, so none need be looked at. Nor does
    // one before a reset, and there is none behind it.
    const bool looks = !paused_ && !core_.hung && !core_.shared.gate.closed();
    if (looks) until = core_.stands_until;
    if (looks && !until)
        for (auto& ring : rings_)
            if (const auto at = ring->poll_time()) until = until ? std::min(*until, *at) : *at;
    busy_ = false;
    at_rest_.notify_all();
    if (until)
        wake_.wait_until(lock, *until);
    else
        wake_.wait(lock);
    busy_ = true;
    busy_since_ = 0;
}

// With mu_ released: nobody's register access waits for it.
void Engine::obey_invalidations(std::unique_lock<std::mutex>& lock) {
    invalidations_.swap(obeying_);
    const uint64_t folded = std::exchange(invalidations_folded_, 0);
    lock.unlock();
    for (const TlbInvalidation& inv : obeying_) apply_invalidation(inv);
    obeying_.clear();
    inv_done_.fetch_add(folded, std::memory_order_release);
    lock.lock();
}

// Between two chunks: obeys what was asked meanwhile. The ring that comes next, or none: the worker
// shall end.
RingContext* Engine::serve_requests(std::unique_lock<std::mutex>& lock) {
    for (;;) {
        if (!invalidations_.empty()) {
            obey_invalidations(lock);
            continue;
        }
        // The gate is closed before the engines are asked: the reset may wait for a register write.
        const bool asked = reset_wanted_ || device_reset_wanted_ || core_.shared.gate.closed();
        RingContext* ring = stop_ || paused_ || asked ? nullptr : next_ring();
        if (!ring && !core_.witness.empty()) {
            // What was done is in the log before anyone can see that the engine has stopped.
            lock.unlock();
            core_.witness.flush();
            lock.lock();
            continue;
        }
        if (device_reset_wanted_) {
            apply_device_reset();
            lock.unlock();
            core_.shared.device_reset_done();
            lock.lock();
            continue;
        }
        if (reset_wanted_) {
            apply_ring_reset(reset_wanted_);
            continue;
        }
        if (stop_) return nullptr;
        if (ring) return ring;
        rest(lock);
    }
}

void Engine::run() {
    core_.shared.bus.thread_enter();
    std::unique_lock lock(mu());
    busy_ = true;
    while (RingContext* ring = serve_requests(lock)) {
        const RingContext::Turn turn = ring->begin_turn();
        lock.unlock();
        // Reading the clock is a good part of a short packet: once is enough.
        if (!busy_since_) busy_since_ = core_.shared.clock.now_ns();
        ring->step(turn);
        const uint64_t now = core_.shared.clock.now_ns();
        busy_ns_.fetch_add(now - std::exchange(busy_since_, now), std::memory_order_relaxed);
        lock.lock();
        ring->end_turn();
    }
    busy_ = false;
    at_rest_.notify_all();
    lock.unlock();
    core_.shared.bus.thread_exit();
}

EngineTotals Engine::totals() const {
    EngineTotals t;
    t.packets = core_.packets.load();
    t.bytes = core_.bytes.load();
    t.fences = core_.fences.load();
    t.busy_ns = busy_ns_.load();
    t.resets = resets_.load();
    t.mmu = core_.mmu.counters();
    return t;
}

}  // namespace vttm::model
