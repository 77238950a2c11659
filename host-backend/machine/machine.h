// SPDX-License-Identifier: Apache-2.0
// The virtual machine: one libvirt domain, its memory, its agent, and its end in all cases.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "host-backend/machine/agent.h"
#include "host-backend/machine/errors.h"
#include "host-backend/machine/expected_splat.h"
#include "host-backend/machine/guest_memory.h"

namespace vttm::machine {

struct MachineConfig {
    std::filesystem::path qemu;       // vm.json "qemu"
    std::filesystem::path kernel;     // vm.json "kernel"
    std::filesystem::path initramfs;  // vm.json "initramfs"
    std::string accel = "tcg";        // "tcg" or "kvm"
    std::string variant = "base";     // of the kernel: machine/variant.h

    std::uint64_t ram_mib = 1536;
    std::uint64_t low_ram_mib = 0;  // no more than this below 4 GiB, the rest above; 0: as QEMU does
    unsigned vcpus = 1;
    std::uint64_t vram_mib = 256;   // power of two
    std::uint64_t vram_visible_mib = 0;  // in BAR2 until the driver resizes it, power of two; 0: all
    std::uint64_t swap_mib = 4096;  // sparse; 0: no swap disk
    std::string cmdline_extra;      // appended to the base kernel command line
    std::vector<ExpectedSplat> expected_splats;  // every other splat ends the run
    bool iommu = false;  // intel-iommu in front of all devices, switched on, strict
    bool root_port = false;  // the vttm device behind a port of its own, where it can be plugged
    bool trace = false;      // the device writes its trace log
    bool device = true;  // false: a machine without the vttm device (tests)

    std::string connect_uri;  // "": libvirt's embedded driver, no daemon

    // Sockets, libvirt's state, console and logs. "": a fresh directory under
    // ${XDG_RUNTIME_DIR:-/tmp}; removed at the end unless `keep`. If given it must not exist.
    std::filesystem::path run_dir;
    // The swap disk and the witness log, which may grow to gigabytes (a tmpfs is a bad place). "":
    // a fresh directory in the cache's tmp/; removed at the end unless `keep`.
    std::filesystem::path disk_dir;
    // Where the logs of a failed run are put. "": vttm-logs/ in the cache.
    std::filesystem::path logs_dir;
    bool keep = false;

    std::chrono::milliseconds boot_timeout{0};  // 0: 120 s (kvm: 60 s), times the variant's patience
    // Silence of the agent that counts as a hang; 0: 30 s, times the variant's patience.
    std::chrono::milliseconds liveness{0};
    // How long each half of a migration may take; 0: 5 min, times the variant's patience.
    std::chrono::milliseconds migration_limit{0};
};

// The kernel command line that the machine boots with (base list + the variant's words + extra).
std::string kernel_command_line(const MachineConfig& config);

// Throws TooLittleRam, DiskFull or InfraError (a file missing, no accelerator) with what to do.
void preflight(const MachineConfig& config);

class Machine {
public:
    // Makes the directories and forks the reaper (so construct it before any thread); starts
    // nothing yet.
    explicit Machine(MachineConfig config);
    // Stops and cleans up; never throws.
    ~Machine();
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;

    // Preflight, domain start, mapping of RAM and VRAM, boot, agent ready. Throws any class of
    // errors.h; the machine is then already stopped and cleaned up, logs kept.
    void start();

    // Ends the guest (asks the agent to power off for at most `grace`; 0: at once) and removes all
    // that is left. Idempotent. Does not throw for a guest that is gone already.
    void stop(std::chrono::milliseconds grace = std::chrono::milliseconds{0});

    // Throws if the console shows a splat, QEMU died, the disk is full, or the user interrupted.
    // Every AgentClient call does this too; call it before a verdict.
    void check();

    AgentClient& agent();         // valid after start()
    const GuestRam& ram() const;  // valid after start(), until stop()
    const Vram& vram() const;     // only if config.device

    const std::filesystem::path& run_dir() const;
    std::filesystem::path swap_disk() const;    // raw: slot n is at byte n * 4096
    std::filesystem::path witness_log() const;  // protocol/vttm_witness.h
    std::filesystem::path trace_log() const;    // protocol/vttm_trace.h; only if config.trace
    std::filesystem::path console_log() const;
    std::filesystem::path qemu_log() const;
    int qemu_pid() const;  // 0 if not running

    // Copies console, QEMU log, domain XML and witness log (up to 256 MiB) to the logs directory and returns it; done by itself
    // before any of this room's errors is thrown. Call it when the run fails for another reason,
    // before stop(); afterwards it only returns the directory (empty if nothing was saved).
    std::filesystem::path save_logs();

    // The device's counters (QOM property `stats` of vttm0), as JSON.
    nlohmann::json stats();
    // A property of the device, by qom-get and qom-set; throws as qmp() does.
    nlohmann::json device_property(const char* name);
    void set_device_property(const char* name, nlohmann::json value);
    // Raw monitor commands. qmp() returns the "return" member; throws InfraError with QEMU's words,
    // GuestHang if QEMU does not answer for the liveness limit (pause() and resume() likewise).
    nlohmann::json qmp(const std::string& command, nlohmann::json arguments = nullptr);
    std::string hmp(const std::string& command);

    // Stops and continues the vCPUs, e.g. to scan RAM at rest. Silence while paused is no hang.
    void pause();
    void resume();

    // Migrates the machine through a file into a new QEMU. Memory is mapped anew: what ram() and
    // vram() gave before is gone; agent() is the same. Where it was paused it runs afterwards.
    void migrate();

    // Lines on the console that tell of OOM kills: recorded, no error.
    std::vector<std::string> oom_kills() const;
    // Telling lines of the expected splats so far.
    std::vector<std::string> expected_seen() const;

    // While true, splats after which the kernel lives on (WARNING, lockdep, ...) are no error: for
    // KUnit suites that provoke them.
    void tolerate_splats(bool tolerate);

    // Time from the domain's start to the agent's `ready`.
    std::chrono::milliseconds boot_time() const;

private:
    class Impl;
    std::unique_ptr<Impl> impl_;
};

// Pauses a machine for a scope.
class PauseGuard {
public:
    explicit PauseGuard(Machine& machine) : machine_(machine) { machine_.pause(); }
    ~PauseGuard();
    PauseGuard(const PauseGuard&) = delete;
    PauseGuard& operator=(const PauseGuard&) = delete;

private:
    Machine& machine_;
};

}  // namespace vttm::machine
