// SPDX-License-Identifier: Apache-2.0
// The fault ring in guest memory (protocol/vttm_fault.h): engines add records, the registers say
// where it is and how far both sides are.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "host-backend/model/bus.h"
#include "protocol/vttm_fault.h"

namespace vttm::model {

// No lock is held while a record is written. Engines write one after the other; a register access
// never waits for one that writes.
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

private:
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
