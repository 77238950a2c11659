// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/agent.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "host-backend/machine/errors.h"
#include <utility>

namespace vttm::machine {
namespace {

using nlohmann::json;

// How often a wait looks at the rest of the machine.
constexpr std::chrono::milliseconds kSlice{100};

// The start of a line that is no protocol, printable.
std::string sample(std::string_view line) {
    std::string out;
    for (const char c : line.substr(0, 160)) {
        const auto u = static_cast<unsigned char>(c);
        if (u >= 0x20 && u < 0x7f)
            out += c;
        else
            out += fmt::format("\\x{:02x}", u);
    }
    return out;
}

// Replies nobody waits for, and how deep a message may nest: no honest agent comes near either.
// JSON is printed and freed by recursion, so a line of brackets could end this process.
constexpr std::size_t kMaxReplies = 256;
constexpr unsigned kMaxDepth = 64;

bool too_deep(std::string_view line) {
    unsigned depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < line.size(); ++i) {
        const char c = line[i];
        if (in_string) {
            if (c == '\\')
                ++i;
            else if (c == '"')
                in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '[' || c == '{') {
            if (++depth > kMaxDepth) return true;
        } else if ((c == ']' || c == '}') && depth > 0) {
            --depth;
        }
    }
    return false;
}

// What docs/agent-protocol.md promises of an event, so that callbacks may rely on it.
bool is_event(const json& message) {
    const auto has = [&](const char* key, auto test) {
        const auto it = message.find(key);
        return it != message.end() && ((*it).*test)();
    };
    if (!has("event", &json::is_string)) return false;
    if (message["event"] == "progress")
        return has("done", &json::is_number_unsigned) && has("total", &json::is_number_unsigned);
    return message["event"] != "output" || has("line", &json::is_string);
}

// A member of a reply, if it has the right type.
template <typename T>
T member(const json& reply, const char* key, T fallback) {
    const auto it = reply.find(key);
    if (it == reply.end()) return fallback;
    if constexpr (std::is_same_v<T, std::string>)
        return it->is_string() ? it->template get<T>() : it->dump();
    else
        return it->is_number_integer() ? it->template get<T>() : fallback;
}

}  // namespace

AgentClient::AgentClient(UniqueFd channel, GuestWatch& watch, AgentLimits limits)
    : channel_(std::move(channel)), watch_(watch), limits_(limits), last_sign_(Clock::now()) {
    open_channel();
}

void AgentClient::rejoin(UniqueFd channel) {
    channel_ = std::move(channel);
    input_.clear();
    scanned_ = 0;
    replies_.clear();
    last_sign_ = Clock::now();
    alive_ = false;
    midway_ = true;
    open_channel();
}

void AgentClient::open_channel() {
    const int flags = ::fcntl(channel_.get(), F_GETFL);
    if (flags < 0 || ::fcntl(channel_.get(), F_SETFL, flags | O_NONBLOCK) < 0)
        throw channel_error(errno);
}

bool AgentClient::wait_ready(Millis timeout) {
    const auto deadline = Clock::now() + timeout;
    while (!alive_) {
        watch_.check();
        if (Clock::now() >= deadline) return false;
        pump(kSlice);
    }
    return true;
}

json AgentClient::call(std::string_view op, json args, Millis timeout) {
    const auto started = Clock::now();
    last_sign_ = started;  // nobody listened between the calls
    watch_.check();
    const std::uint64_t id = send(op, std::move(args));
    for (;;) {
        while (!replies_.empty()) {
            json reply = std::move(replies_.front());
            replies_.pop_front();
            const json& reply_id = reply["id"];
            const bool ours = reply_id.is_null() || reply_id == id;
            if (!ours && reply_id < id) continue;  // a late answer to a call that timed out
            if (!ours) throw not_protocol("a reply to no request", reply.dump());
            watch_.check();  // a splat during the operation outweighs its reply
            if (reply["ok"] == true) return reply;
            throw AgentError(std::string(op),
                             member<std::string>(reply, "error", "no reason given"),
                             member<int>(reply, "errno", 0));
        }
        watch_.check();
        check_liveness();
        if (Clock::now() - started >= timeout)
            throw Timeout(watch_.keep_evidence(
                {fmt::format("'{}' took longer than its limit of {} s; the guest is alive", op,
                             std::chrono::duration<double>(timeout).count()),
                 {},
                 "raise the limit if the machine is slow, else look into the console log",
                 {}}));
        pump(kSlice);
    }
}

json AgentClient::call_until(Clock::time_point deadline, std::string_view op, json args,
                             Millis at_most) {
    const auto left = std::chrono::duration_cast<Millis>(deadline - Clock::now());
    if (left.count() <= 0)
        throw Timeout(watch_.keep_evidence(
            {fmt::format("the time limit is over, before '{}'; the guest is alive", op),
             {},
             "allow more time (run: --timeout), or look why the guest is slow",
             {}}));
    return call(op, std::move(args), std::min(left, at_most));
}

void AgentClient::post(std::string_view op, json args) {
    last_sign_ = Clock::now();
    send(op, std::move(args));
}

void AgentClient::idle(Millis duration) {
    const auto deadline = Clock::now() + duration;
    last_sign_ = Clock::now();
    do {
        watch_.check();
        check_liveness();
        const auto left = std::chrono::duration_cast<Millis>(deadline - Clock::now());
        pump(std::clamp(left, Millis{0}, kSlice));
    } while (Clock::now() < deadline);
    watch_.check();
}

std::uint64_t AgentClient::send(std::string_view op, json args) {
    const std::uint64_t id = next_id_++;
    json request = args.is_null() ? json::object() : std::move(args);
    if (!request.is_object()) throw std::invalid_argument("agent arguments must be an object");
    request["id"] = id;
    request["op"] = op;
    std::string line = request.dump();
    line += '\n';
    if (line.size() > kMaxLine)
        throw std::invalid_argument(fmt::format("request '{}' is over {} bytes", op, kMaxLine));

    std::string_view left = line;
    while (!left.empty()) {
        const ssize_t n = ::send(channel_.get(), left.data(), left.size(), MSG_NOSIGNAL);
        if (n > 0) {
            left.remove_prefix(static_cast<std::size_t>(n));
            continue;
        }
        if (errno == EPIPE || errno == ECONNRESET) watch_.channel_closed();
        if (errno != EAGAIN && errno != EINTR) throw channel_error(errno);
        // The guest does not take it: heartbeats decide whether it lives.
        watch_.check();
        check_liveness();
        pollfd p{channel_.get(), POLLOUT | POLLIN, 0};
        if (::poll(&p, 1, static_cast<int>(kSlice.count())) > 0 && (p.revents & POLLIN)) receive();
    }
    return id;
}

bool AgentClient::pump(Millis slice) {
    pollfd p{channel_.get(), POLLIN, 0};
    const int n = ::poll(&p, 1, static_cast<int>(slice.count()));
    if (n <= 0) return false;  // nothing, or a signal: the caller's loop asks watch_
    receive();
    return true;
}

void AgentClient::receive() {
    std::array<char, 65536> chunk;
    const ssize_t n = ::recv(channel_.get(), chunk.data(), chunk.size(), 0);
    if (n == 0) watch_.channel_closed();
    if (n < 0) {
        if (errno == EAGAIN || errno == EINTR) return;
        if (errno == ECONNRESET) watch_.channel_closed();
        throw channel_error(errno);
    }
    input_.append(chunk.data(), static_cast<std::size_t>(n));
    std::size_t start = 0;
    for (;;) {
        const std::size_t end = input_.find('\n', std::max(start, scanned_));
        if (end == std::string::npos) break;
        const std::string_view line = std::string_view(input_).substr(start, end - start);
        // The rest of a line is no message: it has lost the brace that its last one closes.
        const bool rest = std::exchange(midway_, false) && !json::accept(line);
        if (!rest) take_line(line);
        start = end + 1;
    }
    input_.erase(0, start);
    scanned_ = input_.size();
    if (input_.size() > kMaxLine) throw not_protocol("a line of over 16 MiB", input_);
}

void AgentClient::take_line(std::string_view line) {
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) return;
    if (too_deep(line)) throw not_protocol("JSON that nests too deep", line);
    json message = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (message.is_discarded() || !message.is_object()) throw not_protocol("no JSON object", line);

    if (message.contains("event")) {
        if (!is_event(message)) throw not_protocol("an event without its members", line);
        const std::string event = message["event"];
        if (event == "ready" && ready_) {
            throw AgentGone(
                watch_.keep_evidence({"the agent was started anew in the middle of the run",
                                      {},
                                      "look into the console log for why the first one ended",
                                      {}}));
        }
        ready_ = ready_ || event == "ready";
        alive_ = true;
        last_sign_ = Clock::now();
        if (event == "heartbeat")
            last_heartbeat_ = std::move(message);
        else if (event != "ready" && on_event_)
            on_event_(message);
        return;
    }
    const bool reply = message.contains("id") &&
                       (message["id"].is_null() || message["id"].is_number_unsigned()) &&
                       message.contains("ok") && message["ok"].is_boolean();
    if (!reply) throw not_protocol("neither event nor reply", line);
    alive_ = true;
    last_sign_ = Clock::now();
    if (replies_.size() >= kMaxReplies) throw not_protocol("replies to no request", line);
    replies_.push_back(std::move(message));
}

void AgentClient::check_liveness() {
    const auto silence = std::chrono::duration_cast<Millis>(Clock::now() - last_sign_);
    if (silence < limits_.liveness) return;
    if (watch_.paused()) {
        last_sign_ = Clock::now();
        return;
    }
    throw GuestHang(
        watch_.describe_hang(fmt::format("the guest hangs: no heartbeat of the agent for {:.1f} s",
                                         std::chrono::duration<double>(silence).count())));
}

ProtocolError AgentClient::not_protocol(std::string_view what, std::string_view line) {
    return ProtocolError(watch_.keep_evidence(
        {fmt::format("the agent's channel carries something else than the agent protocol: {}: "
                     "\"{}\"",
                     what, sample(line)),
         {},
         "rebuild the guest image, so that agent and host agree (./vttm build)",
         {}}));
}

InfraError AgentClient::channel_error(int error_number) {
    return InfraError(watch_.keep_evidence(
        {fmt::format("agent channel: {}", std::strerror(error_number)), {}, {}, {}}));
}

}  // namespace vttm::machine
