// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/fault_ring.h"

#include <cstring>

#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"

namespace vttm::model {

bool FaultRing::write_record(uint64_t addr, const vttm_fault_record& rec) const {
    Bus::Mapping m = bus_.map(addr, sizeof(rec), true);
    if (m.size() < sizeof(rec)) return false;
    std::memcpy(m.data(), &rec, sizeof(rec));
    return true;
}

void FaultRing::add(vttm_fault_record rec) {
    std::unique_lock lock(mu_);
    turn_.wait(lock, [this] { return !writing_; });
    if (!enabled_) return;
    if (put_ - get_ >= records()) {
        lost_++;
        return;
    }
    rec.number = put_;
    const uint64_t addr = base_ + put_ % records() * sizeof(rec);
    writing_ = true;
    lock.unlock();
    const bool written = write_record(addr, rec);
    lock.lock();
    writing_ = false;
    // Switched off meanwhile: nobody will look. It cannot be on again, as long as writing_ is set.
    if (enabled_) ++(written ? put_ : lost_);
    turn_.notify_one();
}

bool FaultRing::write_base(uint64_t val, uint64_t mask) {
    std::lock_guard lock(mu_);
    if (!is_off()) return false;
    base_ = ((base_ & ~mask) | (val & mask)) & ~uint64_t{VTTM_PAGE_SIZE - 1};
    return true;
}

bool FaultRing::write_size(uint32_t val) {
    std::lock_guard lock(mu_);
    if (!is_off() || !is_size(val)) return false;
    size_ = val;
    return true;
}

bool FaultRing::write_ctrl(uint32_t val) {
    if (val & ~(VTTM_FAULT_RING_CTRL_ENABLE | VTTM_FAULT_RING_CTRL_BUSY)) return false;
    std::lock_guard lock(mu_);
    if (!(val & VTTM_FAULT_RING_CTRL_ENABLE)) {
        enabled_ = false;
        return true;
    }
    if (enabled_) return true;
    if (!is_off() || !size_ || base_ > UINT64_MAX - (size_ - 1)) return false;
    enabled_ = true;
    put_ = get_ = lost_ = 0;
    return true;
}

bool FaultRing::write_get(uint32_t val) {
    std::lock_guard lock(mu_);
    if (val - get_ > put_ - get_) return false;  // back, or beyond what was written
    get_ = val;
    return true;
}

void FaultRing::reset() {
    std::lock_guard lock(mu_);
    enabled_ = false;
    base_ = 0;
    size_ = put_ = get_ = lost_ = 0;
}

FaultRing::State FaultRing::state() const {
    std::lock_guard lock(mu_);
    return {enabled_, base_, size_, put_, get_, lost_};
}

void FaultRing::restore(const State& state) {
    std::lock_guard lock(mu_);
    enabled_ = state.enabled;
    base_ = state.base;
    size_ = state.size;
    put_ = state.put;
    get_ = state.get;
    lost_ = state.lost;
}

uint64_t FaultRing::base() const {
    std::lock_guard lock(mu_);
    return base_;
}

uint32_t FaultRing::size() const {
    std::lock_guard lock(mu_);
    return size_;
}

uint32_t FaultRing::ctrl() const {
    std::lock_guard lock(mu_);
    return (enabled_ ? VTTM_FAULT_RING_CTRL_ENABLE : 0) |
           (writing_ ? VTTM_FAULT_RING_CTRL_BUSY : 0);
}

uint32_t FaultRing::put() const {
    std::lock_guard lock(mu_);
    return put_;
}

uint32_t FaultRing::get() const {
    std::lock_guard lock(mu_);
    return get_;
}

uint32_t FaultRing::lost() const {
    std::lock_guard lock(mu_);
    return lost_;
}

}  // namespace vttm::model
