// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/fault.h"

#include <numeric>

namespace vttm::model {

void FaultUnit::record(const Fault& fault, unsigned engine, unsigned ring) {
    std::lock_guard lock(mu_);
    total_++;
    of_[engine]++;
    if (latched_) return;
    latched_ = true;
    info_ = fault.info(engine, ring);
    addr_ = fault.addr;
}

void FaultUnit::count_stale(unsigned engine) {
    std::lock_guard lock(mu_);
    stale_total_++;
    stale_of_[engine]++;
}

void FaultUnit::clear_status(uint32_t bits) {
    std::lock_guard lock(mu_);
    if (bits & VTTM_FAULT_STATUS_VALID) latched_ = false;
}

void FaultUnit::reset() {
    std::lock_guard lock(mu_);
    latched_ = false;
    info_ = 0;
    addr_ = 0;
    total_at_reset_ = total_;
    stale_at_reset_ = stale_total_;
}

FaultUnit::State FaultUnit::state() const {
    std::lock_guard lock(mu_);
    return {latched_, info_, addr_, of_, stale_of_, total_at_reset_, stale_at_reset_};
}

void FaultUnit::restore(const State& state) {
    std::lock_guard lock(mu_);
    latched_ = state.latched;
    info_ = state.info;
    addr_ = state.addr;
    of_ = state.of;
    stale_of_ = state.stale_of;
    total_ = std::accumulate(of_.begin(), of_.end(), uint64_t{0});
    stale_total_ = std::accumulate(stale_of_.begin(), stale_of_.end(), uint64_t{0});
    total_at_reset_ = state.total_at_reset;
    stale_at_reset_ = state.stale_at_reset;
}

uint32_t FaultUnit::status() const {
    std::lock_guard lock(mu_);
    return latched_ ? VTTM_FAULT_STATUS_VALID : 0;
}

uint32_t FaultUnit::info() const {
    std::lock_guard lock(mu_);
    return info_;
}

uint64_t FaultUnit::addr() const {
    std::lock_guard lock(mu_);
    return addr_;
}

uint32_t FaultUnit::count() const {
    std::lock_guard lock(mu_);
    return static_cast<uint32_t>(total_ - total_at_reset_);
}

uint32_t FaultUnit::stale_count() const {
    std::lock_guard lock(mu_);
    return static_cast<uint32_t>(stale_total_ - stale_at_reset_);
}

uint64_t FaultUnit::total() const {
    std::lock_guard lock(mu_);
    return total_;
}

uint64_t FaultUnit::stale_total() const {
    std::lock_guard lock(mu_);
    return stale_total_;
}

uint64_t FaultUnit::total_of(unsigned engine) const {
    std::lock_guard lock(mu_);
    return of_[engine];
}

uint64_t FaultUnit::stale_total_of(unsigned engine) const {
    std::lock_guard lock(mu_);
    return stale_of_[engine];
}

}  // namespace vttm::model
