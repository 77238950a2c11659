// SPDX-License-Identifier: Apache-2.0
// Turns arbitrary bytes into a guest that attacks the model: register accesses, ring and page-table
// content, packets, resets, holes in RAM. Shared by the unit test, the libFuzzer target and its
// stand-alone driver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace vttm::fuzz {

// Runs @data against a fresh model. Returns an empty string, or what the model did wrong: memory
// outside of RAM or VRAM touched, a mapping left behind, an engine that cannot be revived by reset.
// (What the sanitizers see, they report themselves.)
std::string run_model_input(const uint8_t* data, size_t size);

}  // namespace vttm::fuzz
