// SPDX-License-Identifier: Apache-2.0
// Fault plans of the host out of an input's bytes: each kind, with all that it can say. Always ones
// that are taken: what is refused is for tests/unit/model/fault_plan_test.cc.
#pragma once

#include <string>

#include "tests/fuzz/input.h"

namespace vttm::fuzz {

// Of at most @most rules, over VRAM of @vram_size. May be an empty one.
std::string fault_plan(Input& in, unsigned most, uint64_t vram_size);

}  // namespace vttm::fuzz
