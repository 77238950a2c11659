// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/conclude.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <exception>
#include <filesystem>
#include <functional>
#include <new>
#include <set>
#include <system_error>

#include "host-backend/machine/errors.h"

namespace vttm::cli {
namespace {

using oracle::VerdictKind;
using report::ExitCode;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

template <typename E>
std::function<void()> throws(E e) {
    return [e] { throw e; };
}

machine::Problem problem() { return {.what = "it broke", .where = "/log", .todo = "mend it", .excerpt = ""}; }

std::system_error system(int error) { return {error, std::generic_category(), "cannot write /x/y"}; }

std::optional<Failure> failure_of(const std::function<void()>& thrower) {
    if (!thrower) return std::nullopt;
    try {
        thrower();
    } catch (const std::exception&) {
        return current_failure();
    }
    return std::nullopt;
}

report::RunReport run_with(std::vector<VerdictKind> kinds) {
    report::RunReport run;
    for (VerdictKind k : kinds) {
        report::CycleRecord c;
        c.verdict.kind = k;
        if (k != VerdictKind::kPass) c.verdict.reasons = {std::string(name_of(k))};
        run.cycles.push_back(c);
    }
    return run;
}

struct Case {
    const char* name;
    std::vector<VerdictKind> cycles;
    std::function<void()> thrown;
    ExitCode expected;
};

constexpr auto P = VerdictKind::kPass;
constexpr auto C = VerdictKind::kContent;
constexpr auto D = VerdictKind::kDisagree;
constexpr auto L = VerdictKind::kLeak;
constexpr auto I = VerdictKind::kInconclusive;

std::vector<Case> cases() {
    const auto panic = throws(machine::GuestPanic(problem()));
    const auto hang = throws(machine::GuestHang(problem()));
    const auto timeout = throws(machine::Timeout(problem()));
    const auto infra = throws(machine::InfraError(problem()));
    const auto interrupted = throws(machine::Interrupted(problem()));
    const auto disk = throws(machine::DiskFull(problem()));
    const auto ram = throws(machine::TooLittleRam(problem()));
    const auto boot = throws(machine::BootFailure(problem()));
    return {
        // Each verdict by itself.
        {"pass", {P, P}, {}, ExitCode::kPass},
        {"content", {P, C}, {}, ExitCode::kContent},
        {"disagree", {D, P}, {}, ExitCode::kContent},
        {"leak", {P, L}, {}, ExitCode::kLeak},
        {"inconclusive", {I, P}, {}, ExitCode::kInconclusive},
        {"nothing ran", {}, {}, ExitCode::kInconclusive},
        {"the heaviest verdict", {I, L, C, P}, {}, ExitCode::kContent},
        // Each error by itself.
        {"panic", {P}, panic, ExitCode::kGuestPanic},
        {"hang", {P}, hang, ExitCode::kGuestHang},
        {"timeout", {P}, timeout, ExitCode::kTimeout},
        {"infrastructure", {P}, infra, ExitCode::kInfrastructure},
        {"QEMU gone", {P}, throws(machine::MachineGone(problem())), ExitCode::kInfrastructure},
        {"agent gone", {P}, throws(machine::AgentGone(problem())), ExitCode::kInfrastructure},
        {"protocol", {P}, throws(machine::ProtocolError(problem())), ExitCode::kInfrastructure},
        {"agent error", {P}, throws(machine::AgentError("fill", "no", 5)), ExitCode::kInfrastructure},
        {"disk full", {P}, disk, ExitCode::kNoDisk},
        {"no RAM", {P}, ram, ExitCode::kNoRam},
        {"no boot", {}, boot, ExitCode::kNoBoot},
        {"interrupted", {P}, interrupted, ExitCode::kInterrupted},
        {"ENOSPC", {P}, throws(system(ENOSPC)), ExitCode::kNoDisk},
        {"EDQUOT", {P}, throws(system(EDQUOT)), ExitCode::kNoDisk},
        {"EIO", {P}, throws(system(EIO)), ExitCode::kInfrastructure},
        {"ENOSPC in a file system call", {P},
         throws(std::filesystem::filesystem_error(
             "mkdir", "/x", std::make_error_code(std::errc::no_space_on_device))),
         ExitCode::kNoDisk},
        {"no memory", {P}, throws(std::bad_alloc()), ExitCode::kNoRam},
        {"anything else", {P}, throws(std::runtime_error("what?")), ExitCode::kInfrastructure},
        // Which of two wins.
        {"panic after bad pages", {C}, panic, ExitCode::kGuestPanic},
        {"hang after bad pages", {C}, hang, ExitCode::kGuestHang},
        {"interrupted after bad pages", {C}, interrupted, ExitCode::kInterrupted},
        {"bad pages, then over time", {C}, timeout, ExitCode::kContent},
        {"bad pages, then QEMU dies", {C}, infra, ExitCode::kContent},
        {"bad pages, then disk full", {C}, disk, ExitCode::kContent},
        {"disagreement, then no RAM", {D}, ram, ExitCode::kContent},
        {"leak, then over time", {L}, timeout, ExitCode::kLeak},
        {"leak, then panic", {L}, panic, ExitCode::kGuestPanic},
        {"inconclusive, then over time", {I}, timeout, ExitCode::kTimeout},
        {"inconclusive, then disk full", {I}, disk, ExitCode::kNoDisk},
        {"interrupted before anything", {}, interrupted, ExitCode::kInterrupted},
    };
}

TEST(Conclude, EveryEndHasItsExitCode) {
    for (const Case& c : cases()) {
        report::RunReport run = run_with(c.cycles);
        const auto failure = failure_of(c.thrown);
        EXPECT_EQ(failure.has_value(), static_cast<bool>(c.thrown)) << c.name;
        conclude(run, failure);
        EXPECT_EQ(run.exit_code, c.expected) << c.name << ": " << name_of(run.exit_code);
        EXPECT_EQ(run.error.empty(), !c.thrown) << c.name;
    }
}

// A code that `run` can end with and that no case above has would be untested.
TEST(Conclude, TheCasesCoverEveryCodeOfARun) {
    std::set<ExitCode> seen;
    for (const Case& c : cases()) seen.insert(c.expected);
    // These are decided elsewhere: the command line, the set-up in shell, what `compare` is told to
    // demand.
    for (ExitCode c : {ExitCode::kUsage, ExitCode::kMissingPackage, ExitCode::kNoNetwork,
                       ExitCode::kPatchFailed, ExitCode::kBuildFailed, ExitCode::kUnmet})
        seen.insert(c);
    for (int i = 0; i < 256; ++i)
        if (const auto code = report::exit_code_from_int(i)) {
            EXPECT_TRUE(seen.contains(*code)) << name_of(*code);
        }
}

TEST(Conclude, MayBeCalledAgainWhenMoreIsKnown) {
    report::RunReport run = run_with({P});
    conclude(run, std::nullopt);
    EXPECT_EQ(run.exit_code, ExitCode::kPass);
    conclude(run, failure_of(throws(machine::GuestPanic(problem()))));
    EXPECT_EQ(run.exit_code, ExitCode::kGuestPanic);
    conclude(run, std::nullopt);
    EXPECT_EQ(run.exit_code, ExitCode::kPass);
    EXPECT_THAT(run.error, IsEmpty());
}

TEST(Conclude, AnUnevenBalanceOverTheRunIsALeakThatIsNamed) {
    report::RunReport run = run_with({P});
    run.balances = {{"vttm.buffers", "", 0, 0, 0}, {"nr_shmem", "pages", 10, 90, 16}};
    conclude(run, std::nullopt);
    EXPECT_EQ(run.exit_code, ExitCode::kLeak);
    ASSERT_EQ(run.verdict.reasons.size(), 1u);
    EXPECT_THAT(run.verdict.reasons[0], HasSubstr("nr_shmem went from 10 to 90 pages"));
    run.balances[1].after = 20;  // within its tolerance
    conclude(run, std::nullopt);
    EXPECT_EQ(run.exit_code, ExitCode::kPass);
}

TEST(Conclude, BadPagesStayInTheVerdictOfARunThatBrokeOff) {
    report::RunReport run = run_with({P, C});
    conclude(run, failure_of(throws(machine::GuestPanic(problem()))));
    EXPECT_EQ(run.verdict.kind, VerdictKind::kContent);
    EXPECT_THAT(run.verdict.reasons, ::testing::ElementsAre("CONTENT"));
    EXPECT_THAT(run.error, HasSubstr("it broke"));
}

TEST(CurrentFailure, SaysWhatWhereAndWhatToDo) {
    const auto known = failure_of(throws(machine::GuestHang(problem())));
    EXPECT_EQ(known->kind, "guest-hang");
    for (const char* part : {"it broke", "/log", "mend it"}) EXPECT_THAT(known->text, HasSubstr(part));
    const auto full = failure_of(throws(system(ENOSPC)));
    for (const char* part : {"disk is full", "/x/y", "what to do: free space"})
        EXPECT_THAT(full->text, HasSubstr(part));
}

TEST(ConcludeTests, CodeOfTheWholeTestRun) {
    const auto hang = failure_of(throws(machine::GuestHang(problem())));
    EXPECT_EQ(conclude_tests(std::nullopt, 5, 0), ExitCode::kPass);
    EXPECT_EQ(conclude_tests(std::nullopt, 5, 1), ExitCode::kContent);
    EXPECT_EQ(conclude_tests(std::nullopt, 0, 0), ExitCode::kContent) << "no test is no pass";
    EXPECT_EQ(conclude_tests(hang, 5, 1), ExitCode::kGuestHang);
    EXPECT_EQ(conclude_tests(hang, 5, 2), ExitCode::kGuestHang);
    const auto open = failure_of(throws(machine::Inconclusive(problem())));
    EXPECT_EQ(conclude_tests(open, 5, 1), ExitCode::kInconclusive);
    EXPECT_EQ(conclude_tests(open, 5, 2), ExitCode::kContent) << "a test failed as well";
    EXPECT_EQ(conclude_tests(failure_of(throws(machine::Leak(problem()))), 5, 1), ExitCode::kLeak);
}

TEST(ShellFailure, QemusNumbersAreNotOurs) {
    EXPECT_FALSE(shell_failure(0));
    const auto one = shell_failure(1 << 8);
    ASSERT_TRUE(one);
    EXPECT_EQ(one->code, ExitCode::kInfrastructure) << "1 would read as bad pages";
    EXPECT_THAT(one->text, HasSubstr("ended with status 1"));
    const auto killed = shell_failure(9);
    ASSERT_TRUE(killed);
    EXPECT_EQ(killed->code, ExitCode::kInfrastructure);
    EXPECT_THAT(killed->text, HasSubstr("signal 9"));
}

TEST(Conclude, AFaultThatNeverStruckHasShownNothing) {
    report::RunReport run = run_with({VerdictKind::kPass});
    run.faults = R"({"rules": [{"kind": "latency", "events": 9, "injected": 2},
                               {"kind": "bit-flip", "events": 7, "injected": 0}]})";
    conclude(run, std::nullopt);
    EXPECT_EQ(run.exit_code, ExitCode::kInconclusive);
    ASSERT_EQ(run.verdict.reasons.size(), 1u);
    EXPECT_EQ(run.verdict.reasons[0], "rule 1 of the fault plan (bit-flip) never struck, in 7 events");

    run.faults = R"({"rules": [{"kind": "latency", "events": 9, "injected": 2}]})";
    conclude(run, std::nullopt);
    EXPECT_EQ(run.exit_code, ExitCode::kPass);

    run = run_with({VerdictKind::kContent});
    run.faults = R"({"rules": [{"kind": "bit-flip", "events": 7, "injected": 0}]})";
    conclude(run, std::nullopt);
    EXPECT_EQ(run.exit_code, ExitCode::kContent) << "bad pages weigh more";
}

}  // namespace
}  // namespace vttm::cli
