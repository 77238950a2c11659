// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace vttm::oracle {
namespace {

constexpr std::array<std::string_view, kNumPlaceKinds> kNames = {
    "none", "vram", "gtt", "system", "shmem", "swapcache", "swap"};

// 2^40 pages are 4 PiB: more is a broken number, and sums of it cannot wrap.
constexpr std::uint64_t kMaxPages = 1ull << 40;

// An address: a JSON number, or a string as the driver prints it ("0x1000" or "1000", hex).
std::uint64_t address_from(const nlohmann::json& v) {
    if (v.is_number_unsigned()) return v.get<std::uint64_t>();
    if (v.is_number_integer() && v.get<std::int64_t>() >= 0) return v.get<std::uint64_t>();
    if (v.is_string()) {
        const std::string& s = v.get_ref<const std::string&>();
        std::size_t used = 0;
        try {
            const std::uint64_t a = std::stoull(s, &used, 16);
            if (used == s.size() && !s.empty() && s[0] != '-') return a;
        } catch (const std::logic_error&) {
            // falls to the throw below
        }
    }
    throw PlacementError(fmt::format("placement: bad address {}", v.dump()));
}

std::uint64_t count_from(const nlohmann::json& v, std::string_view what) {
    if (!v.is_number_integer() || (!v.is_number_unsigned() && v.get<std::int64_t>() < 0) ||
        v.get<std::uint64_t>() > kMaxPages) {
        throw PlacementError(fmt::format("placement: bad {} {}", what, v.dump()));
    }
    return v.get<std::uint64_t>();
}

PlacementRun run_from(const nlohmann::json& v) {
    if (!v.is_array() || v.size() != 5) {
        throw PlacementError(
            fmt::format("placement: a run is [first, count, kind, addr, slot], not {}", v.dump()));
    }
    PlacementRun run;
    run.first = count_from(v[0], "first page");
    run.count = count_from(v[1], "page count");
    if (!v[2].is_string()) {
        throw PlacementError(fmt::format("placement: bad kind {}", v[2].dump()));
    }
    const auto kind = place_kind_from_name(v[2].get_ref<const std::string&>());
    if (!kind) throw PlacementError(fmt::format("placement: unknown kind {}", v[2].dump()));
    run.place.kind = *kind;
    run.place.addr = address_from(v[3]);
    if (!v[4].is_number_integer() ||
        (v[4].is_number_unsigned() && v[4].get<std::uint64_t>() > kMaxPages)) {
        throw PlacementError(fmt::format("placement: bad slot {}", v[4].dump()));
    }
    run.place.slot = v[4].get<std::int64_t>();
    return run;
}

void check_run(std::uint32_t id, std::uint64_t pages, const PlacementRun& run) {
    const auto fail = [&](std::string_view what) {
        throw PlacementError(
            fmt::format("placement: buffer {} of {} pages, run of {} pages at {}, kind {}, addr "
                        "{:#x}, slot {}: {}",
                        id, pages, run.count, run.first, name_of(run.place.kind), run.place.addr,
                        run.place.slot, what));
    };
    if (run.count == 0) fail("empty run");
    if (run.first >= pages || run.count > pages - run.first) fail("leaves the buffer");
    if (run.place.addr % kPageSize) fail("address is not page aligned");
    if (run.place.addr > std::numeric_limits<std::uint64_t>::max() - run.count * kPageSize) {
        fail("address range wraps");
    }
    if (is_resident(run.place.kind) && run.place.addr == 0) fail("resident without an address");
    if (has_slot(run.place.kind) && run.place.slot < 1) fail("no valid slot");
}

Place advanced(const Place& from, std::uint64_t pages) {
    Place p = from;
    if (is_resident(p.kind) || p.kind == PlaceKind::kVram) p.addr += pages * kPageSize;
    if (p.slot >= 0) p.slot += static_cast<std::int64_t>(pages);
    return p;
}

}  // namespace

std::string_view name_of(PlaceKind k) { return kNames.at(static_cast<std::size_t>(k)); }

std::optional<PlaceKind> place_kind_from_name(std::string_view name) {
    for (std::size_t i = 0; i < kNames.size(); i++) {
        if (kNames[i] == name) return static_cast<PlaceKind>(i);
    }
    return std::nullopt;
}

std::uint64_t PlacementSummary::total() const {
    std::uint64_t n = 0;
    for (const std::uint64_t p : pages) n += p;
    return n;
}

double PlacementSummary::swap_share() const {
    const std::uint64_t all = total();
    return all ? static_cast<double>((*this)[PlaceKind::kSwap]) / static_cast<double>(all) : 0.0;
}

Placement Placement::parse(const nlohmann::json& reply) {
    if (!reply.is_object() || !reply.contains("buffers") || !reply["buffers"].is_array()) {
        throw PlacementError("placement: the reply has no array `buffers`");
    }
    Placement out;
    for (const auto& b : reply["buffers"]) {
        if (!b.is_object() || !b.contains("id") || !b.contains("pages") || !b.contains("runs") ||
            !b["runs"].is_array()) {
            throw PlacementError("placement: a buffer needs `id`, `pages` and an array `runs`");
        }
        const std::uint64_t id = count_from(b["id"], "buffer id");
        if (id > std::numeric_limits<std::uint32_t>::max()) {
            throw PlacementError(fmt::format("placement: bad buffer id {}", id));
        }
        std::vector<PlacementRun> runs;
        runs.reserve(b["runs"].size());
        for (const auto& r : b["runs"]) runs.push_back(run_from(r));
        out.add_buffer(static_cast<std::uint32_t>(id), count_from(b["pages"], "page count"),
                       std::move(runs));
    }
    return out;
}

void Placement::add_buffer(std::uint32_t id, std::uint64_t pages, std::vector<PlacementRun> runs) {
    if (buffers_.contains(id)) {
        throw PlacementError(fmt::format("placement: buffer {} is listed twice", id));
    }
    if (pages > kMaxPages) {
        throw PlacementError(fmt::format("placement: buffer {} has {} pages", id, pages));
    }
    std::sort(runs.begin(), runs.end(),
              [](const PlacementRun& a, const PlacementRun& b) { return a.first < b.first; });
    std::uint64_t end = 0;
    for (const PlacementRun& run : runs) {
        check_run(id, pages, run);
        if (run.first < end) {
            throw PlacementError(
                fmt::format("placement: buffer {}: runs overlap at page {}", id, run.first));
        }
        end = run.first + run.count;
    }
    buffers_.emplace(id, Buffer{.pages = pages, .runs = std::move(runs)});
}

Place Placement::find(PageId id) const {
    const auto it = buffers_.find(id.buffer);
    if (it == buffers_.end()) return {};
    const auto& runs = it->second.runs;
    auto run =
        std::upper_bound(runs.begin(), runs.end(), id.page,
                         [](std::uint64_t page, const PlacementRun& r) { return page < r.first; });
    if (run == runs.begin()) return {};
    --run;
    if (id.page - run->first >= run->count) return {};
    return advanced(run->place, id.page - run->first);
}

std::uint64_t Placement::pages(std::uint32_t id) const {
    const auto it = buffers_.find(id);
    return it == buffers_.end() ? 0 : it->second.pages;
}

const std::vector<PlacementRun>* Placement::runs(std::uint32_t id) const {
    const auto it = buffers_.find(id);
    return it == buffers_.end() ? nullptr : &it->second.runs;
}

namespace {

void add_to(PlacementSummary& sum, const BufferInfo& b, const std::vector<PlacementRun>* runs) {
    std::uint64_t claimed = 0;
    for (const PlacementRun& r : runs ? *runs : std::vector<PlacementRun>{}) {
        if (r.first >= b.pages) continue;
        const std::uint64_t n = std::min(r.count, b.pages - r.first);
        sum.pages[static_cast<std::size_t>(r.place.kind)] += n;
        claimed += n;
    }
    sum.pages[static_cast<std::size_t>(PlaceKind::kNone)] += b.pages - claimed;
}

}  // namespace

PlacementSummary Placement::summary(const Ledger& ledger) const {
    PlacementSummary sum;
    for (const auto& [id, b] : ledger.buffers()) add_to(sum, b, runs(id));
    return sum;
}

PlacementSummary Placement::summary(const Ledger& ledger, Domain domain) const {
    PlacementSummary sum;
    for (const auto& [id, b] : ledger.buffers()) {
        if (b.domain == domain) add_to(sum, b, runs(id));
    }
    return sum;
}

double Placement::gtt_swap_share(const Ledger& ledger) const {
    return summary(ledger, Domain::kGtt).swap_share();
}

}  // namespace vttm::oracle
