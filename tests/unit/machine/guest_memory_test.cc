// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/guest_memory.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

namespace vttm::machine {
namespace {

constexpr std::uint64_t kGiB = 1ull << 30;
constexpr std::uint64_t kMiB = 1ull << 20;

TEST(GpaMap, SmallGuestIsFlat) {
    const GpaMap map(1536 * kMiB);
    EXPECT_EQ(map.offset_of(0), 0u);
    EXPECT_EQ(map.offset_of(1536 * kMiB - 1), 1536 * kMiB - 1);
    EXPECT_FALSE(map.offset_of(1536 * kMiB));
    EXPECT_FALSE(map.offset_of(4 * kGiB));
    EXPECT_FALSE(map.offset_of(~0ull));
    EXPECT_EQ(map.gpa_of(1536 * kMiB - 1), 1536 * kMiB - 1);
    EXPECT_FALSE(map.gpa_of(1536 * kMiB));
}

// 2815 MiB is the largest guest without a part above 4 GiB; from 2816 MiB (0xb0000000) on, the hole
// starts at 2 GiB.
TEST(GpaMap, HoleStartsWhereQemuPutsIt) {
    EXPECT_EQ(GpaMap(2815 * kMiB).low_bytes(), 2815 * kMiB);
    const GpaMap map(2816 * kMiB);
    EXPECT_EQ(map.low_bytes(), 2 * kGiB);
    EXPECT_EQ(map.offset_of(2 * kGiB - 1), 2 * kGiB - 1);
    EXPECT_FALSE(map.offset_of(2 * kGiB));
    EXPECT_FALSE(map.offset_of(4 * kGiB - 1));
    EXPECT_EQ(map.offset_of(4 * kGiB), 2 * kGiB);
    EXPECT_EQ(map.offset_of(4 * kGiB + 768 * kMiB - 1), 2816 * kMiB - 1);
    EXPECT_FALSE(map.offset_of(4 * kGiB + 768 * kMiB));
    EXPECT_EQ(map.gpa_of(2 * kGiB), 4 * kGiB);
}

TEST(GpaMap, LessBelowTheHoleThanQemuWouldGive) {
    const GpaMap map(1536 * kMiB, 1024 * kMiB);
    EXPECT_EQ(map.low_bytes(), 1024 * kMiB);
    EXPECT_FALSE(map.offset_of(1024 * kMiB));
    EXPECT_EQ(map.offset_of(4 * kGiB), 1024 * kMiB);
    EXPECT_FALSE(map.offset_of(4 * kGiB + 512 * kMiB));
    EXPECT_EQ(GpaMap(512 * kMiB, 1024 * kMiB).low_bytes(), 512 * kMiB);
    EXPECT_EQ(GpaMap(8 * kGiB, 3 * kGiB).low_bytes(), 2 * kGiB);
}

TEST(GpaMap, ThereAndBack) {
    for (const std::uint64_t ram : {64 * kMiB, 2815 * kMiB, 2816 * kMiB, 8 * kGiB}) {
        const GpaMap map(ram, ram == 8 * kGiB ? kGiB : 0);
        for (std::uint64_t offset = 0; offset < ram; offset += 7 * kMiB) {
            const auto gpa = map.gpa_of(offset);
            ASSERT_TRUE(gpa);
            ASSERT_EQ(map.offset_of(*gpa), offset);
        }
    }
}

class RamView : public testing::Test {
  protected:
    static GuestRam make(std::uint64_t bytes) {
        UniqueFd fd(::memfd_create("ram", MFD_CLOEXEC));
        EXPECT_EQ(::ftruncate(fd.get(), static_cast<off_t>(bytes)), 0);
        return GuestRam(std::move(fd), GpaMap(bytes));
    }
};

TEST_F(RamView, RangesEndAtTheEdges) {
    const GuestRam ram = make(3 * kGiB);  // sparse: nothing is touched
    EXPECT_EQ(ram.at(0, 4096).data(), ram.bytes().data());
    EXPECT_EQ(ram.at(4 * kGiB, 4096).data(), ram.bytes().data() + 2 * kGiB);
    EXPECT_EQ(ram.at(2 * kGiB - 4096, 4096).size(), 4096u);
    EXPECT_TRUE(ram.at(2 * kGiB - 4096, 4097).empty());      // into the hole
    EXPECT_TRUE(ram.at(2 * kGiB - 4096, 2 * kGiB + 8192).empty());  // across it
    EXPECT_TRUE(ram.at(5 * kGiB - 1, 2).empty());
    EXPECT_TRUE(ram.at(~0ull, 1).empty());
    EXPECT_TRUE(ram.at(0, ~0ull).empty());
    EXPECT_TRUE(ram.at(0, 0).empty());
}

TEST_F(RamView, WritesReachTheFile) {
    const GuestRam ram = make(1 * kMiB);
    ram.at(8192, 1)[0] = std::byte{0x5a};
    unsigned char c = 0;
    ASSERT_EQ(::pread(ram.fd(), &c, 1, 8192), 1);
    EXPECT_EQ(c, 0x5a);
}

}  // namespace
}  // namespace vttm::machine
