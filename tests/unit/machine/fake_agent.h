// SPDX-License-Identifier: Apache-2.0
// The other end of the agent's channel, and a guest that can be made sick.
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <functional>
#include <string>
#include <thread>

#include "host-backend/machine/agent.h"
#include "host-backend/machine/errors.h"

namespace vttm::machine::test {

class FakeWatch : public GuestWatch {
  public:
    void check() override {
        ++checks;
        if (panic) throw GuestPanic({"planted panic", {}, {}, {}});
    }
    bool paused() override { return is_paused; }
    Problem describe_hang(std::string what) override {
        ++hangs;
        return {std::move(what), "/the/logs", {}, {}};
    }
    Problem keep_evidence(Problem problem) override {
        problem.where = "/the/logs";
        return problem;
    }
    void channel_closed() override { throw MachineGone({"planted end", {}, {}, {}}); }

    std::atomic<bool> panic{false};
    std::atomic<bool> is_paused{false};
    std::atomic<int> checks{0};
    std::atomic<int> hangs{0};
};

// A thread that answers each request line with what `script` returns (raw text, may be empty), and
// beats its heart every 20 ms while `beating`.
class FakeAgent {
  public:
    using Script = std::function<std::string(const nlohmann::json& request)>;

    explicit FakeAgent(Script script, bool heart = true)
        : beating(heart), script_(std::move(script)) {
        std::array<int, 2> ends{};
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
        host_.reset(ends[0]);
        guest_.reset(ends[1]);
        thread_ = std::thread([this] { run(); });
    }
    ~FakeAgent() {
        end_ = true;
        thread_.join();
    }
    UniqueFd host_end() { return std::move(host_); }
    void say(const std::string& text) const {
        std::string_view left = text;
        while (!left.empty()) {
            const ssize_t n = ::send(guest_.get(), left.data(), left.size(), MSG_NOSIGNAL);
            if (n <= 0) return;
            left.remove_prefix(static_cast<std::size_t>(n));
        }
    }
    void hang_up() const { ::shutdown(guest_.get(), SHUT_RDWR); }

    std::atomic<bool> beating;
    std::atomic<bool> reading{true};

  private:
    void run() {
        std::string input;
        while (!end_) {
            pollfd p{guest_.get(), POLLIN, 0};
            if (reading && ::poll(&p, 1, 20) > 0) {
                std::array<char, 65536> chunk;
                const ssize_t n = ::recv(guest_.get(), chunk.data(), chunk.size(), MSG_DONTWAIT);
                if (n > 0) input.append(chunk.data(), static_cast<std::size_t>(n));
                if (n == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
            } else if (!reading) {
                std::this_thread::sleep_for(std::chrono::milliseconds(20));
            }
            std::size_t end;
            while ((end = input.find('\n')) != std::string::npos) {
                const auto request = nlohmann::json::parse(input.substr(0, end));
                input.erase(0, end + 1);
                say(script_(request));
            }
            if (beating) say("{\"event\":\"heartbeat\",\"uptime_ms\":1,\"rss_kib\":2}\n");
        }
    }

    Script script_;
    UniqueFd host_;
    UniqueFd guest_;
    std::thread thread_;
    std::atomic<bool> end_{false};
};

// A reply line to a request.
inline std::string ok(const nlohmann::json& request, nlohmann::json members = nlohmann::json::object()) {
    members["id"] = request["id"];
    members["ok"] = true;
    return members.dump() + "\n";
}

}  // namespace vttm::machine::test
