// SPDX-License-Identifier: Apache-2.0
// Random layouts with random faults: every witness finds exactly the planted faults.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "host-backend/oracle/plant.h"
#include "host-backend/oracle/verdict.h"
#include "host-backend/oracle/witness_log.h"
#include "tests/unit/oracle/fake_guest.h"

namespace vttm::oracle::test {
namespace {

class RandomGuest : public ::testing::TestWithParam<unsigned> {
protected:
    std::uint64_t below(std::uint64_t n) { return random_() % n; }

    // Addresses in random order, each handed out once.
    struct Pool {
        std::vector<std::uint64_t> free;
        std::uint64_t take() {
            const std::uint64_t v = free.back();
            free.pop_back();
            return v;
        }
    };
    Pool pool(std::uint64_t first, std::uint64_t end) {
        Pool p;
        for (std::uint64_t i = first; i < end; i++) p.free.push_back(i);
        // Partly shuffled, so that runs of every length come about.
        for (std::size_t i = 0; i < p.free.size() / 8; i++) {
            std::swap(p.free[below(p.free.size())], p.free[below(p.free.size())]);
        }
        return p;
    }

    void build() {
        ram_ = pool(1, 4096);
        vram_ = pool(0, 1024);
        swap_ = pool(1, 8192);
        const std::uint64_t buffers = 2 + below(12);
        for (std::uint32_t id = 1; id <= buffers; id++) {
            const bool vram = below(4) == 0;
            const std::uint64_t pages = 1 + below(vram ? 60 : 700);
            g_.add(id, pages, vram ? Domain::kVram : Domain::kGtt,
                   static_cast<std::uint32_t>(2 + below(3)));
            for (std::uint64_t p = 0; p < pages; p++) place({id, p}, vram);
        }
        ghosts();
    }

    void place(PageId id, bool vram) {
        Place at;
        switch (below(vram ? 6 : 5)) {
            case 0:
                at = in_gtt(g_.gpa(ram_.take()));
                break;
            case 1:
                at = in_shmem(g_.gpa(ram_.take()));
                break;
            case 2:
                at = in_cache(g_.gpa(ram_.take()), static_cast<std::int64_t>(swap_.take()));
                break;
            case 5:
                at = in_vram(vram_.take() * kPageSize);
                break;
            default:
                at = in_swap(static_cast<std::int64_t>(swap_.take()));
        }
        // Pages in the swap cache may or may not be on disk already.
        g_.put(id, at, at.kind != PlaceKind::kSwapcache || below(2));
        where_[id] = at;
    }

    // Left-overs that no check of claims may count: in free slots and free VRAM.
    void ghosts() {
        for (int i = 0; i < 50; i++) {
            auto it = where_.begin();
            std::advance(it, below(where_.size()));
            const auto id = it->first;
            const std::uint32_t now = g_.ledger.expected(id)->generation;
            const auto gen = static_cast<std::uint32_t>(now - below(2));
            if (below(2)) {
                g_.write_swap(static_cast<std::int64_t>(swap_.take()),
                              g_.stamp(id.buffer, id.page, gen));
            } else {
                g_.write_vram(vram_.take() * kPageSize, g_.stamp(id.buffer, id.page, gen));
            }
        }
    }

    PageStore& store_of(PlaceKind kind) {
        if (kind == PlaceKind::kSwap) return swap_store_;
        if (kind == PlaceKind::kVram) return vram_store_;
        return ram_store_;
    }

    Target target(PageId id) { return {g_.ledger.expected(id).value(), store_addr(where_.at(id))}; }

    void plant_one(std::vector<PageId>& candidates) {
        const PageId id = candidates.back();
        candidates.pop_back();
        const PlaceKind kind = where_.at(id).kind;
        PageStore& store = store_of(kind);
        Planted p;
        switch (below(6)) {
            case 0: {
                std::set<std::uint32_t> bits;
                const std::size_t n = 1 + below(8);
                while (bits.size() < n) bits.insert(static_cast<std::uint32_t>(below(32768)));
                const std::vector<std::uint32_t> list(bits.begin(), bits.end());
                p = plant_bit_flip(store, target(id), list);
                break;
            }
            case 1:
                p = plant_stale(store, target(id), target(id).id.generation - 1);
                break;
            case 2:
                p = plant_zero(store, target(id));
                break;
            case 3: {
                const auto other = std::find_if(
                    candidates.begin(), candidates.end(),
                    [&](const PageId& o) { return &store_of(where_.at(o).kind) == &store; });
                if (other == candidates.end()) return;
                p = plant_swapped_pages(store, target(id), target(*other));
                candidates.erase(other);
                break;
            }
            case 4: {  // torn: a part of an older generation or of zeroes
                PageBytes page;
                store.read(target(id).addr, page);
                PageBytes old{};
                if (below(2)) {
                    vttm_stamp_id older = target(id).id;
                    older.generation--;
                    alignas(8) PageBytes aligned;
                    vttm_stamp_fill(aligned.data(), &older);
                    old = aligned;
                }
                const std::size_t from = below(63), lines = 1 + below(63 - from);
                std::memcpy(page.data() + from * 64, old.data() + from * 64, lines * 64);
                store.write(target(id).addr, page);
                p.changes.push_back({id, target(id).addr, PageClass::kTorn, {}});
                break;
            }
            default: {  // garbage
                PageBytes page;
                store.read(target(id).addr, page);
                for (std::byte& b : page) b = static_cast<std::byte>(below(256));
                store.write(target(id).addr, page);
                p.changes.push_back({id, target(id).addr, PageClass::kGarbage, {}});
            }
        }
        for (const auto& c : p.changes) planted_[c.id] = c.expected;
    }

    // What the device and the CPU would report: they see the same bytes.
    WitnessReport others(Witness who) {
        WitnessReport r;
        r.who = who;
        r.present = true;
        r.checked = g_.ledger.filled_pages();
        for (const auto& [id, cls] : planted_) {
            BadPage b;
            b.id = id;
            b.cls = cls;
            r.bad.push_back(b);
        }
        return r;
    }

    std::mt19937_64 random_{GetParam()};
    FakeGuest g_;
    Pool ram_, vram_, swap_;
    std::map<PageId, Place> where_;
    RamStore ram_store_{g_.ram()};
    VramStore vram_store_{g_.vram()};
    SwapStore swap_store_{g_.swap_fd()};
    std::map<PageId, PageClass> planted_;
};

TEST_P(RandomGuest, TheHostFindsExactlyThePlantedFaults) {
    build();
    const Placement claim = g_.placement();
    HostCheck clean = check_host(g_.ledger, claim, g_.view());
    ASSERT_TRUE(clean.report.bad.empty()) << describe(clean.report.bad.front());
    ASSERT_EQ(clean.report.checked, g_.ledger.filled_pages());

    std::vector<PageId> candidates;
    for (const auto& [id, at] : where_) candidates.push_back(id);
    std::shuffle(candidates.begin(), candidates.end(), random_);
    const std::size_t faults = 1 + below(20);
    for (std::size_t i = 0; i < faults && !candidates.empty(); i++) plant_one(candidates);

    const HostCheck found = check_host(g_.ledger, claim, g_.view(), nullptr, 1 + below(4));
    std::map<PageId, PageClass> got;
    for (const BadPage& b : found.report.bad) {
        EXPECT_TRUE(got.emplace(b.id, b.cls).second) << "listed twice: " << describe(b);
        EXPECT_EQ(b.where, where_.at(b.id));
    }
    EXPECT_EQ(got, planted_);
    EXPECT_EQ(found.report.good(), g_.ledger.filled_pages() - planted_.size());

    // A second look at the same claim forgives nothing.
    HostCheck again = found;
    recheck_host(again, g_.ledger, claim, g_.view());
    EXPECT_EQ(again.report.bad.size(), planted_.size());

    // And the scan agrees: what is whole in RAM is live once.
    const ScanResult scan = RamWitness(g_.ledger, g_.ram()).scan();
    std::uint64_t whole_in_ram = 0;
    for (const auto& [id, at] : where_) {
        if (!is_resident(at.kind)) continue;
        const auto hit = scan.live.find(id);
        // Swapped pages are whole and live, in the other's place.
        if (planted_.contains(id) && planted_[id] != PageClass::kForeign) {
            EXPECT_EQ(hit, scan.live.end());
            continue;
        }
        whole_in_ram++;
        ASSERT_NE(hit, scan.live.end());
        EXPECT_EQ(hit->second.size(), 1u);
        EXPECT_EQ(hit->second[0] == at.addr, !planted_.contains(id));
    }
    EXPECT_EQ(scan.live_pages(), whole_in_ram);

    CycleResult cycle;
    cycle.backup = "copy";
    cycle.pages_filled = g_.ledger.filled_pages();
    cycle.host = found.report;
    cycle.device = others(Witness::kDevice);
    cycle.cpu = others(Witness::kCpu);
    cycle.swapped_share = 1;
    cycle.counters = {{"pswpout", 1}, {"copied_pages", 1}, {"inserted_pages", 0}};
    cycle.zero_copy.changed = 1;
    const Verdict bad = judge(cycle, Policy::for_backup("copy"));
    EXPECT_EQ(bad.kind, planted_.empty() ? VerdictKind::kPass : VerdictKind::kContent);
    EXPECT_TRUE(bad.disagreements.empty());
    cycle.cpu.bad.clear();
    EXPECT_EQ(judge(cycle, Policy::for_backup("copy")).kind,
              planted_.empty() ? VerdictKind::kPass : VerdictKind::kDisagree);
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomGuest, ::testing::Range(0u, 40u));

}  // namespace
}  // namespace vttm::oracle::test
