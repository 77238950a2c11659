// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/cpu_witness.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace vttm::oracle {
namespace {

using nlohmann::json;

class CpuWitness : public ::testing::Test {
protected:
    CpuWitness() {
        ledger_.add({.id = 7, .pages = 10});
        ledger_.filled(7, 3);
        ledger_.add({.id = 8, .pages = 10});
    }
    WitnessReport parse(const char* text) { return cpu_report(json::parse(text), ledger_); }
    Ledger ledger_{5};
};

TEST_F(CpuWitness, AllGood) {
    const WitnessReport r = parse(R"({"pages":10,"good":10,"bad":[]})");
    EXPECT_TRUE(r.present);
    EXPECT_EQ(r.who, Witness::kCpu);
    EXPECT_EQ(r.checked, 10u);
    EXPECT_TRUE(r.bad.empty());
}

TEST_F(CpuWitness, BadPagesWithWhatTheyHold) {
    const WitnessReport r = parse(R"({"pages":10,"good":8,"bad":[
        {"buffer":7,"page":4,"class":"stale","found":{"buffer":7,"page":4,"generation":2}},
        {"buffer":7,"page":1,"class":"zero"}]})");
    ASSERT_EQ(r.bad.size(), 2u);
    EXPECT_EQ(r.bad[0].id, (PageId{7, 1}));
    EXPECT_EQ(r.bad[0].cls, PageClass::kZero);
    EXPECT_EQ(r.bad[1].cls, PageClass::kStale);
    EXPECT_EQ(r.bad[1].generation, 3u);
    ASSERT_TRUE(r.bad[1].found);
    EXPECT_EQ(r.bad[1].found->generation, 2u);
}

TEST_F(CpuWitness, RepliesThatContradictThemselvesAreRefused) {
    for (const char* text : {
             R"([])",
             R"({})",
             R"({"pages":10,"good":10})",
             R"({"pages":10,"good":9,"bad":[]})",
             R"({"pages":10,"good":11,"bad":[]})",
             R"({"pages":-1,"good":0,"bad":[]})",
             R"({"pages":1,"good":0,"bad":[{"buffer":7,"page":10,"class":"zero"}]})",
             R"({"pages":1,"good":0,"bad":[{"buffer":8,"page":1,"class":"zero"}]})",
             R"({"pages":1,"good":0,"bad":[{"buffer":4294967303,"page":1,"class":"zero"}]})",
             R"({"pages":1,"good":0,"bad":[{"buffer":7,"page":1,"class":"good"}]})",
             R"({"pages":1,"good":0,"bad":[{"buffer":7,"page":1,"class":"odd"}]})",
             R"({"pages":1,"good":0,"bad":[{"buffer":7,"page":1}]})",
             R"({"pages":1,"good":0,"bad":[3]})",
             R"({"pages":2,"good":0,"bad":[{"buffer":7,"page":1,"class":"zero"},
                                           {"buffer":7,"page":1,"class":"zero"}]})",
         }) {
        EXPECT_THROW(parse(text), CpuReportError) << text;
    }
}

TEST_F(CpuWitness, PartsAddUp) {
    WitnessReport all =
        parse(R"({"pages":5,"good":4,"bad":[{"buffer":7,"page":4,"class":"zero"}]})");
    append(all, parse(R"({"pages":5,"good":4,"bad":[{"buffer":7,"page":1,"class":"torn"}]})"));
    EXPECT_EQ(all.checked, 10u);
    ASSERT_EQ(all.bad.size(), 2u);
    EXPECT_EQ(all.bad[0].id.page, 1u);
}

}  // namespace
}  // namespace vttm::oracle
