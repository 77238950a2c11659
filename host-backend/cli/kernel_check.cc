// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/kernel_check.h"

#include <fmt/format.h>

#include <map>
#include <regex>
#include <stdexcept>

#include "host-backend/cli/guest_exec.h"

namespace vttm::cli {
namespace {

constexpr std::size_t kMaxExcerpt = 4000;

enum class Owner { kOurs, kKunitTest, kOther };

// Who allocated it: the innermost frame of a module of ours, in brackets ("ttm_tt_init+0x1/0x2 [ttm]"), or of the series
// in mm/, which has none. What a KUnit case, or a helper of the suites, allocates itself (TTM's do not free their GEM
// objects) is no leak of what it tests; what ttm.ko allocates for the case is.
// kmemleak_test is the kernel's sample of a leak: the test that a leak is found.
Owner owner_of(const std::string& report) {
    static const std::regex frame(
        R"( \[(vttm|ttm|gpu_sched|drm_exec|drm_gpuvm|kmemleak_test)\])"
        R"(| (shmem_(insert|extract|where)\w*|swap_backup_\w+|folio_to_allocation)\+\w+/\w+\n)"
        R"(| ((pro|de)mote_(to_)?compound_page|split_page_to_order)\+\w+/\w+\n)"
        R"(| \[(ttm_\w+|swap_backup_kunit)\])");
    constexpr std::size_t kTestModule = 7;
    std::smatch match;
    if (!std::regex_search(report, match, frame)) return Owner::kOther;
    return match[kTestModule].matched ? Owner::kKunitTest : Owner::kOurs;
}

// The reports that differ in their backtrace, each with how often it is there; no more than kMaxExcerpt, about.
std::string by_backtrace(const std::vector<std::string>& reports) {
    const auto backtrace = [](const std::string& report) {
        const std::size_t at = report.find("\n", report.find("backtrace"));
        return at == std::string::npos ? report : report.substr(at);
    };
    std::map<std::string, std::size_t> times;
    for (const std::string& report : reports) ++times[backtrace(report)];
    std::string out;
    for (const std::string& report : reports) {
        const auto found = times.find(backtrace(report));
        if (found == times.end()) continue;
        if (out.size() < kMaxExcerpt) out += fmt::format("{} times:\n{}", found->second, report);
        times.erase(found);
    }
    return out;
}

GuestRun shell(machine::Machine& machine, const machine::Variant& variant, const char* script) {
    return guest_exec(machine, {"/bin/busybox", "sh", "-c", script},
                      variant.scaled(std::chrono::seconds(60)));
}

[[noreturn]] void fault(machine::Machine& machine, std::string what, std::string excerpt,
                        std::string todo) {
    throw machine::GuestPanic({.what = std::move(what),
                               .where = machine.save_logs(),
                               .todo = std::move(todo),
                               .excerpt = std::move(excerpt)});
}

void check_lockdep(machine::Machine& machine, const machine::Variant& variant) {
    const GuestRun stats = shell(machine, variant, "cat /proc/lockdep_stats");
    if (!lockdep_looks(stats.output))
        fault(machine, "lockdep switched itself off: nothing was checked since", stats.output,
              "the console may have its report; else it had no room: raise the LOCKDEP_*_BITS");
}

void check_leaks(machine::Machine& machine, const machine::Variant& variant, Progress& progress) {
    // An object counts from its fifth second on, and only if it did not change between two scans.
    const GuestRun run = shell(machine, variant,
                               "f=/sys/kernel/debug/kmemleak; echo scan >$f && sleep 6 && "
                               "echo scan >$f && cat $f");
    if (run.status != 0)
        fault(machine, "the kernel's leak detector does not work any more", run.output,
              "the console tells when it gave up");
    const Leaks leaks = parse_kmemleak(run.output);
    if (!leaks.others.empty())
        progress.note(fmt::format("kmemleak: {} suspected leaks of the rest of the kernel; the first: {}",
                                  leaks.others.size(), leaks.others.front()));
    if (!leaks.tests.empty())
        progress.note(fmt::format("kmemleak: {} objects that KUnit cases made and did not free",
                                  leaks.tests.size()));
    if (leaks.ours.empty()) return;
    fault(machine, fmt::format("the kernel leaks memory of ours: {} reports of kmemleak", leaks.ours.size()),
          by_backtrace(leaks.ours), "the backtraces tell who allocated it");
}

}  // namespace

Leaks parse_kmemleak(std::string_view text) {
    Leaks leaks;
    std::string report;
    const auto close = [&] {
        if (!report.empty()) {
            const Owner owner = owner_of(report);
            (owner == Owner::kOurs        ? leaks.ours
             : owner == Owner::kKunitTest ? leaks.tests
                                          : leaks.others)
                .push_back(std::move(report));
        }
        report.clear();
    };
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        if (line.starts_with("unreferenced ")) {
            close();
        } else if (report.empty()) {
            if (line.empty()) continue;
            throw std::runtime_error(fmt::format("kmemleak says something unknown: \"{}\"", line));
        }
        report.append(line).append("\n");
    }
    close();
    return leaks;
}

bool lockdep_looks(std::string_view stats) {
    static const std::regex line(R"(\sdebug_locks:\s+([01])\s)");
    std::match_results<std::string_view::const_iterator> match;
    if (!std::regex_search(stats.begin(), stats.end(), match, line))
        throw std::runtime_error("/proc/lockdep_stats does not say whether lockdep looks");
    return match[1] == "1";
}

void check_kernel(machine::Machine& machine, const machine::Variant& variant, Progress& progress) {
    machine.check();
    if (variant.lockdep) check_lockdep(machine, variant);
    if (variant.kmemleak) check_leaks(machine, variant, progress);
    machine.check();  // the scan may have tripped something
}

}  // namespace vttm::cli
