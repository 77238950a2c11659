// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host-backend/report/test_results.h"

namespace vttm::report {
namespace {

using ::testing::ElementsAre;

constexpr const char* kJson = R"({"tests":3,"failures":1,"disabled":1,"errors":0,"name":"AllTests",
 "testsuites":[{"name":"Ring","tests":3,"testsuite":[
  {"name":"Wraps","status":"RUN","result":"COMPLETED","time":"0.250s","classname":"Ring"},
  {"name":"Fails","status":"RUN","result":"COMPLETED","time":"0s","failures":[
     {"failure":"r.cc:9\nExpected","type":""},{"failure":"second","type":""}]},
  {"name":"Later","status":"NOTRUN","result":"SUPPRESSED","time":"0s"},
  {"name":"Skips","status":"RUN","result":"SKIPPED","time":"0s","skipped":[{"message":"no device"}]}
 ]}]})";

TEST(GtestJson, CountsAndNames) {
    const TestResults r = parse_gtest_json(kJson);
    EXPECT_EQ(r.counts().passed, 1u);
    EXPECT_EQ(r.counts().skipped, 1u);
    EXPECT_THAT(r.names(TestStatus::kFailed), ElementsAre("Ring.Fails"));
    EXPECT_EQ(r.cases[1].message, "r.cc:9\nExpected\nsecond");
    EXPECT_DOUBLE_EQ(r.cases[0].seconds, 0.25);
}

TEST(GtestJson, Malformed) {
    for (const char* text :
         {"", "[]", "{}", "{\"testsuites\":[{\"name\":\"a\"}]}",
          "{\"testsuites\":[{\"name\":\"a\",\"testsuite\":[{}]}]}",
          "{\"failures\":1,\"testsuites\":[{\"name\":\"a\",\"testsuite\":[{\"name\":\"t\"}]}]}"}) {
        EXPECT_THROW(parse_gtest_json(text), ParseError) << text;
    }
    const std::string whole = kJson;
    EXPECT_THROW(parse_gtest_json(whole.substr(0, whole.size() - 3)), ParseError);
}

TEST(GtestJson, AFailureWinsOverASkip) {
    const TestResults r = parse_gtest_json(
        R"({"failures":1,"testsuites":[{"name":"A","testsuite":[{"name":"t","status":"RUN",
            "result":"SKIPPED","skipped":[{"message":"y"}],"failures":[{"failure":"x"}]}]}]})");
    EXPECT_EQ(r.counts().failed, 1u);
    EXPECT_EQ(r.counts().skipped, 0u);
}

TEST(TestResults, AppendPrefixes) {
    TestResults all;
    all.append(parse_gtest_json(kJson), "guest");
    EXPECT_THAT(all.names(TestStatus::kFailed), ElementsAre("guest.Ring.Fails"));
    all.append(all);
    EXPECT_EQ(all.cases.size(), 6u);
    TestResults plain;
    plain.cases.push_back({"", "lone", TestStatus::kPassed, "", 0});
    all.append(plain, "x");
    EXPECT_EQ(all.cases.back().full_name(), "x.lone");
}

}  // namespace
}  // namespace vttm::report
