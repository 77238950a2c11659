// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "host-backend/oracle/ledger.h"
#include "host-backend/oracle/page.h"

namespace vttm::oracle {

// Where the guest says a page is (docs/agent-protocol.md, `placement`).
enum class PlaceKind : std::uint8_t { kNone, kVram, kGtt, kSystem, kShmem, kSwapcache, kSwap };
inline constexpr std::size_t kNumPlaceKinds = 7;

std::string_view name_of(PlaceKind k);
std::optional<PlaceKind> place_kind_from_name(std::string_view name);

// The page is in guest RAM: addr is a guest-physical address.
constexpr bool is_resident(PlaceKind k) {
    return k == PlaceKind::kGtt || k == PlaceKind::kSystem || k == PlaceKind::kShmem ||
           k == PlaceKind::kSwapcache;
}
// The page has a swap slot.
constexpr bool has_slot(PlaceKind k) { return k == PlaceKind::kSwapcache || k == PlaceKind::kSwap; }

struct Place {
    PlaceKind kind = PlaceKind::kNone;
    std::uint64_t addr = 0;  // bytes: VRAM offset or guest-physical address; 0 for swap and none
    std::int64_t slot = -1;  // 4 KiB pages from the start of the swap device; -1 = none

    bool operator==(const Place&) const = default;
};

struct PlacementRun {
    std::uint64_t first = 0;
    std::uint64_t count = 0;
    Place place;  // of the first page; addr grows by 4096 and slot by 1 per page
};

// Pages by kind; index with static_cast<std::size_t>(kind).
struct PlacementSummary {
    std::array<std::uint64_t, kNumPlaceKinds> pages{};

    std::uint64_t operator[](PlaceKind k) const { return pages[static_cast<std::size_t>(k)]; }
    std::uint64_t total() const;
    // Share of the pages in @total that are in swap and no longer in RAM, 0..1; 0 if no pages.
    double swap_share() const;
};

class PlacementError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// The guest's claim, parsed. The host believes of it only what it then finds itself.
class Placement {
public:
    // @reply: the agent's `placement` reply (or an object with its `buffers`). Throws
    // PlacementError if it is malformed: unknown kind, runs that overlap or leave the buffer, a
    // resident page without an address, an address that is not page aligned, a missing slot or one
    // below 1. Two pages that claim one place are no error here: their content will tell.
    static Placement parse(const nlohmann::json& reply);

    // Throws PlacementError as above. A buffer's runs may come in any order.
    void add_buffer(std::uint32_t id, std::uint64_t pages, std::vector<PlacementRun> runs);

    // kNone for a page that is not claimed.
    Place find(PageId id) const;

    std::uint64_t pages(std::uint32_t id) const;  // 0 if unknown
    // Sorted by first page, without gaps being filled; nullptr if unknown.
    const std::vector<PlacementRun>* runs(std::uint32_t id) const;

    // All pages of the ledger's buffers (those the guest does not list count as kNone), or those of
    // one domain.
    PlacementSummary summary(const Ledger& ledger) const;
    PlacementSummary summary(const Ledger& ledger, Domain domain) const;
    // Fraction (0..1) of GTT-domain pages that are claimed in swap (kind swap).
    double gtt_swap_share(const Ledger& ledger) const;

private:
    struct Buffer {
        std::uint64_t pages = 0;
        std::vector<PlacementRun> runs;
    };
    std::map<std::uint32_t, Buffer> buffers_;
};

}  // namespace vttm::oracle
