// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>

#include "protocol/vttm_stamp.h"

namespace vttm::oracle {

inline constexpr std::size_t kPageSize = VTTM_STAMP_PAGE_SIZE;

// A page of a buffer: what every witness talks about.
struct PageId {
    std::uint32_t buffer = 0;
    std::uint64_t page = 0;  // index in the buffer

    auto operator<=>(const PageId&) const = default;
};

struct PageIdHash {
    std::size_t operator()(const PageId& id) const noexcept {
        return static_cast<std::size_t>(
            vttm_mix64(id.page ^ (static_cast<std::uint64_t>(id.buffer) << 40)));
    }
};

// What a page turned out to be. The first seven are enum vttm_stamp_class; kMissing is the host's
// own: the page is claimed nowhere, or at a place that does not exist.
enum class PageClass : std::uint8_t {
    kGood = VTTM_STAMP_GOOD,
    kZero = VTTM_STAMP_ZERO,
    kStale = VTTM_STAMP_STALE,
    kForeign = VTTM_STAMP_FOREIGN,
    kTorn = VTTM_STAMP_TORN,
    kBitflip = VTTM_STAMP_BITFLIP,
    kGarbage = VTTM_STAMP_GARBAGE,
    kMissing = VTTM_STAMP_NUM_CLASSES,
};
inline constexpr std::size_t kNumPageClasses = VTTM_STAMP_NUM_CLASSES + 1;

// Pages by class; index with index_of().
using ClassCounts = std::array<std::uint64_t, kNumPageClasses>;

constexpr std::size_t index_of(PageClass c) { return static_cast<std::size_t>(c); }

// "good", "zero", "stale", "foreign", "torn", "bitflip", "garbage", "missing": the agent protocol's
// names.
std::string_view name_of(PageClass c);
std::optional<PageClass> page_class_from_name(std::string_view name);

// The class for a number of the protocol (enum vttm_stamp_class); nothing if it is none.
std::optional<PageClass> page_class_from_protocol(std::uint32_t value);

// Classifies the 4096 bytes at @page (8-byte aligned).
PageClass classify(const void* page, const vttm_stamp_id& expected);

}  // namespace vttm::oracle
