// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/report/sample_run.h"

namespace vttm::report::test {

oracle::WitnessReport witness(oracle::Witness who, std::uint64_t checked) {
    oracle::WitnessReport w;
    w.who = who;
    w.present = true;
    w.checked = checked;
    return w;
}

oracle::BadPage bad_page() {
    oracle::BadPage b;
    b.id = {7, 12};
    b.generation = 3;
    b.cls = oracle::PageClass::kStale;
    b.where = {oracle::PlaceKind::kSwap, 0, 345};
    b.found = vttm_stamp_id{.key = 1, .page = 12, .buffer = 7, .generation = 2};
    b.read = true;
    b.first_bad_line = 0;
    b.bad_lines = 64;
    b.flipped_bits = 9000;
    return b;
}

RunReport sample_run() {
    RunReport run;
    run.tool_version = "0.1.0";
    run.scenario = "swap-cycle";
    run.started = "2026-01-02T03:04:05Z";
    run.accelerator = "tcg";
    run.kernel_release = "7.3.4-vttm";
    run.kernel_variant = "base";
    run.seed = 0xabc;
    run.guest_ram_bytes = 1536ull << 20;
    run.log_dir = "/logs";
    run.seconds = 61.25;
    run.seconds_to_boot = 2.5;
    for (const char* backup : {"copy", "copy", "insert"}) {
        oracle::CycleResult r;
        r.backup = backup;
        r.cycle = static_cast<std::uint32_t>(run.cycles.size() + 1);
        r.pages_filled = 1000;
        r.device = witness(oracle::Witness::kDevice, 1000);
        r.cpu = witness(oracle::Witness::kCpu, 1000);
        r.host = witness(oracle::Witness::kHost, 1000);
        r.swapped_share = r.cycle == 2 ? 0.75 : 0.8;
        r.pages_on_disk = 800;
        const bool insert = r.backup == "insert";
        r.zero_copy.unchanged = insert ? 400 : 0;
        r.zero_copy.changed = insert ? 0 : 400;
        r.zero_copy.unknown = 10;
        r.zero_copy.late = 3;
        r.runs = {.groups = 4, .unsplit = insert ? 4u : 1u, .huge_groups = 3, .huge_unsplit = 1};
        r.counters = {{"pswpout", 800},
                      {"pswpin", 700},
                      {"thp_swpout", 3},
                      {"thp_swpout_fallback", 1},
                      {"allocstall_normal", 5},
                      {"allocstall_dma32", 2},
                      {"inserted_pages", insert ? 1000 : 0},
                      {"insert_fallback", insert ? 2 : 0},
                      {"copied_pages", insert ? 0 : 1000}};
        r.levels = {{"nr_gpu_active", 1000 + r.cycle}, {"nr_gpu_reclaim", 17}};
        r.seconds_out = 2;
        r.seconds_in = 1;
        r.bytes_out = 4 << 20;
        r.bytes_in = 4 << 20;
        run.cycles.push_back({r, {}});
    }
    return run;
}

}  // namespace vttm::report::test
