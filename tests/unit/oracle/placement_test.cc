// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/placement.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace vttm::oracle {
namespace {

using nlohmann::json;

json reply(const std::string& runs, int pages = 10) {
    return json::parse(R"({"id":1,"ok":true,"buffers":[{"id":7,"pages":)" + std::to_string(pages) +
                       R"(,"runs":)" + runs + "}]}");
}

TEST(Placement, FindsEachPageOfARun) {
    const Placement p = Placement::parse(
        reply(R"([[4,2,"swapcache",65536,9],[0,4,"shmem","0x100000000",-1],[6,3,"swap",0,100]])"));
    EXPECT_EQ(p.find({7, 0}), (Place{PlaceKind::kShmem, 1ull << 32, -1}));
    EXPECT_EQ(p.find({7, 3}), (Place{PlaceKind::kShmem, (1ull << 32) + 3 * 4096, -1}));
    EXPECT_EQ(p.find({7, 5}), (Place{PlaceKind::kSwapcache, 65536 + 4096, 10}));
    EXPECT_EQ(p.find({7, 8}), (Place{PlaceKind::kSwap, 0, 102}));
    EXPECT_EQ(p.find({7, 9}), Place{});
    EXPECT_EQ(p.find({8, 0}), Place{});
    EXPECT_EQ(p.find({7, 1ull << 60}), Place{});
}

TEST(Placement, AllKindsAreKnown) {
    for (const char* kind : {"vram", "gtt", "system", "shmem", "swapcache", "swap", "none"}) {
        const Placement p =
            Placement::parse(reply(std::string(R"([[0,1,")") + kind + R"(",4096,5]])"));
        EXPECT_EQ(name_of(p.find({7, 0}).kind), kind);
    }
}

TEST(Placement, SummaryCountsWhatIsNotClaimed) {
    Ledger ledger(1);
    ledger.add({.id = 7, .pages = 10, .domain = Domain::kGtt});
    ledger.add({.id = 8, .pages = 6, .domain = Domain::kVram});
    ledger.add({.id = 9, .pages = 10, .domain = Domain::kGtt});
    Placement p = Placement::parse(reply(R"([[0,2,"gtt",4096,-1],[2,5,"swap",0,100]])"));
    p.add_buffer(8, 6, {{0, 6, {PlaceKind::kSwap, 0, 500}}});
    p.add_buffer(70, 1, {{0, 1, {PlaceKind::kGtt, 4096, -1}}});
    const PlacementSummary all = p.summary(ledger);
    EXPECT_EQ(all[PlaceKind::kGtt], 2u);
    EXPECT_EQ(all[PlaceKind::kSwap], 11u);
    EXPECT_EQ(all[PlaceKind::kNone], 13u);
    EXPECT_EQ(all.total(), 26u);
    EXPECT_DOUBLE_EQ(p.gtt_swap_share(ledger), 5.0 / 20);
    EXPECT_EQ(Placement().gtt_swap_share(Ledger(1)), 0.0);
}

TEST(Placement, RefusesMalformedReplies) {
    EXPECT_THROW(Placement::parse(json::parse("{}")), PlacementError);
    EXPECT_THROW(Placement::parse(json::parse("[]")), PlacementError);
    EXPECT_THROW(Placement::parse(json::parse(R"({"buffers":[{"id":1}]})")), PlacementError);
    EXPECT_THROW(Placement::parse(json::parse(R"({"buffers":[{"id":-1,"pages":1,"runs":[]}]})")),
                 PlacementError);
    EXPECT_THROW(
        Placement::parse(json::parse(R"({"buffers":[{"id":4294967296,"pages":1,"runs":[]}]})")),
        PlacementError);
    for (const char* runs : {
             R"([[0,1,"gtt",4096]])",                          // too short
             R"([["0",1,"gtt",4096,-1]])",                     // no number
             R"([[0,1,"limbo",4096,-1]])",                     // unknown kind
             R"([[0,1,3,4096,-1]])",                           // kind is no name
             R"([[0,0,"gtt",4096,-1]])",                       // empty
             R"([[9,2,"gtt",4096,-1]])",                       // leaves the buffer
             R"([[0,18446744073709551615,"gtt",4096,-1]])",    // count wraps
             R"([[0,2,"gtt",4096,-1],[1,1,"gtt",65536,-1]])",  // overlap
             R"([[0,1,"gtt",4097,-1]])",                       // not aligned
             R"([[0,1,"gtt",0,-1]])",                          // resident nowhere
             R"([[0,2,"gtt",18446744073709547520,-1]])",       // address wraps
             R"([[0,1,"gtt",-4096,-1]])",                      // negative
             R"([[0,1,"gtt","0x10zz",-1]])",                   // not hex
             R"([[0,1,"gtt","",-1]])",                         // empty address
             R"([[0,1,"swap",0,0]])",                          // slot of the header
             R"([[0,1,"swap",0,-1]])",                         // no slot
             R"([[0,1,"swapcache",4096,-1]])",                 // no slot
             R"([[0,1,"swap",0,18446744073709551615]])",       // absurd slot
             R"([[0,1,"swap",0,1.5]])",                        // no integer
         }) {
        EXPECT_THROW(Placement::parse(reply(runs)), PlacementError) << runs;
    }
}

TEST(Placement, RefusesABufferTwice) {
    Placement p;
    p.add_buffer(1, 1, {});
    EXPECT_THROW(p.add_buffer(1, 1, {}), PlacementError);
}

}  // namespace
}  // namespace vttm::oracle
