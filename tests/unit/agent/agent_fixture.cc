// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/agent/agent_fixture.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <array>
#include <fstream>
#include <sstream>

#include "guest-driver/libvttm/agent/guarded_copy.h"
#include "guest-driver/libvttm/error.h"

namespace vttm::guest::test {
namespace {

constexpr int kPatienceMs = 20'000;

}  // namespace

AgentTest::AgentTest() {
    ::signal(SIGPIPE, SIG_IGN);
    install_bus_error_handler();
    std::string name = ::testing::TempDir() + "vttm-agent-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) {
        throw_errno("mkdtemp " + name);
    }
    root = name;
    put("/proc/meminfo", "MemTotal:        1500000 kB\nMemFree:          700000 kB\n");
    put("/proc/vmstat", "nr_free_pages 1234\nnr_writeback 0\npswpout 77\n");
    put("/proc/swaps", "Filename Type Size Used Priority\n/dev/vda partition 4194300 8192 -2\n");
    put("/proc/buddyinfo", "Node 0, zone DMA 1 2 3\nNode 0, zone DMA32 10 20 30 40\n");

    std::array<int, 2> ends;
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        throw_errno("socketpair");
    }
    host_.reset(ends[0]);
    channel = std::make_unique<Channel>(Fd(ends[1]), Channel::EndOfFile::kEnds);
}

AgentTest::~AgentTest() {
    hang_up();
    std::error_code none;
    std::filesystem::remove_all(root, none);
}

void AgentTest::start() {
    MachineActions machine;
    machine.power_off = [this] { machine_actions.push_back("power off"); };
    machine.plant = [this](Fault fault) {
        machine_actions.push_back("fault " + std::to_string(static_cast<int>(fault)));
    };
    context_ = std::make_unique<Context>(
        SystemFiles(root),
        [this]() -> std::unique_ptr<GpuBackend> {
            if (!have_gpu) {
                throw Error(ENODEV, "no device");
            }
            return std::make_unique<FakeGpu>(gpu);
        },
        hog_program, machine);
    session_ = std::make_unique<Session>(*channel, *context_);
    thread_ = std::thread([this] {
        session_->greet();
        session_->run();
    });
    EXPECT_EQ(receive(), json({{"event", "ready"}}));
}

void AgentTest::hang_up() {
    host_.reset();
    if (thread_.joinable()) {
        thread_.join();
    }
}

void AgentTest::send(const std::string& text) {
    std::size_t at = 0;
    while (at < text.size()) {
        const ssize_t sent = ::send(host_.get(), text.data() + at, text.size() - at, MSG_NOSIGNAL);
        if (sent < 0) {
            throw_errno("send");
        }
        at += static_cast<std::size_t>(sent);
    }
}

nlohmann::json AgentTest::receive() {
    for (;;) {
        const std::size_t end = pending_.find('\n');
        if (end != std::string::npos) {
            const std::string line = pending_.substr(0, end);
            pending_.erase(0, end + 1);
            return json::parse(line);
        }
        pollfd ready = {host_.get(), POLLIN, 0};
        if (::poll(&ready, 1, kPatienceMs) <= 0) {
            throw std::runtime_error("the agent is silent");
        }
        std::array<char, 65536> chunk;
        const ssize_t got = ::read(host_.get(), chunk.data(), chunk.size());
        if (got <= 0) {
            throw std::runtime_error("the agent has hung up");
        }
        pending_.append(chunk.data(), static_cast<std::size_t>(got));
    }
}

nlohmann::json AgentTest::reply() {
    for (;;) {
        json line = receive();
        if (!line.contains("event")) {
            return line;
        }
        events.push_back(std::move(line));
    }
}

nlohmann::json AgentTest::call(json request) {
    request["id"] = ++next_id_;
    send(request.dump() + "\n");
    json answer = reply();
    EXPECT_EQ(answer.at("id"), next_id_) << answer;
    return answer;
}

nlohmann::json AgentTest::call_ok(json request) {
    json answer = call(request);
    EXPECT_EQ(answer.at("ok"), true) << request << " -> " << answer;
    return answer;
}

nlohmann::json AgentTest::call_error(json request, int error) {
    json answer = call(request);
    EXPECT_EQ(answer.at("ok"), false) << request << " -> " << answer;
    EXPECT_EQ(answer.value("errno", 0), error) << request << " -> " << answer;
    EXPECT_FALSE(answer.value("error", "").empty());
    return answer;
}

void AgentTest::put(const std::string& path, const std::string& text) {
    const std::filesystem::path file = root / path.substr(1);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
}

std::string AgentTest::get(const std::string& path) const {
    std::ostringstream text;
    text << std::ifstream(root / path.substr(1)).rdbuf();
    return text.str();
}

}  // namespace vttm::guest::test
