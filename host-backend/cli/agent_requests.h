// SPDX-License-Identifier: Apache-2.0
// What the session asks of the agent, and what it reads out of the replies; no machine needed.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <vector>

#include "host-backend/cli/buffer_plan.h"
#include "host-backend/oracle/ledger.h"
#include "host-backend/oracle/verdict.h"

namespace vttm::cli {

enum class By { kDevice, kCpu };

// The argument of buffers.create.
nlohmann::json create_request(std::span<const PlannedBuffer> buffers);
// The same as the ledger books it.
oracle::BufferInfo booked(const PlannedBuffer& buffer);

// One buffers.verify: buffers of one generation.
struct Portion {
    std::uint32_t generation = 0;
    std::uint64_t pages = 0;
    std::vector<std::uint32_t> ids;
};
// All filled buffers of the ledger, each once, in portions that end with the buffer that reaches
// portion_pages. Ids grow within a generation for the device and fall for the CPU: the buffers are more
// than RAM, so the second reader goes the other way round and meets what the first one left resident
// instead of chasing it out page by page.
std::vector<Portion> verify_portions(const oracle::Ledger& ledger, By by, std::uint64_t portion_pages);

// The reply to `counters`: /proc/vmstat and ttm's backup_stats by their names, vttm's stats with "vttm."
// before, those of the swap cache backup with "swap_backup.", those of the hog's memory cgroup (once there is one)
// with "memcg.", and "swap_used" in pages. Throws nlohmann::json::exception if there is no "swaps".
oracle::Counters parse_counters(const nlohmann::json& reply);

}  // namespace vttm::cli
