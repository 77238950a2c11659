// SPDX-License-Identifier: Apache-2.0
// Turns arbitrary bytes into packets and page tables for one engine's parts, without its thread:
// decoder, page-table walk and caches, executors. What they do is compared with what the protocol
// says, written a second time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace vttm::fuzz {

// Returns an empty string, or how the model differs from the protocol. @thorough: all of the memory
// is compared afterwards.
std::string run_walk_input(const uint8_t* data, size_t size, bool thorough);

}  // namespace vttm::fuzz
