// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <vector>

#include "host-backend/report/test_results.h"
#include "host-backend/text/xml_escape.h"

namespace vttm::report {
namespace {

// What a test printed may hold anything.
std::string escaped(std::string_view text) { return text::xml_escape(text, text::Unfit::kReplace); }

struct Suite {
    std::string name;
    TestResults results;
};

// In the order of first appearance.
std::vector<Suite> by_suite(const TestResults& results) {
    std::vector<Suite> out;
    for (const TestCase& t : results.cases) {
        Suite* suite = nullptr;
        for (Suite& s : out) {
            if (s.name == t.suite) suite = &s;
        }
        if (!suite) suite = &out.emplace_back(Suite{t.suite, {}});
        suite->results.cases.push_back(t);
    }
    return out;
}

double seconds_of(const TestResults& results) {
    double sum = 0;
    for (const TestCase& t : results.cases) sum += t.seconds;
    return sum;
}

std::string totals(const TestResults& results) {
    const TestCounts c = results.counts();
    return fmt::format("tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{:.3f}\"",
                       c.total(), c.failed, c.skipped, seconds_of(results));
}

}  // namespace

std::string to_junit(const TestResults& results, std::string_view name) {
    std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    out += fmt::format("<testsuites name=\"{}\" {}>\n", escaped(name), totals(results));
    for (const Suite& suite : by_suite(results)) {
        out += fmt::format("  <testsuite name=\"{}\" {}>\n", escaped(suite.name),
                           totals(suite.results));
        for (const TestCase& t : suite.results.cases) {
            out += fmt::format("    <testcase name=\"{}\" classname=\"{}\" time=\"{:.3f}\"",
                               escaped(t.name), escaped(t.suite), t.seconds);
            if (t.status == TestStatus::kPassed) {
                out += "/>\n";
                continue;
            }
            // The first line for lists, all of it for who looks.
            const std::string first = t.message.substr(0, t.message.find('\n'));
            const char* tag = t.status == TestStatus::kFailed ? "failure" : "skipped";
            out += fmt::format(">\n      <{0} message=\"{1}\">{2}</{0}>\n    </testcase>\n", tag,
                               escaped(first), escaped(t.message));
        }
        out += "  </testsuite>\n";
    }
    return out + "</testsuites>\n";
}

}  // namespace vttm::report
