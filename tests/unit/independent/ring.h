// SPDX-License-Identifier: Apache-2.0
// One ring of one engine: its memory, packets into it, doorbell, fences.
#pragma once

#include <cstdint>

#include "tests/unit/independent/device.h"

namespace vttm::independent {

class Ring {
public:
    Ring(Device& device, unsigned engine, unsigned ring = 0, uint32_t bytes = VTTM_RING_MIN_SIZE);

    /// Writes place, size, and CTRL = ENABLE. The ring must be disabled.
    void Enable();
    uint32_t Rd(uint32_t reg) { return device_.Rd(block_ + reg); }
    void Wr(uint32_t reg, uint32_t value) { device_.Wr(block_ + reg, value); }
    uint64_t Rd64(uint32_t reg) { return device_.Rd64(block_ + reg); }

    uint32_t Free();
    /// Copies packets into the ring; the device does not see them before Kick().
    void Put(const Program& program);
    void Kick();
    void Submit(const Program& program) {
        Put(program);
        Kick();
    }
    /// Puts a FENCE and rings the doorbell; returns its sequence number.
    uint64_t Fence(bool irq = false);
    bool Done(uint64_t seq);
    bool WaitFence(uint64_t seq, int milliseconds = 5000);
    /// Submits with a FENCE behind it, waits; returns the fence's status. Throws when it does not
    /// come.
    uint32_t Run(const Program& program);

    bool WaitIdle();
    bool WaitStatus(uint32_t bit);
    /// CTRL = @bit (RESET or RING_RESET) with ENABLE; true when RESETTING was clear within a
    /// second.
    bool Reset(uint32_t bit, bool enable = true);
    void DropTail() { tail_ = 0; }

    uint64_t base() const { return base_; }
    uint32_t bytes() const { return bytes_; }
    uint32_t tail() const { return tail_; }
    uint64_t seq() const { return seq_; }
    uint64_t fence_at() const { return fence_at_; }
    uint32_t block() const { return block_; }
    Device& device() { return device_; }

private:
    Device& device_;
    uint32_t block_;
    uint32_t bytes_;
    uint64_t base_, fence_at_;
    uint32_t tail_ = 0;
    uint64_t seq_ = 0;
};

}  // namespace vttm::independent
