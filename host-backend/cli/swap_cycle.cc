// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/swap_cycle.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "host-backend/cli/vram_claims.h"
#include "host-backend/machine/interrupt.h"
#include "host-backend/oracle/ram_witness.h"
#include "host-backend/oracle/swap_witness.h"
#include "host-backend/pressure/injectors.h"

namespace vttm::cli {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kPortion = 96 * kMiB;  // filled between two samples

double seconds_since(Session::Clock::time_point begin) {
    return std::chrono::duration<double>(Session::Clock::now() - begin).count();
}

// What must be back where it was once the buffers are freed. Only swap has a tolerance: pages of the
// guest's own small processes may stay there.
struct Account {
    const char* name;
    const char* unit;
    std::int64_t tolerance;
};
constexpr Account kAccounts[] = {
    {"vttm.buffers", "", 0},        {"vttm.buffer_bytes", "bytes", 0},
    {"vttm.mappings", "", 0},       {"vttm.shrinkable_pages", "pages", 0},
    {"nr_gpu_active", "pages", 0},  {"nr_shmem", "pages", 0},
    {"swap_used", "pages", 256},
};
// Those of the hog's memory cgroup, which is there only once a hog was. The kernel charges in advance
// for each CPU.
constexpr Account kMemcgAccounts[] = {
    {"memcg.memory.current", "bytes", kMiB},
    {"memcg.memory.swap.current", "bytes", kMiB},
};
// Of the kernel series: another kernel has no such account.
constexpr Account kSeriesAccounts[] = {
    {"swap_backup.unwritten_pages", "pages", 0},
};
// The hog's own heap and stack, and what the kernel charges in advance.
constexpr std::int64_t kForeignSlack = 4 * kMiB;
constexpr const char* kForeign = "memcg.foreign_bytes";
// Pages that the guest claims in VRAM that the balloon takes: before it less after it; and after it, or once
// the device has used all buffers.
constexpr const char* kEvicted = "balloon.evicted_pages";
constexpr const char* kKept = "balloon.kept_pages";

std::int64_t value(const oracle::Counters& counters, const char* name) {
    auto it = counters.find(name);
    // A missing counter must not pass for an even one.
    if (it == counters.end())
        throw machine::ProtocolError({.what = fmt::format("the guest reports no counter {}", name),
                                      .where = "",
                                      .todo = "do agent, driver and host come from one build?",
                                      .excerpt = ""});
    return it->second;
}

std::uint64_t mib(std::uint64_t pages) { return pages * kPage / kMiB; }

}  // namespace

void shape_machine(const SwapCycleConfig& config, machine::MachineConfig& machine) {
    machine.ram_mib = config.ram_mib;
    machine.vram_mib = config.vram_mib;
    machine.swap_mib = config.swap_mib;
    machine.iommu = config.iommu;
    machine.cmdline_extra += " sysctl.vm.extfrag_threshold=1000 sysctl.vm.compaction_proactiveness=0";
}

std::vector<PlannedBuffer> plan_for(const SwapCycleConfig& config, std::uint32_t first_id) {
    // As much as all RAM is an eighth more than what is free in it: swapping is then no matter of luck.
    // Not what the guest says is free now: the same seed shall give the same plan.
    const std::uint64_t gtt_mib = config.gtt_buffers_mib ? config.gtt_buffers_mib : config.ram_mib;
    return plan_buffers({.seed = config.seed,
                         .gtt_bytes = gtt_mib * kMiB,
                         .vram_bytes = config.vram_buffers_mib * kMiB,
                         .first_id = first_id});
}

oracle::Policy policy_for(const SwapCycleConfig& config, const std::string& backup,
                          std::uint64_t gtt_pages) {
    oracle::Policy p = oracle::Policy::for_backup(backup);
    p.min_swapped_share = config.swapped_share;
    p.max_second_copies = 0;
    // A share of a handful of pages would prove nothing. Copies that leave memory one by one, as without huge pages, are
    // not there in great numbers at any one time.
    p.min_known_pages = gtt_pages / 8;
    if (backup == "insert" || backup == "swapcache") {
        p.min_known_pages = gtt_pages / 4;
        p.min_unchanged = config.min_unchanged;
        p.min_huge_unsplit_share = config.min_unsplit;
    }
    // The device sees the IOMMU's addresses: whether a page stayed where it was, it cannot tell.
    if (config.iommu) {
        p.min_unchanged.reset();
        p.max_unchanged.reset();
    }
    if (config.memcg_limit_mib) {
        using oracle::VerdictKind;
        p.must_grow.emplace_back("memcg.events.max");
        p.max_growth.push_back({"memcg.events.oom", 0, VerdictKind::kLeak,
                                "the hog's memory cgroup ran out of memory although it could swap"});
        p.max_growth.push_back({"memcg.events.oom_kill", 0, VerdictKind::kInconclusive,
                                "the OOM killer took the hog"});
        // Upstream's copy charges whoever happens to reclaim, so there it is only reported.
        if (backup == "insert" || backup == "swapcache")
            p.max_levels.push_back({kForeign, kForeignSlack, VerdictKind::kLeak,
                                    "the hog's memory cgroup is charged for somebody else's pages"});
    }
    // What lay in the VRAM that is taken back has to have moved, all of it, for the balloon.
    if (config.vram_target_mib) {
        p.must_grow.emplace_back("vttm.moves_vram_gtt");
        p.must_grow.emplace_back(kEvicted);
        p.max_levels.push_back({kKept, 0, oracle::VerdictKind::kLeak,
                                "the guest has buffers in VRAM that it gave up"});
    }
    return p;
}

std::optional<std::int64_t> foreign_charge(const oracle::Counters& levels, std::uint64_t held_mib) {
    std::int64_t charged = 0;
    // A page in the swap cache is charged as memory and as swap.
    for (const auto& [name, sign] : {std::pair{"memcg.memory.current", 1}, {"memcg.memory.swap.current", 1},
                                     {"memcg.stat.swapcached", -1}, {"memcg.stat.kernel", -1}}) {
        const auto it = levels.find(name);
        if (it == levels.end()) return std::nullopt;
        charged += sign * it->second;
    }
    return std::max<std::int64_t>(charged - static_cast<std::int64_t>(held_mib * kMiB), 0);
}

void raise_levels(oracle::Counters& levels, const oracle::Counters& now) {
    for (const auto& [name, value] : now) {
        const auto level = levels.try_emplace(name, value).first;
        level->second = name.starts_with("nr_gpu_") ? std::max(level->second, value) : value;
    }
}

std::vector<oracle::Balance> take_balances(const oracle::Counters& before,
                                           const oracle::Counters& after) {
    std::vector<oracle::Balance> balances;
    for (const Account& a : kAccounts)
        balances.push_back({.name = a.name,
                            .unit = a.unit,
                            .before = value(before, a.name),
                            .after = value(after, a.name),
                            .tolerance = a.tolerance});
    const auto take_if_there = [&](const Account& a, std::int64_t was) {
        if (const auto it = after.find(a.name); it != after.end())
            balances.push_back({.name = a.name,
                                .unit = a.unit,
                                .before = was,
                                .after = it->second,
                                .tolerance = a.tolerance});
    };
    for (const Account& a : kSeriesAccounts) {
        if (before.contains(a.name)) value(after, a.name);  // the kernel told it before
        take_if_there(a, 0);  // not what it was before: nothing is backed up without a buffer
    }
    for (const Account& a : kMemcgAccounts) {
        const auto was = before.find(a.name);
        take_if_there(a, was == before.end() ? 0 : was->second);
    }
    return balances;
}

std::vector<std::string> untold_balances(const oracle::Counters& counters) {
    std::vector<std::string> names;
    for (const Account& a : kSeriesAccounts)
        if (!counters.contains(a.name)) names.emplace_back(a.name);
    return names;
}

SwapCycle::SwapCycle(Session& session, const SwapCycleConfig& config, std::string backup,
                     Progress& progress)
    : session_(session),
      config_(config),
      backup_(std::move(backup)),
      progress_(progress),
      tracker_(session.ledger()) {}

std::string SwapCycle::label(const char* what) const {
    return fmt::format("{} {}/{}: {}", backup_, generation_, config_.cycles, what);
}

void SwapCycle::begin() {
    session_.set_backup(backup_);
    before_run_ = session_.counters();
    std::uint32_t first_id = 1;
    for (const auto& [id, info] : session_.ledger().buffers()) first_id = std::max(first_id, id + 1);
    // Ids of freed buffers are spent, too: the ledger refuses them.
    while (session_.ledger().was_freed(first_id)) ++first_id;
    plan_ = plan_for(config_, first_id);
    session_.create(plan_);
    gtt_pages_ = session_.ledger().pages(oracle::Domain::kGtt);
}

void SwapCycle::fill() {
    ++generation_;
    result_ = {};
    result_.backup = backup_;
    result_.cycle = generation_;
    session_.log().poll();
    since_ = session_.log().serial();
    tracker_.reset_stats();
    before_cycle_ = session_.counters();
    progress_.phase(label("fill"));
    std::uint64_t total = 0;
    for (const PlannedBuffer& b : plan_) total += b.bytes / kPage;
    out_begin_ = Session::Clock::now();
    for (std::size_t at = 0; at < plan_.size();) {
        std::vector<PlannedBuffer> portion;
        std::uint64_t bytes = 0;
        for (; at < plan_.size() && bytes < kPortion; bytes += plan_[at++].bytes)
            portion.push_back(plan_[at]);
        result_.pages_filled += session_.fill(portion, generation_);
        sample();
        if (first_check_ == 0) note_first_check();
        progress_.update(mib(result_.pages_filled), mib(total), "MiB");
        machine::throw_if_interrupted();
    }
}

void SwapCycle::note_first_check() {
    oracle::HostCheck check = session_.check_at_rest();
    first_check_ = progress_.seconds();
    result_.host = check.report;  // bad pages count, though a later look finds them good
    progress_.note(fmt::format("first content check: {} of {} pages good as the host sees them",
                               check.report.good(), check.report.checked));
}

// The claims of the buffers that were filled in this cycle. The others were last read by the CPU, which may
// have brought them back to another page that the device has not seen.
oracle::Placement SwapCycle::filled_now(const oracle::Placement& claim) const {
    oracle::Placement now;
    for (const auto& [id, info] : session_.ledger().buffers())
        if (const auto* runs = claim.runs(id); runs && info.generation == generation_)
            now.add_buffer(id, info.pages, *runs);
    return now;
}

void SwapCycle::sample() {
    session_.log().poll();
    oracle::Placement claim = session_.placement();
    oracle::RamWitness ram(session_.ledger(), session_.ram_view());
    oracle::SwapWitness swap(session_.ledger(), session_.swap_fd());
    tracker_.sample(filled_now(claim), ram, session_.log(), &swap);
    result_.swapped_share = claim.gtt_swap_share(session_.ledger());
    raise_levels(result_.levels, session_.counters());
}

bool SwapCycle::limit_met() {
    if (!config_.memcg_limit_mib) return true;
    const oracle::Counters grown = oracle::delta(before_cycle_, session_.counters());
    const auto it = grown.find("memcg.events.max");
    return it != grown.end() && it->second > 0;
}

std::int64_t SwapCycle::pages_beyond_target() {
    return static_cast<std::int64_t>(pages_in_vram_from(session_.placement(), session_.ledger(),
                                                        config_.vram_target_mib * kMiB));
}

void SwapCycle::press() {
    progress_.phase(label("pressure"));
    const pressure::CallLimit within{.until = session_.deadline()};
    if (config_.vram_target_mib) {
        balloon_.emplace(
            [this](const std::string& command, nlohmann::json arguments) {
                return session_.machine().qmp(command, std::move(arguments));
            },
            session_.machine().agent(),
            pressure::VramBalloon::Config{.vram_mib = config_.vram_mib,
                                          .target_mib = config_.vram_target_mib,
                                          .limit = within});
        const std::int64_t before = pages_beyond_target();
        balloon_->step();
        const std::int64_t kept = pages_beyond_target();
        result_.levels[kEvicted] = before - kept;
        result_.levels[kKept] = kept;
        progress_.note(fmt::format("{}: evicted {} pages of VRAM", label("balloon"), before - kept));
    }
    pressure::AnonymousHog hog(
        session_.machine().agent(),
        {.step_mib = config_.hog_step_mib, .max_mib = config_.ram_mib, .limit = within});
    // After the hog, so that the limit goes first: a hog that ends needs room to be torn down.
    std::optional<pressure::MemcgLimit> limit;
    if (const std::uint64_t mib = config_.memcg_limit_mib) {
        limit.emplace(session_.machine().agent(),
                      pressure::MemcgLimit::Config{
                          .start_mib = mib, .step_mib = mib, .floor_mib = mib, .limit = within});
        limit->step();
    }
    const unsigned max_steps = static_cast<unsigned>(2 * config_.ram_mib / config_.hog_step_mib) + 1;
    unsigned killed = 0;
    auto reached = [&](const pressure::Step&) {
        machine::throw_if_interrupted();
        sample();
        progress_.update(0, 0, "", fmt::format("hog {} MiB, {:.0f} % of GTT pages in swap",
                                               hog.held_mib(), 100 * result_.swapped_share));
        return result_.swapped_share >= config_.swapped_share && limit_met();
    };
    pressure::Outcome outcome = pressure::step_until(hog, reached, max_steps);
    // An OOM-killed hog is no failure of the driver: start it again, but not for ever.
    while (outcome == pressure::Outcome::kKilled && ++killed < 3) {
        progress_.note(label("the guest's OOM killer took the hog; starting it again"));
        hog.release();
        outcome = pressure::step_until(hog, reached, max_steps);
    }
    if (outcome != pressure::Outcome::kReached)
        progress_.note(fmt::format("{}: only {:.1f} % of the GTT pages went to swap",
                                   label("pressure"), 100 * result_.swapped_share));
    result_.seconds_out = seconds_since(out_begin_);
    raise_levels(result_.levels, session_.counters());
    if (limit) note_foreign_charge(hog.held_mib());
    look();
    if (config_.migrate) migrate();
    if (limit) limit->release();
    hog.release();
}

void SwapCycle::note_foreign_charge(std::uint64_t held_mib) {
    const auto foreign = foreign_charge(result_.levels, held_mib);
    if (!foreign) return;  // the policy says that it is missing
    result_.levels[kForeign] = *foreign;
    progress_.note(fmt::format("{}: hog of {} MiB in a cgroup of {} MiB, which is charged for {:.1f} MiB "
                               "of somebody else's pages",
                               label("memcg"), held_mib, config_.memcg_limit_mib,
                               static_cast<double>(*foreign) / static_cast<double>(kMiB)));
}

// The hog still presses; what the host sees afterwards is judged in place of what it saw before.
void SwapCycle::migrate() {
    progress_.phase(label("migration"));
    session_.machine().migrate();
    look();
}

void SwapCycle::look() {
    progress_.phase(label("host looks at RAM and swap file"));
    session_.call("sync");
    const oracle::HostCheck host = session_.check_at_rest();
    const std::vector<oracle::BadPage> early = std::move(result_.host.bad);
    result_.host = host.report;
    for (const oracle::BadPage& bad : early)
        if (std::none_of(host.report.bad.begin(), host.report.bad.end(),
                         [&](const auto& b) { return b.id == bad.id; }))
            result_.host.bad.push_back(bad);
    result_.runs = host.swap.runs;
    result_.swapped_share = host.swap.gtt_share();
    result_.pages_on_disk = host.swap.on_disk();
    result_.bytes_out = result_.pages_on_disk * kPage;
    result_.zero_copy = tracker_.stats();
    oracle::ScanResult scan;
    {
        machine::PauseGuard paused(session_.machine());
        scan = oracle::RamWitness(session_.ledger(), session_.ram_view()).scan();
    }
    result_.second_copies = scan.second_copies();
    result_.leftovers = scan.leftovers.size();
    result_.strays = scan.strays.size();
}

void SwapCycle::verify() {
    const std::uint64_t total = mib(session_.ledger().filled_pages());
    auto tick = [&](std::uint64_t pages) {
        progress_.update(mib(pages), total, "MiB");
        machine::throw_if_interrupted();
    };
    progress_.phase(label("device verifies"));
    const auto begin = Session::Clock::now();
    result_.device = session_.verify(By::kDevice, tick);
    result_.seconds_in = seconds_since(begin);
    result_.bytes_in = result_.bytes_out;
    progress_.phase(label("guest CPU verifies"));
    if (balloon_) {  // the device has had all of it in VRAM again, one after the other
        result_.levels[kKept] = std::max(result_.levels[kKept], pages_beyond_target());
        balloon_->release();
        balloon_.reset();
    }
    result_.cpu = session_.verify(By::kCpu, tick);
    count_device_errors();
}

void SwapCycle::count_device_errors() {
    session_.log().poll();
    result_.stale_uses = session_.log().stale_uses(since_).size();
    result_.device_faults = session_.log().faults(since_).size();
}

void SwapCycle::settle_balances() {
    // TTM frees from a workqueue, and slots of freed folios wait in the swap cache for reclaim: give
    // it a moment and a push, then what is not back is a leak.
    for (int attempt = 0; attempt < 40; ++attempt) {
        if (attempt % 8 == 4) session_.call("pressure.reclaim", {{"mib", 64}, {"memcg", false}});
        const oracle::Counters end = session_.counters();
        result_.balances = take_balances(before_run_, end);
        if (std::all_of(result_.balances.begin(), result_.balances.end(),
                        [](const oracle::Balance& b) { return b.even(); }))
            return;
        session_.machine().agent().idle(std::chrono::milliseconds(250));
    }
}

void SwapCycle::settle_strays() {
    // Freed folios that were being written when they were freed stay in the swap cache until reclaim
    // comes across them, and a few of them are within the balance's tolerance. Push it: what is never
    // given back stays whatever reclaim does.
    for (int attempt = 0;; ++attempt) {
        {
            machine::PauseGuard paused(session_.machine());
            result_.strays =
                oracle::RamWitness(session_.ledger(), session_.ram_view()).scan().strays.size();
        }
        if (result_.strays == 0 || attempt == 8) return;
        session_.call("pressure.reclaim", {{"mib", 64}, {"memcg", false}});
        session_.machine().agent().idle(std::chrono::milliseconds(250));
    }
}

report::CycleRecord SwapCycle::finish(bool last) {
    result_.counters = oracle::delta(before_cycle_, session_.counters());
    if (const auto it = result_.levels.find(kEvicted); it != result_.levels.end())
        result_.counters.insert(*it);
    if (last) {
        progress_.phase(label("free, balances"));
        session_.free_all();
        session_.call("sync");
        settle_balances();
        settle_strays();
    }
    session_.machine().check();
    return judged();
}

report::CycleRecord SwapCycle::judged() const {
    return {.result = result_,
            .verdict = oracle::judge(result_, policy_for(config_, backup_, gtt_pages_))};
}

// A cycle that breaks off is no record, unless it has proven something against the driver: a job that
// faults fails in the guest, and bad pages may be known before a panic.
void SwapCycle::keep_findings(report::RunReport& report) {
    try {
        count_device_errors();
    } catch (const std::exception&) {  // the log is broken: what was read of it counts
    }
    result_.balances.clear();  // perhaps not settled yet
    report::CycleRecord record = judged();
    if (record.verdict.kind >= oracle::VerdictKind::kLeak) report.cycles.push_back(std::move(record));
}

void SwapCycle::run(report::RunReport& report) {
    begin();
    for (unsigned cycle = 1; cycle <= config_.cycles; ++cycle) {
        try {
            fill();
            press();
            verify();
            report.cycles.push_back(finish(cycle == config_.cycles));
        } catch (const std::exception&) {
            keep_findings(report);
            throw;
        }
        if (report.seconds_to_first_check == 0) report.seconds_to_first_check = first_check_;
        const auto& done = report.cycles.back();
        progress_.note(fmt::format(
            "{}: {} ({:.0f} % of GTT pages on disk, {} bad)", label("done"),
            oracle::name_of(done.verdict.kind), 100 * done.result.swapped_share,
            std::max({done.result.device.bad.size(), done.result.cpu.bad.size(),
                      done.result.host.bad.size()})));
    }
}

}  // namespace vttm::cli
