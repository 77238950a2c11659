// SPDX-License-Identifier: Apache-2.0
// Client of docs/agent-protocol.md over one stream socket.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "host-backend/machine/errors.h"
#include "host-backend/machine/unique_fd.h"

namespace vttm::machine {

// What a wait asks about the guest while nothing comes over the channel. Implemented by Machine;
// tests have their own.
class GuestWatch {
public:
    virtual ~GuestWatch() = default;
    // Throws GuestPanic, GuestHang, AgentGone, MachineGone, DiskFull or Interrupted if the guest,
    // QEMU or the user gave reason to; cheap, called about ten times a second.
    virtual void check() = 0;
    // True while the guest is stopped on purpose (then silence is no hang). Asked only once
    // silence has exceeded the limit.
    virtual bool paused() = 0;
    // Called once before GuestHang is thrown: saves registers and console; returns the problem.
    virtual Problem describe_hang(std::string what) = 0;
    // Called before any other failure of the channel is thrown: keeps the logs and adds where.
    virtual Problem keep_evidence(Problem problem) = 0;
    // The channel was closed by the other side: throws the reason (never returns).
    [[noreturn]] virtual void channel_closed() = 0;
};

struct AgentLimits {
    // Silence (no heartbeat, event or reply) that counts as a hang.
    std::chrono::milliseconds liveness{30'000};
};

class AgentClient {
public:
    using Millis = std::chrono::milliseconds;
    using EventCallback = std::function<void(const nlohmann::json& event)>;

    static constexpr Millis kDefaultTimeout{300'000};
    static constexpr std::size_t kMaxLine = 16u << 20;

    // `channel` must be a connected stream socket; `watch` must outlive the client.
    AgentClient(UniqueFd channel, GuestWatch& watch, AgentLimits limits = {});

    // Waits for the agent's first sign of life. False if `timeout` passed without one.
    bool wait_ready(Millis timeout);

    // The machine has moved: goes on over another channel to the same agent, from the next whole line
    // on. No request is under way. wait_ready() waits for a sign of life again.
    void rejoin(UniqueFd channel);

    // Sends one request and waits for its reply, which is returned whole (including id and ok).
    // `args` is an object (or null) whose members become members of the request.
    // Throws AgentError if the agent refuses, Timeout if the guest lives but the time is over,
    // ProtocolError on what is no protocol, and all that GuestWatch throws. After Timeout the late
    // reply is dropped when it comes; the client stays usable.
    nlohmann::json call(std::string_view op, nlohmann::json args = nullptr,
                        Millis timeout = kDefaultTimeout);

    // The same for a caller whose time ends at @deadline: waits until then, but at most @at_most.
    // Throws Timeout without asking if it is over already.
    nlohmann::json call_until(std::chrono::steady_clock::time_point deadline, std::string_view op,
                              nlohmann::json args = nullptr, Millis at_most = Millis::max());

    // Sends a request to which no reply comes (`fault`).
    void post(std::string_view op, nlohmann::json args = nullptr);

    // Reads whatever comes for `duration` (events go to the callback); throws what GuestWatch
    // throws, GuestHang included. For scenarios that only wait.
    void idle(Millis duration);

    // Progress and output events (not heartbeats). Empty function: none.
    void on_event(EventCallback callback) { on_event_ = std::move(callback); }

    // The last heartbeat (null before the first).
    const nlohmann::json& last_heartbeat() const { return last_heartbeat_; }

private:
    using Clock = std::chrono::steady_clock;

    void open_channel();
    std::uint64_t send(std::string_view op, nlohmann::json args);
    // Handles input for at most `slice`; true if at least one line was taken.
    bool pump(Millis slice);
    void receive();
    void take_line(std::string_view line);
    void check_liveness();
    ProtocolError not_protocol(std::string_view what, std::string_view line);
    InfraError channel_error(int error_number);

    UniqueFd channel_;
    GuestWatch& watch_;
    AgentLimits limits_;
    EventCallback on_event_;
    std::string input_;
    std::size_t scanned_ = 0;  // bytes of input_ known to hold no newline
    std::deque<nlohmann::json> replies_;
    nlohmann::json last_heartbeat_;
    Clock::time_point last_sign_;
    bool alive_ = false;  // some line came
    bool ready_ = false;  // `ready` came
    bool midway_ = false;  // what comes first may be the rest of a line
    std::uint64_t next_id_ = 1;
};

}  // namespace vttm::machine
