// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace vttm::report {

enum class TestStatus : std::uint8_t { kPassed, kFailed, kSkipped };
std::string_view name_of(TestStatus s);  // "passed", "failed", "skipped"

struct TestCase {
    std::string suite;
    std::string name;
    TestStatus status = TestStatus::kPassed;
    std::string message;  // of a failure or skip
    double seconds = 0;

    std::string full_name() const { return suite.empty() ? name : suite + "." + name; }
};

struct TestCounts {
    std::uint64_t passed = 0, failed = 0, skipped = 0;
    std::uint64_t total() const { return passed + failed + skipped; }
};

// Results of tests from any source (host, guest, KUnit).
struct TestResults {
    std::vector<TestCase> cases;

    TestCounts counts() const;
    std::vector<std::string> names(TestStatus status) const;  // full names
    void append(const TestResults& other, std::string_view suite_prefix = {});
};

class ParseError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// GoogleTest's --gtest_output=json: file. Disabled tests ("NOTRUN") are left out. Throws ParseError
// for text that is not such a file, and for one with no end (a crash half way).
TestResults parse_gtest_json(std::string_view text);

// KTAP / TAP as KUnit prints it (nested; kernel log time stamps at line starts are taken off) and
// the outer level of kselftest's (what a test program prints behind "# " is a note). Leaves count,
// their suites do not. A plan that is not met adds a failed case
// "<suite>.missing"; a suite whose own line is "not ok" though its leaves all passed adds a failed
// "<suite>.suite". Throws ParseError if there is no result line at all.
TestResults parse_ktap(std::string_view text);

std::string to_junit(const TestResults& results, std::string_view name);
// KTAP version 1, one level of suites.
std::string to_ktap(const TestResults& results);

}  // namespace vttm::report
