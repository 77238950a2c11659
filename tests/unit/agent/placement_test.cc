// SPDX-License-Identifier: Apache-2.0
// The driver's placement text: parsed in any pieces, malformed text refused, handed on as JSON.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "guest-driver/libvttm/agent/placement_parser.h"
#include "tests/unit/agent/agent_fixture.h"

namespace vttm::guest::test {
namespace {

using nlohmann::json;

constexpr const char* kGood =
    "bo 1 512\n"
    "0 512 vram 0x200000 -1\n"
    "bo 2 5\n"
    "0 1 gtt 0x12345000 -1\n"
    "1 1 shmem 0x1000 -1\n"
    "2 1 swapcache 0x7fffe000 17\n"
    "3 2 swap 0x0 1048575\n"
    "bo 3 2\n"
    "0 1 system abc000 -1\n"
    "1 1 none 0x0 -1\n";

struct Parsed {
    std::vector<std::pair<std::uint32_t, std::uint64_t>> buffers;
    std::vector<PlacementRun> runs;
};

Parsed parse(const std::string& text, std::size_t piece) {
    Parsed parsed;
    PlacementParser parser(
        {[&](std::uint32_t tag, std::uint64_t pages) { parsed.buffers.emplace_back(tag, pages); },
         [&](const PlacementRun& run) { parsed.runs.push_back(run); }});
    for (std::size_t at = 0; at < text.size(); at += piece) {
        parser.feed(std::string_view(text).substr(at, piece));
    }
    parser.finish();
    return parsed;
}

TEST(PlacementParser, ReadsAllKindsInPiecesOfAnySize) {
    for (std::size_t piece = 1; piece < 300; ++piece) {
        const Parsed parsed = parse(kGood, piece);
        ASSERT_EQ(parsed.buffers.size(), 3u);
        EXPECT_EQ(parsed.buffers[1], (std::pair<std::uint32_t, std::uint64_t>{2, 5}));
        ASSERT_EQ(parsed.runs.size(), 7u);
        EXPECT_EQ(parsed.runs[0].kind, "vram");
        EXPECT_EQ(parsed.runs[0].count, 512u);
        EXPECT_EQ(parsed.runs[0].addr, 0x200000u);
        EXPECT_EQ(parsed.runs[3].kind, "swapcache");
        EXPECT_EQ(parsed.runs[3].slot, 17);
        EXPECT_EQ(parsed.runs[4].slot, 1048575);
        EXPECT_EQ(parsed.runs[5].addr, 0xabc000u);
        EXPECT_EQ(parsed.runs[6].kind, "none");
    }
    EXPECT_TRUE(parse("", 1).buffers.empty());
}

TEST(PlacementParser, RefusesMalformedText) {
    const std::string bo = "bo 1 4\n";
    const std::vector<std::string> bad = {
        "bo\n",
        "bo 1\n",
        "bo x 4\n",
        "bo 1 4 5\n",
        "bo -1 4\n",
        "bo 4294967296 4\n",
        "0 4 gtt 0x0 -1\n",                       // no buffer yet
        "bo 1 4",                                 // cut off
        bo,                                       // no runs
        bo + "0 3 gtt 0x0 -1\n",                  // a page missing at the end
        bo + "0 5 gtt 0x0 -1\n",                  // a page too many
        bo + "1 3 gtt 0x0 -1\n",                  // a page missing at the start
        bo + "0 2 gtt 0x0 -1\n1 3 gtt 0x0 -1\n",  // overlap
        bo + "0 2 gtt 0x0 -1\n3 1 gtt 0x0 -1\n",  // gap
        bo + "0 0 gtt 0x0 -1\n0 4 gtt 0x0 -1\n",  // empty run
        bo + "0 4 tape 0x0 -1\n",
        bo + "0 4 gtt 0xzz -1\n",
        bo + "0 4 gtt 0x0\n",
        bo + "0 4 gtt 0x0 -1 9\n",
        bo + "0 4 gtt 0x0 -2\n",
        bo + "0 4 gtt 0x0 slot\n",
        bo + "0 18446744073709551615 gtt 0x0 -1\n",
        bo + "0 99999999999999999999 gtt 0x0 -1\n",
        bo + "0 4 gtt 0x10000000000000000 -1\n",
        bo + "0 4 gtt 0x0 -1",  // cut off
        "hello world\n",
        std::string(100'000, 'x'),
        bo + "0 4 gtt 0x0 -1\n" + std::string(1, '\0') + "\n",
    };
    for (const std::string& text : bad) {
        EXPECT_THROW(parse(text, 7), PlacementError) << text.substr(0, 100);
        EXPECT_THROW(parse(text, 1 << 20), PlacementError) << text.substr(0, 100);
    }
}

TEST(PlacementParser, NamesTheLine) {
    try {
        parse("bo 1 1\n0 1 gtt 0x0 -1\nbo 2 1\n0 1 nowhere 0x0 -1\n", 1000);
        FAIL();
    } catch (const PlacementError& error) {
        EXPECT_NE(std::string(error.what()).find("line 4"), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find("nowhere"), std::string::npos) << error.what();
    }
}

class PlacementTest : public AgentTest {
protected:
    void put_placement(const std::string& text) {
        put("/sys/kernel/debug/dri/128/vttm_stats", "buffers 1\n");
        put("/sys/kernel/debug/dri/128/placement", text);
    }
};

TEST_F(PlacementTest, IsHandedOn) {
    put("/sys/kernel/debug/dri/0/name", "other\n");
    put_placement(kGood);
    start();
    const json answer = call_ok({{"op", "placement"}});
    EXPECT_EQ(answer.at("buffers"), json::parse(R"([
      {"id":1,"pages":512,"runs":[[0,512,"vram",2097152,-1]]},
      {"id":2,"pages":5,"runs":[[0,1,"gtt",305418240,-1],[1,1,"shmem",4096,-1],
                               [2,1,"swapcache",2147475456,17],[3,2,"swap",0,1048575]]},
      {"id":3,"pages":2,"runs":[[0,1,"system",11255808,-1],[1,1,"none",0,-1]]}])"));
}

TEST_F(PlacementTest, NoBuffersIsAnEmptyList) {
    put_placement("");
    start();
    EXPECT_EQ(call_ok({{"op", "placement"}}).at("buffers"), json::array());
}

TEST_F(PlacementTest, MalformedOrAbsentIsAnError) {
    start();
    call_error({{"op", "placement"}}, ENODEV);
    put_placement("bo 1 2\n0 1 gtt 0x0 -1\n");
    call_error({{"op", "placement"}}, EIO);
    put_placement(kGood);
    call_ok({{"op", "placement"}});
}

TEST_F(PlacementTest, AnAnswerOverTheLineLimitIsAnErrorNotABrokenLine) {
    std::string text = "bo 1 700000\n";
    for (int page = 0; page < 700'000; ++page) {
        text += std::to_string(page) + " 1 swap 0x0 " + std::to_string(1'000'000 + page) + "\n";
    }
    put_placement(text);
    start();
    call_error({{"op", "placement"}}, EMSGSIZE);
    call_ok({{"op", "hello"}});
}

}  // namespace
}  // namespace vttm::guest::test
