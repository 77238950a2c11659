// SPDX-License-Identifier: Apache-2.0
// COPY, FILL, STAMP_*: results, classes of bad pages, packets that the device refuses.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/guest/guest_test.h"

namespace vttm::guest::test {
namespace {

class EngineTest : public GuestTest {};

TEST_F(EngineTest, CopiesBetweenAllPlaces) {
    Gpu gpu;
    for (const std::uint32_t from : {VTTM_DOMAIN_VRAM, VTTM_DOMAIN_GTT}) {
        for (const std::uint32_t to : {VTTM_DOMAIN_VRAM, VTTM_DOMAIN_GTT}) {
            const Gpu::Bound src = gpu.create(2 * kMib + kPage, from);
            const Gpu::Bound dst = gpu.create(2 * kMib + kPage, to, VTTM_CACHING_WC);
            gpu.stamp(src, 3);
            const JobResult done =
                gpu.run(VTTM_ENGINE_COPY, PacketBuilder().copy(dst.va(), src.va(), src.size()),
                        {&src, &dst});
            ASSERT_EQ(done.error, 0) << fault_reason_name(done.reason);
            gpu.expect_stamped(dst, 3);
        }
    }
}

TEST_F(EngineTest, CopiesAnyBytes) {
    Gpu gpu;
    const Gpu::Bound src = gpu.create(3 * kPage);
    const Gpu::Bound dst = gpu.create(3 * kPage);
    const Mapping from = src.buffer.map();
    const Mapping to = dst.buffer.map();
    for (std::size_t i = 0; i < from.size(); ++i) {
        from.data()[i] = static_cast<std::byte>(i * 7 + i / 251);
    }
    struct Case {
        std::uint64_t dst, src, bytes;
    };
    for (const Case& c : {Case{0, 0, 1}, Case{1, 4095, 2}, Case{4095, 1, 4098}, Case{17, 3, 8192},
                          Case{0, 0, 3 * kPage}, Case{3 * kPage - 1, 3 * kPage - 1, 1}}) {
        std::fill_n(to.data(), to.size(), std::byte{0xee});
        const JobResult done = gpu.run(
            VTTM_ENGINE_COPY, PacketBuilder().copy(dst.va() + c.dst, src.va() + c.src, c.bytes),
            {&src, &dst});
        ASSERT_EQ(done.error, 0) << fault_reason_name(done.reason);
        EXPECT_EQ(std::memcmp(to.data() + c.dst, from.data() + c.src, c.bytes), 0);
        const auto untouched = [](std::byte b) { return b == std::byte{0xee}; };
        EXPECT_TRUE(std::all_of(to.data(), to.data() + c.dst, untouched));
        EXPECT_TRUE(std::all_of(to.data() + c.dst + c.bytes, to.data() + to.size(), untouched));
    }
}

TEST_F(EngineTest, FillsAPart) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(2 * kPage, VTTM_DOMAIN_VRAM);
    gpu.fill(buffer, 1);
    const JobResult done =
        gpu.run(VTTM_ENGINE_COPY, PacketBuilder().fill(buffer.va() + 4092, 8, 2), {&buffer});
    ASSERT_EQ(done.error, 0);
    const Mapping mapping = buffer.buffer.map();
    EXPECT_EQ(mapping.words()[1022], 1u);
    EXPECT_EQ(mapping.words()[1023], 2u);
    EXPECT_EQ(mapping.words()[1024], 2u);
    EXPECT_EQ(mapping.words()[1025], 1u);
}

TEST_F(EngineTest, DeviceAndCpuStampAlike) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(kMib);
    gpu.stamp(buffer, 77, 5);
    gpu.expect_stamped(buffer, 77, 5);
    const vttm_stamp_result other = gpu.verify(buffer, 77, 6);
    EXPECT_EQ(other.by_class[VTTM_STAMP_STALE], buffer.buffer.pages());
}

// The verifier must be able to fail: each kind of damage is found, counted and classified.
TEST_F(EngineTest, DamageIsFoundAndClassified) {
    for (const std::uint32_t domain : {VTTM_DOMAIN_VRAM, VTTM_DOMAIN_GTT}) {
        Gpu gpu;
        const Gpu::Bound buffer = gpu.create(64 * kPage, domain);
        gpu.stamp(buffer, 4, 2);
        {
            const Mapping mapping = buffer.buffer.map();
            const auto page = [&](std::uint64_t index) { return mapping.data() + index * kPage; };
            page(10)[1234] ^= std::byte{0x10};
            std::fill_n(page(20), kPage, std::byte{0});
            std::swap_ranges(page(30), page(30) + kPage, page(31));
            const vttm_stamp_id old{kKey, 40, 4, 1};
            vttm_stamp_fill(page(40), &old);
            std::fill_n(page(50) + 2048, 2048, std::byte{0});
            std::fill_n(page(60), kPage, std::byte{0x33});
        }
        const vttm_stamp_result found = gpu.verify(buffer, 4, 2);
        EXPECT_EQ(found.bad, 7u);
        EXPECT_EQ(found.first_bad_page, 10u);
        EXPECT_EQ(found.by_class[VTTM_STAMP_GOOD], 0u);
        EXPECT_EQ(found.by_class[VTTM_STAMP_BITFLIP], 1u);
        EXPECT_EQ(found.by_class[VTTM_STAMP_ZERO], 1u);
        EXPECT_EQ(found.by_class[VTTM_STAMP_FOREIGN], 2u);
        EXPECT_EQ(found.by_class[VTTM_STAMP_STALE], 1u);
        EXPECT_EQ(found.by_class[VTTM_STAMP_TORN], 1u);
        EXPECT_EQ(found.by_class[VTTM_STAMP_GARBAGE], 1u);
    }
}

TEST_F(EngineTest, ManyPacketsInOneJob) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(1024 * kPage);
    PacketBuilder packets;
    std::uint32_t count = 0;
    while (packets.size() + PacketBuilder::kStampDwords <= kMaxSubmitDwords && count < 1024) {
        packets.stamp_write(buffer.va() + count * kPage, {6, 1, count, 1, kKey});
        ++count;
    }
    ASSERT_EQ(count, 1024u);
    packets.nop(
        static_cast<std::uint32_t>(std::min<std::size_t>(kMaxSubmitDwords - packets.size(), 1024)));
    ASSERT_EQ(gpu.run(VTTM_ENGINE_STAMP, packets, {&buffer}).error, 0);
    gpu.expect_stamped(buffer, 6);
}

TEST_F(EngineTest, JobsOfOneEngineRunInOrder) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(kMib);
    const std::array handles = {buffer.buffer.handle()};
    std::vector<Job> jobs;
    for (std::uint32_t value = 1; value <= 50; ++value) {
        PacketBuilder packets;
        packets.fill(buffer.va(), buffer.size(), value);
        jobs.push_back(submit(gpu.device, {VTTM_ENGINE_COPY, packets.dwords(), handles, 0, 0}));
        if (value > 1) {
            EXPECT_GT(jobs[value - 1].seqno(), jobs[value - 2].seqno());
        }
    }
    jobs.back().wait();
    for (const Job& job : jobs) {
        EXPECT_EQ(job.result(0).error, 0) << "an earlier job must be done too";
    }
    EXPECT_EQ(count_unequal(buffer.buffer.map(), 50), 0u);
}

// WAIT knows the last kWindow jobs of a queue and says "done" of all older ones, so no submit may
// return before the job that it pushes out of the window is done. Each job writes a word of its own
// when it ends; the threads race for the slots of a full window.
TEST_F(EngineTest, NoJobLeavesTheWindowUnfinished) {
    constexpr std::uint64_t kWindow = 1024;
    constexpr std::uint32_t kThreads = 4;
    constexpr std::uint32_t kJobs = 1600;
    constexpr std::uint32_t kEnough = 256;  // jobs submitted while the window was full
    constexpr std::int64_t kDrainNs = 600'000'000'000;
    // More work per job until submits are faster than the device, whatever the kernel's checks make of them. Larger packets
    // first: more of them cost the driver, too.
    struct Work {
        std::uint64_t bytes;
        std::uint32_t packets;
    };
    constexpr Work kWorks[] = {{kMib, 1}, {8 * kMib, 1}, {32 * kMib, 1}, {32 * kMib, 5}, {32 * kMib, 24}};
    for (const Work& load : kWorks) {
        Gpu gpu;
        const Gpu::Bound work = gpu.create(load.bytes, VTTM_DOMAIN_VRAM);
        const Gpu::Bound words = gpu.create(2 * kPage);
        gpu.fill(words, 0);
        const Mapping mapping = words.buffer.map();
        const auto word = [&](std::uint32_t job) {
            return std::atomic_ref(mapping.words()[job]).load();
        };
        const std::array handles = {work.buffer.handle(), words.buffer.handle()};
        std::vector<std::atomic<std::uint32_t>> job_of(kJobs + 16);  // by seqno; 0: not known
        std::atomic<std::uint32_t> next = 0, submitted = 0, full = 0, early = 0, refused = 0;
        const auto run = [&] {
            for (std::uint32_t job = next++; job < kJobs && full < kEnough; job = next++) {
                PacketBuilder packets;
                for (std::uint32_t i = 0; i < load.packets; ++i)
                    packets.fill(work.va(), work.size(), job);
                packets.fill(words.va() + job * 4, 4, 1);
                std::uint64_t seqno = 0;
                if (try_submit(gpu.device, {VTTM_ENGINE_COPY, packets.dwords(), handles, 0, 0},
                               &seqno) != 0) {
                    ++refused;
                    continue;
                }
                ++submitted;
                const auto done = [&](std::uint64_t age) {
                    const std::uint32_t known = seqno > age ? job_of[seqno - age].load() : 0;
                    return known == 0 || word(known - 1) != 0;
                };
                full += !done(kWindow - kThreads);
                early += !done(kWindow);
                job_of[seqno] = job + 1;
            }
        };
        std::vector<std::jthread> threads;
        for (std::uint32_t i = 0; i < kThreads; ++i) {
            threads.emplace_back(run);
        }
        threads.clear();
        EXPECT_EQ(refused, 0u);
        EXPECT_EQ(early, 0u) << "of " << submitted << " submits returned too early";
        PacketBuilder last;  // runs behind them all
        last.fill(work.va(), work.size(), 0);
        submit(gpu.device, {VTTM_ENGINE_COPY, last.dwords(), handles, 0, 0}).wait(kDrainNs);
        EXPECT_EQ(count_unequal(mapping, 1), 2048 - submitted);
        if (full > 0) return;
    }
    // Where that is no excuse, a skip fails.
    GTEST_SKIP() << "submits here are slower than the device: the window was never full";
}

struct BadOperands {
    const char* name;
    std::uint32_t engine;
    PacketBuilder (*packet)(std::uint64_t va);
};

class BadOperandsTest : public GuestTest, public ::testing::WithParamInterface<BadOperands> {};

// Well-framed packets that the device refuses, or that fault: the job fails, the next one runs.
TEST_P(BadOperandsTest, FailTheJobAndNothingElse) {
    Gpu gpu;
    const Gpu::Bound buffer = gpu.create(4 * kPage);
    gpu.fill(buffer, 3);
    const std::uint64_t faults = gpu.device.param(VTTM_PARAM_FAULT_COUNT);
    const JobResult done = gpu.run(GetParam().engine, GetParam().packet(buffer.va()), {&buffer});
    EXPECT_EQ(done.error, EIO);
    EXPECT_NE(done.reason, VTTM_FAULT_NONE);
    EXPECT_GT(gpu.device.param(VTTM_PARAM_FAULT_COUNT), faults);
    gpu.fill(buffer, 4);
    EXPECT_EQ(count_unequal(buffer.buffer.map(), 4), 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Packets, BadOperandsTest,
    ::testing::Values(
        BadOperands{"fill_unaligned_address", VTTM_ENGINE_COPY,
                    [](std::uint64_t va) { return PacketBuilder().fill(va + 2, 4, 0); }},
        BadOperands{"fill_odd_length", VTTM_ENGINE_COPY,
                    [](std::uint64_t va) { return PacketBuilder().fill(va, 5, 0); }},
        BadOperands{"fill_nothing", VTTM_ENGINE_COPY,
                    [](std::uint64_t va) { return PacketBuilder().fill(va, 0, 0); }},
        BadOperands{"fill_wraps", VTTM_ENGINE_COPY,
                    [](std::uint64_t) { return PacketBuilder().fill(~0ull - 4095, 8192, 0); }},
        BadOperands{"fill_beyond_48_bits", VTTM_ENGINE_COPY,
                    [](std::uint64_t) { return PacketBuilder().fill(1ull << 48, 4096, 0); }},
        BadOperands{"fill_too_long", VTTM_ENGINE_COPY,
                    [](std::uint64_t va) { return PacketBuilder().fill(va, (1ull << 32) + 4, 0); }},
        BadOperands{"copy_nothing", VTTM_ENGINE_COPY,
                    [](std::uint64_t va) { return PacketBuilder().copy(va, va + 4096, 0); }},
        BadOperands{"copy_overlaps", VTTM_ENGINE_COPY,
                    [](std::uint64_t va) { return PacketBuilder().copy(va, va + 1, 4096); }},
        BadOperands{
            "copy_source_unmapped", VTTM_ENGINE_COPY,
            [](std::uint64_t va) { return PacketBuilder().copy(va, va + (1ull << 32), 4096); }},
        BadOperands{"stamp_unaligned", VTTM_ENGINE_STAMP,
                    [](std::uint64_t va) {
                        return PacketBuilder().stamp_write(va + 64, {1, 1, 0, 1, kKey});
                    }},
        BadOperands{"stamp_no_pages", VTTM_ENGINE_STAMP,
                    [](std::uint64_t va) {
                        return PacketBuilder().stamp_write(va, {1, 1, 0, 0, kKey});
                    }},
        BadOperands{"stamp_too_many_pages", VTTM_ENGINE_STAMP,
                    [](std::uint64_t va) {
                        return PacketBuilder().stamp_write(va, {1, 1, 0, (1u << 20) + 1, kKey});
                    }},
        BadOperands{"verify_result_unaligned", VTTM_ENGINE_STAMP,
                    [](std::uint64_t va) {
                        return PacketBuilder().stamp_verify(va, {1, 1, 0, 1, kKey}, va + 4104);
                    }},
        BadOperands{"verify_result_over_page_end", VTTM_ENGINE_STAMP,
                    [](std::uint64_t va) {
                        return PacketBuilder().stamp_verify(va, {1, 1, 0, 1, kKey}, va + 8192 - 32);
                    }},
        BadOperands{
            "verify_result_unmapped", VTTM_ENGINE_STAMP,
            [](std::uint64_t va) {
                return PacketBuilder().stamp_verify(va, {1, 1, 0, 1, kKey}, va + (1ull << 32));
            }}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace vttm::guest::test
