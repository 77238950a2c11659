// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/agent.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/unit/machine/fake_agent.h"

namespace vttm::machine::test {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct Rig {
    explicit Rig(FakeAgent::Script script, std::chrono::milliseconds liveness = 5s, bool heart = true)
        : agent(std::move(script), heart), client(agent.host_end(), watch, {liveness}) {}
    FakeWatch watch;
    FakeAgent agent;
    AgentClient client;
};

TEST(AgentClient, CallsCarryOpIdAndArguments) {
    std::vector<json> seen;
    Rig rig([&](const json& r) {
        seen.push_back(r);
        return ok(r, {{"pages", 60}});
    });
    EXPECT_TRUE(rig.client.wait_ready(5s));
    EXPECT_EQ(rig.client.call("buffers.fill", {{"generation", 3}})["pages"], 60);
    EXPECT_EQ(rig.client.call("counters")["ok"], true);
    ASSERT_EQ(seen.size(), 2u);
    EXPECT_EQ(seen[0]["op"], "buffers.fill");
    EXPECT_EQ(seen[0]["generation"], 3);
    EXPECT_NE(seen[0]["id"], seen[1]["id"]);
    EXPECT_EQ(rig.client.last_heartbeat()["rss_kib"], 2);
    EXPECT_THROW(rig.client.call("x", json::array()), std::invalid_argument);
}

TEST(AgentClient, EventsGoToTheCallbackInOrderBeforeTheReply) {
    std::vector<int> done;
    Rig rig([](const json& r) {
        const json id = r["id"];
        return json{{"event", "progress"}, {"id", id}, {"done", 1}}.dump() + "\n" +
               json{{"event", "progress"}, {"id", id}, {"done", 2}}.dump() + "\r\n" + ok(r);
    });
    rig.client.on_event([&](const json& e) { done.push_back(e["done"]); });
    rig.client.call("buffers.fill");
    EXPECT_EQ(done, (std::vector<int>{1, 2}));
}

TEST(AgentClient, RefusalIsAnAgentErrorAndTheClientLivesOn) {
    int n = 0;
    Rig rig([&](const json& r) {
        if (n++ > 0) return ok(r);
        return json{{"id", r["id"]}, {"ok", false}, {"error", "no such buffer 7"}, {"errno", 2}}.dump() +
               "\n";
    });
    try {
        rig.client.call("buffers.free");
        FAIL();
    } catch (const AgentError& e) {
        EXPECT_EQ(e.op, "buffers.free");
        EXPECT_EQ(e.text, "no such buffer 7");
        EXPECT_EQ(e.error_number, 2);
        EXPECT_NE(std::string(e.what()).find("no such buffer 7"), std::string::npos);
    }
    EXPECT_NO_THROW(rig.client.call("hello"));
}

TEST(AgentClient, RefusalWithOddMembersIsStillAnAgentError) {
    Rig rig([](const json& r) {
        return json{{"id", r["id"]}, {"ok", false}, {"error", {1, 2}}, {"errno", "ENOMEM"}}.dump() + "\n";
    });
    EXPECT_THROW(rig.client.call("x"), AgentError);
}

TEST(AgentClient, MalformedRequestAnswerWithNullIdEndsTheCall) {
    Rig rig([](const json&) { return "{\"id\":null,\"ok\":false,\"error\":\"malformed\"}\n"; });
    EXPECT_THROW(rig.client.call("x"), AgentError);
}

TEST(AgentClient, SlowReplyIsATimeoutAndIsDroppedWhenItComes) {
    int n = 0;
    Rig rig([&](const json& r) {
        if (n++ == 0) std::this_thread::sleep_for(500ms);
        return ok(r, {{"n", n}});
    });
    try {
        rig.client.call("slow", nullptr, 200ms);
        FAIL();
    } catch (const Timeout& e) {
        EXPECT_EQ(e.exit_code(), 5);
        EXPECT_EQ(e.problem().where, "/the/logs");
    }
    EXPECT_EQ(rig.client.call("next")["n"], 2);
}

TEST(AgentClient, SilenceIsAHang) {
    Rig rig([](const json&) { return ""; }, 300ms, /*heart=*/false);
    const auto started = std::chrono::steady_clock::now();
    EXPECT_THROW(rig.client.call("x", nullptr, 30s), GuestHang);
    EXPECT_GE(std::chrono::steady_clock::now() - started, 300ms);
    EXPECT_EQ(rig.watch.hangs, 1);
}

TEST(AgentClient, HeartThatStopsInIdleIsAHang) {
    Rig rig([](const json&) { return ""; }, 300ms);
    EXPECT_NO_THROW(rig.client.idle(700ms));
    rig.agent.beating = false;
    EXPECT_THROW(rig.client.idle(5s), GuestHang);
}

TEST(AgentClient, PausedGuestMayBeSilent) {
    Rig rig([](const json&) { return ""; }, 200ms, /*heart=*/false);
    rig.watch.is_paused = true;
    EXPECT_THROW(rig.client.call("x", nullptr, 1s), Timeout);
    EXPECT_EQ(rig.watch.hangs, 0);
}

// Between the calls nobody listens: that silence is not the guest's.
TEST(AgentClient, TimeBetweenCallsIsNotSilence) {
    Rig rig([](const json& r) { return ok(r); }, 300ms, /*heart=*/false);
    rig.client.call("a");
    std::this_thread::sleep_for(600ms);
    EXPECT_NO_THROW(rig.client.call("b"));
}

TEST(AgentClient, PanicDuringACallIsRaisedAtOnce) {
    Rig rig([&](const json&) { return ""; });
    std::thread later([&] {
        std::this_thread::sleep_for(200ms);
        rig.watch.panic = true;
    });
    const auto started = std::chrono::steady_clock::now();
    EXPECT_THROW(rig.client.call("x", nullptr, 30s), GuestPanic);
    EXPECT_LT(std::chrono::steady_clock::now() - started, 2s);
    later.join();
}

TEST(AgentClient, PanicOutweighsAReply) {
    FakeWatch* watch = nullptr;
    Rig rig([&](const json& r) {
        watch->panic = true;
        return ok(r);
    });
    watch = &rig.watch;
    EXPECT_THROW(rig.client.call("x"), GuestPanic);
}

TEST(AgentClient, ClosedChannelIsTheWatchsWord) {
    Rig rig([&](const json&) { return ""; });
    rig.client.idle(50ms);
    rig.agent.hang_up();
    EXPECT_THROW(rig.client.call("x"), MachineGone);
}

TEST(AgentClient, ClosedChannelDuringACall) {
    Rig rig([&](const json&) {
        rig.agent.hang_up();
        return "";
    });
    EXPECT_THROW(rig.client.call("x"), MachineGone);
}

class Garbage : public testing::TestWithParam<const char*> {};

TEST_P(Garbage, IsAProtocolError) {
    const std::string text = GetParam();
    Rig rig([&](const json&) { return text + "\n"; }, 5s, /*heart=*/false);
    try {
        rig.client.call("x", nullptr, 3s);
        FAIL() << text;
    } catch (const ProtocolError& e) {
        EXPECT_EQ(e.exit_code(), 6);
    }
}

INSTANTIATE_TEST_SUITE_P(Lines, Garbage,
                         testing::Values("hello", "[1,2]", "{", "42", "\x01\x02\xff\xfe",
                                         "{\"event\":7}", "{\"id\":\"1\",\"ok\":true}", "{\"id\":1}",
                                         "{\"id\":1,\"ok\":\"yes\"}", "{\"id\":-1,\"ok\":true}",
                                         "{\"id\":99,\"ok\":true}", "{\"id\":1.5,\"ok\":true}"));

TEST(AgentClient, EndlessLineIsAProtocolError) {
    Rig rig([&](const json&) { return std::string(AgentClient::kMaxLine + 100'000, 'x'); }, 5s, false);
    EXPECT_THROW(rig.client.call("x", nullptr, 20s), ProtocolError);
}

TEST(AgentClient, LongLinesInBothDirections) {
    Rig rig([&](const json& r) { return ok(r, {{"echo", r["text"]}}); });
    const std::string text(8 << 20, 'y');
    EXPECT_EQ(rig.client.call("x", {{"text", text}})["echo"], text);
    EXPECT_THROW(rig.client.call("x", {{"text", std::string(17 << 20, 'y')}}), std::invalid_argument);
}

// The guest takes nothing and says nothing while we send: a hang, not an endless wait.
TEST(AgentClient, GuestThatDoesNotReadIsAHang) {
    Rig rig([&](const json&) { return ""; }, 300ms, /*heart=*/false);
    rig.agent.reading = false;
    EXPECT_THROW(rig.client.call("x", {{"text", std::string(8 << 20, 'y')}}), GuestHang);
}

TEST(AgentClient, ReadyIsWaitedFor) {
    Rig rig([&](const json&) { return ""; }, 5s, /*heart=*/false);
    EXPECT_FALSE(rig.client.wait_ready(100ms));
    rig.agent.say("{\"event\":\"heartbeat\"}\n{\"event\":\"ready\"}\n");
    EXPECT_TRUE(rig.client.wait_ready(5s));
    rig.client.idle(50ms);
    rig.agent.say("{\"event\":\"ready\"}\n");  // a second agent
    EXPECT_THROW(rig.client.idle(5s), AgentGone);
}

TEST(AgentClient, PanicWhileWaitingForReady) {
    Rig rig([&](const json&) { return ""; }, 5s, /*heart=*/false);
    rig.watch.panic = true;
    EXPECT_THROW(rig.client.wait_ready(5s), GuestPanic);
}

TEST(AgentClient, PostWaitsForNothing) {
    std::atomic<int> seen{0};
    Rig rig([&](const json& r) {
        if (r["kind"] == "panic") ++seen;
        return "";
    });
    rig.client.post("fault", {{"kind", "panic"}});
    rig.client.idle(300ms);
    EXPECT_EQ(seen, 1);
}

}  // namespace
}  // namespace vttm::machine::test
