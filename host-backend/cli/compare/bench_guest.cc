// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/compare/bench_guest.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <sstream>
#include <stdexcept>
#include <string_view>

#include "host-backend/cli/guest_exec.h"
#include "host-backend/machine/interrupt.h"

namespace vttm::cli {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMiB = 1 << 20;
constexpr std::uint64_t kLargeBlock = 9;       // order of the blocks that are counted
constexpr std::uint64_t kSwapHogRam = 16;      // MiB that the hog which fills the swap disk keeps in RAM
constexpr int kPushes = 60;
constexpr auto kSettle = std::chrono::seconds(90);

std::uint64_t allocated(const oracle::Counters& delta) {
    std::int64_t pages = 0;
    for (const auto& [name, value] : delta)
        if (name.starts_with("pgalloc_")) pages += value;
    return static_cast<std::uint64_t>(std::max<std::int64_t>(pages, 0));
}

// Pages in the per-CPU lists of all zones, from the text of /proc/zoneinfo.
std::uint64_t per_cpu_pages(const std::string& zoneinfo) {
    std::istringstream text(zoneinfo);
    std::uint64_t pages = 0, lists = 0;
    for (std::string word; text >> word;) {
        std::uint64_t count = 0;
        if (word != "count:" || !(text >> count)) continue;
        pages += count;
        ++lists;
    }
    if (lists == 0) throw std::runtime_error("the guest's /proc/zoneinfo tells nothing of per-CPU lists");
    return pages;
}

}  // namespace

BenchGuest::BenchGuest(Session& session, unsigned buffers, std::uint64_t buffer_bytes,
                       Progress& progress)
    : session_(session), buffers_(buffers), buffer_bytes_(buffer_bytes), progress_(progress) {}

BenchGuest::Where BenchGuest::where() {
    const nlohmann::json claim = session_.call("placement");
    Where found;
    for (const auto& buffer : claim.at("buffers"))
        for (const auto& run : buffer.at("runs")) {
            const auto count = run.at(1).get<std::uint64_t>();
            const auto kind = run.at(2).get<std::string>();
            if (kind == "shmem" || kind == "swapcache" || kind == "swap") found.backed_up += count;
            if (kind == "swap") found.on_disk += count;
        }
    return found;
}

void BenchGuest::begin(const Way& way) {
    machine::throw_if_interrupted();
    session_.set_backup(way.backup, way.restore);
    plan_.clear();
    for (unsigned i = 0; i < buffers_; ++i)
        plan_.push_back({.id = next_id_++,
                         .bytes = buffer_bytes_,
                         .domain = "gtt",
                         .caching = "wb",
                         .cpu_fill = false});
    session_.create(plan_);
    session_.fill(plan_, ++generation_);
}

void BenchGuest::end() {
    session_.free_all();
    // TTM frees from a workqueue.
    for (int i = 0; i < 40 && session_.counters()["nr_gpu_active"] > 0; ++i)
        session_.machine().agent().idle(std::chrono::milliseconds(50));
}

std::uint64_t BenchGuest::shrink(Allocations* allocated) {
    std::uint64_t ns = 0;
    for (;;) {
        const auto reply = session_.call("shrinker.scan", {{"pages", buffers_ * buffer_bytes_ / kPage},
                                                           {"trace", allocated != nullptr}});
        ns += reply.at("ns").get<std::uint64_t>();
        if (allocated) allocated->add(reply.at("allocated"));
        // Nothing more goes out: all done, no memory to copy to, or no swap left.
        if (reply.at("freed").get<std::uint64_t>() == 0) return ns;
    }
}

std::uint64_t BenchGuest::restore() {
    return session_.call("buffers.resident", {{"ids", "all"}}).at("ns").get<std::uint64_t>();
}

std::uint64_t BenchGuest::bad_pages() {
    return session_.verify(By::kDevice).bad.size();
}

MemoryRound BenchGuest::memory(const Way& way) {
    begin(way);
    MemoryRound r{.way = way, .pages = buffers_ * buffer_bytes_ / kPage};
    const oracle::Counters start = session_.counters();
    r.out_ns = shrink();
    const oracle::Counters turn = session_.counters();
    r.pages_out = where().backed_up;
    const oracle::Counters back = session_.counters();
    r.in_ns = restore();
    r.out = oracle::delta(start, turn);
    r.in = oracle::delta(back, session_.counters());
    r.allocated = allocated(r.out);
    // Out once more, traced: that takes time, so not in the turn that is timed.
    Allocations fresh;
    shrink(&fresh);
    r.content = fresh.content(session_.call("placement"));
    r.bad = bad_pages();
    end();
    return r;
}

BenchGuest::Where BenchGuest::push_to_disk() {
    Where last = where();
    int still = 0;
    for (int i = 0; i < kPushes && last.on_disk < last.backed_up && still < 6; ++i) {
        session_.call("pressure.reclaim", {{"mib", 64}, {"memcg", false}});
        session_.call("sync");
        const Where now = where();
        still = now.on_disk > last.on_disk ? 0 : still + 1;
        last = now;
        machine::throw_if_interrupted();
    }
    return last;
}

DiskRound BenchGuest::disk(const Way& way) {
    begin(way);
    DiskRound r{.way = way, .pages = buffers_ * buffer_bytes_ / kPage};
    const oracle::Counters start = session_.counters();
    const auto begin_time = Session::Clock::now();
    shrink();
    push_to_disk();
    r.out_seconds =
        std::chrono::duration<double>(Session::Clock::now() - begin_time).count();
    r.out = oracle::delta(start, session_.counters());
    const oracle::HostCheck host = session_.check_at_rest();
    r.pages_on_disk = host.swap.on_disk();
    r.huge_groups = host.swap.runs.huge_groups;
    r.huge_unsplit = host.swap.runs.huge_unsplit;
    r.bad = host.report.bad.size();
    const oracle::Counters turn = session_.counters();
    r.in_ns = restore();
    r.in = oracle::delta(turn, session_.counters());
    r.bad += bad_pages();
    end();
    return r;
}

void BenchGuest::limit_per_cpu_lists(bool limit) {
    shell(fmt::format("echo {} > /proc/sys/vm/percpu_pagelist_high_fraction", limit ? 1'000'000 : 0));
}

std::uint64_t BenchGuest::free_large_blocks() {
    // What the page cache holds would look like wear, and so would what is on per-CPU lists: these grow to a sixteenth
    // of a zone, large blocks among them, and the kernel gives them back over half a minute, once they are limited.
    const auto until = Session::Clock::now() + kSettle;
    for (;;) {
        shell("sync; echo 3 > /proc/sys/vm/drop_caches");
        const std::uint64_t held = per_cpu_pages(shell("cat /proc/zoneinfo"));
        if (held < std::uint64_t{1} << kLargeBlock) break;
        if (Session::Clock::now() > until)
            throw std::runtime_error(
                fmt::format("the guest's per-CPU lists still hold {} pages after {} s", held, kSettle.count()));
        session_.machine().agent().idle(std::chrono::milliseconds(500));
    }
    const auto orders = session_.call("counters").at("buddyinfo").get<std::vector<std::uint64_t>>();
    std::uint64_t blocks = 0;
    for (std::size_t order = kLargeBlock; order < orders.size(); ++order)
        blocks += orders[order] << (order - kLargeBlock);
    return blocks;
}

std::string BenchGuest::shell(const std::string& command) {
    const GuestRun run = guest_exec(session_.machine(), {"/bin/sh", "-c", command}, std::chrono::minutes(1));
    if (run.status != 0)
        throw std::runtime_error(fmt::format("the guest cannot do '{}' (status {}): {}", command, run.status, run.output));
    return std::move(run.output);
}

WearRun BenchGuest::wear(const Way& way, unsigned cycles, bool disk) {
    WearRun r{.way = way, .cycles = cycles, .pages = buffers_ * buffer_bytes_ / kPage};
    if (disk) r.pages_on_disk = r.pages;
    limit_per_cpu_lists(true);
    r.blocks_before = free_large_blocks();
    begin(way);
    for (unsigned i = 0; i < cycles; ++i) {
        shrink();
        if (disk) r.pages_on_disk = std::min(r.pages_on_disk, push_to_disk().on_disk);
        restore();
        progress_.update(i + 1, cycles, "cycles");
        machine::throw_if_interrupted();
    }
    r.bad = bad_pages();
    end();
    r.blocks_after = free_large_blocks();
    limit_per_cpu_lists(false);
    return r;
}

double BenchGuest::swap_full_share() {
    const auto reply = session_.call("counters");
    const double total = reply.at("meminfo").at("SwapTotal").get<double>() * 1024;
    return total > 0 ? reply.at("swaps").get<double>() / total : 1;
}

void BenchGuest::release_hog() {
    session_.call("pressure.release");
    session_.call("pressure.memcg", {{"limit_mib", 0}});
}

// A hog that may keep next to nothing in RAM swaps itself out. What is left for the last MiB has to stay
// below what its limit lets it keep, or its own OOM killer ends it.
void BenchGuest::fill_swap(unsigned percent) {
    session_.call("pressure.memcg", {{"limit_mib", kSwapHogRam}});
    for (int step = 0; step < 200; ++step) {
        const auto reply = session_.call("counters");
        const auto total = reply.at("meminfo").at("SwapTotal").get<std::uint64_t>() * 1024;
        const auto used = reply.at("swaps").get<std::uint64_t>();
        const std::uint64_t goal = total / 100 * percent;
        if (used + kMiB >= goal) break;
        const std::uint64_t more = std::max<std::uint64_t>((goal - used) / kMiB / 2, 1);
        const auto hog = session_.call("pressure.hog", {{"mib", more}, {"step_mib", 4}});
        if (hog.at("killed").get<bool>()) break;  // it was full; what it is now is measured
        machine::throw_if_interrupted();
    }
}

FullRun BenchGuest::swap_full(const Way& way, unsigned percent) {
    const std::size_t kills = session_.machine().oom_kills().size();
    fill_swap(percent);
    begin(way);
    FullRun r{.way = way, .full_before = swap_full_share(), .pages = buffers_ * buffer_bytes_ / kPage};
    const oracle::Counters start = session_.counters();
    shrink();
    r.pages_out = where().backed_up;
    r.pages_on_disk = push_to_disk().on_disk;
    r.counters = oracle::delta(start, session_.counters());
    r.bad = session_.check_at_rest().report.bad.size() + bad_pages();
    end();
    release_hog();
    r.oom_kills = session_.machine().oom_kills().size() - kills;
    return r;
}

EdgeRun BenchGuest::edge(const Way& way, std::uint64_t hog_mib) {
    EdgeRun r{.way = way};
    begin(way);
    const auto hog = session_.call("pressure.hog", {{"mib", hog_mib}, {"step_mib", 16}});
    r.hog_survived = !hog.at("killed").get<bool>();
    r.pages_out = where().backed_up;
    session_.call("pressure.release");
    r.bad = bad_pages();
    r.oom_kills = session_.machine().oom_kills().size();
    session_.free_all();
    return r;
}

}  // namespace vttm::cli
