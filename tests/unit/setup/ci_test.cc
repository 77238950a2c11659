// SPDX-License-Identifier: Apache-2.0
// .ci/run: its last line and status, whatever ./vttm does. A script plays ./vttm.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/unit/setup/shell.h"

namespace vttm::setup_test {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;

class CiRun : public ::testing::Test {
   protected:
    Process start(const std::string& vttm) const {
        namespace fs = std::filesystem;
        fs::create_directories(box.path("clone/.ci"));
        fs::copy_file(source_root() / ".ci/run", box.path("clone/.ci/run"), fs::copy_options::overwrite_existing);
        box.write("clone/vttm", "#!/bin/sh\n" + vttm);
        fs::permissions(box.path("clone/vttm"), fs::perms::owner_all);
        return box.start("exec \"$SANDBOX/clone/.ci/run\"");
    }
    Outcome run(const std::string& vttm) const { return start(vttm).wait(); }

    Sandbox box;
};

TEST_F(CiRun, PassesOnLineAndStatus) {
    Outcome o = run("echo 2 skipped; echo 7 passed, 0 failed");
    EXPECT_EQ(o.status, 0);
    EXPECT_EQ(o.out, "2 skipped\n7 passed, 0 failed\n7 passed, 0 failed\n");
    o = run("echo 7 passed, 2 failed; exit 3");
    EXPECT_EQ(o.status, 3);
    EXPECT_THAT(o.out, EndsWith("\n7 passed, 2 failed\n"));
    EXPECT_EQ(box.read("clone/build/log/ci.log"), "7 passed, 2 failed\n");
}

TEST_F(CiRun, StatusAndLineAgree) {
    Outcome o = run("echo 7 passed, 0 failed; exit 6");
    EXPECT_EQ(o.status, 6);
    EXPECT_THAT(o.out, EndsWith("\n7 passed, 1 failed\n"));
    EXPECT_EQ(run("echo 0 passed, 0 failed").status, 1) << "nothing ran";
    EXPECT_EQ(run("echo 1 passed, 1 failed").status, 1);
}

TEST_F(CiRun, WithoutAClosingLineItIsOneFailure) {
    Outcome o = run("echo no such package >&2; exit 10");
    EXPECT_EQ(o.status, 10);
    EXPECT_EQ(o.out, "no such package\n0 passed, 1 failed\n");
    o = run("echo all is well");
    EXPECT_EQ(o.status, 6);
    EXPECT_THAT(o.out, EndsWith("\n0 passed, 1 failed\n"));
}

TEST_F(CiRun, ABuildFolderThatCannotBeMadeIsAFailureToo) {
    box.write("clone/build", "a file");
    const Outcome o = run("echo 7 passed, 0 failed");
    EXPECT_EQ(o.status, 12);
    EXPECT_EQ(o.out, "0 passed, 1 failed\n");
    EXPECT_THAT(o.err, HasSubstr("build/log"));
}

TEST_F(CiRun, ASignalEndsTheTestsAndStillClosesWithTheLine) {
    for (const int number : {SIGTERM, SIGINT}) {
        std::filesystem::remove(box.path("begun"));
        Process process = start("trap 'echo ended; exit 130' TERM; echo $$ >\"$SANDBOX/begun\"\n"
                                "while :; do sleep 0.1; done");
        ASSERT_TRUE(box.wait_for("begun"));
        process.signal(number);
        const Outcome o = process.wait();
        EXPECT_EQ(o.status, 130) << number;
        EXPECT_EQ(o.out, "ended\n0 passed, 1 failed\n");
        EXPECT_TRUE(ends(std::stoi(box.read("begun"))));
    }
}

}  // namespace
}  // namespace vttm::setup_test
