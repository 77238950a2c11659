// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <system_error>

#include "host-backend/cli/commands.h"

namespace vttm::cli {
namespace {

// The swap disk of the session: an unlinked-at-the-end sparse file.
class TemporaryDisk {
public:
    explicit TemporaryDisk(std::uint64_t bytes) {
        path_ = (std::filesystem::temp_directory_path() / "vttm-shell-XXXXXX").string();
        int fd = ::mkstemp(path_.data());
        if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0)
            throw std::system_error(errno, std::generic_category(), path_);
        ::close(fd);
    }
    ~TemporaryDisk() { ::unlink(path_.c_str()); }
    TemporaryDisk(const TemporaryDisk&) = delete;
    TemporaryDisk& operator=(const TemporaryDisk&) = delete;
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

}  // namespace

// QEMU itself, not libvirt: a terminal is all that is wanted, and Ctrl-A X must end it.
int shell_command(const CommonOptions& common) {
    const Manifest m = load_manifest(common.vm_json);
    const std::string accel = common.accel.empty() ? m.accel : common.accel;
    TemporaryDisk swap(4ull << 30);
    std::vector<std::string> argv = {
        m.qemu.string(), "-machine", "q35,memory-backend=ram0", "-accel", accel, "-m", "1536",
        "-object", "memory-backend-memfd,id=ram0,size=1536M,share=on", "-no-reboot", "-nographic",
        "-kernel", m.kernel.string(), "-initrd", m.initramfs.string(), "-append",
        fmt::format("console=ttyS0 panic=-1 quiet vttm.mode=shell {}", common.cmdline),
        "-drive", fmt::format("file={},if=none,id=swap,format=raw,discard=unmap", swap.path()),
        "-device", "virtio-blk-pci,drive=swap,serial=vttm-swap",
        "-object", "memory-backend-memfd,id=vram0,size=256M,share=on",
        "-device", "vttm,id=vttm0,vram=vram0",
    };
    fmt::print("Ctrl-A X ends the machine, `poweroff` too.\n");
    std::fflush(stdout);
    pid_t pid = ::fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "fork");
    if (pid == 0) {
        std::vector<char*> args;
        for (std::string& a : argv) args.push_back(a.data());
        args.push_back(nullptr);
        ::execv(args[0], args.data());
        _exit(127);
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "waitpid");
        ::kill(pid, SIGTERM);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace vttm::cli
