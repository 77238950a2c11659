// SPDX-License-Identifier: Apache-2.0
// Lines, ids, errors, heartbeats.
#include <algorithm>
#include <chrono>
#include <random>

#include "guest-driver/libvttm/agent/heartbeat.h"
#include "guest-driver/libvttm/agent/op.h"
#include "tests/unit/agent/agent_fixture.h"

namespace vttm::guest::test {
namespace {

using nlohmann::json;

class ProtocolTest : public AgentTest {};

TEST_F(ProtocolTest, MalformedLinesAreAnsweredWithoutIdAndTheSessionGoesOn) {
    start();
    for (const char* line :
         {"", "garbage", "{", "[]", "null", "7", "\"text\"", "{}", R"({"op":"hello"})",
          R"({"id":null,"op":"hello"})", R"({"id":"x","op":"hello"})", R"({"id":1.5,"op":"hello"})",
          "{\"id\":1,\"op\":\"\xff\"}", R"({"id":1,"op":"hello"}})"}) {
        send(std::string(line) + "\n");
        const json answer = reply();
        EXPECT_TRUE(answer.at("id").is_null()) << line;
        EXPECT_EQ(answer.at("ok"), false) << line;
        EXPECT_FALSE(answer.at("error").get<std::string>().empty()) << line;
    }
    call_ok({{"op", "hello"}});
}

TEST_F(ProtocolTest, UnknownOpIsAnsweredWithItsId) {
    start();
    const json answer = call_error({{"op", "buffers.explode"}}, ENOSYS);
    EXPECT_NE(answer.at("error").get<std::string>().find("buffers.explode"), std::string::npos);
    call_error({{"op", 7}}, EINVAL);
    call_error(json::object(), EINVAL);
}

TEST_F(ProtocolTest, OversizedLineIsSkippedWhole) {
    start();
    const std::string head = R"({"id":1,"op":"hello","pad":")";
    send(head + std::string(Channel::kMaxLine, 'x') + "\"}\n");
    const json answer = reply();
    EXPECT_TRUE(answer.at("id").is_null());
    EXPECT_EQ(answer.at("errno"), EMSGSIZE);
    call_ok({{"op", "hello"}});
}

TEST_F(ProtocolTest, LongestLineIsServed) {
    start();
    const std::string head = R"({"id":1,"op":"hello","pad":")";
    const std::string tail = "\"}";
    send(head + std::string(Channel::kMaxLine - head.size() - tail.size(), 'x') + tail + "\n");
    EXPECT_EQ(reply().at("ok"), true);
}

TEST_F(ProtocolTest, RequestInPiecesAndRequestsTogether) {
    start();
    send(R"({"id":1,"op":)");
    send(R"("hello"})"
         "\n"
         R"({"id":2,"op":"hello"})"
         "\n");
    EXPECT_EQ(reply().at("id"), 1);
    EXPECT_EQ(reply().at("id"), 2);
}

// Requests with a few bytes changed: each line gets one answer, right or wrong, and none ends the
// session. (The seeds are ops that, so changed, do nothing to the machine that runs the test.)
TEST_F(ProtocolTest, EveryMutatedLineGetsOneAnswer) {
    start();
    const std::vector<std::string> seeds = {
        R"({"id":1,"op":"hello"})",
        R"({"id":2,"op":"buffers.create","buffers":)"
        R"([{"id":1,"bytes":8192,"domain":"gtt","caching":"wb"}]})",
        R"({"id":3,"op":"buffers.fill","ids":[1],"generation":1,"key":"0x1f","by":"cpu"})",
        R"({"id":4,"op":"buffers.verify","ids":"all","generation":1,"key":"0x1f","by":"device"})",
        R"({"id":5,"op":"buffers.free","ids":"all"})",
    };
    std::mt19937 random(20261120);
    int good = 0;
    for (int round = 0; round < 3000; ++round) {
        std::string line = seeds[random() % seeds.size()];
        for (std::uint32_t changes = random() % 4; changes > 0; --changes) {
            const std::size_t at = random() % line.size();
            const char byte = static_cast<char>(random() % 256);
            switch (random() % 3) {
                case 0:
                    line[at] = byte;
                    break;
                case 1:
                    line.insert(at, 1, byte);
                    break;
                default:
                    line.erase(at, 1 + random() % 8);
                    break;
            }
            std::replace(line.begin(), line.end(), '\n', ' ');
            if (line.empty()) {
                break;
            }
        }
        send(line + "\n");
        const json answer = reply();
        ASSERT_TRUE(answer.at("ok").is_boolean()) << line;
        ASSERT_TRUE(answer.at("ok").get<bool>() || answer.at("error").is_string()) << line;
        good += answer.at("ok").get<bool>();
    }
    EXPECT_GT(good, 300);
    EXPECT_LT(good, 2700);
    call_ok({{"op", "hello"}});
}

TEST_F(ProtocolTest, EveryDocumentedOpIsInTheTable) {
    for (const char* name :
         {"hello", "backup.set", "buffers.create", "buffers.fill", "buffers.verify", "buffers.resident",
          "buffers.free", "placement", "counters", "pressure.hog", "pressure.release", "pressure.reclaim",
          "pressure.memcg", "shrinker.scan", "sync", "exec", "kunit", "fault", "poweroff"}) {
        EXPECT_NE(find_op(name), nullptr) << name;
    }
    EXPECT_EQ(find_op("Hello"), nullptr);
    EXPECT_EQ(find_op(""), nullptr);
}

TEST_F(ProtocolTest, HeartbeatsGoOnWhileAnOperationRuns) {
    gpu.job_time = std::chrono::milliseconds(400);
    start();
    const Heartbeat heartbeat(*channel, std::chrono::milliseconds(20));
    call_ok({{"op", "buffers.create"},
             {"buffers", {{{"id", 1}, {"bytes", 8192}, {"domain", "gtt"}, {"caching", "wb"}}}}});
    events.clear();
    call_ok({{"op", "buffers.fill"},
             {"ids", "all"},
             {"generation", 1},
             {"key", "0x1"},
             {"by", "device"}});
    const auto beats = std::count_if(events.begin(), events.end(), [](const json& event) {
        return event.at("event") == "heartbeat";
    });
    EXPECT_GE(beats, 5);
    for (const json& event : events) {
        if (event.at("event") == "heartbeat") {
            EXPECT_GT(event.at("uptime_ms").get<std::int64_t>(), 0);
            EXPECT_GT(event.at("rss_kib").get<std::int64_t>(), 0);
        }
    }
}

TEST_F(ProtocolTest, SessionEndsWhenThePeerGoes) {
    start();
    hang_up();  // would not return if the session went on
}

TEST_F(ProtocolTest, HelloTellsTheGuest) {
    put("/sys/module/ttm/parameters/backup", "copy\n");
    start();
    const json answer = call_ok({{"op", "hello"}});
    EXPECT_EQ(answer.at("abi"), "1.0");
    EXPECT_EQ(answer.at("vram_bytes"), 256u << 20);
    EXPECT_EQ(answer.at("gtt_bytes"), 512u << 20);
    EXPECT_EQ(answer.at("mem_total_kib"), 1500000);
    EXPECT_EQ(answer.at("backup"), "copy");
    EXPECT_FALSE(answer.at("kernel").get<std::string>().empty());
    EXPECT_FALSE(answer.at("agent").get<std::string>().empty());
}

TEST_F(ProtocolTest, HelloWithoutADeviceOrASwitchableKernel) {
    have_gpu = false;
    start();
    const json answer = call_ok({{"op", "hello"}});
    EXPECT_TRUE(answer.at("abi").is_null());
    EXPECT_TRUE(answer.at("backup").is_null());
    EXPECT_FALSE(answer.at("device_error").get<std::string>().empty());
    call_error({{"op", "buffers.free"}, {"ids", "all"}}, ENODEV);
}

}  // namespace
}  // namespace vttm::guest::test
