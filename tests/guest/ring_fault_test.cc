// SPDX-License-Identifier: Apache-2.0
// Halves of tests of a device that fails (host-backend/cli/stages/ring_faults.cc): the host gives
// the device its fault plan when it reads "ready", and so the plan counts from what these do behind
// it. The driver looks at jobs that do not end once a second then.
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>
#include <vector>

#include "tests/guest/guest_test.h"

namespace vttm::guest::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

constexpr const char* kGo = "/tmp/ring-fault-go";
// Less than the time between two looks of the driver.
constexpr milliseconds kLook{500};

std::uint32_t first_word(const Mapping& mapping) {
    return *static_cast<volatile std::uint32_t*>(mapping.words().data());
}

class HostRingFaultTest : public GuestTest {
protected:
    static void ready() {
        std::puts("ready");
        std::fflush(stdout);
        const auto end = steady_clock::now() + seconds(60);
        while (!std::filesystem::exists(kGo)) {
            ASSERT_LT(steady_clock::now(), end) << "the host does not say go";
            std::this_thread::sleep_for(milliseconds(20));
        }
    }
    static Job start(const Gpu& from, std::uint32_t engine, const PacketBuilder& packets,
                     std::initializer_list<const Gpu::Bound*> buffers) {
        std::vector<std::uint32_t> handles;
        for (const Gpu::Bound* buffer : buffers) handles.push_back(buffer->buffer.handle());
        return submit(from.device, {engine, packets.dwords(), handles, 0, 0});
    }
    Job start(std::uint32_t engine, const PacketBuilder& packets,
              std::initializer_list<const Gpu::Bound*> buffers) {
        return start(gpu, engine, packets, buffers);
    }
    Job start_fill(const Gpu::Bound& buffer, std::uint32_t value) {
        return start(VTTM_ENGINE_COPY, PacketBuilder().fill(buffer.va(), buffer.size(), value),
                     {&buffer});
    }
    Job start_copy(const Gpu::Bound& to, const Gpu::Bound& from) {
        return start(VTTM_ENGINE_COPY, PacketBuilder().copy(to.va(), from.va(), from.size()),
                     {&to, &from});
    }
    static int error_of(const Job& job) { return job.result(Job::kDefaultTimeoutNs).error; }

    // Until the CPU sees @value there.
    static bool comes(const Mapping& mapping, std::uint32_t value) {
        const auto end = steady_clock::now() + seconds(20);
        while (first_word(mapping) != value) {
            if (steady_clock::now() > end) return false;
            std::this_thread::sleep_for(milliseconds(10));
        }
        return true;
    }

    Gpu gpu;
    const Gpu::Bound a = gpu.create(4 * kPage), b = gpu.create(4 * kPage),
                     c = gpu.create(4 * kPage);
    const Mapping in_a = a.buffer.map(), in_b = b.buffer.map(), in_c = c.buffer.map();
};

// The fence of the first of three jobs does not come. The others have run, once: the second one has
// copied what was there before the third.
TEST_F(HostRingFaultTest, LostFence) {
    gpu.fill(a, 1);
    ready();
    const Job first = start_fill(c, 9), second = start_copy(b, a), third = start_fill(a, 2);
    EXPECT_EQ(error_of(first), ECANCELED);
    EXPECT_EQ(error_of(second), 0);
    EXPECT_EQ(error_of(third), 0);
    EXPECT_EQ(count_unequal(in_b, 1), 0u);
    EXPECT_EQ(count_unequal(in_a, 2), 0u);
    // If it was only late, it comes now.
    for (std::uint32_t i = 0; i < 60; ++i) gpu.fill(a, i);
}

// Likewise, and the device stops in the middle of the second one: which cannot be begun anew, as it
// has overwritten what it has read.
TEST_F(HostRingFaultTest, LostFenceThenHang) {
    gpu.fill(a, 1);
    gpu.fill(b, 0);
    ready();
    const Job first = start_fill(c, 9);
    const Job second = start(VTTM_ENGINE_COPY,
                             PacketBuilder()
                                 .copy(b.va(), a.va(), a.size())
                                 .fill(a.va(), a.size(), 2)
                                 .copy(c.va(), a.va(), a.size()),
                             {&a, &b, &c});
    const Gpu::Bound d = gpu.create(kPage);
    const Job third = start_fill(d, 3);
    EXPECT_EQ(error_of(first), ECANCELED);
    EXPECT_EQ(error_of(second), ECANCELED);
    EXPECT_EQ(error_of(third), 0);
    EXPECT_EQ(count_unequal(in_b, 1), 0u);
    EXPECT_EQ(count_unequal(in_a, 2), 0u);
    EXPECT_EQ(count_unequal(in_c, 9), 0u);
    EXPECT_EQ(count_unequal(d.buffer.map(), 3), 0u);
}

// Likewise, and then the device resets itself, at a job of the other engine.
TEST_F(HostRingFaultTest, LostFenceThenReset) {
    gpu.fill(a, 1);
    const Gpu::Bound d = gpu.create(kPage);
    gpu.stamp(d, 1);
    ready();
    const Job first = start_fill(c, 9), second = start_copy(b, a), third = start_fill(a, 2);
    ASSERT_TRUE(comes(in_a, 2));
    std::this_thread::sleep_for(milliseconds(100));  // and its fence
    const Job other =
        start(VTTM_ENGINE_STAMP, PacketBuilder().stamp_write(d.va(), {2, 1, 0, 1, kKey}), {&d});
    EXPECT_EQ(error_of(other), ECANCELED);
    EXPECT_EQ(error_of(first), ECANCELED);
    EXPECT_EQ(error_of(second), 0);
    EXPECT_EQ(error_of(third), 0);
    EXPECT_EQ(count_unequal(in_b, 1), 0u);
    EXPECT_EQ(count_unequal(in_a, 2), 0u);
    gpu.expect_stamped(d, 1);
}

// The first packet, or FENCE, of an eviction fails, with a clear of the place that it leaves next
// to come, and jobs of others behind it. Nothing is lost: the content is read before it is
// overwritten, and those jobs run once.
TEST_F(HostRingFaultTest, MoveAmongJobs) {
    gpu.fill(a, 1);
    Gpu other;  // jobs of one file wait for each other
    const Gpu::Bound old = other.create(60 * kMib, VTTM_DOMAIN_VRAM);
    other.fill(old, 7);
    const Gpu::Bound fresh = other.create(60 * kMib, VTTM_DOMAIN_VRAM);
    ready();
    const std::int64_t jobs = driver_stats(files).at("jobs");
    // SUBMIT itself may wait for the eviction. Fills the last page only: the rest is what the
    // driver's clear leaves.
    std::thread evicts([&] {
        const PacketBuilder packets =
            PacketBuilder().fill(fresh.va() + fresh.size() - kPage, kPage, 8);
        EXPECT_EQ(error_of(start(other, VTTM_ENGINE_COPY, packets, {&fresh})), 0);
    });
    while (driver_stats(files).at("jobs") == jobs) std::this_thread::sleep_for(milliseconds(1));
    const Job second = start_copy(b, a), third = start_fill(a, 2);
    evicts.join();
    EXPECT_EQ(error_of(second), 0);
    EXPECT_EQ(error_of(third), 0);
    EXPECT_EQ(count_unequal(in_b, 1), 0u);
    EXPECT_EQ(count_unequal(in_a, 2), 0u);
    EXPECT_EQ(old.buffer.info().place, std::uint32_t{VTTM_PLACE_GTT}) << "not evicted";
    EXPECT_EQ(count_unequal(old.buffer.map(), 7), 0u);
    EXPECT_EQ(count_unequal(fresh.buffer.map(), 0), kPage / 4);
}

// The eviction does not come to its end, however often it is begun.
TEST_F(HostRingFaultTest, MoveThatNeverEnds) {
    const Gpu::Bound old = gpu.create(2 * kMib, VTTM_DOMAIN_VRAM);
    gpu.fill(old, 7);
    const Gpu::Bound fresh = gpu.create(62 * kMib, VTTM_DOMAIN_VRAM);  // not both: the first page is the driver's
    ready();
    gpu.fill(fresh, 8);
    EXPECT_EQ(count_unequal(fresh.buffer.map(), 8), 0u);
    EXPECT_EQ(count_unequal(old.buffer.map(), 0), 0u);
    EXPECT_EQ(old.buffer.info().purged, 1u);
    gpu.fill(old, 9);
    EXPECT_EQ(count_unequal(old.buffer.map(), 9), 0u);
}

// The device stops in the middle of a packet.
TEST_F(HostRingFaultTest, HangInAFill) {
    const Gpu::Bound large = gpu.create(2 * kMib), copy = gpu.create(2 * kMib);
    gpu.fill(large, 1);
    ready();
    const Job first = start_fill(large, 2), second = start_copy(copy, large);
    EXPECT_EQ(error_of(first), ECANCELED);
    EXPECT_EQ(error_of(second), 0);
    const Mapping seen = copy.buffer.map();
    constexpr std::uint32_t kDone = 3 * 256 * 1024 / 4;  // docs/faults.md: a chunk
    EXPECT_EQ(count_unequal(seen, 1), kDone);
    EXPECT_EQ(seen.words()[kDone - 1], 2u);
    EXPECT_EQ(seen.words()[kDone], 1u);
}

// A fence that comes before its job has begun: the CPU finds what was there before. When it comes
// once more, it is nobody's.
TEST_F(HostRingFaultTest, EarlyFence) {
    gpu.fill(a, 1);
    ready();
    EXPECT_EQ(error_of(start_fill(a, 2)), 0);
    EXPECT_EQ(first_word(in_a), 1u) << "it was not early";
    EXPECT_TRUE(comes(in_a, 2));
    for (std::uint32_t i = 3; i < 20; ++i) gpu.fill(a, i);
    EXPECT_EQ(count_unequal(in_a, 19), 0u);
}

// A page that is written behind the fence, and on top of what a later job has written: both are
// seen.
TEST_F(HostRingFaultTest, LateWrite) {
    gpu.fill(a, 1);
    ready();
    EXPECT_EQ(error_of(start_fill(a, 2)), 0);
    EXPECT_EQ(count_unequal(in_a, 2), kPage / 4) << "nothing is missing";
    EXPECT_EQ(first_word(in_a), 1u);
    EXPECT_EQ(error_of(start_fill(a, 3)), 0);
    EXPECT_TRUE(comes(in_a, 2)) << "the late one did not come";
    EXPECT_EQ(count_unequal(in_a, 3), kPage / 4);
    gpu.fill(a, 4);
    EXPECT_EQ(count_unequal(in_a, 4), 0u);
}

// A job that takes longer than the driver's patience, but gets on.
TEST_F(HostRingFaultTest, SlowEngine) {
    const Gpu::Bound large = gpu.create(16 * kMib);
    gpu.fill(large, 1);
    ready();
    const auto begin = steady_clock::now();
    gpu.fill(large, 2);
    EXPECT_GT(steady_clock::now() - begin, seconds(3)) << "who is slow?";
    EXPECT_EQ(count_unequal(large.buffer.map(), 2), 0u);
}

// No interrupt comes at all: jobs end when the driver looks.
TEST_F(HostRingFaultTest, NoInterrupts) {
    gpu.fill(a, 1);
    ready();
    const auto begin = steady_clock::now();
    const Job first = start_fill(c, 9), second = start_copy(b, a), third = start_fill(a, 2);
    EXPECT_EQ(error_of(first), 0);
    EXPECT_EQ(error_of(second), 0);
    EXPECT_EQ(error_of(third), 0);
    EXPECT_GT(steady_clock::now() - begin, kLook) << "somebody told";
    EXPECT_EQ(count_unequal(in_b, 1), 0u);
    EXPECT_EQ(count_unequal(in_a, 2), 0u);
}

// The ring halts, and no interrupt tells.
TEST_F(HostRingFaultTest, HaltWithoutInterrupt) {
    gpu.fill(a, 1);
    ready();
    const auto begin = steady_clock::now();
    const Job first = start_fill(c, 9), second = start_copy(b, a);
    EXPECT_EQ(error_of(first), ECANCELED);
    EXPECT_EQ(error_of(second), 0);
    EXPECT_GT(steady_clock::now() - begin, kLook) << "somebody told";
    EXPECT_EQ(count_unequal(in_b, 1), 0u);
    EXPECT_EQ(count_unequal(in_c, 9), in_c.words().size());
}

}  // namespace
}  // namespace vttm::guest::test
