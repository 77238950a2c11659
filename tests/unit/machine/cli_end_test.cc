// SPDX-License-Identifier: Apache-2.0
// Bad ends of the whole program, from outside: each has its exit code, and leaves no process, no
// mount and no file.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include <fstream>
#include <set>
#include <thread>
#include <vector>

#include "tests/unit/machine/vm_fixture.h"

namespace vttm::machine::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

template <typename F>
bool within(std::chrono::milliseconds limit, F&& f) {
    const auto deadline = Clock::now() + limit;
    while (!f()) {
        if (Clock::now() >= deadline) return false;
        std::this_thread::sleep_for(50ms);
    }
    return true;
}

// Children of the process whose executable lies below the directory.
std::vector<pid_t> children_of(pid_t parent, const fs::path& below) {
    std::vector<pid_t> found;
    std::ifstream file(fs::path("/proc") / std::to_string(parent) / "task" / std::to_string(parent) / "children");
    for (pid_t pid = 0; file >> pid;) {
        std::error_code gone;
        const fs::path exe = fs::read_symlink(fs::path("/proc") / std::to_string(pid) / "exe", gone);
        if (!gone && exe.string().starts_with(below.string() + "/")) found.push_back(pid);
    }
    return found;
}

// The value of "NAME=" in the text of /proc/PID/environ.
std::string entry_of(const std::string& environment, const std::string& name) {
    const std::string text = '\0' + environment;
    const std::size_t at = text.find('\0' + name);
    return at == text.npos ? "" : text.c_str() + at + 1 + name.size();
}

// vttm-cli with directories of its own, so that all that it leaves is seen.
class Cli {
public:
    explicit Cli(const fs::path& home) : home_(home) { fs::create_directories(home_ / "run"); }
    ~Cli() { end(); }
    Cli(const Cli&) = delete;
    Cli& operator=(const Cli&) = delete;

    void start(std::vector<std::string> args) {
        std::vector<char*> argv;
        for (std::string& a : args) argv.push_back(a.data());
        argv.push_back(nullptr);
        pid_ = ::fork();
        if (pid_ != 0) return;
        ::setenv("XDG_RUNTIME_DIR", (home_ / "run").c_str(), 1);
        ::setenv("VTTM_CACHE", (home_ / "cache").c_str(), 1);
        ::unsetenv("VTTM_STARTED");
        const int out =
            ::open((home_ / "out").c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        ::dup2(out, 1);
        ::dup2(out, 2);
        // A job in a shell's background ignores SIGINT, one under nohup SIGHUP; this one stands for
        // the one in front.
        for (const int number : {SIGINT, SIGTERM, SIGHUP}) ::signal(number, SIG_DFL);
        sigset_t none;
        sigemptyset(&none);
        ::sigprocmask(SIG_SETMASK, &none, nullptr);
        ::execv(argv[0], argv.data());
        ::_exit(127);
    }
    // Only a test that failed has it running still.
    void end() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        pid_ = 0;
    }
    // Deletes what left() names, so that a failure is no burden on the tests after it.
    void clean(const fs::path& binary) const {
        kill_processes(binary, home_.string() + "/", 5s);
        std::error_code ignored;
        for (const std::string& name : names_)
            fs::remove(fs::path("/dev/shm") / (name + ".vram"), ignored);
    }
    pid_t pid() const { return pid_; }
    std::string output() const { return slurp(home_ / "out"); }
    bool says(const std::string& text, std::chrono::milliseconds limit = 150s) {
        return within(limit,
                      [&] {
                          note_names();
                          return output().find(text) != std::string::npos || ended();
                      }) &&
               output().find(text) != std::string::npos;
    }
    // Exit code, or 128 + signal.
    int wait(std::chrono::milliseconds limit = 150s) {
        within(limit, [&] {
            note_names();
            return ended();
        });
        return status_;
    }
    pid_t qemu(const fs::path& binary) const {
        const auto found = find_processes(binary, marker());
        return found.empty() ? 0 : found.front();
    }
    // Also those that libvirt starts to find out what they can, which have no name.
    bool any_qemu(const fs::path& binary) const {
        return !find_processes(binary, (home_ / "run").string() + "/").empty();
    }
    // What is there of it; waits for the reaper.
    std::string left(const fs::path& binary) const {
        std::string text;
        within(20s, [&] {
            text.clear();
            for (const fs::path& dir : {home_ / "run", home_ / "cache" / "tmp"}) {
                std::error_code none;
                for (const auto& entry : fs::directory_iterator(dir, none))
                    text += entry.path().string() + " ";
            }
            for (const std::string& name : names_)
                if (fs::exists(fs::path("/dev/shm") / (name + ".vram"))) text += name + ".vram ";
            if (qemu(binary) != 0 || any_qemu(binary)) text += "QEMU ";
            if (slurp("/proc/self/mountinfo").find(home_.string()) != std::string::npos)
                text += "a mount ";
            return text.empty();
        });
        return text;
    }

private:
    std::string marker() const { return "guest=vttm-" + std::to_string(pid_of_run_) + "-"; }
    void note_names() {
        pid_of_run_ = pid_ > 0 ? pid_ : pid_of_run_;
        std::error_code none;
        for (const auto& entry : fs::directory_iterator(home_ / "run", none))
            names_.insert(entry.path().filename().string());
    }
    bool ended() {
        int raw = 0;
        if (pid_ > 0 && ::waitpid(pid_, &raw, WNOHANG) == pid_) {
            status_ = WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw);
            pid_ = 0;
        }
        return pid_ == 0;
    }

    fs::path home_;
    std::set<std::string> names_;  // of run directories, and so of VRAM's files
    pid_t pid_ = 0;
    pid_t pid_of_run_ = 0;
    int status_ = -1;
};

class CliEnd : public VmTest {
protected:
    void SetUp() override {
        VmTest::SetUp();
        if (IsSkipped()) return;
        // Short: a run directory's path may have 39 characters.
        std::string name = (fs::temp_directory_path() / "cli-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        home = name;
        cli.emplace(home);
        args = {std::getenv("VTTM_CLI"),
                "--vm",
                std::getenv("VTTM_VM"),
                "--source-root",
                std::getenv("VTTM_SOURCE_ROOT"),
                "run",
                "swap-cycle-short",
                "--seed",
                "1",
                "--json",
                (home / "report.json").string()};
    }
    void TearDown() override {
        if (cli) {
            cli->end();
            EXPECT_EQ(cli->left(config.qemu), "");
            if (HasFailure()) ADD_FAILURE() << cli->output();
            cli->clean(config.qemu);
        }
        cli.reset();
        std::error_code ignored;
        if (!home.empty()) fs::remove_all(home, ignored);
        VmTest::TearDown();
    }
    void run(std::initializer_list<std::string> more = {}) {
        args.insert(args.end(), more);
        cli->start(args);
    }

    fs::path home;
    std::vector<std::string> args;
    std::optional<Cli> cli;
};

TEST_F(CliEnd, KernelThatIsNone) {
    auto vm = nlohmann::json::parse(slurp(std::getenv("VTTM_VM")));
    vm["kernel"] = (home / "kernel").string();
    std::ofstream(home / "kernel") << "this is no kernel";
    std::ofstream(home / "vm.json") << vm;
    args[2] = (home / "vm.json").string();
    run();
    EXPECT_EQ(cli->wait(), 16);
    EXPECT_NE(cli->output().find("what to do"), std::string::npos);
}

TEST_F(CliEnd, KernelThatPanicsBeforeTheAgent) {
    run({"--cmdline", "rdinit=/nothing"});
    EXPECT_EQ(cli->wait(), 16);
    EXPECT_NE(cli->output().find("Kernel panic"), std::string::npos);
}

TEST_F(CliEnd, KilledQemu) {
    run();
    ASSERT_TRUE(cli->says("guest is up"));
    const pid_t qemu = cli->qemu(config.qemu);
    ASSERT_GT(qemu, 0);
    ::kill(qemu, SIGKILL);
    EXPECT_EQ(cli->wait(), 6);
    EXPECT_NE(cli->output().find("killed"), std::string::npos);
}

TEST_F(CliEnd, ScenarioOverItsTime) {
    run({"--timeout", "10"});
    EXPECT_EQ(cli->wait(), 5);
    EXPECT_NE(cli->output().find("time"), std::string::npos);
}

class CliSignal : public CliEnd, public testing::WithParamInterface<int> {};

TEST_P(CliSignal, EndsItWithoutTraces) {
    run();
    ASSERT_TRUE(cli->says("first content check"));
    ASSERT_GT(cli->qemu(config.qemu), 0);
    ::kill(cli->pid(), GetParam());
    EXPECT_EQ(cli->wait(30s), GetParam() == SIGKILL ? 128 + SIGKILL : 130);
}

INSTANTIATE_TEST_SUITE_P(Signals, CliSignal, testing::Values(SIGINT, SIGTERM, SIGHUP, SIGKILL));

// ./vttm shell has no reaper: QEMU goes with it, and its disk has no name from the start. A
// comma in its directory's name is none of QEMU's.
TEST_F(CliEnd, KilledShell) {
    fs::rename(home, home.string() + ",");
    home += ",";
    cli.emplace(home);
    const std::string mark = "vttm.test=" + home.filename().string();
    args.resize(5);
    args.insert(args.end(), {"shell", "--cmdline", mark});
    cli->start(args);
    ASSERT_TRUE(cli->says("ready (shell)")) << cli->output();
    const auto qemu = find_processes(config.qemu, mark);
    ASSERT_EQ(qemu.size(), 1u);
    EXPECT_EQ(cli->left(config.qemu), "");
    ::kill(cli->pid(), SIGKILL);
    EXPECT_EQ(cli->wait(10s), 128 + SIGKILL);
    EXPECT_TRUE(within(10s, [&] { return !process_alive(qemu.front()); }));
    kill_processes(config.qemu, mark, 5s);
}

// While QEMU is being started, nobody knows its process yet.
TEST_F(CliEnd, KilledWhileTheMachineStarts) {
    run();
    ASSERT_TRUE(cli->says("boot"));
    ::kill(cli->pid(), SIGKILL);
    EXPECT_EQ(cli->wait(30s), 128 + SIGKILL);
}

// The first QEMU is not the machine's: libvirt asks it what it can, which takes seconds.
class CliProbing : public CliEnd, public testing::WithParamInterface<int> {};

TEST_P(CliProbing, KilledMeanwhileLeavesNoQemu) {
    run();
    ASSERT_TRUE(within(60s, [&] { return cli->any_qemu(config.qemu); })) << cli->output();
    std::this_thread::sleep_for(std::chrono::milliseconds(GetParam()));
    ::kill(cli->pid(), SIGKILL);
    EXPECT_EQ(cli->wait(30s), 128 + SIGKILL);
}

INSTANTIATE_TEST_SUITE_P(Milliseconds, CliProbing, testing::Values(0, 50, 200, 500));

// The programs of ./vttm test, and what these start, go with it.
TEST_F(CliEnd, KilledTestsLeaveNoProgram) {
    args.resize(5);
    args.insert(args.end(), {"test", "unit", "--results", (home / "results").string()});
    const auto programs = [&] { return children_of(cli->pid(), fs::path(args[0]).parent_path().parent_path()
                                                                   .parent_path() / "tests"); };
    cli->start(args);
    pid_t program = 0;
    std::string dir, mark;
    ASSERT_TRUE(within(60s, [&] {
        for (const pid_t pid : programs()) {
            ::kill(pid, SIGSTOP);  // it shall not end by itself
            const std::string environment = slurp(fs::path("/proc") / std::to_string(pid) / "environ");
            dir = entry_of(environment, "TMPDIR=");
            mark = entry_of(environment, "VTTM_SUBPROCESS=");
            program = pid;
        }
        return program != 0 && process_alive(program) && !mark.empty();
    })) << cli->output();
    ASSERT_TRUE(fs::exists(dir)) << dir;
    ASSERT_FALSE(find_by_environment("VTTM_SUBPROCESS=" + mark).empty());
    ::kill(cli->pid(), SIGKILL);
    EXPECT_EQ(cli->wait(30s), 128 + SIGKILL);
    EXPECT_TRUE(within(20s, [&] { return find_by_environment("VTTM_SUBPROCESS=" + mark).empty(); }));
    EXPECT_FALSE(process_alive(program));
    EXPECT_TRUE(within(20s, [&] { return !fs::exists(dir); })) << dir;
}

}  // namespace
}  // namespace vttm::machine::test
