// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/subprocess.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <stdexcept>
#include <system_error>

#include "host-backend/machine/unique_fd.h"

extern char** environ;

namespace vttm::cli {
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

pid_t spawn(const SubprocessRequest& request, int out) {
    std::vector<std::string> args = request.argv, env = merged_environment(request.env);
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
    pid_t pid = spawn(request, out.get());
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
        ::poll(nullptr, 0, 5);
    }
    result.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return result;
}

}  // namespace vttm::cli
