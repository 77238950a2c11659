// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "host-backend/oracle/page.h"
#include "host-backend/oracle/placement.h"

namespace vttm::oracle {

// Everything the oracle can say of one bad page.
struct BadPage {
    PageId id;
    std::uint32_t generation = 0;  // that was expected
    PageClass cls = PageClass::kMissing;
    Place where;  // kNone: the witness did not say
    // What it holds instead: the identity of the whole page (stale, foreign) or of its first valid
    // line that does not belong there (torn).
    std::optional<vttm_stamp_id> found;
    // The rest is known only when the host has read the page (@read).
    bool read = false;
    std::uint32_t first_bad_line = 0;  // 0..63
    std::uint32_t bad_lines = 0;       // 1..64
    std::uint32_t flipped_bits = 0;    // bits that differ from the expected page
    std::uint32_t first_bad_bit = 0;   // bit index in the page (byte * 8 + bit), 0..32767
};

// Compares the 4096 bytes at @page (8-byte aligned) with @expected. Returns nothing if it is good.
std::optional<BadPage> examine(const void* page, const vttm_stamp_id& expected, const Place& where);

// One line of text, for example
// "buffer 7 page 12: stale in swap slot 345 (generation 2, expected 3), first bad line 0, 64 bad".
std::string describe(const BadPage& bad);
std::string describe(const Place& place);

// Which witness looked.
enum class Witness : std::uint8_t { kDevice, kCpu, kHost };
std::string_view name_of(Witness w);

// What one witness found in one check of all pages: every page is good that was checked and is not
// in @bad.
struct WitnessReport {
    Witness who = Witness::kHost;
    bool present = false;       // the witness was asked at all
    std::uint64_t checked = 0;  // distinct pages
    std::vector<BadPage> bad;   // every bad page, in the order of (buffer, page), each once

    std::uint64_t good() const { return checked - bad.size(); }
    ClassCounts by_class() const;  // with the good ones at kGood
};

}  // namespace vttm::oracle
