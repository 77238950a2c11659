// SPDX-License-Identifier: Apache-2.0
// Plants faults from the host into guest RAM and the swap file of a live swap cycle, and demands
// that every witness finds exactly those, of the right class, at the right place.
#include <fmt/format.h>

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <stdexcept>

#include "host-backend/cli/guest_exec.h"
#include "host-backend/cli/stages/stage.h"
#include "host-backend/cli/swap_cycle.h"
#include "host-backend/oracle/plant.h"
#include "protocol/vttm_stamp.h"

namespace vttm::cli {
namespace {

using oracle::PageClass;
using oracle::PageId;
using report::TestStatus;

// Enough to choose from, and quick to fill twice and to press out once per backup.
constexpr std::uint64_t kRamMib = 1024;
constexpr std::uint64_t kGttMib = 384;

struct Fault {
    std::string name;  // "swap_bitflip"
    oracle::Planted planted;
};

// Pages that lie in one kind of place, from different buffers, so that a plant cannot hit another.
std::vector<oracle::Target> targets(const oracle::Ledger& ledger, const oracle::Placement& placement,
                                    const std::function<bool(oracle::PlaceKind)>& wanted,
                                    std::size_t count) {
    std::vector<oracle::Target> out;
    for (const auto& [id, info] : ledger.buffers()) {
        const auto* runs = placement.runs(id);
        if (out.size() == count || !runs) continue;
        for (const oracle::PlacementRun& run : *runs) {
            if (!wanted(run.place.kind)) continue;
            const std::uint64_t page = run.first + run.count / 2;
            out.push_back({.id = *ledger.expected({id, page}),
                           .addr = oracle::store_addr(placement.find({id, page}))});
            break;
        }
    }
    return out;
}

// One of each kind of fault; five pages of the store.
std::vector<Fault> plant_all(oracle::PageStore& store, const std::vector<oracle::Target>& at) {
    const std::uint32_t bit[] = {12345};
    std::vector<Fault> faults;
    auto add = [&](const char* kind, oracle::Planted planted) {
        faults.push_back({store.name() + "_" + kind, std::move(planted)});
    };
    add("bitflip", oracle::plant_bit_flip(store, at.at(0), bit));
    add("swapped", oracle::plant_swapped_pages(store, at.at(1), at.at(2)));
    add("stale", oracle::plant_stale(store, at.at(3), at.at(3).id.generation - 1));
    add("zero", oracle::plant_zero(store, at.at(4)));
    return faults;
}

std::string missed(const oracle::WitnessReport& report, const oracle::Planted& planted) {
    std::string why;
    for (const auto& change : planted.changes) {
        const oracle::BadPage* found = nullptr;
        for (const auto& bad : report.bad)
            if (bad.id == change.id) found = &bad;
        if (!found)
            why += fmt::format("{} did not find: {}\n", oracle::name_of(report.who), planted.text);
        else if (found->cls != change.expected)
            why += fmt::format("{} calls buffer {} page {} {}, it is {}\n", oracle::name_of(report.who),
                               change.id.buffer, change.id.page, oracle::name_of(found->cls),
                               oracle::name_of(change.expected));
    }
    return why;
}

// Bad pages that nobody planted.
std::string invented(const oracle::WitnessReport& report, const std::set<PageId>& planted) {
    std::string why;
    for (const auto& bad : report.bad)
        if (!planted.contains(bad.id))
            why += fmt::format("{}: {}\n", oracle::name_of(report.who), oracle::describe(bad));
    return why;
}

void check(report::TestResults& results, const std::string& name, const std::string& why) {
    results.cases.push_back(make_case("planted_faults", name,
                                      why.empty() ? TestStatus::kPassed : TestStatus::kFailed, why));
}

// All GTT buffers are filled one portion at a time before anything presses, so the highest level of
// the cycle is above that of the pressed guest.
std::string peak_missed(const oracle::CycleResult& seen, std::uint64_t pages) {
    const auto level = seen.levels.find("nr_gpu_active");
    const std::int64_t peak = level == seen.levels.end() ? -1 : level->second;
    if (peak >= static_cast<std::int64_t>(pages)) return "";
    return fmt::format("nr_gpu_active is {} at its peak, but {} pages of buffers were in RAM", peak, pages);
}

class SelfTest {
public:
    SelfTest(Session& session, SwapCycle& cycle) : session_(session), cycle_(cycle) {}

    // Adds its cases once all witnesses have looked.
    void run(report::TestResults& into) {
        plant();
        // The host has looked and one fault is taken back: from here on the witnesses disagree.
        const oracle::HostCheck host = look_and_take_one_back();
        report::TestResults results;
        oracle::CycleResult seen = cycle_.result();
        seen.host = host.report;
        seen.device = session_.verify(By::kDevice);
        seen.cpu = session_.verify(By::kCpu);
        for (const Fault& f : faults_) {
            std::string why = missed(host.report, f.planted);
            const bool taken_back = &f == &faults_.back();
            if (!taken_back)
                why += missed(seen.device, f.planted) + missed(seen.cpu, f.planted);
            check(results, f.name, why);
        }
        const std::set<PageId> planted = planted_pages();
        check(results, "gpu_pages_peak_is_their_highest", peak_missed(seen, session_.ledger().pages(oracle::Domain::kGtt)));
        check(results, "nothing_else_is_bad",
              invented(host.report, planted) + invented(seen.device, planted) +
                  invented(seen.cpu, planted));
        judge_content(results, seen);
        judge_disagreement(results, seen);
        into.append(results, seen.backup);
    }

private:
    // The guest stands still: a page cannot move between the claim and the plant.
    void plant() {
        const oracle::Placement claim = session_.placement();
        paused_.emplace(session_.machine());
        auto in_swap = targets(session_.ledger(), claim,
                               [](auto k) { return k == oracle::PlaceKind::kSwap; }, 64);
        auto in_ram = targets(session_.ledger(), claim,
                              [](auto k) { return oracle::is_resident(k); }, 64);
        oracle::SwapStore swap(session_.swap_fd());
        oracle::RamStore ram(session_.ram_view());
        faults_ = plant_all(swap, still_there(swap, in_swap));
        for (Fault& f : plant_all(ram, still_there(ram, in_ram))) faults_.push_back(std::move(f));
        claim_ = claim;
    }

    // Targets that hold what the claim says; it may be a moment old.
    std::vector<oracle::Target> still_there(const oracle::PageStore& store,
                                            const std::vector<oracle::Target>& candidates) {
        std::vector<oracle::Target> good;
        for (const oracle::Target& t : candidates) {
            alignas(8) oracle::PageBytes bytes;
            store.read(t.addr, bytes);
            const bool taken = used_.contains({t.id.buffer, t.id.page});
            if (taken || !vttm_stamp_check(bytes.data(), &t.id)) continue;
            good.push_back(t);
            used_.insert({t.id.buffer, t.id.page});
            if (good.size() == 5) return good;
        }
        throw std::runtime_error(
            fmt::format("only {} pages to damage in {}, 5 are needed", good.size(), store.name()));
    }

    oracle::HostCheck look_and_take_one_back() {
        oracle::HostCheck host = oracle::check_host(session_.ledger(), claim_, session_.view());
        oracle::RamStore ram(session_.ram_view());
        faults_.back().planted.undo(ram);
        paused_.reset();
        // What is bad without being planted moved, perhaps, before the guest stood still: that is no
        // evidence before it was looked at again. The planted ones stay as they were found.
        const std::set<PageId> planted = planted_pages();
        oracle::HostCheck others = host;
        std::erase_if(others.report.bad, [&](const auto& b) { return planted.contains(b.id); });
        session_.look_again(others);
        std::erase_if(host.report.bad, [&](const auto& b) { return !planted.contains(b.id); });
        host.report.bad.insert(host.report.bad.end(), others.report.bad.begin(),
                               others.report.bad.end());
        return host;
    }

    std::set<PageId> planted_pages() const {
        std::set<PageId> pages;
        for (const Fault& f : faults_)
            for (const auto& c : f.planted.changes) pages.insert(c.id);
        return pages;
    }

    std::set<PageId> pages_taken_back() const {
        std::set<PageId> pages;
        for (const auto& c : faults_.back().planted.changes) pages.insert(c.id);
        return pages;
    }

    void judge_content(report::TestResults& results, oracle::CycleResult seen) {
        const std::set<PageId> back = pages_taken_back();
        std::erase_if(seen.host.bad, [&](const auto& b) { return back.contains(b.id); });
        seen.stale_uses = seen.device_faults = 0;  // the bad pages alone must do it
        const auto verdict = oracle::judge(seen, oracle::Policy::for_backup(seen.backup));
        check(results, "verdict_is_content",
              verdict.kind == oracle::VerdictKind::kContent
                  ? ""
                  : fmt::format("verdict is {}", oracle::name_of(verdict.kind)));
    }

    void judge_disagreement(report::TestResults& results, oracle::CycleResult seen) {
        const std::set<PageId> back = pages_taken_back();
        for (auto* r : {&seen.host, &seen.device, &seen.cpu})
            std::erase_if(r->bad, [&](const auto& b) { return !back.contains(b.id); });
        const auto verdict = oracle::judge(seen, oracle::Policy::for_backup(seen.backup));
        check(results, "one_witness_alone_is_a_disagreement",
              verdict.kind == oracle::VerdictKind::kDisagree
                  ? ""
                  : fmt::format("verdict is {}", oracle::name_of(verdict.kind)));
    }

    Session& session_;
    SwapCycle& cycle_;
    std::vector<Fault> faults_;
    std::set<PageId> used_;
    oracle::Placement claim_;
    std::optional<machine::PauseGuard> paused_;
};

// A page of content that outlives its buffer. Reclaim gets its chances to free what is only late, and this it
// cannot free: the verdict has to be a leak, of this page alone (beyond @before, which the plants before it may
// have left), and once the page is gone there is none.
std::string leak_missed(const report::CycleRecord& record, std::uint64_t before) {
    if (record.result.strays != before + 1)
        return fmt::format("{} pages of freed buffers found in RAM, {} before, 1 was kept",
                           record.result.strays, before);
    if (record.verdict.kind != oracle::VerdictKind::kLeak)
        return fmt::format("verdict is {}", oracle::name_of(record.verdict.kind));
    return "";
}

void run_kept_page(Session& session, SwapCycleConfig config, Progress& progress, std::uint64_t before,
                   report::TestResults& into) {
    config.gtt_buffers_mib = 32;
    config.vram_buffers_mib = 8;
    constexpr std::chrono::seconds kLimit{60};
    SwapCycle cycle(session, config, "copy", progress);
    cycle.begin();
    cycle.fill();
    cycle.look();
    const auto& [buffer, info] = *session.ledger().buffers().begin();
    const GuestRun keeper =
        guest_exec(session.machine(),
                   {"/bin/vttm-guest-tests", "keep", fmt::format("{:x}", session.ledger().key()),
                    fmt::to_string(buffer), "0", fmt::to_string(info.generation)},
                   kLimit);
    if (keeper.status != 0) throw std::runtime_error("cannot keep a page: " + keeper.output);
    cycle.verify();
    report::TestResults results;
    check(results, "a_kept_page_is_a_leak", leak_missed(cycle.finish(true), before));
    const std::string pid = keeper.output.substr(0, keeper.output.find('\n'));
    guest_exec(session.machine(), {"/bin/sh", "-c", "kill -9 " + pid}, kLimit);
    const std::uint64_t left = cycle.finish(true).result.strays;
    check(results, "a_page_given_back_is_none",
          left <= before ? "" : fmt::format("{} are left, {} before", left, before));
    into.append(results, "copy");
}

}  // namespace

void run_self_test(const StageContext& context, report::TestResults& into) {
    SwapCycleConfig config;
    config.name = "self-test";
    config.seed = 4711;
    config.ram_mib = kRamMib;
    config.vram_mib = 64;
    config.vram_buffers_mib = 16;
    config.gtt_buffers_mib = kGttMib;
    config.swapped_share = 0.4;
    config.hog_step_mib = 64;
    config.cycles = 2;  // a stale page needs an older generation
    const machine::MachineConfig mc = stage_machine(context, config);
    machine::Machine machine(mc);
    context.progress.phase("test planted faults: boot");
    machine.start();
    Session session(machine, vttm_mix64(config.seed),
                    Session::Clock::now() + std::chrono::seconds(config.timeout_s));
    std::uint64_t strays = 0;
    for (const char* backup : {"insert", "copy"}) {
        SwapCycle cycle(session, config, backup, context.progress);
        cycle.begin();
        cycle.fill();
        cycle.fill();
        cycle.press();
        SelfTest(session, cycle).run(into);
        strays = cycle.finish(true).result.strays;
    }
    run_kept_page(session, config, context.progress, strays, into);
    check_guest(context, machine);
    machine.stop(std::chrono::seconds(5));
}

}  // namespace vttm::cli
