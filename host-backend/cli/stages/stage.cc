// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/stages/stage.h"

#include <unistd.h>

#include <exception>

namespace vttm::cli {
namespace {

using report::TestStatus;

void fail_skips(report::TestResults& results) {
    for (auto& c : results.cases)
        if (c.status == TestStatus::kSkipped &&
            !(::geteuid() != 0 && c.message.find("needs root") != std::string::npos)) {
            c.status = TestStatus::kFailed;
            c.message = "skipped where nothing may be skipped: " + c.message;
        }
}

}  // namespace

report::TestCase make_case(std::string suite, std::string name, TestStatus status,
                           std::string message) {
    report::TestCase c;
    c.suite = std::move(suite);
    c.name = std::move(name);
    c.status = status;
    c.message = std::move(message);
    return c;
}

report::TestResults run_stage(const Stage& stage, const StageContext& context,
                              std::optional<Failure>& first_failure) {
    report::TestResults results;
    try {
        stage.run(context, results);
    } catch (const std::exception&) {
        const Failure failure = current_failure();
        results.cases.push_back(
            make_case(stage.name, failure.kind, TestStatus::kFailed, failure.text));
        if (!first_failure || failure.code == report::ExitCode::kInterrupted) first_failure = failure;
    }
    if (!stage.may_skip) fail_skips(results);
    return results;
}

}  // namespace vttm::cli
