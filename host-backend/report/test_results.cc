// SPDX-License-Identifier: Apache-2.0
#include "host-backend/report/test_results.h"

namespace vttm::report {

std::string_view name_of(TestStatus s) {
    switch (s) {
        case TestStatus::kPassed:
            return "passed";
        case TestStatus::kFailed:
            return "failed";
        case TestStatus::kSkipped:
            return "skipped";
    }
    return "?";
}

TestCounts TestResults::counts() const {
    TestCounts c;
    for (const TestCase& t : cases) {
        c.passed += t.status == TestStatus::kPassed;
        c.failed += t.status == TestStatus::kFailed;
        c.skipped += t.status == TestStatus::kSkipped;
    }
    return c;
}

std::vector<std::string> TestResults::names(TestStatus status) const {
    std::vector<std::string> out;
    for (const TestCase& t : cases) {
        if (t.status == status) out.push_back(t.full_name());
    }
    return out;
}

void TestResults::append(const TestResults& other, std::string_view suite_prefix) {
    const std::size_t count = other.cases.size();  // @other may be *this
    cases.reserve(cases.size() + count);
    for (std::size_t i = 0; i < count; i++) {
        TestCase t = other.cases[i];
        if (!suite_prefix.empty()) {
            t.suite = t.suite.empty() ? std::string(suite_prefix)
                                      : std::string(suite_prefix) + "." + t.suite;
        }
        cases.push_back(std::move(t));
    }
}

}  // namespace vttm::report
