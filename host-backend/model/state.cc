// SPDX-License-Identifier: Apache-2.0
// The device as it is saved and loaded.
#include "host-backend/model/state.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstring>

#include "host-backend/model/device.h"

namespace vttm::model {

namespace {

constexpr char kMagic[] = "vttm-gpu";
constexpr const char* kEngines[VTTM_NUM_ENGINES] = {"engine copy", "engine stamp"};

uint64_t get(std::span<const uint8_t> bytes, size_t at, unsigned size) {
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) value |= uint64_t{bytes[at + i]} << 8 * i;
    return value;
}

void set(StateBytes& bytes, size_t at, uint64_t value, unsigned size) {
    for (unsigned i = 0; i < size; i++) bytes[at + i] = static_cast<uint8_t>(value >> 8 * i);
}

// What both sides must have in common, or the guest would find another device.
template <class Io>
void io_same(Io& io, const char* field, uint64_t here) {
    uint64_t there = here;
    io.u64(field, there);
    if constexpr (requires { io.fail(field, ""); })
        if (there != here)
            io.fail(field, "is " + std::to_string(there) + " there and " + std::to_string(here) +
                               " here");
}

// The sections; device time.
std::span<const uint8_t> open_state(std::span<const uint8_t> bytes, uint64_t& time_ns) {
    if (bytes.size() < kStateHeader + kStateChecksum ||
        std::memcmp(bytes.data(), kMagic, sizeof(kMagic) - 1))
        throw StateError("this is no state of a vttm GPU");
    const uint64_t version = get(bytes, 8, 4), size = get(bytes, 12, 4);
    if (version != kStateVersion)
        throw StateError("the state has version " + std::to_string(version) +
                         ", and this model knows but version " + std::to_string(kStateVersion));
    if (size != bytes.size())
        throw StateError("the state has " + std::to_string(bytes.size()) +
                         " bytes, and says that it has " + std::to_string(size));
    const size_t end = bytes.size() - kStateChecksum;
    if (get(bytes, end, 8) != XXH64(bytes.data(), end, 0))
        throw StateError("the checksum of the state is wrong: it was changed on its way");
    time_ns = get(bytes, kStateTime, 8);
    return bytes.subspan(kStateHeader, end - kStateHeader);
}

}  // namespace

void seal_state(StateBytes& bytes) {
    const size_t end = bytes.size() - kStateChecksum;
    set(bytes, end, XXH64(bytes.data(), end, 0), 8);
}

struct Device::State {
    uint64_t time_ns = 0;
    uint64_t vram_visible = 0;
    uint64_t bad_accesses = 0;
    uint64_t bad_accesses_at_reset = 0;
    uint64_t resets = 0;
    uint64_t injected = 0;
    uint32_t timestamp_hi = 0;
    uint64_t inv_start = 0;
    uint32_t inv_pages = 0;
    std::array<uint64_t, VTTM_MAX_VMS> roots{};
    std::array<uint32_t, VTTM_MAX_VMS> modes{};
    IrqController::State irq;
    FaultUnit::State faults;
    FaultRing::State fault_ring;
    VramBalloon::State balloon;
    std::array<Engine::State, VTTM_NUM_ENGINES> engines;
    std::array<Counts, VTTM_NUM_ENGINES> counts_at_reset{};
};

// All but engines.
template <class Io>
void Device::io(Io& io, State& s) const {
    io.begin("identity");
    io_same(io, "abi", uint64_t{VTTM_ABI_MAJOR} << 16 | VTTM_ABI_MINOR);
    io_same(io, "features", features());
    io_same(io, "page-size", VTTM_PAGE_SIZE);
    io_same(io, "vram-size", bus_.vram_size());
    io_same(io, "engines", VTTM_NUM_ENGINES);
    io_same(io, "rings", kRings);
    io_same(io, "vms", VTTM_MAX_VMS);
    io_same(io, "vectors", VTTM_NUM_VECTORS);
    io.end();

    io.begin("device");
    io.u64("vram-visible", s.vram_visible);
    io.require(is_visible_size(s.vram_visible), "vram-visible", "is no size of BAR2");
    io.u64("bad-accesses", s.bad_accesses);
    io.u64("bad-accesses-at-reset", s.bad_accesses_at_reset, s.bad_accesses);
    io.u64("resets", s.resets);
    io.u64("injected", s.injected);
    io.u32("timestamp-hi", s.timestamp_hi);
    io.u64("invalidate-start", s.inv_start);
    io.u32("invalidate-pages", s.inv_pages);
    io.end();

    io.begin("vms");
    for (uint64_t& root : s.roots) io.u64("root", root);
    for (uint32_t& mode : s.modes) io.u32("mode", mode, VTTM_VM_MODE_RETRY);
    io.end();

    io.begin("irq");
    IrqController::io(io, s.irq);
    io.end();
    io.begin("faults");
    FaultUnit::io(io, s.faults);
    io.end();
    io.begin("fltring", "fault ring");
    FaultRing::io(io, s.fault_ring);
    io.end();
    io.begin("balloon");
    VramBalloon::io(io, s.balloon, bus_.vram_size());
    io.end();
}

// --- Saving --------------------------------------------------------------------------------------

Device::State Device::state() const {
    State s;
    {
        std::lock_guard lock(plan_mu_);
        if (record_) throw StateError("a fault plan is in force: end it first");
        s.injected = injected_before_;
    }
    if (removed()) throw StateError("the device has left the bus");
    s.time_ns = clock_.now_ns();
    s.vram_visible = vram_visible_.load();
    s.bad_accesses = bad_accesses_.load();
    s.bad_accesses_at_reset = bad_accesses_at_reset_.load();
    s.resets = resets_.load();
    s.timestamp_hi = timestamp_hi_.load();
    {
        std::lock_guard lock(regs_mu_);
        s.inv_start = inv_start_;
        s.inv_pages = inv_pages_;
        s.counts_at_reset = counts_at_reset_;
        for (uint32_t vm = 0; vm < VTTM_MAX_VMS; vm++) {
            s.roots[vm] = roots_.get(vm);
            s.modes[vm] = roots_.mode(vm);
        }
    }
    s.irq = irq_.state();
    s.faults = faults_.state();
    s.fault_ring = fault_ring_.state();
    s.balloon = vram_balloon_.state();
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) s.engines[e] = engines_[e]->state();
    return s;
}

StateBytes Device::save() {
    const PauseGuard paused(*this);
    State s = state();
    StateWriter out;
    io(out, s);
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
        out.begin("engine");
        Engine::save(out, s.engines[e]);
        for (uint64_t count : s.counts_at_reset[e]) out.u64("count-at-reset", count);
        out.end();
    }
    const StateBytes sections = out.take();
    StateBytes bytes(kStateHeader + sections.size() + kStateChecksum);
    std::memcpy(bytes.data(), kMagic, sizeof(kMagic) - 1);
    set(bytes, 8, kStateVersion, 4);
    set(bytes, 12, bytes.size(), 4);
    set(bytes, kStateTime, s.time_ns, 8);
    std::memcpy(bytes.data() + kStateHeader, sections.data(), sections.size());
    seal_state(bytes);
    return bytes;
}

// --- Loading -------------------------------------------------------------------------------------

Device::State Device::load(StateReader& in) const {
    State s;
    io(in, s);
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
        in.begin("engine", kEngines[e]);
        s.engines[e] = engines_[e]->load(in);
        const Counts counts =
            counts_of(s.engines[e].totals, s.faults.of[e], s.faults.stale_of[e]);
        for (unsigned c = 0; c < VTTM_NUM_COUNTERS; c++)
            in.u64("count-at-reset", s.counts_at_reset[e][c], counts[c]);
        in.end();
    }
    in.end();
    // Each command goes to all engines, and one that is paused has obeyed.
    for (const Engine::State& e : s.engines)
        in.require(e.invalidations == s.engines[0].invalidations, "invalidations",
                   "is not the same for all engines");
    return s;
}

void Device::restore(std::span<const uint8_t> bytes, const uint64_t* vram_visible) {
    const PauseGuard paused(*this);
    uint64_t time_ns = 0;
    StateReader in(open_state(bytes, time_ns));
    {
        std::lock_guard lock(plan_mu_);
        if (record_) throw StateError("a fault plan is in force here: end it first");
    }
    State s = load(in);
    if (vram_visible && s.vram_visible != *vram_visible)
        throw StateError("device: 'vram-visible' is " + std::to_string(s.vram_visible) +
                         ", and BAR2 has " + std::to_string(*vram_visible) + " bytes");
    s.time_ns = time_ns;
    prepare(s);
    commit(s);
}

void Device::prepare(State& s) {
    const VramBalloon::State balloon = vram_balloon_.state();
    vram_balloon_.restore({balloon.target, bus_.vram_size()});
    try {
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) engines_[e]->prepare(s.engines[e]);
    } catch (...) {
        vram_balloon_.restore(balloon);
        throw;
    }
    vram_balloon_.restore(balloon);
}

// Nothing of it can fail: load() has found it sound, and prepare() has taken the memory.
void Device::commit(State& s) noexcept {
    clock_.set(s.time_ns);
    vram_visible_.store(s.vram_visible);
    bad_accesses_.store(s.bad_accesses);
    bad_accesses_at_reset_.store(s.bad_accesses_at_reset);
    resets_.store(s.resets);
    timestamp_hi_.store(s.timestamp_hi);
    {
        std::lock_guard lock(plan_mu_);
        injected_before_ = s.injected;
    }
    {
        std::lock_guard lock(regs_mu_);
        inv_start_ = s.inv_start;
        inv_pages_ = s.inv_pages;
        counts_at_reset_ = s.counts_at_reset;
        for (uint32_t vm = 0; vm < VTTM_MAX_VMS; vm++) {
            roots_.set(vm, s.roots[vm]);
            roots_.set_mode(vm, s.modes[vm]);
        }
    }
    irq_.restore(s.irq);
    faults_.restore(s.faults);
    fault_ring_.restore(s.fault_ring);
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) engines_[e]->restore(s.engines[e]);
    vram_balloon_.restore(s.balloon);
}

}  // namespace vttm::model
