// SPDX-License-Identifier: Apache-2.0
// The scenario `swap-cycle`: fill, pressure, look, bring back, verify; per backup and cycle.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "host-backend/cli/buffer_plan.h"
#include "host-backend/cli/progress.h"
#include "host-backend/cli/session.h"
#include "host-backend/cli/swap_cycle_config.h"
#include "host-backend/oracle/zero_copy.h"
#include "host-backend/pressure/vram_balloon.h"
#include "host-backend/report/run_report.h"

namespace vttm::cli {

// One backup's cycles on one session. The steps are public so that self-tests can plant faults
// between them; run() is the order that a cycle has.
class SwapCycle {
public:
    SwapCycle(Session& session, const SwapCycleConfig& config, std::string backup,
              Progress& progress);

    // Switches the backup, notes the starting balances, makes the buffers.
    void begin();
    // Fills all buffers; samples where pages are between portions.
    void fill();
    // Grows a memory hog until the wanted share of GTT pages is claimed in swap, and until the hog has
    // met the limit of its memory cgroup, if the scenario sets one.
    void press();
    // The host looks: claims, all of RAM, the swap file. press() calls it while the hog still presses.
    void look();
    // Device, then CPU, read everything; which brings it back.
    void verify();
    // Judges the cycle. After the last one frees the buffers and takes the balances first.
    report::CycleRecord finish(bool last);

    // All cycles. Appends each record to report as soon as it is there.
    void run(report::RunReport& report);

    const oracle::CycleResult& result() const { return result_; }

private:
    std::string label(const char* what) const;
    void migrate();
    void sample();
    oracle::Placement filled_now(const oracle::Placement& claim) const;
    void note_first_check();
    // Pages of buffers that the guest claims in VRAM that the balloon asks for.
    std::int64_t pages_beyond_target();
    bool limit_met();
    void note_foreign_charge(std::uint64_t held_mib);
    void settle_balances();
    void settle_strays();
    void count_device_errors();
    void keep_findings(report::RunReport& report);
    report::CycleRecord judged() const;

    Session& session_;
    const SwapCycleConfig& config_;
    const std::string backup_;
    Progress& progress_;
    std::vector<PlannedBuffer> plan_;
    oracle::ZeroCopyTracker tracker_;
    oracle::Counters before_run_, before_cycle_;
    oracle::CycleResult result_;
    std::uint32_t generation_ = 0;  // = number of the cycle
    std::uint64_t gtt_pages_ = 0;   // of the GTT buffers
    std::uint64_t since_ = 0;       // witness log serial at the start of the cycle
    Session::Clock::time_point out_begin_{};
    std::optional<pressure::VramBalloon> balloon_;
    double first_check_ = 0;  // where the first host check of content ended, in Progress::seconds()
};

// Gives the machine what the scenario asks for: memory sizes, and a kernel command line on which
// compaction does not move pages between two samples. A page that compaction moves once it lies in
// shmem was not copied by the backup, but the host could not tell the two apart.
void shape_machine(const SwapCycleConfig& config, machine::MachineConfig& machine);

// The buffers of a cycle: as many GTT buffers as the guest has RAM, which exceeds what is free in it,
// unless the scenario fixes the amount. first_id: of the first buffer. Depends on nothing else, so a
// seed gives the same plan in each run.
std::vector<PlannedBuffer> plan_for(const SwapCycleConfig& config, std::uint32_t first_id);

// What a cycle with this backup and so many pages of GTT buffers must show.
oracle::Policy policy_for(const SwapCycleConfig& config, const std::string& backup,
                          std::uint64_t gtt_pages);

// Bytes charged to the hog's memory cgroup beyond the MiB that the hog holds: somebody else's pages,
// in RAM or in swap. Nothing if the counters of the cgroup are missing.
std::optional<std::int64_t> foreign_charge(const oracle::Counters& levels, std::uint64_t held_mib);

// Takes over what the guest counts now, but of nr_gpu_* keeps the highest that was seen.
void raise_levels(oracle::Counters& levels, const oracle::Counters& now);

// What must be back where it was once the buffers are freed.
std::vector<oracle::Balance> take_balances(const oracle::Counters& before,
                                           const oracle::Counters& after);
// Those of which this kernel, which is not ours, tells nothing: they are in no balance.
std::vector<std::string> untold_balances(const oracle::Counters& counters);

}  // namespace vttm::cli
