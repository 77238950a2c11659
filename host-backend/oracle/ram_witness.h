// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "host-backend/oracle/forensics.h"
#include "host-backend/oracle/guest_ram.h"
#include "host-backend/oracle/ledger.h"
#include "host-backend/oracle/placement.h"
#include "host-backend/oracle/scan.h"

namespace vttm::oracle {

// Result of holding the claims of one storage against its bytes.
struct ClaimCheck {
    std::uint64_t checked = 0;  // pages claimed there that the ledger expects
    std::vector<BadPage> bad;   // in the order of (buffer, page)

    std::uint64_t good() const { return checked - bad.size(); }
};

// Looks into guest RAM. The guest may run meanwhile: each page is copied before it is judged.
class RamWitness {
public:
    // @threads 0 = one per CPU. The ledger must outlive the witness.
    RamWitness(const Ledger& ledger, GuestRamView ram, unsigned threads = 0);

    // Each page claimed resident (gtt, system, shmem, swapcache) at its guest-physical address. An
    // address outside RAM is kMissing.
    ClaimCheck check(const Placement& placement) const;
    // One page at one address.
    PageClass classify_at(std::uint64_t gpa, const vttm_stamp_id& expected) const;

    // All of RAM, without any claim; addr are guest-physical addresses. With init_on_free=1 in the
    // guest every hit is live.
    ScanResult scan() const;

private:
    const Ledger& ledger_;
    GuestRamView ram_;
    unsigned threads_;
};

// Looks into VRAM (the device's memory file), at the places that are claimed. Freed VRAM keeps its
// bytes, so a stamp elsewhere proves nothing.
class VramWitness {
public:
    VramWitness(const Ledger& ledger, std::span<const std::byte> vram, unsigned threads = 0);

    ClaimCheck check(const Placement& placement) const;  // kind vram

private:
    const Ledger& ledger_;
    std::span<const std::byte> vram_;
    unsigned threads_;
};

}  // namespace vttm::oracle
