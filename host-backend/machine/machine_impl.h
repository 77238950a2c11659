// SPDX-License-Identifier: Apache-2.0
// The inside of Machine: life cycle in machine.cc, verdicts on a sick guest in machine_watch.cc.
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host-backend/machine/console_watcher.h"
#include "host-backend/machine/domain_xml.h"
#include "host-backend/machine/libvirt.h"
#include "host-backend/machine/machine.h"
#include "host-backend/machine/workspace.h"

namespace vttm::machine {

class Machine::Impl final : public GuestWatch {
public:
    using Millis = std::chrono::milliseconds;

    explicit Impl(MachineConfig config);
    ~Impl() override;

    void start();
    void stop(Millis grace);
    void migrate();

    // GuestWatch
    void check() override;
    bool paused() override;
    Problem describe_hang(std::string what) override;
    Problem keep_evidence(Problem problem) override;
    [[noreturn]] void channel_closed() override;

    std::filesystem::path save_logs();
    Domain& domain();
    // f(domain, limit): QEMU's monitor is waited for as long as the agent; silence is a hang.
    template <typename F>
    auto monitored(F&& f) {
        try {
            return f(domain(), config.liveness);
        } catch (const MonitorSilent& silent) {
            raise_monitor_silent(silent);
        }
    }
    std::filesystem::path qemu_log() const;

    MachineConfig config;
    std::string name;
    HostSession& host;
    std::filesystem::path emulator;  // the QEMU that is started
    Workspace workspace;
    std::optional<ConsoleWatcher> console;
    std::unique_ptr<AgentClient> agent;
    std::optional<GuestRam> ram;
    std::optional<Vram> vram;
    int pid = 0;
    Millis boot_time{0};
    bool tolerate_splats = false;

    std::filesystem::path console_log() const { return workspace.run_dir() / "console.log"; }
    std::filesystem::path agent_socket() const { return workspace.run_dir() / "agent.sock"; }
    std::filesystem::path swap_disk() const { return workspace.disk_dir() / "swap.raw"; }
    std::filesystem::path witness_log() const { return workspace.disk_dir() / "witness.log"; }
    std::filesystem::path trace_log() const { return workspace.disk_dir() / "trace.log"; }

private:
    DomainSpec spec() const;
    void create_domain();
    void map_memory();
    void connect_agent();
    void boot();
    void report_file(const std::string& file_name, const std::string& text) const;
    std::vector<std::filesystem::path> log_files() const;
    std::string qemu_log_tail() const;

    // machine_watch.cc
    void poll_console();
    const Splat* first_splat() const;
    // Writes hang.txt; ends the guest by a panic. false: QEMU itself does not answer.
    bool dump_hang();
    [[noreturn]] void raise_splat(const Splat& splat);
    [[noreturn]] void raise_gone();
    [[noreturn]] void raise_monitor_silent(const MonitorSilent& silent);
    // What the console told since the last check(), as the error; null if nothing.
    std::exception_ptr late_splat();
    void check_domain_state();
    bool wait_stopped(Millis limit);

    std::unique_ptr<Domain> domain_;
    bool booting_ = false;
    bool settled_ = false;         // the first splat's report has been waited for
    std::optional<Problem> hang_;  // the agent has been silent for too long
    bool hang_dumped_ = false;     // hang.txt is written
    bool qemu_hangs_ = false;      // its monitor does not answer
    bool stopped_ = false;
};

}  // namespace vttm::machine
