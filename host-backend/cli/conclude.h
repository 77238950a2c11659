// SPDX-License-Identifier: Apache-2.0
// How a command ends: from exceptions, verdicts and what could not be written to one exit code.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "host-backend/report/exit_code.h"
#include "host-backend/report/run_report.h"

namespace vttm::cli {

// What broke a command off.
struct Failure {
    report::ExitCode code = report::ExitCode::kInfrastructure;
    std::string kind;  // short, for the name of a test case
    std::string text;  // for people: what, where, what to do
};

// The exception that is being handled; call it in a catch block. machine::Error keeps its own code, a
// full disk becomes kNoDisk, no memory kNoRam, and all else is infrastructure.
Failure current_failure();

// Fills in verdict, exit code and error of a run from its cycles, its balances and what broke it off,
// if anything did. May be called again when more is known.
void conclude(report::RunReport& run, const std::optional<Failure>& failure);

// The code of `./vttm test`: what broke a stage off (the first is the cause), else whether tests
// failed, which they may have beside a stage that was inconclusive. No test at all is no pass.
report::ExitCode conclude_tests(const std::optional<Failure>& first, std::uint64_t passed,
                                std::uint64_t failed);

// What is wrong with a QEMU that ran on the terminal and ended with this status of waitpid(); nothing if
// it just ended. Its own numbers mean something else than ours: its 1 is no bad page.
std::optional<Failure> shell_failure(int wait_status);

}  // namespace vttm::cli
