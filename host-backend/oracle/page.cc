// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/page.h"

namespace vttm::oracle {
namespace {

constexpr std::array<std::string_view, kNumPageClasses> kNames = {
    "good", "zero", "stale", "foreign", "torn", "bitflip", "garbage", "missing"};

}  // namespace

std::string_view name_of(PageClass c) { return kNames.at(index_of(c)); }

std::optional<PageClass> page_class_from_name(std::string_view name) {
    for (std::size_t i = 0; i < kNames.size(); i++) {
        if (kNames[i] == name) return static_cast<PageClass>(i);
    }
    return std::nullopt;
}

std::optional<PageClass> page_class_from_protocol(std::uint32_t value) {
    if (value >= VTTM_STAMP_NUM_CLASSES) return std::nullopt;
    return static_cast<PageClass>(value);
}

PageClass classify(const void* page, const vttm_stamp_id& expected) {
    // The cheap check first: nearly all pages are good.
    if (vttm_stamp_check(page, &expected)) return PageClass::kGood;
    return static_cast<PageClass>(vttm_stamp_classify(page, &expected));
}

}  // namespace vttm::oracle
