// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/qtest/qemu_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <system_error>
#include <thread>

namespace vttm::qtest {
namespace {

[[noreturn]] void ThrowErrno(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

std::filesystem::path QemuPath() {
    const char* path = std::getenv("VTTM_QEMU");
    return path && *path ? path : VTTM_QEMU_DEFAULT;
}

TempDir::TempDir() {
    std::string name = std::filesystem::temp_directory_path() / "vttm-qtest.XXXXXX";
    if (!mkdtemp(name.data())) ThrowErrno(name);
    path_ = name;
}

TempDir::~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

QemuProcess::QemuProcess(const std::vector<std::string>& args, std::filesystem::path log)
    : log_(std::move(log)) {
    const std::string qemu = QemuPath();
    std::vector<char*> argv{const_cast<char*>(qemu.c_str())};
    for (const std::string& arg : args) argv.push_back(const_cast<char*>(arg.c_str()));
    argv.push_back(nullptr);

    int out = open(log_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out < 0) ThrowErrno(log_);
    pid_t parent = getpid();
    pid_ = fork();
    if (pid_ == 0) {
        // Only async-signal-safe calls here. QEMU must not outlive a test that crashed.
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) _exit(127);
        signal(SIGXFSZ, SIG_IGN);  // see LimitFileSize()
        dup2(out, STDOUT_FILENO);
        dup2(out, STDERR_FILENO);
        execv(argv[0], argv.data());
        _exit(127);
    }
    int error = errno;
    close(out);
    if (pid_ < 0) throw std::system_error(error, std::generic_category(), "fork");
}

QemuProcess::~QemuProcess() {
    if (!Running()) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, &status_, 0);
}

bool QemuProcess::Running() {
    if (pid_ < 0) return false;
    if (waitpid(pid_, &status_, WNOHANG) == 0) return true;
    pid_ = -1;
    return false;
}

void QemuProcess::Signal(int number) {
    if (kill(pid_, number) < 0) throw std::system_error(errno, std::generic_category(), "kill");
}

void QemuProcess::LimitFileSize(uint64_t bytes) {
    const rlimit limit{bytes, bytes};
    if (prlimit(pid_, RLIMIT_FSIZE, &limit, nullptr) < 0) {
        throw std::system_error(errno, std::generic_category(), "prlimit");
    }
}

int QemuProcess::Wait(int seconds) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (Running()) {
        if (std::chrono::steady_clock::now() > end) {
            kill(pid_, SIGKILL);
            waitpid(pid_, &status_, 0);
            pid_ = -1;
            return -1;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
}

std::string QemuProcess::Log() const {
    std::ostringstream text;
    text << std::ifstream(log_).rdbuf();
    return text.str();
}

LineSocket::LineSocket(const std::string& path) {
    sockaddr_un addr{};
    addr.sun_family = AF_UNIX;
    if (path.size() >= sizeof(addr.sun_path)) throw QemuError("socket path too long: " + path);
    std::memcpy(addr.sun_path, path.c_str(), path.size());
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener_ < 0) ThrowErrno("socket");
    if (bind(listener_, reinterpret_cast<sockaddr*>(&addr), sizeof(addr)) < 0 ||
        listen(listener_, 1) < 0) {
        close(listener_);
        ThrowErrno(path);
    }
}

LineSocket::~LineSocket() {
    if (fd_ >= 0) close(fd_);
    close(listener_);
}

void LineSocket::Accept(QemuProcess& qemu) {
    const auto end = std::chrono::steady_clock::now() + kPatience;
    pollfd waiting{listener_, POLLIN, 0};
    while (poll(&waiting, 1, 20) <= 0) {
        if (!qemu.Running()) throw QemuError("QEMU ended at its start:\n" + qemu.Log());
        if (std::chrono::steady_clock::now() > end) {
            throw QemuError("QEMU does not connect:\n" + qemu.Log());
        }
    }
    fd_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd_ < 0) ThrowErrno("accept");
}

void LineSocket::Send(const std::string& line) {
    const std::string text = line + "\n";
    for (size_t done = 0; done < text.size();) {
        ssize_t n = send(fd_, text.data() + done, text.size() - done, MSG_NOSIGNAL);
        if (n < 0) throw QemuError(std::string("QEMU is gone: ") + std::strerror(errno));
        done += n;
    }
}

std::string LineSocket::Receive(std::chrono::milliseconds timeout) {
    const auto end = std::chrono::steady_clock::now() + timeout;
    for (;;) {
        if (size_t at = buffer_.find('\n'); at != std::string::npos) {
            std::string line = buffer_.substr(0, at);
            buffer_.erase(0, at + 1);
            if (!line.empty() && line.back() == '\r') line.pop_back();
            return line;
        }
        auto left =
            std::chrono::ceil<std::chrono::milliseconds>(end - std::chrono::steady_clock::now());
        pollfd waiting{fd_, POLLIN, 0};
        if (left.count() <= 0 || poll(&waiting, 1, static_cast<int>(left.count())) == 0) {
            throw QemuError("QEMU does not answer");
        }
        char chunk[16384];
        ssize_t n = recv(fd_, chunk, sizeof(chunk), 0);
        if (n <= 0) throw QemuError("QEMU closed the connection");
        buffer_.append(chunk, n);
    }
}

}  // namespace vttm::qtest
