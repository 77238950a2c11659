// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

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
        if (op == "pressure.hog") {
            held += r["mib"].get<std::uint64_t>();
            const bool killed = held > 100;
            if (killed) held = 0;
            return ok(r, {{"held_mib", held}, {"killed", killed}});
        }
        if (op == "pressure.release") held = 0;
        if (op == "pressure.reclaim") return ok(r, {{"reclaimed", requests.size() < 3}});
        if (op == "shrinker.scan") return ok(r, {{"freed", requests.size() < 3 ? 512 : 0}});
        return ok(r);
    }
    std::vector<json> of(const std::string& op) const {
        std::vector<json> out;
        for (const json& r : requests)
            if (r["op"] == op) out.push_back(r);
        return out;
    }

    std::uint64_t held = 0;
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

TEST_F(PressureTest, MemcgLimitGoesDownToItsFloorAndBackToMax) {
    MemcgLimit limit(client, {.start_mib = 100, .step_mib = 40, .floor_mib = 30});
    EXPECT_EQ(step_until(limit, [](const Step&) { return false; }, 10), Outcome::kExhausted);
    limit.release();
    std::vector<std::uint64_t> limits;
    for (const json& r : of("pressure.memcg")) limits.push_back(r["limit_mib"]);
    EXPECT_EQ(limits, (std::vector<std::uint64_t>{100, 60, 30, 0}));
}

TEST_F(PressureTest, ReclaimAndScanEndWhenNothingIsLeft) {
    RootReclaim reclaim(client, {.step_mib = 8, .memcg = true});
    EXPECT_EQ(step_until(reclaim, [](const Step&) { return false; }, 10), Outcome::kExhausted);
    EXPECT_EQ(requests.size(), 3u);
    EXPECT_EQ(requests[0]["memcg"], true);
    requests.clear();
    ShrinkerScan scan(client, {.pages = 512});
    EXPECT_EQ(step_until(scan, [](const Step&) { return false; }, 10), Outcome::kExhausted);
    EXPECT_EQ(of("shrinker.scan").size(), 3u);
}

TEST_F(PressureTest, SenselessConfigurationsAreRefused) {
    EXPECT_THROW(AnonymousHog(client, {.step_mib = 0}), std::invalid_argument);
    EXPECT_THROW(MemcgLimit(client, {.start_mib = 1, .floor_mib = 2}), std::invalid_argument);
}

}  // namespace
}  // namespace vttm::pressure
