// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/conclude.h"

#include <fmt/format.h>
#include <sys/wait.h>

#include <cerrno>
#include <exception>
#include <new>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "host-backend/cli/ordered_faults.h"
#include "host-backend/machine/errors.h"
#include "host-backend/oracle/verdict.h"

namespace vttm::cli {
namespace {

using report::ExitCode;

Failure from(const machine::Error& e) {
    return {report::exit_code_from_int(e.exit_code()).value_or(ExitCode::kInfrastructure), e.kind(),
            e.what()};
}

bool is_disk_full(const std::error_code& code) {
    return code == std::errc::no_space_on_device ||
           code == std::error_code(EDQUOT, std::generic_category());
}

// The heaviest of all cycles and of the balances over the whole run.
oracle::Verdict overall(const report::RunReport& run) {
    std::vector<oracle::Verdict> verdicts;
    for (const auto& c : run.cycles) verdicts.push_back(c.verdict);
    oracle::Verdict end;
    for (const oracle::Balance& b : run.balances)
        if (!b.even()) {
            end.kind = oracle::VerdictKind::kLeak;
            end.reasons.push_back(fmt::format("over the whole run {} went from {} to {} {}", b.name,
                                              b.before, b.after, b.unit));
        }
    verdicts.push_back(end);
    // A fault that never came has shown nothing, whatever else the run shows.
    if (!run.faults.empty())
        if (auto idle = idle_rules(nlohmann::json::parse(run.faults)); !idle.empty())
            verdicts.push_back({oracle::VerdictKind::kInconclusive, std::move(idle), {}});
    if (run.cycles.empty())
        verdicts.push_back({oracle::VerdictKind::kInconclusive, {}, {}});  // the table says so
    return oracle::combine(verdicts);
}

}  // namespace

Failure current_failure() {
    try {
        throw;
    } catch (const machine::Error& e) {
        return from(e);
    } catch (const std::system_error& e) {
        if (!is_disk_full(e.code())) return {ExitCode::kInfrastructure, "infrastructure", e.what()};
        return from(machine::DiskFull({.what = fmt::format("the disk is full: {}", e.what()),
                                       .where = "",
                                       .todo = "free space there, or choose another place",
                                       .excerpt = ""}));
    } catch (const std::bad_alloc&) {
        return from(machine::TooLittleRam({.what = "vttm itself got no memory from the host",
                                           .where = "",
                                           .todo = "end other programs, or give the guest less (--ram)",
                                           .excerpt = ""}));
    } catch (const std::exception& e) {
        return {ExitCode::kInfrastructure, "infrastructure", e.what()};
    }
}

void conclude(report::RunReport& run, const std::optional<Failure>& failure) {
    run.verdict = overall(run);
    run.exit_code = report::exit_code(run.verdict.kind);
    run.error.clear();
    if (!failure) return;
    run.exit_code = report::heavier(run.exit_code, failure->code);
    run.error = failure->text;
}

ExitCode conclude_tests(const std::optional<Failure>& first, std::uint64_t passed,
                        std::uint64_t failed) {
    // The failure has a case of its own. One that says nothing of the code does not hide another that does.
    if (first && !(first->code == ExitCode::kInconclusive && failed > 1)) return first->code;
    return failed || !passed ? ExitCode::kContent : ExitCode::kPass;
}

std::optional<Failure> shell_failure(int wait_status) {
    if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) return std::nullopt;
    const std::string how = WIFSIGNALED(wait_status)
                                ? fmt::format("was killed by signal {}", WTERMSIG(wait_status))
                                : fmt::format("ended with status {}", WEXITSTATUS(wait_status));
    return from(machine::InfraError({.what = "QEMU " + how,
                                     .where = "",
                                     .todo = "read QEMU's words above; ./vttm doctor tells what is missing",
                                     .excerpt = ""}));
}

}  // namespace vttm::cli
