// SPDX-License-Identifier: Apache-2.0
// HASH: against a second implementation, written from the specification of XXH64.
#include "tests/unit/model/fault_machine.h"

namespace vttm::model::test {
namespace {

constexpr auto V = VTTM_SPACE_VRAM;
constexpr auto S = VTTM_SPACE_SYSTEM;
constexpr auto M = VTTM_SPACE_VM;
constexpr uint64_t kVa = 0x10000000;

constexpr uint64_t kP1 = 0x9E3779B185EBCA87ull, kP2 = 0xC2B2AE3D27D4EB4Full,
                   kP3 = 0x165667B19E3779F9ull, kP4 = 0x85EBCA77C2B2AE63ull,
                   kP5 = 0x27D4EB2F165667C5ull;

uint64_t rotl(uint64_t x, int r) { return x << r | x >> (64 - r); }
uint64_t round1(uint64_t acc, uint64_t lane) { return rotl(acc + lane * kP2, 31) * kP1; }
template <typename T>
T load(const uint8_t* p) {
    T t;
    std::memcpy(&t, p, sizeof(t));
    return t;
}

uint64_t reference(const uint8_t* p, uint64_t len, uint64_t seed) {
    const uint8_t* end = p + len;
    uint64_t acc = seed + kP5;
    if (len >= 32) {
        uint64_t a[4] = {seed + kP1 + kP2, seed + kP2, seed, seed - kP1};
        for (; end - p >= 32; p += 32)
            for (int i = 0; i < 4; i++) a[i] = round1(a[i], load<uint64_t>(p + 8 * i));
        acc = rotl(a[0], 1) + rotl(a[1], 7) + rotl(a[2], 12) + rotl(a[3], 18);
        for (uint64_t x : a) acc = (acc ^ round1(0, x)) * kP1 + kP4;
    }
    acc += len;
    for (; end - p >= 8; p += 8) acc = rotl(acc ^ round1(0, load<uint64_t>(p)), 27) * kP1 + kP4;
    for (; end - p >= 4; p += 4) acc = rotl(acc ^ load<uint32_t>(p) * kP1, 23) * kP2 + kP3;
    for (; p < end; p++) acc = rotl(acc ^ *p * kP5, 11) * kP1;
    acc = (acc ^ acc >> 33) * kP2;
    acc = (acc ^ acc >> 29) * kP3;
    return acc ^ acc >> 32;
}

class Hash : public FaultMachine {
protected:
    vttm_hash_result value(uint64_t addr = kResultAddr) {
        return load<vttm_hash_result>(bus_.ram(addr));
    }
};

TEST(HashReference, KnownValues) {
    const auto of = [](const char* s, uint64_t seed) {
        return reference(reinterpret_cast<const uint8_t*>(s), std::strlen(s), seed);
    };
    EXPECT_EQ(of("", 0), 0xef46db3751d8e999ull);
    EXPECT_EQ(of("a", 0), 0xd24ec4f1a98c6e5bull);
    EXPECT_EQ(of("abc", 0), 0x44bc2cf5ad770999ull);
}

TEST_F(Hash, RandomRangesMatchTheReference) {
    std::mt19937_64 rng(2);
    for (int i = 0; i < 200; i++) {
        const uint64_t len = 1 + rng() % (i % 10 ? 300 : 1000000), seed = i % 3 ? rng() : 0;
        const uint64_t at = kFree + rng() % (kRamSize - kFree - len + 1);
        const uint64_t before = bytes(1);
        ASSERT_EQ(run(1, hash(S, at, len, seed, S, kResultAddr)), 0u);
        EXPECT_EQ(value().hash, reference(bus_.ram(at), len, seed)) << len;
        EXPECT_EQ(value().bytes, len);
        EXPECT_EQ(bytes(1) - before, len);
    }
}

TEST_F(Hash, ShortMappingsAndPageTablesGiveTheSame) {
    for (uint64_t i = 0; i < 200; i++)
        tables_.set(root_, kVa + i * kPage, sys_pte(kFree + (200 - i) * kPage, false));
    constexpr uint64_t kLen = 190 * kPage + 123;
    std::vector<uint8_t> linear;
    for (uint64_t i = 0; i < 200; i++)
        linear.insert(linear.end(), bus_.ram(kFree + (200 - i) * kPage),
                      bus_.ram(kFree + (201 - i) * kPage));
    ASSERT_EQ(run(1, hash(M, kVa + 5, kLen, 9, V, 0x40)), 0u);
    EXPECT_EQ(load<vttm_hash_result>(bus_.vram(0x40)).hash, reference(&linear[5], kLen, 9));
    EXPECT_TRUE(bus_.vram_was_dirtied(0x40, sizeof(vttm_hash_result)));
    bus_.limit_mappings(48);
    ASSERT_EQ(run(1, hash(S, kFree + 5, kLen, 9, S, kResultAddr)), 0u);
    EXPECT_EQ(value().hash, reference(bus_.ram(kFree + 5), kLen, 9));
}

TEST_F(Hash, BadOperands) {
    const auto bad = VTTM_FAULT_BAD_PACKET;
    expect_fault(1, hash(S, kFree, 0, 0, S, kResultAddr), bad);
    expect_fault(1, hash(S, kFree, (1ull << 32) + 1, 0, S, kResultAddr), bad);
    expect_fault(1, hash(S, kFree, ~0ull, 0, S, kResultAddr), bad);
    expect_fault(1, hash(S, kFree, 4, 0, S, kResultAddr + 8), bad);
    expect_fault(1, hash(3, kFree, 4, 0, S, kResultAddr), bad);
    expect_fault(1, hash(S, kFree, 4, 0, 3, kResultAddr), bad);
    expect_fault(1, hash(S, ~0ull, 2, 0, S, kResultAddr), VTTM_FAULT_BUS, ~0ull);
    expect_fault(1, hash(V, kVramSize - 3, 4, 0, S, kResultAddr), VTTM_FAULT_VRAM_RANGE,
                 kVramSize - 3);
    expect_fault(1, hash(M, 1ull << 48, 4, 0, S, kResultAddr), VTTM_FAULT_VA_RANGE);
    expect_fault(1, hash(S, kFree, 4, 0, V, kVramSize), VTTM_FAULT_VRAM_RANGE, kVramSize);
    EXPECT_TRUE(rd(VTTM_REG_FAULT_INFO) & VTTM_FAULT_INFO_WRITE);
    EXPECT_EQ(value().bytes, 0u);
}

TEST_F(Hash, AFaultLeavesNoResult) {
    tables_.set(root_, kVa, sys_pte(kFree));
    expect_fault(1, hash(M, kVa, 2 * kPage, 0, S, kResultAddr), VTTM_FAULT_NOT_VALID, kVa + kPage);
    EXPECT_EQ(value().bytes, 0u);
    expect_fault(1, hash(M, kVa, kPage, 0, S, kRamSize), VTTM_FAULT_BUS, kRamSize);
    tables_.set(root_, kVa + kPage, sys_pte(kResultAddr, false));
    expect_fault(1, hash(M, kVa, kPage, 0, M, kVa + kPage), VTTM_FAULT_READ_ONLY, kVa + kPage);
    EXPECT_EQ(value().bytes, 0u);
}

TEST_F(Hash, GoesOnAfterStallsInRangeAndResult) {
    wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY);
    tables_.set(root_, kVa, sys_pte(kFree));
    put_packet(1, hash(M, kVa + 1, kPage + 100, 77, M, kVa + 0x10000));
    put_fence(1, 4);
    ring(1);
    cure_stalls(1, {{kVa + kPage, sys_pte(kFree + kPage)}, {kVa + 0x10000, sys_pte(kResultAddr)}},
                4);
    EXPECT_EQ(fence_status(), 0u);
    EXPECT_EQ(value().hash, reference(bus_.ram(kFree + 1), kPage + 100, 77));
}

// Stamp packets and hashes take turns: neither sees what the other left.
TEST_F(Hash, BesideStamps) {
    const vttm_stamp_id id{3, 0, 1, 1};
    ASSERT_EQ(run(1, stamp_packet(false, V, 0, 2, id)), 0u);
    ASSERT_EQ(run(1, hash(V, 0, 2 * kPage, 0, S, kResultAddr)), 0u);
    EXPECT_EQ(value().hash, reference(bus_.vram(), 2 * kPage, 0));
    ASSERT_EQ(run(1, stamp_packet(true, V, 0, 2, id)), 0u);
    EXPECT_EQ(result().good, 2u);
}

}  // namespace
}  // namespace vttm::model::test
