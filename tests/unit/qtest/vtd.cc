// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/qtest/vtd.h"

namespace vttm::qtest {

namespace {

// Registers of VT-d, and bits in them.
constexpr uint64_t kVtd = 0xfed90000;
constexpr uint64_t kExtended = kVtd + 0x10;
constexpr uint64_t kCommand = kVtd + 0x18;
constexpr uint64_t kStatus = kVtd + 0x1c;
constexpr uint64_t kRootAddress = kVtd + 0x20;
constexpr uint64_t kContextCommand = kVtd + 0x28;
constexpr uint64_t kFaultStatus = kVtd + 0x34;
constexpr uint64_t kFaultControl = kVtd + 0x38;
constexpr uint64_t kFaultData = kVtd + 0x3c;
constexpr uint64_t kFaultAddress = kVtd + 0x40;
constexpr uint64_t kFaultRecord = kVtd + 0x220;
constexpr uint32_t kTranslation = 1u << 31;
constexpr uint32_t kSetRoot = 1u << 30;
constexpr uint64_t kInvalidate = 1ull << 63;
constexpr uint64_t kSuperPage = 1u << 7;

// Its tables.
constexpr uint64_t kRoot = 0x1c0000;
constexpr uint64_t kContext = 0x1c1000;
constexpr uint64_t kLevel3 = 0x1c2000;
constexpr uint64_t kLevel2 = 0x1c3000;   // bus addresses below 1 GiB
constexpr uint64_t kLevel2B = 0x1c4000;  // from kIova on
constexpr uint64_t kLevel1 = 0x1c5000;   // the first 2 MiB of these

}  // namespace

void Vtd::AddTo(VmOptions& options) {
    options.more.insert(options.more.end(), {"-device", "intel-iommu"});
}

void Vtd::SwitchOn() {
    vm_.Write64(kRoot, kContext | 1);
    vm_.Write64(kContext + 16 * (kSlot << 3), kLevel3 | 1);
    vm_.Write64(kContext + 16 * (kSlot << 3) + 8, 1 << 8 | 1);  // domain 1, 39 bits
    vm_.Write64(kLevel3, kLevel2 | kVtdReadWrite);
    vm_.Write64(kLevel3 + 8, kLevel2B | kVtdReadWrite);
    for (uint64_t i = 0; i < 32; i++)
        vm_.Write64(kLevel2 + 8 * i, i * 2 * kMiB | kSuperPage | kVtdReadWrite);
    vm_.Write64(kLevel2B, kLevel1 | kVtdReadWrite);
    vm_.Write64(kRootAddress, kRoot);
    vm_.Write32(kCommand, kSetRoot);
    vm_.Write64(kContextCommand, kInvalidate | 1ull << 61);
    Invalidate();
    vm_.Write32(kCommand, kTranslation);
    if (!(vm_.Read32(kStatus) & kTranslation)) throw QemuError("the IOMMU is not on");
}

void Vtd::Invalidate() {
    const uint64_t offset = (vm_.Read64(kExtended) >> 8 & 0x3ff) * 16;
    vm_.Write64(kVtd + offset + 8, kInvalidate | 1ull << 60);
}

void Vtd::MapIova(unsigned n, uint64_t entry) { vm_.Write64(kLevel1 + 8 * n, entry); }

bool Vtd::has_denied() { return vm_.Read32(kFaultStatus) & 2; }

Vtd::Denied Vtd::TakeDenied() {
    const uint64_t hi = vm_.Read64(kFaultRecord + 8);
    const Denied denied{.recorded = hi >> 63 == 1,
                        .addr = vm_.Read64(kFaultRecord),
                        .source = static_cast<unsigned>(hi >> 3 & 0x1fff),
                        .read = (hi >> 62 & 1) == 1};
    vm_.Write64(kFaultRecord + 8, 1ull << 63);
    vm_.Write32(kFaultStatus, 1);
    return denied;
}

void Vtd::SetFaultMessage(uint32_t addr, uint32_t data) {
    vm_.Write32(kFaultAddress, addr);
    vm_.Write32(kFaultData, data);
    vm_.Write32(kFaultControl, 0);
}

}  // namespace vttm::qtest
