// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "host-backend/pressure/injectors.h"
#include "tests/unit/machine/fake_agent.h"

namespace vttm::pressure {
namespace {

using machine::test::FakeAgent;
using machine::test::FakeWatch;
using machine::test::ok;
using nlohmann::json;

// A guest with 100 MiB to give: the hog is killed when it wants more.
class PressureTest : public testing::Test {
  protected:
    PressureTest() : agent([this](const json& r) { return answer(r); }), client(agent.host_end(), watch) {}

    std::string answer(const json& r) {
        requests.push_back(r);
        const std::string op = r["op"];
        if (op == deaf) return "";
        if (op == "pressure.hog" && held_reply) return ok(r, {{"held_mib", *held_reply}});
        if (op == "pressure.hog") {
            held += r["mib"].get<std::uint64_t>();
            const bool killed = held > 100;
            if (killed) held = 0;
            return ok(r, {{"held_mib", held}, {"killed", killed}});
        }
        if (op == "pressure.release") held = 0;
        return ok(r);
    }
    std::vector<json> of(const std::string& op) const {
        std::vector<json> out;
        for (const json& r : requests)
            if (r["op"] == op) out.push_back(r);
        return out;
    }

    std::uint64_t held = 0;
    std::string deaf;                // an op that is never answered
    std::optional<json> held_reply;  // instead of `held`
    std::vector<json> requests;
    FakeWatch watch;
    FakeAgent agent;
    machine::AgentClient client;
};

TEST_F(PressureTest, HogGrowsUntilThePredicate) {
    AnonymousHog hog(client, {.step_mib = 32});
    EXPECT_EQ(step_until(hog, [&](const Step&) { return hog.held_mib() >= 64; }, 10),
              Outcome::kReached);
    EXPECT_EQ(hog.held_mib(), 64u);
    hog.release();
    hog.release();
    EXPECT_EQ(of("pressure.release").size(), 1u);
    EXPECT_EQ(hog.held_mib(), 0u);
}

TEST_F(PressureTest, PredicateThatHoldsNeedsNoStep) {
    AnonymousHog hog(client, {});
    EXPECT_EQ(step_until(hog, [](const Step&) { return true; }, 10), Outcome::kReached);
    EXPECT_TRUE(requests.empty());
}

TEST_F(PressureTest, HogThatIsKilledSaysSo) {
    AnonymousHog hog(client, {.step_mib = 60});
    EXPECT_EQ(step_until(hog, [](const Step&) { return false; }, 10), Outcome::kKilled);
    EXPECT_EQ(hog.held_mib(), 0u);
}

TEST_F(PressureTest, HogStopsAtItsLimit) {
    AnonymousHog hog(client, {.step_mib = 40, .max_mib = 50});
    EXPECT_EQ(step_until(hog, [](const Step&) { return false; }, 10), Outcome::kExhausted);
    EXPECT_EQ(hog.held_mib(), 50u);
    EXPECT_EQ(of("pressure.hog")[1]["mib"], 10);
}

TEST_F(PressureTest, StepLimit) {
    AnonymousHog hog(client, {.step_mib = 1});
    EXPECT_EQ(step_until(hog, [](const Step&) { return false; }, 3), Outcome::kStepLimit);
    EXPECT_EQ(hog.held_mib(), 3u);
}

TEST_F(PressureTest, DestructorReleasesAndSwallowsADeadGuest) {
    { AnonymousHog hog(client, {}); hog.step(); }
    EXPECT_EQ(of("pressure.release").size(), 1u);
    {
        AnonymousHog hog(client, {});
        hog.step();
        watch.panic = true;
    }
    EXPECT_EQ(of("pressure.release").size(), 1u);
}

// A hog that took its request but never answers holds memory: it is released all the same.
TEST_F(PressureTest, HogThatNeverAnswersIsATimeoutAndIsReleased) {
    deaf = "pressure.hog";
    {
        AnonymousHog hog(client, {.limit = {.each = std::chrono::milliseconds(200)}});
        try {
            hog.step();
            FAIL();
        } catch (const machine::Timeout& e) {
            EXPECT_EQ(e.exit_code(), 5);
        }
    }
    EXPECT_EQ(of("pressure.release").size(), 1u);
}

TEST_F(PressureTest, NoCallWaitsBeyondTheScenariosEnd) {
    using Clock = std::chrono::steady_clock;
    const auto begin = Clock::now();
    const CallLimit limit{.until = begin + std::chrono::milliseconds(300)};
    for (const char* op : {"pressure.hog", "pressure.memcg"}) {
        deaf = op;
        AnonymousHog hog(client, {.limit = limit});
        MemcgLimit memcg(client, {.limit = limit});
        Injector* injector = deaf == "pressure.hog" ? static_cast<Injector*>(&hog) : &memcg;
        EXPECT_THROW(injector->step(), machine::Timeout) << op;
        deaf.clear();  // so that the destructors are answered
    }
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(5));
    // It is over: nothing is asked any more.
    const std::size_t asked = requests.size();
    MemcgLimit late(client, {.limit = limit});
    EXPECT_THROW(late.step(), machine::Timeout);
    EXPECT_EQ(requests.size(), asked);
}

// A guest whose heart stops while it presses is a hang, however long the scenario may take.
TEST(PressureOnASilentGuest, IsAHang) {
    FakeWatch watch;
    FakeAgent agent([](const json&) { return ""; }, /*heart=*/false);
    machine::AgentClient client(agent.host_end(), watch, {std::chrono::milliseconds(300)});
    AnonymousHog hog(client, {});
    try {
        hog.step();
        FAIL();
    } catch (const machine::GuestHang& e) {
        EXPECT_EQ(e.exit_code(), 4);
    }
}

TEST_F(PressureTest, FiguresOfAHostileGuestAreNoFigures) {
    for (const json& odd : {json(-5), json("7"), json(1.5), json()}) {
        held_reply = odd;
        AnonymousHog hog(client, {.step_mib = 8});
        EXPECT_EQ(hog.step().amount, 8u) << odd;
    }
}

TEST_F(PressureTest, MemcgLimitGoesDownToItsFloorAndBackToMax) {
    MemcgLimit limit(client, {.start_mib = 100, .step_mib = 40, .floor_mib = 30});
    EXPECT_EQ(step_until(limit, [](const Step&) { return false; }, 10), Outcome::kExhausted);
    limit.release();
    std::vector<std::uint64_t> limits;
    for (const json& r : of("pressure.memcg")) limits.push_back(r["limit_mib"]);
    EXPECT_EQ(limits, (std::vector<std::uint64_t>{100, 60, 30, 0}));
}

TEST_F(PressureTest, SenselessConfigurationsAreRefused) {
    EXPECT_THROW(AnonymousHog(client, {.step_mib = 0}), std::invalid_argument);
    EXPECT_THROW(MemcgLimit(client, {.start_mib = 1, .floor_mib = 2}), std::invalid_argument);
}

}  // namespace
}  // namespace vttm::pressure
