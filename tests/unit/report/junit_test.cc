// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "host-backend/report/test_results.h"
#include "tests/unit/report/xml_reader.h"

namespace vttm::report {
namespace {

using ::testing::HasSubstr;

TestResults sample() {
    TestResults r;
    r.cases.push_back({"a", "passes", TestStatus::kPassed, "", 0.5});
    r.cases.push_back({"b", "fails", TestStatus::kFailed, "x < \"y\" & z\nsecond\x01 line", 0.25});
    r.cases.push_back({"a", "skips", TestStatus::kSkipped, "no device", 0});
    return r;
}

TEST(JUnit, IsWellFormedAndSaysAll) {
    const std::string text = to_junit(sample(), "vttm <test>");
    XmlReader xml(text);
    std::vector<std::string> cases;
    std::string failure, failure_text, skipped;
    bool in_failure = false;
    for (auto e = xml.next(); e != XmlReader::Event::kDone; e = xml.next()) {
        if (e == XmlReader::Event::kText && in_failure) failure_text = xml.text();
        if (e == XmlReader::Event::kEnd) in_failure = false;
        if (e != XmlReader::Event::kStart) continue;
        if (xml.name() == "testsuites") {
            EXPECT_EQ(xml.attribute("name"), "vttm <test>");
            EXPECT_EQ(xml.attribute("tests"), "3");
            EXPECT_EQ(xml.attribute("failures"), "1");
            EXPECT_EQ(xml.attribute("skipped"), "1");
            EXPECT_EQ(xml.attribute("time"), "0.750");
        } else if (xml.name() == "testsuite" && xml.attribute("name") == "a") {
            EXPECT_EQ(xml.attribute("tests"), "2");
            EXPECT_EQ(xml.attribute("failures"), "0");
        } else if (xml.name() == "testcase") {
            cases.push_back(xml.attribute("classname") + "." + xml.attribute("name"));
        } else if (xml.name() == "failure") {
            failure = xml.attribute("message");
            in_failure = true;
        } else if (xml.name() == "skipped") {
            skipped = xml.attribute("message");
        }
    }
    EXPECT_THAT(cases, ::testing::ElementsAre("a.passes", "a.skips", "b.fails"));
    EXPECT_EQ(failure, "x < \"y\" & z");
    EXPECT_EQ(failure_text, "x < \"y\" & z\nsecond? line");
    EXPECT_EQ(skipped, "no device");
}

TEST(JUnit, Empty) { EXPECT_THAT(to_junit({}, "none"), HasSubstr("tests=\"0\"")); }

}  // namespace
}  // namespace vttm::report
