// SPDX-License-Identifier: Apache-2.0
// The registers of one engine, and its totals.
#include "host-backend/model/engine.h"

namespace vttm::model {

std::optional<uint32_t> Engine::read32(uint32_t off) const {
    std::lock_guard lock(mu_);
    switch (off) {
        case VTTM_ENG_CTRL:
            return enabled_ ? VTTM_ENG_CTRL_ENABLE : 0;
        case VTTM_ENG_STATUS:
            return (ring_.head == ring_.tail && !packet_open_ ? VTTM_ENG_STATUS_IDLE : 0) |
                   (halted_ ? VTTM_ENG_STATUS_HALTED : 0) |
                   (stalled_ && stall_told_ ? VTTM_ENG_STATUS_STALLED : 0) |
                   (engine_reset_wanted_ || device_reset_wanted_ ? VTTM_ENG_STATUS_RESETTING : 0);
        case VTTM_ENG_CLASS:
            return class_;
        case VTTM_ENG_RING_SIZE:
            return ring_.size;
        case VTTM_ENG_HEAD:
            return ring_.head;
        case VTTM_ENG_TAIL:
            return ring_.tail;
        case VTTM_ENG_STALL:
            return stall_;
        case VTTM_ENG_ANSWER:
            return 0;
        case VTTM_ENG_PACKETS:
            return static_cast<uint32_t>(packets_.load() - packets_at_reset_.load());
        default:
            return std::nullopt;
    }
}

std::optional<uint64_t> Engine::read64(uint32_t off) const {
    switch (off) {
        case VTTM_ENG_RING_BASE_LO: {
            std::lock_guard lock(mu_);
            return ring_.base;
        }
        case VTTM_ENG_LAST_FENCE_LO:
            return last_fence_.load(std::memory_order_acquire);
        case VTTM_ENG_BYTES_LO:
            return bytes_.load() - bytes_at_reset_.load();
        default:
            return std::nullopt;
    }
}

bool Engine::write32(uint32_t off, uint32_t val) {
    std::lock_guard lock(mu_);
    if (engine_reset_wanted_ || device_reset_wanted_) return true;
    switch (off) {
        case VTTM_ENG_CTRL:
            enabled_ = val & VTTM_ENG_CTRL_ENABLE;
            if (val & VTTM_ENG_CTRL_RESET) {
                if (busy_)
                    engine_reset_wanted_ = true;
                else
                    apply_engine_reset();
            }
            break;
        case VTTM_ENG_RING_SIZE:
            if (enabled_ || !ring_size_ok(val)) return false;
            ring_.size = val;
            break;
        case VTTM_ENG_TAIL:
            ring_.tail = val;
            break;
        case VTTM_ENG_ANSWER: {
            const uint32_t answer = val & 0xffu;
            if (answer != VTTM_ENG_ANSWER_RETRY && answer != VTTM_ENG_ANSWER_FAIL) return false;
            if (!stalled_ || val >> 8 != stall_) break;
            stalled_ = false;
            give_up_ = answer == VTTM_ENG_ANSWER_FAIL;
            break;
        }
        case VTTM_ENG_STALL:
        case VTTM_ENG_STATUS:
        case VTTM_ENG_CLASS:
        case VTTM_ENG_HEAD:
        case VTTM_ENG_PACKETS:
            break;
        default:
            return false;
    }
    wake_.notify_one();
    return true;
}

bool Engine::write64(uint32_t off, uint64_t val, uint64_t mask) {
    switch (off) {
        case VTTM_ENG_RING_BASE_LO: {
            std::lock_guard lock(mu_);
            if (engine_reset_wanted_ || device_reset_wanted_) return true;
            if (enabled_) return false;
            ring_.base = ((ring_.base & ~mask) | (val & mask)) & ~uint64_t{VTTM_PAGE_SIZE - 1};
            return true;
        }
        case VTTM_ENG_LAST_FENCE_LO:
        case VTTM_ENG_BYTES_LO:
            return true;
        default:
            return false;
    }
}

EngineTotals Engine::totals() const {
    EngineTotals t;
    t.packets = packets_.load();
    t.bytes = bytes_.load();
    t.fences = fences_.load();
    t.busy_ns = busy_ns_.load();
    t.resets = resets_.load();
    t.mmu = mmu_.counters();
    return t;
}

}  // namespace vttm::model
