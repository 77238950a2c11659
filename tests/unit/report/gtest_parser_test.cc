// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "host-backend/report/test_results.h"

namespace vttm::report {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kXml = R"(<?xml version="1.0" encoding="UTF-8"?>
<testsuites tests="5" failures="1" disabled="1" errors="0" time="1.5" name="AllTests">
  <testsuite name="Ring" tests="3" failures="1" disabled="0" skipped="0" errors="0" time="1.2">
    <testcase name="Wraps" file="r.cc" line="5" status="run" result="completed" time="0.25" classname="Ring"/>
    <testcase name="Fails" status="run" result="completed" time="0" classname="Ring">
      <failure message="r.cc:9&#x0A;Expected: a &lt; b" type=""><![CDATA[r.cc:9
Expected: a < b]]></failure>
      <failure message="second" type=""><![CDATA[second]]></failure>
    </testcase>
    <testcase name="DISABLED_Later" status="notrun" result="suppressed" time="0" classname="Ring"/>
  </testsuite>
  <testsuite name="Seeds/Rnd" tests="2">
    <testcase name="Skips/0" status="run" result="skipped" time="0.001" classname="Seeds/Rnd">
      <skipped message="no device"><![CDATA[no device]]></skipped>
    </testcase>
    <testcase name="Runs/1" status="run" result="completed" time="0.001" classname="Seeds/Rnd">
      <properties><property name="x" value="1"/></properties>
    </testcase>
  </testsuite>
</testsuites>)";

constexpr const char* kJson = R"({"tests":3,"failures":1,"disabled":1,"errors":0,"name":"AllTests",
 "testsuites":[{"name":"Ring","tests":3,"testsuite":[
  {"name":"Wraps","status":"RUN","result":"COMPLETED","time":"0.250s","classname":"Ring"},
  {"name":"Fails","status":"RUN","result":"COMPLETED","time":"0s","failures":[
     {"failure":"r.cc:9\nExpected","type":""},{"failure":"second","type":""}]},
  {"name":"Later","status":"NOTRUN","result":"SUPPRESSED","time":"0s"},
  {"name":"Skips","status":"RUN","result":"SKIPPED","time":"0s","skipped":[{"message":"no device"}]}
 ]}]})";

TEST(GtestXml, CountsAndNames) {
    const TestResults r = parse_gtest_xml(kXml);
    EXPECT_EQ(r.counts().passed, 2u);
    EXPECT_EQ(r.counts().failed, 1u);
    EXPECT_EQ(r.counts().skipped, 1u);
    EXPECT_EQ(r.counts().total(), 4u) << "a disabled test is none";
    EXPECT_THAT(r.names(TestStatus::kFailed), ElementsAre("Ring.Fails"));
    EXPECT_THAT(r.names(TestStatus::kSkipped), ElementsAre("Seeds/Rnd.Skips/0"));
    EXPECT_DOUBLE_EQ(r.cases[0].seconds, 0.25);
    EXPECT_THAT(r.cases[1].message, HasSubstr("Expected: a < b\nsecond"));
    EXPECT_EQ(r.cases[2].message, "no device");
}

TEST(GtestXml, ACrashHalfWayIsNoResult) {
    const std::string whole = kXml;
    for (std::size_t n = 0; n + 1 < whole.size(); n += 37) {
        EXPECT_THROW(parse_gtest_xml(whole.substr(0, n)), ParseError) << n;
    }
}

TEST(GtestXml, OtherXmlIsRefused) {
    EXPECT_THROW(parse_gtest_xml("<domain/>"), ParseError);
    EXPECT_THROW(parse_gtest_xml("not xml"), ParseError);
}

TEST(GtestXml, LostFailuresAreNoticed) {
    EXPECT_THROW(parse_gtest_xml(R"(<testsuites failures="1"><testsuite name="A">
        <testcase name="t" status="run" result="completed"/></testsuite></testsuites>)"),
                 ParseError);
}

TEST(GtestXml, AFailureWinsOverASkip) {
    const TestResults r = parse_gtest_xml(R"(<testsuites failures="1"><testsuite name="A">
        <testcase name="t" status="run" result="completed"><failure message="x"/>
        <skipped message="y"/></testcase></testsuite></testsuites>)");
    EXPECT_EQ(r.counts().failed, 1u);
}

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
