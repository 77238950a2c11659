// SPDX-License-Identifier: Apache-2.0
#include "host-backend/model/witness_log.h"

#include "protocol/vttm_pte.h"

namespace vttm::model {

namespace {

constexpr size_t kBatch = 256;

bool continues(const vttm_witness_record& run, const vttm_witness_record& next) {
    if (next.kind != VTTM_WITNESS_WRITE && next.kind != VTTM_WITNESS_VERIFY) return false;
    const uint64_t bytes = run.npages * VTTM_PAGE_SIZE;
    return run.kind == next.kind && run.stamp_class == next.stamp_class &&
           run.buffer == next.buffer && run.generation == next.generation &&
           run.space == next.space && run.engine_vm == next.engine_vm &&
           run.time_ns == next.time_ns && run.page + run.npages == next.page &&
           run.va + bytes == next.va && run.phys + bytes == next.phys;
}

}  // namespace

WitnessLog::WitnessLog(const Bus& bus) : bus_(bus) {
    if (bus.wants_witness()) pending_.reserve(kBatch);
}

void WitnessLog::add(const vttm_witness_record& rec) {
    if (!bus_.wants_witness()) return;
    if (!pending_.empty() && continues(pending_.back(), rec)) {
        pending_.back().npages += rec.npages;
        return;
    }
    if (pending_.size() == kBatch) flush();
    pending_.push_back(rec);
}

void WitnessLog::flush() {
    bus_.witness(pending_.data(), pending_.size());
    pending_.clear();
}

}  // namespace vttm::model
