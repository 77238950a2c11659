// SPDX-License-Identifier: Apache-2.0
// The registers of one ring, and how the engine reaches them.
#include "host-backend/model/engine.h"

namespace vttm::model {

namespace {
constexpr uint32_t kResets = VTTM_ENG_CTRL_RESET | VTTM_ENG_CTRL_RING_RESET;
}

std::optional<uint32_t> RingContext::read32(uint32_t off, bool resetting) const {
    switch (off) {
        case VTTM_ENG_CTRL:
            return enabled_ ? VTTM_ENG_CTRL_ENABLE : 0;
        case VTTM_ENG_STATUS:
            return (ring_.head == ring_.tail && !packet_open_ && !in_ib_ ? VTTM_ENG_STATUS_IDLE : 0) |
                   (halted_ ? VTTM_ENG_STATUS_HALTED : 0) |
                   (stalled_ && stall_told_ ? VTTM_ENG_STATUS_STALLED : 0) |
                   (waiting_ && enabled_ ? VTTM_ENG_STATUS_WAITING : 0) |
                   (resetting ? VTTM_ENG_STATUS_RESETTING : 0);
        case VTTM_ENG_CLASS:
            return core_.cls;
        case VTTM_ENG_RING_SIZE:
            return ring_.size;
        case VTTM_ENG_HEAD:
            return ring_.head;
        case VTTM_ENG_TAIL:
            return ring_.tail;
        case VTTM_ENG_STALL:
            return stall_;
        case VTTM_ENG_PRIORITY:
            return priority_;
        case VTTM_ENG_ANSWER:
            return 0;
        case VTTM_ENG_PACKETS:
            return static_cast<uint32_t>(core_.packets.load() - core_.packets_at_reset.load());
        default:
            return std::nullopt;
    }
}

std::optional<uint64_t> RingContext::read64(uint32_t off) const {
    switch (off) {
        case VTTM_ENG_RING_BASE_LO:
            return ring_.base;
        case VTTM_ENG_LAST_FENCE_LO:
            return last_fence_.load(std::memory_order_acquire);
        case VTTM_ENG_BYTES_LO:
            return core_.bytes.load() - core_.bytes_at_reset.load();
        default:
            return std::nullopt;
    }
}

bool RingContext::write32(uint32_t off, uint32_t val) {
    switch (off) {
        case VTTM_ENG_CTRL:
            enabled_ = val & VTTM_ENG_CTRL_ENABLE;
            look_again_ = true;
            return true;
        case VTTM_ENG_RING_SIZE:
            if (enabled_ || !ring_size_ok(val)) return false;
            ring_.size = val;
            return true;
        case VTTM_ENG_TAIL:
            ring_.tail = val;
            look_again_ = true;
            return true;
        case VTTM_ENG_PRIORITY:
            if (val > VTTM_PRIORITY_MAX) return false;
            priority_ = val;
            return true;
        case VTTM_ENG_ANSWER: {
            const uint32_t answer = val & 0xffu;
            if (answer != VTTM_ENG_ANSWER_RETRY && answer != VTTM_ENG_ANSWER_FAIL) return false;
            if (!stalled_ || val >> 8 != stall_) return true;
            stalled_ = false;
            give_up_ = answer == VTTM_ENG_ANSWER_FAIL;
            return true;
        }
        case VTTM_ENG_STALL:
        case VTTM_ENG_STATUS:
        case VTTM_ENG_CLASS:
        case VTTM_ENG_HEAD:
        case VTTM_ENG_PACKETS:
            return true;
        default:
            return false;
    }
}

bool RingContext::write64(uint32_t off, uint64_t val, uint64_t mask) {
    switch (off) {
        case VTTM_ENG_RING_BASE_LO:
            if (enabled_) return false;
            ring_.base = ((ring_.base & ~mask) | (val & mask)) & ~uint64_t{VTTM_PAGE_SIZE - 1};
            return true;
        case VTTM_ENG_LAST_FENCE_LO:
        case VTTM_ENG_BYTES_LO:
            return true;
        default:
            return false;
    }
}

std::optional<uint32_t> Engine::read32(unsigned ring, uint32_t off) const {
    std::lock_guard lock(mu());
    const bool resetting = reset_wanted_ & (1u << ring) || device_reset_wanted_;
    return rings_[ring]->read32(off, resetting);
}

std::optional<uint64_t> Engine::read64(unsigned ring, uint32_t off) const {
    std::lock_guard lock(mu());
    return rings_[ring]->read64(off);
}

// Before the lock is taken, for it calls out; so a reset is told when it is asked for.
void Engine::trace_write(unsigned ring, uint32_t off, uint32_t val) const {
    const Tracer& trace = core_.shared.trace;
    if (off == VTTM_ENG_TAIL) trace.engine(VTTM_TRACE_TAIL, core_.index, ring, val);
    if (off != VTTM_ENG_CTRL || !(val & kResets)) return;
    const uint32_t rings = val & VTTM_ENG_CTRL_RESET ? kAllRings : 1u << ring;
    trace.engine(VTTM_TRACE_RESET, core_.index, ring, rings);
}

// While a ring is being reset it takes no writes.
bool Engine::write32(unsigned ring, uint32_t off, uint32_t val) {
    trace_write(ring, off, val);
    std::lock_guard lock(mu());
    if (reset_wanted_ & (1u << ring) || device_reset_wanted_) return true;
    const uint32_t reset = off == VTTM_ENG_CTRL ? val & kResets : 0;
    if (reset & VTTM_ENG_CTRL_RESET && ring) return false;
    if (!rings_[ring]->write32(off, val)) return false;
    if (reset & VTTM_ENG_CTRL_RESET) {
        for (unsigned r = 1; r < kRings; r++) rings_[r]->disable();
        request_ring_reset(kAllRings);
    } else if (reset) {
        request_ring_reset(1u << ring);
    }
    if (!paused_) wake_.notify_one();  // else resume() does
    return true;
}

bool Engine::write64(unsigned ring, uint32_t off, uint64_t val, uint64_t mask) {
    std::lock_guard lock(mu());
    if (reset_wanted_ & (1u << ring) || device_reset_wanted_) return true;
    return rings_[ring]->write64(off, val, mask);
}

}  // namespace vttm::model
