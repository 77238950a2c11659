// SPDX-License-Identifier: Apache-2.0
// The copy engine: fills, copies, rectangles and lists, in every space and leaf size.
#include <tuple>

#include "tests/unit/independent/fixture.h"

namespace vttm::independent {
namespace {

constexpr uint64_t kVa = 0x7f1234600000, kVb = 0x00a987a00000;

std::vector<uint8_t> Slice(const std::vector<uint8_t>& v, size_t at, size_t n) {
    return {v.begin() + static_cast<ptrdiff_t>(at), v.begin() + static_cast<ptrdiff_t>(at + n)};
}

class CopyEngine : public IndependentDriver {};

TEST_F(CopyEngine, FillWritesItsBytesAndNoOthers) {
    for (const uint32_t space : {VTTM_SPACE_VRAM, VTTM_SPACE_SYSTEM}) {
        const Place at = device->AllocPlace(space, 8192);
        std::vector<uint8_t> expected = Random(8192);
        device->Write(at, expected);
        EXPECT_EQ(copy->Run(Program().Fill(at + 4092, 12, 0xa1b2c3d4)), 0u);
        for (size_t i = 0; i < 12; i++)
            expected[4092 + i] = static_cast<uint8_t>(0xa1b2c3d4u >> 8 * (i % 4));
        EXPECT_EQ(device->Read(at, 8192), expected);
    }
}

class CopyByLeaf : public CopyEngine,
                   public testing::WithParamInterface<std::tuple<Leaf, uint32_t>> {};

TEST_P(CopyByLeaf, BetweenVramAndSystemBothWays) {
    const auto [leaf, tables] = GetParam();
    const uint64_t size = static_cast<uint64_t>(leaf);
    AddressSpace vm(*device, 7, tables);
    const Place system = System(device->AllocSystem(2 * size, size));
    const Place vram = Vram(device->AllocVram(2 * size, size));
    vm.Map(kVa, system, 2 * size, leaf, 0);  // read only
    vm.Map(kVb, vram, 2 * size, leaf);

    // Odd addresses, across the border of the two leaves.
    const std::vector<uint8_t> bytes = Random(3001);
    const uint64_t from = size - 1501, to = size - 700;
    device->Write(system + from, bytes);
    const std::vector<uint8_t> around = Random(1);
    device->Write(vram + to + bytes.size(), around);
    EXPECT_EQ(
        copy->Run(Program().SetVm(7).Copy(Virtual(kVb + to), Virtual(kVa + from), bytes.size())),
        0u);
    EXPECT_EQ(device->Read(vram + to, bytes.size()), bytes);
    EXPECT_EQ(device->Read(vram + to + bytes.size(), 1), around);

    // Back: the other mapping must now give WRITE, which is a change of valid entries.
    vm.Map(kVa, system, 2 * size, leaf);
    ASSERT_TRUE(device->Invalidate(VTTM_TLB_INV_RANGE, 7, kVa,
                                   static_cast<uint32_t>(2 * size >> VTTM_PAGE_SHIFT)));
    const std::vector<uint8_t> other = Random(2500);
    device->Write(vram + to, other);
    EXPECT_EQ(
        copy->Run(Program().SetVm(7).Copy(Virtual(kVa + from), Virtual(kVb + to), other.size())),
        0u);
    EXPECT_EQ(device->Read(system + from, other.size()), other);
    EXPECT_EQ(device->Read(system + from + other.size(), 501), Slice(bytes, 2500, 501));
}

INSTANTIATE_TEST_SUITE_P(, CopyByLeaf,
                         testing::Combine(testing::Values(Leaf::k4K, Leaf::k64K, Leaf::k2M),
                                          testing::Values(VTTM_SPACE_SYSTEM, VTTM_SPACE_VRAM)),
                         [](const auto& info) {
                             const char* leaf = std::get<0>(info.param) == Leaf::k4K    ? "4KiB"
                                                : std::get<0>(info.param) == Leaf::k64K ? "64KiB"
                                                                                        : "2MiB";
                             return std::string(leaf) + (std::get<1>(info.param) == VTTM_SPACE_VRAM
                                                             ? "TablesInVram"
                                                             : "TablesInSystem");
                         });

TEST_F(CopyEngine, VramBeyondTheApertureIsReachedByPackets) {
    const std::vector<uint8_t> bytes = Random(5000);
    const Place in = System(device->AllocSystem(8192)), out = System(device->AllocSystem(8192));
    const Place hidden = Vram(device->vram_visible() + 12345);
    device->Write(in, bytes);
    EXPECT_EQ(copy->Run(Program().Copy(hidden, in, bytes.size()).Copy(out, hidden, bytes.size())),
              0u);
    EXPECT_EQ(device->Read(out, bytes.size()), bytes);
}

TEST_F(CopyEngine, OverlapWithinASpaceIsRefusedNeighboursAreNot) {
    const Place at = Vram(device->AllocVram(16384));
    const std::vector<uint8_t> bytes = Random(16384);
    device->Write(at, bytes);
    OneFault(*copy, Program().Copy(at + 4095, at, 4096), VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(device->Read(at, 16384), bytes) << "a packet that is refused does nothing";
    EXPECT_EQ(copy->Run(Program().Copy(at + 4096, at, 4096)), 0u);
    EXPECT_EQ(device->Read(at + 4096, 4096), Slice(bytes, 0, 4096));
    // The same number in another space is another place.
    EXPECT_EQ(copy->Run(Program().Copy(System(device->AllocSystem(4096)), at, 4096)), 0u);
}

TEST_F(CopyEngine, RectangleBetweenTwoPitches) {
    constexpr uint32_t kSrcPitch = 100, kDstPitch = 333, kWidth = 77, kHeight = 41;
    const Place src = System(device->AllocSystem(kSrcPitch * kHeight)),
                dst = Vram(device->AllocVram(kDstPitch * kHeight));
    const std::vector<uint8_t> from = Random(kSrcPitch * kHeight);
    std::vector<uint8_t> to = Random(kDstPitch * kHeight);
    device->Write(src, from);
    device->Write(dst, to);
    EXPECT_EQ(copy->Run(Program().Copy2d(dst, kDstPitch, src, kSrcPitch, kWidth, kHeight)), 0u);
    for (size_t y = 0; y < kHeight; y++) {
        std::copy_n(&from[y * kSrcPitch], kWidth, &to[y * kDstPitch]);
    }
    EXPECT_EQ(device->Read(dst, to.size()), to);
}

TEST_F(CopyEngine, TwoWindowsOfOneSurfaceButNoCrossing) {
    constexpr uint32_t kPitch = 256, kHeight = 16;
    const Place surface = Vram(device->AllocVram(kPitch * kHeight));
    std::vector<uint8_t> bytes = Random(kPitch * kHeight);
    device->Write(surface, bytes);
    // Side by side in the same rows: the extents cross, the rows miss each other.
    EXPECT_EQ(copy->Run(Program().Copy2d(surface + 128, kPitch, surface, kPitch, 128, kHeight)),
              0u);
    for (size_t y = 0; y < kHeight; y++)
        std::copy_n(&bytes[y * kPitch], 128, &bytes[y * kPitch + 128]);
    EXPECT_EQ(device->Read(surface, bytes.size()), bytes);
    OneFault(*copy, Program().Copy2d(surface + 127, kPitch, surface, kPitch, 128, kHeight),
             VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().Copy2d(surface + 128, kPitch, surface, 2 * kPitch, 4, 4),
             VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(device->Read(surface, bytes.size()), bytes);
}

TEST_F(CopyEngine, FilledRectangleLeavesTheGapsAlone) {
    constexpr uint32_t kPitch = 64, kWidth = 20, kHeight = 9;
    AddressSpace vm(*device, 1);
    const Place at = System(device->AllocSystem(4096));
    vm.Map(kVa, at, 4096);
    std::vector<uint8_t> bytes = Random(kPitch * kHeight);
    device->Write(at, bytes);
    EXPECT_EQ(
        copy->Run(Program().SetVm(1).Fill2d(Virtual(kVa), kPitch, kWidth, kHeight, 0x33221100)),
        0u);
    for (size_t y = 0; y < kHeight; y++) {
        for (size_t x = 0; x < kWidth; x++)
            bytes[y * kPitch + x] = static_cast<uint8_t>(0x11 * (x % 4));
    }
    EXPECT_EQ(device->Read(at, bytes.size()), bytes);
}

class Lists : public CopyEngine {
protected:
    Place PutList(const std::vector<vttm_sg_entry>& entries, uint32_t space = VTTM_SPACE_SYSTEM) {
        const Place list = device->AllocPlace(space, entries.size() * sizeof(vttm_sg_entry));
        device->Write(list, {reinterpret_cast<const uint8_t*>(entries.data()),
                             entries.size() * sizeof(vttm_sg_entry)});
        return list;
    }
};

TEST_F(Lists, GatherAndScatterInTheListsOrder) {
    const Place pool = System(device->AllocSystem(65536)), line = Vram(device->AllocVram(65536));
    const std::vector<uint8_t> bytes = Random(65536);
    device->Write(pool, bytes);
    const std::vector<vttm_sg_entry> pieces{{pool.address + 7000, 5001, 0},
                                            {pool.address + 3, 1, 0},
                                            {pool.address + 40000, 9000, 0},
                                            {pool.address + 7000, 17, 0}};
    const Place list = PutList(pieces, VTTM_SPACE_VRAM);
    EXPECT_EQ(copy->Run(Program().Gather(line + 5, VTTM_SPACE_SYSTEM, list, 4)), 0u);
    std::vector<uint8_t> expected;
    for (const vttm_sg_entry& p : pieces) {
        const std::vector<uint8_t> piece = Slice(bytes, p.addr - pool.address, p.len);
        expected.insert(expected.end(), piece.begin(), piece.end());
    }
    EXPECT_EQ(device->Read(line + 5, expected.size()), expected);

    // Back to other places, two of which overlap: the later one stays.
    const Place target = System(device->AllocSystem(65536));
    std::vector<uint8_t> image = Random(65536);
    device->Write(target, image);
    const std::vector<vttm_sg_entry> to{{target.address + 100, 6000, 0},
                                        {target.address + 3000, 8000, 0}};
    EXPECT_EQ(copy->Run(Program().Scatter(VTTM_SPACE_SYSTEM, line + 5, PutList(to), 2)), 0u);
    std::copy_n(expected.begin(), 6000, image.begin() + 100);
    std::copy_n(expected.begin() + 6000, 8000, image.begin() + 3000);
    EXPECT_EQ(device->Read(target, image.size()), image);
}

TEST_F(Lists, TheLongestListThatThereIs) {
    const Place pool = System(device->AllocSystem(VTTM_SG_MAX * 16)),
                line = Vram(device->AllocVram(VTTM_SG_MAX * 5));
    const std::vector<uint8_t> bytes = Random(VTTM_SG_MAX * 16);
    device->Write(pool, bytes);
    std::vector<vttm_sg_entry> pieces;
    std::vector<uint8_t> expected;
    for (uint32_t i = VTTM_SG_MAX; i-- > 0;) {  // 5 of each 16 bytes, the last ones first
        pieces.push_back({pool.address + 16 * i + 1, 5, 0});
        expected.insert(expected.end(), &bytes[16 * i + 1], &bytes[16 * i + 6]);
    }
    EXPECT_EQ(copy->Run(Program().Gather(line, VTTM_SPACE_SYSTEM, PutList(pieces), VTTM_SG_MAX)),
              0u);
    EXPECT_EQ(device->Read(line, expected.size()), expected);
}

TEST_F(Lists, NothingIsCopiedUnlessTheWholeListIsRight) {
    const Place from = Vram(device->AllocVram(8192));
    const Place target = System(device->AllocSystem(8192));
    const std::vector<uint8_t> before = Random(8192);
    device->Write(target, before);
    const vttm_sg_entry good{target.address, 4096, 0};
    const auto refused = [&](vttm_sg_entry bad, uint32_t reason) {
        const vttm_fault_record r = OneFault(
            *copy, Program().Scatter(VTTM_SPACE_SYSTEM, from, PutList({good, bad}), 2), reason);
        EXPECT_EQ(device->Read(target, 8192), before);
        return r;
    };
    refused({target.address + 4096, 0, 0}, VTTM_FAULT_BAD_PACKET);
    refused({target.address + 4096, 16, 1}, VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(refused({~0ull - 10, 100, 0}, VTTM_FAULT_BUS).addr, ~0ull - 10);
    const Place list = PutList({good});
    OneFault(*copy, Program().Scatter(VTTM_SPACE_SYSTEM, from, list, 0), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().Scatter(VTTM_SPACE_SYSTEM, from, list, VTTM_SG_MAX + 1),
             VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().Scatter(VTTM_SPACE_SYSTEM, from, list + 8, 1), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().Scatter(VTTM_SPACE_SYSTEM, target + 100, list, 1),
             VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(device->Read(target, 8192), before);
}

}  // namespace
}  // namespace vttm::independent
