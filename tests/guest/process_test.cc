// SPDX-License-Identifier: Apache-2.0
// Time and concurrency: waiting, sync objects, files closed with jobs in flight, many processes.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <thread>
#include <vector>

#include "guest-driver/libvttm/agent/buffer_set.h"
#include "guest-driver/libvttm/agent/drm_backend.h"
#include "tests/guest/guest_test.h"

namespace vttm::guest::test {
namespace {

using Clock = std::chrono::steady_clock;

class TimeTest : public GuestTest {
protected:
    // Work that the device is busy with for long against a system call: `rounds` copies of
    // 16 MiB.
    struct LongWork {
        explicit LongWork(Gpu& gpu)
            : a(gpu.create(kEach, VTTM_DOMAIN_VRAM)), b(gpu.create(kEach, VTTM_DOMAIN_VRAM)) {}

        Job start(Gpu& gpu, int rounds, std::uint32_t syncobj_out = 0) const {
            PacketBuilder packets;
            for (int i = 0; i < rounds; ++i) {
                packets.copy(b.va(), a.va(), a.size());
            }
            const std::array handles = {a.buffer.handle(), b.buffer.handle()};
            return submit(gpu.device,
                          {VTTM_ENGINE_COPY, packets.dwords(), handles, 0, syncobj_out});
        }

        // Both fit a small device's VRAM with room to spare.
        static constexpr std::uint64_t kEach = 16 * kMib;

        Gpu::Bound a;
        Gpu::Bound b;
    };
};

TEST_F(TimeTest, WaitKeepsToItsTime) {
    Gpu gpu;
    const LongWork work(gpu);
    gpu.fill(work.a, 1);
    gpu.fill(work.b, 2);
    const Job job = work.start(gpu, 128);
    EXPECT_EQ(job.result(0).error, ETIME);
    const Clock::time_point begin = Clock::now();
    const int error = job.result(2'000'000).error;
    const auto waited = Clock::now() - begin;
    EXPECT_EQ(error, ETIME);
    EXPECT_GE(waited, std::chrono::milliseconds(2));
    EXPECT_LT(waited, std::chrono::seconds(2));
    EXPECT_EQ(job.result(-1).error, 0);
    EXPECT_EQ(job.result(0).error, 0) << "a done job stays done";
    EXPECT_EQ(count_unequal(work.b.buffer.map(), 1), 0u);
}

TEST_F(TimeTest, SyncobjIsSignalledAtTheEnd) {
    Gpu gpu;
    const LongWork work(gpu);
    const Syncobj done(gpu.device);
    const Job job = work.start(gpu, 128, done.handle());
    EXPECT_FALSE(done.wait(0));
    EXPECT_TRUE(done.wait(Job::kDefaultTimeoutNs));
    EXPECT_EQ(job.result(0).error, 0);
}

TEST_F(TimeTest, AJobWaitsForItsSyncobj) {
    Gpu gpu;
    const LongWork work(gpu);
    const Gpu::Bound target = gpu.create(kPage);
    gpu.fill(work.a, 0x11);
    gpu.fill(work.b, 0x22);
    const Syncobj copied(gpu.device);
    work.start(gpu, 64, copied.handle());
    // On the other engine, so that only the sync object orders the two.
    PacketBuilder packets;
    packets.stamp_write(target.va(), {1, 1, 0, 1, kKey});
    const std::array handles = {target.buffer.handle()};
    const Job after =
        submit(gpu.device, {VTTM_ENGINE_STAMP, packets.dwords(), handles, copied.handle(), 0});
    after.wait();
    EXPECT_TRUE(copied.wait(0)) << "ran before what it had to wait for";
}

TEST_F(TimeTest, FilesMayBeClosedWithJobsInFlight) {
    for (int round = 0; round < 4; ++round) {
        Gpu gpu;
        const LongWork work(gpu);
        for (int i = 0; i < 4; ++i) {
            work.start(gpu, 8);
        }
    }
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(kMib, VTTM_DOMAIN_VRAM);
    gpu.fill(buffer, 5);
    EXPECT_EQ(count_unequal(buffer.buffer.map(), 5), 0u);
}

TEST_F(TimeTest, AProcessMayBeKilledWithJobsInFlight) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        Gpu gpu;
        const LongWork work(gpu);
        for (int i = 0; i < 8; ++i) {
            work.start(gpu, 16);
        }
        ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status));
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(kMib, VTTM_DOMAIN_VRAM);
    gpu.fill(buffer, 6);
}

class ConcurrencyTest : public GuestTest {
protected:
    // One user of the GPU: fills and checks its own buffers. Returns the number of bad pages, or
    // -1.
    static long use_gpu(std::uint32_t who, int rounds) {
        try {
            DrmBackend gpu;
            BufferSet buffers(gpu);
            std::vector<BufferRequest> requests;
            for (std::uint32_t i = 0; i < 12; ++i) {
                requests.push_back({who * 100 + i, (i % 3 + 1) * 256 * 1024 + kPage,
                                    i % 2 ? Domain::kVram : Domain::kGtt,
                                    i % 4 < 2 ? Caching::kWb : Caching::kWc});
            }
            buffers.create(requests);
            const auto quiet = [](std::uint64_t, std::uint64_t) {};
            long bad = 0;
            for (int round = 1; round <= rounds; ++round) {
                const auto generation = static_cast<std::uint32_t>(round);
                const Actor writer = round % 3 == 0 ? Actor::kCpu : Actor::kDevice;
                const Actor reader = round % 2 == 0 ? Actor::kCpu : Actor::kDevice;
                buffers.fill({std::nullopt, generation, kKey + who, writer}, quiet);
                const VerifyResult found =
                    buffers.verify({std::nullopt, generation, kKey + who, reader, false}, quiet);
                bad += static_cast<long>(found.pages - found.good);
            }
            return bad;
        } catch (const std::exception& error) {
            std::fprintf(stderr, "user %u: %s\n", who, error.what());
            return -1;
        }
    }
};

TEST_F(ConcurrencyTest, ProcessesDoNotDisturbEachOther) {
    std::vector<pid_t> children;
    for (std::uint32_t who = 1; who <= 4; ++who) {
        const pid_t child = ::fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            ::_exit(use_gpu(who, 4) == 0 ? 0 : 1);
        }
        children.push_back(child);
    }
    for (const pid_t child : children) {
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "child " << child;
    }
}

TEST_F(ConcurrencyTest, BuffersStayIntactWhileTheShrinkerRuns) {
    if (find_shrinker_debugfs(files).empty()) {
        GTEST_SKIP() << "no shrinker of vttm in debugfs";
    }
    std::atomic<bool> stop = false;
    std::thread shrinking([&] {
        while (!stop) {
            shrink(files, 512);
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    });
    const long bad = use_gpu(7, 6);
    stop = true;
    shrinking.join();
    EXPECT_EQ(bad, 0);
}

TEST_F(ConcurrencyTest, ThreadsShareOneFile) {
    Gpu gpu;
    std::vector<Gpu::Bound> buffers;
    for (int i = 0; i < 4; ++i) {
        buffers.push_back(gpu.create(kMib, i % 2 ? VTTM_DOMAIN_VRAM : VTTM_DOMAIN_GTT));
    }
    std::atomic<int> failures = 0;
    std::vector<std::thread> threads;
    for (std::uint32_t who = 0; who < buffers.size(); ++who) {
        threads.emplace_back([&, who] {
            const Gpu::Bound& buffer = buffers[who];
            for (std::uint32_t round = 0; round < 25; ++round) {
                const JobResult done =
                    gpu.run(VTTM_ENGINE_COPY,
                            PacketBuilder().fill(buffer.va(), buffer.size(), round), {&buffer});
                failures += done.error != 0 || count_unequal(buffer.buffer.map(), round) != 0;
            }
        });
    }
    for (std::thread& thread : threads) {
        thread.join();
    }
    EXPECT_EQ(failures, 0);
}

}  // namespace
}  // namespace vttm::guest::test
