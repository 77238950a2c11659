// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "host-backend/report/test_results.h"
#include "host-backend/report/xml_reader.h"

namespace vttm::report {
namespace {

using nlohmann::json;

void add_line(std::string& to, const std::string& text) {
    if (text.empty()) return;
    if (!to.empty()) to += '\n';
    to += text;
}

// GoogleTest's "0.012s" or "0.012".
double seconds_from(const std::string& text) { return std::strtod(text.c_str(), nullptr); }

std::string string_at(const json& from, const char* key) {
    const auto it = from.find(key);
    return it != from.end() && it->is_string() ? it->get<std::string>() : std::string();
}

TestCase case_from(const json& t, const std::string& suite) {
    TestCase out;
    out.suite = suite;
    out.name = string_at(t, "name");
    if (out.name.empty()) throw ParseError("GoogleTest JSON: a test has no name");
    out.seconds = seconds_from(string_at(t, "time"));
    if (string_at(t, "result") == "SKIPPED") out.status = TestStatus::kSkipped;
    if (const auto skipped = t.find("skipped"); skipped != t.end() && skipped->is_array()) {
        out.status = TestStatus::kSkipped;
        for (const json& s : *skipped) add_line(out.message, string_at(s, "message"));
    }
    // A skipped test can have failed before: a failure is a failure.
    if (const auto f = t.find("failures"); f != t.end() && f->is_array() && !f->empty()) {
        out.status = TestStatus::kFailed;
        for (const json& one : *f) add_line(out.message, string_at(one, "failure"));
    }
    return out;
}

// What the file says of itself must be what was parsed: a lost test is a lost failure.
void check_totals(const TestResults& r, std::uint64_t failures, std::string_view what) {
    if (r.counts().failed != failures) {
        throw ParseError(std::string(what) + ": its number of failures is not that of its tests");
    }
}

}  // namespace

TestResults parse_gtest_xml(std::string_view text) {
    XmlReader xml(text);
    TestResults out;
    TestCase current;
    bool in_case = false, run = false, seen_root = false;
    std::string suite;
    std::uint64_t failures = 0;
    bool take_text = false;
    for (;;) {
        switch (xml.next()) {
            case XmlReader::Event::kDone:
                if (!seen_root) throw ParseError("not a GoogleTest XML file");
                check_totals(out, failures, "GoogleTest XML");
                return out;
            case XmlReader::Event::kStart:
                take_text = false;
                if (!seen_root) {
                    if (xml.name() != "testsuites") {
                        throw ParseError("not a GoogleTest XML file: its root is " + xml.name());
                    }
                    seen_root = true;
                    failures = std::strtoull(xml.attribute("failures", "0").c_str(), nullptr, 10) +
                               std::strtoull(xml.attribute("errors", "0").c_str(), nullptr, 10);
                } else if (xml.name() == "testsuite") {
                    suite = xml.attribute("name");
                } else if (xml.name() == "testcase") {
                    current = {};
                    current.suite = suite;
                    current.name = xml.attribute("name");
                    current.seconds = seconds_from(xml.attribute("time"));
                    in_case = true;
                    run = xml.attribute("status", "run") == "run" &&
                          xml.attribute("result", "completed") != "suppressed";
                    if (xml.attribute("result") == "skipped") {
                        current.status = TestStatus::kSkipped;
                    }
                } else if (in_case && xml.name() == "failure") {
                    current.status = TestStatus::kFailed;
                    // The text repeats the attribute, with the file and line before it.
                    take_text = true;
                } else if (in_case && xml.name() == "skipped") {
                    if (current.status != TestStatus::kFailed) {
                        current.status = TestStatus::kSkipped;
                    }
                    add_line(current.message, xml.attribute("message"));
                }
                break;
            case XmlReader::Event::kText:
                if (take_text) add_line(current.message, xml.text());
                break;
            case XmlReader::Event::kEnd:
                take_text = false;
                if (xml.name() == "testcase" && in_case) {
                    in_case = false;
                    if (run) out.cases.push_back(std::move(current));
                }
                break;
        }
    }
}

TestResults parse_gtest_json(std::string_view text) {
    const json root = json::parse(text, nullptr, false);
    if (root.is_discarded() || !root.is_object() || !root.contains("testsuites") ||
        !root["testsuites"].is_array()) {
        throw ParseError("not a GoogleTest JSON file");
    }
    TestResults out;
    for (const json& suite : root["testsuites"]) {
        const auto tests = suite.find("testsuite");
        if (tests == suite.end() || !tests->is_array()) {
            throw ParseError("GoogleTest JSON: a suite has no tests");
        }
        for (const json& t : *tests) {
            if (string_at(t, "status") == "NOTRUN") continue;
            out.cases.push_back(case_from(t, string_at(suite, "name")));
        }
    }
    const auto failures = root.find("failures");
    check_totals(out,
                 failures != root.end() && failures->is_number_unsigned()
                     ? failures->get<std::uint64_t>()
                     : 0,
                 "GoogleTest JSON");
    return out;
}

}  // namespace vttm::report
