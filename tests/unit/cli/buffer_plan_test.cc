// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/buffer_plan.h"
#include "host-backend/cli/swap_cycle.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <stdexcept>

namespace vttm::cli {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

std::uint64_t total(const std::vector<PlannedBuffer>& plan, const std::string& domain) {
    std::uint64_t sum = 0;
    for (const auto& b : plan)
        if (b.domain == domain) sum += b.bytes;
    return sum;
}

TEST(BufferPlan, MeetsTotalsToThePage) {
    for (std::uint64_t gtt : {std::uint64_t{4096}, 64 * kMiB, 1234 * kMiB + 4096, 1500 * kMiB}) {
        for (std::uint64_t vram : {std::uint64_t{0}, 320 * kMiB}) {
            auto plan = plan_buffers({.seed = 7, .gtt_bytes = gtt, .vram_bytes = vram});
            EXPECT_EQ(total(plan, "gtt"), gtt);
            EXPECT_EQ(total(plan, "vram"), vram);
        }
    }
}

// All that a plan says, as text.
std::string text_of(const std::vector<PlannedBuffer>& plan) {
    std::string out;
    for (const auto& b : plan)
        out += std::to_string(b.id) + " " + std::to_string(b.bytes) + " " + b.domain + " " + b.caching +
               (b.cpu_fill ? " cpu\n" : " device\n");
    return out;
}

TEST(BufferPlan, IsDeterministicInTheSeed) {
    auto plan = [](std::uint64_t seed) {
        return text_of(plan_buffers({.seed = seed, .gtt_bytes = 256 * kMiB, .vram_bytes = 16 * kMiB}));
    };
    EXPECT_EQ(plan(1), plan(1));
    EXPECT_NE(plan(1), plan(2));
}

// What two runs with the same --seed do is the same, also where the scenario leaves the amount open;
// and the same as yesterday: a report's seed repeats a run.
TEST(BufferPlan, OfAScenarioDependsOnNothingButTheScenarioAndTheSeed) {
    SwapCycleConfig config;
    config.seed = 20261120;
    const auto plan = plan_for(config, 1);
    EXPECT_EQ(text_of(plan), text_of(plan_for(config, 1)));
    EXPECT_EQ(total(plan, "gtt"), config.ram_mib * kMiB);
    EXPECT_EQ(total(plan, "vram"), config.vram_buffers_mib * kMiB);
    std::uint64_t hash = 14695981039346656037u;  // FNV-1a
    for (const char c : text_of(plan)) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
    EXPECT_EQ(hash, 1975880835754577682u) << "a change of the plan makes the seeds of old reports worthless";
    config.seed = 2;
    EXPECT_NE(text_of(plan), text_of(plan_for(config, 1)));
}

TEST(BufferPlan, SpansTheSizesAndBothCachings) {
    auto plan = plan_buffers({.seed = 3, .gtt_bytes = 1200 * kMiB, .vram_bytes = 320 * kMiB});
    std::map<std::uint64_t, unsigned> sizes;
    std::set<std::string> cachings;
    std::set<std::uint32_t> ids;
    std::uint64_t huge = 0;
    unsigned cpu = 0;
    for (const auto& b : plan) {
        sizes[b.bytes]++;
        cachings.insert(b.caching);
        EXPECT_TRUE(ids.insert(b.id).second) << "id " << b.id << " twice";
        EXPECT_GE(b.id, 1u);
        if (b.bytes == 2 * kMiB) huge += b.bytes;
        cpu += b.cpu_fill;
    }
    EXPECT_TRUE(sizes.count(4096));
    EXPECT_TRUE(sizes.count(16 * kMiB));
    EXPECT_GE(sizes.size(), 10u);
    EXPECT_EQ(cachings.size(), 2u);
    EXPECT_GE(huge, total(plan, "gtt") / 3);
    EXPECT_GT(cpu, plan.size() / 8);
    EXPECT_LT(cpu, plan.size() / 2);
}

TEST(BufferPlan, HasEachSizeInEachDomain) {
    // The smallest set that the shipped scenarios use.
    auto plan = plan_buffers({.seed = 5, .gtt_bytes = 640 * kMiB, .vram_bytes = 80 * kMiB});
    for (const std::string domain : {"gtt", "vram"})
        for (std::uint64_t bytes : {4096ull, 65536ull, 1ull << 20, 4ull << 20, 16ull << 20}) {
            bool found = false;
            for (const auto& b : plan) found |= b.domain == domain && b.bytes == bytes;
            EXPECT_TRUE(found) << bytes << " bytes in " << domain;
        }
}

TEST(BufferPlan, RefusesPartialPages) {
    EXPECT_THROW(plan_buffers({.seed = 1, .gtt_bytes = 100, .vram_bytes = 0}), std::invalid_argument);
}

}  // namespace
}  // namespace vttm::cli
