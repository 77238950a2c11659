// SPDX-License-Identifier: Apache-2.0
// The little driver's centre: bring-up, registers, memory, invalidation, fault ring. Written from
// protocol/ alone.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "protocol/vttm_fault.h"
#include "protocol/vttm_regs.h"
#include "tests/unit/independent/pci.h"
#include "tests/unit/independent/program.h"
#include "tests/unit/independent/wire.h"

namespace vttm::independent {

/// Polls @done until it is true; false after @milliseconds.
bool Poll(const std::function<bool()>& done, int milliseconds = 5000);

class Device {
public:
    /// Steps 1 to 6 of "Bring-up" in protocol/README.md. Throws std::runtime_error if the device is
    /// not one.
    explicit Device(Wire& wire);

    uint32_t Rd(uint32_t reg) { return static_cast<uint32_t>(wire_.Load(4, regs_ + reg)); }
    void Wr(uint32_t reg, uint32_t value) { wire_.Store(4, regs_ + reg, value); }
    uint64_t Rd64(uint32_t reg) { return wire_.Load(8, regs_ + reg); }
    void Wr64(uint32_t reg, uint64_t value) { wire_.Store(8, regs_ + reg, value); }
    uint64_t Counter(unsigned engine, uint32_t which) {
        return Rd64(VTTM_COUNTER_BASE(engine) + which);
    }

    /// Device reset: true when it was done within a second.
    bool Reset();

    /// Memory that nobody else uses, until the end.
    uint64_t AllocSystem(uint64_t bytes, uint64_t align = VTTM_PAGE_SIZE);
    uint64_t AllocVram(uint64_t bytes, uint64_t align = VTTM_PAGE_SIZE);
    Place AllocPlace(uint32_t space, uint64_t bytes, uint64_t align = VTTM_PAGE_SIZE);
    /// What the CPU does: system memory, or VRAM through BAR2 (its visible part).
    std::vector<uint8_t> Read(Place at, size_t bytes);
    void Write(Place at, std::span<const uint8_t> bytes);
    uint64_t Read64(Place at);
    void Write64(Place at, uint64_t value);
    uint64_t CpuAddress(Place at) const;
    template <typename T>
    T ReadAs(Place at) {
        T value;
        const std::vector<uint8_t> bytes = Read(at, sizeof value);
        std::memcpy(&value, bytes.data(), sizeof value);
        return value;
    }

    /// Issues an invalidation and waits until it is done.
    bool Invalidate(uint32_t scope, uint32_t vm = 0, uint64_t va = 0, uint32_t pages = 0);

    void EnableFaultRing(uint32_t bytes = VTTM_FAULT_RING_MIN_SIZE);
    bool DisableFaultRing();
    /// Records since the last call; tells the device that they are read.
    std::vector<vttm_fault_record> TakeFaults();

    /// What vector @v has written to its mailbox since the last call: true if it fired.
    bool TakeInterrupt(unsigned v);

    Wire& wire() { return wire_; }
    PciFunction& pci() { return pci_; }
    uint64_t regs() const { return regs_; }
    uint64_t features() const { return features_; }
    uint64_t vram_size() const { return vram_size_; }
    uint64_t vram_visible() const { return vram_visible_; }

private:
    Wire& wire_;
    PciFunction pci_;
    uint64_t regs_ = 0, aperture_ = 0;
    uint64_t features_ = 0, vram_size_ = 0, vram_visible_ = 0;
    uint64_t next_system_ = 16ull << 20;  // above all that a PC keeps below
    uint64_t next_vram_ = 0;
    uint64_t mailbox_ = 0;
    uint32_t issued_ = 0;  // invalidations since the device reset
    uint64_t fault_ring_ = 0;
    uint32_t fault_records_ = 0, fault_get_ = 0;
};

}  // namespace vttm::independent
