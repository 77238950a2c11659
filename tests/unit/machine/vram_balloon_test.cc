// SPDX-License-Identifier: Apache-2.0
#include "host-backend/pressure/vram_balloon.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "host-backend/machine/errors.h"
#include "tests/unit/machine/fake_agent.h"

namespace vttm::pressure {
namespace {

using machine::test::FakeAgent;
using machine::test::FakeWatch;
using nlohmann::json;
using namespace std::chrono_literals;

// A guest that follows after some looks, or never.
class VramBalloonTest : public testing::Test {
protected:
    VramBalloonTest() : agent([](const json& r) { return machine::test::ok(r); }), client(agent.host_end(), watch) {}

    json monitor(const std::string& command, const json& arguments) {
        EXPECT_EQ(arguments.at("path"), "/machine/peripheral/vttm0");
        if (command == "qom-set") {
            EXPECT_EQ(arguments.at("property"), "vram-target");
            targets.push_back(arguments.at("value").get<std::uint64_t>() >> 20);
            looks = 0;
            return json::object();
        }
        EXPECT_EQ(arguments.at("property"), "vram-limit");
        if (follows && ++looks > 2) limit = targets.back();
        return limit << 20;
    }
    VramBalloon balloon(VramBalloon::Config config) {
        return {[this](const std::string& c, const json& a) { return monitor(c, a); }, client, config};
    }

    std::vector<std::uint64_t> targets;
    std::uint64_t limit = 256;
    unsigned looks = 0;
    bool follows = true;
    FakeWatch watch;
    FakeAgent agent;
    machine::AgentClient client;
};

TEST_F(VramBalloonTest, WaitsUntilTheGuestHasGivenItUpAndTakenItBack) {
    VramBalloon b = balloon({.vram_mib = 256, .target_mib = 64});
    const Step step = b.step();
    EXPECT_TRUE(step.progressed);
    EXPECT_EQ(step.amount, 64u);
    EXPECT_EQ(limit, 64u);
    EXPECT_FALSE(b.step().progressed) << "there is one step only";
    b.release();
    EXPECT_EQ(limit, 256u);
    b.release();
    EXPECT_EQ(targets, (std::vector<std::uint64_t>{64, 256}));
}

TEST_F(VramBalloonTest, AGuestThatKeepsItsVramIsInconclusive) {
    follows = false;
    {
        VramBalloon b = balloon({.vram_mib = 256, .target_mib = 64, .limit = {.each = 100ms}});
        try {
            b.step();
            FAIL() << "nothing was thrown";
        } catch (const machine::Inconclusive& e) {
            EXPECT_EQ(e.exit_code(), 7);
            EXPECT_NE(std::string(e.what()).find("keeps 256 MiB of VRAM, although it was offered 64 MiB"),
                      std::string::npos)
                << e.what();
        }
    }
    EXPECT_EQ(targets.back(), 256u) << "offered again at the end, though nobody waits";
}

TEST_F(VramBalloonTest, TheEndOfTheScenarioEndsTheWait) {
    follows = false;
    VramBalloon b = balloon({.vram_mib = 256, .target_mib = 64,
                             .limit = {.until = std::chrono::steady_clock::now()}});
    EXPECT_THROW(b.step(), machine::Inconclusive);
}

TEST_F(VramBalloonTest, RefusesTargetsThatMakeNoSense) {
    EXPECT_THROW(balloon({.vram_mib = 256, .target_mib = 256}), std::invalid_argument);
    EXPECT_THROW(balloon({.vram_mib = 256, .target_mib = 63}), std::invalid_argument);
}

}  // namespace
}  // namespace vttm::pressure
