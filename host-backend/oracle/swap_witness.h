// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "host-backend/oracle/forensics.h"
#include "host-backend/oracle/ledger.h"
#include "host-backend/oracle/placement.h"
#include "host-backend/oracle/ram_witness.h"

namespace vttm::oracle {

class WitnessLog;

inline constexpr std::uint64_t kHugePages = 512;  // 4 KiB pages in 2 MiB

// 2 MiB runs: groups of 512 pages of a buffer, aligned in the buffer, that are wholly in the swap
// file with good content. Groups that are only partly there do not count.
struct RunStats {
    std::uint64_t groups = 0;
    std::uint64_t unsplit = 0;  // 512 consecutive slots in order
    // Of those: groups that the device saw as one aligned 2 MiB page of guest RAM (witness log).
    // Only these can be expected unsplit; both 0 without a log.
    std::uint64_t huge_groups = 0;
    std::uint64_t huge_unsplit = 0;

    std::uint64_t split() const { return groups - unsplit; }
    RunStats& operator+=(const RunStats& o);
};

// Claims about swap held against the swap file.
struct SwapCheck {
    ClaimCheck claims;  // kind swap: each slot must hold the page
    // swapcache: the slot may not be written yet; good ones are known to be on disk.
    std::uint64_t cached = 0;          // pages claimed in the swap cache
    std::uint64_t cached_on_disk = 0;  // of those: slot holds the page
    // Pages of GTT-domain buffers whose content is good in their claimed slot (swap or swapcache),
    // and how many such buffers' pages there are.
    std::uint64_t gtt_on_disk = 0;
    std::uint64_t gtt_pages = 0;
    RunStats runs;

    std::uint64_t on_disk() const { return claims.good() + cached_on_disk; }
    double gtt_share() const {
        return gtt_pages ? static_cast<double>(gtt_on_disk) / static_cast<double>(gtt_pages) : 0.0;
    }
};

// Looks into the swap disk's file, at the slots that are claimed. Slot n is the page at byte
// n * 4096; slot 0 is the header. A freed slot keeps its bytes, so a stamp in a slot that nobody
// claims proves nothing: there is no scan of the file as there is of RAM.
class SwapWitness {
public:
    // @fd: the raw image, open for reading; stays the caller's. The ledger must outlive the
    // witness. Throws std::system_error if its size cannot be read.
    SwapWitness(const Ledger& ledger, int fd, unsigned threads = 0);

    // @log (may be null) tells which groups were 2 MiB pages before. A slot outside the file is
    // kMissing; a hole reads as zero. Throws std::system_error on I/O errors.
    SwapCheck check(const Placement& placement, const WitnessLog* log = nullptr) const;
    // One slot. kMissing if it lies outside the file.
    PageClass classify_at(std::int64_t slot, const vttm_stamp_id& expected) const;

private:
    const Ledger& ledger_;
    int fd_;
    unsigned threads_;
};

}  // namespace vttm::oracle
