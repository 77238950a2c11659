// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/reaper.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>

#include "host-backend/machine/process.h"
#include "host-backend/machine/workspace.h"

namespace vttm::machine {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

template <typename F>
bool eventually(F&& f) {
    for (int i = 0; i < 200; ++i) {
        if (f()) return true;
        std::this_thread::sleep_for(50ms);
    }
    return false;
}

// A program that sleeps and has the marker as an argument. Reaped here once it ends.
class Sleeper {
  public:
    explicit Sleeper(const std::string& marker) {
        pid_ = ::fork();
        if (pid_ == 0) {
            ::execl("/bin/sh", "sh", "-c", "sleep 60 & wait", marker.c_str(), nullptr);
            ::_exit(127);
        }
    }
    ~Sleeper() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
    }
    pid_t pid() const { return pid_; }
    bool alive() const { return process_alive(pid_); }

  private:
    pid_t pid_;
};

class ReaperTest : public testing::Test {
  protected:
    void SetUp() override {
        dir = fs::path(testing::TempDir()) / ("vttm-reaper-" + std::to_string(::getpid()));
        fs::create_directories(dir / "a" / "b");
        std::ofstream(dir / "a" / "b" / "file") << "x";
        marker = "guest=vttm-test-" + std::to_string(::getpid()) + ",";
    }
    void TearDown() override {
        // A reaper may be at it at the same time, and remove_all() takes that for an error.
        std::error_code error;
        EXPECT_TRUE(eventually([&] { return fs::remove_all(dir, error), !fs::exists(dir); })) << error.message();
    }
    fs::path dir;
    std::string marker;
};

// ./vttm takes a disk directory in the cache for a killed run's, unless a file `kept` says otherwise.
TEST_F(ReaperTest, OnlyDirectoriesThatShallBeKeptStayAndSaySo) {
    for (const bool keep : {false, true}) {
        MachineConfig config;
        config.keep = keep;
        config.device = false;
        config.run_dir = dir / (keep ? "run1" : "run0");
        config.disk_dir = dir / (keep ? "disk1" : "disk0");
        {
            Reaper reaper;
            const Workspace workspace(config, reaper);
            EXPECT_EQ(fs::exists(config.disk_dir / "kept"), keep);
        }
        EXPECT_EQ(fs::exists(config.run_dir), keep);
        EXPECT_EQ(fs::exists(config.disk_dir / "kept"), keep);
    }
}

TEST_F(ReaperTest, EndingItCleansWhatIsRegistered) {
    fs::create_directories(dir / "kept");
    {
        Reaper reaper;
        reaper.remove_at_end(dir / "a");
        reaper.remove_at_end(dir / "kept");
        reaper.forget(dir / "kept");
        EXPECT_TRUE(fs::exists(dir / "a"));
    }
    EXPECT_FALSE(fs::exists(dir / "a"));
    EXPECT_TRUE(fs::exists(dir / "kept"));
}

TEST_F(ReaperTest, DeathOfItsOwnerCleans) {
    const Sleeper machine(marker);
    const Sleeper other("guest=other,");
    ASSERT_TRUE(eventually(
        [&] { return !find_processes("/bin/sh", marker).empty() &&
                     !find_processes("/bin/sh", "guest=other,").empty(); }));
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    const pid_t owner = ::fork();
    if (owner == 0) {
        Reaper reaper;
        reaper.remove_at_end(dir / "a");
        reaper.kill_at_end("/bin/sh", marker);
        if (::write(ends[1], "x", 1) != 1) ::_exit(1);
        ::pause();
        ::_exit(0);
    }
    char c;
    ASSERT_EQ(::read(ends[0], &c, 1), 1);
    EXPECT_TRUE(machine.alive());
    ::kill(owner, SIGKILL);
    ::waitpid(owner, nullptr, 0);
    EXPECT_TRUE(eventually([&] { return !machine.alive() && !fs::exists(dir / "a"); }));
    EXPECT_TRUE(other.alive());
    ::close(ends[0]);
    ::close(ends[1]);
}

// Starts /bin/sh, in a session of its own, with the entry in its environment.
class Marked {
  public:
    Marked(const std::string& entry, const std::string& program, const std::string& script) {
        pid_ = ::fork();
        if (pid_ == 0) {
            ::setsid();
            const char* env[] = {"PATH=/usr/bin:/bin", entry.c_str(), nullptr};
            ::execle(program.c_str(), program.c_str(), "-c", script.c_str(), nullptr, env);
            ::_exit(127);
        }
    }
    ~Marked() {
        ::kill(-pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    bool alive() const { return process_alive(pid_); }

  private:
    pid_t pid_;
};

TEST_F(ReaperTest, DeathOfItsOwnerEndsAllThatIsMarkedAndLetsReapersClean) {
    const std::string entry = "VTTM_TEST_MARK=" + std::to_string(::getpid());
    const fs::path reaper_program = dir / kReaperName;  // its name is that of the file
    fs::create_symlink("/bin/sh", reaper_program);
    const std::string cleaned = (dir / "cleaned").string();
    const Marked program(entry, "/bin/sh", "sleep 60 & wait");
    const Marked other(entry + "0", "/bin/sh", "sleep 60 & wait");
    std::ofstream(dir / "busy") << "x";
    const Marked cleaner(entry, reaper_program,
                         "while [ -e " + (dir / "busy").string() + " ]; do sleep 0.1; done; : >" + cleaned);
    ASSERT_TRUE(eventually([&] { return find_by_environment(entry).size() >= 3; }));
    EXPECT_TRUE(find_by_environment("VTTM_TEST_MARK").empty());
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);
    const pid_t owner = ::fork();
    if (owner == 0) {
        Reaper reaper;
        reaper.end_marked_at_end(entry + "0");
        reaper.forget_marked(entry + "0");
        reaper.end_marked_at_end(entry);
        if (::write(ends[1], "x", 1) != 1) ::_exit(1);
        ::pause();
        ::_exit(0);
    }
    char c;
    ASSERT_EQ(::read(ends[0], &c, 1), 1);
    EXPECT_TRUE(program.alive());
    ::kill(owner, SIGKILL);
    ::waitpid(owner, nullptr, 0);
    EXPECT_TRUE(eventually([&] { return !program.alive(); }));
    EXPECT_TRUE(cleaner.alive()) << "a reaper was killed before it had cleaned";
    fs::remove(dir / "busy");
    EXPECT_TRUE(eventually([&] { return !cleaner.alive(); }));
    EXPECT_TRUE(fs::exists(cleaned));
    EXPECT_TRUE(other.alive()) << "was forgotten";
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST_F(ReaperTest, HoldsNothingOfItsOwnersOpen) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe(ends.data()), 0);  // without close-on-exec: a fork inherits it anyway
    auto reaper = std::make_unique<Reaper>();
    ::close(ends[1]);
    // Nobody holds the writing end now, so reading sees the end.
    ASSERT_EQ(::fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    EXPECT_TRUE(eventually([&] {
        char c;
        return ::read(ends[0], &c, 1) == 0;
    }));
    ::close(ends[0]);
}

TEST_F(ReaperTest, CtrlCDoesNotEndIt) {
    auto reaper = std::make_unique<Reaper>();
    reaper->remove_at_end(dir / "a");
    ASSERT_TRUE(eventually([&] { return ::getsid(reaper->pid()) == reaper->pid(); }));
    std::this_thread::sleep_for(50ms);
    for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::kill(reaper->pid(), number);
    std::this_thread::sleep_for(50ms);
    EXPECT_TRUE(process_alive(reaper->pid()));
    reaper.reset();
    EXPECT_FALSE(fs::exists(dir / "a"));
}

TEST_F(ReaperTest, ItsOwnDeathIsAnErrorAndNoSignal) {
    Reaper reaper;
    ::kill(reaper.pid(), SIGKILL);
    EXPECT_TRUE(eventually([&] { return !process_alive(reaper.pid()); }));
    EXPECT_THROW(reaper.remove_at_end(dir / "a"), std::system_error);
}

TEST_F(ReaperTest, TwoReapersDoNotKeepEachOtherAlive) {
    auto first = std::make_unique<Reaper>();
    first->remove_at_end(dir / "a");
    const Reaper second;
    first.reset();  // would wait for ever if `second` held the pipe
    EXPECT_FALSE(fs::exists(dir / "a"));
}

TEST(Processes, OnlyTheExecutableWithTheMarkerIsFound) {
    const std::string marker = "guest=vttm-find-" + std::to_string(::getpid()) + ",";
    const Sleeper sleeper(marker);
    ASSERT_TRUE(eventually([&] { return find_processes("/bin/sh", marker).size() == 1; }));
    EXPECT_TRUE(find_processes("/bin/cat", marker).empty());
    EXPECT_TRUE(find_processes("/bin/sh", "").empty());
    EXPECT_EQ(find_processes("/bin/sh", marker)[0], sleeper.pid());
    EXPECT_TRUE(kill_processes("/bin/sh", marker, 5s));
    EXPECT_FALSE(sleeper.alive());
    EXPECT_FALSE(process_alive(0x3fffffff));
}

}  // namespace
}  // namespace vttm::machine
