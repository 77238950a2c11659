// SPDX-License-Identifier: Apache-2.0
// The edges of the backup: no swap, swap that goes away meanwhile, signals during a restore.
#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <optional>
#include <sstream>
#include <thread>

#include "tests/guest/backup_test.h"

namespace vttm::guest::test {
namespace {

using Clock = std::chrono::steady_clock;

// swapoff(2) has to end within that; it takes a second or so under TCG.
constexpr unsigned kSwapoffSeconds = 60;

class EdgeTest : public BackupTest {
protected:
    // Pages in TTM's pools of free pages.
    std::int64_t pooled_pages() const {
        std::istringstream text(files.read("/sys/kernel/debug/ttm/page_pool"));
        std::int64_t pages = -1;
        for (std::string line; std::getline(text, line);) {
            if (const std::size_t at = line.find("\t:"); line.starts_with("total") &&
                                                         at != std::string::npos) {
                pages = std::max<std::int64_t>(pages, 0) + std::stoll(line.substr(at + 2));
            }
        }
        return pages;
    }
    std::string pool_shrinker() const {
        for (const std::string& name : files.list("/sys/kernel/debug/shrinker")) {
            if (name.starts_with("drm-ttm_pool")) {
                return "/sys/kernel/debug/shrinker/" + name;
            }
        }
        return {};
    }
};

TEST_P(EdgeTest, WithoutSwapOnlyCachesAreFreed) {
    KeepAndDrop two(8 * kMib);
    auto& [gpu, keep, drop] = two;
    {
        // Freed write-combined pages are kept in a pool.
        const Gpu::Bound pooled = gpu.create(4 * kMib, VTTM_DOMAIN_GTT, VTTM_CACHING_WC);
        gpu.stamp(pooled, 3);
    }
    for (int i = 0; i < 200 && pooled_pages() < 1024; ++i) {
        ::usleep(10'000);
    }
    ASSERT_GE(pooled_pages(), 1024) << "nothing in the pool";
    ASSERT_TRUE(drop.buffer.madvise(VTTM_MADV_DONTNEED));

    ASSERT_EQ(swap->off(kSwapoffSeconds), 0);
    const Stats backup_before = backup_stats();
    const Stats before = driver_stats(files);
    for (int i = 0; i < 8; ++i) {
        ASSERT_TRUE(shrink(files, 4096));
    }
    const Stats after = driver_stats(files);
    EXPECT_GT(after.at("shrink_calls"), before.at("shrink_calls"));
    EXPECT_EQ(drop.buffer.info().purged, 1u) << "what nobody needs is freed all the same";
    EXPECT_EQ(after.at("shrunk_pages") - before.at("shrunk_pages"), 512);
    EXPECT_EQ(backup_stats(), backup_before) << "something was backed up, or failed to be";
    // Not so much as moved: the device goes on using it where it is.
    EXPECT_EQ(keep.buffer.info().place, static_cast<std::uint32_t>(VTTM_PLACE_GTT));

    ASSERT_FALSE(pool_shrinker().empty());
    const std::int64_t pooled = pooled_pages();
    files.write(pool_shrinker() + "/scan", "0 0 100000\n");
    EXPECT_LT(pooled_pages(), pooled) << "the pool keeps its pages";

    ASSERT_EQ(swap->on(), 0);
    gpu.expect_stamped(keep, 1);
    // With swap the same shrinker takes it.
    ASSERT_TRUE(shrink(files, 4096));
    EXPECT_EQ(keep.buffer.info().place, static_cast<std::uint32_t>(VTTM_PLACE_BACKUP));
    gpu.expect_stamped(keep, 1);
}

TEST_P(EdgeTest, PurgeableContentIsNotBackedUp) {
    Gpu gpu;
    const Gpu::Bound drop = gpu.create(8 * kMib);
    gpu.stamp(drop, 1);
    ASSERT_TRUE(drop.buffer.madvise(VTTM_MADV_DONTNEED));
    const Stats accounts = driver_stats(files);
    EXPECT_GE(accounts.at("purgeable_pages"), 2048);
    const Stats before = backup_stats();
    for (int i = 0; i < 16 && drop.buffer.info().purged == 0; ++i) {
        ASSERT_TRUE(shrink(files, 1024));
    }
    EXPECT_EQ(drop.buffer.info().purged, 1u);
    EXPECT_EQ(backup_stats(), before);
    EXPECT_EQ(driver_stats(files).at("purgeable_pages"), accounts.at("purgeable_pages") - 2048);
    // It is a buffer of zeroes then.
    EXPECT_FALSE(drop.buffer.madvise(VTTM_MADV_WILLNEED));
    EXPECT_EQ(count_unequal(drop.buffer.map(), 0), 0u);
}

// A signal some time after it was asked for, that ends system calls.
class Alarm {
public:
    Alarm() {
        struct sigaction action = {};
        action.sa_handler = [](int) {
            ++rung_;
            if (on_ring != nullptr) {
                on_ring();
            }
        };
        ::sigaction(SIGALRM, &action, &old_);
    }
    ~Alarm() {
        after(std::chrono::microseconds(0));
        ::sigaction(SIGALRM, &old_, nullptr);
    }
    Alarm(const Alarm&) = delete;
    Alarm& operator=(const Alarm&) = delete;

    static void after(std::chrono::microseconds time) {
        itimerval timer = {};
        timer.it_value.tv_usec = time.count();
        ::setitimer(ITIMER_REAL, &timer, nullptr);
    }
    static int rung() { return rung_; }

    static inline void (*on_ring)() = nullptr;  // what else the handler does

private:
    static inline std::atomic<int> rung_ = 0;
    struct sigaction old_ = {};
};

TEST_P(EdgeTest, ASignalDuringARestoreLosesNothing) {
    constexpr int kInterruptions = 40;
    Gpu gpu;
    // One buffer: its restore is what has to be resumed.
    const Gpu::Bound big = gpu.create(64 * kMib);
    const Gpu::Bound result = gpu.create(kPage);
    int interrupted = 0;
    for (std::uint32_t generation = 1; generation <= 4; ++generation) {
        gpu.stamp(big, 1, generation);
        for (int i = 0; i < 32 && big.buffer.info().place != VTTM_PLACE_BACKUP; ++i) {
            ASSERT_TRUE(shrink(files, 16384));
        }
        ASSERT_EQ(big.buffer.info().place, static_cast<std::uint32_t>(VTTM_PLACE_BACKUP));
        // Reading is what one waits for.
        files.try_write("/sys/fs/cgroup/memory.reclaim", "128M");

        PacketBuilder packets;
        packets.stamp_verify(big.va(), {1, generation, 0, 64 * kMib / kPage, kKey}, result.va());
        const std::uint32_t handles[] = {big.buffer.handle(), result.buffer.handle()};
        drm_vttm_submit request = {};
        request.packets = reinterpret_cast<std::uintptr_t>(packets.dwords().data());
        request.num_dwords = static_cast<std::uint32_t>(packets.dwords().size());
        request.engine = VTTM_ENGINE_STAMP;
        request.bos = reinterpret_cast<std::uintptr_t>(handles);
        request.num_bos = 2;
        const Alarm alarm;
        int error = EINTR;
        for (int i = 0; error == EINTR && i < 1000; ++i) {
            // At another place each time; at last none, so that it ends.
            if (i < kInterruptions) {
                alarm.after(std::chrono::microseconds(200 + 700 * i));
            }
            error = ::ioctl(gpu.device.fd(), DRM_IOCTL_VTTM_SUBMIT, &request) == 0 ? 0 : errno;
            alarm.after(std::chrono::microseconds(0));
            interrupted += error == EINTR;
        }
        ASSERT_EQ(error, 0);
        const Job job(gpu.device, VTTM_ENGINE_STAMP, request.seqno);
        job.wait();
        gpu.expect_stamped(big, 1, generation);
    }
    EXPECT_GT(Alarm::rung(), 0);
    RecordProperty("interrupted", interrupted);
    EXPECT_GT(interrupted, 0) << "no submit was ever interrupted";
}

// What ttm had counted when the signal was handled. A handler runs before the access that faulted is done, or after it; in
// between only if the fault was broken off.
class CountingAlarm {
public:
    CountingAlarm() { Alarm::on_ring = read_stats; }
    ~CountingAlarm() { Alarm::on_ring = nullptr; }
    CountingAlarm(const CountingAlarm&) = delete;
    CountingAlarm& operator=(const CountingAlarm&) = delete;

    // Pages restored since ttm began, as of the last ring; nothing if it has not rung since the last call.
    static std::optional<std::int64_t> restored_pages() {
        const Stats stats = parse_name_value({text_, size_});
        size_ = 0;
        const auto it = stats.find("restored_pages");
        return it == stats.end() ? std::nullopt : std::optional(it->second);
    }

private:
    // In a signal handler: system calls only.
    static void read_stats() {
        const int error = errno;
        const int fd = ::open(kBackupStats, O_RDONLY | O_CLOEXEC);
        ssize_t got = 0;
        for (size_ = 0; (got = ::read(fd, text_ + size_, sizeof(text_) - size_)) > 0;) {
            size_ += static_cast<std::size_t>(got);
        }
        ::close(fd);
        errno = error;
    }

    static inline char text_[32 * 1024];
    static inline std::size_t size_ = 0;
    const Alarm alarm_;
};

TEST_P(EdgeTest, ASignalDuringAFaultLosesNothing) {
    constexpr int kAttempts = 24;
    constexpr std::uint64_t kPages = 32 * kMib / kPage;
    if (backup_stats().empty()) {
        GTEST_SKIP() << "this kernel does not count what it restores";
    }
    Gpu gpu;
    const Gpu::Bound big = gpu.create(32 * kMib);
    gpu.stamp(big, 1);
    const CountingAlarm alarm;
    int before_it = 0;
    int interrupted = 0;
    int after_it = 0;
    for (int i = 0; i < kAttempts && interrupted < 4; ++i) {
        for (int j = 0; j < 32 && big.buffer.info().place != VTTM_PLACE_BACKUP; ++j) {
            ASSERT_TRUE(shrink(files, 16384));
        }
        ASSERT_EQ(big.buffer.info().place, static_cast<std::uint32_t>(VTTM_PLACE_BACKUP));
        // Reading is what one waits for.
        files.try_write("/sys/fs/cgroup/memory.reclaim", "64M");
        const Mapping mapping = big.buffer.map();
        const std::int64_t start = backup_stats().at("restored_pages");
        CountingAlarm::restored_pages();
        const int rung = Alarm::rung();
        // The first access brings the whole buffer back. The signal comes at another moment each time.
        Alarm::after(std::chrono::microseconds(500 + 900 * i));
        const std::byte first = *static_cast<const volatile std::byte*>(mapping.data());
        for (int j = 0; j < 1000 && Alarm::rung() == rung; ++j) {
            ::usleep(1000);
        }
        ASSERT_GT(Alarm::rung(), rung);
        EXPECT_EQ(first, mapping.data()[0]);
        const auto restored = CountingAlarm::restored_pages();
        ASSERT_TRUE(restored.has_value());
        EXPECT_EQ(backup_stats().at("restored_pages") - start, static_cast<std::int64_t>(kPages));
        const std::int64_t pages = *restored - start;
        (pages == 0 ? before_it : pages < static_cast<std::int64_t>(kPages) ? interrupted : after_it) += 1;
        for (std::uint64_t page = 0; page < kPages; ++page) {
            const vttm_stamp_id expected{kKey, page, 1, 1};
            ASSERT_TRUE(vttm_stamp_check(mapping.data() + page * kPage, &expected)) << page;
        }
    }
    RecordProperty("before", before_it);
    RecordProperty("interrupted", interrupted);
    RecordProperty("after", after_it);
    EXPECT_GT(interrupted, 0) << before_it << " signals came before the restore, " << after_it
                              << " were not handled before its end";
    gpu.expect_stamped(big, 1);
}

TEST_P(EdgeTest, SwapoffUnderLoadLosesNothing) {
    const auto meminfo = parse_meminfo(files.read("/proc/meminfo"));
    if (meminfo.at("MemAvailable") < 256 * 1024) {
        GTEST_SKIP() << "without swap the buffers need 256 MiB";
    }
    Stamped buffers;
    buffers.create(48 * kMib, 2 * kMib);
    buffers.create(16 * kMib, 256 * 1024 + kPage, Domain::kGtt, Caching::kWc);
    buffers.fill(1);
    shrink_all(48 * 256);
    files.try_write("/sys/fs/cgroup/memory.reclaim", "64M");

    const Stats before = backup_stats();
    std::atomic<bool> stop = false;
    std::atomic<std::uint64_t> bad = 0;
    std::atomic<int> rounds = 0;
    std::thread shrinking([&] {
        while (!stop) {
            shrink(files, 4096);
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    });
    std::thread restoring([&] {
        try {
            while (!stop) {
                bad += buffers.count_bad(1, rounds % 2 == 0 ? Actor::kDevice : Actor::kCpu);
                ++rounds;
            }
        } catch (const std::exception& error) {
            std::fprintf(stderr, "%s\n", error.what());
            ++bad;
        }
    });
    // SIGALRM is for the main thread, which waits in swapoff.
    int error = 0;
    Clock::duration longest = {};
    // A slow guest may need more for two rounds of checks.
    for (int i = 0; (i < 4 || rounds < 2) && i < 40 && error == 0; ++i) {
        const Clock::time_point begin = Clock::now();
        error = swap->off(kSwapoffSeconds);
        longest = std::max(longest, Clock::now() - begin);
        EXPECT_FALSE(swap->is_on()) << "round " << i;
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        if (error == 0) {
            error = swap->on();
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(300));
    }
    stop = true;
    shrinking.join();
    restoring.join();
    EXPECT_EQ(error, 0) << (error == EINTR ? "swapoff does not end" : "");
    EXPECT_LT(longest, std::chrono::seconds(kSwapoffSeconds));
    RecordProperty("longest_swapoff_ms",
                   static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(longest).count()));
    EXPECT_GT(rounds, 1);
    EXPECT_EQ(bad, 0u);
    if (!before.empty()) {
        EXPECT_GT(backup_stats().at(pages_counter(GetParam())), before.at(pages_counter(GetParam())));
    }
    buffers.expect_intact(1, Actor::kDevice);
    buffers.expect_intact(1, Actor::kCpu);
}

INSTANTIATE_TEST_SUITE_P(Modes, EdgeTest, ::testing::ValuesIn(kModes),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vttm::guest::test
