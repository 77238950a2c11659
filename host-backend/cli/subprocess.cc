// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/subprocess.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <random>
#include <set>
#include <stdexcept>
#include <system_error>

#include "host-backend/machine/libvirt.h"
#include "host-backend/machine/mounts.h"
#include "host-backend/machine/unique_fd.h"

extern char** environ;

namespace vttm::cli {
namespace fs = std::filesystem;
namespace {

std::vector<char*> pointers(std::vector<std::string>& strings) {
    std::vector<char*> out;
    for (std::string& s : strings) out.push_back(s.data());
    out.push_back(nullptr);
    return out;
}

std::vector<std::string> merged_environment(const std::vector<std::string>& added) {
    std::vector<std::string> env;
    for (char** e = environ; *e; ++e) {
        std::string_view have(*e);
        bool replaced = false;
        for (const std::string& a : added)
            replaced |= have.substr(0, have.find('=') + 1) == a.substr(0, a.find('=') + 1);
        if (!replaced) env.emplace_back(have);
    }
    env.insert(env.end(), added.begin(), added.end());
    return env;
}

pid_t spawn(const SubprocessRequest& request, std::vector<std::string> env, int out) {
    std::vector<std::string> args = request.argv;
    std::vector<char*> argv = pointers(args), envp = pointers(env);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out, STDERR_FILENO);
    // A group of its own: a time-out ends grandchildren too. And signals as after a login, whatever
    // we were started with: a job in a shell's background ignores SIGINT, one under nohup SIGHUP.
    posix_spawnattr_setflags(
        &attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setpgroup(&attr, 0);
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(&attr, &signals);
    for (const int number : {SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE}) sigaddset(&signals, number);
    posix_spawnattr_setsigdefault(&attr, &signals);
    pid_t pid = -1;
    int error = ::posix_spawnp(&pid, argv[0], &actions, &attr, argv.data(), envp.data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attr);
    if (error) throw std::system_error(error, std::generic_category(), "start " + request.argv[0]);
    return pid;
}

// While it lives, orphans below us become our children, so none can get away.
class OrphanKeeper {
public:
    OrphanKeeper() : before_(children()) {
        ::prctl(PR_GET_CHILD_SUBREAPER, &was_);
        ::prctl(PR_SET_CHILD_SUBREAPER, 1);
    }
    ~OrphanKeeper() {
        try {
            end_orphans();
        } catch (const std::exception&) {  // no /proc: nothing can be found
        }
        ::prctl(PR_SET_CHILD_SUBREAPER, was_);
    }
    OrphanKeeper(const OrphanKeeper&) = delete;
    OrphanKeeper& operator=(const OrphanKeeper&) = delete;

    // Orphans that have ended must not stay: who waits for one below (a test for its QEMU) asks whether
    // the process is there, and a zombie is. main: not an orphan, it is waited for elsewhere.
    void bury(pid_t main) const {
        siginfo_t ended = {};
        if (::waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) != 0 || ended.si_pid == 0 ||
            ended.si_pid == main)
            return;
        for (const pid_t pid : children())
            if (pid != main && !before_.contains(pid)) ::waitpid(pid, nullptr, WNOHANG);
    }

private:
    static std::set<pid_t> children() {
        std::set<pid_t> found;
        for (const auto& entry : fs::directory_iterator("/proc")) {
            const pid_t pid = std::atoi(entry.path().filename().c_str());
            if (pid <= 0) continue;
            std::ifstream file(entry.path() / "stat");
            std::string stat;
            std::getline(file, stat, '\0');  // throws nothing if the process has gone meanwhile
            const std::size_t name_end = stat.rfind(')');  // the name may hold anything
            char state = 0;
            int parent = 0;
            if (name_end != std::string::npos &&
                std::sscanf(stat.c_str() + name_end + 1, " %c %d", &state, &parent) == 2 &&
                parent == ::getpid())
                found.insert(pid);
        }
        return found;
    }
    // Until the last is gone: one that ends hands its own children to us.
    void end_orphans() const {
        const auto hard = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        std::set<pid_t> told;
        for (;;) {
            bool any = false;
            const bool late = std::chrono::steady_clock::now() > hard;
            for (const pid_t pid : children()) {
                if (before_.contains(pid)) continue;
                any = true;
                if (::waitpid(pid, nullptr, WNOHANG) == pid) continue;
                if (late)
                    ::kill(pid, SIGKILL);
                else if (told.insert(pid).second)
                    ::kill(pid, SIGTERM);
            }
            if (!any) return;
            ::poll(nullptr, 0, 20);
        }
    }

    std::set<pid_t> before_;
    int was_ = 0;
};

class OwnTmpdir {
public:
    explicit OwnTmpdir(machine::Reaper& reaper) : reaper_(reaper) {
        std::error_code error;
        fs::path parent = fs::temp_directory_path(error);
        // The path of a socket below ends at 107 characters.
        if (error || parent.string().size() > 12) parent = "/tmp";
        std::string name = (parent / "vttm-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr)
            throw std::system_error(errno, std::generic_category(), "cannot make " + name);
        path_ = name;
        reaper_.remove_at_end(path_);
        ::chmod(path_.c_str(), 01777);  // as /tmp: some tests run programs as another user
    }
    ~OwnTmpdir() {
        machine::unmount_below(path_);
        std::error_code ignored;
        fs::remove_all(path_, ignored);
        try {
            reaper_.forget(path_);
        } catch (const std::exception&) {  // it was killed
        }
    }
    OwnTmpdir(const OwnTmpdir&) = delete;
    OwnTmpdir& operator=(const OwnTmpdir&) = delete;
    const std::string& path() const { return path_; }

private:
    machine::Reaper& reaper_;
    std::string path_;
};

// Marks a child and all below it, so that they end with us even if we are SIGKILLed.
class Mark {
public:
    explicit Mark(machine::Reaper& reaper) : reaper_(reaper) {
        std::random_device random;
        entry_ = fmt::format("VTTM_SUBPROCESS={}-{:08x}{:08x}", ::getpid(), random(), random());
        reaper_.end_marked_at_end(entry_);
    }
    ~Mark() {
        try {
            reaper_.forget_marked(entry_);
        } catch (const std::exception&) {  // it was killed
        }
    }
    Mark(const Mark&) = delete;
    Mark& operator=(const Mark&) = delete;
    const std::string& entry() const { return entry_; }

private:
    machine::Reaper& reaper_;
    std::string entry_;
};

// Hands complete lines on and keeps the rest.
void emit_lines(std::string& pending, const SubprocessRequest& request, bool at_end) {
    std::size_t start = 0;
    for (std::size_t nl; (nl = pending.find('\n', start)) != std::string::npos; start = nl + 1)
        if (request.on_line) request.on_line(std::string_view(pending).substr(start, nl - start));
    pending.erase(0, start);
    if (at_end && !pending.empty() && request.on_line) request.on_line(pending);
}

}  // namespace

SubprocessResult run_subprocess(const SubprocessRequest& request) {
    if (request.argv.empty()) throw std::invalid_argument("run_subprocess: empty argv");
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC) != 0)
        throw std::system_error(errno, std::generic_category(), "pipe");
    machine::UniqueFd in(ends[0]), out(ends[1]);
    // Its process is there before the OrphanKeeper looks who is: it is no orphan.
    machine::Reaper& reaper = machine::HostSession::get().reaper();
    std::optional<OwnTmpdir> tmpdir;
    const Mark mark(reaper);
    std::vector<std::string> added = request.env;
    added.push_back(mark.entry());
    if (request.own_tmpdir) {
        tmpdir.emplace(reaper);
        for (const char* name : {"TMPDIR=", "TEST_TMPDIR="}) added.push_back(name + tmpdir->path());
    }
    const OrphanKeeper orphans;
    pid_t pid = spawn(request, merged_environment(added), out.get());
    out.reset();

    SubprocessResult result;
    std::string pending;
    std::array<char, 65536> chunk;
    const auto deadline = std::chrono::steady_clock::now() + request.timeout;
    const auto must_end = [&] {
        const bool cancelled = request.cancelled && request.cancelled();
        result.timed_out = !cancelled && std::chrono::steady_clock::now() > deadline;
        return cancelled || result.timed_out;
    };
    for (;;) {
        pollfd p{in.get(), POLLIN, 0};
        int ready = ::poll(&p, 1, 100);
        orphans.bury(pid);
        if (ready > 0) {
            ssize_t n = ::read(in.get(), chunk.data(), chunk.size());
            if (n < 0 && errno == EINTR) continue;
            if (n <= 0) break;
            pending.append(chunk.data(), static_cast<std::size_t>(n));
            emit_lines(pending, request, false);
        }
        if (must_end()) {
            ::kill(-pid, SIGKILL);
            break;
        }
    }
    emit_lines(pending, request, true);
    // A child may close its output and live on: the limits hold for that, too.
    int status = 0;
    for (pid_t ended = 0; ended != pid; ended = ::waitpid(pid, &status, WNOHANG)) {
        if (must_end()) ::kill(-pid, SIGKILL);
        orphans.bury(pid);
        ::poll(nullptr, 0, 5);
    }
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result;
}

}  // namespace vttm::cli
