// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "host-backend/cli/commands.h"
#include "host-backend/cli/conclude.h"
#include "host-backend/cli/output.h"
#include "host-backend/machine/interrupt.h"
#include "host-backend/machine/unique_fd.h"
#include "host-backend/machine/workspace.h"

namespace vttm::cli {
namespace {

// The swap disk of the shell: a sparse file that has no name from the start, so it goes with the last
// who has it open, however that one ends.
machine::UniqueFd nameless_disk(const std::filesystem::path& parent, std::uint64_t bytes) {
    std::filesystem::create_directories(parent);
    std::string path = (parent / "vttm-shell-XXXXXX").string();
    machine::UniqueFd fd(::mkostemp(path.data(), O_CLOEXEC));
    if (!fd) throw std::system_error(errno, std::generic_category(), "cannot make " + path);
    ::unlink(path.c_str());
    if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0)
        throw std::system_error(errno, std::generic_category(), "cannot make the swap disk " + path);
    return fd;
}

// Starts a program on this terminal, with one of our files, and waits for its end. Ctrl-C and the like
// end it, and our own end does, even by SIGKILL. SIGTERM: QEMU gives the terminal back then.
int run_here(std::vector<std::string> argv, int file) {
    std::vector<char*> args;
    for (std::string& a : argv) args.push_back(a.data());
    args.push_back(nullptr);
    const pid_t parent = ::getpid();
    const pid_t pid = ::fork();
    if (pid < 0) throw std::system_error(errno, std::generic_category(), "cannot start " + argv[0]);
    if (pid == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGTERM);
        ::fcntl(file, F_SETFD, 0);
        if (::getppid() == parent) ::execv(args[0], args.data());
        ::_exit(127);
    }
    int status = 0;
    while (::waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "waitpid");
        if (machine::interrupted()) ::kill(pid, SIGTERM);
    }
    return status;
}

}  // namespace

// QEMU itself, not libvirt: a terminal is all that is wanted, and Ctrl-A X must end it.
int shell_command(const CommonOptions& common) {
    for (const auto& [given, option] :
         {std::pair{!common.connect_uri.empty(), "--connect"},
          std::pair{!common.logs_dir.empty(), "--logs"}, std::pair{common.keep, "--keep"}})
        if (given) {
            print_err(fmt::format("vttm: {} has no meaning for shell: it runs QEMU on this terminal, "
                               "without libvirt, and leaves nothing behind\n", option));
            return report::to_int(report::ExitCode::kUsage);
        }
    const machine::MachineConfig c = machine_config(common, load_manifest(common.vm_json));
    machine::preflight(c);
    const machine::UniqueFd swap = nameless_disk(machine::disk_parent(c), c.swap_mib << 20);
    const std::string ram = fmt::format("{}M", c.ram_mib), vram = fmt::format("{}M", c.vram_mib);
    print_out("Ctrl-A X ends the machine, `poweroff` too.\n");
    const int status = run_here({
        c.qemu.string(), "-machine", "q35,memory-backend=ram0", "-accel", c.accel, "-m", ram,
        "-object", "memory-backend-memfd,id=ram0,share=on,size=" + ram, "-no-reboot", "-nographic",
        "-nic", "none",  // its boot ROM is in a package that nothing else needs
        "-kernel", c.kernel.string(), "-initrd", c.initramfs.string(), "-append",
        fmt::format("console=ttyS0 panic=-1 quiet vttm.mode=shell {}", c.cmdline_extra),
        "-drive",
        fmt::format("file=/proc/self/fd/{},if=none,id=swap,format=raw,discard=unmap", swap.get()),
        "-device", "virtio-blk-pci,drive=swap,serial=vttm-swap",
        "-object", "memory-backend-memfd,id=vram0,share=on,size=" + vram,
        "-device", "vttm,id=vttm0,vram=vram0",
    }, swap.get());
    machine::throw_if_interrupted();
    if (const auto failure = shell_failure(status)) {
        print_err(fmt::format("vttm: {}\n", failure->text));
        return report::to_int(failure->code);
    }
    return 0;
}

}  // namespace vttm::cli
