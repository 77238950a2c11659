// SPDX-License-Identifier: Apache-2.0
// Figures of `./vttm compare`: medians, paired ratios, verdict, tables.
#include "host-backend/cli/compare/figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vttm::cli {
namespace {

using report::ExitCode;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

const Way kCopy{"copy", "copy"};
const Way kInsert{"insert", "auto"};

MemoryRound round_of(const Way& way, std::uint64_t out_ns, std::uint64_t in_ns) {
    MemoryRound r{.way = way, .pages = 512, .pages_out = 512, .out_ns = out_ns, .in_ns = in_ns};
    r.out[way.backup == "copy" ? "copied_pages" : "inserted_pages"] = 512;
    r.content = {.resident = 512, .fresh = way.backup == "copy" ? 512u : 0u};
    return r;
}

Comparison good() {
    Comparison c;
    c.ways = {kCopy, kInsert};
    c.buffers = 1;
    c.buffer_bytes = 2 << 20;
    c.kernel_release = "7.3.4";
    c.accelerator = "tcg";
    c.memory = {round_of(kCopy, 4'000'000, 2'000'000), round_of(kInsert, 200'000, 100'000)};
    c.disk = {{.way = kCopy, .pages = 512, .pages_on_disk = 512},
              {.way = kInsert, .pages = 512, .pages_on_disk = 512, .huge_groups = 1, .huge_unsplit = 1}};
    c.wear = {{.way = kCopy, .cycles = 100, .blocks_before = 200, .blocks_after = 100},
              {.way = kInsert, .cycles = 100, .blocks_before = 200, .blocks_after = 199}};
    c.disk_wear = {
        {.way = kCopy, .cycles = 10, .pages = 512, .pages_on_disk = 512, .blocks_before = 200, .blocks_after = 190},
        {.way = kInsert, .cycles = 10, .pages = 512, .pages_on_disk = 500, .blocks_before = 200, .blocks_after = 198}};
    c.full = {{.way = kInsert, .full_before = 0.9, .pages = 512, .pages_out = 512}};
    c.edge = {{.way = kCopy, .hog_survived = true}, {.way = kInsert, .oom_kills = 1}};
    return c;
}

ExitCode judged(const Comparison& c, std::vector<std::string>* why) {
    why->clear();
    return judge(c, why);
}

TEST(Compare, ReadsAWay) {
    EXPECT_EQ(parse_way("insert"), kInsert);
    EXPECT_EQ(parse_way("insert/auto"), kInsert);
    EXPECT_EQ(parse_way("copy/copy"), kCopy);
    for (const char* wrong : {"", "/", "move", "insert/", "insert/fast", "/copy", "insert/copy/auto"})
        EXPECT_FALSE(parse_way(wrong)) << wrong;
}

TEST(CompareFigures, MedianOfOddEvenAndNothing) {
    EXPECT_EQ(median({3, 1, 2}), 2);
    EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
    EXPECT_EQ(median({}), std::nullopt);
}

TEST(CompareFigures, RatiosArePairedByRound) {
    // The machine is ten times slower in the second round: the ratio is not.
    std::vector<MemoryRound> rounds = {round_of(kCopy, 1000, 1), round_of(kInsert, 100, 1),
                                       round_of(kCopy, 10000, 1), round_of(kInsert, 1000, 1)};
    EXPECT_NEAR(*paired_ratio(rounds, kInsert, kCopy, ms_per_mib_out), 0.1, 1e-9);
    rounds.push_back(round_of(kCopy, 5, 1));  // a round without its partner does not count
    EXPECT_NEAR(*paired_ratio(rounds, kInsert, kCopy, ms_per_mib_out), 0.1, 1e-9);
    rounds[0].pages_out = 0;  // nor one in which nothing went out
    EXPECT_NEAR(*paired_ratio(rounds, kInsert, kCopy, ms_per_mib_out), 0.1, 1e-9);
    EXPECT_EQ(paired_ratio(rounds, kInsert, Way{"swapcache", "auto"}, ms_per_mib_out), std::nullopt);
}

TEST(CompareFigures, TimePerMibIsOfWhatWentOut) {
    MemoryRound r = round_of(kCopy, 4'000'000, 1'000'000);
    EXPECT_DOUBLE_EQ(ms_per_mib_out(r), 2.0);  // 512 pages = 2 MiB in 4 ms
    EXPECT_DOUBLE_EQ(ms_per_mib_in(r), 0.5);
    r.pages_out = 0;
    EXPECT_EQ(ms_per_mib_out(r), 0);
}

TEST(CompareFigures, GoodFiguresPass) {
    std::vector<std::string> why;
    EXPECT_EQ(judged(good(), &why), ExitCode::kPass);
    EXPECT_TRUE(why.empty());
}

TEST(CompareFigures, ABadPageAnywhereIsAContentFailure) {
    std::vector<std::string> why;
    Comparison c = good();
    c.memory[1].bad = 3;
    EXPECT_EQ(judged(c, &why), ExitCode::kContent);
    EXPECT_THAT(why, ElementsAre("insert, to memory and back: 3 bad pages"));
    c = good(), c.disk[0].bad = 1;
    EXPECT_EQ(judged(c, &why), ExitCode::kContent);
    c = good(), c.wear[0].bad = 1;
    EXPECT_EQ(judged(c, &why), ExitCode::kContent);
    c = good(), c.disk_wear[1].bad = 1;
    EXPECT_EQ(judged(c, &why), ExitCode::kContent);
    c = good(), c.full[0].bad = 1;
    EXPECT_EQ(judged(c, &why), ExitCode::kContent);
    c = good(), c.edge[0].bad = 1;
    c.memory[1].out["copied_pages"] = 9;  // the lighter reason does not hide the heavier one
    EXPECT_EQ(judged(c, &why), ExitCode::kContent);
    EXPECT_THAT(why, ElementsAre("copy/copy, hardly any memory: 1 bad pages"));
}

TEST(CompareFigures, AWayThatDidNotDoWhatItsNameSaysIsInconclusive) {
    std::vector<std::string> why;
    Comparison c = good();
    c.memory[1].out["copied_pages"] = 1;
    EXPECT_EQ(judged(c, &why), ExitCode::kInconclusive);
    EXPECT_THAT(why, ElementsAre("insert: copied 1 pages out"));
    c = good(), c.memory[0].out["copied_pages"] = 511;
    EXPECT_EQ(judged(c, &why), ExitCode::kInconclusive);
    c = good(), c.memory[1].pages_out = 500;
    EXPECT_EQ(judged(c, &why), ExitCode::kInconclusive);
    c = good(), c.disk[1].pages_on_disk = 100;
    EXPECT_EQ(judged(c, &why), ExitCode::kInconclusive);
    c = good(), c.disk_wear[1].pages_on_disk = 383;  // cycles to memory, then
    EXPECT_EQ(judged(c, &why), ExitCode::kInconclusive);
    EXPECT_THAT(why, ElementsAre("insert: in a cycle to disk only 383 of 512 pages reached it"));
    c = good(), c.edge[1].error = "the agent is gone";
    EXPECT_EQ(judged(c, &why), ExitCode::kInconclusive);
}

TEST(CompareFigures, ADataPageThatAZeroCopyWayAllocatesIsToldAndSoIsABlindTrace) {
    std::vector<std::string> why;
    Comparison c = good();
    c.memory[1].content.fresh = 1;
    EXPECT_EQ(judged(c, &why), ExitCode::kInconclusive);
    EXPECT_THAT(why, ElementsAre("insert: allocated 1 pages for content while shrinking"));
    c = good(), c.memory[0].content.fresh = 511;  // a copy that needs no pages: the trace does not see them
    EXPECT_EQ(judged(c, &why), ExitCode::kInconclusive);
    for (auto way : {0, 1}) {
        c = good(), c.memory[way].content = {.resident = 511, .fresh = way ? 0u : 511u};
        EXPECT_EQ(judged(c, &why), ExitCode::kInconclusive) << way;
    }
    EXPECT_THAT(to_markdown(good()), HasSubstr("| data pages allocated while shrinking | 512 | 0 |"));
    EXPECT_EQ(to_json(good()).at("memory")[0].at("content").at("fresh"), 512);
}

nlohmann::json claim(std::uint64_t first, std::uint64_t pages, const char* kind, std::uint64_t addr) {
    return {{"buffers", {{{"id", 1}, {"pages", pages}, {"runs", {{first, pages, kind, addr, -1}}}}}}};
}

TEST(CompareAllocations, APageIsFreshIfItWasAllocatedAndHoldsContent) {
    Allocations a;
    a.add({{0x10000, 2}, {0x40000, 512}});
    a.add({{0x20000, 1}});
    a.add(nlohmann::json::array());
    EXPECT_EQ(a.content(claim(0, 4, "shmem", 0xf000)), (Content{.resident = 4, .fresh = 2}));
    EXPECT_EQ(a.content(claim(7, 1, "swapcache", 0x20000)), (Content{.resident = 1, .fresh = 1}));
    EXPECT_EQ(a.content(claim(0, 512, "swapcache", 0x40000)), (Content{.resident = 512, .fresh = 512}));
    EXPECT_EQ(a.content(claim(0, 3, "shmem", 0x12000)), (Content{.resident = 3, .fresh = 0}));
    // Not backed up, or nowhere in memory.
    for (const char* kind : {"gtt", "system", "vram", "swap", "none"})
        EXPECT_EQ(a.content(claim(0, 2, kind, 0x10000)), Content{}) << kind;
}

TEST(CompareFigures, TablesHaveAColumnPerWayAndSayThatTcgIsNoHardware) {
    const std::string text = to_markdown(good());
    EXPECT_THAT(text, HasSubstr("tcg (emulated: ratios and counts count, times do not)"));
    EXPECT_THAT(text, HasSubstr("| to memory and back | copy/copy | insert |"));
    EXPECT_THAT(text, HasSubstr("| out, times `copy/copy` | 1.000 | 0.050 |"));
    EXPECT_THAT(text, HasSubstr("| 100 cycles to memory and back | copy/copy | insert |"));
    EXPECT_THAT(text, HasSubstr("| left | 50.0 % | 99.5 % |"));
    EXPECT_THAT(text, HasSubstr("| 10 cycles to disk and back | copy/copy | insert |"));
    EXPECT_THAT(text, HasSubstr("| pages on disk only, the fewest in a cycle | 512 | 500 |"));
    EXPECT_THAT(text, HasSubstr("| left | 95.0 % | 99.0 % |"));
    EXPECT_THAT(text, HasSubstr("| 90.0 % | insert | 512 of 512 |"));
    EXPECT_THAT(text, HasSubstr("| runs with an OOM kill | 0 | 1 |"));
    EXPECT_EQ(text.back(), '\n');
}

TEST(CompareFigures, JsonHasEachRoundWithItsCounters) {
    const nlohmann::json j = to_json(good());
    EXPECT_EQ(j.at("memory").size(), 2u);
    EXPECT_EQ(j.at("memory")[1].at("way").at("backup"), "insert");
    EXPECT_EQ(j.at("memory")[1].at("out").at("inserted_pages"), 512);
    EXPECT_EQ(j.at("wear")[0].at("blocks_after"), 100);
    EXPECT_EQ(j.at("disk_wear")[1].at("pages_on_disk"), 500);
    EXPECT_EQ(j.at("edge")[1].at("oom_kills"), 1);
}

}  // namespace
}  // namespace vttm::cli
