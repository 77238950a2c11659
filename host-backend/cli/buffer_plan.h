// SPDX-License-Identifier: Apache-2.0
// Which buffers a swap cycle makes: sizes from 4 KiB to 16 MiB, in GTT and VRAM, WB and WC.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace vttm::cli {

struct PlannedBuffer {
    std::uint32_t id;  // stamp buffer id, from 1
    std::uint64_t bytes;
    std::string domain;   // "gtt" or "vram"
    std::string caching;  // "wb" or "wc"
    bool cpu_fill;        // filled by the guest's CPU instead of the device
};

struct PlanRequest {
    std::uint64_t seed;
    std::uint64_t gtt_bytes;
    std::uint64_t vram_bytes;
    std::uint32_t first_id = 1;
};

// In the order of ids, sizes mixed. Deterministic in the request. The totals are met to the page. About half of the bytes are in 2 MiB
// buffers (the order-9 case); the rest is spread evenly (by bytes) over 4 KiB .. 16 MiB and odd sizes.
// Throws std::invalid_argument if a total is no multiple of 4 KiB.
std::vector<PlannedBuffer> plan_buffers(const PlanRequest& request);

}  // namespace vttm::cli
