// SPDX-License-Identifier: Apache-2.0
// The guest's trace as the kernel prints it, and as a hostile guest may.
#include "host-backend/trace/ftrace.h"

#include <gtest/gtest.h>

#include <random>

namespace vttm::trace::test {
namespace {

constexpr const char* kFence =
    "     kworker/0:1-12      [000] d..2.    12.345678: dma_fence_init: driver=vttm-ring timeline=vttm-copy "
    "context=3 seqno=41";

TEST(Ftrace, ReadsAnEvent) {
    const auto e = parse_event(kFence);
    ASSERT_TRUE(e);
    EXPECT_EQ(e->comm, "kworker/0:1");
    EXPECT_EQ(e->pid, 12u);
    EXPECT_EQ(e->cpu, 0u);
    EXPECT_EQ(e->time_ns, 12'345'678'000u);
    EXPECT_EQ(e->name, "dma_fence_init");
    EXPECT_EQ(field_number(e->fields, "context"), 3u);
    EXPECT_EQ(field_number(e->fields, "seqno"), 41u);
    EXPECT_EQ(field_text(e->fields, "timeline"), "vttm-copy");
}

TEST(Ftrace, ANameMayHoldAnything) {
    // 15 bytes that look like the rest of a line.
    const auto e = parse_event(" a-1 [000] d.. 1-77      [001] .....     1.000002: ttm_backup_split: pages=4");
    ASSERT_TRUE(e);
    EXPECT_EQ(e->comm, "a-1 [000] d.. 1");
    EXPECT_EQ(e->pid, 77u);
    EXPECT_EQ(e->cpu, 1u);
    EXPECT_EQ(e->time_ns, 1'000'002'000u);
}

TEST(Ftrace, WhatIsNoEventIsCounted) {
    const std::string good = kFence;
    for (const std::string& bad : {
             std::string("hello"), std::string(16, ' '), good.substr(0, 40), good.substr(0, 60),
             std::string("     kworker/0:1-12      [000] d..2.    12.34567: e: x"),    // 5 digits
             std::string("     kworker/0:1-12      [000] d..2.    -1.345678: e: x"),
             std::string("     kworker/0:1-12      [000] d..2.    99999999999999999999.345678: e: x"),
             std::string("     kworker/0:1-12      [000] d..2.    18446744073.000000: e: x"),
             std::string("     kworker/0:1-99999999999 [000] d..2. 1.345678: e: x"),
             std::string("     kworker/0:1-12      [000] d..2.    12.345678: two words: x"),
             std::string("     kworker/0:1-12      [000] d..2.    12.345678: : x"),
         }) {
        GuestTrace trace;
        trace.add(bad + "\n" + good + "\n");
        trace.finish();
        EXPECT_EQ(trace.unparsed, 1u) << bad;
        EXPECT_EQ(trace.events.size(), 1u) << bad;
    }
}

TEST(Ftrace, LostEventsAreCounted) {
    GuestTrace trace;
    trace.add("# tracer: nop\n\nCPU:0 [LOST 7 EVENTS]\n" + std::string(kFence) + "\nCPU:1 [LOST 5 EVENTS]\n");
    EXPECT_EQ(trace.lost, 12u);
    EXPECT_FALSE(trace.lost_unknown);
    EXPECT_EQ(trace.unparsed, 0u);
    trace.add("CPU:1 [LOST EVENTS]\n");
    EXPECT_TRUE(trace.lost_unknown);
    trace.add("CPU:1 [LOST -3 EVENTS]\nCPU:1 [LOST\n");
    EXPECT_EQ(trace.lost, 12u);
    EXPECT_EQ(trace.unparsed, 1u);
}

TEST(Ftrace, PiecesMayEndAnywhere) {
    const std::string text = std::string(kFence) + "\nCPU:0 [LOST 2 EVENTS]\n" + kFence + "\n";
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        GuestTrace trace;
        trace.add(text.substr(0, cut));
        trace.add(text.substr(cut));
        trace.finish();
        ASSERT_EQ(trace.events.size(), 2u) << cut;
        ASSERT_EQ(trace.lost, 2u) << cut;
        ASSERT_EQ(trace.unparsed, 0u) << cut;
    }
}

TEST(Ftrace, ALineWithoutEndIsDropped) {
    GuestTrace trace;
    for (int i = 0; i < 1000; ++i) trace.add(std::string(1000, 'x'));
    trace.add("\n" + std::string(kFence) + "\n");
    EXPECT_EQ(trace.unparsed, 1u);
    EXPECT_EQ(trace.events.size(), 1u);
}

TEST(Ftrace, FieldsAreWholeWords) {
    EXPECT_EQ(field_number("xseqno=1 seqno=2", "seqno"), 2u);
    EXPECT_EQ(field_number("seqno=2x", "seqno"), std::nullopt);
    EXPECT_EQ(field_number("seqno=", "seqno"), std::nullopt);
    EXPECT_EQ(field_number("seqno=99999999999999999999", "seqno"), std::nullopt);
    EXPECT_EQ(field_text("a=1", "b"), "");
    EXPECT_EQ(field_text("", ""), "");
}

TEST(Ftrace, RandomBytesHarmNothing) {
    std::mt19937_64 random(1);
    const std::string good = std::string(kFence) + "\n";
    for (int round = 0; round < 20'000; ++round) {
        std::string text = good + good;
        for (int i = 0; i < 6; ++i) text[random() % text.size()] = static_cast<char>(random());
        GuestTrace trace;
        trace.add(text);
        trace.finish();
        ASSERT_LE(trace.events.size() + trace.unparsed, 9u);
    }
}

}  // namespace
}  // namespace vttm::trace::test
