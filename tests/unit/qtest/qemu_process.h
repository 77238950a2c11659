// SPDX-License-Identifier: Apache-2.0
// A QEMU process of a test: started with arguments, ended with the object, its stderr kept; and the
// sockets over which one talks to it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

namespace vttm::qtest {

/// Path of the QEMU under test: $VTTM_QEMU, else the one of this build; it need not exist.
std::filesystem::path QemuPath();

/// A fresh folder, deleted with everything in it.
class TempDir {
public:
    TempDir();
    ~TempDir();
    TempDir(const TempDir&) = delete;
    TempDir& operator=(const TempDir&) = delete;
    const std::filesystem::path& path() const { return path_; }
    std::string File(const std::string& name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

class QemuProcess {
public:
    /// Starts QEMU with @args; stderr (and stdout) go to @log. Throws std::system_error.
    QemuProcess(const std::vector<std::string>& args, std::filesystem::path log);
    ~QemuProcess();
    QemuProcess(const QemuProcess&) = delete;
    QemuProcess& operator=(const QemuProcess&) = delete;

    bool Running();
    void Signal(int number);
    /// From now on a write beyond @bytes of any file fails with EFBIG.
    void LimitFileSize(uint64_t bytes);
    /// Waits for the end; returns the exit status, or 128 + signal. Kills it after @seconds (-1).
    int Wait(int seconds);
    std::string Log() const;

private:
    pid_t pid_ = -1;
    int status_ = 0;
    std::filesystem::path log_;
};

inline constexpr std::chrono::seconds kPatience{20};

/// What QEMU answered with, where a test expected something else.
struct QemuError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

/// One end of a Unix stream socket that speaks lines.
class LineSocket {
public:
    /// Listens at @path.
    explicit LineSocket(const std::string& path);
    ~LineSocket();
    LineSocket(const LineSocket&) = delete;
    LineSocket& operator=(const LineSocket&) = delete;

    /// Waits for @qemu to connect; throws QemuError with its log when it ends instead.
    void Accept(QemuProcess& qemu);
    void Send(const std::string& line);
    /// The next line; throws QemuError after @timeout or at end of file.
    std::string Receive(std::chrono::milliseconds timeout = kPatience);

private:
    int listener_ = -1;
    int fd_ = -1;
    std::string buffer_;
};

}  // namespace vttm::qtest
