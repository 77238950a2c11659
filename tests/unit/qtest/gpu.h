// SPDX-License-Identifier: Apache-2.0
// The device as a driver sees it, and a fixture that starts a machine and brings it up.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <vector>

#include "protocol/vttm_packets.h"
#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"
#include "protocol/vttm_stamp.h"
#include "tests/unit/qtest/vm.h"

namespace vttm::qtest {

inline constexpr unsigned kSlot = 4;

// Where the test puts the BARs.
inline constexpr uint64_t kRegsBase = 0xe0000000;
inline constexpr uint64_t kMsixBase = 0xe0100000;
inline constexpr uint64_t kVramBase = 0x400000000;

// What is where in guest RAM.
inline constexpr uint64_t kRing = 0x100000;     // of engine 0; 64 KiB on: engine 1
inline constexpr uint64_t kFence = 0x180000;    // 64 bytes per engine
inline constexpr uint64_t kMessage = 0x190000;  // where MSI-X messages land, 16 bytes a vector
inline constexpr uint64_t kTables = 0x1a0000;   // page tables of VM 1
inline constexpr uint64_t kResult = 0x1b0000;   // STAMP_VERIFY
inline constexpr uint64_t kData = 0x200000;     // free for the test
inline constexpr uint32_t kRingSize = 0x1000;
// Capabilities in configuration space.
inline constexpr unsigned kCapPower = 0x01;
inline constexpr unsigned kCapExpress = 0x10;
inline constexpr unsigned kCapMsix = 0x11;
inline constexpr unsigned kCapAdvanced = 0x13;

inline constexpr uint32_t kMessageData = 0x4d534900;  // plus the vector

using Packet = std::vector<uint32_t>;

/// A packet: header and operands; 64-bit operands as Lo(x), Hi(x).
Packet MakePacket(uint32_t opcode, uint32_t flags, std::initializer_list<uint32_t> operands);
inline uint32_t Lo(uint64_t x) { return static_cast<uint32_t>(x); }
inline uint32_t Hi(uint64_t x) { return static_cast<uint32_t>(x >> 32); }

Packet Fill(uint32_t space, uint64_t addr, uint64_t len, uint32_t value);
Packet Copy(uint32_t dst_space, uint64_t dst, uint32_t src_space, uint64_t src, uint64_t len);
Packet SetVm(uint32_t vm);
Packet StampWrite(uint32_t space, uint64_t addr, uint32_t npages, const vttm_stamp_id& first);
Packet StampVerify(uint32_t space, uint64_t addr, uint32_t npages, const vttm_stamp_id& first);

class Gpu {
public:
    explicit Gpu(Vm& vm) : vm_(vm) {}
    /// The driver of @before, which has moved to @vm.
    Gpu(Vm& vm, const Gpu& before) : vm_(vm), seq_(before.seq_) {
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) tail_[e] = before.tail_[e];
    }

    /// Places the BARs, switches memory and bus mastering on.
    void MapBars();
    void SetBusMaster(bool on);
    /// Where the capability of this id is in configuration space; 0: there is none.
    unsigned Capability(unsigned id);
    /// Programs and switches on MSI-X: vector v writes kMessageData + v to kMessage + 16 * v.
    void EnableMsix();
    void MaskVector(unsigned vector, bool masked);
    bool VectorPending(unsigned vector);
    /// Waits until a message of @vector came, and takes it away.
    bool WaitMessage(unsigned vector, std::chrono::milliseconds timeout = kPatience);

    uint32_t Reg(uint32_t offset) { return vm_.Read32(kRegsBase + offset); }
    uint64_t Reg64(uint32_t offset) { return vm_.Read64(kRegsBase + offset); }
    void SetReg(uint32_t offset, uint32_t value) { vm_.Write32(kRegsBase + offset, value); }
    void SetReg64(uint32_t offset, uint64_t value) { vm_.Write64(kRegsBase + offset, value); }

    void StartEngine(unsigned engine);
    /// Maps virtual page i of VM 1 to entries[i] (an entry of vttm_pte.h's format).
    void MapPages(const std::vector<uint64_t>& entries);
    /// Puts @packets and a FENCE into the ring and rings the doorbell; returns the fence's number.
    uint64_t Submit(unsigned engine, const std::vector<Packet>& packets, uint32_t fence_flags = 0);
    bool WaitFence(unsigned engine, uint64_t seq, std::chrono::milliseconds timeout = kPatience);
    /// Submit() and WaitFence(); returns the fence's status (enum vttm_fault_reason).
    uint32_t Run(unsigned engine, const std::vector<Packet>& packets);

    uint32_t FaultReason() { return VTTM_FAULT_INFO_REASON(Reg(VTTM_REG_FAULT_INFO)); }
    void ClearFault() { SetReg(VTTM_REG_FAULT_STATUS, VTTM_FAULT_STATUS_VALID); }

private:
    Vm& vm_;
    uint64_t seq_ = 0;
    uint32_t tail_[VTTM_NUM_ENGINES] = {};
};

/// Skips when there is no QEMU to test.
class QtestBase : public ::testing::Test {
protected:
    void SetUp() override;
};

class QtestFixture : public QtestBase {
protected:
    /// Starts a machine with the device brought up, both engines and MSI-X on.
    void Start(const VmOptions& options = {});
    /// Starts a machine and leaves the device as after power-on.
    void StartCold(const VmOptions& options = {});
    /// What Start() does after StartCold(), and a driver after a reset.
    void BringUp();
    void SystemReset();
    /// Much work for both engines that is still under way when this returns.
    void KeepBusy();

    std::vector<uint8_t> VramFile(uint64_t offset, size_t size) const;
    void SetVramFile(uint64_t offset, const std::vector<uint8_t>& bytes) const;

    std::unique_ptr<Vm> vm;
    std::unique_ptr<Gpu> gpu;
};

}  // namespace vttm::qtest
