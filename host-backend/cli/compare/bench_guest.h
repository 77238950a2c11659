// SPDX-License-Identifier: Apache-2.0
// The measurements of `./vttm compare` on one booted guest.
#pragma once

#include "host-backend/cli/compare/allocations.h"
#include "host-backend/cli/compare/figures.h"
#include "host-backend/cli/progress.h"
#include "host-backend/cli/session.h"

namespace vttm::cli {

class BenchGuest {
public:
    // So many GTT buffers of so many bytes each; the guest has memory for all of them.
    BenchGuest(Session& session, unsigned buffers, std::uint64_t buffer_bytes, Progress& progress);

    // Each makes its buffers, checks their content at the end and frees them.
    MemoryRound memory(const Way& way);
    DiskRound disk(const Way& way);
    // With disk, all content is on the swap disk before it comes back.
    WearRun wear(const Way& way, unsigned cycles, bool disk);
    // percent of the swap disk are taken by somebody else first.
    FullRun swap_full(const Way& way, unsigned percent);
    // Fills the buffers, then grows a hog by so much. For guests in which that hardly fits.
    EdgeRun edge(const Way& way, std::uint64_t hog_mib);

private:
    struct Where {
        std::uint64_t backed_up = 0;  // in memory or on disk
        std::uint64_t on_disk = 0;    // with no copy in memory
    };
    Where where();
    void begin(const Way& way);
    // Frees the buffers and waits until their pages are back.
    void end();
    // The shrinker, until nothing more goes out. Returns ns of the guest's clock. With a place for it, notes what the
    // guest allocated meanwhile; the time then means nothing.
    std::uint64_t shrink(Allocations* allocated = nullptr);
    std::uint64_t restore();
    std::uint64_t bad_pages();
    // Reclaims until all backed-up pages are on disk, or nothing moves any more.
    Where push_to_disk();
    void fill_swap(unsigned percent);
    void release_hog();
    double swap_full_share();
    std::uint64_t free_large_blocks();
    // Short per-CPU lists of free pages, or the kernel's own length again.
    void limit_per_cpu_lists(bool limit);
    // Runs a command line in the guest; its output. Throws if it fails.
    std::string shell(const std::string& command);

    Session& session_;
    const unsigned buffers_;
    const std::uint64_t buffer_bytes_;
    Progress& progress_;
    std::vector<PlannedBuffer> plan_;
    std::uint32_t next_id_ = 1;
    std::uint32_t generation_ = 0;
};

}  // namespace vttm::cli
