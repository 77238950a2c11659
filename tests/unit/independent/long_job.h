// SPDX-License-Identifier: Apache-2.0
// Work that takes long on any machine and needs little memory: 1 GiB of addresses, all leading to
// the same 2 MiB.
#pragma once

#include "tests/unit/independent/address_space.h"

namespace vttm::independent {

class LongJob {
public:
    static constexpr uint64_t kVa = 1ull << 40;

    LongJob(Device& device, uint32_t vm) : space_(device, vm) {
        const Place memory = Vram(device.AllocVram(2 << 20, 2 << 20));
        const Place table = space_.NewTable();
        for (uint64_t i = 0; i < VTTM_PT_ENTRIES; i++) {
            device.Write64(table + i * 8,
                           AddressSpace::Pointer(memory, VTTM_PTE_WRITE | VTTM_PTE_LARGE));
        }
        for (uint64_t i = 0; i < 4; i++)
            space_.Set(kVa + (i << 30), 2, AddressSpace::Pointer(table));
    }
    /// Fills of @gib (1 to 4) GiB each, @times.
    Program Fills(uint64_t gib, int times = 1) const {
        Program p = Program().SetVm(space_.vm());
        for (int i = 0; i < times; i++) p.Fill(Virtual(kVa), gib << 30, 0x10101010);
        return p;
    }

private:
    AddressSpace space_;
};

}  // namespace vttm::independent
