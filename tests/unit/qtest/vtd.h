// SPDX-License-Identifier: Apache-2.0
// The IOMMU of a machine that has `-device intel-iommu`, as a guest sets it up.
#pragma once

#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {

// Bits of an entry that leads the device to memory.
inline constexpr uint64_t kVtdRead = 1;
inline constexpr uint64_t kVtdReadWrite = 3;

/// Bus addresses from here on lead where the test says, those below to RAM as it lies.
inline constexpr uint64_t kIova = 1ull << 30;

class Vtd {
public:
    /// What a machine needs to have one.
    static void AddTo(VmOptions& options);

    explicit Vtd(Vm& vm) : vm_(vm) {}
    /// Makes its tables and switches the translation on. Throws QemuError.
    void SwitchOn();
    /// Makes it forget what it knows of them.
    void Invalidate();
    /// Page @n from kIova on: @entry is a place in RAM and rights, or 0.
    void MapIova(unsigned n, uint64_t entry);

    // What it says of an access that it has denied.
    struct Denied {
        bool recorded = false;
        uint64_t addr = 0;
        unsigned source = 0;  ///< the device's slot
        bool read = false;
    };
    bool has_denied();
    /// Takes the record away.
    Denied TakeDenied();
    /// Has it write @data to @addr for each access that it denies.
    void SetFaultMessage(uint32_t addr, uint32_t data);

private:
    Vm& vm_;
};

}  // namespace vttm::qtest
