// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/access.h"

#include <algorithm>
#include <cstring>

#include "host-backend/model/fault_lane.h"
#include "protocol/vttm_packets.h"

namespace vttm::model {

vttm_fault_reason check_range(const Bus& bus, const Range& range) {
    constexpr uint64_t kVaEnd = 1ull << VTTM_VA_BITS;
    switch (range.space) {
        case VTTM_SPACE_VM:
            if (range.addr >= kVaEnd || range.len > kVaEnd - range.addr) return VTTM_FAULT_VA_RANGE;
            return VTTM_FAULT_NONE;
        case VTTM_SPACE_VRAM:
            return bus.vram_contains(range.addr, range.len) ? VTTM_FAULT_NONE
                                                            : VTTM_FAULT_VRAM_RANGE;
        case VTTM_SPACE_SYSTEM:
            // The last byte may be the last of the 64-bit space.
            if (range.len && range.addr > UINT64_MAX - (range.len - 1)) return VTTM_FAULT_BUS;
            return VTTM_FAULT_NONE;
        default:
            return VTTM_FAULT_BAD_PACKET;
    }
}

void Cursor::start(const Range& range, uint32_t vm, bool write) {
    end_chunk();
    space_ = range.space;
    vm_ = vm;
    write_ = write;
    pos_ = range.addr;
    left_ = range.len;
    fault_ = Fault();
}

// Where the tables are mapped stays known to the walker until the chunk ends.
void Cursor::go_to(uint64_t addr, uint64_t len) {
    unmap();
    run_left_ = 0;
    ahead_.reset();
    pos_ = addr;
    left_ = len;
}

Fault Cursor::write_once(const Range& range, uint32_t vm, const void* bytes) {
    Fault fault;
    start(range, vm, true);
    begin_chunk(range.len);
    const auto to = piece();
    if (!to) {
        fault = fault_;
    } else if (to->len < range.len) {
        fault = fault_here(VTTM_FAULT_BUS);
    } else {
        std::memcpy(to->ptr, bytes, range.len);
        advance(range.len);
    }
    end_chunk();
    return fault;
}

void Cursor::begin_chunk(uint64_t bytes) { chunk_left_ = std::min(bytes, left_); }

Fault Cursor::fault_here(vttm_fault_reason reason) const { return {reason, pos_, write_, vm_}; }

// Translates forward from pos_, leaf by leaf, while they lie one behind the other.
bool Cursor::fill_run_virtual() {
    const uint64_t in_page = pos_ & (VTTM_PAGE_SIZE - 1);
    uint64_t page = pos_ - in_page;
    uint64_t have = 0;  // bytes from pos_ that the run covers

    run_left_ = 0;
    while (have < chunk_left_) {
        const Translation t =
            ahead_ ? *ahead_ : mmu_.translate(walker_, vm_, page, write_, stale_.faults());
        ahead_.reset();
        if (have && (t.reason != VTTM_FAULT_NONE || t.space != run_space_ ||
                     t.phys != run_phys_ + have)) {
            ahead_ = t;
            break;
        }
        if (t.stale) {
            const uint64_t wanted = pos_ + chunk_left_ - page;
            const uint64_t used = t.reason ? VTTM_PAGE_SIZE : std::min(t.bytes, wanted);
            stale_.stale_used(page, t.space, t.phys,
                              (used + VTTM_PAGE_SIZE - 1) >> VTTM_PAGE_SHIFT);
        }
        if (t.reason != VTTM_FAULT_NONE) {
            if (t.reason == VTTM_FAULT_POISON) stale_.faults()->poison_met(t.poisoned);
            fault_ = fault_here(t.reason);
            return false;
        }
        if (!have) {
            run_space_ = t.space;
            run_phys_ = t.phys + in_page;
            have = t.bytes - in_page;
        } else {
            have += t.bytes;
        }
        page += t.bytes;
    }
    run_left_ = std::min(have, chunk_left_);
    return true;
}

bool Cursor::fill_run() {
    if (space_ == VTTM_SPACE_VM) return fill_run_virtual();
    run_space_ = space_;
    run_phys_ = pos_;
    run_left_ = chunk_left_;
    return true;
}

// What the host's plan does to the access of the run: false, or it has failed. Poison further on
// shortens the run.
bool Cursor::fault_strikes() {
    FaultLane& lane = *stale_.faults();
    if (run_space_ == VTTM_SPACE_SYSTEM) {
        if (!lane.system_access_fails(run_phys_)) return false;
        fault_ = fault_here(VTTM_FAULT_BUS);
        return true;
    }
    if (write_) return false;
    const auto bad = lane.first_poisoned(run_phys_, run_left_);
    if (!bad) return false;
    if (*bad > run_phys_) {
        run_left_ = *bad - run_phys_;
        ahead_.reset();  // it is no more behind the run
        return false;
    }
    lane.poison_met(run_phys_);
    fault_ = fault_here(VTTM_FAULT_POISON);
    return true;
}

bool Cursor::map_run() {
    if (stale_.faults() && fault_strikes()) [[unlikely]]
        return false;
    if (run_space_ == VTTM_SPACE_VRAM) {
        // Once more: the translation may be older than the present limit.
        if (!bus_.vram_contains(run_phys_, run_left_)) {
            fault_ = fault_here(VTTM_FAULT_VRAM_RANGE);
            return false;
        }
        ptr_ = bus_.vram() + run_phys_;
        mapped_left_ = run_left_;
        dirty_from_ = run_phys_;
        return true;
    }
    mapping_ = bus_.map(run_phys_, run_left_, write_);
    if (!mapping_) {
        fault_ = fault_here(VTTM_FAULT_BUS);
        return false;
    }
    ptr_ = mapping_.data();
    mapped_left_ = mapping_.size();
    return true;
}

void Cursor::unmap() {
    if (ptr_ && write_ && run_space_ == VTTM_SPACE_VRAM)
        bus_.vram_dirty(dirty_from_, run_phys_ - dirty_from_);
    mapping_ = Bus::Mapping();
    ptr_ = nullptr;
    mapped_left_ = 0;
}

std::optional<Cursor::Piece> Cursor::piece() {
    if (!mapped_left_) {
        if (!run_left_ && !fill_run()) return std::nullopt;
        if (!map_run()) return std::nullopt;
    }
    return Piece{ptr_, mapped_left_, run_space_, run_phys_, pos_};
}

void Cursor::advance(uint64_t bytes) {
    ptr_ += bytes;
    pos_ += bytes;
    run_phys_ += bytes;
    run_left_ -= bytes;
    mapped_left_ -= bytes;
    chunk_left_ -= bytes;
    left_ -= bytes;
    if (!mapped_left_) unmap();
}

void Cursor::end_chunk() {
    unmap();
    run_left_ = 0;
    chunk_left_ = 0;
    ahead_.reset();
    walker_.release();
}

}  // namespace vttm::model
