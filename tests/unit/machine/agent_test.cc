// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/agent.h"

#include <gtest/gtest.h>

#include <sys/socket.h>

#include <array>
#include <random>
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

// As after a migration, which may come in the middle of a line.
TEST(AgentClient, GoesOnOverAnotherChannelFromTheNextWholeLine) {
    Rig rig([](const json& r) { return ok(r); });
    ASSERT_TRUE(rig.client.wait_ready(5s));
    FakeAgent next([](const json& r) { return ok(r); }, false);
    next.say("ss_kib\": 7}\n");
    rig.client.rejoin(next.host_end());
    EXPECT_FALSE(rig.client.wait_ready(100ms)) << "half a line is no sign of life";
    next.beating = true;
    EXPECT_TRUE(rig.client.wait_ready(5s));
    EXPECT_EQ(rig.client.call("counters")["ok"], true);
}

// ... or between two lines: then the first one counts like all others.
TEST(AgentClient, TakesAWholeFirstLineOfAnotherChannel) {
    Rig rig([](const json& r) { return ok(r); });
    ASSERT_TRUE(rig.client.wait_ready(5s));
    std::vector<std::string> lines;
    rig.client.on_event([&](const json& e) {
        if (e["event"] == "output") lines.push_back(e["line"]);
    });
    FakeAgent next([](const json& r) { return ok(r); }, false);
    next.say(json{{"event", "output"}, {"id", 1}, {"line", "first"}}.dump() + "\n");
    next.say(json{{"event", "output"}, {"id", 1}, {"line", "second"}}.dump() + "\n");
    rig.client.rejoin(next.host_end());
    next.beating = true;
    EXPECT_TRUE(rig.client.wait_ready(5s));
    EXPECT_EQ(rig.client.call("counters")["ok"], true);
    EXPECT_EQ(lines, (std::vector<std::string>{"first", "second"}));
}

TEST(AgentClient, EventsGoToTheCallbackInOrderBeforeTheReply) {
    std::vector<int> done;
    Rig rig([](const json& r) {
        const json id = r["id"];
        return json{{"event", "progress"}, {"id", id}, {"done", 1}, {"total", 2}}.dump() + "\n" +
               json{{"event", "progress"}, {"id", id}, {"done", 2}, {"total", 2}}.dump() + "\r\n" + ok(r);
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
                                         "{\"event\":7}", "{\"event\":\"output\"}",
                                         "{\"event\":\"output\",\"line\":7}",
                                         "{\"event\":\"progress\",\"done\":-1,\"total\":2}", "{\"id\":\"1\",\"ok\":true}", "{\"id\":1}",
                                         "{\"id\":1,\"ok\":\"yes\"}", "{\"id\":-1,\"ok\":true}",
                                         "{\"id\":99,\"ok\":true}", "{\"id\":1.5,\"ok\":true}"));

TEST(AgentClient, EndlessLineIsAProtocolError) {
    Rig rig([&](const json&) { return std::string(AgentClient::kMaxLine + 100'000, 'x'); }, 5s, false);
    EXPECT_THROW(rig.client.call("x", nullptr, 20s), ProtocolError);
}

// Deep enough to overflow a stack by recursion.
TEST(AgentClient, LineOfBracketsIsAProtocolError) {
    const std::string deep(AgentClient::kMaxLine / 2, '[');
    for (const std::string& line :
         {deep, "{\"id\":1,\"ok\":false,\"error\":" + deep + std::string(deep.size() - 100, ']') + "}"}) {
        Rig rig([&](const json&) { return line + "\n"; }, 5s, /*heart=*/false);
        EXPECT_THROW(rig.client.call("x", nullptr, 20s), ProtocolError);
    }
    // Brackets in a string nest nothing.
    Rig rig([&](const json& r) { return ok(r, {{"text", "\\\"" + std::string(1000, '[')}}); });
    EXPECT_NO_THROW(rig.client.call("x"));
}

TEST(AgentClient, FloodOfRepliesIsAProtocolError) {
    Rig rig([&](const json&) { return ""; }, 5s, /*heart=*/false);
    std::string flood;
    for (int i = 0; i < 1000; ++i) flood += "{\"id\":0,\"ok\":true}\n";
    rig.agent.say(flood);
    EXPECT_THROW(rig.client.idle(5s), ProtocolError);
}

// A hostile guest: whatever it makes of its lines, a call ends in a reply or in one of our errors.
TEST(AgentClient, MutatedLinesEndInAReplyOrAnError) {
    const std::vector<std::string> seeds = {
        "{\"id\":1,\"ok\":true,\"pages\":60}\n",
        "{\"id\":1,\"ok\":false,\"error\":\"no\",\"errno\":12}\n",
        "{\"event\":\"progress\",\"id\":1,\"done\":1,\"total\":2}\n{\"id\":1,\"ok\":true}\n",
        "{\"event\":\"output\",\"id\":1,\"line\":\"x\\u0041\"}\n{\"id\":null,\"ok\":false}\n",
        "{\"event\":\"heartbeat\",\"uptime_ms\":1,\"rss_kib\":2}\n{\"id\":1,\"ok\":true}\n",
    };
    std::mt19937 random(20261120);
    int replies = 0, refusals = 0, violations = 0, silences = 0;
    for (int round = 0; round < 1500; ++round) {
        std::string text = seeds[random() % seeds.size()];
        for (std::uint32_t changes = random() % 5; changes > 0 && !text.empty(); --changes) {
            const std::size_t at = random() % text.size();
            const char byte = random() % 4 ? "{}[]\":,0129-.e\\tfn\n"[random() % 19]
                                           : static_cast<char>(random() % 256);
            switch (random() % 4) {
                case 0:
                    text[at] = byte;
                    break;
                case 1:
                    text.insert(at, 1, byte);
                    break;
                case 2:
                    text.insert(at, text.substr(random() % text.size(), random() % 16));
                    break;
                default:
                    text.erase(at, 1 + random() % 8);
                    break;
            }
        }
        // Only the end of the line keeps a call waiting: here the guest ends its say.
        FakeWatch watch;
        std::array<int, 2> ends{};
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        const UniqueFd guest(ends[1]);
        AgentClient client(UniqueFd(ends[0]), watch, {5s});
        client.on_event([](const json& e) {
            if (e["event"] == "output") e["line"].get<std::string>();
            if (e["event"] == "progress") e["done"].get<std::uint64_t>();
        });
        ASSERT_EQ(::send(guest.get(), text.data(), text.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(text.size()));
        ::shutdown(guest.get(), SHUT_WR);
        try {
            EXPECT_EQ(client.call("x", nullptr, 5s)["ok"], true);
            ++replies;
        } catch (const AgentError&) {
            ++refusals;
        } catch (const ProtocolError&) {
            ++violations;
        } catch (const MachineGone&) {
            ++silences;
        } catch (const std::exception& e) {
            FAIL() << e.what() << "\n" << text;
        }
    }
    EXPECT_GT(replies, 100);
    EXPECT_GT(refusals, 50);
    EXPECT_GT(violations, 100);
    EXPECT_GT(silences, 10);
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
