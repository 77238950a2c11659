// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "host-backend/oracle/forensics.h"
#include "host-backend/oracle/guest_ram.h"
#include "host-backend/oracle/ledger.h"
#include "host-backend/oracle/placement.h"
#include "host-backend/oracle/ram_witness.h"
#include "host-backend/oracle/swap_witness.h"

namespace vttm::oracle {

class WitnessLog;

// Everything of the guest that the host can read.
struct HostView {
    GuestRamView ram;
    std::span<const std::byte> vram;
    int swap_fd = -1;  // -1: the guest has no swap; each page claimed there is missing
};

// The host as the third witness: every filled page of the ledger at its claimed place, wherever
// that is.
struct HostCheck {
    WitnessReport report;       // who = kHost; pages claimed nowhere are kMissing
    std::uint64_t in_ram = 0;   // good pages in guest RAM
    std::uint64_t in_vram = 0;  // good pages in VRAM
    SwapCheck swap;             // of the last placement
    std::uint64_t moved = 0;    // pages that recheck() found elsewhere
};

HostCheck check_host(const Ledger& ledger, const Placement& placement, const HostView& view,
                     const WitnessLog* log = nullptr, unsigned threads = 0);

// The guest runs on while the host looks, so a page may have moved between claim and look. Looks at
// the bad pages of @check again at the places of a @newer claim and takes those out that are good
// there. A page that stays bad after two or three rounds is bad.
void recheck_host(HostCheck& check, const Ledger& ledger, const Placement& newer,
                  const HostView& view);

}  // namespace vttm::oracle
