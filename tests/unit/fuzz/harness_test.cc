// SPDX-License-Identifier: Apache-2.0
// The watching memory around a fuzzed model: each thing that it shall see, done on purpose.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <thread>
#include <vector>

#include "protocol/vttm_packets.h"
#include "tests/fuzz/arena.h"
#include "tests/fuzz/fuzz_bus.h"
#include "tests/fuzz/reference_walk.h"

namespace vttm::fuzz {
namespace {

constexpr uint64_t kSize = 16 * kPage, kGone = 4 * kPage;

class Watching : public ::testing::Test {
protected:
    Watching() {
        bus.ram.keep();
        bus.vram.keep();
    }
    uint8_t* map(uint64_t addr, uint64_t len, bool write) {
        len_ = len;
        return static_cast<uint8_t*>(ops.dma_map(&bus, addr, &len_, write));
    }
    void unmap(uint64_t addr, void* ptr, uint64_t len, bool write) {
        ops.dma_unmap(&bus, addr, ptr, len, write);
    }

    FuzzBus bus{kSize, kSize, kGone, kPage};
    vttm_model_ops ops = bus.ops(true);
    uint64_t len_ = 0;
};

TEST_F(Watching, SoundUseIsQuiet) {
    uint8_t* p = map(kPage, 100, true);
    ASSERT_TRUE(p);
    *p = 1;
    unmap(kPage, p, 100, true);
    *bus.vram.at(5) = 1;
    ops.vram_dirty(&bus, 5, 1);
    EXPECT_FALSE(bus.ram.is_golden());
    EXPECT_EQ(bus.check_and_clear(), "");
    bus.ram.restore();
    bus.vram.restore();
    EXPECT_TRUE(bus.ram.is_golden());
    EXPECT_TRUE(bus.vram.is_golden());
}

TEST_F(Watching, MappingLeftBehind) {
    map(0, 1, false);
    EXPECT_EQ(bus.check_and_clear(), "a mapping was left behind");
    EXPECT_EQ(bus.check_and_clear(), "") << "forgotten";
}

TEST_F(Watching, UnmapThatDoesNotMatch) {
    for (int how = 0; how < 4; how++) {
        uint8_t* p = map(kPage, 8, false);
        unmap(how == 0 ? 0 : kPage, how == 1 ? p + 1 : p, how == 2 ? 7 : 8, how == 3);
        EXPECT_NE(bus.check_and_clear(), "") << how;
    }
}

TEST_F(Watching, HolesAreNotMappedAndNotWritten) {
    EXPECT_FALSE(map(kGone, 1, false));
    EXPECT_FALSE(map(kGone + kPage - 1, 1, false));
    EXPECT_FALSE(map(kSize, 1, false));
    map(kGone - 8, 100, false);
    EXPECT_EQ(len_, 8u);
    bus.check_and_clear();
    *bus.ram.at(kGone + 7) = 1;
    EXPECT_EQ(bus.check_and_clear(), "memory that was not mapped was written");
}

TEST_F(Watching, CallsThatMustNotCome) {
    map(0, 0, false);
    bus.check_and_clear();
    ops.irq(&bus, VTTM_NUM_VECTORS);
    EXPECT_NE(bus.check_and_clear(), "");
    ops.vram_dirty(&bus, kSize - 1, 2);
    EXPECT_NE(bus.check_and_clear(), "");
    ops.vram_dirty(&bus, 0, 0);
    EXPECT_NE(bus.check_and_clear(), "");
    ops.vram_given_up(&bus, kSize - 1, 2);
    EXPECT_NE(bus.check_and_clear(), "");
}

TEST_F(Watching, WritesThatNobodyTellsOf) {
    uint8_t* p = map(kPage, kPage, false);
    *p = 1;
    unmap(kPage, p, kPage, false);
    *bus.vram.at(0) = 1;
    bus.ram.restore();
    bus.vram.restore();
    EXPECT_FALSE(bus.ram.is_golden());
    EXPECT_FALSE(bus.vram.is_golden());
}

TEST_F(Watching, WritesOfWhatWasGivenUp) {
    bus.vram_end = [] { return 2 * kPage; };
    ops.vram_dirty(&bus, kPage, kPage);
    EXPECT_EQ(bus.check_and_clear(), "");
    ops.vram_dirty(&bus, kPage, kPage + 1);
    EXPECT_EQ(bus.check_and_clear(), "VRAM that was given up was written");
}

TEST_F(Watching, WhatIsGivenUpIsLostAndComesBack) {
    ops.vram_given_up(&bus, kPage, kPage);
    EXPECT_EQ(bus.check_and_clear(), "");
    EXPECT_FALSE(bus.vram.is_golden());
    EXPECT_EQ(*bus.vram.at(kPage - 1), 0);
    EXPECT_NE(*bus.vram.at(kPage), 0);
    EXPECT_EQ(*bus.vram.at(2 * kPage), 0);
    bus.vram.restore();
    EXPECT_TRUE(bus.vram.is_golden());
}

TEST_F(Watching, NobodyTouchesWhatIsBeyond) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(*bus.ram.at(kSize) = 1, "");
    EXPECT_DEATH(*(bus.vram.at() - 1) = 1, "");
}

// The same input, the same digest; other bytes in memory, another one.
TEST(ArenaTest, DigestTellsOfMemoryAndRegisters) {
    Arena arena(64);
    const auto run = [&](uint32_t value, uint32_t off) {
        arena.begin(nullptr);
        arena.poke(kData, &value, 4);
        arena.rd(off);
        EXPECT_EQ(arena.end(true), "");
        return arena.digest();
    };
    const uint64_t first = run(1, VTTM_REG_MAGIC);
    EXPECT_EQ(run(1, VTTM_REG_MAGIC), first);
    EXPECT_NE(run(2, VTTM_REG_MAGIC), first);
    EXPECT_NE(run(1, VTTM_REG_ABI), first);
}

// A packet that takes long (4 GiB) does not keep the guest from anything.
TEST(ArenaTest, PatienceEnds) {
    Arena arena(64);
    unsigned hooks = 0;
    arena.begin([&] { hooks++; });
    const uint32_t words[] = {VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), 0,
                              VTTM_PKT_HDR(VTTM_OP_STAMP_VERIFY, 0, 12), 0, 0, 1u << 20, 1, 1, 0, 0,
                              1, 0, 0, 0};
    arena.put({1, 0}, words, std::size(words));
    arena.wr(reg({1, 0}, VTTM_ENG_TAIL), arena.tail({1, 0}));
    EXPECT_EQ(arena.rd(reg({1, 0}, VTTM_ENG_STATUS)), VTTM_ENG_STATUS_IDLE);
    EXPECT_GT(hooks, 100u);
    EXPECT_LT(hooks, 2000u);
    EXPECT_EQ(arena.end(true), "");
}

constexpr uint32_t kSys = VTTM_PKT_DST(VTTM_SPACE_SYSTEM);

// Puts packets into a ring; it is not told.
void put(Arena& arena, Lane l, const std::vector<uint32_t>& words) {
    arena.put(l, words.data(), words.size());
}
void doorbell(Arena& arena, Lane l) { arena.wr(reg(l, VTTM_ENG_TAIL), arena.tail(l)); }
std::vector<uint32_t> signal(uint32_t word, uint32_t value) {
    return {VTTM_PKT_HDR(VTTM_OP_SEM_SIGNAL, kSys, 5), uint32_t{kWords} + word * 8, 0, value, 0};
}
std::vector<uint32_t> wait(uint32_t word, uint32_t value) {
    return {VTTM_PKT_HDR(VTTM_OP_SEM_WAIT, kSys, 6), uint32_t{kWords} + word * 8, 0, value, 0,
            VTTM_CMP_EQ};
}
std::vector<uint32_t> fence(uint32_t seq) {
    return {VTTM_PKT_HDR(VTTM_OP_FENCE, 0, 5), uint32_t{kFence}, 0, seq, 0};
}

// Engines that wake each other work one after the other, the same way each time.
TEST(ArenaTest, EnginesTakeTurns) {
    Arena arena(64);
    uint64_t first = 0;
    for (int round = 0; round < 20; round++) {
        std::atomic<int> inside{0};
        bool at_once = false;
        arena.begin([&] {
            if (inside++) at_once = true;
            std::this_thread::sleep_for(std::chrono::microseconds(50));
            inside--;
        });
        const Lane a{0, 2}, b{1, 1};
        for (uint32_t i = 0; i < 4; i++) {
            for (const auto& packet : {wait(0, i + 1), signal(1, i + 1)}) put(arena, a, packet);
            for (const auto& packet : {signal(0, i + 1), wait(1, i + 1)}) put(arena, b, packet);
        }
        put(arena, a, fence(7));
        put(arena, b, fence(8));
        doorbell(arena, a);
        EXPECT_EQ(arena.rd(reg(a, VTTM_ENG_STATUS)), VTTM_ENG_STATUS_WAITING);
        doorbell(arena, b);
        EXPECT_EQ(arena.rd(reg(a, VTTM_ENG_LAST_FENCE_LO)), 7u);
        EXPECT_EQ(arena.rd(reg(b, VTTM_ENG_LAST_FENCE_LO)), 8u);
        EXPECT_EQ(arena.rd(reg(a, VTTM_ENG_STATUS)), VTTM_ENG_STATUS_IDLE);
        EXPECT_EQ(arena.end(true), "");
        EXPECT_FALSE(at_once);
        if (!round) first = arena.digest();
        EXPECT_EQ(arena.digest(), first) << round;
    }
}

// A ring that waits does not look by itself, however long that takes in real time; all rings come
// back from it.
TEST(ArenaTest, WaitsAreQuiet) {
    Arena arena(64);
    for (int round = 0; round < 2; round++) {
        arena.begin(nullptr);
        for (unsigned i = 0; i < kLanes; i++) {
            put(arena, lane(i), wait(0, 5));
            doorbell(arena, lane(i));
        }
        const uint64_t value = 5;
        arena.poke(kWords, &value, 8);
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        for (unsigned i = 0; i < kLanes; i++)
            EXPECT_EQ(arena.rd(reg(lane(i), VTTM_ENG_STATUS)), VTTM_ENG_STATUS_WAITING) << i;
        if (round == 1) {
            doorbell(arena, lane(3));
            EXPECT_EQ(arena.rd(reg(lane(3), VTTM_ENG_STATUS)), VTTM_ENG_STATUS_IDLE);
            EXPECT_EQ(arena.rd(reg(lane(4), VTTM_ENG_STATUS)), VTTM_ENG_STATUS_WAITING);
        }
        EXPECT_EQ(arena.end(true), "");
    }
}

// Buffers in buffers, in VRAM: 250^3 * 1000 packets, and not one calls back.
TEST(ArenaTest, PatienceEndsWithoutCallbacks) {
    Arena arena(64);
    unsigned hooks = 0;
    arena.begin([&] { hooks++; });
    std::vector<uint32_t> words;
    const uint32_t indirect[] = {
        VTTM_PKT_HDR(VTTM_OP_INDIRECT, VTTM_PKT_DST(VTTM_SPACE_VRAM), 4), 0, 0, 1000};
    for (int i = 0; i < 250; i++) words.insert(words.end(), std::begin(indirect), std::end(indirect));
    // The innermost are NOPs.
    const uint32_t nop = VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1);
    for (uint32_t depth = 0; depth < VTTM_IB_MAX_DEPTH; depth++) {
        for (size_t i = 0; i < words.size(); i += 4)
            words[i + 1] = (depth + 1) * static_cast<uint32_t>(kPage);
        if (depth + 1 == VTTM_IB_MAX_DEPTH) std::fill(words.begin(), words.end(), nop);
        arena.poke_vram(depth * kPage, words.data(), words.size() * 4);
    }
    arena.put({0, 3}, indirect, std::size(indirect));
    doorbell(arena, {0, 3});
    EXPECT_EQ(arena.rd(reg({0, 3}, VTTM_ENG_STATUS)), VTTM_ENG_STATUS_IDLE);
    EXPECT_EQ(arena.rd(reg({0, 3}, VTTM_ENG_CTRL)), 0u) << "the engine was reset";
    EXPECT_LT(hooks, 100u);
    EXPECT_EQ(arena.end(true), "");
}

// What the host took is there again for the next input.
TEST(ArenaTest, TheBalloonIsPutBack) {
    Arena arena(64);
    arena.begin(nullptr);
    arena.set_vram_target(0);
    arena.wr(VTTM_REG_VRAM_LIMIT_LO, 0, 8);
    EXPECT_EQ(arena.rd(VTTM_REG_VRAM_LIMIT_LO, 8), 0u);
    EXPECT_EQ(arena.end(true), "");
    EXPECT_EQ(arena.rd(VTTM_REG_VRAM_TARGET_LO, 8), kVram);
}

// A translation that is older than the limit leads nowhere: the arena would see the write.
TEST(ArenaTest, GivenUpVramIsWatched) {
    Arena arena(64);
    arena.begin(nullptr);
    const uint32_t va = 3 * kPage;  // which Arena's tables lead to VRAM
    for (uint32_t reason : {VTTM_FAULT_NONE, VTTM_FAULT_VRAM_RANGE}) {
        put(arena, {0, 1}, {VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), 0,
                            VTTM_PKT_HDR(VTTM_OP_FILL, 0, 6), va, 0, 64, 0, 1});
        put(arena, {0, 1}, fence(reason));
        doorbell(arena, {0, 1});
        EXPECT_EQ(arena.rd(VTTM_REG_FAULT_INFO) & 0xff, reason);
        arena.wr(VTTM_REG_VRAM_LIMIT_LO, 0, 8);
    }
    EXPECT_EQ(arena.end(true), "");
}

// The second opinion on page tables has one of its own: it differs when memory differs.
TEST(Reference, SeesAForgottenInvalidation) {
    std::map<uint64_t, uint64_t> memory;
    const uint64_t kTable = VTTM_PTE_VALID | VTTM_PTE_SYSTEM;
    for (uint64_t level = 0; level < 3; level++) memory[level * kPage] = (level + 1) * kPage | kTable;
    memory[3 * kPage] = 9 * kPage | kTable | VTTM_PTE_WRITE;
    ReferenceMmu mmu([&](bool, uint64_t addr) -> std::optional<uint64_t> { return memory[addr]; },
                     1 << 30);
    EXPECT_EQ(mmu.translate(0, 0, true).reason, VTTM_FAULT_NO_VM);
    mmu.set_root(0, kTable);
    EXPECT_EQ(mmu.translate(0, 0, true).phys, 9 * kPage);
    memory[3 * kPage] = 8 * kPage | kTable;
    EXPECT_TRUE(mmu.translate(0, 0, true).stale);
    EXPECT_EQ(mmu.translate(0, 0, true).phys, 9 * kPage);
    mmu.invalidate({VTTM_TLB_INV_RANGE, 0, 0, 1});
    EXPECT_FALSE(mmu.translate(0, 0, false).stale);
    EXPECT_EQ(mmu.translate(0, 0, false).phys, 8 * kPage);
    EXPECT_EQ(mmu.translate(0, 0, true).reason, VTTM_FAULT_READ_ONLY);
}

}  // namespace
}  // namespace vttm::fuzz
