// SPDX-License-Identifier: Apache-2.0
// A machine whose two engines have VM 5 current, random bytes in free RAM, and a way to say "this packet
// must fail, with that reason, and no more".
#pragma once

#include <random>

#include "tests/unit/model/machine.h"
#include "tests/unit/model/packets.h"

namespace vttm::model::test {

class FaultMachine : public Machine {
protected:
    static constexpr uint32_t kVm = 5;

    FaultMachine() {
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) setup_ring(e);
        root_ = make_vm(kVm);
        std::mt19937_64 rng(1);
        auto* w = reinterpret_cast<uint64_t*>(bus_.ram(kFree));
        for (uint64_t i = 0; i < (kRamSize - kFree) / 8; i++) w[i] = rng();
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
            put_set_vm(e, kVm);
            EXPECT_EQ(finish(e), 0u);
        }
    }
    // The fault's address counts only if it is given.
    template <typename T>
    void expect_fault(unsigned e, const T& packet, vttm_fault_reason reason, uint64_t addr = ~0ull) {
        const uint32_t count = rd(VTTM_REG_FAULT_COUNT);
        clear_fault();
        EXPECT_EQ(run(e, packet), reason);
        EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), count + 1);
        EXPECT_EQ(fault_reason(), reason);
        const uint32_t info = rd(VTTM_REG_FAULT_INFO);
        EXPECT_EQ(VTTM_FAULT_INFO_ENGINE(info), e);
        EXPECT_EQ(VTTM_FAULT_INFO_VM(info), kVm);
        if (addr != ~0ull) {
            EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), addr);
        }
        put(e, {VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1)});
        EXPECT_EQ(finish(e), 0u) << "the FENCE has cleared the error";
    }
    // Answers stalls of @e: maps the page at each address that faults, in order, and demands that
    // these are the addresses; then waits for the fence @seq.
    void cure_stalls(unsigned e, std::initializer_list<std::pair<uint64_t, uint64_t>> pages,
                     uint64_t seq) {
        for (auto [va, pte] : pages) {
            const uint32_t stall = ++stalls_[e];
            ASSERT_TRUE(wait_for([&] { return eng(e, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED; }))
                << std::hex << va;
            ASSERT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), va);
            ASSERT_EQ(eng(e, VTTM_ENG_STALL), stall);
            clear_fault();
            tables_.set(root_, va & ~(kPage - 1), pte);
            eng_wr(e, VTTM_ENG_ANSWER, VTTM_ENG_ANSWER_VAL(stall, VTTM_ENG_ANSWER_RETRY));
        }
        ASSERT_TRUE(wait_for(
            [&] { return rd64(VTTM_ENGINE_BASE(e) + VTTM_ENG_LAST_FENCE_LO) == seq; }));
    }
    uint32_t fence_status() {
        return reinterpret_cast<vttm_fence_value*>(bus_.ram(kFenceAddr))->status;
    }
    uint64_t bytes(unsigned e) { return rd64(VTTM_ENGINE_BASE(e) + VTTM_ENG_BYTES_LO); }
    uint64_t root_;
    uint32_t stalls_[VTTM_NUM_ENGINES] = {};
};

}  // namespace vttm::model::test
