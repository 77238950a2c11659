// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/guest_ram.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace vttm::oracle {
namespace {

class GuestRam : public ::testing::Test {
protected:
    std::vector<std::byte> bytes_ = std::vector<std::byte>(16 * 4096);
    GuestRamView view_{.bytes = bytes_, .below_4g = 10 * 4096, .fd = -1};
};

TEST_F(GuestRam, BelowTheHoleGpaIsOffset) {
    EXPECT_EQ(view_.offset(0), 0u);
    EXPECT_EQ(view_.offset(9 * 4096 + 17), 9 * 4096u + 17);
}

TEST_F(GuestRam, AboveTheHole) {
    EXPECT_EQ(view_.offset(GuestRamView::kFourGiB), 10 * 4096u);
    EXPECT_EQ(view_.offset(GuestRamView::kFourGiB + 5 * 4096), 15 * 4096u);
}

TEST_F(GuestRam, TheHoleAndBeyondTheEndAreNotRam) {
    EXPECT_FALSE(view_.offset(10 * 4096));
    EXPECT_FALSE(view_.offset(GuestRamView::kFourGiB - 4096));
    EXPECT_FALSE(view_.offset(GuestRamView::kFourGiB + 6 * 4096));
    EXPECT_FALSE(view_.offset(std::numeric_limits<std::uint64_t>::max()));
    EXPECT_FALSE(view_.offset(std::numeric_limits<std::uint64_t>::max() - 4095));
}

TEST_F(GuestRam, NoHole) {
    const GuestRamView all{.bytes = bytes_, .below_4g = bytes_.size(), .fd = -1};
    EXPECT_EQ(all.offset(15 * 4096), 15 * 4096u);
    EXPECT_FALSE(all.offset(16 * 4096));
    EXPECT_FALSE(all.offset(GuestRamView::kFourGiB));
}

TEST_F(GuestRam, EmptyRamHasNoPage) {
    EXPECT_FALSE(GuestRamView{}.offset(0));
    EXPECT_FALSE(GuestRamView{}.offset(GuestRamView::kFourGiB));
}

TEST_F(GuestRam, GpaIsTheInverse) {
    for (std::uint64_t at = 0; at < bytes_.size(); at += 4096) {
        EXPECT_EQ(view_.offset(view_.gpa(at)), at);
    }
}

}  // namespace
}  // namespace vttm::oracle
