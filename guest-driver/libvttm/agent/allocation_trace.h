// SPDX-License-Identifier: Apache-2.0
// Which pages the kernel allocates meanwhile: event kmem:mm_page_alloc, in a trace instance of its own.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "guest-driver/libvttm/agent/system_files.h"

namespace vttm::guest {

struct PageRun {
    std::uint64_t addr = 0;  // guest-physical, bytes
    std::uint64_t pages = 0;
    bool operator==(const PageRun&) const = default;
};

// All allocations of the guest, whoever asks and for whatever: the flags do not tell content from the kernel's own
// pages (TTM copies into pages of GFP_KERNEL, which is what slabs ask for, too). Where the pages are does.
class AllocationTrace {
public:
    // Has room for so many allocations. Throws Error if this kernel cannot trace them.
    AllocationTrace(const SystemFiles& files, std::uint64_t events);
    ~AllocationTrace();
    AllocationTrace(const AllocationTrace&) = delete;
    AllocationTrace& operator=(const AllocationTrace&) = delete;

    void start();
    // What was allocated since start(): by address, neighbours joined, each page once. Throws Error (EOVERFLOW)
    // if the room did not suffice: what is missing must not pass for not allocated.
    std::vector<PageRun> stop();

private:
    const SystemFiles& files_;
};

// Of the text of `trace`, which has no other events. Throws Error: EOVERFLOW as above, EPROTO for text that is
// no such.
std::vector<PageRun> parse_allocations(std::string_view trace);

// Of the text of a CPU's `stats`: throws Error likewise if the ring lost events, for whatever reason.
void check_ring(std::string_view stats);

}  // namespace vttm::guest
