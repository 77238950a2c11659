// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/swap_witness.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include "host-backend/oracle/claim_items.h"
#include "host-backend/oracle/file_io.h"
#include "host-backend/oracle/parallel.h"
#include "host-backend/oracle/witness_log.h"

namespace vttm::oracle {
namespace {

// Slot of each page of one buffer whose content is good on disk; -1 elsewhere.
using GoodSlots = std::vector<std::int64_t>;

// True if the device last saw the group as one aligned 2 MiB stretch of guest RAM.
bool was_huge(const WitnessLog& log, const BufferInfo& b, std::uint64_t first) {
    std::uint64_t start = 0;
    for (std::uint64_t done = 0; done < kHugePages;) {
        const SightingSpan span = log.last_span({b.id, first + done}, b.generation);
        if (!span.first || !span.first->system) return false;
        if (done == 0) start = span.first->phys;
        if (span.first->phys != start + done * kPageSize) return false;
        done += std::min(span.count, kHugePages - done);
    }
    return start % (kHugePages * kPageSize) == 0;
}

RunStats runs_of(const BufferInfo& b, const GoodSlots& slots, const WitnessLog* log) {
    RunStats stats;
    for (std::uint64_t first = 0; first + kHugePages <= slots.size(); first += kHugePages) {
        bool whole = true, in_order = true;
        for (std::uint64_t i = 0; whole && i < kHugePages; i++) {
            whole = slots[first + i] >= 0;
            in_order &= slots[first + i] == slots[first] + static_cast<std::int64_t>(i);
        }
        if (!whole) continue;
        const bool huge = log && was_huge(*log, b, first);
        stats.groups++;
        stats.unsplit += in_order;
        stats.huge_groups += huge;
        stats.huge_unsplit += huge && in_order;
    }
    return stats;
}

// What one thread found.
struct Partial {
    std::uint64_t checked = 0, cached = 0, cached_on_disk = 0, gtt_on_disk = 0;
    std::vector<BadPage> bad;
};

}  // namespace

RunStats& RunStats::operator+=(const RunStats& o) {
    groups += o.groups;
    unsplit += o.unsplit;
    huge_groups += o.huge_groups;
    huge_unsplit += o.huge_unsplit;
    return *this;
}

SwapWitness::SwapWitness(const Ledger& ledger, int fd, unsigned threads)
    : ledger_(ledger), fd_(fd), threads_(thread_count(threads)) {
    file_size(fd_);  // throws for a descriptor that is no swap image
}

SwapCheck SwapWitness::check(const Placement& placement, const WitnessLog* log) const {
    const std::vector<ClaimItem> items = claim_items(ledger_, placement, has_slot);
    std::map<std::uint32_t, GoodSlots> good;
    for (const ClaimItem& item : items) {
        if (!good.contains(item.buffer)) {
            good.emplace(item.buffer, GoodSlots(ledger_.find(item.buffer)->pages, -1));
        }
    }
    std::vector<Partial> parts(threads_);
    std::vector<std::vector<std::uint64_t>> buffers(threads_);
    parallel_for(items.size(), threads_, [&](std::size_t i, unsigned worker) {
        const ClaimItem& item = items[i];
        Partial& part = parts[worker];
        // Pages of an item lie in one row on disk; no other item writes these entries of @slots.
        GoodSlots& slots = good.find(item.buffer)->second;
        std::vector<std::uint64_t>& buf = buffers[worker];
        buf.resize(item.count * (kPageSize / 8));
        const std::size_t have = read_at(fd_, buf.data(), item.count * kPageSize,
                                         static_cast<std::uint64_t>(item.place.slot) * kPageSize) /
                                 kPageSize;
        const bool cached = item.place.kind == PlaceKind::kSwapcache;
        const bool gtt = ledger_.find(item.buffer)->domain == Domain::kGtt;
        for (std::uint64_t p = 0; p < item.count; p++) {
            const vttm_stamp_id want = item.expected(ledger_.key(), p);
            const Place where = item.at(p);
            std::optional<BadPage> bad;
            if (p >= have) {
                bad = missing_page(want, where);
            } else {
                bad = examine(buf.data() + p * (kPageSize / 8), want, where);
            }
            if (!bad) slots[item.first + p] = where.slot;
            part.gtt_on_disk += gtt && !bad;
            if (cached) {
                part.cached++;
                part.cached_on_disk += !bad;
            } else {
                part.checked++;
                if (bad) part.bad.push_back(*bad);
            }
        }
    });
    SwapCheck out;
    for (const Partial& part : parts) {
        out.claims.checked += part.checked;
        out.claims.bad.insert(out.claims.bad.end(), part.bad.begin(), part.bad.end());
        out.cached += part.cached;
        out.cached_on_disk += part.cached_on_disk;
        out.gtt_on_disk += part.gtt_on_disk;
    }
    sort_by_page(out.claims.bad);
    out.gtt_pages = ledger_.pages(Domain::kGtt);
    for (const auto& [id, slots] : good) out.runs += runs_of(*ledger_.find(id), slots, log);
    return out;
}

PageClass SwapWitness::classify_at(std::int64_t slot, const vttm_stamp_id& expected) const {
    if (slot < 1) return PageClass::kMissing;
    alignas(64) std::array<std::uint64_t, kPageSize / 8> page;
    if (read_at(fd_, page.data(), kPageSize, static_cast<std::uint64_t>(slot) * kPageSize) <
        kPageSize) {
        return PageClass::kMissing;
    }
    return classify(page.data(), expected);
}

}  // namespace vttm::oracle
