// SPDX-License-Identifier: Apache-2.0
// Records what GPU, guest and host do during a run, and writes it as one trace (docs/trace.md).
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "host-backend/cli/progress.h"
#include "host-backend/machine/machine.h"
#include "host-backend/trace/chrome_json.h"

namespace vttm::cli {

class TraceRecorder {
public:
    // The machine is to be configured with a trace; the phase "boot" begins now.
    TraceRecorder(machine::Machine& machine, std::filesystem::path path);

    // The machine has booted: the guest begins to trace. buffer_kib: of the guest's ring, per CPU. It
    // has to hold what comes between two phases.
    void start(std::uint64_t buffer_kib = 4096);
    // A phase of the run begins. Takes what the guest has traced so far.
    void phase(const std::string& name);
    // Takes the rest and writes the file. guest_lives: else what has come is all. Throws
    // machine::Inconclusive, after writing, if the clocks contradict the order of events; and without
    // writing, if they do not fit together at all.
    void finish(bool guest_lives, Progress& progress);

    const trace::Order& order() const { return order_; }

private:
    void sample_host();
    void drain();
    void end_phase();

    machine::Machine& machine_;
    const std::filesystem::path path_;
    bool started_ = false;
    trace::Trace trace_;
    std::vector<trace::ClockSample> guest_clock_, host_clock_;
    std::string phase_ = "boot";
    std::uint64_t since_;
    std::uint64_t ring_lost_ = 0;  // events that the guest's rings say they have lost
    trace::Order order_;
};

}  // namespace vttm::cli
