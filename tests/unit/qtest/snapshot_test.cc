// SPDX-License-Identifier: Apache-2.0
// Snapshots of a GPU at work: the machine goes back in time, VRAM included.
#include "tests/unit/qtest/snapshots.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <optional>

#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

constexpr uint32_t kFills = 150;

class Snapshot : public QtestFixture {
protected:
    void StartWithDisk() {
        Start();
        snapshots_.emplace(*vm);
    }
    /// Flips bits of the snapshot, @before bytes ahead of the model's.
    void Tamper(unsigned before, uint8_t flip) {
        std::fstream disk(snapshots_->image(), std::ios::in | std::ios::out | std::ios::binary);
        const std::vector<char> bytes{std::istreambuf_iterator<char>(disk), {}};
        const std::string magic = "vttm-gpu";
        const auto at = std::search(bytes.begin(), bytes.end(), magic.begin(), magic.end());
        ASSERT_NE(at, bytes.end()) << "no GPU in the snapshot";
        disk.clear();
        disk.seekp(at - bytes.begin() - before);
        disk.put(static_cast<char>(*(at - before) ^ flip));
        ASSERT_TRUE(disk.flush().good());
    }
    uint64_t Done() { return gpu->Reg64(VTTM_ENGINE_BASE(VTTM_ENGINE_COPY) + VTTM_ENG_BYTES_LO); }

    std::optional<Snapshots> snapshots_;
};

TEST_F(Snapshot, BackAndAgain) {
    uint64_t seq = 0, done = 0;
    // Stopped so soon that the engine is in the middle of it. On a busy machine this process may be late.
    for (int tries = 0; !done || done == kFills * 8 * kMiB; tries++) {
        ASSERT_LT(tries, 10) << "the work was over too soon";
        StartWithDisk();
        std::vector<Packet> packets;
        for (uint32_t i = 1; i <= kFills; i++) packets.push_back(Fill(VTTM_SPACE_VRAM, 0, 8 * kMiB, i));
        seq = gpu->Submit(VTTM_ENGINE_COPY, packets);
        while (!Done()) ASSERT_EQ(gpu->Reg(VTTM_REG_FAULT_COUNT), 0u);
        vm->Qmp("stop");
        done = Done();
    }
    ASSERT_EQ(snapshots_->Save(), "");
    vm->Qmp("cont");
    ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, seq));

    // Twice: other work in between is as if it had never been.
    for (int i = 0; i < 2; i++) {
        Gpu later(*vm, *gpu);
        EXPECT_EQ(later.Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 8 * kMiB, 0xbad)}), 0u);
        later.Submit(VTTM_ENGINE_STAMP,
                     std::vector<Packet>(
                         20, StampWrite(VTTM_SPACE_SYSTEM, 8 * kMiB, 4096,
                                        {.key = 1, .page = 0, .buffer = 1, .generation = 1})));
        vm->Qmp("stop");
        ASSERT_EQ(snapshots_->Load(), "");
        EXPECT_EQ(Done(), done) << "not where it was";
        vm->Qmp("cont");
        ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, seq));
        const std::vector<uint8_t> vram = VramFile(0, 8 * kMiB);
        for (size_t at = 0; at < vram.size(); at += 4)
            ASSERT_EQ(vram[at] | vram[at + 1] << 8, kFills) << at;
        EXPECT_EQ(Done(), kFills * 8 * kMiB);
        EXPECT_EQ(gpu->Reg64(VTTM_ENGINE_BASE(1) + VTTM_ENG_BYTES_LO), 0u)
            << "the stamps never were";
        EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_COUNT), 0u);
    }
    EXPECT_EQ(vm->Quit(), 0);
    EXPECT_EQ(vm->process().Log(), "");
}

// Unlike a migration's, its load does not end QEMU, and whoever continues then must not end it either.
TEST_F(Snapshot, RefusedAndContinued) {
    StartWithDisk();
    ASSERT_EQ(snapshots_->Save(), "");
    Tamper(5, 0x80);  // an interrupt under way, of a vector that is not there
    for (int i = 0; i < 2; i++) {
        EXPECT_NE(snapshots_->Load(), "");
        EXPECT_NE(vm->process().Log().find("has interrupts 0x80 under way: it has 4"),
                  std::string::npos)
            << vm->process().Log();
        EXPECT_NE(vm->Qmp("query-status")["status"], "running");
        vm->Qmp("cont");
        EXPECT_EQ(vm->Qmp("query-status")["status"], "running");
    }
    Tamper(5, 0x80);
    ASSERT_EQ(snapshots_->Load(), "");
    vm->Qmp("cont");
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 7)}), 0u);
    EXPECT_EQ(vm->Quit(), 0);
}

}  // namespace
}  // namespace vttm::qtest
