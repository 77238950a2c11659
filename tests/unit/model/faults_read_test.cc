// SPDX-License-Identifier: Apache-2.0
// Bits that flip on their way from memory to an engine: what the packet sees is wrong, and the memory
// that it read is as it was.
#include <gmock/gmock.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "tests/unit/model/faults_machine.h"

namespace vttm::model::test {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

constexpr uint64_t kSrc = kFree;
constexpr uint64_t kDst = kFree + (4 << 20);
constexpr uint64_t kLen = 1 << 20;  // four chunks
constexpr vttm_stamp_id kId{0x1234, 0, 7, 9};

class FaultsRead : public FaultsMachine {
protected:
    FaultsRead() : source_(bus_.ram(kSrc), bus_.ram(kSrc) + kLen) {}
    ~FaultsRead() override {
        EXPECT_EQ(std::memcmp(bus_.ram(kSrc), source_.data(), kLen), 0) << "memory was harmed";
    }
    void keep_source() { source_.assign(bus_.ram(kSrc), bus_.ram(kSrc) + kLen); }

    vttm_pkt_copy copy() {
        return copy_packet(VTTM_SPACE_SYSTEM, kDst, VTTM_SPACE_SYSTEM, kSrc, kLen);
    }
    Difference from_source(uint64_t len = kLen) {
        return difference(bus_.ram(kSrc), bus_.ram(kDst), len);
    }
    uint64_t hash_of(uint64_t len = kLen, uint32_t space = VTTM_SPACE_SYSTEM, uint64_t at = kSrc) {
        EXPECT_EQ(run(kStamp, hash(space, at, len, 3, VTTM_SPACE_SYSTEM, kResultAddr)), 0u);
        return reinterpret_cast<vttm_hash_result*>(bus_.ram(kResultAddr))->hash;
    }
    uint64_t good_hash(uint64_t len = kLen) { return XXH64(source_.data(), len, 3); }
    vttm_pkt_stamp verify() { return stamp_packet(true, VTTM_SPACE_SYSTEM, kSrc, 256, kId); }

    std::vector<uint8_t> source_;
};

TEST_F(FaultsRead, CopySeesAnotherBit) {
    bus_.limit_mappings(4096);
    plan(R"({"kind": "bit-flip", "access": "read", "engine": "copy", "nth": 2,
             "byte": 700001, "bit": 5})");
    EXPECT_EQ(run(kCopy, copy()), 0u);
    EXPECT_THAT(from_source().bytes, SizeIs(0));
    EXPECT_EQ(run(kCopy, copy()), 0u);
    EXPECT_THAT(from_source().bytes, ElementsAre(700001));
    EXPECT_EQ(*bus_.ram(kSrc + 700001) ^ *bus_.ram(kDst + 700001), 1 << 5);
    EXPECT_EQ(injected(), 1u);
    EXPECT_EQ(record()["log"][0]["address"], kSrc + 700001) << "where it was read, not written";
    EXPECT_EQ(run(kCopy, copy()), 0u);
    EXPECT_THAT(from_source().bytes, SizeIs(0)) << "once";
}

TEST_F(FaultsRead, HashOfWhatIsNotThere) {
    EXPECT_EQ(hash_of(), good_hash());
    plan(R"({"kind": "bit-flip", "access": "read", "engine": "stamp", "byte": 299999, "bit": 0})");
    EXPECT_NE(hash_of(), good_hash());
    std::vector<uint8_t> wrong = source_;
    wrong[299999] ^= 1;
    const auto r = *reinterpret_cast<vttm_hash_result*>(bus_.ram(kResultAddr));
    EXPECT_EQ(r.hash, XXH64(wrong.data(), kLen, 3)) << "that bit, and no other";
    EXPECT_EQ(injected(), 1u);
    EXPECT_EQ(hash_of(), good_hash());
}

// By a VM, from VRAM, and the whole range in pieces.
TEST_F(FaultsRead, ByVirtualAddress) {
    constexpr uint64_t kVa = 0x100000;
    for (uint64_t i = 0; i < 4; i++)
        tables_.set(root_, kVa + i * kPage, vram_pte(0x40000 - i * 2 * kPage));
    for (uint64_t i = 0; i < 4; i++)
        std::memcpy(bus_.vram(0x40000 - i * 2 * kPage), bus_.ram(kSrc + i * kPage), kPage);
    plan(R"({"kind": "bit-flip", "access": "read", "engine": "stamp", "byte": 8199})");
    EXPECT_NE(hash_of(4 * kPage, VTTM_SPACE_VM, kVa), good_hash(4 * kPage));
    EXPECT_EQ(record()["log"][0]["address"], 0x40000 - 4 * kPage + 7);
    EXPECT_EQ(hash_of(4 * kPage, VTTM_SPACE_VM, kVa), good_hash(4 * kPage));
}

// One page is bad for the engine, and good for whoever looks again.
TEST_F(FaultsRead, VerifyFindsABitThatIsNotInMemory) {
    EXPECT_EQ(run(kStamp, stamp_packet(false, VTTM_SPACE_SYSTEM, kSrc, 256, kId)), 0u);
    keep_source();
    bus_.clear_witness();
    plan(R"({"kind": "bit-flip", "access": "read", "engine": "stamp", "byte": 409700})");
    EXPECT_EQ(run(kStamp, verify()), 0u);
    vttm_stamp_result r = result();
    EXPECT_EQ(r.good, 255u);
    EXPECT_EQ(r.bad, 1u);
    EXPECT_EQ(r.first_bad_page, 100u);
    EXPECT_EQ(r.by_class[VTTM_STAMP_BITFLIP], 1u);
    unsigned bad = 0;
    for (const auto& rec : bus_.witness())
        if (rec.kind == VTTM_WITNESS_VERIFY && rec.stamp_class != VTTM_STAMP_GOOD) {
            bad++;
            EXPECT_EQ(rec.phys, kSrc + 100 * kPage);
            EXPECT_TRUE(vttm_stamp_check(bus_.ram(rec.phys), [] {
                static vttm_stamp_id id = kId;
                id.page = 100;
                return &id;
            }()));
        }
    EXPECT_EQ(bad, 1u);
    EXPECT_EQ(run(kStamp, verify()), 0u);
    EXPECT_EQ(result().good, 256u);
}

TEST_F(FaultsRead, EveryPacketThatReadsDataIsAnEvent) {
    plan(R"({"kind": "bit-flip", "access": "read", "engine": "copy", "count": 0})");
    EXPECT_EQ(run(kCopy, copy_2d({VTTM_SPACE_SYSTEM, kDst, 8192}, {VTTM_SPACE_SYSTEM, kSrc, 8192},
                                 8192, 16)),
              0u);
    EXPECT_EQ(from_source(16 * 8192).bits, 1u);
    auto* list = reinterpret_cast<vttm_sg_entry*>(bus_.ram(kDst + 2 * kLen));
    for (const bool scatter : {true, false}) {
        const uint64_t pieces = scatter ? kDst : kSrc;
        list[0] = {pieces, 4096, 0};
        list[1] = {pieces + 4096, 8192, 0};
        EXPECT_EQ(run(kCopy, sg(scatter, VTTM_SPACE_SYSTEM, scatter ? kSrc : kDst,
                                VTTM_SPACE_SYSTEM, VTTM_SPACE_SYSTEM, kDst + 2 * kLen, 2)),
                  0u);
        EXPECT_EQ(from_source(12288).bits, 1u) << "and the list is not data";
    }
    EXPECT_EQ(events(), 3u);
    // What reads no data.
    EXPECT_EQ(run(kCopy, fill_packet(VTTM_SPACE_SYSTEM, kDst, 4096, 1)), 0u);
    EXPECT_EQ(run(kCopy, fill_2d({VTTM_SPACE_SYSTEM, kDst, 4096}, 4096, 2, 1)), 0u);
    EXPECT_EQ(run(kCopy, sem_wait(VTTM_SPACE_SYSTEM, kDst, 1, VTTM_CMP_NE)), 0u);
    EXPECT_EQ(events(), 3u);
    EXPECT_EQ(injected(), 3u);
}

// On its way in and on its way out: two faults of one packet.
TEST_F(FaultsRead, BothWaysAtOnce) {
    plan(R"({"kind": "bit-flip", "engine": "copy", "byte": 10, "bit": 0},
            {"kind": "bit-flip", "engine": "copy", "access": "write", "byte": 11, "bit": 0},
            {"kind": "bit-flip", "engine": "copy", "access": "read", "byte": 12, "bit": 0})");
    EXPECT_EQ(run(kCopy, copy()), 0u);
    EXPECT_THAT(from_source().bytes, ElementsAre(10, 12)) << "one of a kind for one event";
    EXPECT_EQ(run(kCopy, copy()), 0u);
    EXPECT_THAT(from_source().bytes, ElementsAre(11));
}

TEST_F(FaultsRead, TheSeedDrawsTheBit) {
    auto flipped = [&](uint64_t seed) {
        plan(R"({"kind": "bit-flip", "access": "read", "engine": "copy"})", seed);
        EXPECT_EQ(run(kCopy, copy()), 0u);
        EXPECT_EQ(from_source().bits, 1u);
        return from_source().bytes;
    };
    const auto first = flipped(1);
    EXPECT_EQ(flipped(1), first);
    EXPECT_NE(flipped(2), first);
}

TEST_F(FaultsRead, APlaceBeyondThePacketIsNeverMet) {
    plan(R"({"kind": "bit-flip", "access": "read", "engine": "copy", "byte": 1048576})");
    EXPECT_EQ(run(kCopy, copy()), 0u);
    EXPECT_THAT(from_source().bytes, SizeIs(0));
    EXPECT_EQ(events(), 1u);
    EXPECT_EQ(injected(), 0u);
}

// The packet stalls, and the plan ends before it comes to the byte.
TEST_F(FaultsRead, EndsWithThePlan) {
    constexpr uint64_t kVa = 0x100000;
    wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY);
    tables_.set(root_, kVa, sys_pte(kSrc));
    for (const bool ends : {false, true}) {
        tables_.set(root_, kVa + kPage, 0);
        invalidate(VTTM_TLB_INV_ALL);
        plan(R"({"kind": "bit-flip", "access": "read", "engine": "copy", "byte": 4096})");
        put_packet(kCopy,
                   copy_packet(VTTM_SPACE_SYSTEM, kDst, VTTM_SPACE_VM, kVa, 2 * kPage));
        const uint64_t seq = kick(kCopy);
        ASSERT_TRUE(
            wait_for([&] { return eng(kCopy, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED; }));
        if (ends) no_plan();
        cure_stalls(kCopy, {{kVa + kPage, sys_pte(kSrc + kPage)}}, seq);
        ASSERT_TRUE(wait_idle(kCopy));
        EXPECT_EQ(from_source(2 * kPage).bits, ends ? 0u : 1u);
    }
}

}  // namespace
}  // namespace vttm::model::test
