// SPDX-License-Identifier: Apache-2.0
// Keeps register writes and resets of the whole device apart: a write falls wholly before a reset,
// which then wipes out what it did, or it is ignored. Without this a write that was on its way while
// the engines were reset one after the other would take hold in some parts of the device only.
//
// It is no lock. Nobody stands at it, and a write may call out to the bus: a reset that finds writes
// under way is left to the last of them to start.
#pragma once

#include <atomic>
#include <cstdint>

namespace vttm::model {

class ResetGate {
public:
    // Of a register write, which may nest (a callback of it writes, too). false: ignore it.
    bool enter() {
        uint32_t now = state_.load();
        do {
            if (now & kClosed) return false;
        } while (!state_.compare_exchange_weak(now, now + 1));
        return true;
    }
    // true: the caller has to start the reset that came meanwhile.
    bool leave() { return state_.fetch_sub(1) == (kClosed | 1); }

    // Of a reset: no write comes in from here on.
    enum class Close { already, start, left_to_a_write };
    Close close() {
        const uint32_t was = state_.fetch_or(kClosed);
        if (was & kClosed) return Close::already;
        return was ? Close::left_to_a_write : Close::start;
    }
    // The reset is done.
    void open() { state_.fetch_and(~kClosed); }
    bool closed() const { return state_.load() & kClosed; }

private:
    static constexpr uint32_t kClosed = 1u << 31;  // below it: how many writes are under way

    std::atomic<uint32_t> state_{0};
};

}  // namespace vttm::model
