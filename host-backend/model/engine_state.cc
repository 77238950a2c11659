// SPDX-License-Identifier: Apache-2.0
// An engine as it is saved and loaded. Its TLB and page-walk cache are not part of it and come back
// empty: the device may forget a translation at any time, so no guest can tell. What is cached no more
// cannot be used stale; STALE_COUNT, which tells what was, is kept.
#include "host-backend/model/engine.h"

namespace vttm::model {

template <class Io>
void Engine::io(Io& io, State& s) {
    EngineTotals& t = s.totals;
    io.u64("packets", t.packets);
    io.u64("packets-at-reset", s.packets_at_reset, t.packets);
    io.u64("bytes", t.bytes);
    io.u64("bytes-at-reset", s.bytes_at_reset, t.bytes);
    io.u64("fences", t.fences);
    io.u64("busy-ns", t.busy_ns);
    io.u64("resets", t.resets);
    io.u64("tlb-hits", t.mmu.hits);
    io.u64("tlb-misses", t.mmu.misses);
    io.u64("tlb-evictions", t.mmu.evictions);
    io.u64("walk-hits", t.mmu.walk_hits);
    io.u64("walk-misses", t.mmu.walk_misses);
    for (uint64_t& n : t.mmu.fills) io.u64("tlb-fills", n);
    io.u64("invalidations", s.invalidations);
    io.flag("hung", s.hung);
    for (uint32_t& ring : s.last_ring) io.u32("last-ring", ring, kRings - 1);
}

Engine::State Engine::state() const {
    State s;
    s.totals = totals();
    s.invalidations = invalidations_done();
    std::lock_guard lock(mu());
    s.packets_at_reset = core_.packets_at_reset.load();
    s.bytes_at_reset = core_.bytes_at_reset.load();
    s.hung = core_.hung;
    std::ranges::copy(last_ring_, s.last_ring.begin());
    for (unsigned r = 0; r < kRings; r++) s.rings[r] = rings_[r]->state();
    return s;
}

void Engine::save(StateWriter& out, State& state) {
    io(out, state);
    for (RingContext::State& ring : state.rings) {
        out.begin("ring");
        RingContext::save(out, ring);
        out.end();
    }
}

Engine::State Engine::load(StateReader& in) const {
    State s;
    io(in, s);
    for (unsigned r = 0; r < kRings; r++) {
        in.begin("ring", "ring " + std::to_string(r));
        s.rings[r] = rings_[r]->load(in);
        in.end();
    }
    return s;
}

void Engine::prepare(State& s) {
    std::lock_guard lock(mu());
    for (unsigned r = 0; r < kRings; r++) rings_[r]->prepare(s.rings[r]);
}

void Engine::restore(State& s) noexcept {
    std::lock_guard lock(mu());
    for (unsigned r = 0; r < kRings; r++) rings_[r]->restore(s.rings[r]);
    core_.hung = s.hung;
    core_.stands_until.reset();
    std::ranges::copy(s.last_ring, last_ring_.begin());
    core_.mmu.restore(s.totals.mmu);
    core_.packets.store(s.totals.packets);
    core_.bytes.store(s.totals.bytes);
    core_.fences.store(s.totals.fences);
    core_.packets_at_reset.store(s.packets_at_reset);
    core_.bytes_at_reset.store(s.bytes_at_reset);
    busy_ns_.store(s.totals.busy_ns);
    resets_.store(s.totals.resets);
    inv_done_.store(s.invalidations, std::memory_order_release);
}

}  // namespace vttm::model
