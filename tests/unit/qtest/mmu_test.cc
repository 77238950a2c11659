// SPDX-License-Identifier: Apache-2.0
// Large leaves, the fault ring and retryable faults in a real QEMU, driven by the specification.
#include <cstring>

#include "protocol/vttm_fault.h"
#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

using ::testing::Values;

constexpr uint64_t kRamSize = 64 * kMiB;
constexpr uint64_t kFaultRing = kData;
constexpr uint32_t kNotValid = VTTM_FAULT_NOT_VALID;

class Mmu : public QtestFixture {
protected:
    void StartRing(uint64_t base) {
        gpu->SetReg(VTTM_REG_FAULT_RING_CTRL, 0);
        gpu->SetReg64(VTTM_REG_FAULT_RING_BASE_LO, base);
        gpu->SetReg(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
        gpu->SetReg(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    }
    vttm_fault_record Record(uint32_t n) {
        vttm_fault_record rec;
        const auto bytes = vm->ReadBytes(kFaultRing + n * sizeof(rec), sizeof(rec));
        std::memcpy(&rec, bytes.data(), sizeof(rec));
        return rec;
    }
};

TEST_F(Mmu, LeavesOf2MAnd64K) {
    Start();
    gpu->MapPages({});  // tables alone; those of levels 3 to 0 lie behind each other
    const uint64_t level1 = kTables + VTTM_PAGE_SIZE, level0 = kTables;
    const uint64_t flags =
        VTTM_PTE_VALID | VTTM_PTE_WRITE | VTTM_PTE_SYSTEM | VTTM_PTE_LARGE;
    const uint64_t big = 32 * kMiB, small = 40 * kMiB;
    for (uint64_t i = 0; i < VTTM_LEAF_64K_ENTRIES; i++)
        vm->Write64(level0 + 8 * i, (small + i * VTTM_PAGE_SIZE) | flags);
    vm->Write64(level1 + 8, big | flags);
    // The last 4 bytes of the one and the first of the other; and what lies between is not mapped.
    const uint64_t in_small = (1 << VTTM_LEAF_64K_SHIFT) - 4, in_big = 2 * kMiB;
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SetVm(1), Fill(VTTM_SPACE_VM, in_small, 4, 0x1234)}), 0u);
    EXPECT_EQ(vm->Read32(small + in_small), 0x1234u);
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VM, in_big, 2 * kMiB, 0x5678)}), 0u);
    EXPECT_EQ(vm->Read32(big), 0x5678u);
    EXPECT_EQ(vm->Read32(big + 2 * kMiB - 4), 0x5678u);
    EXPECT_EQ(vm->Read32(big + 2 * kMiB), 0u);
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VM, in_small + 4, 4, 1)}), kNotValid);
    EXPECT_EQ(gpu->Reg(VTTM_REG_STALE_COUNT), 0u);
}

struct RingTarget {
    const char* name;
    uint64_t addr;
};
void PrintTo(const RingTarget& target, std::ostream* os) { *os << target.name; }

class FaultRingRefused : public Mmu, public ::testing::WithParamInterface<RingTarget> {};

// Where there is no RAM the ring loses its records, and the device nothing else.
TEST_P(FaultRingRefused, LosesRecordsOnly) {
    Start();
    gpu->MapPages({});
    StartRing(GetParam().addr);
    const uint32_t bad_access = gpu->Reg(VTTM_REG_BAD_ACCESS);
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SetVm(1), Fill(VTTM_SPACE_VM, 0x5000, 4, 1)}), kNotValid);
    EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_RING_PUT), 0u);
    EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_RING_LOST), 1u);
    EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_COUNT), 1u);
    EXPECT_EQ(gpu->Reg(VTTM_REG_BAD_ACCESS), bad_access) << "no register of its own was written";
    EXPECT_EQ(VramFile(kMiB, 64), std::vector<uint8_t>(64, 0));

    StartRing(kFaultRing);
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VM, 0x6004, 4, 1)}), kNotValid);
    ASSERT_EQ(gpu->Reg(VTTM_REG_FAULT_RING_PUT), 1u);
    const vttm_fault_record rec = Record(0);
    EXPECT_EQ(rec.addr, 0x6004u);
    EXPECT_EQ(VTTM_FAULT_INFO_REASON(rec.info), kNotValid);
    EXPECT_EQ(VTTM_FAULT_INFO_VM(rec.info), 1u);
    EXPECT_TRUE(rec.info & VTTM_FAULT_INFO_WRITE);
}

INSTANTIATE_TEST_SUITE_P(Where, FaultRingRefused,
                         Values(RingTarget{"OwnRegisters", kRegsBase},
                                RingTarget{"OwnVram", kVramBase + kMiB},
                                RingTarget{"OwnMsixTable", kMsixBase},
                                RingTarget{"OtherMmio", 0xfed00000},  // HPET
                                RingTarget{"Hole", 0xd0000000}, RingTarget{"EndOfRam", kRamSize}),
                         [](const auto& info) { return info.param.name; });

TEST_F(Mmu, AStalledEngineIsAnsweredWithTheRecordsNumber) {
    Start();
    gpu->EnableMsix();
    gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ERROR);
    gpu->MapPages({});
    StartRing(kFaultRing);
    gpu->SetReg(VTTM_REG_VM_MODE(1), VTTM_VM_MODE_RETRY);
    const uint64_t page = 3 * VTTM_PAGE_SIZE, memory = 48 * kMiB;
    const uint64_t seq =
        gpu->Submit(VTTM_ENGINE_COPY, {SetVm(1), Fill(VTTM_SPACE_VM, page, 64, 0xabcd)});
    ASSERT_TRUE(gpu->WaitMessage(VTTM_MSIX_ERROR));
    ASSERT_EQ(gpu->Reg(VTTM_REG_FAULT_RING_PUT), 1u);
    const uint32_t status = VTTM_ENGINE_BASE(VTTM_ENGINE_COPY) + VTTM_ENG_STATUS;
    EXPECT_EQ(gpu->Reg(status), VTTM_ENG_STATUS_STALLED);
    EXPECT_FALSE(gpu->WaitFence(VTTM_ENGINE_COPY, seq, std::chrono::milliseconds(50)));
    vm->Write64(kTables + 8 * 3, memory | VTTM_PTE_VALID | VTTM_PTE_WRITE | VTTM_PTE_SYSTEM);
    gpu->SetReg(VTTM_ENGINE_BASE(VTTM_ENGINE_COPY) + VTTM_ENG_ANSWER,
                VTTM_ENG_ANSWER_VAL(Record(0).stall, VTTM_ENG_ANSWER_RETRY));
    ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, seq));
    EXPECT_EQ(vm->Read32(memory + 60), 0xabcdu);
    EXPECT_EQ(vm->Read32(kFence + 8), 0u) << "the job never failed";
}

}  // namespace
}  // namespace vttm::qtest
