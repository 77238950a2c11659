// SPDX-License-Identifier: Apache-2.0
// Indirect buffers, semaphores and further rings in a real QEMU, driven by the specification.
#include <cstring>

#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

constexpr uint64_t kPage = VTTM_PAGE_SIZE;
constexpr uint64_t kLeaf = VTTM_PTE_VALID | VTTM_PTE_WRITE | VTTM_PTE_SYSTEM;
constexpr uint32_t kVm = VTTM_SPACE_VM;
constexpr vttm_stamp_id kId{.key = 0x0123456789abcdef, .page = 7, .buffer = 42, .generation = 3};

// Virtual pages of VM 1, and where they lie.
constexpr uint64_t kBuffers = 0, kWords = kPage, kFrom = 2 * kPage, kTo = 4 * kPage;
constexpr uint64_t kBuffersRam = kData, kWordsRam = kData + 8 * kPage;

Packet Signal(uint64_t addr, uint64_t value) {
    return MakePacket(VTTM_OP_SEM_SIGNAL, VTTM_PKT_DST(kVm),
                      {Lo(addr), Hi(addr), Lo(value), Hi(value)});
}
Packet Wait(uint64_t addr, uint64_t value) {
    return MakePacket(VTTM_OP_SEM_WAIT, VTTM_PKT_DST(kVm),
                      {Lo(addr), Hi(addr), Lo(value), Hi(value), VTTM_CMP_GE});
}

class Indirect : public QtestFixture {
protected:
    void StartMapped() {
        Start();
        gpu->MapPages({kBuffersRam | kLeaf, kWordsRam | kLeaf, (kData + 16 * kPage) | kLeaf,
                       (kData + 20 * kPage) | kLeaf, (kData + 24 * kPage) | kLeaf,
                       (2 * kMiB) | VTTM_PTE_VALID | VTTM_PTE_WRITE});
    }
    /// Writes @packets to @at of the page of buffers; the packet that runs them as user space's.
    Packet Buffer(uint64_t at, const std::vector<Packet>& packets) {
        std::vector<uint32_t> words;
        for (const Packet& p : packets) words.insert(words.end(), p.begin(), p.end());
        vm->WriteWords(kBuffersRam + at, words);
        const uint64_t va = kBuffers + at;
        return MakePacket(VTTM_OP_INDIRECT, VTTM_PKT_DST(kVm) | VTTM_PKT_FLAG_UNPRIVILEGED,
                          {Lo(va), Hi(va), static_cast<uint32_t>(words.size())});
    }
    bool WaitStatus(uint32_t block, uint32_t status) {
        const auto end = std::chrono::steady_clock::now() + kPatience;
        while (gpu->Reg(block + VTTM_ENG_STATUS) != status)
            if (std::chrono::steady_clock::now() > end) return false;
        return true;
    }
    uint32_t FenceStatus(unsigned engine) {
        return vm->Read32(kFence + 64 * engine + offsetof(vttm_fence_value, status));
    }
};

// The stamp engine writes two pages, the copy engine copies them, the stamp engine verifies the
// copy: ordered by semaphores alone, both in buffers without privilege.
TEST_F(Indirect, EnginesHandWorkToEachOther) {
    StartMapped();
    const Packet copy = Buffer(0, {Wait(kWords, 1), Copy(kVm, kTo, kVm, kFrom, 2 * kPage),
                                   Signal(kWords + 8, 1)});
    Packet verify = StampVerify(kVm, kTo, 2, kId);
    verify[0] = VTTM_PKT_HDR(VTTM_OP_STAMP_VERIFY, 0, verify.size());
    verify[10] = Lo(kWords + 0x100);
    verify[11] = 0;
    Packet write = StampWrite(kVm, kFrom, 2, kId);
    write[0] = VTTM_PKT_HDR(VTTM_OP_STAMP_WRITE, 0, write.size());
    const Packet stamp =
        Buffer(0x400, {write, Signal(kWords, 1), Wait(kWords + 8, 1), verify});

    const uint64_t copied = gpu->Submit(VTTM_ENGINE_COPY, {SetVm(1), copy});
    ASSERT_TRUE(WaitStatus(VTTM_ENGINE_BASE(VTTM_ENGINE_COPY), VTTM_ENG_STATUS_WAITING));
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_STAMP, {SetVm(1), stamp}), 0u);
    ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, copied));
    EXPECT_EQ(FenceStatus(VTTM_ENGINE_COPY), 0u);
    EXPECT_EQ(vm->Read64(kWordsRam + 0x100 + offsetof(vttm_stamp_result, good)), 2u);
    EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_COUNT), 0u);
    EXPECT_EQ(gpu->Reg(VTTM_REG_BAD_ACCESS), 0u);
    // The second page of the copy is VRAM: the host sees the stamp there.
    alignas(8) uint8_t page[kPage];
    std::memcpy(page, VramFile(2 * kMiB, kPage).data(), kPage);
    vttm_stamp_id second = kId;
    second.page++;
    EXPECT_TRUE(vttm_stamp_check(page, &second));
}

TEST_F(Indirect, TheCpuAndAResetEndAWait) {
    StartMapped();
    const uint32_t block = VTTM_ENGINE_BASE(VTTM_ENGINE_COPY);
    const Packet buffer = Buffer(0, {Wait(kWords, 1), Signal(kWords + 8, 1)});
    const uint64_t seq = gpu->Submit(VTTM_ENGINE_COPY, {SetVm(1), buffer});
    ASSERT_TRUE(WaitStatus(block, VTTM_ENG_STATUS_WAITING));
    vm->Write64(kWordsRam, 1);
    ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, seq));
    EXPECT_EQ(vm->Read64(kWordsRam + 8), 1u);

    vm->Write64(kWordsRam, 0);
    gpu->Submit(VTTM_ENGINE_COPY, {buffer});
    ASSERT_TRUE(WaitStatus(block, VTTM_ENG_STATUS_WAITING));
    gpu->SetReg(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    ASSERT_TRUE(WaitStatus(block, VTTM_ENG_STATUS_IDLE));
    // The machine ends below with the other engine waiting: that must not hang either.
    gpu->StartEngine(VTTM_ENGINE_STAMP);
    gpu->MapPages({kBuffersRam | kLeaf, kWordsRam | kLeaf});
    gpu->Submit(VTTM_ENGINE_STAMP, {SetVm(1), buffer});
}

TEST_F(Indirect, UserSpaceReachesNoPhysicalAddress) {
    StartMapped();
    vm->Write32(kData + 0x100000, 0x600d);
    for (const Packet& evil : {Fill(VTTM_SPACE_SYSTEM, kData + 0x100000, 4, 0xbad),
                               Copy(kVm, kTo, VTTM_SPACE_VRAM, 0, 64), SetVm(0),
                               MakePacket(VTTM_OP_FENCE, 0, {Lo(kData + 0x100000), 0, 0xbad, 0})}) {
        const Packet buffer = Buffer(0, {evil, Signal(kWords, 0xbad)});
        EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SetVm(1), buffer}),
                  static_cast<uint32_t>(VTTM_FAULT_PRIVILEGE));
        EXPECT_EQ(gpu->Reg64(VTTM_REG_FAULT_ADDR_LO), kBuffers);
        gpu->ClearFault();
    }
    // Bad framing there fails the job and halts nothing.
    const Packet garbage = Buffer(0, {{0xffffffff}});
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {garbage}), static_cast<uint32_t>(VTTM_FAULT_BAD_FRAMING));
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(kVm, kTo, 4, 1)}), 0u);
    EXPECT_EQ(vm->Read32(kData + 0x100000), 0x600du);
    EXPECT_EQ(vm->Read64(kWordsRam), 0u);
}

// Ring 1 of an engine runs while ring 0 waits, and ends the wait.
TEST_F(Indirect, AnotherRingGoesOn) {
    StartMapped();
    ASSERT_TRUE(gpu->Reg64(VTTM_REG_FEATURES_LO) & VTTM_FEATURE_RINGS);
    const uint64_t seq = gpu->Submit(VTTM_ENGINE_COPY, {SetVm(1), Wait(kWords, 5)});
    ASSERT_TRUE(WaitStatus(VTTM_ENGINE_BASE(0), VTTM_ENG_STATUS_WAITING));
    const uint32_t block = VTTM_RING_BLOCK(VTTM_ENGINE_COPY, 1);
    const uint64_t ring = kData + 0x200000;
    std::vector<uint32_t> words = SetVm(1);
    const Packet signal = Signal(kWords, 5);
    words.insert(words.end(), signal.begin(), signal.end());
    vm->WriteWords(ring, words);
    gpu->SetReg64(block + VTTM_ENG_RING_BASE_LO, ring);
    gpu->SetReg(block + VTTM_ENG_RING_SIZE, kRingSize);
    gpu->SetReg(block + VTTM_ENG_PRIORITY, VTTM_PRIORITY_MAX);
    gpu->SetReg(block + VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    gpu->SetReg(block + VTTM_ENG_TAIL, static_cast<uint32_t>(words.size() * 4));
    ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, seq));
    EXPECT_EQ(FenceStatus(VTTM_ENGINE_COPY), 0u);
    EXPECT_TRUE(WaitStatus(block, VTTM_ENG_STATUS_IDLE));
    EXPECT_EQ(gpu->Reg(VTTM_REG_BAD_ACCESS), 0u);
}

}  // namespace
}  // namespace vttm::qtest
