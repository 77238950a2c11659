// SPDX-License-Identifier: Apache-2.0
// Turns arbitrary bytes into a guest that attacks the model: register accesses, ring and page-table
// content, packets, resets, also in the middle of packets. Shared by the unit test, the libFuzzer
// target and its stand-alone driver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace vttm::fuzz {

// Runs @data against a model that lives on and is reset behind it. Returns an empty string, or what
// the model did wrong: memory outside of RAM or VRAM touched, a mapping left behind, an engine that
// does not come to rest or cannot be revived by reset, something that survived the reset.
// @thorough: all of RAM and VRAM is compared. (What the sanitizers see, they report themselves.)
std::string run_model_input(const uint8_t* data, size_t size, bool thorough);

// Against the model that lives on and against a new one: all that the input sees must be equal.
std::string run_model_input_twice(const uint8_t* data, size_t size);

}  // namespace vttm::fuzz
