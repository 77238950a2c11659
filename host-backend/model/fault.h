// SPDX-License-Identifier: Apache-2.0
// Faults: what went wrong, and the registers that tell the guest.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>

#include "protocol/vttm_regs.h"

namespace vttm::model {

// "No VM is current": the state of an engine after reset and after a SET_VM that was refused.
inline constexpr uint32_t kNoVm = VTTM_NO_VM;

struct Fault {
    vttm_fault_reason reason = VTTM_FAULT_NONE;
    uint64_t addr = 0;  // VA, bus address or VRAM offset; packet faults: bus address of the packet
    bool write = false;
    uint32_t vm = kNoVm;

    // What FAULT_INFO says of it.
    uint32_t info(unsigned engine, unsigned ring) const {
        return static_cast<uint32_t>(reason) | engine << 8 | ring << 13 |
               (write ? VTTM_FAULT_INFO_WRITE : 0u) | (vm & 0xffffu) << 16;
    }
    explicit operator bool() const { return reason != VTTM_FAULT_NONE; }
};

// The fault registers. The first fault since FAULT_STATUS was cleared is latched, all are counted.
// Totals count since creation: a guest's reset does not wipe the host's evidence.
class FaultUnit {
public:
    void record(const Fault& fault, unsigned engine, unsigned ring);
    void count_stale(unsigned engine);
    void clear_status(uint32_t bits);
    void reset();

    uint32_t status() const;
    uint32_t info() const;
    uint64_t addr() const;
    uint32_t count() const;
    uint32_t stale_count() const;
    uint64_t total() const;
    uint64_t stale_total() const;
    uint64_t total_of(unsigned engine) const;
    uint64_t stale_total_of(unsigned engine) const;

    struct State {
        bool latched = false;
        uint32_t info = 0;
        uint64_t addr = 0;
        std::array<uint64_t, VTTM_NUM_ENGINES> of{};
        std::array<uint64_t, VTTM_NUM_ENGINES> stale_of{};
        uint64_t total_at_reset = 0;
        uint64_t stale_at_reset = 0;
    };
    State state() const;
    void restore(const State& state);
    template <class Io>
    static void io(Io& io, State& s) {
        uint64_t total = 0, stale = 0;
        io.flag("latched", s.latched);
        io.u32("info", s.info);
        const uint32_t reason = VTTM_FAULT_INFO_REASON(s.info), vm = VTTM_FAULT_INFO_VM(s.info);
        io.require(!s.info || (reason && reason <= VTTM_FAULT_POISON &&
                               VTTM_FAULT_INFO_ENGINE(s.info) < VTTM_NUM_ENGINES &&
                               VTTM_FAULT_INFO_RING(s.info) < VTTM_NUM_RINGS &&
                               (vm < VTTM_MAX_VMS || vm == VTTM_NO_VM)),
                   "info", "is no fault of this device");
        io.require(s.info || !s.latched, "latched", "is set, and there is no fault");
        io.u64("addr", s.addr);
        for (uint64_t& n : s.of) {
            io.u64("faults", n, UINT64_MAX - total);
            total += n;
        }
        for (uint64_t& n : s.stale_of) {
            io.u64("stale", n, UINT64_MAX - stale);
            stale += n;
        }
        io.u64("faults-at-reset", s.total_at_reset, total);
        io.u64("stale-at-reset", s.stale_at_reset, stale);
    }

private:
    mutable std::mutex mu_;
    bool latched_ = false;
    uint32_t info_ = 0;
    uint64_t addr_ = 0;
    uint64_t total_ = 0;
    uint64_t total_at_reset_ = 0;
    uint64_t stale_total_ = 0;
    uint64_t stale_at_reset_ = 0;
    std::array<uint64_t, VTTM_NUM_ENGINES> of_{};
    std::array<uint64_t, VTTM_NUM_ENGINES> stale_of_{};
};

}  // namespace vttm::model
