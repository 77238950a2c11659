// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "host-backend/report/run_report.h"

namespace vttm::report {
namespace {

using nlohmann::json;
using oracle::PageClass;

json classes(const oracle::ClassCounts& counts) {
    json out = json::object();
    for (std::size_t i = 1; i < counts.size(); i++) {
        if (counts[i]) out[std::string(name_of(static_cast<PageClass>(i)))] = counts[i];
    }
    return out;
}

json place(const oracle::Place& p) {
    json out{{"kind", name_of(p.kind)}};
    if (p.kind == oracle::PlaceKind::kVram || is_resident(p.kind)) {
        out["addr"] = fmt::format("{:#x}", p.addr);
    }
    if (has_slot(p.kind)) out["slot"] = p.slot;
    return out;
}

json bad_page(const oracle::BadPage& b) {
    json out{{"buffer", b.id.buffer},   {"page", b.id.page},       {"generation", b.generation},
             {"class", name_of(b.cls)}, {"where", place(b.where)}, {"text", describe(b)}};
    if (b.found) {
        out["found"] = {{"buffer", b.found->buffer},
                        {"page", b.found->page},
                        {"generation", b.found->generation}};
    }
    if (b.read) {
        out["first_bad_line"] = b.first_bad_line;
        out["bad_lines"] = b.bad_lines;
        out["flipped_bits"] = b.flipped_bits;
        out["first_bad_bit"] = b.first_bad_bit;
    }
    return out;
}

json witness(const oracle::WitnessReport& w) {
    json out{{"present", w.present},
             {"checked", w.checked},
             {"good", w.good()},
             {"by_class", classes(w.by_class())},
             {"bad", json::array()}};
    for (const auto& b : w.bad) out["bad"].push_back(bad_page(b));
    return out;
}

json zero_copy(const oracle::ZeroCopyStats& z) {
    json out{{"unchanged", z.unchanged},
             {"changed", z.changed},
             {"unknown", z.unknown},
             {"no_evidence", z.bad},
             {"first_seen_in_swap", z.late},
             {"share", nullptr}};
    if (const auto share = z.share()) out["share"] = *share;
    return out;
}

json runs(const oracle::RunStats& r) {
    return {{"groups", r.groups},
            {"unsplit", r.unsplit},
            {"split", r.split()},
            {"huge_groups", r.huge_groups},
            {"huge_unsplit", r.huge_unsplit}};
}

json balances(const std::vector<oracle::Balance>& all) {
    json out = json::array();
    for (const auto& b : all) {
        out.push_back({{"name", b.name},
                       {"unit", b.unit},
                       {"before", b.before},
                       {"after", b.after},
                       {"tolerance", b.tolerance},
                       {"even", b.even()}});
    }
    return out;
}

json opinion(const std::optional<PageClass>& c) { return c ? json(name_of(*c)) : json(nullptr); }

json verdict(const oracle::Verdict& v) {
    json out{{"kind", name_of(v.kind)}, {"reasons", v.reasons}, {"disagreements", json::array()}};
    for (const auto& d : v.disagreements) {
        out["disagreements"].push_back({{"buffer", d.id.buffer},
                                        {"page", d.id.page},
                                        {"device", opinion(d.device)},
                                        {"cpu", opinion(d.cpu)},
                                        {"host", opinion(d.host)}});
    }
    return out;
}

json times(double seconds_out, double seconds_in, std::uint64_t bytes_out, std::uint64_t bytes_in) {
    const auto per_mib = [](double s, std::uint64_t bytes) {
        return bytes ? json(s * 1000 / (static_cast<double>(bytes) / (1 << 20))) : json(nullptr);
    };
    return {{"seconds_out", seconds_out},
            {"seconds_in", seconds_in},
            {"bytes_out", bytes_out},
            {"bytes_in", bytes_in},
            {"ms_per_mib_out", per_mib(seconds_out, bytes_out)},
            {"ms_per_mib_in", per_mib(seconds_in, bytes_in)}};
}

json cycle(const CycleRecord& c) {
    const oracle::CycleResult& r = c.result;
    return {
        {"backup", r.backup},
        {"cycle", r.cycle},
        {"pages_filled", r.pages_filled},
        {"witnesses",
         {{"device", witness(r.device)}, {"cpu", witness(r.cpu)}, {"host", witness(r.host)}}},
        {"stale_uses", r.stale_uses},
        {"device_faults", r.device_faults},
        {"swapped_share", r.swapped_share},
        {"pages_on_disk", r.pages_on_disk},
        {"zero_copy", zero_copy(r.zero_copy)},
        {"runs_2mib", runs(r.runs)},
        {"ram_scan",
         {{"second_copies", r.second_copies}, {"leftovers", r.leftovers}, {"strays", r.strays}}},
        {"counters", r.counters},
        {"levels", r.levels},
        {"balances", balances(r.balances)},
        {"times", times(r.seconds_out, r.seconds_in, r.bytes_out, r.bytes_in)},
        {"verdict", verdict(c.verdict)}};
}

json summary(const BackupSummary& s) {
    const auto counts = [](const oracle::ClassCounts& c, std::uint64_t checked) {
        return json{{"checked", checked},
                    {"good", c[oracle::index_of(PageClass::kGood)]},
                    {"by_class", classes(c)}};
    };
    return {
        {"backup", s.backup},
        {"cycles", s.cycles},
        {"pages_filled", s.pages_filled},
        {"witnesses",
         {{"device", counts(s.device, s.device_checked)},
          {"cpu", counts(s.cpu, s.cpu_checked)},
          {"host", counts(s.host, s.host_checked)}}},
        {"pages_on_disk", s.pages_on_disk},
        {"min_swapped_share", s.min_swapped_share},
        {"zero_copy", zero_copy(s.zero_copy)},
        {"runs_2mib", runs(s.runs)},
        {"ram_scan",
         {{"second_copies", s.second_copies}, {"leftovers", s.leftovers}, {"strays", s.strays}}},
        {"stale_uses", s.stale_uses},
        {"device_faults", s.device_faults},
        {"counters", s.counters},
        {"levels", s.levels},
        {"times", times(s.seconds_out, s.seconds_in, s.bytes_out, s.bytes_in)},
        {"verdict", oracle::name_of(s.verdict)}};
}

}  // namespace

json to_json(const RunReport& run) {
    json out{{"format", "vttm-run"},
             {"version", 1},
             {"tool_version", run.tool_version},
             {"scenario", run.scenario},
             {"started", run.started},
             {"accelerator", run.accelerator},
             {"times_are_hardware", run.accelerator != "tcg"},
             {"kernel", {{"release", run.kernel_release}, {"variant", run.kernel_variant}}},
             {"seed", fmt::format("{:#x}", run.seed)},
             {"guest_ram_bytes", run.guest_ram_bytes},
             {"vram_bytes", run.vram_bytes},
             {"swap_bytes", run.swap_bytes},
             {"seconds", run.seconds},
             {"seconds_to_boot", run.seconds_to_boot},
             {"seconds_to_first_check", run.seconds_to_first_check},
             {"log_dir", run.log_dir},
             {"backups", json::array()},
             {"cycles", json::array()},
             {"balances", balances(run.balances)},
             {"faults", run.faults.empty() ? json(nullptr) : json::parse(run.faults)},
             {"verdict", verdict(run.verdict)},
             {"exit_code", to_int(run.exit_code)},
             {"exit_name", name_of(run.exit_code)},
             {"error", run.error.empty() ? json(nullptr) : json(run.error)}};
    for (const BackupSummary& s : summarize(run)) out["backups"].push_back(summary(s));
    for (const CycleRecord& c : run.cycles) out["cycles"].push_back(cycle(c));
    return out;
}

}  // namespace vttm::report
