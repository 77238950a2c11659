// SPDX-License-Identifier: Apache-2.0
// The watching memory around a fuzzed model: each thing that it shall see, done on purpose.
#include <gtest/gtest.h>

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
