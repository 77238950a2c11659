// SPDX-License-Identifier: Apache-2.0
// An agent's session on one end of a socket pair, with a fake GPU and fake kernel files.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "guest-driver/libvttm/agent/channel.h"
#include "guest-driver/libvttm/agent/context.h"
#include "guest-driver/libvttm/agent/session.h"
#include "guest-driver/libvttm/fd.h"
#include "tests/unit/agent/fake_gpu.h"

namespace vttm::guest::test {

class AgentTest : public ::testing::Test {
protected:
    using json = nlohmann::json;

    AgentTest();
    ~AgentTest() override;

    // Starts the session (so that a test can first set up its files).
    void start();
    // Ends the host's side; the session must then end.
    void hang_up();

    void send(const std::string& text);
    json receive();           // next line
    json reply();             // next line that is no event; events are kept
    json call(json request);  // sends with a fresh id and checks that the reply carries it
    json call_ok(json request);
    json call_error(json request, int error);

    // A file of the fake root.
    void put(const std::string& path, const std::string& text);
    std::string get(const std::string& path) const;

    // Heap of events seen since last cleared.
    std::vector<json> events;
    FakeGpuState gpu;
    bool have_gpu = true;
    std::string hog_program = "/nonexistent";
    std::vector<std::string> machine_actions;
    std::filesystem::path root;
    std::unique_ptr<Channel> channel;

private:
    Fd host_;
    std::string pending_;
    std::unique_ptr<Context> context_;
    std::unique_ptr<Session> session_;
    std::thread thread_;
    int next_id_ = 100;
};

}  // namespace vttm::guest::test
