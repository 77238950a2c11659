// SPDX-License-Identifier: Apache-2.0
// Faults on demand: the device's part. Only the host comes here; no register leads to it.
#include <utility>

#include "host-backend/model/device.h"

namespace vttm::model {

void Device::set_fault_plan(std::string_view text) {
    FaultPlan plan = parse_fault_plan(text, bus_.vram_size());
    std::unique_ptr<FaultRecord> next;
    if (!plan.rules.empty()) next = std::make_unique<FaultRecord>(std::move(plan), clock_);

    pause();
    for (auto& engine : engines_) engine->set_faults(next.get());
    FaultRecord* const now = next.get();
    {
        std::lock_guard lock(plan_mu_);
        if (record_) injected_before_ += record_->total();
        record_.swap(next);
    }
    resume();
    if (removed()) bring_back();
    if (now) strike_at_once(*now);
}

// What waits for no event of an engine.
void Device::strike_at_once(FaultRecord& record) {
    const auto& rules = record.plan().rules;
    for (unsigned i = 0; i < rules.size(); i++) {
        const FaultRule& rule = rules[i];
        if (rule.engine) continue;
        for (uint64_t n = 1; n <= rule.count; n++) {
            if (rule.kind == FaultKind::device_reset)
                reset();
            else if (rule.kind == FaultKind::surprise_removal)
                remove();
            else
                break;
            record.count_event(i);
            record.injected({&rule, i, n, 0}, 0, 0, 0, true);
        }
    }
}

// From any thread. What an engine is doing it ends, and does nothing any more.
void Device::remove() {
    if (removed_.exchange(true)) return;
    irq_.mute(true);
    for (auto& engine : engines_) engine->hang();
    bus_.removed(true);
}

// A new device, as it were.
void Device::bring_back() {
    reset();
    irq_.mute(false);
    removed_.store(false);
    bus_.removed(false);
}

uint64_t Device::injected() const {
    std::lock_guard lock(plan_mu_);
    return injected_before_ + (record_ ? record_->total() : 0);
}

bool Device::has_fault_plan() const {
    std::lock_guard lock(plan_mu_);
    return record_ != nullptr;
}

std::string Device::faults_json() const {
    std::lock_guard lock(plan_mu_);
    return record_ ? record_->json() : FaultRecord(FaultPlan(), clock_).json();
}

}  // namespace vttm::model
