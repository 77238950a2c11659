// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "host-backend/report/run_report.h"

namespace vttm::report {
namespace {

using oracle::PageClass;
using oracle::VerdictKind;

constexpr const char* kRed = "\033[31m";
constexpr const char* kGreen = "\033[32m";
constexpr const char* kYellow = "\033[33m";
constexpr const char* kOff = "\033[0m";

std::string paint(const std::string& text, const char* colour, const TableStyle& style) {
    return style.colour ? colour + text + kOff : text;
}

const char* colour_of(VerdictKind k) {
    if (k == VerdictKind::kPass) return kGreen;
    return k == VerdictKind::kInconclusive ? kYellow : kRed;
}

// 1234567 -> "1 234 567".
std::string grouped(std::int64_t n) {
    const std::string digits = std::to_string(n);
    const std::size_t sign = n < 0 ? 1 : 0;
    std::string out;
    for (std::size_t i = 0; i < digits.size(); i++) {
        if (i > sign && (digits.size() - i) % 3 == 0) out += ' ';
        out += digits[i];
    }
    return out;
}

std::string grouped_u(std::uint64_t n) { return grouped(static_cast<std::int64_t>(n)); }

std::string percent(double share) { return fmt::format("{:.2f} %", share * 100); }

std::string counter(const oracle::Counters& c, const std::string& name) {
    const auto it = c.find(name);
    return it == c.end() ? "-" : grouped(it->second);
}

// Direct reclaim stalls of all zones together.
std::string allocstalls(const oracle::Counters& c) {
    std::optional<std::int64_t> sum;
    for (const auto& [name, value] : c) {
        if (name.starts_with("allocstall")) sum = sum.value_or(0) + value;
    }
    return sum ? grouped(*sum) : "-";
}

// Rows of label and one cell per backup; a nameless row is a blank line.
class Table {
public:
    explicit Table(const std::vector<BackupSummary>& columns) : columns_(columns) {}

    void row(std::string label, const std::function<std::string(const BackupSummary&)>& cell) {
        Row r{std::move(label), {}};
        for (const BackupSummary& s : columns_) r.cells.push_back(cell(s));
        rows_.push_back(std::move(r));
    }
    void gap() { rows_.push_back({}); }
    bool any(const std::function<bool(const BackupSummary&)>& test) const {
        return std::any_of(columns_.begin(), columns_.end(), test);
    }

    std::string text() const {
        std::size_t label_width = 0;
        std::vector<std::size_t> widths(columns_.size(), 12);
        for (const Row& r : rows_) {
            label_width = std::max(label_width, r.label.size());
            for (std::size_t i = 0; i < r.cells.size(); i++) {
                widths[i] = std::max(widths[i], r.cells[i].size());
            }
        }
        std::string out;
        for (const Row& r : rows_) {
            std::string line = fmt::format("{:<{}}", r.label, label_width);
            for (std::size_t i = 0; i < r.cells.size(); i++) {
                line += fmt::format("  {:>{}}", r.cells[i], widths[i]);
            }
            line.erase(line.find_last_not_of(' ') + 1);
            out += line + "\n";
        }
        return out;
    }

private:
    struct Row {
        std::string label;
        std::vector<std::string> cells;
    };
    const std::vector<BackupSummary>& columns_;
    std::vector<Row> rows_;
};

void witness_rows(Table& t, const std::string& who, oracle::ClassCounts BackupSummary::*counts,
                  std::uint64_t BackupSummary::*checked) {
    t.row(who + ": pages verified", [=](const BackupSummary& s) { return grouped_u(s.*checked); });
    t.row("  bad", [=](const BackupSummary& s) {
        return grouped_u(s.*checked - (s.*counts)[oracle::index_of(PageClass::kGood)]);
    });
    for (std::size_t c = 1; c < oracle::kNumPageClasses; c++) {
        if (!t.any([=](const BackupSummary& s) { return (s.*counts)[c] != 0; })) continue;
        t.row(fmt::format("    {}", name_of(static_cast<PageClass>(c))),
              [=](const BackupSummary& s) { return grouped_u((s.*counts)[c]); });
    }
}

std::string zero_copy_cell(const BackupSummary& s) {
    const auto share = s.zero_copy.share();
    return share ? percent(*share) : "-";
}

std::string of(std::uint64_t part, std::uint64_t whole) {
    return fmt::format("{} / {}", grouped_u(part), grouped_u(whole));
}

std::string main_table(const std::vector<BackupSummary>& columns, bool tcg) {
    Table t(columns);
    t.row("backup", [](const BackupSummary& s) { return s.backup; });
    t.row("cycles", [](const BackupSummary& s) { return grouped_u(s.cycles); });
    t.row("pages filled", [](const BackupSummary& s) { return grouped_u(s.pages_filled); });
    t.gap();
    witness_rows(t, "device", &BackupSummary::device, &BackupSummary::device_checked);
    witness_rows(t, "guest CPU", &BackupSummary::cpu, &BackupSummary::cpu_checked);
    witness_rows(t, "host", &BackupSummary::host, &BackupSummary::host_checked);
    t.gap();
    t.row("pages seen in the swap file",
          [](const BackupSummary& s) { return grouped_u(s.pages_on_disk); });
    t.row("  least share of the GTT pages in a cycle",
          [](const BackupSummary& s) { return percent(s.min_swapped_share); });
    t.row("same guest-physical page in shmem", zero_copy_cell);
    t.row("  of pages (not known)", [](const BackupSummary& s) {
        return fmt::format("{} ({})", grouped_u(s.zero_copy.known()),
                           grouped_u(s.zero_copy.unknown));
    });
    t.row("  pages first seen in swap, too late to tell",
          [](const BackupSummary& s) { return grouped_u(s.zero_copy.late); });
    t.row("2 MiB runs unsplit / all in the swap file",
          [](const BackupSummary& s) { return of(s.runs.unsplit, s.runs.groups); });
    t.row("  of those 2 MiB pages before",
          [](const BackupSummary& s) { return of(s.runs.huge_unsplit, s.runs.huge_groups); });
    t.row("second copies in guest RAM",
          [](const BackupSummary& s) { return grouped_u(s.second_copies); });
    if (t.any([](const BackupSummary& s) { return s.leftovers || s.strays; })) {
        t.row("left-over pages in guest RAM (old, freed)", [](const BackupSummary& s) {
            return fmt::format("{}, {}", grouped_u(s.leftovers), grouped_u(s.strays));
        });
    }
    if (t.any([](const BackupSummary& s) { return s.stale_uses || s.device_faults; })) {
        t.row("stale translations, faults of the device", [](const BackupSummary& s) {
            return fmt::format("{}, {}", grouped_u(s.stale_uses), grouped_u(s.device_faults));
        });
    }
    t.gap();
    for (const char* name : {"pswpout", "pswpin", "thp_swpout", "thp_swpout_fallback"})
        t.row(name, [name](const BackupSummary& s) { return counter(s.counters, name); });
    // Of the series; a kernel without it has none of them.
    for (const char* name : {"inserted_pages", "insert_fallback", "copied_pages"}) {
        if (!t.any([name](const BackupSummary& s) { return s.counters.contains(name); })) continue;
        t.row(name, [name](const BackupSummary& s) { return counter(s.counters, name); });
    }
    t.row("allocstall", [](const BackupSummary& s) { return allocstalls(s.counters); });
    for (const char* name : {"nr_gpu_active", "nr_gpu_reclaim"}) {
        t.row(std::string(name) + " (peak)",
              [name](const BackupSummary& s) { return counter(s.levels, name); });
    }
    const auto foreign = [](const BackupSummary& s) { return s.levels.contains("memcg.foreign_bytes"); };
    if (t.any(foreign)) {
        t.row("bytes of others charged to the hog's cgroup",
              [](const BackupSummary& s) { return counter(s.levels, "memcg.foreign_bytes"); });
    }
    t.gap();
    const std::string note = tcg ? " *" : "";
    t.row("ms per MiB out" + note, [](const BackupSummary& s) {
        return s.bytes_out ? fmt::format("{:.3f}", s.ms_per_mib_out()) : "-";
    });
    t.row("ms per MiB in" + note, [](const BackupSummary& s) {
        return s.bytes_in ? fmt::format("{:.3f}", s.ms_per_mib_in()) : "-";
    });
    t.row("verdict",
          [](const BackupSummary& s) { return std::string(oracle::name_of(s.verdict)); });
    return t.text();
}

void list_bad(std::string& out, const RunReport& run, const TableStyle& style) {
    std::size_t all = 0, shown = 0;
    std::string lines;
    for (const CycleRecord& c : run.cycles) {
        for (const auto* w : {&c.result.device, &c.result.cpu, &c.result.host}) {
            all += w->bad.size();
            for (const oracle::BadPage& bad : w->bad) {
                if (shown == style.max_bad) break;
                shown++;
                lines += fmt::format("  {} cycle {}, {}: {}\n", c.result.backup, c.result.cycle,
                                     name_of(w->who), describe(bad));
            }
        }
    }
    if (!all) return;
    out += paint("\nBad pages:\n", kRed, style) + lines;
    if (shown < all) out += fmt::format("  ... and {} more: see the JSON report\n", all - shown);
}

void list_balances(std::string& out, const RunReport& run, const TableStyle& style) {
    std::string uneven, within;
    for (const oracle::Balance& b : run.balances) {
        if (b.even() && b.before == b.after) continue;
        (b.even() ? within : uneven) +=
            fmt::format("  {}: {} before, {} after {} (tolerance {})\n", b.name, b.before, b.after,
                        b.unit, b.tolerance);
    }
    // Said, too: a leak that is smaller than the tolerance looks the same.
    if (!within.empty()) out += "\nNot exactly as before, but within the tolerance:\n" + within;
    if (!uneven.empty()) out += paint("\nNot given back:\n", kRed, style) + uneven;
}

}  // namespace

TableStyle style_for(int fd) {
    TableStyle style;
    const char* no_colour = std::getenv("NO_COLOR");
    style.colour = ::isatty(fd) == 1 && !(no_colour && *no_colour);
    return style;
}

std::string format_table(const RunReport& run, const TableStyle& style) {
    std::string out = fmt::format("{}: kernel {} ({}), {}, guest of {} MiB, seed {:#x}\n\n",
                                  run.scenario, run.kernel_release, run.kernel_variant,
                                  run.accelerator, run.guest_ram_bytes >> 20, run.seed);
    const std::vector<BackupSummary> columns = summarize(run);
    const bool tcg = run.accelerator == "tcg";
    if (columns.empty()) {
        out += "No cycle was completed.\n";
    } else {
        out += main_table(columns, tcg);
        if (tcg) out += "* under TCG (no KVM): times compare backups, they are no hardware times\n";
    }
    list_bad(out, run, style);
    list_balances(out, run, style);

    out += "\n";
    if (run.error.empty()) {
        out += paint(std::string(oracle::name_of(run.verdict.kind)), colour_of(run.verdict.kind),
                     style);
        out += fmt::format(" (exit code {}, {:.1f} s)\n", to_int(run.exit_code), run.seconds);
    } else {
        // The error has lines of its own: what, where, what to do.
        out += paint(fmt::format("FAILED ({})", name_of(run.exit_code)), kRed, style);
        out += fmt::format(" (exit code {}, {:.1f} s): {}\n", to_int(run.exit_code), run.seconds, run.error);
    }
    for (const std::string& reason : run.verdict.reasons) out += "  - " + reason + "\n";
    if (run.exit_code != ExitCode::kPass && !run.log_dir.empty()) {
        out += "Logs: " + run.log_dir + "\n";
    }
    return out;
}

}  // namespace vttm::report
