// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/vram_claims.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vttm::cli {
namespace {

TEST(VramClaims, CountsWhatLiesInAPartOfVram) {
    oracle::Ledger ledger(1);
    ledger.add({.id = 7, .pages = 10, .domain = oracle::Domain::kVram});
    const auto claim = oracle::Placement::parse(nlohmann::json::parse(
        R"({"id": 1, "ok": true, "buffers": [{"id": 7, "pages": 10, "runs": [[0, 4, "vram", 65536, -1],
            [4, 2, "gtt", 1048576, -1], [6, 3, "vram", "0x100000000", -1]]},
            {"id": 8, "pages": 1, "runs": [[0, 1, "vram", 8192, -1]]}]})"));
    const auto from = [&](std::uint64_t offset) { return pages_in_vram_from(claim, ledger, offset); };
    EXPECT_EQ(from(0), 7u) << "8 is no buffer of the ledger";
    EXPECT_EQ(from(65536), 7u);
    EXPECT_EQ(from(65536 + 4096), 6u);
    EXPECT_EQ(from(65536 + 4 * 4096), 3u) << "GTT is elsewhere";
    EXPECT_EQ(from((1ull << 32) + 2 * 4096), 1u);
    EXPECT_EQ(from((1ull << 32) + 3 * 4096), 0u);
}

}  // namespace
}  // namespace vttm::cli
