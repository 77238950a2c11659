// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "host-backend/oracle/ledger.h"
#include "host-backend/oracle/placement.h"

namespace vttm::cli {

// Pages of the ledger's buffers that the guest claims in VRAM at @offset or above.
std::uint64_t pages_in_vram_from(const oracle::Placement& claim, const oracle::Ledger& ledger,
                                 std::uint64_t offset);

}  // namespace vttm::cli
