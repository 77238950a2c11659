// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/forensics.h"

#include <fmt/format.h>

#include <array>
#include <bit>
#include <cstring>

namespace vttm::oracle {
namespace {

constexpr std::size_t kWords = kPageSize / sizeof(std::uint64_t);
constexpr std::size_t kLineWords = VTTM_STAMP_LINE_SIZE / sizeof(std::uint64_t);
using Words = std::array<std::uint64_t, kWords>;

// Identity of the first line that is valid but not where it belongs.
std::optional<vttm_stamp_id> first_misplaced(const Words& got, const Words& want,
                                             std::uint64_t key) {
    for (std::size_t w = 0; w < kWords; w += kLineWords) {
        if (std::memcmp(&got[w], &want[w], VTTM_STAMP_LINE_SIZE) == 0) continue;
        vttm_stamp_id id{};
        std::uint32_t line = 0;
        if (vttm_stamp_parse_line(&got[w], key, &id, &line)) return id;
    }
    return std::nullopt;
}

}  // namespace

std::optional<BadPage> examine(const void* page, const vttm_stamp_id& expected,
                               const Place& where) {
    const PageClass cls = classify(page, expected);
    if (cls == PageClass::kGood) return std::nullopt;

    Words got, want;
    std::memcpy(got.data(), page, kPageSize);
    vttm_stamp_fill(want.data(), &expected);

    BadPage bad;
    bad.id = {expected.buffer, expected.page};
    bad.generation = expected.generation;
    bad.cls = cls;
    bad.where = where;
    bad.read = true;
    bad.found = first_misplaced(got, want, expected.key);
    std::optional<std::uint32_t> last_bad_line;
    for (std::size_t w = 0; w < kWords; w++) {
        const std::uint64_t diff = got[w] ^ want[w];
        if (!diff) continue;
        const auto line = static_cast<std::uint32_t>(w / kLineWords);
        if (!last_bad_line) {
            bad.first_bad_line = line;
            bad.first_bad_bit = static_cast<std::uint32_t>(w * 64 + std::countr_zero(diff));
        }
        if (last_bad_line != line) bad.bad_lines++;
        last_bad_line = line;
        bad.flipped_bits += static_cast<std::uint32_t>(std::popcount(diff));
    }
    return bad;
}

std::string describe(const Place& place) {
    switch (place.kind) {
        case PlaceKind::kNone:
            return "nowhere";
        case PlaceKind::kVram:
            return fmt::format("VRAM at {:#x}", place.addr);
        case PlaceKind::kSwap:
            return fmt::format("swap slot {}", place.slot);
        case PlaceKind::kSwapcache:
            return fmt::format("RAM at {:#x} (swapcache, slot {})", place.addr, place.slot);
        case PlaceKind::kGtt:
        case PlaceKind::kSystem:
        case PlaceKind::kShmem:
            return fmt::format("RAM at {:#x} ({})", place.addr, name_of(place.kind));
    }
    return "?";
}

std::string describe(const BadPage& bad) {
    std::string s =
        fmt::format("buffer {} page {}: {}", bad.id.buffer, bad.id.page, name_of(bad.cls));
    if (bad.where.kind != PlaceKind::kNone) {
        s += fmt::format(" in {}", describe(bad.where));
    } else if (bad.cls == PageClass::kMissing) {
        s += ", claimed nowhere";
    }
    if (bad.found) {
        s += fmt::format("; holds buffer {} page {} generation {}", bad.found->buffer,
                         bad.found->page, bad.found->generation);
    }
    s += fmt::format(" (expected generation {})", bad.generation);
    if (bad.read) {
        s += fmt::format(", first bad line {}, {} of 64 lines bad, {} bits differ from bit {}",
                         bad.first_bad_line, bad.bad_lines, bad.flipped_bits, bad.first_bad_bit);
    }
    return s;
}

std::string_view name_of(Witness w) {
    switch (w) {
        case Witness::kDevice:
            return "device";
        case Witness::kCpu:
            return "cpu";
        case Witness::kHost:
            return "host";
    }
    return "?";
}

ClassCounts WitnessReport::by_class() const {
    ClassCounts counts{};
    for (const BadPage& b : bad) counts[index_of(b.cls)]++;
    counts[index_of(PageClass::kGood)] = good();
    return counts;
}

}  // namespace vttm::oracle
