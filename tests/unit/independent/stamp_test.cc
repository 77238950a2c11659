// SPDX-License-Identifier: Apache-2.0
// The stamp engine: stamps written and judged, hashes.
#include <xxhash.h>

#include "protocol/vttm_stamp.h"
#include "tests/unit/independent/fixture.h"

namespace vttm::independent {
namespace {

constexpr uint64_t kVa = 0x123456600000;

class StampEngine : public IndependentDriver {
protected:
    /// The page that vttm_stamp.h makes of an identity.
    static std::vector<uint8_t> Page(const StampRun& run, uint64_t index) {
        alignas(8) uint8_t bytes[VTTM_STAMP_PAGE_SIZE];
        const vttm_stamp_id id{run.key, run.page + index, run.buffer, run.generation};
        vttm_stamp_fill(bytes, &id);
        return {bytes, bytes + sizeof bytes};
    }

    vttm_stamp_result Verify(Place at, const StampRun& run) {
        const Place result = System(device->AllocSystem(sizeof(vttm_stamp_result), 16));
        device->Write(result, std::vector<uint8_t>(sizeof(vttm_stamp_result), 0xee));
        EXPECT_EQ(stamp->Run(Program().StampVerify(at, run, result)), 0u)
            << "a bad page is no error";
        return device->ReadAs<vttm_stamp_result>(result);
    }
};

TEST_F(StampEngine, DeviceAndCpuMakeTheSamePages) {
    const StampRun run{.npages = 5,
                       .buffer = 0x77,
                       .generation = 3,
                       .page = 0xfedcba9876,
                       .key = 0x123456789abcdef0};
    const Place at = Vram(device->AllocVram(5 * VTTM_PAGE_SIZE));
    EXPECT_EQ(stamp->Run(Program().StampWrite(at, run)), 0u);
    for (uint64_t i = 0; i < run.npages; i++) {
        EXPECT_EQ(device->Read(at + i * VTTM_PAGE_SIZE, VTTM_PAGE_SIZE), Page(run, i))
            << "page " << i;
    }
}

TEST_F(StampEngine, VerifyThroughAVmInEveryLeafSize) {
    AddressSpace vm(*device, 200, VTTM_SPACE_VRAM);
    uint64_t va = kVa;
    for (const Leaf leaf : {Leaf::k4K, Leaf::k64K, Leaf::k2M}) {
        const uint64_t size = static_cast<uint64_t>(leaf);
        const Place memory = System(device->AllocSystem(size, size));
        vm.Map(va, memory, size, leaf);
        const StampRun run{.npages = static_cast<uint32_t>(size >> VTTM_PAGE_SHIFT),
                           .generation = 9};
        EXPECT_EQ(stamp->Run(Program().SetVm(200).StampWrite(Virtual(va), run)), 0u);
        EXPECT_EQ(device->Read(memory + (size - VTTM_PAGE_SIZE), VTTM_PAGE_SIZE),
                  Page(run, run.npages - 1));
        const vttm_stamp_result result = Verify(Virtual(va), run);
        EXPECT_EQ(result.checked, run.npages);
        EXPECT_EQ(result.good, run.npages);
        EXPECT_EQ(result.bad, 0u);
        va += 1ull << VTTM_LEAF_2M_SHIFT;
    }
}

TEST_F(StampEngine, OnePlantedByteIsFound) {
    const StampRun run{.npages = 64, .page = 1000};
    const Place at = Vram(device->AllocVram(64 * VTTM_PAGE_SIZE));
    EXPECT_EQ(stamp->Run(Program().StampWrite(at, run)), 0u);
    ASSERT_EQ(Verify(at, run).good, 64u);
    const Place byte = at + 37 * VTTM_PAGE_SIZE + 1234;
    device->Write(byte,
                  std::vector<uint8_t>{static_cast<uint8_t>(device->Read(byte, 1)[0] ^ 0x10)});
    const vttm_stamp_result result = Verify(at, run);
    EXPECT_EQ(result.checked, 64u);
    EXPECT_EQ(result.good, 63u);
    EXPECT_EQ(result.bad, 1u);
    EXPECT_EQ(result.first_bad_page, run.page + 37);
    EXPECT_EQ(result.by_class[VTTM_STAMP_BITFLIP], 1u);
}

TEST_F(StampEngine, EveryClassOfBadPage) {
    const StampRun run{.npages = 8, .buffer = 5, .generation = 4};
    const Place at = Vram(device->AllocVram(8 * VTTM_PAGE_SIZE));
    const auto page = [&](uint64_t i) { return at + i * VTTM_PAGE_SIZE; };
    EXPECT_EQ(stamp->Run(Program().StampWrite(at, run)), 0u);
    StampRun old = run, other = run, key = run;
    old.generation = 3;
    other.buffer = 6;
    key.key++;
    device->Write(page(1), std::vector<uint8_t>(VTTM_PAGE_SIZE, 0));
    device->Write(page(2), Page(old, 2));
    device->Write(page(3), Page(other, 3));
    device->Write(page(4), std::vector<uint8_t>(VTTM_PAGE_SIZE / 2, 0));
    device->Write(page(5), Random(VTTM_PAGE_SIZE));
    device->Write(page(6), Page(key, 6));  // under another key: garbage
    const vttm_stamp_result result = Verify(at, run);
    EXPECT_EQ(result.good, 2u);
    EXPECT_EQ(result.bad, 6u);
    EXPECT_EQ(result.first_bad_page, 1u);
    const uint32_t expected[8] = {0, 1, 1, 1, 1, 0, 2, 0};
    for (unsigned c = 0; c < 8; c++) EXPECT_EQ(result.by_class[c], expected[c]) << "class " << c;
}

TEST_F(StampEngine, OperandsThatAreRefused) {
    const Place at = Vram(device->AllocVram(VTTM_PAGE_SIZE)),
                result = System(device->AllocSystem(VTTM_PAGE_SIZE));
    const auto refuse = [&](const Program& p) { OneFault(*stamp, p, VTTM_FAULT_BAD_PACKET); };
    refuse(Program().StampWrite(at + 8, {}));
    refuse(Program().StampWrite(at, {.npages = 0}));
    refuse(Program().StampWrite(at, {.npages = (1u << 20) + 1}));
    refuse(Program().StampWrite(at, {.buffer = 0}));
    refuse(Program().StampWrite(at, {.generation = 0}));
    refuse(Program().StampWrite(at, {.npages = 2, .page = ~0ull}));
    refuse(Program().StampVerify(at, {}, result + 8));
    refuse(Program().StampVerify(at, {}, result + (VTTM_PAGE_SIZE - 32)));
    EXPECT_EQ(device->Read(at, VTTM_PAGE_SIZE), std::vector<uint8_t>(VTTM_PAGE_SIZE, 0));
}

TEST_F(StampEngine, HashesAreThoseOfLibxxhash) {
    const std::vector<uint8_t> bytes = Random(300001);
    const Place at = Vram(device->AllocVram(bytes.size())),
                result = System(device->AllocSystem(VTTM_PAGE_SIZE));
    device->Write(at, bytes);
    const std::vector<std::pair<size_t, size_t>> ranges{{0, 1},    {3, 31},     {7, 32},
                                                        {1, 4097}, {0, 262144}, {5, 299996}};
    for (const auto& [offset, length] : ranges) {
        for (const uint64_t seed : {0ull, 0xfeedface12345678ull}) {
            EXPECT_EQ(stamp->Run(Program().Hash(at + offset, length, seed, result)), 0u);
            const auto got = device->ReadAs<vttm_hash_result>(result);
            EXPECT_EQ(got.hash, XXH64(&bytes[offset], length, seed))
                << length << " bytes at " << offset;
            EXPECT_EQ(got.bytes, length);
        }
    }
}

TEST_F(StampEngine, AHashThatFailsWritesNoResult) {
    AddressSpace vm(*device, 2);
    vm.Map(kVa, Vram(device->AllocVram(VTTM_PAGE_SIZE)), VTTM_PAGE_SIZE);
    const Place result = System(device->AllocSystem(VTTM_PAGE_SIZE));
    device->Write64(result, 0x1111);
    const vttm_fault_record r =
        OneFault(*stamp, Program().SetVm(2).Hash(Virtual(kVa), VTTM_PAGE_SIZE + 1, 0, result),
                 VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(r.addr, kVa + VTTM_PAGE_SIZE);
    EXPECT_EQ(device->Read64(result), 0x1111u);
}

}  // namespace
}  // namespace vttm::independent
