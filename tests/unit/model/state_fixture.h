// SPDX-License-Identifier: Apache-2.0
// What the tests of a device that is saved and loaded share: where things lie, and stalls to move at.
#pragma once

#include <algorithm>

#include "tests/unit/model/state_machine.h"

namespace vttm::model::test {

inline constexpr auto V = VTTM_SPACE_VRAM;
inline constexpr auto S = VTTM_SPACE_SYSTEM;
inline constexpr auto M = VTTM_SPACE_VM;
inline constexpr uint64_t kVa = 0x10000000, kOther = 0x20000000, kListVa = 0x30000000;
inline constexpr uint64_t kSem = 0x3000, kIb = 0x10000, kRecords = 0x80000;
inline constexpr unsigned kPages = 8;

class State : public StateMachine {
protected:
    // Maps @n pages at @va to RAM at @addr, but for those that faults shall ask for.
    void map(uint64_t va, uint64_t addr, unsigned n, std::initializer_list<unsigned> holes = {}) {
        for (unsigned i = 0; i < n; i++)
            if (std::find(holes.begin(), holes.end(), i) == holes.end())
                tables_.set(root_, va + i * kPage, sys_pte(addr + i * kPage));
    }
    // The packet under way stalls at @va: moves, maps the page, lets it go on.
    void move_at_stall(unsigned e, uint64_t va, uint64_t pte) {
        ASSERT_TRUE(wait_status(e, VTTM_ENG_STATUS_STALLED)) << std::hex << va;
        ASSERT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), va);
        migrate();
        ASSERT_TRUE(eng(e, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED);
        clear_fault();
        tables_.set(root_, va & ~(kPage - 1), pte);
        answer(e, VTTM_ENG_ANSWER_RETRY);
    }
    void done(unsigned e, uint32_t status = 0) {
        ASSERT_TRUE(wait_for([&] { return last_fence(e) == seq_; }));
        EXPECT_EQ(fence_status(), status);
    }
    uint64_t word(uint64_t addr) {
        return __atomic_load_n(reinterpret_cast<uint64_t*>(bus_.ram(addr)), __ATOMIC_ACQUIRE);
    }
    void set_word(uint64_t addr, uint64_t v) {
        __atomic_store_n(reinterpret_cast<uint64_t*>(bus_.ram(addr)), v, __ATOMIC_RELEASE);
    }
};

}  // namespace vttm::model::test
