// SPDX-License-Identifier: Apache-2.0
// What an engine class does: runs one packet in bounded steps.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>

#include "host-backend/model/access.h"
#include "host-backend/model/packet.h"
#include "host-backend/model/state_stream.h"
#include "host-backend/model/witness_log.h"

namespace vttm::model {

// Most bytes that a step touches: what bounds the wait for a pause, a reset or an invalidation.
inline constexpr uint64_t kChunkBytes = 256 * 1024;

// Device time. It goes on while the engines are paused. A test may bring a source of its own, to make runs equal to the last bit: then nothing
// depends on real time, and rings that wait look only when something tells them to.
class Clock {
public:
    using Source = uint64_t (*)();
    explicit Clock(Source source = nullptr) : source_(source) {}

    Clock(const Clock& other) : source_(other.source_), start_(other.start_) {}

    bool is_real() const { return !source_; }

    uint64_t now_ns() const { return elapsed_ns() + ahead_.load(std::memory_order_relaxed); }
    // It goes on from @now_ns.
    void set(uint64_t now_ns) { ahead_.store(now_ns - elapsed_ns(), std::memory_order_relaxed); }

private:
    uint64_t elapsed_ns() const {
        if (source_) return source_();
        return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                         std::chrono::steady_clock::now() - start_)
                                         .count());
    }

    Source source_;
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
    std::atomic<uint64_t> ahead_{0};
};

class ReadSpoiler;
class WriteSpoiler;

// What an executor may use of its engine.
struct ExecContext {
    const Bus& bus;
    const VmRoots& roots;
    const Clock& clock;
    Mmu& mmu;
    WitnessLog& witness;
    StaleSink& stale;
    unsigned engine = 0;  // index
    uint32_t vm = kNoVm;  // current VM
    // Of what the packet under way writes and reads; mostly none.
    WriteSpoiler* spoiler = nullptr;
    ReadSpoiler* read_spoiler = nullptr;
};

// What the packet under way says of an address, for witness records.
struct PageIdentity {
    uint32_t buffer = 0;
    uint32_t generation = 0;
    uint64_t page = 0;
};

class Executor {
public:
    struct Step {
        Fault fault;        // the packet is over, with this fault
        bool done = false;  // the packet is over
        bool waits = false;      // a condition is not met; look again later
        bool signalled = false;  // wrote what others may wait for
        uint32_t skip = 0;       // done, and this many dwords behind it are not to be run
        uint64_t bytes = 0;      // written or verified in this step
    };

    virtual ~Executor() = default;
    // Takes over the packet; a fault says what is wrong with it. Touches no memory.
    virtual Fault begin(const Packet& packet) = 0;
    // Does the next chunk of the packet. Leaves nothing mapped.
    virtual Step step() = 0;
    virtual PageIdentity identify(uint64_t va) const = 0;
    // How far the packet is, between two steps; load() comes behind begin() of the same packet, and
    // touches no memory either.
    virtual void save(StateWriter&) const {}
    virtual void load(StateReader&) {}
};

std::unique_ptr<Executor> make_copy_executor(ExecContext& ctx);
std::unique_ptr<Executor> make_stamp_executor(ExecContext& ctx);
std::unique_ptr<Executor> make_hash_executor(ExecContext& ctx);
std::unique_ptr<Executor> make_sync_executor(ExecContext& ctx);

// A fault of the operands of the packet at @packet_addr.
inline Fault operand_fault(const ExecContext& ctx, uint64_t packet_addr, vttm_fault_reason reason,
                           uint64_t addr, bool write) {
    if (reason == VTTM_FAULT_BAD_PACKET) return {reason, packet_addr, false, ctx.vm};
    return {reason, addr, write, ctx.vm};
}

}  // namespace vttm::model
