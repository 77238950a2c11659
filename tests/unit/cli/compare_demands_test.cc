// SPDX-License-Identifier: Apache-2.0
// What `./vttm compare` may be told to demand of its figures.
#include "host-backend/cli/compare/demands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vttm::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const Way kCopy{"copy", "copy"};
const Way kInsert{"insert", "auto"};
const Way kInsertCopy{"insert", "copy"};

Comparison measured() {
    Comparison c;
    c.ways = {kCopy, kInsert};
    c.memory = {{.way = kCopy, .pages_out = 256, .out_ns = 1000, .in_ns = 1000},
                {.way = kInsert, .pages_out = 256, .out_ns = 100, .in_ns = 200}};
    c.wear = {{.way = kCopy, .blocks_before = 100, .blocks_after = 1},
              {.way = kInsert, .blocks_before = 100, .blocks_after = 99}};
    return c;
}

const Demands kIssue{.max_out = 0.1, .max_in = 0.2, .min_blocks = 99};

TEST(CompareDemands, WhatIsJustMetIsMet) {
    EXPECT_THAT(unmet(measured(), kIssue), IsEmpty());
    EXPECT_THAT(unmet(measured(), {}), IsEmpty());
}

TEST(CompareDemands, EachIsMissedByItself) {
    Comparison c = measured();
    c.memory[1].out_ns = 101;
    EXPECT_THAT(unmet(c, kIssue),
                ElementsAre("insert: out, times copy/copy, is 0.101, but 0.1 is demanded"));
    c = measured();
    c.memory[1].in_ns = 300;
    EXPECT_THAT(unmet(c, kIssue), ElementsAre("insert: in, times copy/copy, is 0.3, but 0.2 is demanded"));
    c = measured();
    c.wear[1].blocks_after = 98;
    EXPECT_THAT(unmet(c, kIssue),
                ElementsAre("insert: the share of 2 MiB blocks left is 98 %, but 99 % is demanded"));
    EXPECT_THAT(unmet(c, {.max_out = 0.1}), IsEmpty()) << "nobody demanded it";
}

TEST(CompareDemands, BlocksAreAlsoDueAfterCyclesToDisk) {
    Comparison c = measured();
    c.disk_wear = {{.way = kCopy, .blocks_before = 100, .blocks_after = 1},
                   {.way = kInsert, .blocks_before = 100, .blocks_after = 99}};
    EXPECT_THAT(unmet(c, kIssue), IsEmpty());
    c.disk_wear[1].blocks_after = 98;
    EXPECT_THAT(unmet(c, kIssue),
                ElementsAre("insert: the share of 2 MiB blocks left after cycles to disk is 98 %, but 99 % is demanded"));
    c.disk_wear.pop_back();  // it broke off before
    EXPECT_THAT(unmet(c, kIssue), ElementsAre(HasSubstr("after cycles to disk was not measured")));
}

TEST(CompareDemands, AWayBackThatCopiesNeedNotBeFast) {
    Comparison c = measured();
    c.ways = {kCopy, kInsertCopy};
    c.memory[1].way = c.wear[1].way = kInsertCopy;
    c.memory[1].in_ns = 1000;
    EXPECT_THAT(unmet(c, kIssue), IsEmpty());
}

TEST(CompareDemands, WhatWasNotMeasuredIsNotMet) {
    Comparison c = measured();
    c.memory.erase(c.memory.begin());  // no copy to compare with
    c.wear.clear();
    EXPECT_THAT(unmet(c, kIssue),
                ElementsAre("insert: out, times copy/copy, was not measured, but 0.1 is demanded",
                            "insert: in, times copy/copy, was not measured, but 0.2 is demanded",
                            "insert: the share of 2 MiB blocks left was not measured, but 99 % is demanded"));
    c.ways = {kCopy};
    EXPECT_THAT(unmet(c, kIssue), ElementsAre("figures are demanded, but no zero-copy way was compared"));
}

// As many edge runs of each way as there are elements, with so many kills.
Comparison at_the_edge(const std::vector<unsigned>& with_copy, const std::vector<unsigned>& with_insert) {
    Comparison c = measured();
    for (unsigned kills : with_copy)
        c.edge.push_back({.way = kCopy, .oom_kills = kills, .hog_survived = kills == 0});
    for (unsigned kills : with_insert)
        c.edge.push_back({.way = kInsert, .oom_kills = kills, .hog_survived = kills == 0});
    return c;
}

const Demands kNoMoreOom{.no_more_oom = true};

TEST(CompareDemands, AsManyOomKillsAsWithCopyAreMet) {
    EXPECT_THAT(unmet(at_the_edge({0, 0, 0}, {0, 0, 0}), kNoMoreOom), IsEmpty());
    EXPECT_THAT(unmet(at_the_edge({0, 1, 0}, {1, 0, 0}), kNoMoreOom), IsEmpty());
    EXPECT_THAT(unmet(at_the_edge({0, 2, 1}, {1, 1, 0}), kNoMoreOom), IsEmpty());
    EXPECT_THAT(unmet(at_the_edge({0, 0, 0}, {1, 1, 1}), kIssue), IsEmpty()) << "nobody demanded it";
}

TEST(CompareDemands, MoreOomKillsThanWithCopyAreToldOfEachWay) {
    EXPECT_THAT(unmet(at_the_edge({0, 1, 0}, {1, 0, 1}), kNoMoreOom),
                ElementsAre("insert: 2 OOM kills with hardly any memory in 3 runs, but no more than copy/copy's 1 are "
                            "demanded"));
    Comparison c = at_the_edge({0}, {0});
    c.edge[1].hog_survived = false;  // nobody told of the kill
    EXPECT_THAT(unmet(c, kNoMoreOom), SizeIs(1));
    c.ways.push_back({"swapcache", "auto"});
    c.edge.push_back({.way = c.ways.back(), .oom_kills = 3});
    EXPECT_THAT(unmet(c, kNoMoreOom),
                ElementsAre(HasSubstr("insert: 1 OOM kills"), HasSubstr("swapcache: 3 OOM kills")));
}

TEST(CompareDemands, OomKillsWhileSwapIsNearlyFullCount) {
    Comparison c = at_the_edge({0}, {0});
    c.full = {{.way = kCopy}, {.way = kInsert}, {.way = kCopy, .oom_kills = 1}, {.way = kInsert, .oom_kills = 1}};
    EXPECT_THAT(unmet(c, kNoMoreOom), IsEmpty());
    c.full[1].oom_kills = 1;
    EXPECT_THAT(unmet(c, kNoMoreOom),
                ElementsAre("insert: 2 OOM kills with swap nearly full in 2 runs, but no more than copy/copy's 1 are "
                            "demanded"));
}

TEST(CompareDemands, OomKillsInFewerRunsAreNotFewer) {
    EXPECT_THAT(unmet(measured(), kNoMoreOom), ElementsAre(HasSubstr("were not measured"))) << "no --edge-runs";
    EXPECT_THAT(unmet(at_the_edge({1, 0}, {0}), kNoMoreOom), ElementsAre(HasSubstr("(1 and 2)"))) << "it broke off";
    EXPECT_THAT(unmet(at_the_edge({}, {0}), kNoMoreOom), ElementsAre(HasSubstr("(1 and 0)"))) << "no copy/copy";
    Comparison c = at_the_edge({0}, {0});
    c.full = {{.way = kCopy}};
    EXPECT_THAT(unmet(c, kNoMoreOom), ElementsAre(HasSubstr("with swap nearly full were not measured")));
    c.ways = {kCopy};
    EXPECT_THAT(unmet(c, kNoMoreOom), ElementsAre("figures are demanded, but no zero-copy way was compared"));
}

}  // namespace
}  // namespace vttm::cli
