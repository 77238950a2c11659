// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/independent/device.h"

#include <fmt/format.h>

#include <chrono>
#include <stdexcept>
#include <thread>

namespace vttm::independent {
namespace {

constexpr uint64_t kBarBase = 0xe0000000;  // within q35's PCI hole

PciFunction FindDevice(Wire& wire) {
    auto found = PciFunction::Find(wire, VTTM_PCI_VENDOR_ID, VTTM_PCI_DEVICE_ID);
    if (!found) throw std::runtime_error("no vttm device on bus 0");
    return *found;
}

uint64_t Take(uint64_t& next, uint64_t bytes, uint64_t align, uint64_t end) {
    const uint64_t at = (next + align - 1) & ~(align - 1);
    if (at + bytes > end) throw std::runtime_error("the test's memory is used up");
    next = at + bytes;
    return at;
}

}  // namespace

bool Poll(const std::function<bool()>& done, int milliseconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
    while (!done()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::microseconds(100));
    }
    return true;
}

Device::Device(Wire& wire) : wire_(wire), pci_(FindDevice(wire)) {
    pci_.PlaceBars(kBarBase);
    pci_.Command(true, true);
    regs_ = pci_.bar(VTTM_BAR_REGS).address;
    aperture_ = pci_.bar(VTTM_BAR_VRAM).address;
    if (Rd(VTTM_REG_MAGIC) != VTTM_MAGIC) throw std::runtime_error("MAGIC is not vttm's");
    if (Rd(VTTM_REG_ABI) >> 16 != VTTM_ABI_MAJOR) throw std::runtime_error("unknown major ABI");
    if (!Reset()) throw std::runtime_error("the device does not come out of reset");
    features_ = Rd64(VTTM_REG_FEATURES_LO);
    vram_size_ = Rd64(VTTM_REG_VRAM_SIZE_LO);
    vram_visible_ = Rd64(VTTM_REG_VRAM_VISIBLE_LO);
    mailbox_ = AllocSystem(VTTM_PAGE_SIZE);
    pci_.EnableMsix(mailbox_);
}

bool Device::Reset() {
    Wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    issued_ = 0;
    fault_get_ = 0;
    fault_records_ = 0;
    return Poll([&] { return !(Rd(VTTM_REG_DEV_STATUS) & VTTM_DEV_STATUS_RESETTING); }, 10000);
}

uint64_t Device::AllocSystem(uint64_t bytes, uint64_t align) {
    return Take(next_system_, bytes, align, wire_.config().ram);
}

uint64_t Device::AllocVram(uint64_t bytes, uint64_t align) {
    return Take(next_vram_, bytes, align, vram_visible_);
}

Place Device::AllocPlace(uint32_t space, uint64_t bytes, uint64_t align) {
    if (space == VTTM_SPACE_VRAM) return Vram(AllocVram(bytes, align));
    return System(AllocSystem(bytes, align));
}

uint64_t Device::CpuAddress(Place at) const {
    if (at.space == VTTM_SPACE_SYSTEM) return at.address;
    if (at.space != VTTM_SPACE_VRAM) throw std::invalid_argument("the CPU has no GPU addresses");
    if (at.address >= vram_visible_) throw std::invalid_argument("VRAM beyond the aperture");
    return aperture_ + at.address;
}

std::vector<uint8_t> Device::Read(Place at, size_t bytes) {
    return wire_.Read(CpuAddress(at), bytes);
}
void Device::Write(Place at, std::span<const uint8_t> bytes) { wire_.Write(CpuAddress(at), bytes); }
uint64_t Device::Read64(Place at) { return wire_.Load(8, CpuAddress(at)); }
void Device::Write64(Place at, uint64_t value) { wire_.Store(8, CpuAddress(at), value); }

bool Device::Invalidate(uint32_t scope, uint32_t vm, uint64_t va, uint32_t pages) {
    if (scope == VTTM_TLB_INV_RANGE) {
        Wr64(VTTM_REG_TLB_INV_START_LO, va);
        Wr(VTTM_REG_TLB_INV_PAGES, pages);
    }
    Wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(scope, vm));
    issued_++;
    return Poll([&] { return static_cast<int32_t>(Rd(VTTM_REG_TLB_INV_DONE) - issued_) >= 0; });
}

void Device::EnableFaultRing(uint32_t bytes) {
    fault_ring_ = AllocSystem(bytes);
    fault_records_ = bytes / VTTM_FAULT_RECORD_SIZE;
    fault_get_ = 0;
    Wr64(VTTM_REG_FAULT_RING_BASE_LO, fault_ring_);
    Wr(VTTM_REG_FAULT_RING_SIZE, bytes);
    Wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
}

bool Device::DisableFaultRing() {
    Wr(VTTM_REG_FAULT_RING_CTRL, 0);
    return Poll([&] { return !(Rd(VTTM_REG_FAULT_RING_CTRL) & VTTM_FAULT_RING_CTRL_BUSY); });
}

std::vector<vttm_fault_record> Device::TakeFaults() {
    std::vector<vttm_fault_record> out;
    if (!fault_records_) throw std::logic_error("the fault ring is off");
    const uint32_t put = Rd(VTTM_REG_FAULT_RING_PUT);
    for (; fault_get_ != put; fault_get_++) {
        const uint64_t slot = fault_get_ % fault_records_;
        out.push_back(
            ReadAs<vttm_fault_record>(System(fault_ring_ + slot * VTTM_FAULT_RECORD_SIZE)));
    }
    Wr(VTTM_REG_FAULT_RING_GET, fault_get_);
    return out;
}

bool Device::TakeInterrupt(unsigned v) {
    const uint64_t at = mailbox_ + 4 * v;
    const uint64_t got = wire_.Load(4, at);
    if (!got) return false;  // and no write, which could wipe out one that comes just now
    wire_.Store(4, at, 0);
    if (got != v + 1) throw std::runtime_error(fmt::format("vector {} wrote {}", v, got));
    return true;
}

}  // namespace vttm::independent
