// SPDX-License-Identifier: Apache-2.0
// VRAM that loses its content while buffers are there: who has them is told so, and nobody else loses
// anything. Halves of tests: see host-backend/cli/stages/power_cases.cc.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <thread>

#include "tests/guest/backup_test.h"

namespace vttm::guest::test {
namespace {

namespace fs = std::filesystem;

void say(const char* words) {
    std::puts(words);
    std::fflush(stdout);
}

// A process of its own that has memory, so that the OOM killer, should it come, comes for that one.
class Hog {
public:
    explicit Hog(const SystemFiles& files) : files_(files) {}
    ~Hog() { end(); }

    // Takes memory until so much is available. It keeps it until end().
    void take_all_but(std::uint64_t bytes) {
        int ready[2];
        ASSERT_EQ(pipe(ready), 0);
        pid_ = fork();
        if (pid_ == 0) {
            files_.try_write("/proc/self/oom_score_adj", "1000\n");
            while (available() > bytes) {
                void* piece = mmap(nullptr, kMib, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
                if (piece == MAP_FAILED) break;
                std::memset(piece, 0x5a, kMib);
            }
            (void)!write(ready[1], "x", 1);
            for (;;) pause();
        }
        close(ready[1]);
        char byte;
        EXPECT_EQ(read(ready[0], &byte, 1), 1);
        close(ready[0]);
    }
    bool lives() const { return pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == 0; }
    void end() {
        if (pid_ <= 0) return;
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
        pid_ = -1;
    }

private:
    std::uint64_t available() const {
        return static_cast<std::uint64_t>(
                   parse_meminfo(files_.read("/proc/meminfo")).at("MemAvailable")) *
               1024;
    }
    const SystemFiles& files_;
    pid_t pid_ = -1;
};

class HostVramLossTest : public GuestTest {
protected:
    static constexpr std::uint64_t kEach = 2 * kMib;

    struct Owned {
        Gpu::Bound bound;
        std::uint32_t id;
    };

    void SetUp() override {
        GuestTest::SetUp();
        pci_ = fs::canonical("/sys/class/drm" / fs::path(Device::find_node()).filename() / "device").string();
    }
    void reset_by(const char* method) const {
        files.write(pci_ + "/reset_method", std::string(method) + "\n");
        files.write(pci_ + "/reset", "1\n");
        files.write(pci_ + "/reset_method", "default\n");
    }
    static void wait_for_the_host() {
        while (!fs::exists("/tmp/host-is-done"))
            std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    std::int64_t stat(const char* name) const { return driver_stats(files).at(name); }

    std::vector<Owned> create(Gpu& gpu, int count) const {
        std::vector<Owned> all;
        for (int i = 0; i < count; ++i) {
            all.push_back({gpu.create(kEach, VTTM_DOMAIN_VRAM), static_cast<std::uint32_t>(i + 1)});
            gpu.stamp(all.back().bound, all.back().id);
        }
        return all;
    }
    // Each is whole, or of zeroes and said to be so. How many are lost.
    static int count_lost(Gpu& gpu, const std::vector<Owned>& all) {
        int lost = 0;
        for (const Owned& one : all) {
            if (one.bound.buffer.info().purged) {
                const Mapping mapping = one.bound.buffer.map();
                EXPECT_EQ(count_unequal(mapping, 0), 0u);
                EXPECT_FALSE(one.bound.buffer.madvise(VTTM_MADV_WILLNEED));
                lost++;
            } else {
                gpu.expect_stamped(one.bound, one.id);
            }
        }
        return lost;
    }
    // It is one like any other again.
    static void expect_usable(Gpu& gpu, const std::vector<Owned>& all) {
        for (const Owned& one : all) {
            gpu.stamp(one.bound, one.id, 2);
            EXPECT_FALSE(one.bound.buffer.info().purged);
        }
        for (const Owned& one : all) gpu.expect_stamped(one.bound, one.id, 2);
    }

    // Jobs take long from when the host says so: one of them keeps its buffer in VRAM while the function is reset.
    void reset_beside_a_slow_job(const char* method, int lost) {
        Gpu gpu;
        const std::vector<Owned> idle = create(gpu, 4);
        const std::vector<Owned> busy = create(gpu, 1);
        const Gpu::Bound result = gpu.create(kPage);
        const Mapping seen = busy[0].bound.buffer.map();
        ASSERT_NE(count_unequal(seen, 0), 0u);
        const std::int64_t losses = stat("vram_losses");
        say("at work");
        wait_for_the_host();

        const Gpu::Bound& slow = busy[0].bound;
        PacketBuilder packets;
        for (int i = 0; i < 40; ++i)
            packets.stamp_verify(slow.va(), {busy[0].id, 1, 0, kEach / kPage, kKey}, result.va());
        const std::uint32_t handles[] = {slow.buffer.handle(), result.buffer.handle()};
        const Job job =
            submit(gpu.device, {VTTM_ENGINE_STAMP, packets.dwords(), handles, 0, 0});
        PacketBuilder nop;
        nop.nop();
        const Job behind = submit(gpu.device, {VTTM_ENGINE_COPY, nop.dwords(), std::span(handles, 1), 0, 0});
        reset_by(method);

        EXPECT_EQ(job.result(Job::kDefaultTimeoutNs).error, ECANCELED);
        EXPECT_EQ(behind.result(Job::kDefaultTimeoutNs).error, lost ? ENODATA : 0);
        EXPECT_EQ(stat("vram_losses"), losses + lost);
        // Also who had it mapped, and looks at nothing else.
        if (lost) EXPECT_EQ(count_unequal(seen, 0), 0u);
        EXPECT_EQ(count_lost(gpu, idle), 0);
        EXPECT_EQ(count_lost(gpu, busy), lost);
        expect_usable(gpu, busy);
    }

    // Neither RAM nor swap for what is in VRAM.
    void reset_with_full_ram(const char* method, bool keeps) {
        Gpu gpu;
        const std::vector<Owned> all = create(gpu, 28);
        Swap swap(files);
        ASSERT_EQ(swap.off(60), 0);
        files.write("/proc/sys/vm/drop_caches", "3\n");
        const std::int64_t moved = stat("moves_vram_gtt");
        const std::int64_t losses = stat("vram_losses");
        say("at work");
        {
            Hog hog(files);
            hog.take_all_but(24 * kMib);  // with half of that the OOM killer came once, for this process, too
            reset_by(method);
            EXPECT_TRUE(hog.lives()) << "somebody was killed for a reset";
        }
        EXPECT_EQ(swap.on(), 0);
        const std::int64_t stayed = 28 - (stat("moves_vram_gtt") - moved);
        EXPECT_GT(stayed, 0) << "RAM was not full";
        EXPECT_EQ(stat("vram_losses"), losses + !keeps);
        const int lost = count_lost(gpu, all);
        std::printf("%d of 28 buffers stayed, %d are lost\n", static_cast<int>(stayed), lost);
        EXPECT_EQ(lost, keeps ? 0 : stayed);
        expect_usable(gpu, all);
    }

private:
    std::string pci_;
};

TEST_F(HostVramLossTest, APowerResetBesideASlowJob) { reset_beside_a_slow_job("pm", 1); }
TEST_F(HostVramLossTest, AFunctionResetBesideASlowJob) { reset_beside_a_slow_job("flr", 0); }
TEST_F(HostVramLossTest, APowerResetWithFullRam) { reset_with_full_ram("pm", false); }
TEST_F(HostVramLossTest, AFunctionResetWithFullRam) { reset_with_full_ram("flr", true); }

// The device leaves the bus and is back before anybody has looked; VRAM has been without power meanwhile.
TEST_F(HostVramLossTest, AwayAndBack) {
    Gpu gpu;
    const std::vector<Owned> all = create(gpu, 4);
    const Gpu::Bound in_ram = gpu.create(kEach);
    gpu.stamp(in_ram, 9);
    const std::int64_t losses = stat("vram_losses");
    say("at work");
    wait_for_the_host();
    // Somebody looks.
    EXPECT_EQ(gpu.run(VTTM_ENGINE_COPY, PacketBuilder().nop(), {&all[0].bound}).error, ENODATA);
    EXPECT_EQ(stat("vram_losses"), losses + 1);
    for (int i = 0; i < 500 && !all.back().bound.buffer.info().purged; ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(count_lost(gpu, all), 4);
    gpu.expect_stamped(in_ram, 9);
    expect_usable(gpu, all);
}

// The same with VRAM as it was.
TEST_F(HostVramLossTest, AwayAndBackWithVram) {
    Gpu gpu;
    const std::vector<Owned> all = create(gpu, 4);
    const std::int64_t losses = stat("vram_losses"), resets = stat("device_resets");
    say("at work");
    wait_for_the_host();
    gpu.run(VTTM_ENGINE_COPY, PacketBuilder().nop(), {&all[0].bound});
    EXPECT_EQ(count_lost(gpu, all), 0);
    EXPECT_EQ(stat("vram_losses"), losses);
    EXPECT_EQ(stat("device_resets"), resets + 1) << "nobody has noticed";
}

}  // namespace
}  // namespace vttm::guest::test
