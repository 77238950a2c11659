// SPDX-License-Identifier: Apache-2.0
// What a guest can do at worst to those who wait for QEMU's big lock. Resets, stops and sleep wait for the packets under
// way, here the most laborious that there are; behind an IOMMU the main loop works for the GPU; sleep frees memory.
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "tests/unit/qtest/noise.h"
#include "tests/unit/qtest/vtd.h"

namespace vttm::qtest {
namespace {

using std::chrono::milliseconds;

// The pages of RAM that are page tables: what each entry of the upper ones leads to alternates, so two rows of a rectangle
// have no table but the root in common. And there are two sets: a walk through the present ones is followed by one
// through those that the page-walk cache still knows.
constexpr uint64_t kRoot = kData, kNow = kData + 0x1000, kOld = kData + 0x2000;
constexpr uint64_t kPage = kData + 0x20000;
constexpr uint64_t kFlags = VTTM_PTE_VALID | VTTM_PTE_WRITE | VTTM_PTE_SYSTEM;
constexpr uint64_t Lower(unsigned level, bool old, unsigned i) {
    return kData + 0x4000 + ((level * 2 + old) * 2 + i % 2) * 0x1000;
}
constexpr uint64_t kPitch = (1ull << 30) + (2ull << 20);
constexpr uint32_t kRows = 3000;  // the page-walk cache has room for their tables

class Stall : public QtestFixture {
protected:
    void StartWith(bool iommu, VmOptions options = {}) {
        if (iommu) Vtd::AddTo(options);
        Start(options);
        if (iommu) Vtd(*vm).SwitchOn();
    }
    void WriteTable(uint64_t at, auto entry) {
        std::vector<uint32_t> words;
        for (unsigned i = 0; i < VTTM_PT_ENTRIES; i++) {
            words.push_back(Lo(entry(i)));
            words.push_back(Hi(entry(i)));
        }
        vm->WriteWords(at, words);
    }
    void MakeTables() {
        for (const bool old : {false, true}) {
            for (unsigned i = 0; i < 2; i++) {
                WriteTable(Lower(1, old, i), [&](unsigned k) { return Lower(0, old, k) | kFlags; });
                WriteTable(Lower(0, old, i), [&](unsigned k) { return (kPage + k % 2 * 0x1000) | kFlags; });
            }
        }
        WriteTable(kNow, [](unsigned k) { return Lower(1, false, k) | kFlags; });
        WriteTable(kOld, [](unsigned) { return uint64_t{0}; });
        WriteTable(kRoot, [](unsigned) { return kOld | kFlags; });
        gpu->SetReg64(VTTM_REG_VM_ROOT_LO(1), kRoot | VTTM_PTE_SYSTEM | VTTM_PTE_VALID);
        // Walks that end at kOld leave in the cache what leads there.
        for (uint64_t va = 0; va < 2 * kRows * kPitch; va += 1ull << 39) {
            ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SetVm(1), Fill(VTTM_SPACE_VM, va, 4, 0)}),
                      uint32_t{VTTM_FAULT_NOT_VALID});
            gpu->ClearFault();
        }
        WriteTable(kOld, [](unsigned k) { return Lower(1, true, k) | kFlags; });
        WriteTable(kRoot, [](unsigned) { return kNow | kFlags; });
    }
    /// Rows of a byte: each side of a row walks twice through three tables, and maps its byte.
    static Packet Rows(unsigned page = 0) {
        const uint64_t dst = 8192 * page, src = kRows * kPitch + dst + 4096;
        return MakePacket(VTTM_OP_COPY_2D, VTTM_PKT_DST(VTTM_SPACE_VM) | VTTM_PKT_SRC(VTTM_SPACE_VM),
                          {Lo(dst), Hi(dst), Lo(src), Hi(src), Lo(kPitch), Lo(kPitch), 1, kRows});
    }
    /// Rows for the one engine, pages that are mapped one by one for the other.
    void BeginWork() {
        ASSERT_NO_FATAL_FAILURE(MakeTables());
        std::vector<Packet> rows{SetVm(1)};
        for (unsigned page = 0; page < 60; page++) rows.push_back(Rows(page));
        gpu->Submit(VTTM_ENGINE_COPY, rows);
        const vttm_stamp_id id{.key = 1, .buffer = 1, .generation = 1};
        gpu->Submit(VTTM_ENGINE_STAMP, {SetVm(1), StampWrite(VTTM_SPACE_VM, 0, 200000, id)});
    }
    bool AtWork() { return !(gpu->Reg(VTTM_ENGINE_BASE(0) + VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE); }

    /// Arguments with which QEMU writes @event to Traced()'s file.
    std::vector<std::string> Trace(const std::string& event) {
        return {"-trace", event, "-D", traces_.File("trace")};
    }
    struct Events {
        uint64_t count = 0;
        uint64_t largest = 0;  ///< of the numbers that follow their name
    };
    Events Traced(const std::string& event) {
        std::ifstream log(traces_.File("trace"));
        Events found;
        for (std::string line; std::getline(log, line);) {
            if (!line.starts_with(event + " ")) continue;
            found.count++;
            found.largest = std::max<uint64_t>(found.largest, std::strtoull(&line[event.size()], nullptr, 10));
        }
        return found;
    }

private:
    TempDir traces_;
};

// Else the tests below are not what they say.
TEST_F(Stall, TheRowsAreLaborious) {
    Start({.more = Trace("vttm_dma_map")});
    ASSERT_NO_FATAL_FAILURE(MakeTables());
    const uint64_t before = Traced("vttm_dma_map").count;
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SetVm(1), Rows()}), 0u);
    const uint64_t maps = Traced("vttm_dma_map").count - before;
    RecordProperty("maps_per_thousand_rows", static_cast<int>(maps * 1000 / kRows));
    EXPECT_GE(maps, kRows * 13);
}

// Each time the main loop looks after the workers it does what they have asked for until then, a request each, and not what
// they ask for meanwhile.
TEST_F(Stall, BehindAnIommuEachTurnIsShort) {
    StartWith(true, {.more = Trace("vttm_iommu_serve")});
    ASSERT_NO_FATAL_FAILURE(BeginWork());
    for (int i = 0; i < 50; i++) {
        vm->Qmp("query-status");
        gpu->Reg(VTTM_REG_MAGIC);
    }
    EXPECT_TRUE(AtWork());
    vm->Qmp("stop");
    const Events turns = Traced("vttm_iommu_serve");
    EXPECT_GE(turns.count, 100u);
    EXPECT_LE(turns.largest, uint64_t{VTTM_NUM_ENGINES}) << turns.count;
}

class Waiting : public Stall, public ::testing::WithParamInterface<bool> {};

TEST_P(Waiting, ForTheMostLaboriousPackets) {
    StartWith(GetParam());
    Noise noise;
    // Behind an IOMMU not only the noise, but each of 14000 switches of threads.
    const milliseconds quiet = GetParam() ? 4 * kQuietAnswer : kQuietAnswer;
    const auto timed = [&](const char* what, auto act) {
        noise.Take();
        const auto start = Noise::Clock::now();
        act();
        const Noise::Clock::duration took = Noise::Clock::now() - start;
        EXPECT_LT(took, AnswerLimit(quiet, noise)) << what;
        return took;
    };
    Noise::Clock::duration fastest = std::chrono::hours(1);
    const unsigned express = gpu->Capability(kCapExpress), power = gpu->Capability(kCapPower);
    for (int i = 0; i < 5; i++) {
        ASSERT_NO_FATAL_FAILURE(BeginWork());
        timed("monitor", [&] { vm->Qmp("query-status"); });
        timed("register", [&] { gpu->Reg(VTTM_REG_MAGIC); });
        ASSERT_TRUE(AtWork());
        timed("stop", [&] { vm->Qmp("stop"); });
        vm->Qmp("cont");
        ASSERT_TRUE(AtWork());
        fastest = std::min(fastest, timed("function level reset", [&] { vm->SetConfig32(kSlot, express + 8, 1u << 15); }));
        BringUp();
        ASSERT_NO_FATAL_FAILURE(BeginWork());
        ASSERT_TRUE(AtWork());
        timed("D3hot", [&] { vm->SetConfig32(kSlot, power + 4, 3); });
        vm->SetConfig32(kSlot, power + 4, 0);
        BringUp();
    }
    RecordProperty("fastest_reset_us",
                   static_cast<int>(std::chrono::duration_cast<std::chrono::microseconds>(fastest).count()));
    EXPECT_LT(fastest, milliseconds(100)) << "what PCI Express allows";
}

INSTANTIATE_TEST_SUITE_P(Behind, Waiting, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "AnIommu" : "Nothing"; });

class Sleep : public Stall {
protected:
    static constexpr uint64_t kVram = 256 * kMiB;

    /// A device all of whose VRAM takes memory.
    void StartFull() { Start({.vram_size = kVram}), Touch(); }
    void Touch() {
        // The host's disk may be slow.
        ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY,
                                   gpu->Submit(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, kVram, 0x11111111)}),
                                   3 * kPatience));
    }
    void SetPower(uint32_t state) { vm->SetConfig32(kSlot, gpu->Capability(kCapPower) + 4, state); }
    uint64_t MemoryTaken() {
        struct stat st{};
        EXPECT_EQ(stat(vm->vram_path().c_str(), &st), 0);
        return static_cast<uint64_t>(st.st_blocks) * 512;
    }
    bool WaitFreed() {
        const auto end = Noise::Clock::now() + kPatience;
        while (MemoryTaken() && Noise::Clock::now() < end) std::this_thread::sleep_for(milliseconds(1));
        return !MemoryTaken();
    }
};

TEST_F(Sleep, FreesMemoryBehindTheWrite) {
    ASSERT_NO_FATAL_FAILURE(StartFull());
    uint64_t left = 0;
    // This process may come late for a look.
    for (int i = 0; i < 10 && !left; i++) {
        SetPower(3);
        left = MemoryTaken();
        ASSERT_LE(left, kVram - VTTM_VRAM_LIMIT_STEP) << "the first step is part of it";
        ASSERT_TRUE(WaitFreed());
        SetPower(0);
        BringUp();
        EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Copy(VTTM_SPACE_SYSTEM, kData, VTTM_SPACE_VRAM, kVram - 4096, 4096)}), 0u);
        EXPECT_EQ(vm->Read32(kData), 0u);
        ASSERT_NO_FATAL_FAILURE(Touch());
    }
    EXPECT_GT(left, 0u) << "all of it was freed within the write";
}

// Whoever wakes the device has its VRAM for himself, however little of it was freed.
TEST_F(Sleep, WakingEndsIt) {
    ASSERT_NO_FATAL_FAILURE(StartFull());
    SetPower(3);
    SetPower(0);
    BringUp();
    EXPECT_EQ(VramFile(0, 4096), std::vector<uint8_t>(4096, 0));
    EXPECT_EQ(VramFile(VTTM_VRAM_LIMIT_STEP - 4096, 4096), std::vector<uint8_t>(4096, 0));
    ASSERT_NO_FATAL_FAILURE(Touch());
    std::this_thread::sleep_for(milliseconds(200));
    for (uint64_t at = 0; at < kVram; at += 16 * kMiB)
        ASSERT_EQ(VramFile(at, 4096), std::vector<uint8_t>(4096, 0x11)) << at;
    EXPECT_GE(MemoryTaken(), kVram);
}

TEST_F(Sleep, WaitsWhileTheMachineIsStopped) {
    ASSERT_NO_FATAL_FAILURE(StartFull());
    vm->Qmp("stop");
    SetPower(3);
    const uint64_t left = MemoryTaken();
    EXPECT_GE(left, kVram - VTTM_VRAM_LIMIT_STEP);
    std::this_thread::sleep_for(milliseconds(200));
    EXPECT_EQ(MemoryTaken(), left);
    vm->Qmp("cont");
    EXPECT_TRUE(WaitFreed());
    ASSERT_NO_FATAL_FAILURE(SetPower(0));
    BringUp();
    ASSERT_NO_FATAL_FAILURE(Touch());
    SetPower(3);
    EXPECT_EQ(vm->Quit(), 0) << "in the middle of it";
    EXPECT_EQ(vm->process().Log(), "");
}

}  // namespace
}  // namespace vttm::qtest
