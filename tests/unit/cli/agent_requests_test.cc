// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/agent_requests.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>

namespace vttm::cli {
namespace {

using ::testing::ElementsAre;

oracle::Ledger ledger_of(std::initializer_list<std::pair<std::uint64_t, std::uint32_t>> buffers) {
    oracle::Ledger ledger(1);
    std::uint32_t id = 0;
    for (const auto& [pages, generation] : buffers) {
        ledger.add({.id = ++id, .pages = pages});
        if (generation) ledger.filled(id, generation);
    }
    return ledger;
}

TEST(VerifyPortions, EachFilledBufferOnceByGeneration) {
    const auto ledger = ledger_of({{4, 1}, {4, 2}, {4, 0}, {4, 1}, {4, 1}});
    const auto p = verify_portions(ledger, By::kDevice, 8);
    ASSERT_EQ(p.size(), 3u);
    EXPECT_THAT(p[0].ids, ElementsAre(1, 4));
    EXPECT_EQ(p[0].generation, 1u);
    EXPECT_EQ(p[0].pages, 8u);
    EXPECT_THAT(p[1].ids, ElementsAre(5));
    EXPECT_THAT(p[2].ids, ElementsAre(2));
    EXPECT_EQ(p[2].generation, 2u);
    std::uint64_t pages = 0;
    for (const Portion& x : p) pages += x.pages;
    EXPECT_EQ(pages, ledger.filled_pages());
}

TEST(VerifyPortions, TheCpuGoesTheOtherWayRound) {
    const auto p = verify_portions(ledger_of({{4, 1}, {4, 1}, {4, 1}}), By::kCpu, 8);
    ASSERT_EQ(p.size(), 2u);
    EXPECT_THAT(p[0].ids, ElementsAre(3, 2));
    EXPECT_THAT(p[1].ids, ElementsAre(1));
}

TEST(VerifyPortions, ABufferBeyondAPortionIsOneByItself) {
    const auto p = verify_portions(ledger_of({{100, 1}, {100, 1}}), By::kDevice, 8);
    ASSERT_EQ(p.size(), 2u);
    EXPECT_EQ(p[1].pages, 100u);
    EXPECT_TRUE(verify_portions(ledger_of({{4, 0}}), By::kDevice, 8).empty());
}

TEST(CreateRequest, SaysWhatTheLedgerBooks) {
    const PlannedBuffer b{.id = 7, .bytes = 8192, .domain = "vram", .caching = "wc", .cpu_fill = true};
    const auto j = create_request(std::vector{b});
    EXPECT_EQ(j, nlohmann::json::parse(
                     R"({"buffers":[{"id":7,"bytes":8192,"domain":"vram","caching":"wc"}]})"));
    EXPECT_EQ(booked(b).pages, 2u);
    EXPECT_EQ(booked(b).domain, oracle::Domain::kVram);
    EXPECT_EQ(booked(b).caching, oracle::Caching::kWc);
    PlannedBuffer bad = b;
    bad.domain = "moon";
    EXPECT_THROW(booked(bad), std::invalid_argument) << "not taken for GTT in silence";
}

TEST(ParseCounters, GroupsUnderTheirNames) {
    const auto c = parse_counters(nlohmann::json::parse(
        R"({"vmstat":{"pswpout":5,"text":"x"},"backup":{"inserted_pages":6},"vttm":{"buffers":7},
            "swap_backup":{"unwritten_pages":9},"memcg":{"memory.current":8},"swaps":8192})"));
    EXPECT_EQ(c, (oracle::Counters{
                     {"pswpout", 5}, {"inserted_pages", 6}, {"vttm.buffers", 7},
                     {"swap_backup.unwritten_pages", 9}, {"memcg.memory.current", 8}, {"swap_used", 2}}));
    EXPECT_EQ(parse_counters({{"swaps", 0}, {"backup", nullptr}}).size(), 1u);
    EXPECT_THROW(parse_counters({{"vmstat", nullptr}}), nlohmann::json::exception)
        << "swap that nobody reports must not pass for none in use";
}

}  // namespace
}  // namespace vttm::cli
