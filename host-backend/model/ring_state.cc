// SPDX-License-Identifier: Apache-2.0
// A ring as it is saved and loaded: registers, indirect buffers, and the packet under way.
//
// Not part of it: when a ring that waits looks next (it looks at once), and what is left of a delay
// that the host ordered.
#include <algorithm>
#include <utility>

#include "host-backend/model/ring_context.h"

namespace vttm::model {

namespace {

// What a packet under way says of its progress: a list of pieces, and a few words.
constexpr size_t kMaxProgress = VTTM_SG_MAX * sizeof(vttm_sg_entry) + 256;

template <class Io>
void io_buffer(Io& io, IbStack::Buffer& b) {
    uint32_t len = static_cast<uint32_t>(b.range.len);
    io.u32("space", b.range.space, VTTM_SPACE_SYSTEM);
    io.u64("addr", b.range.addr);
    io.require(b.range.addr % 4 == 0, "addr", "is not a multiple of 4");
    io.u32("len", len, VTTM_IB_MAX_DWORDS * 4);
    io.require(len && len % 4 == 0, "len", "is not one of whole packets");
    b.range.len = len;
    io.u32("pos", b.pos, len);
    io.require(b.pos % 4 == 0, "pos", "is not a multiple of 4");
    io.u32("vm", b.vm, kNoVm);
    io.require(b.vm < VTTM_MAX_VMS || b.vm == kNoVm, "vm", "does not exist");
    io.flag("unprivileged", b.unprivileged);
}

template <class Io>
void io_packet(Io& io, Packet& p) {
    io.u64("packet-addr", p.bus_addr);
    io.u32("packet-dwords", p.dwords, VTTM_PKT_MAX_DWORDS);
    io.require(p.dwords, "packet-dwords", "is 0");
    for (uint32_t i = 0; i < p.dwords; i++) io.u32("packet", p.words[i]);
}

}  // namespace

// Each field by itself; what one says of the other is for check().
template <class Io>
void RingContext::io(Io& io, State& s) {
    io.flag("enabled", s.enabled);
    io.flag("halted", s.halted);
    io.flag("stalled", s.stalled);
    io.flag("give-up", s.give_up);
    io.flag("waiting", s.waiting);
    io.u32("priority", s.priority, VTTM_PRIORITY_MAX);
    io.u32("stall", s.stall, VTTM_ENG_STALL_MAX);
    io.u64("base", s.ring.base);
    io.require(s.ring.base % VTTM_PAGE_SIZE == 0, "base", "is not aligned to a page");
    io.u32("size", s.ring.size);
    io.require(!s.ring.size || ring_size_ok(s.ring.size), "size", "is no size of a ring");
    io.u32("head", s.ring.head, VTTM_RING_MAX_SIZE - 4);
    io.require(s.ring.head % 4 == 0, "head", "is not a multiple of 4");
    io.u32("tail", s.ring.tail);
    io.u64("last-fence", s.last_fence);
    io.u32("vm", s.vm, kNoVm);
    io.require(s.vm < VTTM_MAX_VMS || s.vm == kNoVm, "vm", "does not exist");
    io.u32("error", s.error, VTTM_FAULT_POISON);
    io.u32("packet-pos", s.packet_pos, VTTM_RING_MAX_SIZE - 4);
    io.require(s.packet_pos % 4 == 0, "packet-pos", "is not a multiple of 4");
    uint32_t depth = static_cast<uint32_t>(s.buffers.size());
    io.u32("depth", depth, VTTM_IB_MAX_DEPTH);
    s.buffers.resize(depth);
    for (IbStack::Buffer& b : s.buffers) {
        io.begin("ib", "indirect buffer");
        io_buffer(io, b);
        io.end();
    }
    io.u32("open", s.open, State::running);
    if (s.open == State::none) return;
    io.u32("behind", s.behind, VTTM_RING_MAX_SIZE / 4);
    io_packet(io, s.packet);
    if (s.open == State::running) io.blob("progress", s.progress, kMaxProgress);
}

// --- Saving --------------------------------------------------------------------------------------

RingContext::State RingContext::state() const {
    if (lane_ || !late_.empty())
        throw StateError("a fault that the host ordered is still to come to ring " +
                         std::to_string(number_) + " of engine " + std::to_string(core_.index));
    State s;
    s.enabled = enabled_;
    s.halted = halted_;
    s.stalled = stalled_;
    s.give_up = give_up_;
    s.waiting = waiting_;
    s.priority = priority_;
    s.stall = stall_;
    s.ring = ring_;
    s.last_fence = last_fence_.load();
    s.vm = ctx_.vm;
    s.error = error_;
    s.packet_pos = packet_pos_;
    s.buffers = ibs_.state();
    s.open = exec_ ? State::running : fetched_ ? State::held : State::none;
    if (s.open == State::none) return s;
    s.behind = behind_;
    s.packet = packet_;
    if (exec_) {
        StateWriter out;
        exec_->save(out);
        s.progress = out.take();
    }
    return s;
}

void RingContext::save(StateWriter& out, State& state) { io(out, state); }

// --- Loading -------------------------------------------------------------------------------------

RingContext::State RingContext::load(StateReader& in) const {
    State s;
    io(in, s);
    check(in, s);
    if (s.open != State::none) check_packet(in, s);
    return s;
}

void RingContext::check(StateReader& in, State& s) const {
    const Bus bus = shared_.bus.unlimited();
    const bool begun = s.open != State::none || !s.buffers.empty();
    bool unprivileged = false;
    for (const IbStack::Buffer& b : s.buffers) {
        in.require(!check_range(bus, b.range), "addr", "leads out of its space");
        in.require(b.unprivileged || !unprivileged, "unprivileged", "is not inherited");
        unprivileged = b.unprivileged;
    }
    in.require(s.buffers.empty() || s.open != State::none ||
                   s.buffers.back().pos < s.buffers.back().range.len,
               "pos", "is at the end of a buffer that was not left");
    in.require(!s.halted || !begun, "halted", "is set, and there is a packet");
    in.require(!s.stalled || (begun && s.stall && s.open != State::held && !s.give_up), "stalled",
               "is set, and nothing stalls");
    in.require(!s.give_up || (begun && s.stall && s.open != State::held), "give-up",
               "is set, and nothing has stalled");
    in.require(!s.waiting || (s.open == State::running && !s.stalled && !s.give_up &&
                              VTTM_PKT_OP(s.packet.words[0]) == VTTM_OP_SEM_WAIT),
               "waiting", "is set, and nothing waits");
    in.require(!s.error || (s.open != State::running && s.buffers.empty()), "error",
               "is set, and something runs");
}

// The packet is as dispatch() would let it begin, and its executor takes what it says of itself.
void RingContext::check_packet(StateReader& in, const State& s) const {
    const Packet& p = s.packet;
    const uint32_t hdr = p.words[0];
    in.require(framing_ok(core_.cls, hdr) && p.dwords == VTTM_PKT_DWORDS(hdr), "packet",
               "is none of this engine");
    in.require(p.bus_addr % 4 == 0, "packet-addr", "is not a multiple of 4");
    if (!s.buffers.empty()) {
        const IbStack::Buffer& ib = s.buffers.back();
        in.require(ib.pos >= p.dwords * 4 && p.bus_addr == ib.range.addr + ib.pos - p.dwords * 4,
                   "packet-addr", "is not where the packet was");
        in.require(s.behind == (ib.range.len - ib.pos) / 4, "behind", "is not what is left");
    }
    if (s.open != State::running) return;

    const Bus bus = shared_.bus.unlimited();
    ExecContext ctx{bus,           shared_.roots, shared_.clock, core_.mmu,
                    core_.witness, const_cast<RingContext&>(*this), core_.index, s.vm};
    const Executors execs = make_executors(ctx, core_.cls);
    Executor* exec = execs.of(p.op());
    in.require(exec && flags_ok(hdr) &&
                   (s.buffers.empty() || !s.buffers.back().unprivileged || unprivileged_ok(hdr)) &&
                   !exec->begin(p),
               "packet", "is none that could have begun");
    in.require(p.op() != VTTM_OP_COND_SKIP || p.as<vttm_pkt_cond_skip>().skip <= s.behind,
               "packet", "skips what does not lie behind it");
    StateReader progress(s.progress, in.name() + ", progress of the packet");
    exec->load(progress);
    progress.end();
}

void RingContext::prepare(State& s) {
    s.executors = {};
    if (s.open != State::running) return;
    s.executors = make_executors(ctx_, core_.cls);
    Executor* exec = s.executors.of(s.packet.op());
    // They take the VM that is current when they begin.
    const uint32_t vm = std::exchange(ctx_.vm, s.vm);
    try {
        exec->begin(s.packet);
        StateReader progress(s.progress);
        exec->load(progress);
    } catch (...) {
        ctx_.vm = vm;
        throw;
    }
    ctx_.vm = vm;
}

void RingContext::restore(State& s) noexcept {
    device_reset();
    enabled_ = s.enabled;
    halted_ = s.halted;
    stalled_ = stall_told_ = s.stalled;
    give_up_ = s.give_up;
    waiting_ = look_again_ = wait_ = s.waiting;
    poll_at_ = Time();
    back_off_ = kLastPoll;
    priority_ = s.priority;
    stall_ = s.stall;
    ring_ = s.ring;
    last_fence_.store(s.last_fence, std::memory_order_release);
    ctx_.vm = s.vm;
    error_ = s.error;
    packet_pos_ = s.packet_pos;
    ibs_.restore(s.buffers);
    packet_open_ = s.open != State::none;
    in_ib_ = ibs_.depth();
    fetched_ = s.open == State::held;
    behind_ = s.behind;
    packet_ = s.packet;
    if (s.open != State::running) return;
    execs_ = std::move(s.executors);
    exec_ = execs_.of(packet_.op());
}

}  // namespace vttm::model
