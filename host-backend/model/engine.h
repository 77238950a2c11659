// SPDX-License-Identifier: Apache-2.0
// One engine: its registers, its ring, its TLB and its worker thread.
//
// Locking. mu_ guards registers and requests. The worker works with mu_ released and busy_ set;
// while busy_ is clear the worker stands still, and who holds mu_ may touch what is the worker's
// (TLB, packet under way). So invalidation and reset of an engine at rest are done by the caller at
// once, and those of a busy one by the worker between two chunks.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "host-backend/model/executor.h"
#include "host-backend/model/fault_ring.h"
#include "host-backend/model/irq.h"
#include "host-backend/model/ring.h"

namespace vttm::model {

// What all engines share.
struct EngineShared {
    const Bus& bus;
    const VmRoots& roots;
    const Clock& clock;
    FaultUnit& faults;
    FaultRing& fault_ring;
    IrqController& irq;
    std::function<void()> device_reset_done;  // this engine has obeyed request_device_reset()
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

class Engine final : private StaleSink {
public:
    Engine(const EngineShared& shared, unsigned index, vttm_engine_class cls, size_t tlb_entries);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // Registers at offset @off of the engine's block. nullopt: there is none.
    std::optional<uint32_t> read32(uint32_t off) const;
    std::optional<uint64_t> read64(uint32_t off) const;
    // false: nothing there, or the value or the moment is wrong (and nothing was changed).
    bool write32(uint32_t off, uint32_t val);
    // Changes the bits of @mask of the register pair at @off.
    bool write64(uint32_t off, uint64_t val, uint64_t mask);

    void request_invalidate(const TlbInvalidation& inv);
    uint64_t invalidations_done() const { return inv_done_.load(std::memory_order_acquire); }

    // Resets everything; shared.device_reset_done is called when it is done, maybe at once.
    void request_device_reset();

    void pause();
    void resume();
    // Ends the worker; the packet under way is dropped. For destruction only.
    void stop();

    EngineTotals totals() const;

private:
    void run();
    bool serve_requests(std::unique_lock<std::mutex>& lock);
    bool has_work() const;
    void apply_engine_reset();
    void apply_device_reset();
    void apply_invalidation(const TlbInvalidation& inv);

    // The worker's, with mu_ released.
    void step(const RingState& ring, bool give_up);
    bool fetch(const RingState& ring);
    void dispatch();
    void set_vm();
    void fence();
    void finish_packet();
    void fail_packet(const Fault& fault);
    void drop_packet(vttm_fault_reason reason);
    bool is_retryable(const Fault& fault) const;
    void stall(const Fault& fault);
    void halt(const Fault& fault);
    void report(const Fault& fault);
    void record_fault(const Fault& fault, uint32_t stall);
    void stale_used(uint64_t va, uint32_t space, uint64_t phys, uint64_t pages) override;
    vttm_witness_record witness_record(vttm_witness_kind kind, uint64_t va) const;

    const EngineShared& shared_;
    const unsigned index_;
    const vttm_engine_class class_;

    mutable std::mutex mu_;
    std::condition_variable wake_;
    std::condition_variable at_rest_;
    // Under mu_:
    bool busy_ = false;
    bool stop_ = false;
    unsigned paused_ = 0;
    bool engine_reset_wanted_ = false;
    bool device_reset_wanted_ = false;
    std::vector<TlbInvalidation> invalidations_;
    uint64_t invalidations_folded_ = 0;
    bool enabled_ = false;
    bool halted_ = false;
    bool packet_open_ = false;
    bool stalled_ = false;  // at a retryable fault; the packet stays under way
    bool stall_told_ = false;  // the fault is on record: STATUS may show the stall
    bool give_up_ = false;     // ... and the answer was to fail
    uint32_t stall_ = 0;    // number of the last stall
    RingState ring_;

    // The worker's:
    Mmu mmu_;
    WitnessLog witness_;
    ExecContext ctx_;
    std::unique_ptr<Executor> class_exec_;  // all packets of the class but HASH
    std::unique_ptr<Executor> hash_exec_;
    Executor* exec_;  // that of the packet under way
    bool executing_ = false;  // exec_ has a packet under way
    uint32_t error_ = VTTM_FAULT_NONE;  // first since the last FENCE; set: skipping
    Packet packet_;
    uint32_t packet_pos_ = 0;  // where it lies in the ring

    // Written by the worker, read by anyone.
    std::atomic<uint64_t> last_fence_{0};
    std::atomic<uint64_t> inv_done_{0};
    std::atomic<uint64_t> packets_{0};
    std::atomic<uint64_t> bytes_{0};
    std::atomic<uint64_t> fences_{0};
    std::atomic<uint64_t> busy_ns_{0};
    std::atomic<uint64_t> resets_{0};
    std::atomic<uint64_t> packets_at_reset_{0};
    std::atomic<uint64_t> bytes_at_reset_{0};

    std::thread worker_;
};

}  // namespace vttm::model
