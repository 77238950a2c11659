// SPDX-License-Identifier: Apache-2.0
// A page of stamps, made and checked by the widest vectors that this CPU has: what is done is
// protocol/vttm_stamp.h, compiled more than once.
#pragma once

#include <cstdint>

#include "protocol/vttm_stamp.h"

namespace vttm::model {

// 64 bits times 64 bits, the work of a stamp, is one vector instruction in AVX-512DQ, and three
// multiplications of 32 bits in AVX2; what every x86-64 has is slower so than one word at a time.
enum class StampCode { portable, avx2, avx512 };

// Whether this CPU runs @code.
bool can_run(StampCode code);

using FillStamp = void (*)(void* page, const vttm_stamp_id& id);
using StampIsGood = bool (*)(const void* page, const vttm_stamp_id& id);
struct StampPage {
    FillStamp fill;
    StampIsGood is_good;  // reads each word once, of a bad page too
};
const StampPage& stamp_page(StampCode code);
// The best that this CPU runs.
const StampPage& stamp_page();

}  // namespace vttm::model
