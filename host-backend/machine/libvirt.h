// SPDX-License-Identifier: Apache-2.0
// What we need of libvirt, with owners and exceptions.
#pragma once

#include <libvirt/libvirt.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>

#include "host-backend/machine/reaper.h"

namespace vttm::machine {

using ConnectPtr = std::shared_ptr<virConnect>;
using DomainPtr = std::shared_ptr<virDomain>;

// libvirt's last error of this thread, for people.
std::string libvirt_error();

// What a process has once: the reaper, libvirt's event loop, and the root of the embedded driver
// (libvirt allows only one root per process, and never lets go of it). Lives until exit.
class HostSession {
public:
    static HostSession& get();
    ~HostSession();
    HostSession(const HostSession&) = delete;
    HostSession& operator=(const HostSession&) = delete;

    Reaper& reaper() { return reaper_; }
    // Has the reaper end each QEMU that the embedded driver starts with this binary: machines, and the one that libvirt asks
    // what it can.
    void kill_at_end(const std::filesystem::path& emulator);
    // Opens (once) the embedded driver ("") or another URI. Throws InfraError.
    ConnectPtr connect(const std::string& uri);
    // Where libvirt puts the log of a domain's QEMU.
    std::filesystem::path qemu_log(const std::string& uri, const std::string& name) const;
    // Keeps what libvirt learned about this QEMU, which takes seconds, for the next process.
    void keep_capabilities() const;

private:
    HostSession();
    const std::filesystem::path& dir();
    void start_event_loop();
    std::filesystem::path make_embedded_root();

    Reaper reaper_;
    std::filesystem::path dir_;  // libvirt's log, the embedded driver's root; empty: not made yet
    std::thread loop_;
    std::atomic<bool> stop_{false};
    int timer_ = -1;
    std::map<std::string, ConnectPtr> connections_;
};

// What libvirt told about the domain since it was started. Written by the event thread.
struct DomainState {
    std::string name;  // set before use, then constant

    std::mutex mutex;
    std::optional<int> stopped;  // virDomainEventStoppedDetailType
    bool suspended = false;
    std::string io_error;  // "enospc", "other"; empty: none
};

// QEMU's monitor, or the daemon, has not answered in time.
struct MonitorSilent {
    std::string command;
    std::chrono::milliseconds waited;
};

// A running domain and its events. Its calls wait for QEMU's monitor for at most their limit, then
// throw MonitorSilent; a signal ends the wait with Interrupted.
class Domain {
public:
    // Creates it (transient). Throws InfraError with libvirt's words.
    Domain(ConnectPtr connection, bool embedded, const std::string& name, const std::string& xml);
    // Only unsubscribes; the domain lives on.
    ~Domain();
    Domain(const Domain&) = delete;
    Domain& operator=(const Domain&) = delete;

    DomainState& state() { return *state_; }
    using Millis = std::chrono::milliseconds;
    // One QMP command with its arguments; the whole answer. Throws InfraError.
    nlohmann::json qmp(const nlohmann::json& command, Millis limit);
    std::string hmp(const std::string& command, Millis limit);
    // For the evidence of a failure: libvirt's error as text; nullopt instead of MonitorSilent.
    std::optional<std::string> hmp_within(const std::string& command, Millis limit);
    void suspend(Millis limit);
    void resume(Millis limit);
    // Saves all of it to @file, which ends its QEMU; and has it go on from there in a new one. Where
    // the wait for that one ends early, it is there all the same, and the caller's to kill.
    void save(const std::filesystem::path& file, Millis limit);
    void restore(const std::filesystem::path& file, Millis limit);
    // False if libvirt could not (it may be gone already).
    bool destroy();

private:
    // What libvirt said: text (of a success or of an error).
    struct Answer {
        bool good = false;
        std::string text;
    };
    using Call = std::function<Answer(virDomainPtr)>;
    static Call monitor(std::string command, unsigned flags);
    // Runs @work in a thread of its own, which is left alone if the wait ends before it does.
    static std::optional<Answer> in_thread(std::function<Answer()> work, Millis limit,
                                           bool interruptible);
    std::optional<Answer> ask(Call call, Millis limit, bool interruptible) const;
    // The text of a good answer.
    static std::string need(std::optional<Answer> answer, const std::string& name,
                            const std::string& failed, Millis limit);
    std::string demand(const std::string& name, const std::string& failed, Call call,
                       Millis limit) const;

    ConnectPtr connection_;
    DomainPtr domain_;
    std::shared_ptr<DomainState> state_;
    int lifecycle_ = -1;
    int io_error_ = -1;
};

}  // namespace vttm::machine
