// SPDX-License-Identifier: Apache-2.0
// What firmware and an operating system's PCI core would do: find the device, give its BARs
// addresses, set up MSI-X.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "tests/unit/independent/wire.h"

namespace vttm::independent {

struct Bar {
    uint64_t address = 0;
    uint64_t size = 0;
    bool is_64_bit = false;
    bool prefetchable = false;
};

class PciFunction {
public:
    /// The function of bus 0 with these ids, by configuration mechanism 1 (ports 0xcf8 and 0xcfc).
    static std::optional<PciFunction> Find(Wire& wire, uint16_t vendor, uint16_t device);

    uint32_t Read(unsigned bytes, uint8_t offset) const;
    void Write(unsigned bytes, uint8_t offset, uint32_t value);

    /// Sizes all memory BARs and places them from @base on.
    void PlaceBars(uint64_t base);
    const Bar& bar(unsigned index) const { return bars_.at(index); }
    /// Offset of a capability in configuration space; 0: none.
    uint8_t Capability(uint8_t id) const;
    void Command(bool memory, bool bus_master);

    unsigned MsixVectors() const;
    /// Lets each vector v write v + 1 to @mailbox + 4 * v instead of to an interrupt controller.
    void EnableMsix(uint64_t mailbox);
    void MaskMsix(unsigned vector, bool masked);
    bool MsixPending(unsigned vector) const;

private:
    PciFunction(Wire& wire, unsigned slot) : wire_(&wire), slot_(slot) {}
    void Select(uint8_t offset) const;
    uint64_t MsixTable() const;

    Wire* wire_;
    unsigned slot_;
    std::array<Bar, 6> bars_{};
};

}  // namespace vttm::independent
