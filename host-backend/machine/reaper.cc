// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/reaper.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "host-backend/machine/mounts.h"
#include "host-backend/machine/process.h"

namespace vttm::machine {
namespace {

namespace fs = std::filesystem;

struct Duties {
    std::vector<fs::path> paths;
    std::vector<std::pair<fs::path, std::string>> processes;
    std::vector<std::string> marked;  // entries of environments
};

// Records are "<verb><text>\0"; a process is "<executable>\n<marker>".
void take(Duties& duties, std::string_view record) {
    if (record.empty()) return;
    const std::string_view text = record.substr(1);
    switch (record[0]) {
        case 'r':
            duties.paths.emplace_back(text);
            break;
        case 'f':
            std::erase(duties.paths, fs::path(text));
            break;
        case 'k':
            if (const auto nl = text.find('\n'); nl != std::string_view::npos)
                duties.processes.emplace_back(fs::path(text.substr(0, nl)),
                                              std::string(text.substr(nl + 1)));
            break;
        case 'e':
            duties.marked.emplace_back(text);
            break;
        case 'x':
            std::erase(duties.marked, text);
            break;
        default:
            break;
    }
}

void do_duties(const Duties& duties) {
    // A QEMU that was just being started may show up late, so processes are looked for once more
    // after the directories, without which it cannot run, are gone.
    for (int round = 0; round < 2; ++round) {
        for (const auto& [executable, marker] : duties.processes)
            kill_processes(executable, marker, std::chrono::seconds(5));
        for (const std::string& entry : duties.marked) end_by_environment(entry, std::chrono::seconds(10));
        for (const fs::path& path : duties.paths) {
            std::error_code ignored;
            unmount_below(path);
            fs::remove_all(path, ignored);
        }
        if (duties.processes.empty() && duties.marked.empty()) return;
        if (round == 0) ::usleep(200'000);
    }
}

[[noreturn]] void child(int channel) {
    ::setsid();
    ::prctl(PR_SET_NAME, kReaperName);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGTSTP}) ::signal(number, SIG_IGN);
    // Nothing of the parent's may be held open: its terminal, its sockets, the channel's other end.
    ::dup2(channel, 3);
    ::close_range(4, ~0u, 0);
    const int null = ::open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
    if (null > 3) ::close(null);
    if (::chdir("/") != 0) ::_exit(1);

    Duties duties;
    std::string input;
    std::array<char, 4096> chunk;
    for (;;) {
        const ssize_t n = ::read(3, chunk.data(), chunk.size());
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        input.append(chunk.data(), static_cast<std::size_t>(n));
        std::size_t end;
        while ((end = input.find('\0')) != std::string::npos) {
            take(duties, std::string_view(input).substr(0, end));
            input.erase(0, end + 1);
        }
    }
    do_duties(duties);
    ::_exit(0);
}

}  // namespace

Reaper::Reaper() {
    std::array<int, 2> ends;
    // A socket and not a pipe: writing to a child that somebody killed must not raise SIGPIPE.
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
        throw std::system_error(errno, std::generic_category(), "socketpair");
    UniqueFd reading(ends[0]);
    UniqueFd writing(ends[1]);
    const pid_t pid = ::fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid == 0) {
        try {
            child(reading.get());
        } catch (...) {
            ::_exit(1);
        }
    }
    pid_ = pid;
    channel_ = std::move(writing);
}

Reaper::~Reaper() {
    channel_.reset();
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
}

void Reaper::tell(char verb, const std::string& text) {
    std::string record = verb + text;
    record += '\0';
    std::string_view left = record;
    while (!left.empty()) {
        const ssize_t n = ::send(channel_.get(), left.data(), left.size(), MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) throw std::system_error(errno, std::generic_category(), "the reaper");
        left.remove_prefix(static_cast<std::size_t>(n));
    }
}

void Reaper::remove_at_end(const fs::path& path) { tell('r', fs::absolute(path).string()); }

void Reaper::forget(const fs::path& path) { tell('f', fs::absolute(path).string()); }

void Reaper::kill_at_end(const fs::path& executable, const std::string& marker) {
    tell('k', fs::weakly_canonical(executable).string() + "\n" + marker);
}

void Reaper::end_marked_at_end(const std::string& entry) { tell('e', entry); }

void Reaper::forget_marked(const std::string& entry) { tell('x', entry); }

}  // namespace vttm::machine
