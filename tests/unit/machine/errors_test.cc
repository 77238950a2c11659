// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/errors.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "host-backend/machine/interrupt.h"
#include "host-backend/report/exit_code.h"

namespace vttm::machine {
namespace {

using report::ExitCode;

static_assert(int(Exit::kGuestPanic) == int(ExitCode::kGuestPanic));
static_assert(int(Exit::kGuestHang) == int(ExitCode::kGuestHang));
static_assert(int(Exit::kTimeout) == int(ExitCode::kTimeout));
static_assert(int(Exit::kInfrastructure) == int(ExitCode::kInfrastructure));
static_assert(int(Exit::kInconclusive) == int(ExitCode::kInconclusive));
static_assert(int(Exit::kLeak) == int(ExitCode::kLeak));
static_assert(int(Exit::kTooLittleDisk) == int(ExitCode::kNoDisk));
static_assert(int(Exit::kTooLittleRam) == int(ExitCode::kNoRam));
static_assert(int(Exit::kNoBoot) == int(ExitCode::kNoBoot));
static_assert(int(Exit::kInterrupted) == int(ExitCode::kInterrupted));

TEST(Errors, SayWhatWhereAndWhatToDo) {
    const GuestPanic e({"it broke", "/logs/1", "mend it", "line 1\nline 2"});
    EXPECT_STREQ(e.what(),
                 "it broke\nline 1\nline 2\n  where:      /logs/1\n  what to do: mend it");
    EXPECT_EQ(e.exit_code(), 3);
    EXPECT_STREQ(e.kind(), "guest-panic");
    EXPECT_STREQ(Inconclusive({"?", {}, {}, {}}).kind(), "inconclusive");
    EXPECT_STREQ(Leak({"?", {}, {}, {}}).kind(), "leak");
    EXPECT_STREQ(InfraError({"it broke", {}, {}, {}}).what(), "it broke");
}

TEST(Errors, AreCaughtByTheirBases) {
    EXPECT_THROW(throw MachineGone({"x", {}, {}, {}}), InfraError);
    EXPECT_THROW(throw AgentError("op", "text", 12), InfraError);
    EXPECT_THROW(throw Interrupted({"x", {}, {}, {}}), Error);
}

TEST(Interrupt, SignalsSetTheFlagAndThrow) {
    // Ours may be ignored, as in a shell's background.
    for (const int number : {SIGTERM, SIGINT}) ::signal(number, SIG_DFL);
    const InterruptGuard guard;
    clear_interrupt();
    EXPECT_NO_THROW(throw_if_interrupted());
    ::raise(SIGTERM);
    ::raise(SIGINT);  // the first one counts
    EXPECT_EQ(interrupted(), SIGTERM);
    try {
        throw_if_interrupted();
        FAIL();
    } catch (const Interrupted& e) {
        EXPECT_EQ(e.exit_code(), 130);
    }
    clear_interrupt();
    EXPECT_EQ(interrupted(), 0);
}

}  // namespace
}  // namespace vttm::machine
