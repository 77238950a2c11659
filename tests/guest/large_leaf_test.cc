// SPDX-License-Identifier: Apache-2.0
// Leaves of 64 KiB and 2 MiB: that the driver uses them where it can, and only there, and that
// buffers behind them stay whole through unmapping, eviction and swap. Fault reports. The planted
// bug that the stale detector is there for.
#include <gtest/gtest-spi.h>

#include <fmt/format.h>

#include "tests/guest/guest_test.h"

namespace vttm::guest::test {
namespace {

constexpr std::uint64_t k64K = 64 * 1024;
constexpr std::uint64_t k2M = 2 * kMib;
constexpr const char* kSwitch = "/sys/module/vttm/parameters/large_leaves";

class LargeLeafTest : public GuestTest {
protected:
    struct Leaves {
        std::int64_t of_4k, of_64k, of_2m;

        std::int64_t pages() const { return of_4k + 16 * of_64k + 512 * of_2m; }
        bool operator==(const Leaves&) const = default;
    };

    void SetUp() override {
        GuestTest::SetUp();
        before_leaves_ = now();
        ASSERT_EQ(before_leaves_, (Leaves{0, 0, 0})) << "a test before left something mapped";
    }
    void TearDown() override {
        EXPECT_EQ(files.try_write(kSwitch, "Y"), 0);
        GuestTest::TearDown();
    }

    Leaves now() const {
        const Stats stats = driver_stats(files);
        return {stats.at("leaves_4k"), stats.at("leaves_64k"), stats.at("leaves_2m")};
    }

    // A buffer at an address of the test's choice.
    struct Placed {
        Buffer buffer;
        std::uint64_t va;
    };
    static Placed place(Gpu& gpu, std::uint64_t bytes, std::uint32_t domain, std::uint64_t va) {
        Placed p{Buffer(gpu.device, {bytes, domain, VTTM_CACHING_WB, 0}), va};
        EXPECT_EQ(gpu.vm.try_map(p.buffer.handle(), va), 0);
        return p;
    }
    static JobResult fill(Gpu& gpu, const Placed& p, std::uint32_t value) {
        const std::uint32_t handle = p.buffer.handle();
        PacketBuilder packets;
        packets.fill(p.va, p.buffer.size(), value);
        return submit(gpu.device, {VTTM_ENGINE_COPY, packets.dwords(), {&handle, 1}, 0, 0})
            .result(Job::kDefaultTimeoutNs);
    }
    static void expect_filled(Gpu& gpu, const Placed& p, std::uint32_t value) {
        EXPECT_EQ(fill(gpu, p, value).error, 0);
        EXPECT_EQ(count_unequal(p.buffer.map(), value), 0u) << "value " << value;
    }

private:
    Leaves before_leaves_{};
};

constexpr std::uint64_t kVa = 1ull << 33;

TEST_F(LargeLeafTest, VramIsMappedBy2M) {
    Gpu gpu;
    const Placed p = place(gpu, 3 * k2M, VTTM_DOMAIN_VRAM, kVa);
    EXPECT_EQ(now().pages(), 0) << "bound, not used yet";
    expect_filled(gpu, p, 1);
    EXPECT_EQ(now(), (Leaves{0, 0, 3}));
    EXPECT_EQ(gpu.vm.try_unmap(p.va), 0);
    EXPECT_EQ(now().pages(), 0);
}

TEST_F(LargeLeafTest, WhatIsLessThan2MIsMappedBy64K) {
    Gpu gpu;
    const Placed p = place(gpu, 3 * k64K + 2 * kPage, VTTM_DOMAIN_VRAM, kVa + 5 * k64K);
    expect_filled(gpu, p, 2);
    EXPECT_EQ(now(), (Leaves{2, 3, 0}));
}

// The address decides as much as the memory does.
TEST_F(LargeLeafTest, AddressesThatDoNotFitTakeSmallerLeaves) {
    Gpu gpu;
    {
        const Placed p = place(gpu, k2M, VTTM_DOMAIN_VRAM, kVa + kPage);
        expect_filled(gpu, p, 3);
        EXPECT_EQ(now(), (Leaves{512, 0, 0}));
    }
    const Placed p = place(gpu, k2M, VTTM_DOMAIN_VRAM, kVa + k64K);
    expect_filled(gpu, p, 4);
    EXPECT_EQ(now(), (Leaves{0, 32, 0}));
}

TEST_F(LargeLeafTest, GttIsMappedByWhatItsPagesAllow) {
    Gpu gpu;
    const Placed p = place(gpu, 8 * k2M, VTTM_DOMAIN_GTT, kVa);
    expect_filled(gpu, p, 5);
    const Leaves leaves = now();
    EXPECT_EQ(leaves.pages(), 8 * 512);
    EXPECT_GT(leaves.of_2m + leaves.of_64k, 0) << "16 MiB of system memory, all in single pages?";
}

TEST_F(LargeLeafTest, CanBeSwitchedOff) {
    Gpu gpu;
    files.write(kSwitch, "N");
    const Placed p = place(gpu, k2M, VTTM_DOMAIN_VRAM, kVa);
    expect_filled(gpu, p, 6);
    EXPECT_EQ(now(), (Leaves{512, 0, 0}));
    files.write(kSwitch, "Y");
    expect_filled(gpu, p, 7);
    EXPECT_EQ(now(), (Leaves{512, 0, 0})) << "what is mapped stays as it is";
    EXPECT_EQ(gpu.vm.try_unmap(p.va), 0);
    EXPECT_EQ(gpu.vm.try_map(p.buffer.handle(), p.va), 0);
    expect_filled(gpu, p, 8);
    EXPECT_EQ(now(), (Leaves{0, 0, 1}));
}

// One entry of level 1 is, by turns, nothing, a table, and a leaf: each under the eyes of the
// device's caches, each leading to another buffer.
TEST_F(LargeLeafTest, TableAndLeafTakeTurnsAtOnePlace) {
    Gpu gpu;
    const Placed keep = place(gpu, kPage, VTTM_DOMAIN_GTT, kVa + 4 * k2M);
    for (std::uint32_t round = 0; round < 10; ++round) {
        const std::uint32_t domain = round % 2 ? VTTM_DOMAIN_VRAM : VTTM_DOMAIN_GTT;
        {
            const Placed a = place(gpu, kMib, domain, kVa);
            const Placed b = place(gpu, kMib, VTTM_DOMAIN_VRAM, kVa + kMib);
            expect_filled(gpu, a, round << 8 | 1);
            expect_filled(gpu, b, round << 8 | 2);
            // The table loses one of its two buffers and keeps the other.
            EXPECT_EQ(gpu.vm.try_unmap(a.va), 0);
            EXPECT_EQ(fill(gpu, a, 9).reason, VTTM_FAULT_NOT_VALID);
            expect_filled(gpu, b, round << 8 | 3);
            EXPECT_EQ(count_unequal(a.buffer.map(), round << 8 | 1), 0u);
            EXPECT_EQ(gpu.vm.try_map(a.buffer.handle(), a.va), 0);
            expect_filled(gpu, a, round << 8 | 4);
        }
        EXPECT_EQ(now().pages(), 0);
        {
            const Placed whole = place(gpu, k2M, VTTM_DOMAIN_VRAM, kVa);
            expect_filled(gpu, whole, round << 8 | 5);
            EXPECT_EQ(now(), (Leaves{0, 0, 1}));
            // There is no unmapping a part: bindings go as a whole.
            EXPECT_EQ(gpu.vm.try_unmap(whole.va + kMib), ENOENT);
            expect_filled(gpu, whole, round << 8 | 6);
        }
        EXPECT_EQ(now().pages(), 0);
    }
    expect_filled(gpu, keep, 1);
}

// Eviction, swap and the way back, behind leaves of all sizes and without large ones.
TEST_F(LargeLeafTest, ContentSurvivesEvictionAndSwap) {
    for (const char* large : {"Y", "N"}) {
        files.write(kSwitch, large);
        Gpu gpu;
        std::vector<Gpu::Bound> buffers;
        for (const std::uint64_t bytes : {2 * k2M, k2M + k64K, 5 * k64K, 3 * kPage, k2M}) {
            for (const std::uint32_t domain : {VTTM_DOMAIN_GTT, VTTM_DOMAIN_VRAM}) {
                buffers.push_back(gpu.create(bytes, domain | VTTM_DOMAIN_GTT));
            }
        }
        std::int64_t pages = 0;
        for (std::size_t i = 0; i < buffers.size(); ++i) {
            gpu.stamp(buffers[i], static_cast<std::uint32_t>(i + 1));
            pages += static_cast<std::int64_t>(buffers[i].buffer.pages());
        }
        EXPECT_EQ(now().pages(), pages);
        if (*large == 'Y') {
            EXPECT_GT(now().of_2m, 0);
        } else {
            EXPECT_EQ(now(), (Leaves{pages, 0, 0}));
        }
        for (int cycle = 0; cycle < 3; ++cycle) {
            const std::int64_t before = pages_given_back(files);
            ASSERT_TRUE(shrink(files, 1 << 20));
            EXPECT_GT(pages_given_back(files), before) << "nothing was shrunk";
            EXPECT_LT(now().pages(), pages) << "what went away is still mapped";
            for (std::size_t i = 0; i < buffers.size(); ++i) {
                gpu.expect_stamped(buffers[i], static_cast<std::uint32_t>(i + 1));
            }
        }
    }
}

TEST_F(LargeLeafTest, FaultsAreReportedOneByOne) {
    const std::string path = find_driver_debugfs(files) + "/vttm_faults";
    // Where no other test has a fault: the ring remembers.
    const std::uint64_t unmapped = kVa + 1024 * k2M;
    Gpu gpu;
    const Gpu::Bound keep = gpu.create(kPage);
    for (std::uint64_t i = 0; i < 5; ++i) {
        const std::uint64_t va = unmapped + i * k2M;
        EXPECT_EQ(gpu.run(VTTM_ENGINE_COPY, PacketBuilder().fill(va, 4, 1), {&keep}).reason,
                  VTTM_FAULT_NOT_VALID);
    }
    // The interrupt of the last one may still be on its way.
    const std::string last =
        fmt::format("write {:#x} reason {}", unmapped + 4 * k2M, int{VTTM_FAULT_NOT_VALID});
    std::string text;
    for (int i = 0; i < 100 && text.find(last) == std::string::npos; ++i) {
        text = files.read(path);
    }
    for (std::uint64_t i = 0; i < 5; ++i) {
        EXPECT_NE(text.find(fmt::format("write {:#x} reason", unmapped + i * k2M)), std::string::npos)
            << "fault " << i << " is missing in:\n"
            << text;
    }
}

// The device's counters through the driver: a buffer of one leaf is one miss, and its bytes.
TEST_F(LargeLeafTest, CountersTellWhatTheDeviceDid) {
    const std::string path = find_driver_debugfs(files) + "/vttm_counters";
    const auto count = [&](const std::string& name) -> std::uint64_t {
        const std::string text = files.read(path), key = "0 " + name + " ";
        const std::size_t at = text.find(key);
        EXPECT_NE(at, std::string::npos) << name << " is missing in:\n" << text;
        return at == std::string::npos ? 0 : std::stoull(text.substr(at + key.size()));
    };
    Gpu gpu;
    const Placed one = place(gpu, k2M, VTTM_DOMAIN_VRAM, kVa);
    const std::uint64_t misses = count("tlb_misses");
    // The first use clears the buffer, too, by VRAM's own addresses.
    expect_filled(gpu, one, 1);
    EXPECT_EQ(count("tlb_misses") - misses, 1u) << "one large leaf";

    const std::uint64_t bytes = count("bytes"), packets = count("packets"), busy = count("busy_ns");
    const std::uint64_t hits = count("tlb_hits");
    expect_filled(gpu, one, 0xabcd);
    EXPECT_EQ(count("bytes") - bytes, k2M);
    EXPECT_GE(count("packets") - packets, 2u) << "the fill and its fence, at least";
    EXPECT_GT(count("busy_ns"), busy);
    EXPECT_EQ(count("tlb_misses") - misses, 1u);
    EXPECT_EQ(count("tlb_hits") - hits, k2M / (256 * 1024)) << "one for each chunk";
}

// A driver that clears PTEs and forgets the TLB, by order: the device's old translation leads to
// the buffer before (which is kept, so nobody is harmed), and the check that ends each test of this
// program must fail.
TEST_F(LargeLeafTest, PlantedAForgottenInvalidationIsFoundAtOnce) {
    const std::string planted = find_driver_debugfs(files) + "/unsafe_skip_invalidation";
    for (const std::uint64_t bytes : {kPage, k64K, k2M}) {
        Gpu gpu;
        // Keeps the tables of this range, so that it is leaves that are stale.
        const Placed keep = place(gpu, kPage, VTTM_DOMAIN_GTT, kVa + 2 * k2M);
        const Placed old = place(gpu, bytes, VTTM_DOMAIN_VRAM, kVa);
        const Placed other = place(gpu, kPage, VTTM_DOMAIN_VRAM, kVa + k2M + k64K);
        expect_filled(gpu, old, 0xaaaa);
        expect_filled(gpu, other, 1);
        expect_no_stale();

        files.write(planted, "Y");
        EXPECT_EQ(gpu.vm.try_unmap(old.va), 0);
        files.write(planted, "N");
        const Placed next = place(gpu, bytes, VTTM_DOMAIN_VRAM, kVa);
        EXPECT_EQ(fill(gpu, next, 0xbbbb).error, 0);
        EXPECT_NE(count_unequal(old.buffer.map(), 0xaaaa), 0u) << "the old buffer was written";
        EXPECT_NE(count_unequal(next.buffer.map(), 0xbbbb), 0u);
        EXPECT_NONFATAL_FAILURE(expect_no_stale(), "stale translations");
        forgive_stale();
        // This invalidates.
        EXPECT_EQ(gpu.vm.try_unmap(next.va), 0);
        EXPECT_EQ(gpu.vm.try_map(next.buffer.handle(), next.va), 0);
        expect_filled(gpu, next, 0xcccc);
        expect_no_stale();
    }
}

// To switch a bug on is to be marked for the rest of the boot, as with an unsafe module parameter.
TEST_F(LargeLeafTest, PlantingABugTaintsTheKernel) {
    constexpr unsigned long kTaintUser = 1ul << 6;
    const std::string planted = find_driver_debugfs(files) + "/unsafe_skip_invalidation";
    const auto taint = [&] { return std::stoul(files.read("/proc/sys/kernel/tainted")); };
    const unsigned long before = taint();
    files.write(planted, "N");
    EXPECT_EQ(taint(), before);
    EXPECT_EQ(files.read(planted), "N\n");
    files.write(planted, "Y");
    EXPECT_EQ(files.read(planted), "Y\n");
    files.write(planted, "N");
    EXPECT_TRUE(taint() & kTaintUser);
    EXPECT_EQ(files.read(planted), "N\n");
}

}  // namespace
}  // namespace vttm::guest::test
