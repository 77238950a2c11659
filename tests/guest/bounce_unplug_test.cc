// SPDX-License-Identifier: Apache-2.0
// Where DMA goes through bounce buffers all that the device reaches is memory of its bus: buffers, page tables,
// and what TTM's pool keeps for the next buffer. It goes with the device, not with the last file. Kernels with
// DMA debugging complain of what does not (and so the stage fails); here it is counted, on any kernel. Runs in
// the machine of bounce_test.cc.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/guest/plug_test.h"

namespace vttm::guest::test {
namespace {

constexpr std::uint64_t kEach = 12 * kMib;
constexpr std::uint32_t kCachings[] = {VTTM_CACHING_WB, VTTM_CACHING_WC, VTTM_CACHING_UC};

bool wait_until(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(2);
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return true;
}

class BounceUnplugTest : public PlugTest {
protected:
    void SetUp() override {
        PlugTest::SetUp();
        if (HasFatalFailure()) return;
        ASSERT_EQ(driver_stats(files).at("coherent_pages"), 1);
    }
    std::int64_t free_bytes() const {
        return parse_meminfo(files.read("/proc/meminfo")).at("MemFree") * 1024;
    }
    // In the pools of TTM, those of all devices.
    std::int64_t pooled_bytes() const {
        std::istringstream text(files.read("/sys/kernel/debug/ttm/page_pool"));
        std::int64_t pages = 0;
        for (std::string line; std::getline(text, line);) {
            const std::size_t colon = line.find(':');
            if (line.starts_with("total node") && colon != std::string::npos)
                pages += std::stoll(line.substr(colon + 1));
        }
        return pages * static_cast<std::int64_t>(kPage);
    }
    // Buffers of each caching that the device has written, and that are no more.
    void fill_pool() const {
        const std::int64_t before = pooled_bytes();
        {
            Gpu gpu;
            std::vector<Gpu::Bound> buffers;
            for (const std::uint32_t caching : kCachings) {
                buffers.push_back(gpu.create(kEach, VTTM_DOMAIN_GTT, caching));
                gpu.stamp(buffers.back(), 1);
            }
        }
        ASSERT_TRUE(wait_until([&] { return pooled_bytes() >= before + std::int64_t{3 * kEach}; }));
    }
};

// Who has the device open: buffers in GTT and VRAM, and one in swap, each seen by the device, some by the CPU.
struct Holder {
    Gpu gpu;
    std::vector<Gpu::Bound> buffers;
    std::vector<Mapping> mappings;

    void take() {
        for (const std::uint32_t caching : kCachings) {
            buffers.push_back(gpu.create(kEach, VTTM_DOMAIN_GTT, caching));
            gpu.stamp(buffers.back(), 1);
            mappings.push_back(buffers.back().buffer.map());
            mappings.back().words()[0] = 7;
        }
        buffers.push_back(gpu.create(4 * kMib, VTTM_DOMAIN_VRAM));
        gpu.stamp(buffers.back(), 2);
        // Nobody has looked through this one before the device goes.
        mappings.push_back(buffers[0].buffer.map());
    }
    void expect_gone() {
        EXPECT_EQ(gpu.submit_errno(VTTM_ENGINE_COPY,
                                   PacketBuilder().fill(buffers[0].va(), kPage, 1), {&buffers[0]}),
                  ENODEV);
        EXPECT_THROW(gpu.create(kPage), Error);
        EXPECT_EQ(gpu.vm.try_map(buffers[0].buffer.handle(), 1ull << 40), ENODEV);
        for (const Gpu::Bound& buffer : buffers) EXPECT_THROW(buffer.buffer.info(), Error);
    }
    // Memory still, but nobody else's.
    void scribble() const {
        for (const Mapping& mapping : mappings) {
            std::ranges::fill(mapping.words(), 0xbadu);
            EXPECT_EQ(count_unequal(mapping, 0xbad), 0u);
        }
    }
};

TEST_F(BounceUnplugTest, MemoryGoesWithTheDevice) {
    constexpr std::int64_t kSlack = 8 * kMib;
    auto old = std::make_unique<Holder>();
    old->buffers.push_back(old->gpu.create(kMib));
    old->gpu.stamp(old->buffers[0], 9);
    ASSERT_TRUE(shrink(files, 256));
    ASSERT_EQ(old->buffers[0].buffer.info().place, std::uint32_t{VTTM_PLACE_BACKUP});
    old->take();
    fill_pool();
    ASSERT_FALSE(HasFatalFailure());

    const std::int64_t free = free_bytes();
    const std::int64_t pooled = pooled_bytes();
    unbind();
    EXPECT_GE(free_bytes() - free, std::int64_t{6 * kEach} - kSlack);
    EXPECT_LE(pooled_bytes(), pooled - std::int64_t{3 * kEach});
    old->expect_gone();
    old->scribble();

    bind();
    Gpu gpu;
    std::vector<Gpu::Bound> buffers;
    for (const std::uint32_t caching : kCachings) {
        buffers.push_back(gpu.create(kEach, VTTM_DOMAIN_GTT, caching));
        gpu.stamp(buffers.back(), 3);
    }
    old->expect_gone();
    old->scribble();
    for (const Gpu::Bound& buffer : buffers) gpu.expect_stamped(buffer, 3);
    old.reset();
    for (const Gpu::Bound& buffer : buffers) gpu.expect_stamped(buffer, 3);
}

// What a thread has done until its device was gone, which is how it has to end.
struct Work {
    std::atomic<int> jobs = 0;
    std::atomic<int> gone = 0;

    template <typename Step>
    void until_gone(Step step) {
        try {
            for (;; ++jobs) step();
        } catch (const Error& error) {
            if (error.error() != ENODEV) ADD_FAILURE() << error.what();
            ++gone;
        }
    }
};

void run_fill(Gpu& gpu, const Gpu::Bound& buffer) {
    const JobResult done = gpu.run(VTTM_ENGINE_COPY,
                                   PacketBuilder().fill(buffer.va(), buffer.size(), 1), {&buffer});
    if (done.error != 0) throw Error(done.error, "job");
}

// While it is swapped out and comes back, freed to the pool and taken from there, and mapped.
TEST_F(BounceUnplugTest, UnboundWhileMemoryComesAndGoes) {
    for (int round = 0; round < 3; ++round) {
        Work back, fresh, mapped;
        std::atomic<bool> stop = false;
        const std::int64_t swapped = driver_stats(files).at("swapout_pages");
        const std::string shrinker = find_shrinker_debugfs(files);
        ASSERT_NE(shrinker, "");
        std::thread threads[] = {
            std::thread([&] {
                Gpu gpu;
                std::vector<Gpu::Bound> buffers;
                back.until_gone([&] {
                    if (buffers.size() < 8) buffers.push_back(gpu.create(4 * kMib));
                    for (const Gpu::Bound& buffer : buffers) run_fill(gpu, buffer);
                });
            }),
            std::thread([&] {
                Gpu gpu;
                fresh.until_gone([&] {
                    run_fill(gpu, gpu.create(2 * kMib, VTTM_DOMAIN_GTT, kCachings[fresh.jobs % 3]));
                });
            }),
            std::thread([&] {
                Gpu gpu;
                const Gpu::Bound buffer = gpu.create(4 * kMib);
                const Mapping mapping = buffer.buffer.map();
                mapped.until_gone([&] {
                    std::ranges::fill(mapping.words(), 0xbadu);
                    buffer.buffer.info();
                });
            }),
            std::thread([&] {
                while (!stop) {
                    files.try_write(shrinker + "/scan", "0 0 2048");
                    files.try_read_line("/sys/kernel/debug/ttm/page_pool_shrink");
                }
            })};
        EXPECT_TRUE(wait_until([&] {
            return back.gone + fresh.gone + mapped.gone > 0 ||
                   (back.jobs >= 10 && fresh.jobs >= 10 && mapped.jobs >= 10 &&
                    driver_stats(files).at("swapout_pages") > swapped);
        }));
        unbind();
        for (std::thread& thread : std::span(threads, 3)) thread.join();
        stop = true;
        threads[3].join();
        EXPECT_EQ(back.gone + fresh.gone + mapped.gone, 3);
        bind();
    }
}

}  // namespace
}  // namespace vttm::guest::test
