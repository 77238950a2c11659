// SPDX-License-Identifier: Apache-2.0
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "host-backend/report/test_results.h"

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
