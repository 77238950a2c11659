// SPDX-License-Identifier: Apache-2.0
// One ring of an engine: its registers, and all that belongs to the packets in it: current VM, error,
// packet under way, stall, wait. So the engine changes rings between two chunks by doing nothing.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "host-backend/model/executor.h"
#include "host-backend/model/fault_ring.h"
#include "host-backend/model/indirect.h"
#include "host-backend/model/irq.h"
#include "host-backend/model/read_spoiler.h"
#include "host-backend/model/reset_gate.h"
#include "host-backend/model/ring.h"
#include "host-backend/model/tracer.h"
#include "host-backend/model/write_spoiler.h"

namespace vttm::model {

inline constexpr unsigned kRings = VTTM_NUM_RINGS;
// How often a ring that has waited for long looks.
inline constexpr std::chrono::microseconds kLastPoll{1000};

// What all engines share.
struct EngineShared {
    const Bus& bus;
    const VmRoots& roots;
    const Clock& clock;
    const Tracer& trace;
    FaultUnit& faults;
    FaultRing& fault_ring;
    IrqController& irq;
    const ResetGate& gate;
    std::function<void()> device_reset_done;  // this engine has obeyed request_device_reset()
    std::function<void()> memory_signalled;   // rings that wait shall look again
    // For the host's faults. false: a reset is under way already.
    std::function<bool()> reset_device;
    std::function<void()> remove_device;
};

// Since creation.
struct EngineTotals {
    uint64_t packets = 0;
    uint64_t bytes = 0;
    uint64_t fences = 0;
    uint64_t busy_ns = 0;
    uint64_t resets = 0;
    Mmu::Counters mmu;
};

// What the rings of an engine share. mu guards all registers; mmu and witness are the worker's.
struct EngineCore {
    EngineCore(const EngineShared& shared, unsigned index, vttm_engine_class cls,
               size_t tlb_entries)
        : shared(shared),
          index(index),
          cls(cls),
          mmu(shared.bus, tlb_entries),
          witness(shared.bus) {}

    const EngineShared& shared;
    const unsigned index;
    const vttm_engine_class cls;
    std::mutex mu;
    // Under mu. The host's faults: does nothing until a reset of all rings, or until then.
    bool hung = false;
    std::optional<std::chrono::steady_clock::time_point> stands_until;
    Mmu mmu;
    WitnessLog witness;
    // Written by the worker, read by anyone.
    std::atomic<uint64_t> packets{0};
    std::atomic<uint64_t> bytes{0};
    std::atomic<uint64_t> fences{0};
    std::atomic<uint64_t> packets_at_reset{0};
    std::atomic<uint64_t> bytes_at_reset{0};
};

// Those of a ring.
struct Executors {
    std::unique_ptr<Executor> cls;   // all packets of the class but HASH
    std::unique_ptr<Executor> hash;  // of a stamp engine
    std::unique_ptr<Executor> sync;

    // That of packets @op; none if these are over as soon as they have begun.
    Executor* of(uint32_t op) const;
};

class RingContext final : private StaleSink {
public:
    using Time = std::chrono::steady_clock::time_point;

    RingContext(EngineCore& core, unsigned number);

    // --- With mu held.
    std::optional<uint32_t> read32(uint32_t off, bool resetting) const;
    std::optional<uint64_t> read64(uint32_t off) const;
    bool write32(uint32_t off, uint32_t val);  // all but resets
    bool write64(uint32_t off, uint64_t val, uint64_t mask);
    // Whether a turn would do something now.
    bool has_work() const;
    // When a ring that waits looks again if nothing happens.
    std::optional<Time> poll_time() const;
    void look_again() { look_again_ = true; }
    bool waiting() const { return waiting_; }
    uint32_t priority() const { return priority_; }
    void disable() { enabled_ = false; }
    // What the plan of the host has for this ring. The worker is at rest.
    void set_faults(std::unique_ptr<FaultLane> lane);

    // --- With mu held and the worker at rest, or by the worker.
    void reset();
    void device_reset();
    // A turn of the worker: begin, step with mu released, end.
    struct Turn {
        RingState ring;
        bool give_up = false;  // a stall was answered so
    };
    Turn begin_turn();
    void step(const Turn& turn);
    void end_turn();

    // --- With mu held and the worker at rest (ring_state.cc).
    struct State {
        enum Open : uint32_t { none, held, running };  // the packet under way
        bool enabled = false;
        bool halted = false;
        bool stalled = false;
        bool give_up = false;
        bool waiting = false;
        uint32_t priority = 0;
        uint32_t stall = 0;
        RingState ring;
        uint64_t last_fence = 0;
        uint32_t vm = kNoVm;
        uint32_t error = VTTM_FAULT_NONE;
        uint32_t packet_pos = 0;
        std::vector<IbStack::Buffer> buffers;
        uint32_t open = none;
        uint32_t behind = 0;
        Packet packet;
        StateBytes progress;  // what the executor says of it
        // What prepare() has made of that: a set of executors, one of which has the packet.
        Executors executors;
    };
    // Throws StateError if a fault of the host is on its way.
    State state() const;
    // Sound is what load() has let pass.
    State load(StateReader& in) const;
    static void save(StateWriter& out, State& state);
    // What of a restore can fail for want of memory; nothing has changed then. The guest has all VRAM
    // meanwhile, as a packet under way may have begun before some was given up that it names.
    void prepare(State& state);
    // What was prepared. Takes @state's executors.
    void restore(State& state) noexcept;

private:
    template <class Io>
    static void io(Io& io, State& s);
    void check(StateReader& in, State& s) const;
    void check_packet(StateReader& in, const State& s) const;
    static Executors make_executors(ExecContext& ctx, vttm_engine_class cls);
    bool fetch(const RingState& ring);
    bool fetch_indirect();
    void dispatch();
    void execute(Executor& exec);
    void run_packet();
    void set_vm();
    void fence();
    void indirect();
    void skip(uint32_t dwords);
    void finish_packet();
    bool write_fence(const LateFence& fence);
    void tell_fence(const LateFence& fence);
    void raise(uint32_t irq);
    void fail_packet(const Fault& fault);
    void drop_packet(vttm_fault_reason reason);
    bool is_retryable(const Fault& fault) const;
    void stall(const Fault& fault);
    void halt(const Fault& fault);
    void report(const Fault& fault);
    void record_fault(const Fault& fault, uint32_t stall);
    void stale_used(uint64_t va, uint32_t space, uint64_t phys, uint64_t pages) override;
    void trace(vttm_trace_kind kind, uint64_t value, uint64_t addr) const;
    vttm_witness_record witness_record(vttm_witness_kind kind, uint64_t va) const;

    // Faults of the host (ring_faults.cc).
    bool held_up(const RingState& ring);
    bool strike_device();
    void strike_early_fence(const RingState& ring);
    bool strike_fence(const LateFence& fence);
    void strike_data();
    void after_step(const Executor::Step& s);
    void hang_engine(const Strike& strike);
    void end_strikes();
    void throttle(uint64_t bytes);
    void hold(std::chrono::microseconds us) { hold_ += us; }
    void packet_over();
    void land();
    void land(const LateWrite& write) const;
    void begin_hold();
    void forget_faults();

    EngineCore& core_;
    const EngineShared& shared_;
    const unsigned number_;

    // Under core_.mu:
    bool enabled_ = false;
    uint32_t priority_ = 0;
    bool halted_ = false;
    bool packet_open_ = false;  // one is under way
    bool in_ib_ = false;        // ... or the next one comes from an indirect buffer
    bool stalled_ = false;     // at a retryable fault; the packet stays under way
    bool stall_told_ = false;  // the fault is on record: STATUS may show the stall
    bool give_up_ = false;     // ... and the answer was to fail
    uint32_t stall_ = 0;       // number of the last stall
    RingState ring_;
    bool waiting_ = false;     // at a SEM_WAIT
    bool look_again_ = false;  // set at any time; cleared by each turn before it looks
    Time poll_at_{};
    std::chrono::microseconds back_off_{0};
    std::optional<Time> held_until_;  // by the host's faults

    // The worker's:
    ExecContext ctx_;
    Executors execs_;
    IbStack ibs_;
    Executor* exec_ = nullptr;          // that of the packet under way
    bool wait_ = false;                 // ... which waits
    uint32_t error_ = VTTM_FAULT_NONE;  // first since the last FENCE; set: skipping
    Packet packet_;
    uint32_t packet_pos_ = 0;  // where it lies in the ring
    uint32_t behind_ = 0;      // dwords that lie behind it, as far as it may know
    // For the host's faults:
    std::unique_ptr<FaultLane> lane_;
    bool fetched_ = false;  // the packet is held up before it begins
    bool over_ = false;     // a packet has ended in this turn
    std::vector<LateEffect> late_;
    bool landing_ = false;                    // some of them are due
    std::chrono::microseconds hold_{0};       // from the end of this turn on
    std::chrono::nanoseconds slow_{0};        // ... of the whole engine
    bool job_seen_ = false;                   // its FENCE was looked for
    std::optional<uint32_t> early_fence_;     // where the FENCE lies that was told before its time
    // Of the packet under way:
    std::optional<WriteSpoiler> spoiler_;
    std::optional<ReadSpoiler> read_spoiler_;
    std::optional<Strike> hang_;  // still to come
    uint64_t hang_in_ = 0;        // ... after so many chunks

    // Written by the worker, read by anyone.
    std::atomic<uint64_t> last_fence_{0};
};

}  // namespace vttm::model
