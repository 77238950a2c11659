// SPDX-License-Identifier: Apache-2.0
// The fault ring in guest memory (protocol/vttm_fault.h): engines add records, the registers say
// where it is and how far both sides are.
#pragma once

#include <bit>
#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "host-backend/model/bus.h"
#include "protocol/vttm_fault.h"
#include "protocol/vttm_pte.h"

namespace vttm::model {

// No lock is held while a record is written. Engines write one after the other; a register access
// never waits for one that writes. But an engine that has a record for the ring waits until the other
// one's is written, which takes as long as the bus does for one mapping, and nothing cuts that short:
// pauses and resets of that engine wait with it.
class FaultRing {
public:
    explicit FaultRing(const Bus& bus) : bus_(bus) {}

    // Writes @rec behind the others, or counts it as lost; its number is filled in. Does nothing
    // while the ring is off. For workers.
    void add(vttm_fault_record rec);

    // Registers. false: the value or the moment is wrong, and nothing was changed.
    bool write_base(uint64_t val, uint64_t mask);
    bool write_size(uint32_t val);
    bool write_ctrl(uint32_t val);
    bool write_get(uint32_t val);
    uint64_t base() const;
    uint32_t size() const;
    uint32_t ctrl() const;
    uint32_t put() const;
    uint32_t get() const;
    uint32_t lost() const;

    // Off, and all registers 0. No worker is in add().
    void reset();

    struct State {
        bool enabled = false;
        uint64_t base = 0;
        uint32_t size = 0;
        uint32_t put = 0;
        uint32_t get = 0;
        uint32_t lost = 0;
    };
    // Neither with a worker in add().
    State state() const;
    void restore(const State& state);
    template <class Io>
    static void io(Io& io, State& s) {
        io.flag("enabled", s.enabled);
        io.u64("base", s.base);
        io.require(s.base % VTTM_PAGE_SIZE == 0, "base", "is not aligned to a page");
        io.u32("size", s.size);
        io.require(s.size ? is_size(s.size) : !s.enabled, "size", "is no size of a fault ring");
        io.require(!s.enabled || s.base <= UINT64_MAX - (s.size - 1), "base", "wraps");
        io.u32("put", s.put);
        io.u32("get", s.get);
        // While it is off the size may be another one than the records were made with.
        const uint32_t bytes = s.enabled ? s.size : VTTM_FAULT_RING_MAX_SIZE;
        io.require(s.put - s.get <= bytes / VTTM_FAULT_RECORD_SIZE, "get", "does not follow PUT");
        io.u32("lost", s.lost);
    }

private:
    static bool is_size(uint32_t bytes) {
        return bytes >= VTTM_FAULT_RING_MIN_SIZE && bytes <= VTTM_FAULT_RING_MAX_SIZE &&
               std::has_single_bit(bytes);
    }
    bool write_record(uint64_t addr, const vttm_fault_record& rec) const;
    uint32_t records() const { return size_ / VTTM_FAULT_RECORD_SIZE; }
    bool is_off() const { return !enabled_ && !writing_; }

    const Bus& bus_;
    mutable std::mutex mu_;
    std::condition_variable turn_;
    bool enabled_ = false;
    bool writing_ = false;  // an engine is at the ring's memory
    uint64_t base_ = 0;
    uint32_t size_ = 0;
    uint32_t put_ = 0;
    uint32_t get_ = 0;
    uint32_t lost_ = 0;
};

}  // namespace vttm::model
