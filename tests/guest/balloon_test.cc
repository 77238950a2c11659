// SPDX-License-Identifier: Apache-2.0
// Half of a test of the VRAM balloon: the host takes VRAM and gives it back while this works
// (host-backend/cli/stages/balloon_cases.cc).
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "tests/guest/guest_test.h"

namespace vttm::guest::test {
namespace {

constexpr const char* kEnd = "/tmp/host-is-done";

// What each page of a mapping says: whose it is, and in which round.
std::uint64_t mark(std::uint64_t buffer, std::uint64_t page, std::uint64_t round) {
    return round << 32 | buffer << 16 | page;
}

class HostBalloonTest : public GuestTest {};

// A CPU writes and reads buffers in VRAM through its mappings; each round meets what the one before
// has written, wherever the pages are now.
TEST_F(HostBalloonTest, MappedVramStaysWhole) {
    Gpu gpu;
    std::vector<Gpu::Bound> buffers;
    std::vector<Mapping> mappings;
    for (int i = 0; i < 12; ++i) {
        buffers.push_back(gpu.create(2 * kMib, VTTM_DOMAIN_VRAM, VTTM_CACHING_WC));
        gpu.fill(buffers.back(), 0);
        mappings.push_back(buffers.back().buffer.map());
    }
    std::uint64_t rounds = 0, wrong = 0;
    const Stats before = driver_stats(files);
    // The host may be quicker than a round.
    for (; (!std::filesystem::exists(kEnd) || rounds < 3) && wrong == 0; ++rounds) {
        for (std::size_t b = 0; b < mappings.size(); ++b)
            for (std::uint64_t page = 0; page < buffers[b].size() / kPage; ++page) {
                auto* word =
                    reinterpret_cast<volatile std::uint64_t*>(mappings[b].data() + page * kPage);
                wrong += *word != (rounds ? mark(b, page, rounds) : 0);
                *word = mark(b, page, rounds + 1);
            }
        if (rounds == 0) {
            std::puts("at work");
            std::fflush(stdout);
        }
        // The device brings back what it can.
        for (const auto& buffer : buffers)
            wrong += gpu.run(VTTM_ENGINE_COPY, PacketBuilder().nop(), {&buffer}).error != 0;
    }
    EXPECT_EQ(wrong, 0u) << "in round " << rounds;
    const Stats after = driver_stats(files);
    // Two of them fit in what is left (kSmallVramMib).
    EXPECT_GE(after.at("moves_vram_gtt"), before.at("moves_vram_gtt") + 10) << "who was evicted?";
    EXPECT_GT(after.at("moves_gtt_vram"), before.at("moves_gtt_vram")) << "nothing came back";
}

// What does not fit in the VRAM that is left is refused with a reason, and works again when it fits.
TEST_F(HostBalloonTest, WhatDoesNotFitIsRefusedAndNotLost) {
    Gpu gpu;
    const Gpu::Bound large = gpu.create(8 * kMib, VTTM_DOMAIN_VRAM);
    const Gpu::Bound small = gpu.create(kMib, VTTM_DOMAIN_VRAM);
    gpu.stamp(large, 1);
    gpu.stamp(small, 2);
    const auto limit = [&] { return driver_stats(files).at("vram_limit"); };
    const auto wait_for = [&](auto condition) {
        for (int i = 0; i < 1200 && !condition(); ++i)
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
        return condition();
    };
    std::puts("at work");
    std::fflush(stdout);
    ASSERT_TRUE(wait_for([&] { return limit() <= static_cast<std::int64_t>(6 * kMib); }));
    for (int i = 0; i < 3; ++i) {
        const int error = gpu.submit_errno(VTTM_ENGINE_COPY, PacketBuilder().nop(), {&large});
        EXPECT_EQ(error, ENOSPC);
        gpu.expect_stamped(small, 2);
    }
    const Gpu::Bound other = gpu.create(kMib, VTTM_DOMAIN_VRAM);
    gpu.stamp(other, 3);
    gpu.expect_stamped(other, 3);
    std::puts("refused");
    std::fflush(stdout);
    ASSERT_TRUE(wait_for([&] { return limit() > static_cast<std::int64_t>(16 * kMib); }));
    gpu.expect_stamped(large, 1);
    gpu.expect_stamped(small, 2);
    gpu.expect_stamped(other, 3);
}

}  // namespace
}  // namespace vttm::guest::test
