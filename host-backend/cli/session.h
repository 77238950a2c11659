// SPDX-License-Identifier: Apache-2.0
// A booted guest together with what the host knows of it: ledger, witness log, swap disk. Scenarios
// and self-tests speak to the guest through this.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "host-backend/cli/agent_requests.h"
#include "host-backend/cli/buffer_plan.h"
#include "host-backend/machine/machine.h"
#include "host-backend/oracle/host_witness.h"
#include "host-backend/oracle/ledger.h"
#include "host-backend/oracle/placement.h"
#include "host-backend/oracle/verdict.h"
#include "host-backend/oracle/witness_log.h"

namespace vttm::cli {

class Session {
public:
    using Clock = std::chrono::steady_clock;

    // machine must be started. key: of all stamps. deadline: no call waits beyond it.
    Session(machine::Machine& machine, std::uint64_t key, Clock::time_point deadline);

    machine::Machine& machine() { return machine_; }
    const oracle::Ledger& ledger() const { return ledger_; }
    oracle::WitnessLog& log() { return log_; }

    // No call waits beyond it, the injectors' included.
    Clock::time_point deadline() const { return deadline_; }
    nlohmann::json call(const char* op, nlohmann::json args = nullptr);

    // Switches ttm.backup and ttm.restore ("auto", or "copy" to compare with); throws
    // machine::InfraError if the kernel reads back another mode.
    void set_backup(const std::string& mode, const std::string& restore = "auto");

    void create(std::span<const PlannedBuffer> buffers);
    void free_all();
    // Fills the buffers with the next content; CPU fills are shown to the device afterwards, so the
    // witness log knows the physical page of every page. Returns pages.
    std::uint64_t fill(const std::vector<PlannedBuffer>& buffers, std::uint32_t generation);
    // All filled buffers, in portions. The device's report also has what it found bad since its last
    // one, while fill() showed it a page for example. tick is called between them with pages done.
    oracle::WitnessReport verify(By by, const std::function<void(std::uint64_t)>& tick = {});

    // The guest's claim, now.
    oracle::Placement placement();
    // What the host can read.
    oracle::HostView view() const;
    oracle::GuestRamView ram_view() const;
    int swap_fd() const { return swap_.get(); }
    // All filled pages at their claimed places, the guest stopped while the host looks. Pages that
    // moved between claim and look get up to three newer claims.
    oracle::HostCheck check_at_rest();
    // The bad pages of a check at up to three newer claims, the guest stopped for each look.
    void look_again(oracle::HostCheck& check);

    // As parse_counters() names them.
    oracle::Counters counters();

private:
    machine::Machine& machine_;
    oracle::Ledger ledger_;
    oracle::WitnessLog log_;
    machine::UniqueFd swap_;
    std::uint64_t reported_ = 0;  // the log's serial at the device's last report
    Clock::time_point deadline_;
};

}  // namespace vttm::cli
