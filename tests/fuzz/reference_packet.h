// SPDX-License-Identifier: Apache-2.0
// What protocol/README.md says of packets, their framing and COND_SKIP, written a second time.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "protocol/vttm_regs.h"

namespace vttm::fuzz {

// A dword, or why it cannot be read.
struct ReadWord {
    vttm_fault_reason reason = VTTM_FAULT_NONE;
    uint32_t word = 0;
};

struct Fetched {
    vttm_fault_reason reason = VTTM_FAULT_NONE;
    std::vector<uint32_t> words;
};

// The packet that begins with dword 0 of @there; @read gives them by number.
Fetched reference_fetch(vttm_engine_class cls, uint32_t there,
                        const std::function<ReadWord(uint32_t)>& read);
// Whether a header that was fetched has but flags that the packet knows.
bool reference_flags_ok(uint32_t header);
// Every packet that there is, by number.
struct Frame {
    uint8_t op, copy, stamp;  // which engines know it
    uint32_t min, max, flags;
};
const Frame& reference_frame(unsigned number);

// A comparison; false is also what is none.
bool reference_compares(uint32_t how, uint64_t memory, uint64_t value);

}  // namespace vttm::fuzz
