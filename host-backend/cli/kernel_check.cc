// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/kernel_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <regex>
#include <stdexcept>
#include <utility>

namespace vttm::cli {
namespace {

constexpr std::size_t kMaxExcerpt = 4000;
constexpr std::size_t kMaxReports = 1 << 20;  // bytes of them that are read

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

GuestRun shell(machine::Machine& machine, const machine::Variant& variant, const std::string& script) {
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

// An object counts from its fifth second on, and only if it did not change between two scans. A kmemleak that is off
// refuses to scan, but still lists what it found before. A list of many thousand reports takes longer than all tests.
std::string ask_kmemleak() {
    return fmt::format("f=/sys/kernel/debug/kmemleak; {{ echo scan >$f && sleep 6 && echo scan >$f; }} 2>/dev/null; "
                       "scanned=$?; head -c {} $f || exit 1; exit $scanned", kMaxReports);
}

void check_leaks(machine::Machine& machine, const machine::Variant& variant, Progress& progress) {
    const GuestRun run = shell(machine, variant, ask_kmemleak());
    const Leaks leaks = judge_kmemleak(run, [&] { return machine.save_logs(); });
    if (!leaks.others.empty())
        progress.note(fmt::format("kmemleak: {} suspected leaks of the rest of the kernel; the first: {}",
                                  leaks.others.size(), leaks.others.front()));
    if (!leaks.tests.empty())
        progress.note(fmt::format("kmemleak: {} objects that KUnit cases made and did not free",
                                  leaks.tests.size()));
}

// One report for each backtrace, with how often it came.
std::string excerpt_of(const std::vector<std::string>& reports) {
    std::map<std::string, std::pair<std::size_t, const std::string*>> kinds;
    for (const std::string& report : reports) {
        const std::size_t line = report.find("  backtrace");
        const std::string trace = report.substr(std::min(report.find('\n', line), report.size()));
        auto& kind = kinds.try_emplace(trace, 0, &report).first->second;
        ++kind.first;
    }
    std::string text = fmt::format("{} different backtraces\n", kinds.size());
    for (const auto& [trace, kind] : kinds)
        if (text.size() < kMaxExcerpt) text += fmt::format("{} times:\n{}", kind.first, *kind.second);
    return text;
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

Leaks judge_kmemleak(const GuestRun& run,
                     const std::function<std::filesystem::path()>& save_logs) {
    std::string missing;
    if (run.timed_out)
        missing = "the list of leaks could not be read in time";
    else if (run.status != 0)
        missing = "the kernel's leak detector does not work any more";
    else if (run.output.size() >= kMaxReports)
        missing = fmt::format("only the first {} bytes of the list of leaks were read", kMaxReports);
    Leaks leaks;
    try {
        leaks = parse_kmemleak(run.output);
    } catch (const std::runtime_error&) {
        if (missing.empty()) throw;  // else it is what a program that could not read it says
    }
    if (!leaks.ours.empty())
        throw machine::Leak({.what = fmt::format("the kernel leaks memory of ours: {} reports of kmemleak{}{}",
                                                 leaks.ours.size(), missing.empty() ? "" : "; besides, ", missing),
                             .where = save_logs(),
                             .todo = "the backtraces tell who allocated it",
                             .excerpt = excerpt_of(leaks.ours)});
    if (!missing.empty())
        throw machine::Inconclusive({.what = missing + ": memory of ours may leak",
                                     .where = save_logs(),
                                     .todo = "the console tells when kmemleak gave up, if it did; a guest with more RAM may help",
                                     .excerpt = run.output.substr(0, kMaxExcerpt)});
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
