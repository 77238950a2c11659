// SPDX-License-Identifier: Apache-2.0
// One engine: its rings, its TLB and its worker thread, which serves the rings in turns.
//
// Locking. mu_ guards registers and requests. The worker works with mu_ released and busy_ set;
// while busy_ is clear the worker stands still, and who holds mu_ may touch what is the worker's
// (TLB, packets under way). So invalidation and reset of an engine at rest are done by the caller at
// once, and those of a busy one by the worker between two chunks.
#pragma once

#include <array>
#include <condition_variable>
#include <thread>
#include <vector>

#include "host-backend/model/ring_context.h"

namespace vttm::model {

inline constexpr uint32_t kAllRings = (1u << kRings) - 1;

class Engine final {
public:
    Engine(const EngineShared& shared, unsigned index, vttm_engine_class cls, size_t tlb_entries);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // Registers at offset @off of the block of @ring. nullopt: there is none.
    std::optional<uint32_t> read32(unsigned ring, uint32_t off) const;
    std::optional<uint64_t> read64(unsigned ring, uint32_t off) const;
    // false: nothing there, or the value or the moment is wrong (and nothing was changed).
    bool write32(unsigned ring, uint32_t off, uint32_t val);
    // Changes the bits of @mask of the register pair at @off.
    bool write64(unsigned ring, uint32_t off, uint64_t val, uint64_t mask);

    void request_invalidate(const TlbInvalidation& inv);
    uint64_t invalidations_done() const { return inv_done_.load(std::memory_order_acquire); }

    // Resets everything; shared.device_reset_done is called when it is done, maybe at once.
    void request_device_reset();

    // For the host's faults: what the rings shall suffer (null: nothing more; the engine is paused),
    // and a standstill until a reset of all rings.
    void set_faults(FaultRecord* record);
    void hang();

    // Memory that a ring may wait for has changed.
    void look_again();

    void pause();
    void resume();
    // Whether it would do something, if it were not paused.
    bool has_work() const;
    // Until it has nothing to do, or @end has come (false).
    bool wait_at_rest(std::chrono::steady_clock::time_point end);
    // Ends the worker; the packets under way are dropped. For destruction only.
    void stop();

    EngineTotals totals() const;

    // The engine is paused (engine_state.cc).
    struct State {
        EngineTotals totals;
        uint64_t packets_at_reset = 0;
        uint64_t bytes_at_reset = 0;
        uint64_t invalidations = 0;
        bool hung = false;
        std::array<uint32_t, VTTM_PRIORITY_MAX + 1> last_ring{};
        std::array<RingContext::State, kRings> rings;
    };
    State state() const;
    State load(StateReader& in) const;
    static void save(StateWriter& out, State& state);
    // As RingContext's.
    void prepare(State& state);
    void restore(State& state) noexcept;

private:
    template <class Io>
    static void io(Io& io, State& s);
    void run();
    RingContext* serve_requests(std::unique_lock<std::mutex>& lock);
    void obey_invalidations(std::unique_lock<std::mutex>& lock);
    void rest(std::unique_lock<std::mutex>& lock);
    void trace_write(unsigned ring, uint32_t off, uint32_t val) const;
    RingContext* next_ring();
    bool stands() const;
    void request_ring_reset(uint32_t rings);
    void apply_ring_reset(uint32_t rings);
    void apply_device_reset();
    void apply_invalidation(const TlbInvalidation& inv);

    std::mutex& mu() const { return core_.mu; }

    mutable EngineCore core_;
    std::condition_variable wake_;
    std::condition_variable at_rest_;
    // Under mu():
    bool busy_ = false;
    bool stop_ = false;
    unsigned paused_ = 0;
    uint32_t reset_wanted_ = 0;  // a bit per ring
    bool device_reset_wanted_ = false;
    std::vector<TlbInvalidation> invalidations_;
    uint64_t invalidations_folded_ = 0;
    std::array<unsigned, VTTM_PRIORITY_MAX + 1> last_ring_{};  // had the last turn, by priority

    std::array<std::unique_ptr<RingContext>, kRings> rings_;
    uint64_t busy_since_ = 0;  // the worker's: up to here its time is counted; 0: it has rested
    std::vector<TlbInvalidation> obeying_;  // the worker's
    std::atomic<uint64_t> inv_done_{0};
    std::atomic<uint64_t> busy_ns_{0};
    std::atomic<uint64_t> resets_{0};

    std::thread worker_;
};

}  // namespace vttm::model
