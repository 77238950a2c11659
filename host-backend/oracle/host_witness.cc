// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/host_witness.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "host-backend/oracle/claim_items.h"
#include "host-backend/oracle/file_io.h"

namespace vttm::oracle {
namespace {

using PageCopy = std::array<std::uint64_t, kPageSize / 8>;

void take(WitnessReport& report, const ClaimCheck& part) {
    report.checked += part.checked;
    report.bad.insert(report.bad.end(), part.bad.begin(), part.bad.end());
}

// Filled pages that the guest claims nowhere: where each should be, there is nothing.
void add_unclaimed(WitnessReport& report, const Ledger& ledger, const Placement& placement) {
    static const std::vector<PlacementRun> kNoRuns;
    for (const auto& [id, b] : ledger.buffers()) {
        if (b.generation == 0) continue;
        const auto* runs = placement.runs(id);
        std::uint64_t next = 0;
        const auto missing_up_to = [&, buffer = id](std::uint64_t end) {
            for (; next < end; next++) {
                report.bad.push_back(missing_page(*ledger.expected({buffer, next}), Place{}));
                report.checked++;
            }
        };
        for (const PlacementRun& r : runs ? *runs : kNoRuns) {
            if (r.place.kind == PlaceKind::kNone || r.first >= b.pages) continue;
            missing_up_to(r.first);
            next = std::min(b.pages, r.first + r.count);
        }
        missing_up_to(b.pages);
    }
}

// Copies the page at @place; false if there is no such place.
bool read_place(const HostView& view, const Place& place, PageCopy& to) {
    const std::byte* from = nullptr;
    if (is_resident(place.kind)) {
        if (const auto at = view.ram.offset(place.addr)) from = view.ram.bytes.data() + *at;
    } else if (place.kind == PlaceKind::kVram) {
        if (view.vram.size() >= kPageSize && place.addr <= view.vram.size() - kPageSize) {
            from = view.vram.data() + place.addr;
        }
    } else if (place.kind == PlaceKind::kSwap && view.swap_fd >= 0 && place.slot >= 1) {
        return read_at(view.swap_fd, to.data(), kPageSize,
                       static_cast<std::uint64_t>(place.slot) * kPageSize) == kPageSize;
    }
    if (!from) return false;
    std::memcpy(to.data(), from, kPageSize);
    return true;
}

}  // namespace

HostCheck check_host(const Ledger& ledger, const Placement& placement, const HostView& view,
                     const WitnessLog* log, unsigned threads) {
    HostCheck out;
    out.report.who = Witness::kHost;
    out.report.present = true;

    const ClaimCheck ram = RamWitness(ledger, view.ram, threads).check(placement);
    const ClaimCheck vram = VramWitness(ledger, view.vram, threads).check(placement);
    out.in_ram = ram.good();
    out.in_vram = vram.good();
    take(out.report, ram);
    take(out.report, vram);
    if (view.swap_fd >= 0) {
        out.swap = SwapWitness(ledger, view.swap_fd, threads).check(placement, log);
        take(out.report, out.swap.claims);
    } else {
        const auto in_swap = [](PlaceKind k) { return k == PlaceKind::kSwap; };
        for (const ClaimItem& item : claim_items(ledger, placement, in_swap)) {
            for (std::uint64_t i = 0; i < item.count; i++) {
                out.report.bad.push_back(missing_page(item.expected(ledger.key(), i), item.at(i)));
                out.report.checked++;
            }
        }
    }
    add_unclaimed(out.report, ledger, placement);
    sort_by_page(out.report.bad);
    return out;
}

void recheck_host(HostCheck& check, const Ledger& ledger, const Placement& newer,
                  const HostView& view) {
    std::vector<BadPage> still;
    alignas(64) PageCopy copy;
    for (const BadPage& was : check.report.bad) {
        const auto want = ledger.expected(was.id);
        if (!want) {
            still.push_back(was);
            continue;
        }
        const Place place = newer.find(was.id);
        std::optional<BadPage> bad;
        if (read_place(view, place, copy)) {
            bad = examine(copy.data(), *want, place);
        } else {
            bad = missing_page(*want, place);
        }
        if (bad) {
            still.push_back(*bad);
            continue;
        }
        check.moved++;
        check.in_ram += is_resident(place.kind);
        check.in_vram += place.kind == PlaceKind::kVram;
    }
    check.report.bad = std::move(still);
}

}  // namespace vttm::oracle
