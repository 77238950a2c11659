// SPDX-License-Identifier: Apache-2.0
#include "guest-driver/libvttm/agent/child.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <array>
#include <fstream>

#include "guest-driver/libvttm/error.h"

extern char** environ;

namespace vttm::guest {
namespace {

struct Pipe {
    Fd read;
    Fd write;
};

Pipe make_pipe() {
    std::array<int, 2> ends;
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        throw_errno("pipe2");
    }
    return {Fd(ends[0]), Fd(ends[1])};
}

class SpawnSetup {
public:
    SpawnSetup() {
        posix_spawn_file_actions_init(&actions);
        posix_spawnattr_init(&attributes);
    }
    SpawnSetup(const SpawnSetup&) = delete;
    SpawnSetup& operator=(const SpawnSetup&) = delete;
    ~SpawnSetup() {
        posix_spawnattr_destroy(&attributes);
        posix_spawn_file_actions_destroy(&actions);
    }

    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
};

int status_of(int raw) { return WIFSIGNALED(raw) ? 128 + WTERMSIG(raw) : WEXITSTATUS(raw); }

}  // namespace

Child::Child(const std::vector<std::string>& argv, Input input, bool merge_errors) {
    Pipe to = make_pipe();
    Pipe from = make_pipe();
    SpawnSetup setup;
    if (input == Input::kPipe) {
        posix_spawn_file_actions_adddup2(&setup.actions, to.read.get(), STDIN_FILENO);
    } else {
        posix_spawn_file_actions_addopen(&setup.actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    }
    posix_spawn_file_actions_adddup2(&setup.actions, from.write.get(), STDOUT_FILENO);
    if (merge_errors) {
        posix_spawn_file_actions_adddup2(&setup.actions, from.write.get(), STDERR_FILENO);
    }
    // The agent ignores SIGPIPE; its children must not inherit that.
    sigset_t defaults;
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    posix_spawnattr_setsigdefault(&setup.attributes, &defaults);
    posix_spawnattr_setpgroup(&setup.attributes, 0);
    posix_spawnattr_setflags(&setup.attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF);

    std::vector<char*> arguments;
    arguments.reserve(argv.size() + 1);
    for (const std::string& argument : argv) {
        arguments.push_back(const_cast<char*>(argument.c_str()));
    }
    arguments.push_back(nullptr);
    const int error = posix_spawnp(&pid_, arguments[0], &setup.actions, &setup.attributes,
                                   arguments.data(), environ);
    if (error != 0) {
        throw Error(error, "start " + argv[0]);
    }
    // The agent is exempt from the OOM killer; what it starts is not.
    std::ofstream("/proc/" + std::to_string(pid_) + "/oom_score_adj") << 0;
    if (input == Input::kPipe) {
        input_ = std::move(to.write);
    }
    output_ = std::move(from.read);
}

Child::~Child() {
    kill();
    wait();
}

void Child::kill() {
    if (!reaped_) {
        ::kill(-pid_, SIGKILL);
        ::kill(pid_, SIGKILL);  // if it has left its process group
    }
}

int Child::wait() {
    while (!reaped_) {
        int raw = 0;
        const pid_t got = ::waitpid(pid_, &raw, 0);
        if (got == pid_) {
            reaped_ = true;
            status_ = status_of(raw);
        } else if (errno != EINTR) {
            reaped_ = true;
            status_ = 127;
        }
    }
    return status_;
}

bool Child::ended(int* status) {
    if (!reaped_) {
        int raw = 0;
        if (::waitpid(pid_, &raw, WNOHANG) != pid_) {
            return false;
        }
        reaped_ = true;
        status_ = status_of(raw);
    }
    *status = status_;
    return true;
}

}  // namespace vttm::guest
