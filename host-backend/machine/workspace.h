// SPDX-License-Identifier: Apache-2.0
// The directories of one machine: made, cleaned, and its logs saved.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "host-backend/machine/machine.h"
#include "host-backend/machine/reaper.h"

namespace vttm::machine {

// ${VTTM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vttm}
std::filesystem::path cache_root();
// ${XDG_RUNTIME_DIR:-/tmp}, if it is a writable directory, else /tmp.
std::filesystem::path runtime_root();

// True if QEMU is started by a daemon that runs it as a user of its own: not by the embedded driver
// and not by the user's own session daemon.
bool qemu_is_foreign(const std::string& connect_uri);

// Where the disk directory is made unless the configuration names one.
std::filesystem::path disk_parent(const MachineConfig& config);

// A fresh directory <parent>/vttm-run-XXXXXX with mode 0700; makes the parent if needed. Throws
// InfraError, or DiskFull.
std::filesystem::path make_fresh_directory(const std::filesystem::path& parent);

class Workspace {
public:
    // Registers all that it makes with the reaper (which must outlive it).
    Workspace(const MachineConfig& config, Reaper& reaper);
    ~Workspace();
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;

    const std::filesystem::path& run_dir() const { return run_dir_; }
    const std::filesystem::path& disk_dir() const { return disk_dir_; }
    // Where VRAM's file may be: a tmpfs with room, else disk_dir().
    const std::filesystem::path& vram_file() const { return vram_file_; }

    // Makes a file of this size (sparse). Throws DiskFull or InfraError.
    void make_file(const std::filesystem::path& path, std::uint64_t bytes) const;
    // A file that QEMU only reads or runs: where QEMU's user can reach it. A home directory (and so
    // the cache) is closed to a daemon's QEMU, which gets a copy in disk_dir(). Throws like
    // make_file().
    std::filesystem::path reachable(const std::filesystem::path& file) const;
    // The mappings keep VRAM alive; its name is not needed once QEMU and we have opened it.
    void drop_vram_file();

    // Copies the files that exist to <logs>/<time>-<pid>/ (the same directory each time) and
    // returns it; after remove(), only returns what was saved, if anything. Does not throw: a
    // directory that cannot be made is answered with run_dir(), which is then kept.
    std::filesystem::path save(const std::vector<std::filesystem::path>& files);
    // Again, if save() was called before.
    void save_again(const std::vector<std::filesystem::path>& files);

    // Removes everything, unless it is to be kept.
    void remove() noexcept;

private:
    Reaper& reaper_;
    std::filesystem::path run_dir_;
    std::filesystem::path disk_dir_;
    std::filesystem::path vram_file_;
    std::filesystem::path logs_root_;
    std::filesystem::path saved_;
    bool keep_;
    const bool shared_;  // with the QEMU of another user
    bool removed_ = false;
};

}  // namespace vttm::machine
