// SPDX-License-Identifier: Apache-2.0
// Clocks that fit together, and every way in which they may not.
#include "host-backend/trace/clock_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vttm::trace::test {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kMs = 1'000'000;
constexpr std::uint64_t kStart = 5'000 * kMs;   // our clock at the first sample
constexpr std::uint64_t kOffset = 77'000 * kMs;  // of the other one
constexpr std::uint64_t kWidth = 4'000;

// What the other clock says when ours says @t: faster by @ppm, and gone on by itself while we stood still.
struct Truth {
    double ppm = 0;
    std::vector<std::pair<std::uint64_t, std::uint64_t>> stops = {};  // our time, for how long
    std::uint64_t at(std::uint64_t t) const {
        const double since = static_cast<double>(t - kStart);
        std::uint64_t there = kOffset + t + static_cast<std::uint64_t>(since * ppm / 1e6);
        for (auto [when, how_long] : stops)
            if (t > when) there += how_long;
        return there;
    }
};

// One every 10 ms; the reading lies anywhere between the two of our clock.
std::vector<ClockSample> samples_of(const Truth& truth, int n = 200) {
    std::vector<ClockSample> out;
    for (int i = 0; i < n; ++i) {
        const std::uint64_t t = kStart + static_cast<std::uint64_t>(i) * 10 * kMs;
        const std::uint64_t before = static_cast<std::uint64_t>(i * 1237) % kWidth;
        out.push_back({t - before, truth.at(t), t - before + kWidth});
    }
    return out;
}

std::string refused(std::vector<ClockSample> samples, std::vector<Standstill> stops = {}) {
    try {
        ClockMap map(std::move(samples), stops);
        return "";
    } catch (const ClockError& e) {
        return e.what();
    }
}

void expect_true(const ClockMap& map, const Truth& truth) {
    for (std::uint64_t t = kStart + kMs; t < kStart + 1'980 * kMs; t += 333'333) {
        const auto got = map.map(t);
        ASSERT_TRUE(got) << t;
        const std::int64_t off = static_cast<std::int64_t>(got->ns - truth.at(t));
        EXPECT_LE(std::abs(off), static_cast<std::int64_t>(got->error)) << t;
    }
}

TEST(ClockMap, ErrorIsNeverMoreThanItSays) {
    for (const double ppm : {0.0, 40.0, -300.0, 9'000.0}) {
        const Truth truth{ppm};
        const ClockMap map(samples_of(truth));
        expect_true(map, truth);
        EXPECT_NEAR(map.rate_ppm(), ppm, 400) << "of 10 ms with 4 us of width";
        EXPECT_EQ(map.steps(), 0u);
        EXPECT_LE(map.max_error_ns(), kWidth / 2 + kWidth / 100 + 1);
    }
}

TEST(ClockMap, OutsideOfTheSamplesNothingIsSaid) {
    const ClockMap map(samples_of({}));
    EXPECT_FALSE(map.map(kStart - 10 * kMs));
    EXPECT_FALSE(map.map(kStart + 2'000 * kMs));
    EXPECT_FALSE(map.map(0));
    EXPECT_FALSE(map.map(~0ull));
}

TEST(ClockMap, FollowsAMachineThatStoodStill) {
    const std::uint64_t when = kStart + 504 * kMs;
    const Truth truth{20, {{when, 800 * kMs}}};
    // The device hears of the stop 20 ms late.
    const std::vector<Standstill> stops = {{truth.at(when) + 20 * kMs, truth.at(when) + 800 * kMs}};
    const ClockMap map(samples_of(truth), stops);
    EXPECT_EQ(map.steps(), 1u);
    for (const std::uint64_t t : {kStart + 503 * kMs, kStart + 505 * kMs, kStart + 900 * kMs}) {
        const auto got = map.map(t);
        ASSERT_TRUE(got);
        EXPECT_NEAR(static_cast<double>(got->ns), static_cast<double>(truth.at(t)),
                    static_cast<double>(got->error));
        EXPECT_LE(got->error, kWidth / 2 + kWidth / 100 + 1) << "no matter when the device heard of it";
    }
}

TEST(ClockMap, SeveralStandstillsBetweenTwoSamplesAreLessExact) {
    const std::uint64_t when = kStart + 503 * kMs;
    const Truth truth{0, {{when, 100 * kMs}, {when + 4 * kMs, 50 * kMs}}};
    const std::vector<Standstill> stops = {{truth.at(when) + kMs / 2, truth.at(when) + 100 * kMs},
                                           {truth.at(when + 4 * kMs), truth.at(when + 4 * kMs) + 50 * kMs}};
    const ClockMap map(samples_of(truth), stops);
    EXPECT_EQ(map.steps(), 1u);
    for (const std::uint64_t t : {when - kMs, when + 2 * kMs, when + 5 * kMs}) {
        const auto got = map.map(t);
        ASSERT_TRUE(got);
        EXPECT_NEAR(static_cast<double>(got->ns), static_cast<double>(truth.at(t)),
                    static_cast<double>(got->error))
            << t - when;
    }
}

TEST(ClockMap, AStepThatNothingExplainsIsRefused) {
    const std::uint64_t when = kStart + 504 * kMs;
    const Truth truth{0, {{when, 300'000}}};  // 0.3 ms
    EXPECT_THAT(refused(samples_of(truth)), HasSubstr("drift apart by 3"));
    // A standstill elsewhere explains nothing, one that is too short not all of it.
    EXPECT_NE(refused(samples_of(truth), {{kOffset + kStart, kOffset + kStart + 9 * kMs}}), "");
    const Truth far{0, {{when, 500 * kMs}}};
    EXPECT_NE(refused(samples_of(far), {{far.at(when), far.at(when) + 100 * kMs}}), "");
    EXPECT_EQ(refused(samples_of(far), {{far.at(when), far.at(when) + 500 * kMs}}), "");
}

TEST(ClockMap, APlantedOffsetInAPartOfTheSamplesIsRefused) {
    auto samples = samples_of({});
    for (std::size_t i = 100; i < samples.size(); ++i) samples[i].there += 50'000;
    EXPECT_THAT(refused(samples), HasSubstr("drift apart by"));
    samples = samples_of({});
    for (std::size_t i = 100; i < samples.size(); ++i) samples[i].there -= 50'000;
    EXPECT_THAT(refused(samples), HasSubstr("drift apart by -")) << "backward, too";
}

TEST(ClockMap, APlantedDriftIsRefused) {
    EXPECT_THAT(refused(samples_of({30'000})), HasSubstr("1.03"));
    EXPECT_EQ(refused(samples_of({10'000})), "") << "1 % is a badly calibrated TSC";
    // From the middle on 0.5 % faster.
    auto samples = samples_of({});
    for (std::size_t i = 100; i < samples.size(); ++i)
        samples[i].there += static_cast<std::uint64_t>(i - 100) * 50'000;
    EXPECT_THAT(refused(samples), HasSubstr("drift apart by"));
}

TEST(ClockMap, WideSamplesAreNotUsed) {
    auto samples = samples_of({});
    samples[50] = {samples[50].before, samples[50].there + 900'000, samples[50].after + kMs};
    const ClockMap map(samples);
    EXPECT_EQ(map.unused(), 1u);
    EXPECT_LE(map.max_error_ns(), kWidth / 2 + kWidth / 100 + 1);
}

TEST(ClockMap, NonsenseIsRefused) {
    EXPECT_NE(refused({}), "");
    EXPECT_NE(refused({{1, 2, 3}}), "") << "one says nothing of the rate";
    EXPECT_THAT(refused({{5, 1, 4}, {6, 2, 7}}), HasSubstr("impossible"));
    EXPECT_THAT(refused({{5, ~0ull, 6}, {7, 2, 8}}), HasSubstr("impossible"));
    EXPECT_THAT(refused({{10, 100, 11}, {20, 90, 21}}), HasSubstr("goes back"));
    EXPECT_THAT(refused({{10, 100, 11}, {5, 110, 6}}), HasSubstr("goes back"));
    EXPECT_NE(refused({{0, 1, 1'000 * kMs}, {2'000 * kMs, 3, 4'000 * kMs}}), "") << "all are too wide";
}

}  // namespace
}  // namespace vttm::trace::test
