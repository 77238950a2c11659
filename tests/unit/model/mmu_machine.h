// SPDX-License-Identifier: Apache-2.0
// A machine for tests of the MMU: VM 1 with an empty page table is current on the copy engine.
#pragma once

#include <nlohmann/json.hpp>

#include "tests/unit/model/machine.h"

namespace vttm::model::test {

inline constexpr uint64_t kVa = 0x123456789000;

class MmuTest : public Machine {
protected:
    explicit MmuTest(uint32_t tlb_entries = 0) : Machine(tlb_entries) {
        setup_ring(0);
        setup_ring(1);
        root_ = make_vm(1);
        put_set_vm(0, 1);
        EXPECT_EQ(finish(0), 0u);
    }
    uint32_t fill(uint64_t va, uint32_t value) {
        return run(0, fill_packet(VTTM_SPACE_VM, va, 4, value));
    }
    uint32_t read_page(uint64_t va) {
        return run(0, copy_packet(VTTM_SPACE_SYSTEM, kResultAddr, VTTM_SPACE_VM, va, 4));
    }
    uint32_t word(uint64_t addr) { return *reinterpret_cast<uint32_t*>(bus_.ram(addr)); }
    void expect_fault(uint32_t got, vttm_fault_reason reason, bool write, uint64_t va) {
        EXPECT_EQ(got, reason);
        const uint32_t info = rd(VTTM_REG_FAULT_INFO);
        EXPECT_EQ(VTTM_FAULT_INFO_REASON(info), reason);
        EXPECT_EQ(VTTM_FAULT_INFO_ENGINE(info), 0u);
        EXPECT_EQ(!!(info & VTTM_FAULT_INFO_WRITE), write);
        EXPECT_EQ(VTTM_FAULT_INFO_VM(info), 1u);
        EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), va);
        clear_fault();
        EXPECT_EQ(rd(VTTM_REG_FAULT_STATUS), 0u);
    }
    uint32_t stale() { return rd(VTTM_REG_STALE_COUNT); }
    // A number of the model's statistics of the MMU.
    uint64_t mmu_stat(const char* name) {
        return nlohmann::json::parse(stats()).at("mmu").at(name).get<uint64_t>();
    }
    uint64_t root_;
};

}  // namespace vttm::model::test
