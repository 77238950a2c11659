// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/preflight.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "host-backend/machine/workspace.h"

namespace vttm::machine {
namespace fs = std::filesystem;
namespace {

constexpr std::uint64_t kMiB = 1ull << 20;
constexpr std::uint64_t kQemuItself = 256 * kMiB;
constexpr std::uint64_t kLogs = 64 * kMiB;

void check_values(const MachineConfig& c) {
    if (c.ram_mib < 64 || c.ram_mib > (1u << 20))
        throw std::invalid_argument(fmt::format("guest RAM of {} MiB: 64 to 1048576", c.ram_mib));
    if (c.low_ram_mib != 0 && c.low_ram_mib < 64)
        throw std::invalid_argument(fmt::format(
            "{} MiB of guest RAM below 4 GiB: 64 or more, or 0 (as QEMU does)", c.low_ram_mib));
    if (c.vcpus < 1 || c.vcpus > 255)
        throw std::invalid_argument(fmt::format("{} vCPUs: 1 to 255", c.vcpus));
    if (c.device && (!std::has_single_bit(c.vram_mib) || c.vram_mib < 2 || c.vram_mib > (1u << 16)))
        throw std::invalid_argument(
            fmt::format("VRAM of {} MiB: a power of two from 2 to 65536", c.vram_mib));
    if (const auto visible = c.vram_visible_mib;
        visible != 0 && (!std::has_single_bit(visible) || visible < 2 || visible > c.vram_mib))
        throw std::invalid_argument(fmt::format(
            "visible VRAM of {} MiB: a power of two from 2 to {} (all)", visible, c.vram_mib));
    if (c.accel != "tcg" && c.accel != "kvm")
        throw std::invalid_argument(fmt::format("accelerator '{}': tcg or kvm", c.accel));
}

void check_file(const fs::path& file, const char* what, int mode) {
    const int error = file.empty() ? ENOENT : ::access(file.c_str(), mode) == 0 ? 0 : errno;
    if (error == 0) return;
    throw InfraError({fmt::format("the {} cannot be used: {}", what, std::strerror(error)),
                      file,
                      "build the virtual machine again (./vttm build)",
                      {}});
}

std::string read_text(const char* path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

std::optional<std::uint64_t> number_in(const fs::path& path) {
    std::ifstream file(path);
    std::uint64_t value = 0;
    return file >> value ? std::optional(value) : std::nullopt;
}

// The nearest directory that exists already: the one asked for is made later.
fs::path existing_part(fs::path dir) {
    dir = fs::absolute(dir);
    std::error_code error;
    while (!fs::exists(dir, error) && dir.has_relative_path()) dir = dir.parent_path();
    return dir;
}

}  // namespace

std::optional<std::uint64_t> mem_available(std::string_view meminfo) {
    constexpr std::string_view kKey = "MemAvailable:";
    const std::size_t at = meminfo.find(kKey);
    if (at == std::string_view::npos) return std::nullopt;
    std::string_view rest = meminfo.substr(at + kKey.size());
    while (rest.starts_with(' ') || rest.starts_with('\t')) rest.remove_prefix(1);
    std::uint64_t kib = 0;
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), kib);
    if (error != std::errc()) return std::nullopt;
    return kib * 1024;
}

std::optional<std::uint64_t> cgroup_available(const fs::path& mount, std::string_view self) {
    // Version 2's line is "0::/path". Every level above may have a limit of its own.
    const std::size_t at = self.find("0::/");
    if (at == std::string_view::npos || (at != 0 && self[at - 1] != '\n')) return std::nullopt;
    std::string_view path = self.substr(at + 4);
    path = path.substr(0, path.find('\n'));
    std::optional<std::uint64_t> least;
    fs::path level = path;
    for (;;) {
        const auto limit = number_in(mount / level / "memory.max");  // "max" is none
        const auto used = number_in(mount / level / "memory.current");
        if (limit && used) {
            const std::uint64_t left = *limit > *used ? *limit - *used : 0;
            least = std::min(left, least.value_or(left));
        }
        if (level.empty()) return least;
        level = level.parent_path();
    }
}

std::uint64_t ram_needed(const MachineConfig& config) {
    return (config.ram_mib + (config.device ? config.vram_mib : 0)) * kMiB + kQemuItself;
}

std::uint64_t disk_needed(const MachineConfig& config) { return config.swap_mib * kMiB + kLogs; }

void check_ram(std::uint64_t available, std::uint64_t needed, const fs::path& source) {
    if (available >= needed) return;
    throw TooLittleRam({fmt::format("too little RAM: the virtual machine needs {} MiB, {} MiB are "
                                    "available",
                                    needed / kMiB, available / kMiB),
                        source,
                        "end other programs, or give the guest less (scenario's ram_mib, vram_mib)",
                        {}});
}

void check_disk(std::uint64_t free, std::uint64_t needed, const fs::path& dir) {
    if (free >= needed) return;
    throw DiskFull(
        {fmt::format("too little disk: the swap disk and the logs need up to {} MiB, {} MiB "
                     "are free",
                     needed / kMiB, free / kMiB),
         dir,
         "free space there, choose another place (VTTM_CACHE=DIR), or a smaller swap disk "
         "(scenario's swap_mib)",
         {}});
}

void preflight(const MachineConfig& config) {
    check_values(config);
    check_file(config.qemu, "QEMU binary", X_OK);
    check_file(config.kernel, "guest kernel", R_OK);
    check_file(config.initramfs, "initramfs", R_OK);
    if (config.accel == "kvm" && ::access("/dev/kvm", R_OK | W_OK) != 0) {
        throw InfraError(
            {fmt::format("KVM was chosen but cannot be used: {}", std::strerror(errno)),
             "/dev/kvm",
             "join the group kvm, or run with the accelerator tcg (./vttm doctor)",
             {}});
    }
    if (const auto available = mem_available(read_text("/proc/meminfo")))
        check_ram(*available, ram_needed(config), "/proc/meminfo");
    if (const auto left = cgroup_available("/sys/fs/cgroup", read_text("/proc/self/cgroup")))
        check_ram(*left, ram_needed(config), "/sys/fs/cgroup (memory.max of this process' cgroup)");
    const fs::path dir =
        existing_part(config.disk_dir.empty() ? disk_parent(config) : config.disk_dir);
    struct statvfs st {};
    if (::statvfs(dir.c_str(), &st) == 0)
        check_disk(std::uint64_t{st.f_bavail} * st.f_frsize, disk_needed(config), dir);
}

}  // namespace vttm::machine
