// SPDX-License-Identifier: Apache-2.0
// The text of a fault plan: what it may say, and how a wrong one is refused.
#include "host-backend/model/fault_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace vttm::model::test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

constexpr uint64_t kVram = 8ull << 20;

FaultPlan parse(const std::string& text) { return parse_fault_plan(text, kVram); }
FaultRule rule(const std::string& text) {
    const FaultPlan plan = parse(R"({"faults": [)" + text + "]}");
    EXPECT_THAT(plan.rules, SizeIs(1));
    return plan.rules.at(0);
}

TEST(FaultPlan, NothingIsNoPlan) {
    for (const char* text : {"", "  \n", R"({"faults": []})", R"({"seed": 5, "faults": []})"})
        EXPECT_THAT(parse(text).rules, IsEmpty()) << text;
}

TEST(FaultPlan, DefaultsAreTheFirstEventOnce) {
    const FaultRule r = rule(R"({"kind": "engine-hang", "engine": "stamp"})");
    EXPECT_EQ(r.kind, FaultKind::engine_hang);
    EXPECT_EQ(r.engine, 1u);
    EXPECT_EQ(r.ring, std::nullopt);
    EXPECT_EQ(r.nth, 1u);
    EXPECT_EQ(r.count, 1u);
    EXPECT_EQ(r.probability, 1.0);
}

TEST(FaultPlan, AllThatCanBeSaid) {
    const FaultPlan plan = parse(R"({"seed": 18446744073709551615, "faults": [
        {"kind": "bit-flip", "engine": "copy", "ring": 3, "nth": 7, "count": 0, "probability": 0.25,
         "byte": 4097, "bit": 7},
        {"kind": "write-reordered", "engine": "copy", "bytes": 4096, "packets": 2, "us": 30},
        {"kind": "irq-lost", "engine": "copy", "vector": "error"},
        {"kind": "irq-spurious", "engine": "stamp", "vector": "vram"},
        {"kind": "dma-error", "engine": "copy", "access": "fence"},
        {"kind": "vram-poison", "offset": 8384512, "pages": 1},
        {"kind": "bandwidth", "engine": "copy", "mib_per_second": 0.5},
        {"kind": "latency", "engine": "copy", "us": 100},
        {"kind": "surprise-removal"}, {"kind": "device-reset", "count": 5},
        {"kind": "bit-flip", "engine": "stamp", "access": "read", "byte": 3},
        {"kind": "bit-flip", "engine": "stamp", "access": "write"},
        {"kind": "engine-hang", "engine": "copy", "chunks": 1000000}]})");
    EXPECT_EQ(plan.seed, ~0ull);
    ASSERT_THAT(plan.rules, SizeIs(13));
    const FaultRule& flip = plan.rules[0];
    EXPECT_EQ(flip.ring, 3u);
    EXPECT_EQ(flip.nth, 7u);
    EXPECT_EQ(flip.count, 0u);
    EXPECT_EQ(flip.probability, 0.25);
    EXPECT_EQ(flip.byte, 4097u);
    EXPECT_EQ(flip.bit, 7u);
    EXPECT_EQ(plan.rules[1].bytes, 4096u);
    EXPECT_EQ(plan.rules[1].packets, 2u);
    EXPECT_EQ(plan.rules[1].us.count(), 30);
    EXPECT_EQ(plan.rules[2].target, kTargetErrorIrq);
    EXPECT_EQ(plan.rules[3].target, kTargetVramIrq);
    EXPECT_EQ(plan.rules[4].target, kTargetFence);
    EXPECT_EQ(plan.rules[5].offset, kVram - 4096);
    EXPECT_EQ(plan.rules[6].bytes_per_second, 512u * 1024);
    EXPECT_EQ(plan.rules[7].count, 0u) << "latency is for every packet, if nothing else is said";
    EXPECT_EQ(plan.rules[8].engine, std::nullopt);
    EXPECT_EQ(plan.rules[9].count, 5u);
    EXPECT_EQ(flip.target, kTargetNone);
    EXPECT_EQ(plan.rules[10].target, kTargetRead);
    EXPECT_EQ(plan.rules[10].byte, 3u);
    EXPECT_EQ(plan.rules[11].target, kTargetNone);
    EXPECT_EQ(plan.rules[12].chunks, 1000000u);
}

TEST(FaultPlan, EachKindHasTheNameItIsWrittenWith) {
    for (unsigned k = 0; k < kFaultKinds; k++) {
        const auto kind = static_cast<FaultKind>(k);
        const FaultRule r =
            rule(std::string(R"({"kind": ")") + name_of(kind) + "\"" +
                 (kind == FaultKind::vram_poison ? R"(, "offset": 0})"
                  : kind == FaultKind::bandwidth ? R"(, "engine": "copy", "mib_per_second": 1})"
                  : kind == FaultKind::latency || kind == FaultKind::fence_late ||
                          kind == FaultKind::fence_early
                      ? R"(, "engine": "copy", "us": 5})"
                      : R"(, "engine": "copy"})"));
        EXPECT_EQ(r.kind, kind);
    }
}

struct Wrong {
    const char* text;
    const char* message;
};

class WrongPlan : public ::testing::TestWithParam<Wrong> {};

TEST_P(WrongPlan, IsRefusedWithAReason) {
    try {
        parse(GetParam().text);
        FAIL() << "was taken: " << GetParam().text;
    } catch (const FaultPlanError& e) {
        EXPECT_THAT(e.what(), HasSubstr(GetParam().message)) << GetParam().text;
    }
}

INSTANTIATE_TEST_SUITE_P(
    All, WrongPlan,
    ::testing::Values(
        Wrong{"{", "the plan is no JSON"}, Wrong{"{} x", "the plan is no JSON"},
        Wrong{"{\"seed\": \"\xff\"}", "the plan is no JSON"}, Wrong{"7", "the plan is no object"},
        Wrong{"null", "the plan is no object"}, Wrong{"{}", "needs 'faults'"},
        Wrong{R"({"faults": {}})", "needs 'faults'"},
        Wrong{R"({"faults": [], "sede": 1})",
              "'sede', which nothing here knows: it may have faults, seed"},
        Wrong{R"({"faults": [], "seed": -1})", "'seed': -1: it must be a whole number"},
        Wrong{R"({"faults": [], "seed": 1.5})", "'seed': 1.5"},
        Wrong{R"({"faults": [], "seed": 18446744073709551616})", "'seed'"},
        Wrong{R"({"faults": [], "faults": []})", "\"faults\" twice"},
        Wrong{R"({"faults": [{"kind": "bit-flip", "engine": "copy", "nth": 1, "nth": 2}]})",
              "\"nth\" twice"},
        Wrong{"[[[[[[]]]]]]", "nested too deep"},
        Wrong{R"({"faults": [5]})", "faults[0] is no object"},
        Wrong{R"({"faults": [{}]})", "faults[0] has no 'kind': it must be one of engine-hang"},
        Wrong{R"({"faults": [{"kind": "smoke"}]})", "'kind': \"smoke\": it must be one of"},
        Wrong{R"({"faults": [{"kind": 3}]})", "'kind': 3"},
        Wrong{R"({"faults": [{"kind": "surprise-removal"}, {"kind": "engine-hang"}]})",
              "faults[1] has no 'engine': it must be one of copy, stamp"},
        Wrong{R"({"faults": [{"kind": "engine-hang", "engine": "blit"}]})", "'engine': \"blit\""},
        Wrong{R"({"faults": [{"kind": "engine-hang", "engine": "copy", "ring": 4}]})", "'ring': 4"},
        Wrong{R"({"faults": [{"kind": "engine-hang", "engine": "copy", "nth": 0}]})", "at least 1"},
        Wrong{R"({"faults": [{"kind": "engine-hang", "engine": "copy", "us": 5}]})",
              "'us', which nothing here knows"},
        Wrong{R"({"faults": [{"kind": "engine-hang", "engine": "copy", "probability": 0}]})",
              "'probability': 0: it must be a number above 0"},
        Wrong{R"({"faults": [{"kind": "engine-hang", "engine": "copy", "probability": 1.01}]})",
              "'probability': 1.01"},
        Wrong{R"({"faults": [{"kind": "engine-hang", "engine": "copy", "probability": "1"}]})",
              "'probability': \"1\""},
        Wrong{R"({"faults": [{"kind": "bit-flip", "engine": "copy", "bit": 8}]})", "at most 7"},
        Wrong{R"({"faults": [{"kind": "bit-flip", "engine": "copy", "bytes": 8}]})",
              "'bytes', which"},
        Wrong{R"({"faults": [{"kind": "bit-flip", "engine": "copy", "access": "ring"}]})",
              "it must be one of write, read"},
        Wrong{R"({"faults": [{"kind": "write-dropped", "engine": "copy", "access": "read"}]})",
              "'access', which"},
        Wrong{R"({"faults": [{"kind": "engine-hang", "engine": "copy", "chunks": 1000001}]})",
              "at most 1000000"},
        Wrong{R"({"faults": [{"kind": "write-dropped", "engine": "copy", "bytes": 0}]})",
              "at least 1"},
        Wrong{R"({"faults": [{"kind": "write-dropped", "engine": "copy", "bytes": 4097}]})",
              "at most 4096"},
        Wrong{R"({"faults": [{"kind": "write-reordered", "engine": "copy", "packets": 0}]})",
              "'packets': 0"},
        Wrong{R"({"faults": [{"kind": "fence-late", "engine": "copy"}]})", "is not late at all"},
        Wrong{R"({"faults": [{"kind": "fence-late", "engine": "copy", "us": 60000001}]})",
              "at most 60000000"},
        Wrong{R"({"faults": [{"kind": "fence-early", "engine": "copy"}]})", "has no 'us'"},
        Wrong{R"({"faults": [{"kind": "fence-early", "engine": "copy", "us": 0}]})", "at least 1"},
        Wrong{R"({"faults": [{"kind": "latency", "engine": "copy"}]})", "has no 'us'"},
        Wrong{R"({"faults": [{"kind": "irq-lost", "engine": "copy", "vector": "vram"}]})",
              "no engine raises that"},
        Wrong{R"({"faults": [{"kind": "dma-error", "engine": "copy", "access": "table"}]})",
              "it must be one of data, ring, fence"},
        Wrong{R"({"faults": [{"kind": "vram-poison"}]})", "has no 'offset'"},
        Wrong{R"({"faults": [{"kind": "vram-poison", "offset": 4095}]})", "multiple of 4096"},
        Wrong{R"({"faults": [{"kind": "vram-poison", "offset": 8388608}]})", "'offset': 8388608"},
        Wrong{R"({"faults": [{"kind": "vram-poison", "offset": 8384512, "pages": 2}]})",
              "'pages': 2"},
        Wrong{R"({"faults": [{"kind": "vram-poison", "offset": 0, "count": 1}]})",
              "'count', which"},
        Wrong{R"({"faults": [{"kind": "bandwidth", "engine": "copy"}]})",
              "'mib_per_second': nothing"},
        Wrong{R"({"faults": [{"kind": "bandwidth", "engine": "copy", "mib_per_second": 0}]})",
              "'mib_per_second': 0"},
        Wrong{R"({"faults": [{"kind": "device-reset", "count": 0}]})", "'count': 0"},
        Wrong{R"({"faults": [{"kind": "device-reset", "nth": 3}]})",
              "'nth', which nothing here knows"},
        Wrong{R"({"faults": [{"kind": "surprise-removal", "count": 2}]})", "'count', which"}));

TEST(FaultPlan, SizeIsBounded) {
    EXPECT_THROW(parse(std::string(65537, ' ') + "{}"), FaultPlanError);
    std::string many = R"({"faults": [)";
    for (int i = 0; i < 257; i++)
        many += std::string(i ? "," : "") + R"({"kind": "engine-hang", "engine": "copy"})";
    EXPECT_THROW(parse(many + "]}"), FaultPlanError);
}

}  // namespace
}  // namespace vttm::model::test
