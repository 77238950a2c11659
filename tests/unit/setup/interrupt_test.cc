// SPDX-License-Identifier: Apache-2.0
// A run that is interrupted or killed leaves no process, no temporary folder, no lock, no half entry.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <string>

#include "tests/unit/setup/shell.h"

namespace vttm::setup_test {
namespace {

namespace fs = std::filesystem;
using ::testing::IsEmpty;

// A build that starts a grandchild and writes the pids of both.
constexpr char kSlow[] = R"(
    slow() {
        echo half >"$1/file"
        sh -c 'sh -c "echo \$\$ >\"$SANDBOX/grandchild\"; exec sleep 300" & echo $$ >"$SANDBOX/child"; wait'
    }
)";

class Interrupt : public ::testing::TestWithParam<int> {
   protected:
    pid_t pid_in(const char* name) { return std::stoi(box.read(name)); }

    void expect_nothing_left() {
        EXPECT_TRUE(ends(pid_in("child")));
        EXPECT_TRUE(ends(pid_in("grandchild")));
        EXPECT_THAT(box.leftovers_in_the_end(), IsEmpty());
        EXPECT_FALSE(fs::exists(box.cache() / "kind/key"));
    }
    Sandbox box;
};

TEST_P(Interrupt, OfTheShellThatBuilds) {
    Process p = box.start(std::string(kSlow) + "cache_build kind key slow");
    ASSERT_TRUE(box.wait_for("grandchild") && box.wait_for("child"));
    p.signal(GetParam());
    EXPECT_NE(p.wait().status, 0);
    expect_nothing_left();
}

TEST_P(Interrupt, OfAScriptThatWantsTheProduct) {
    Process p = box.start(std::string(kSlow) + "dir=$(cache_build kind key slow) || exit $?");
    ASSERT_TRUE(box.wait_for("grandchild") && box.wait_for("child"));
    p.signal(GetParam());
    EXPECT_NE(p.wait().status, 0);
    expect_nothing_left();
}

TEST_P(Interrupt, OfAStepInsideABuild) {
    Process p = box.start(std::string(kSlow) +
                          "stepped() { vttm_step slow \"$SANDBOX/log/s.log\" slow \"$1\"; }\n"
                          "dir=$(cache_build kind key stepped) || exit $?");
    ASSERT_TRUE(box.wait_for("grandchild") && box.wait_for("child"));
    p.signal(GetParam());
    EXPECT_NE(p.wait().status, 0);
    expect_nothing_left();
}

TEST_P(Interrupt, TheNextRunBuildsAnew) {
    Process p = box.start(std::string(kSlow) + "cache_build kind key slow");
    ASSERT_TRUE(box.wait_for("grandchild"));
    p.signal(GetParam());
    p.wait();
    const Outcome o = box.run(R"(make() { echo whole >"$1/file"; }
        cache_build kind key make)");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(box.read("cache/kind/key/file"), "whole\n");
}

INSTANTIATE_TEST_SUITE_P(Signals, Interrupt, ::testing::Values(SIGINT, SIGTERM, SIGHUP, SIGKILL),
                         [](const auto& info) { return std::string("SIG") + sigabbrev_np(info.param); });

TEST(StageInterrupt, EndsTheStageAndItsChildrenBeforeTheEntryEnds) {
    Sandbox box;
    Process p = box.start(std::string(kSlow) + R"(
        . "$VTTM_ROOT/images/lib/setup.sh"
        stage=
        trap setup_interrupted INT TERM HUP
        setup_stage "$SANDBOX/stage.out" cache_build kind key slow)");
    ASSERT_TRUE(box.wait_for("grandchild") && box.wait_for("child"));
    const pid_t child = std::stoi(box.read("child"));
    p.signal(SIGINT);
    EXPECT_EQ(p.wait().status, 130);
    EXPECT_FALSE(runs(child)) << "no grace period: the entry waits for them";
    EXPECT_THAT(box.leftovers(), IsEmpty());
}

}  // namespace
}  // namespace vttm::setup_test
