// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "host-backend/report/run_report.h"

namespace vttm::report {
namespace {

void add(oracle::ClassCounts& to, std::uint64_t& checked, const oracle::WitnessReport& w) {
    const oracle::ClassCounts counts = w.by_class();
    for (std::size_t i = 0; i < counts.size(); i++) to[i] += counts[i];
    checked += w.checked;
}

double ms_per_mib(double seconds, std::uint64_t bytes) {
    if (!bytes) return 0;
    return seconds * 1000 / (static_cast<double>(bytes) / (1 << 20));
}

}  // namespace

double BackupSummary::ms_per_mib_out() const { return ms_per_mib(seconds_out, bytes_out); }
double BackupSummary::ms_per_mib_in() const { return ms_per_mib(seconds_in, bytes_in); }

std::vector<BackupSummary> summarize(const RunReport& run) {
    std::vector<BackupSummary> out;
    for (const CycleRecord& c : run.cycles) {
        const oracle::CycleResult& r = c.result;
        auto it = std::find_if(out.begin(), out.end(),
                               [&](const BackupSummary& s) { return s.backup == r.backup; });
        if (it == out.end()) {
            it = out.emplace(out.end());
            it->backup = r.backup;
            it->min_swapped_share = r.swapped_share;
        }
        it->cycles++;
        it->pages_filled += r.pages_filled;
        add(it->device, it->device_checked, r.device);
        add(it->cpu, it->cpu_checked, r.cpu);
        add(it->host, it->host_checked, r.host);
        it->pages_on_disk += r.pages_on_disk;
        it->min_swapped_share = std::min(it->min_swapped_share, r.swapped_share);
        it->zero_copy += r.zero_copy;
        it->runs += r.runs;
        it->second_copies += r.second_copies;
        it->leftovers += r.leftovers;
        it->strays += r.strays;
        it->stale_uses += r.stale_uses;
        it->device_faults += r.device_faults;
        for (const auto& [name, value] : r.counters) it->counters[name] += value;
        for (const auto& [name, value] : r.levels) {
            const auto level = it->levels.try_emplace(name, value).first;
            level->second = std::max(level->second, value);
        }
        it->seconds_out += r.seconds_out;
        it->seconds_in += r.seconds_in;
        it->bytes_out += r.bytes_out;
        it->bytes_in += r.bytes_in;
        it->verdict = std::max(it->verdict, c.verdict.kind);
    }
    return out;
}

}  // namespace vttm::report
