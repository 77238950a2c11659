// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/independent/pci.h"

#include <stdexcept>

namespace vttm::independent {
namespace {

// PCI Local Bus Specification 3.0, chapter 6.
constexpr uint16_t kConfigAddress = 0xcf8, kConfigData = 0xcfc;
constexpr uint8_t kCommand = 0x04, kStatus = 0x06, kBar0 = 0x10, kCapabilities = 0x34;
constexpr uint8_t kCapMsix = 0x11;
constexpr unsigned kMsixEntry = 16, kMsixVectorControl = 12;

}  // namespace

std::optional<PciFunction> PciFunction::Find(Wire& wire, uint16_t vendor, uint16_t device) {
    for (unsigned slot = 0; slot < 32; slot++) {
        PciFunction f(wire, slot);
        if (f.Read(2, 0) == vendor && f.Read(2, 2) == device) return f;
    }
    return std::nullopt;
}

void PciFunction::Select(uint8_t offset) const {
    wire_->Out(4, kConfigAddress, 0x80000000u | slot_ << 11 | (offset & 0xfcu));
}

uint32_t PciFunction::Read(unsigned bytes, uint8_t offset) const {
    Select(offset);
    return static_cast<uint32_t>(wire_->In(bytes, kConfigData + (offset & 3)));
}

void PciFunction::Write(unsigned bytes, uint8_t offset, uint32_t value) {
    Select(offset);
    wire_->Out(bytes, kConfigData + (offset & 3), value);
}

void PciFunction::PlaceBars(uint64_t base) {
    for (uint8_t i = 0; i < 6; i++) {
        const auto at = static_cast<uint8_t>(kBar0 + 4 * i);
        const uint32_t was = Read(4, at);
        Write(4, at, ~0u);
        uint64_t mask = Read(4, at);
        if (mask == 0 || was & 1) continue;  // absent, or ports
        Bar& bar = bars_[i];
        bar.is_64_bit = (was & 6) == 4;
        bar.prefetchable = was & 8;
        uint64_t high = 0xffffffffull << 32;
        if (bar.is_64_bit) {
            Write(4, static_cast<uint8_t>(at + 4), ~0u);
            high = static_cast<uint64_t>(Read(4, static_cast<uint8_t>(at + 4))) << 32;
        }
        bar.size = ~(high | (mask & ~0xfull)) + 1;
        base = (base + bar.size - 1) & ~(bar.size - 1);
        bar.address = base;
        base += bar.size;
        Write(4, at, static_cast<uint32_t>(bar.address));
        if (bar.is_64_bit) {
            Write(4, static_cast<uint8_t>(at + 4), static_cast<uint32_t>(bar.address >> 32));
            i++;
        }
    }
}

uint8_t PciFunction::Capability(uint8_t id) const {
    if (!(Read(2, kStatus) & 0x10)) return 0;
    auto at = static_cast<uint8_t>(Read(1, kCapabilities) & 0xfc);
    for (unsigned n = 0; at && n < 48; n++) {
        if (Read(1, at) == id) return at;
        at = static_cast<uint8_t>(Read(1, static_cast<uint8_t>(at + 1)) & 0xfc);
    }
    return 0;
}

void PciFunction::Command(bool memory, bool bus_master) {
    Write(2, kCommand, (memory ? 2u : 0u) | (bus_master ? 4u : 0u));
}

unsigned PciFunction::MsixVectors() const {
    const uint8_t cap = Capability(kCapMsix);
    return cap ? (Read(2, static_cast<uint8_t>(cap + 2)) & 0x7ff) + 1 : 0;
}

uint64_t PciFunction::MsixTable() const {
    const uint32_t where = Read(4, static_cast<uint8_t>(Capability(kCapMsix) + 4));
    return bars_.at(where & 7).address + (where & ~7u);
}

void PciFunction::EnableMsix(uint64_t mailbox) {
    const uint8_t cap = Capability(kCapMsix);
    if (!cap) throw std::runtime_error("the device has no MSI-X");
    const uint64_t table = MsixTable();
    for (unsigned v = 0; v < MsixVectors(); v++) {
        wire_->Store(4, table + v * kMsixEntry, static_cast<uint32_t>(mailbox + 4 * v));
        wire_->Store(4, table + v * kMsixEntry + 4, static_cast<uint32_t>((mailbox + 4 * v) >> 32));
        wire_->Store(4, table + v * kMsixEntry + 8, v + 1);
        wire_->Store(4, table + v * kMsixEntry + kMsixVectorControl, 0);
    }
    Write(2, static_cast<uint8_t>(cap + 2), 0x8000);
}

void PciFunction::MaskMsix(unsigned vector, bool masked) {
    wire_->Store(4, MsixTable() + vector * kMsixEntry + kMsixVectorControl, masked);
}

bool PciFunction::MsixPending(unsigned vector) const {
    const uint32_t where = Read(4, static_cast<uint8_t>(Capability(kCapMsix) + 8));
    const uint64_t bits = wire_->Load(8, bars_.at(where & 7).address + (where & ~7u));
    return bits >> vector & 1;
}

}  // namespace vttm::independent
