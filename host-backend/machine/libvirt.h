// SPDX-License-Identifier: Apache-2.0
// What we need of libvirt, with owners and exceptions.
#pragma once

#include <libvirt/libvirt.h>

#include <atomic>
#include <filesystem>
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

// A running domain and its events.
class Domain {
  public:
    // Creates it (transient). Throws InfraError with libvirt's words.
    Domain(ConnectPtr connection, bool embedded, const std::string& name, const std::string& xml);
    // Only unsubscribes; the domain lives on.
    ~Domain();
    Domain(const Domain&) = delete;
    Domain& operator=(const Domain&) = delete;

    DomainState& state() { return *state_; }
    // One QMP command with its arguments; the whole answer. Throws InfraError.
    nlohmann::json qmp(const nlohmann::json& command);
    std::string hmp(const std::string& command);
    // The same for a QEMU that may not answer: nullopt after `limit`.
    std::optional<std::string> hmp_within(const std::string& command,
                                          std::chrono::milliseconds limit);
    void suspend();
    void resume();
    // False if libvirt could not (it may be gone already).
    bool destroy();

  private:
    ConnectPtr connection_;
    DomainPtr domain_;
    std::shared_ptr<DomainState> state_;
    int lifecycle_ = -1;
    int io_error_ = -1;
};

}  // namespace vttm::machine
