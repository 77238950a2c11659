// SPDX-License-Identifier: Apache-2.0
// Pages allocated while shrinking, and which of them hold content afterwards: what `./vttm compare` counts.
#include "guest-driver/libvttm/agent/allocation_trace.h"

#include <algorithm>

#include "guest-driver/libvttm/agent/placement_parser.h"
#include "tests/guest/backup_test.h"

namespace vttm::guest::test {
namespace {

// Pages of backed-up content in memory, and how many of these lie in pages that are new.
struct Content {
    std::uint64_t resident = 0;
    std::uint64_t fresh = 0;
};

Content content(const SystemFiles& files, const std::vector<PageRun>& allocated) {
    Content found;
    PlacementParser parser({[](std::uint32_t, std::uint64_t) {},
                            [&](const PlacementRun& run) {
                                if (run.kind != "shmem" && run.kind != "swapcache") {
                                    return;
                                }
                                found.resident += run.count;
                                for (std::uint64_t i = 0; i < run.count; ++i) {
                                    const std::uint64_t addr = run.addr + i * kPage;
                                    found.fresh += std::any_of(
                                        allocated.begin(), allocated.end(), [addr](const PageRun& r) {
                                            return addr >= r.addr && addr < r.addr + r.pages * kPage;
                                        });
                                }
                            }});
    parser.feed(files.read(find_driver_debugfs(files) + "/placement"));
    parser.finish();
    return found;
}

class AllocationTraceTest : public BackupTest {};

TEST_P(AllocationTraceTest, OnlyACopyTakesNewPagesForContent) {
    Stamped buffers;
    buffers.create(16 * kMib, 2 * kMib);
    buffers.fill(1);
    AllocationTrace trace(files, 3 * 16 * 256);
    trace.start();
    shrink_all(16 * 256);
    const std::vector<PageRun> allocated = trace.stop();
    const Content found = content(files, allocated);
    EXPECT_GE(found.resident, 16u * 256);
    if (std::string_view(GetParam()) == "copy") {
        EXPECT_EQ(found.fresh, found.resident);
    } else {
        EXPECT_EQ(found.fresh, 0u);
    }
    buffers.expect_intact(1);
}

class AllocationOverflowTest : public SwitchTest {};

TEST_F(AllocationOverflowTest, TooLittleRoomIsAnError) {
    set_global("copy");
    Stamped buffers;
    buffers.create(16 * kMib, 2 * kMib);
    buffers.fill(1);
    AllocationTrace trace(files, 1);
    trace.start();
    shrink_all(16 * 256);
    try {
        trace.stop();
        ADD_FAILURE() << "lost events are not told";
    } catch (const Error& error) {
        EXPECT_EQ(error.error(), EOVERFLOW) << error.what();
    }
    buffers.expect_intact(1);
}

TEST_F(AllocationOverflowTest, TheInstanceGoesWithItsOwner) {
    { const AllocationTrace trace(files, 1); }
    AllocationTrace trace(files, 64);
    EXPECT_THROW(AllocationTrace(files, 64), Error) << "two at once would count into one";
    trace.start();
    EXPECT_NO_THROW(trace.stop()) << "the second has taken it away";
}

INSTANTIATE_TEST_SUITE_P(Modes, AllocationTraceTest, ::testing::ValuesIn(kModes),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace vttm::guest::test
