// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/ram_witness.h"

#include <array>
#include <cstring>
#include <optional>

#include "host-backend/oracle/claim_items.h"
#include "host-backend/oracle/parallel.h"

namespace vttm::oracle {
namespace {

using PageCopy = std::array<std::uint64_t, kPageSize / 8>;

// Holds claims against memory; @find gives the first byte of the page at an address, or nullptr.
template <typename Find>
ClaimCheck check_items(const std::vector<ClaimItem>& items, std::uint64_t key, unsigned threads,
                       const Find& find) {
    struct Partial {
        std::uint64_t checked = 0;
        std::vector<BadPage> bad;
    };
    std::vector<Partial> parts(threads);
    parallel_for(items.size(), threads, [&](std::size_t i, unsigned worker) {
        const ClaimItem& item = items[i];
        Partial& part = parts[worker];
        alignas(64) PageCopy copy;
        for (std::uint64_t p = 0; p < item.count; p++) {
            const vttm_stamp_id want = item.expected(key, p);
            const Place where = item.at(p);
            const std::byte* page = find(where.addr);
            part.checked++;
            if (!page) {
                part.bad.push_back(missing_page(want, where));
                continue;
            }
            std::memcpy(copy.data(), page, kPageSize);
            if (auto bad = examine(copy.data(), want, where)) part.bad.push_back(*bad);
        }
    });
    ClaimCheck out;
    for (Partial& part : parts) {
        out.checked += part.checked;
        out.bad.insert(out.bad.end(), part.bad.begin(), part.bad.end());
    }
    sort_by_page(out.bad);
    return out;
}

std::uint64_t pages_in(const std::vector<ByteRange>& ranges) {
    std::uint64_t n = 0;
    for (const ByteRange& r : ranges) n += r.length / kPageSize;
    return n;
}

}  // namespace

RamWitness::RamWitness(const Ledger& ledger, GuestRamView ram, unsigned threads)
    : ledger_(ledger), ram_(ram), threads_(thread_count(threads)) {}

ClaimCheck RamWitness::check(const Placement& placement) const {
    return check_items(claim_items(ledger_, placement, is_resident), ledger_.key(), threads_,
                       [this](std::uint64_t gpa) -> const std::byte* {
                           const auto at = ram_.offset(gpa);
                           return at ? ram_.bytes.data() + *at : nullptr;
                       });
}

PageClass RamWitness::classify_at(std::uint64_t gpa, const vttm_stamp_id& expected) const {
    const auto at = ram_.offset(gpa);
    if (!at) return PageClass::kMissing;
    alignas(64) PageCopy copy;
    std::memcpy(copy.data(), ram_.bytes.data() + *at, kPageSize);
    return classify(copy.data(), expected);
}

ScanResult RamWitness::scan() const {
    const std::vector<ByteRange> ranges =
        ram_.fd >= 0 ? data_ranges(ram_.fd, ram_.bytes.size())
                     : std::vector<ByteRange>{{0, ram_.bytes.size() / kPageSize * kPageSize}};
    std::vector<StampHit> hits = scan_pages(ram_.bytes, ledger_.key(), ranges, threads_);
    for (StampHit& hit : hits) hit.addr = ram_.gpa(hit.addr);
    return sort_hits(ledger_, std::move(hits), pages_in(ranges));
}

VramWitness::VramWitness(const Ledger& ledger, std::span<const std::byte> vram, unsigned threads)
    : ledger_(ledger), vram_(vram), threads_(thread_count(threads)) {}

ClaimCheck VramWitness::check(const Placement& placement) const {
    const auto vram_only = [](PlaceKind k) { return k == PlaceKind::kVram; };
    return check_items(claim_items(ledger_, placement, vram_only), ledger_.key(), threads_,
                       [this](std::uint64_t offset) -> const std::byte* {
                           if (vram_.size() < kPageSize || offset > vram_.size() - kPageSize) {
                               return nullptr;
                           }
                           return vram_.data() + offset;
                       });
}

}  // namespace vttm::oracle
