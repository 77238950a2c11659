// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/subprocess.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "host-backend/machine/process.h"

namespace vttm::cli {
namespace {

TEST(Subprocess, ReturnsStatusAndLines) {
    std::vector<std::string> lines;
    auto r = run_subprocess({.argv = {"sh", "-c", "echo one; echo two >&2; printf three; exit 7"},
                             .on_line = [&](std::string_view l) { lines.emplace_back(l); }});
    EXPECT_EQ(r.status, 7);
    EXPECT_FALSE(r.timed_out);
    EXPECT_EQ(lines, (std::vector<std::string>{"one", "two", "three"}));
}

TEST(Subprocess, ReportsSignals) {
    EXPECT_EQ(run_subprocess({.argv = {"sh", "-c", "kill -SEGV $$"}}).status, 128 + 11);
}

TEST(Subprocess, TimeLimitEndsGrandchildrenToo) {
    // The grandchild holds the pipe: were it alive, the read would go on for its 30 s.
    auto begin = std::chrono::steady_clock::now();
    auto r = run_subprocess({.argv = {"sh", "-c", "sleep 30 & wait"},
                             .timeout = std::chrono::milliseconds(300)});
    EXPECT_TRUE(r.timed_out);
    EXPECT_EQ(r.status, 128 + 9);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(Subprocess, TimeLimitHoldsForAChildThatClosedItsOutput) {
    auto begin = std::chrono::steady_clock::now();
    auto r = run_subprocess({.argv = {"sh", "-c", "exec sleep 30 >/dev/null 2>&1"},
                             .timeout = std::chrono::milliseconds(300)});
    EXPECT_TRUE(r.timed_out);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(Subprocess, CanBeCancelled) {
    auto r = run_subprocess({.argv = {"sleep", "30"}, .cancelled = [] { return true; }});
    EXPECT_FALSE(r.timed_out);
    EXPECT_EQ(r.status, 128 + 9);
}

// As ./vttm test in a shell's background, or under nohup: tests send these signals to what they start.
TEST(Subprocess, SignalsThatWeIgnoreOrBlockReachTheChild) {
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
        sigset_t one, before;
        sigemptyset(&one);
        sigaddset(&one, number);
        ::sigprocmask(SIG_BLOCK, &one, &before);
        const auto handler = ::signal(number, SIG_IGN);
        const auto r = run_subprocess(
            {.argv = {"sh", "-c", "kill -" + std::to_string(number) + " $$; exit 7"}});
        ::signal(number, handler);
        ::sigprocmask(SIG_SETMASK, &before, nullptr);
        EXPECT_EQ(r.status, 128 + number);
    }
}

// A daemon of a test, in a session of its own and holding no output of ours.
TEST(Subprocess, NothingThatTheChildStartedOutlivesIt) {
    for (const bool cancel : {false, true}) {
        int daemon = 0;
        const auto begin = std::chrono::steady_clock::now();
        run_subprocess({.argv = {"sh", "-c",
                                 "setsid sh -c 'echo $$; exec >/dev/null 2>&1; sleep 60; :' & "
                                 "sleep 0.5; " + std::string(cancel ? "sleep 60" : "exit 0")},
                        .on_line = [&](std::string_view l) { daemon = std::stoi(std::string(l)); },
                        .cancelled = [&] { return cancel && daemon != 0; }});
        ASSERT_GT(daemon, 0);
        EXPECT_EQ(::kill(daemon, 0), -1);
        EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(9)) << "by SIGTERM";
    }
}

TEST(Subprocess, ItsOwnTmpdirIsGoneWithAllInIt) {
    std::string dir;
    const auto r = run_subprocess(
        {.argv = {"sh", "-c", "mkdir $TMPDIR/a && echo x >$TMPDIR/a/b && echo $TMPDIR; sleep 60"},
         .on_line = [&](std::string_view l) { dir = l; },
         .cancelled = [&] { return !dir.empty(); },
         .own_tmpdir = true});
    EXPECT_EQ(r.status, 128 + 9);
    ASSERT_NE(dir, "");
    EXPECT_NE(dir, std::filesystem::temp_directory_path().string());
    EXPECT_FALSE(std::filesystem::exists(dir));
}

TEST(Subprocess, EnvironmentIsAddedAndReplaced) {
    std::string seen;
    ::setenv("VTTM_TEST_ENV", "old", 1);
    run_subprocess({.argv = {"sh", "-c", "echo $VTTM_TEST_ENV"},
                    .env = {"VTTM_TEST_ENV=new"},
                    .on_line = [&](std::string_view l) { seen = l; }});
    EXPECT_EQ(seen, "new");
}

TEST(Subprocess, MissingProgramThrows) {
    EXPECT_THROW(run_subprocess({.argv = {"/nonexistent/program"}}), std::system_error);
}

// A test waits for its QEMU, which was never its child, by asking whether the process is there.
TEST(Subprocess, AnOrphanThatEndedIsGoneWhileTheProgramRuns) {
    const SubprocessResult r = run_subprocess(
        {.argv = {"sh", "-c",
                  "p=$( (setsid sh -c 'exit 0' >/dev/null & echo $!) )\n"
                  "for i in $(seq 60); do kill -0 $p 2>/dev/null || exit 0; sleep 0.05; done\n"
                  "exit 1"}});
    EXPECT_EQ(r.status, 0);
}

// As a `./vttm test` that is SIGKILLed: no handler of ours runs. The owner is this program once more, in a process of its
// own: here somebody else's reaper lives already.
TEST(Subprocess, NothingOutlivesAnOwnerThatIsKilled) {
    if (const char* there = std::getenv("VTTM_TEST_TELL")) {
        run_subprocess({.argv = {"sh", "-c",
                                 "setsid sh -c 'sleep 60 & wait' & touch $TMPDIR/there; echo $TMPDIR $$ $! >" +
                                     std::string(there) + "; sleep 60"},
                        .own_tmpdir = true});
        return;
    }
    std::string tell = (std::filesystem::temp_directory_path() / "vttm-tell-XXXXXX").string();
    ::close(::mkstemp(tell.data()));
    const pid_t owner = ::fork();
    if (owner == 0) {
        ::setenv("VTTM_TEST_TELL", tell.c_str(), 1);
        ::execl("/proc/self/exe", "owner", "--gtest_filter=Subprocess.NothingOutlivesAnOwnerThatIsKilled",
                "--gtest_output=", nullptr);
        ::_exit(127);
    }
    std::string dir;
    pid_t child = 0, daemon = 0;
    for (int i = 0; i < 200 && daemon == 0; ++i) {
        ::usleep(50'000);
        std::ifstream(tell) >> dir >> child >> daemon;
    }
    ::kill(owner, SIGKILL);
    ::waitpid(owner, nullptr, 0);
    std::filesystem::remove(tell);
    ASSERT_GT(daemon, 0) << "was not started";
    const auto left = [&] {
        return machine::process_alive(child) || machine::process_alive(daemon) || std::filesystem::exists(dir);
    };
    for (int i = 0; i < 200 && left(); ++i) ::usleep(50'000);
    EXPECT_FALSE(machine::process_alive(child));
    EXPECT_FALSE(machine::process_alive(daemon)) << "in a session of its own";
    EXPECT_FALSE(std::filesystem::exists(dir)) << dir;
}

}  // namespace
}  // namespace vttm::cli
