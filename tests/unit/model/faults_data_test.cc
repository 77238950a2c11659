// SPDX-License-Identifier: Apache-2.0
// Faults on demand in the data: what is written, what is read, and what cannot be.
#include <gmock/gmock.h>

#include "tests/unit/model/faults_machine.h"

namespace vttm::model::test {
namespace {

using std::chrono::milliseconds;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr uint64_t kSrc = kFree;
constexpr uint64_t kDst = kFree + (4 << 20);
constexpr uint64_t kLen = 1 << 20;  // four chunks
constexpr vttm_stamp_id kId{0x1234, 0, 7, 9};

class FaultsData : public FaultsMachine {
protected:
    FaultsData() { std::memset(bus_.ram(kDst), 0xee, kLen); }

    vttm_pkt_copy copy(uint64_t len = kLen) {
        return copy_packet(VTTM_SPACE_SYSTEM, kDst, VTTM_SPACE_SYSTEM, kSrc, len);
    }
    Difference from_source(uint64_t len = kLen) {
        return difference(bus_.ram(kSrc), bus_.ram(kDst), len);
    }
    // Of the words of a range, those that are not @value.
    Difference from_value(uint64_t addr, uint64_t len, uint32_t value) {
        const std::vector<uint32_t> want(len / 4, value);
        return difference(reinterpret_cast<const uint8_t*>(want.data()), bus_.ram(addr), len);
    }
    static std::vector<uint64_t> range(uint64_t from, uint64_t end) {
        std::vector<uint64_t> v;
        for (; from < end; from++) v.push_back(from);
        return v;
    }
};

TEST_F(FaultsData, OneBitFlips) {
    plan(R"({"kind": "bit-flip", "engine": "copy", "nth": 2, "byte": 700001, "bit": 5})");
    EXPECT_EQ(run(kCopy, copy()), 0u);
    EXPECT_THAT(from_source().bytes, SizeIs(0));
    EXPECT_EQ(run(kCopy, copy()), 0u);
    EXPECT_THAT(from_source().bytes, ElementsAre(700001));
    EXPECT_EQ(*bus_.ram(kSrc + 700001) ^ *bus_.ram(kDst + 700001), 1 << 5);
    EXPECT_EQ(injected(), 1u);
    EXPECT_EQ(record()["log"][0]["address"], kDst + 700001);
    EXPECT_EQ(run(kCopy, copy()), 0u);
    EXPECT_THAT(from_source().bytes, SizeIs(0)) << "once";
}

TEST_F(FaultsData, TheSeedDrawsTheBit) {
    auto flipped = [&](uint64_t seed) {
        plan(R"({"kind": "bit-flip", "engine": "copy"})", seed);
        EXPECT_EQ(run(kCopy, copy()), 0u);
        const Difference d = from_source();
        EXPECT_THAT(d.bytes, SizeIs(1));
        EXPECT_EQ(d.bits, 1u);
        return d.bytes;
    };
    const auto first = flipped(1);
    EXPECT_EQ(flipped(1), first);
    EXPECT_NE(flipped(2), first);
}

TEST_F(FaultsData, EveryPacketThatWritesIsAnEvent) {
    const std::string flip = R"({"kind": "bit-flip", "engine": "copy", "count": 0})";
    plan(flip);
    EXPECT_EQ(run(kCopy, fill_packet(VTTM_SPACE_SYSTEM, kDst, kLen, 0x5a)), 0u);
    EXPECT_EQ(from_value(kDst, kLen, 0x5a).bits, 1u);
    EXPECT_EQ(run(kCopy, fill_2d({VTTM_SPACE_SYSTEM, kDst, 4096}, 4096, 16, 0x5b)), 0u);
    EXPECT_EQ(from_value(kDst, 16 * 4096, 0x5b).bits, 1u);
    EXPECT_EQ(run(kCopy, copy_2d({VTTM_SPACE_SYSTEM, kDst, 8192}, {VTTM_SPACE_SYSTEM, kSrc, 8192},
                                 8192, 16)),
              0u);
    EXPECT_EQ(from_source(16 * 8192).bits, 1u);
    auto* list = reinterpret_cast<vttm_sg_entry*>(bus_.ram(kDst + 2 * kLen));
    list[0] = {kDst, 4096, 0};
    list[1] = {kDst + 4096, 8192, 0};
    EXPECT_EQ(run(kCopy, sg(true, VTTM_SPACE_SYSTEM, kSrc, VTTM_SPACE_SYSTEM, VTTM_SPACE_SYSTEM,
                            kDst + 2 * kLen, 2)),
              0u);
    EXPECT_EQ(from_source(12288).bits, 1u);
    EXPECT_EQ(injected(), 4u);
    EXPECT_EQ(events(), 4u) << "FENCE writes no data";
}

TEST_F(FaultsData, VerifyFindsTheFlippedStamp) {
    plan(R"({"kind": "bit-flip", "engine": "stamp"})");
    EXPECT_EQ(run(kStamp, stamp_packet(false, VTTM_SPACE_SYSTEM, kDst, 128, kId)), 0u);
    EXPECT_EQ(injected(), 1u);
    EXPECT_EQ(run(kStamp, stamp_packet(true, VTTM_SPACE_SYSTEM, kDst, 128, kId)), 0u);
    const vttm_stamp_result r = result();
    EXPECT_EQ(r.good, 127u);
    EXPECT_EQ(r.bad, 1u);
    EXPECT_EQ(r.by_class[VTTM_STAMP_BITFLIP], 1u);
    EXPECT_EQ(events(), 1u) << "verify writes none";
}

TEST_F(FaultsData, DroppedBytesStayAsTheyWere) {
    // Across two chunks, and mappings of a page.
    bus_.limit_mappings(4096);
    plan(R"({"kind": "write-dropped", "engine": "copy", "byte": 262000, "bytes": 4096})");
    EXPECT_EQ(run(kCopy, copy()), 0u);
    std::vector<uint64_t> lost;
    for (uint64_t i = 262000; i < 262000 + 4096; i++)
        if (*bus_.ram(kSrc + i) != 0xee) lost.push_back(i);
    EXPECT_EQ(from_source().bytes, lost);
    for (uint64_t i = 262000; i < 262000 + 4096; i++) ASSERT_EQ(*bus_.ram(kDst + i), 0xee) << i;
    EXPECT_EQ(injected(), 1u);
}

TEST_F(FaultsData, DroppedWriteOfVram) {
    std::memset(bus_.vram(), 0, 65536);
    plan(R"({"kind": "write-dropped", "engine": "copy"})");
    EXPECT_EQ(run(kCopy, fill_packet(VTTM_SPACE_VRAM, 0, 65536, 0x01010101)), 0u);
    const std::vector<uint8_t> want(65536, 1);
    const Difference d = difference(want.data(), bus_.vram(), 65536);
    ASSERT_THAT(d.bytes, SizeIs(64));  // one burst
    EXPECT_EQ(d.bytes[0] % 64, 0u);
    EXPECT_EQ(d.bytes, range(d.bytes[0], d.bytes[0] + 64));
    EXPECT_EQ(record()["log"][0]["address"], d.bytes[0]);
}

TEST_F(FaultsData, VerifyFindsTheDroppedStamp) {
    EXPECT_EQ(run(kStamp, stamp_packet(false, VTTM_SPACE_SYSTEM, kDst, 16, {0x1234, 0, 7, 8})), 0u);
    plan(R"({"kind": "write-dropped", "engine": "stamp", "byte": 8192, "bytes": 4096})");
    EXPECT_EQ(run(kStamp, stamp_packet(false, VTTM_SPACE_SYSTEM, kDst, 16, kId)), 0u);
    EXPECT_EQ(run(kStamp, stamp_packet(true, VTTM_SPACE_SYSTEM, kDst, 16, kId)), 0u);
    const vttm_stamp_result r = result();
    EXPECT_EQ(r.bad, 1u);
    EXPECT_EQ(r.first_bad_page, 2u);
    EXPECT_EQ(r.by_class[VTTM_STAMP_STALE], 1u);
}

TEST_F(FaultsData, WriteComesBehindTheFence) {
    plan(R"({"kind": "write-reordered", "engine": "copy", "byte": 100, "bytes": 8, "us": 200000})");
    put_packet(kCopy, copy());
    const auto start = Clock::now();
    const uint64_t seq = kick(kCopy);
    ASSERT_TRUE(wait_fence(seq));
    const Difference early = at_rest([&] { return from_source(); });
    if (Clock::now() - start < milliseconds(150)) {  // else this machine is too busy to tell
        EXPECT_EQ(early.bytes, range(100, 108));
    }
    ASSERT_TRUE(wait_for([&] { return at_rest([&] { return from_source(4096); }).bytes.empty(); }));
    EXPECT_GE(Clock::now() - start, milliseconds(200));
}

TEST_F(FaultsData, TheOlderWriteWins) {
    for (const uint32_t space : {VTTM_SPACE_SYSTEM, VTTM_SPACE_VRAM}) {
        plan(R"({"kind": "write-reordered", "engine": "copy", "byte": 128, "bytes": 4})");
        const uint64_t at = space == VTTM_SPACE_SYSTEM ? kDst : 0;
        put_packet(kCopy, fill_packet(space, at, 4096, 1));
        put_packet(kCopy, fill_packet(space, at, 4096, 2));
        EXPECT_EQ(finish(kCopy), 0u);
        const auto* w =
            reinterpret_cast<uint32_t*>(space == VTTM_SPACE_SYSTEM ? bus_.ram(at) : bus_.vram(at));
        EXPECT_EQ(w[31], 2u);
        EXPECT_EQ(w[32], 1u);
        EXPECT_EQ(w[33], 2u);
        EXPECT_EQ(injected(), 1u);
    }
    EXPECT_TRUE(bus_.vram_was_dirtied(128, 4));
}

TEST_F(FaultsData, LateWriteIsWhole) {
    plan(
        R"({"kind": "write-reordered", "engine": "copy", "byte": 4000, "bytes": 4096, "packets": 2})");
    put_packet(kCopy, copy(16384));
    put_packet(kCopy, copy_packet(VTTM_SPACE_VRAM, 0, VTTM_SPACE_SYSTEM, kDst, 16384));
    ring(kCopy);
    ASSERT_TRUE(wait_for([&] { return injected() == 1 && idle(kCopy); }));
    bus_.limit_mappings(4096);  // comes in other pieces than it went
    EXPECT_EQ(finish(kCopy), 0u);
    ASSERT_TRUE(wait_idle(kCopy));  // the write comes behind the fence
    EXPECT_THAT(from_source(16384).bytes, SizeIs(0));
    std::vector<uint8_t> seen(bus_.vram(), bus_.vram() + 16384);
    for (uint64_t i = 4000; i < 8096; i++) ASSERT_EQ(seen[i], 0xee) << "who read it before: " << i;
}

// What is due, and the VRAM it goes to is given up meanwhile: it goes nowhere.
TEST_F(FaultsData, LateWriteKeepsToTheVramThatIsLeft) {
    plan(R"({"kind": "write-reordered", "engine": "copy", "byte": 0, "bytes": 4})");
    const uint64_t at = kVramSize - VTTM_VRAM_LIMIT_UNIT;
    std::memset(bus_.vram(at), 0, 4);
    put_packet(kCopy, fill_packet(VTTM_SPACE_VRAM, at, 4096, 0x33));
    ring(kCopy);
    ASSERT_TRUE(wait_for([&] { return injected() == 1 && idle(kCopy); }));
    ASSERT_EQ(vttm_model_set_vram_target(model_.get(), at), 0);
    wr64(VTTM_REG_VRAM_LIMIT_LO, at);
    EXPECT_EQ(finish(kCopy), 0u);
    ASSERT_TRUE(wait_idle(kCopy));
    EXPECT_EQ(*bus_.vram(at), 0);
}

TEST_F(FaultsData, SeveralAtOnce) {
    plan(R"({"kind": "bit-flip", "engine": "copy", "byte": 10, "bit": 0},
            {"kind": "write-dropped", "engine": "copy", "byte": 4090, "bytes": 20},
            {"kind": "write-dropped", "engine": "copy", "byte": 4100, "bytes": 20, "nth": 2})");
    for (uint64_t i = 0; i < 8192; i++) *bus_.ram(kSrc + i) = 0x55;
    EXPECT_EQ(run(kCopy, copy(8192)), 0u);
    auto want = range(4090, 4110);
    want.insert(want.begin(), 10);
    EXPECT_EQ(from_source(8192).bytes, want);
    EXPECT_EQ(events(2), 1u) << "each rule counts each event";
}

TEST_F(FaultsData, APlaceBeyondThePacketIsNeverMet) {
    plan(R"({"kind": "bit-flip", "engine": "copy", "byte": 8192})");
    EXPECT_EQ(run(kCopy, copy(8192)), 0u);
    EXPECT_THAT(from_source(8192).bytes, SizeIs(0));
    EXPECT_EQ(injected(), 0u) << "and nobody claims that it was";
    EXPECT_EQ(events(), 1u);
}

TEST_F(FaultsData, DmaErrorOfData) {
    plan(R"({"kind": "dma-error", "engine": "copy", "nth": 2})");
    EXPECT_EQ(run(kCopy, fill_packet(VTTM_SPACE_VRAM, 0, 4096, 1)), 0u);
    EXPECT_EQ(events(), 0u) << "VRAM is not on the bus";
    EXPECT_EQ(run(kCopy, copy()), 0u);
    expect_fault(kCopy, copy(), VTTM_FAULT_BUS, kSrc);
    EXPECT_EQ(run(kCopy, copy()), 0u);
    EXPECT_EQ(injected(), 1u);
    EXPECT_EQ(events(), 3u) << "one a packet";
}

TEST_F(FaultsData, DmaErrorThroughAVm) {
    constexpr uint64_t kVa = 0x7000;
    tables_.set(root_, kVa, sys_pte(kDst));
    plan(R"({"kind": "dma-error", "engine": "copy"})");
    expect_fault(kCopy, fill_packet(VTTM_SPACE_VM, kVa, 4096, 1), VTTM_FAULT_BUS, kVa);
    EXPECT_EQ(*bus_.ram(kDst), 0xee);
    EXPECT_EQ(run(kCopy, fill_packet(VTTM_SPACE_VM, kVa, 4096, 1)), 0u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 0u);
}

TEST_F(FaultsData, DmaErrorOfTheRing) {
    plan(R"({"kind": "dma-error", "engine": "copy", "access": "ring", "nth": 2})");
    put_packet(kCopy, copy());
    kick(kCopy);
    ASSERT_TRUE(wait_for([&] { return eng(kCopy, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_HALTED; }));
    EXPECT_EQ(fault_reason(), VTTM_FAULT_BUS);
    EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), kRingAddr[0] + eng(kCopy, VTTM_ENG_HEAD));
    EXPECT_THAT(from_source().bytes, SizeIs(0));
    reset_engine(kCopy);
    EXPECT_EQ(finish(kCopy), 0u);
}

TEST_F(FaultsData, DmaErrorOfAFence) {
    plan(R"({"kind": "dma-error", "engine": "copy", "access": "fence"})");
    const uint64_t before = last_fence(kCopy);
    kick(kCopy);
    ASSERT_TRUE(wait_for([&] { return rd(VTTM_REG_FAULT_COUNT) == 1 && idle(kCopy); }));
    EXPECT_EQ(fault_reason(), VTTM_FAULT_BUS);
    EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), kFenceAddr);
    EXPECT_TRUE(rd(VTTM_REG_FAULT_INFO) & VTTM_FAULT_INFO_WRITE);
    EXPECT_EQ(last_fence(kCopy), before);
    EXPECT_EQ(finish(kCopy), VTTM_FAULT_BUS) << "the next FENCE tells";
    EXPECT_EQ(finish(kCopy), 0u);
}

class Poison : public FaultsData {
protected:
    static constexpr uint64_t kBad = 0x5000;
    vttm_pkt_copy read(uint64_t offset, uint64_t len) {
        return copy_packet(VTTM_SPACE_SYSTEM, kDst, VTTM_SPACE_VRAM, offset, len);
    }
    void poison() { plan(R"({"kind": "vram-poison", "offset": 20480, "pages": 2})"); }
};

TEST_F(Poison, ReadsFaultAndWritesDoNot) {
    EXPECT_TRUE(rd(VTTM_REG_FEATURES_LO) & VTTM_FEATURE_POISON);
    for (uint64_t i = 0; i < 16 * kPage; i++) *bus_.vram(i) = 0x42;
    poison();
    expect_fault(kCopy, read(kBad, 4), VTTM_FAULT_POISON, kBad);
    expect_fault(kCopy, read(kBad + 2 * kPage - 1, 1), VTTM_FAULT_POISON, kBad + 2 * kPage - 1);
    EXPECT_EQ(run(kCopy, read(kBad - 16, 16)), 0u);
    EXPECT_EQ(run(kCopy, read(kBad + 2 * kPage, 16)), 0u);
    EXPECT_EQ(run(kCopy, fill_packet(VTTM_SPACE_VRAM, 0, 16 * kPage, 0x43434343)), 0u);
    expect_fault(kCopy, read(kBad, 4), VTTM_FAULT_POISON, kBad);
    EXPECT_EQ(injected(), 3u);
    EXPECT_EQ(record()["log"][1]["address"], kBad + 2 * kPage - 1);
    no_plan();
    EXPECT_EQ(run(kCopy, read(kBad, 4)), 0u);
    EXPECT_EQ(*bus_.ram(kDst), 0x43);
}

TEST_F(Poison, WhatLiesBeforeIsDone) {
    for (uint64_t i = 0; i < 16 * kPage; i++) *bus_.vram(i) = 0x42;
    poison();
    expect_fault(kCopy, read(0, 16 * kPage), VTTM_FAULT_POISON, kBad);
    for (uint64_t i = 0; i < kBad; i++) ASSERT_EQ(*bus_.ram(kDst + i), 0x42) << i;
    for (uint64_t i = kBad; i < 16 * kPage; i++) ASSERT_EQ(*bus_.ram(kDst + i), 0xee) << i;
}

TEST_F(Poison, ByVirtualAddress) {
    constexpr uint64_t kVa = 0x100000;
    for (uint64_t i = 0; i < 8; i++)
        tables_.set(root_, kVa + i * kPage, vram_pte(0x4000 + i * kPage));
    wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY);  // it is no fault that a retry cures
    poison();
    expect_fault(kCopy, copy_packet(VTTM_SPACE_SYSTEM, kDst, VTTM_SPACE_VM, kVa, 8 * kPage),
                 VTTM_FAULT_POISON, kVa + kPage);
    expect_fault(kStamp, stamp_packet(true, VTTM_SPACE_VM, kVa, 8, kId), VTTM_FAULT_POISON,
                 kVa + kPage);
    expect_fault(kStamp, hash(VTTM_SPACE_VM, kVa, 8 * kPage, 0, VTTM_SPACE_SYSTEM, kResultAddr),
                 VTTM_FAULT_POISON, kVa + kPage);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 0u);
}

TEST_F(Poison, PacketsOfAnIndirectBuffer) {
    poison();
    put_packet(kCopy, indirect(VTTM_SPACE_VRAM, kBad, 4));
    EXPECT_EQ(finish(kCopy), VTTM_FAULT_POISON);
    EXPECT_EQ(run(kCopy, sem_wait(VTTM_SPACE_VRAM, kBad, 0)), VTTM_FAULT_POISON);
}

}  // namespace
}  // namespace vttm::model::test
