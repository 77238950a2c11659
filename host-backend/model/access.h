// SPDX-License-Identifier: Apache-2.0
// Walks an address range of a packet and yields host pointers, run by run.
#pragma once

#include <cstdint>
#include <optional>

#include "host-backend/model/fault.h"
#include "host-backend/model/mmu.h"

namespace vttm::model {

class FaultLane;

// Who wants to know of accesses through a stale translation: once per leaf and chunk of a packet,
// with the @pages of the leaf that are used. And who says which accesses shall fail, if any.
class StaleSink {
public:
    virtual void stale_used(uint64_t va, uint32_t space, uint64_t phys, uint64_t pages) = 0;
    FaultLane* faults() const { return faults_; }

protected:
    ~StaleSink() = default;
    FaultLane* faults_ = nullptr;
};

// An address range in the space that a packet names.
struct Range {
    uint32_t space = VTTM_SPACE_VM;
    uint64_t addr = 0;
    uint64_t len = 0;
};

// What is wrong with @range as a whole, before anything is touched.
vttm_fault_reason check_range(const Bus& bus, const Range& range);

// One stream of accesses to ascending addresses. Usage, all within one chunk of work:
//   begin_chunk(n);
//   while (bytes are left) { p = piece(); if (!p) break with fault(); use p; advance(); }
//   end_chunk();
// Pages that lie one behind the other in memory are mapped together. Nothing is mapped and no
// translation is remembered outside a chunk.
class Cursor {
public:
    struct Piece {
        uint8_t* ptr = nullptr;
        uint64_t len = 0;
        uint32_t space = 0;  // where it lies: VTTM_SPACE_VRAM or VTTM_SPACE_SYSTEM
        uint64_t phys = 0;   // of ptr
        uint64_t addr = 0;   // of ptr, in the packet's space
    };

    Cursor(const Bus& bus, Mmu& mmu, const VmRoots& roots, StaleSink& stale)
        : bus_(bus), mmu_(mmu), walker_(bus, roots), stale_(stale) {}

    // Starts at @range.addr; @range was checked.
    void start(const Range& range, uint32_t vm, bool write);
    uint64_t left() const { return left_; }

    // Goes on at another range of the same space, which was checked too; may be within a chunk.
    void go_to(uint64_t addr, uint64_t len);
    // Writes @range.len bytes (a few, within one page) at once; for small results.
    Fault write_once(const Range& range, uint32_t vm, const void* bytes);

    void begin_chunk(uint64_t bytes);
    // What can be accessed at the current address, at least 1 byte and never beyond the chunk;
    // empty on a fault.
    std::optional<Piece> piece();
    void advance(uint64_t bytes);
    void end_chunk();
    const Fault& fault() const { return fault_; }
    // A fault at the current address for a reason that the caller found.
    Fault fault_here(vttm_fault_reason reason) const;

private:
    bool fill_run();
    bool fill_run_virtual();
    bool map_run();
    bool fault_strikes();
    void unmap();

    const Bus& bus_;
    Mmu& mmu_;
    Walker walker_;
    StaleSink& stale_;

    uint32_t space_ = 0;
    uint32_t vm_ = kNoVm;
    bool write_ = false;
    uint64_t pos_ = 0;         // current address
    uint64_t left_ = 0;        // bytes from pos_ to the end of the range
    uint64_t chunk_left_ = 0;  // ... of the chunk

    // Contiguous memory from pos_ on: found, and the part of it that is mapped.
    uint32_t run_space_ = 0;
    uint64_t run_phys_ = 0;
    uint64_t run_left_ = 0;
    std::optional<Translation> ahead_;  // of the page behind the run, already translated
    Bus::Mapping mapping_;
    uint8_t* ptr_ = nullptr;
    uint64_t mapped_left_ = 0;
    uint64_t dirty_from_ = 0;  // VRAM offset of the first byte written since mapping
    Fault fault_;
};

}  // namespace vttm::model
