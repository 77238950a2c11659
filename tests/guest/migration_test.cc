// SPDX-License-Identifier: Apache-2.0
// Half of a test of migration and snapshots: the host takes the machine elsewhere, or back in time, while this keeps
// both engines busy (host-backend/cli/stages/migration_cases.cc).
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "tests/guest/guest_test.h"

namespace vttm::guest::test {
namespace {

constexpr const char* kEnd = "/tmp/host-is-done";
constexpr std::uint64_t kBytes = 8 * kMib;
constexpr std::uint32_t kPages = kBytes / kPage;

class HostMigrationTest : public GuestTest {};

// Four pairs of buffers. The stamp engine writes and verifies the first of each, the copy engine wipes the second and
// copies to it what never changes; all is in the rings before the first is waited for.
TEST_F(HostMigrationTest, JobsGoOnElsewhere) {
    constexpr std::uint32_t kPairs = 4, kSource = 100, kStamped = 200;
    Gpu gpu;
    const Gpu::Bound source = gpu.create(kBytes, VTTM_DOMAIN_GTT);
    gpu.stamp(source, kSource);
    std::vector<Gpu::Bound> stamped, copied;
    const Gpu::Bound results = gpu.create(kPage);
    for (std::uint32_t i = 0; i < kPairs; ++i) {
        stamped.push_back(gpu.create(kBytes, i % 2 ? VTTM_DOMAIN_VRAM : VTTM_DOMAIN_GTT));
        copied.push_back(gpu.create(kBytes, i % 2 ? VTTM_DOMAIN_GTT : VTTM_DOMAIN_VRAM));
    }
    const auto begin = [&](std::uint32_t engine, const PacketBuilder& packets,
                           std::initializer_list<const Gpu::Bound*> buffers) {
        std::vector<std::uint32_t> handles;
        for (const auto* b : buffers) handles.push_back(b->buffer.handle());
        Submission s;
        s.engine = engine;
        s.packets = packets.dwords();
        s.buffers = handles;
        return submit(gpu.device, s);
    };
    const Stats before = driver_stats(files);
    std::uint32_t round = 0;
    std::uint64_t failed = 0;
    for (; (!std::filesystem::exists(kEnd) || round < 3) && !failed; ++round) {
        std::vector<Job> jobs;
        for (std::uint32_t i = 0; i < kPairs; ++i) {
            const StampRange range{kStamped + i, round + 1, 0, kPages, kKey};
            jobs.push_back(begin(VTTM_ENGINE_STAMP,
                                 PacketBuilder()
                                     .stamp_write(stamped[i].va(), range)
                                     .stamp_verify(stamped[i].va(), range,
                                                   results.va() + i * sizeof(vttm_stamp_result)),
                                 {&stamped[i], &results}));
            jobs.push_back(begin(VTTM_ENGINE_COPY,
                                 PacketBuilder()
                                     .fill(copied[i].va(), kBytes, round)
                                     .copy(copied[i].va(), source.va(), kBytes),
                                 {&copied[i], &source}));
        }
        for (const Job& job : jobs) {
            const JobResult done = job.result(Job::kDefaultTimeoutNs);
            EXPECT_EQ(done.error, 0) << fault_reason_name(done.reason);
            failed += done.error != 0;
        }
        const Mapping told = results.buffer.map();
        for (std::uint32_t i = 0; i < kPairs; ++i) {
            vttm_stamp_result found;
            std::memcpy(&found, told.data() + i * sizeof(found), sizeof(found));
            EXPECT_EQ(found.good, kPages) << "round " << round << ", bad " << found.bad;
            failed += found.good != kPages;
        }
        if (round == 0) {
            std::puts("at work");
            std::fflush(stdout);
        }
    }
    EXPECT_EQ(failed, 0u) << "in round " << round;
    // Of each the last round, for device and CPU.
    for (std::uint32_t i = 0; i < kPairs; ++i) {
        gpu.expect_stamped(stamped[i], kStamped + i, round);
        gpu.expect_stamped(copied[i], kSource);
    }
    const Stats after = driver_stats(files);
    for (const char* quiet : {"resets", "job_errors", "faults"})
        EXPECT_EQ(after.at(quiet), before.at(quiet)) << quiet;
}

}  // namespace
}  // namespace vttm::guest::test
