// SPDX-License-Identifier: Apache-2.0
// What can go wrong with the virtual machine, each with the exit code of the whole tool.
//
// what() is complete for a user: what happened, where (log path), what to do. The parts are there
// separately for JSON reports.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>

namespace vttm::machine {

// Same numbers as host-backend/report/exit_code.h and images/lib/exit_codes.sh; a test compares.
enum class Exit : int {
    kGuestPanic = 3,
    kGuestHang = 4,
    kTimeout = 5,
    kInfrastructure = 6,
    kInconclusive = 7,
    kLeak = 8,
    kTooLittleDisk = 12,
    kTooLittleRam = 15,
    kNoBoot = 16,
    kInterrupted = 130,
};

// The three parts of every message. `where` may be empty (no log exists yet).
struct Problem {
    std::string what;
    std::filesystem::path where;
    std::string todo;
    std::string excerpt;  // lines of the console or of QEMU's log that show it; may be empty
};

class Error : public std::runtime_error {
public:
    Error(Exit exit, Problem problem);
    int exit_code() const noexcept { return static_cast<int>(exit_); }
    // Short name for reports: "guest-panic", "guest-hang", ...
    const char* kind() const noexcept;
    const Problem& problem() const noexcept { return problem_; }

private:
    Exit exit_;
    Problem problem_;
};

// Panic, oops, BUG, WARNING, KASAN, lockdep: the guest kernel reported its own fault. Exit 3.
struct GuestPanic : Error {
    explicit GuestPanic(Problem p) : Error(Exit::kGuestPanic, std::move(p)) {}
};
// No heartbeat for the liveness limit, or the kernel itself reported a lockup, stall or hung
// task. 4.
struct GuestHang : Error {
    explicit GuestHang(Problem p) : Error(Exit::kGuestHang, std::move(p)) {}
};
// The guest lives, but the operation took longer than its limit. Exit 5.
struct Timeout : Error {
    explicit Timeout(Problem p) : Error(Exit::kTimeout, std::move(p)) {}
};
// libvirt, QEMU, or the host's system calls failed. Exit 6.
struct InfraError : Error {
    explicit InfraError(Problem p) : Error(Exit::kInfrastructure, std::move(p)) {}
};
// QEMU died (killed, crashed, or the guest reset or powered off by itself). Exit 6.
struct MachineGone : InfraError {
    using InfraError::InfraError;
};
// The agent ended in a guest that lives on (see Problem::excerpt for OOM kills). Exit 6.
struct AgentGone : InfraError {
    using InfraError::InfraError;
};
// Something else than the agent protocol came over the channel. Exit 6.
struct ProtocolError : InfraError {
    using InfraError::InfraError;
};
// The agent answered ok:false. Not fatal for the machine: the next call works. Exit 6 if uncaught.
struct AgentError : InfraError {
    AgentError(std::string op, std::string agent_text, int agent_errno);
    std::string op;
    std::string text;  // the agent's own words
    int error_number;  // guest errno, 0 if the agent gave none
};
// What was to be found out could not be. Exit 7.
struct Inconclusive : Error {
    explicit Inconclusive(Problem p) : Error(Exit::kInconclusive, std::move(p)) {}
};
// The guest kernel found memory that nobody holds any more. Exit 8.
struct Leak : Error {
    explicit Leak(Problem p) : Error(Exit::kLeak, std::move(p)) {}
};
// Swap disk, VRAM file or logs do not fit; before the start, or met while running. Exit 12.
struct DiskFull : Error {
    explicit DiskFull(Problem p) : Error(Exit::kTooLittleDisk, std::move(p)) {}
};
// Exit 15.
struct TooLittleRam : Error {
    explicit TooLittleRam(Problem p) : Error(Exit::kTooLittleRam, std::move(p)) {}
};
// The agent was never reached: boot timeout, panic or reset before `ready`. Exit 16.
struct BootFailure : Error {
    explicit BootFailure(Problem p) : Error(Exit::kNoBoot, std::move(p)) {}
};
// SIGINT, SIGTERM or SIGHUP. Exit 130.
struct Interrupted : Error {
    explicit Interrupted(Problem p) : Error(Exit::kInterrupted, std::move(p)) {}
};

}  // namespace vttm::machine
