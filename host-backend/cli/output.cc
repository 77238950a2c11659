// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/output.h"

#include <fmt/format.h>

#include <cerrno>
#include <functional>
#include <nlohmann/json.hpp>
#include <system_error>

#include "host-backend/cli/conclude.h"
#include "host-backend/machine/errors.h"

namespace vttm::cli {
namespace {

[[noreturn]] void cannot_write(int error, const std::string& what, const std::filesystem::path& where,
                               const std::string& other_place) {
    const std::string why = std::generic_category().message(error);
    if (error == ENOSPC || error == EDQUOT)
        throw machine::DiskFull({.what = fmt::format("cannot write {}: the disk is full ({})", what, why),
                                 .where = where,
                                 .todo = fmt::format("free space there, or {}", other_place),
                                 .excerpt = ""});
    throw machine::InfraError({.what = fmt::format("cannot write {}: {}", what, why),
                               .where = where,
                               .todo = fmt::format("make the place writable, or {}", other_place),
                               .excerpt = ""});
}

// Steps of which each is tried though another fails. What fails is told on standard error; code is the
// heaviest of the failures, kPass if there was none.
struct Attempts {
    report::ExitCode code = report::ExitCode::kPass;

    void add(const std::function<void()>& step) {
        try {
            step();
        } catch (const std::exception&) {
            const Failure f = current_failure();
            code = report::heavier(code, f.code);
            print_err(fmt::format("vttm: {}\n", f.text));
        }
    }
};

}  // namespace

void print_out(const std::string& text, std::FILE* out) {
    errno = 0;
    const bool whole = std::fwrite(text.data(), 1, text.size(), out) == text.size();
    if (whole && std::fflush(out) == 0) return;
    const int error = errno ? errno : EIO;
    std::clearerr(out);
    cannot_write(error, "to standard output", "the file or pipe that it goes to",
                 "send it to another one");
}

void print_err(const std::string& text) noexcept {
    std::fputs(text.c_str(), stderr);
    std::fflush(stderr);
}

void save_output(const std::filesystem::path& path, const std::string& text, const char* option) {
    try {
        if (path.has_parent_path()) std::filesystem::create_directories(path.parent_path());
        report::write_file(path.string(), text);
    } catch (const std::system_error& e) {
        cannot_write(e.code().value(), path.filename().string(), std::filesystem::absolute(path),
                     fmt::format("choose another place with {}", option));
    }
}

report::ExitCode publish(const report::RunReport& run, const std::filesystem::path& json,
                         std::FILE* out) {
    Attempts attempts;
    // The verdict is out before anything can fail on the way to the file.
    attempts.add([&] { print_out(report::format_table(run, report::style_for(::fileno(out))), out); });
    attempts.add([&] {
        save_output(json, report::to_json(run).dump(2) + "\n", "--json=FILE");
        print_out(fmt::format("report: {}\n", json.string()), out);
    });
    if (!run.log_dir.empty())
        attempts.add([&] { print_out(fmt::format("logs:   {}\n", run.log_dir), out); });
    return report::heavier(run.exit_code, attempts.code);
}

report::ExitCode publish_tests(const report::TestResults& all, const std::optional<Failure>& first,
                               const std::filesystem::path& dir, std::FILE* out) {
    Attempts attempts;
    attempts.add([&] {
        save_output(dir / "junit.xml", report::to_junit(all, "vttm"), "--results=DIR");
        save_output(dir / "results.ktap", report::to_ktap(all), "--results=DIR");
        print_out(fmt::format("results: {} (JUnit), results.ktap beside it\n",
                              (dir / "junit.xml").string()), out);
    });
    const report::TestCounts n = all.counts();
    attempts.add([&] {
        // Whoever reads the last line finds nothing but the two numbers there.
        if (n.skipped) print_out(fmt::format("{} skipped\n", n.skipped), out);
        print_out(fmt::format("{} passed, {} failed\n", n.passed, n.failed), out);
    });
    return report::heavier(conclude_tests(first, n.passed, n.failed), attempts.code);
}

}  // namespace vttm::cli
