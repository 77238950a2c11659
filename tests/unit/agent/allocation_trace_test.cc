// SPDX-License-Identifier: Apache-2.0
// The trace of allocations as the kernel prints it; above all, one that lost something is refused.
#include "guest-driver/libvttm/agent/allocation_trace.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "guest-driver/libvttm/error.h"

namespace vttm::guest::test {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string heading(int left, int written) {
    return fmt::format("# tracer: nop\n#\n# entries-in-buffer/entries-written: {}/{}   #P:1\n#\n"
                       "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n",
                       left, written);
}

std::string event(unsigned long pfn, int order) {
    return fmt::format("      vttm-agent-71      [000] .....    12.345678: mm_page_alloc: page=0000000012ab pfn=0x{:x} "
                       "order={} migratetype=0 gfp_flags=GFP_KERNEL|__GFP_HIGH|__GFP_NOWARN\n",
                       pfn, order);
}

int refused(const std::string& text) {
    try {
        parse_allocations(text);
        return 0;
    } catch (const Error& error) {
        return error.error();
    }
}

TEST(AllocationTrace, JoinsNeighboursAndCountsAPageOnce) {
    EXPECT_THAT(parse_allocations(heading(0, 0)), IsEmpty());
    EXPECT_THAT(parse_allocations(heading(5, 5) + event(0x200, 9) + event(0x12, 0) + event(0x10, 1) +
                                  event(0x12, 0) + event(0x210, 0)),
                ElementsAre(PageRun{0x10000, 3}, PageRun{0x200000, 512}));
}

TEST(AllocationTrace, AnAllocationThatFailedIsNoPage) {
    EXPECT_THAT(parse_allocations(heading(1, 1) + event(0, 3)), IsEmpty());
}

TEST(AllocationTrace, ALostEventIsAnError) {
    EXPECT_EQ(refused(heading(1, 2) + event(0x10, 0)), EOVERFLOW) << "overwritten";
    EXPECT_EQ(refused(heading(2, 2) + event(0x10, 0)), EOVERFLOW) << "not read";
    EXPECT_EQ(refused(heading(1, 1) + "CPU:0 [LOST 7 EVENTS]\n" + event(0x10, 0)), EOVERFLOW);
    EXPECT_EQ(refused(heading(1, 1) + event(0x10, 0)), 0);
}

TEST(AllocationTrace, OtherTextIsAnError) {
    EXPECT_EQ(refused(""), EPROTO);
    EXPECT_EQ(refused(event(0x10, 0)), EPROTO) << "no heading";
    EXPECT_EQ(refused("# entries-in-buffer/entries-written: some/more\n"), EPROTO);
    EXPECT_EQ(refused(heading(1, 1) + " x-1 [000] ..... 1.2: mm_page_alloc: page=1 pfn=unknown order=0\n"), EPROTO);
    EXPECT_EQ(refused(heading(1, 1) + " x-1 [000] ..... 1.2: mm_page_alloc: page=1 pfn=0x1\n"), EPROTO);
}

TEST(AllocationTrace, EachWayTheRingLosesEventsIsAnError) {
    const std::string whole = "entries: 9\noverrun: 0\ncommit overrun: 0\nbytes: 400\noldest event ts:  3.1\n"
                              "now ts:  4.1\ndropped events: 0\nread events: 0\n";
    EXPECT_NO_THROW(check_ring(whole));
    for (const std::string name : {"\noverrun: ", "\ncommit overrun: ", "\ndropped events: "}) {
        std::string lossy = whole;
        lossy.replace(lossy.find(name) + name.size(), 1, "3");
        EXPECT_THROW(check_ring(lossy), Error) << name;
        lossy = whole;
        lossy.erase(lossy.find(name), name.size());
        EXPECT_THROW(check_ring(lossy), Error) << name << "is missing";
    }
}

}  // namespace
}  // namespace vttm::guest::test
