// SPDX-License-Identifier: Apache-2.0
// What surrounds the fields of a saved device. docs/migration.md says what is in it and what is not.
//
//     8 bytes  "vttm-gpu"
//     u32      kStateVersion: another one is refused
//     u32      bytes in all, the header and the checksum included
//     u64      device time (VTTM_REG_TIMESTAMP)
//     ...      sections (state_stream.h)
//     u64      XXH64 of all before it, seed 0: against accidents; whoever means harm can make it, too
#pragma once

#include <cstdint>

#include "host-backend/model/state_stream.h"

namespace vttm::model {

// The format: a field more, less, or with another meaning is another version.
inline constexpr uint32_t kStateVersion = 1;
inline constexpr size_t kStateHeader = 24;
inline constexpr size_t kStateChecksum = 8;
inline constexpr size_t kStateTime = 16;  // where device time lies

// Makes the checksum right. For save(), and for tests that change bytes.
void seal_state(StateBytes& bytes);

}  // namespace vttm::model
