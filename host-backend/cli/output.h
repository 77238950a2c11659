// SPDX-License-Identifier: Apache-2.0
// What a command leaves behind: text on standard output and files. A full disk is an error with a name,
// never a report that is silently short.
#pragma once

#include <cstdio>
#include <filesystem>
#include <optional>
#include <string>

#include "host-backend/cli/conclude.h"
#include "host-backend/report/run_report.h"
#include "host-backend/report/test_results.h"

namespace vttm::cli {

// Writes and flushes. Throws machine::DiskFull or machine::InfraError that name standard output.
void print_out(const std::string& text, std::FILE* out = stdout);

// On standard error, at once. What cannot be written there is lost: nowhere is left to say so.
void print_err(const std::string& text) noexcept;

// Makes the directory, writes the file whole or not at all. option: what the user chooses another
// place with ("--json=FILE"). Throws machine::DiskFull or machine::InfraError.
void save_output(const std::filesystem::path& path, const std::string& text, const char* option);

// The table to out, the JSON to json. Each is tried though the other fails; what fails is told on
// standard error. Returns the code to end with: the run's own, or that of the failure if it is heavier.
report::ExitCode publish(const report::RunReport& run, const std::filesystem::path& json,
                         std::FILE* out = stdout);

// The same for `./vttm test`: junit.xml and results.ktap to dir; the last line is "N passed, N failed".
report::ExitCode publish_tests(const report::TestResults& all, const std::optional<Failure>& first,
                               const std::filesystem::path& dir, std::FILE* out = stdout);

}  // namespace vttm::cli
