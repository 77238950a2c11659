// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/workspace.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace vttm::machine {
namespace fs = std::filesystem;
namespace {

constexpr const char* kShm = "/dev/shm";
constexpr std::uint64_t kSpareShm = 64ull << 20;

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

[[noreturn]] void cannot(const std::string& what, const fs::path& where, int error_number) {
    Problem p{fmt::format("{}: {}", what, std::strerror(error_number)), where, {}, {}};
    if (error_number == ENOSPC || error_number == EDQUOT) {
        p.todo = "free space there, or name another directory (TMPDIR, VTTM_CACHE)";
        throw DiskFull(std::move(p));
    }
    p.todo = "check the directory's permissions, or name another one";
    throw InfraError(std::move(p));
}

void make_own_directory(const fs::path& dir) {
    std::error_code error;
    fs::create_directories(dir.parent_path(), error);
    if (::mkdir(dir.c_str(), 0700) != 0) cannot("cannot make the run's directory", dir, errno);
}

// A memory file system is the natural place for VRAM, but a container's /dev/shm has 64 MiB only.
bool shm_has_room(std::uint64_t bytes) {
    struct statvfs st {};
    if (::access(kShm, W_OK) != 0 || ::statvfs(kShm, &st) != 0) return false;
    return std::uint64_t{st.f_bavail} * st.f_frsize >= bytes + kSpareShm;
}

}  // namespace

fs::path cache_root() {
    if (const auto dir = environment("VTTM_CACHE"); !dir.empty()) return dir;
    if (const auto dir = environment("XDG_CACHE_HOME"); !dir.empty()) return fs::path(dir) / "vttm";
    const auto home = environment("HOME");
    return fs::path(home.empty() ? "/tmp" : home) / ".cache" / "vttm";
}

fs::path runtime_root() {
    const auto dir = environment("XDG_RUNTIME_DIR");
    // QEMU's monitor socket is some 60 characters below; a socket's path ends at 107.
    if (!dir.empty() && dir.size() < 40 && ::access(dir.c_str(), W_OK | X_OK) == 0) return dir;
    return "/tmp";
}

bool qemu_is_foreign(const std::string& connect_uri) {
    return !connect_uri.empty() &&
           !connect_uri.substr(0, connect_uri.find('?')).ends_with("/session");
}

fs::path disk_parent(const MachineConfig& config) {
    return qemu_is_foreign(config.connect_uri) ? fs::path("/var/tmp") : cache_root() / "tmp";
}

fs::path make_fresh_directory(const fs::path& parent) {
    std::error_code error;
    fs::create_directories(parent, error);
    std::string name = (fs::absolute(parent) / "vttm-run-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) cannot("cannot make a directory", parent, errno);
    return name;
}

Workspace::Workspace(const MachineConfig& config, Reaper& reaper)
    : reaper_(reaper),
      logs_root_(config.logs_dir),
      keep_(config.keep),
      shared_(qemu_is_foreign(config.connect_uri)) {
    if (logs_root_.empty()) logs_root_ = cache_root() / "vttm-logs";
    const auto own = [&](const fs::path& asked, const fs::path& parent) {
        fs::path dir;
        if (asked.empty()) {
            dir = make_fresh_directory(parent);
        } else {
            dir = fs::absolute(asked);
            make_own_directory(dir);
        }
        if (!keep_) reaper_.remove_at_end(dir);
        return dir;
    };
    // XDG_RUNTIME_DIR and a home directory are closed to other users.
    run_dir_ = own(config.run_dir, shared_ ? fs::path("/tmp") : runtime_root());
    disk_dir_ = own(config.disk_dir, disk_parent(config));
    // Else the next ./vttm takes it for what a killed run left (images/lib/cache.sh).
    if (keep_) make_file(disk_dir_ / "kept", 0);
    const std::uint64_t vram = config.vram_mib << 20;
    if (config.device) {
        // The name follows from the run's directory, which is unique.
        vram_file_ = shm_has_room(vram) ? fs::path(kShm) / (run_dir_.filename().string() + ".vram")
                                        : disk_dir_ / "vram";
        reaper_.remove_at_end(vram_file_);
    }
    // A daemon's QEMU runs as another user, and makes its witness log here.
    if (shared_) {
        ::chmod(run_dir_.c_str(), 01777);
        ::chmod(disk_dir_.c_str(), 01777);
    }
}

Workspace::~Workspace() { remove(); }

void Workspace::make_file(const fs::path& path, std::uint64_t bytes) const {
    const UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd) cannot("cannot make a file", path, errno);
    if (shared_) ::fchmod(fd.get(), 0666);
    if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0)
        cannot(fmt::format("cannot make a file of {} MiB", bytes >> 20), path, errno);
}

fs::path Workspace::reachable(const fs::path& file) const {
    if (!shared_) return fs::absolute(file);
    const fs::path copy = disk_dir_ / file.filename();
    std::error_code error;
    fs::copy_file(file, copy, fs::copy_options::overwrite_existing, error);
    if (error) cannot("cannot copy " + file.string(), copy, error.value());
    // As the file's owner may read or run it, so may all.
    using fs::perms;
    const bool runs = (fs::status(file, error).permissions() & perms::owner_exec) != perms::none;
    fs::permissions(copy, runs ? perms(0755) : perms(0644), error);
    if (error) cannot("cannot open to QEMU's user", copy, error.value());
    return copy;
}

void Workspace::drop_vram_file() {
    if (vram_file_.empty()) return;
    std::error_code ignored;
    fs::remove(vram_file_, ignored);
}

fs::path Workspace::save(const std::vector<fs::path>& files) {
    std::error_code error;
    if (removed_) return saved_;
    if (saved_.empty()) {
        const auto stamp =
            fmt::format("{:%Y%m%d-%H%M%S}-{}", fmt::localtime(std::time(nullptr)), ::getpid());
        fs::create_directories(logs_root_, error);
        // Two machines of one process may fail within a second.
        for (int n = 0; n < 100 && saved_.empty(); ++n) {
            const fs::path dir = logs_root_ / (n == 0 ? stamp : fmt::format("{}.{}", stamp, n));
            if (fs::create_directory(dir, error) && !error) saved_ = fs::absolute(dir);
            if (error) break;
        }
        if (saved_.empty()) {
            keep_ = true;
            reaper_.forget(run_dir_);
            return run_dir_;
        }
    }
    save_again(files);
    return saved_;
}

void Workspace::save_again(const std::vector<fs::path>& files) {
    if (saved_.empty()) return;
    for (const fs::path& file : files) {
        std::error_code ignored;  // what is not there was never written
        fs::copy_file(file, saved_ / file.filename(), fs::copy_options::overwrite_existing,
                      ignored);
    }
}

void Workspace::remove() noexcept {
    if (removed_) return;
    removed_ = true;
    drop_vram_file();
    if (keep_) return;
    for (const fs::path& dir : {run_dir_, disk_dir_}) {
        try {
            std::error_code failed;
            fs::remove_all(dir, failed);
            if (!failed) reaper_.forget(dir);
        } catch (const std::exception&) {  // it stays on the reaper's list
        }
    }
}

}  // namespace vttm::machine
