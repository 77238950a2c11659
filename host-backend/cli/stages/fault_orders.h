// SPDX-License-Identifier: Apache-2.0
// What the cases of stages `faults`, `plug` and `balloon` share: their guest, a plan of faults for the device,
// and what witnesses found.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>

#include "host-backend/cli/session.h"
#include "host-backend/cli/swap_cycle.h"
#include "host-backend/machine/machine.h"
#include "host-backend/oracle/verdict.h"
#include "host-backend/report/test_results.h"

namespace vttm::cli {

// A small guest with buffers in VRAM and GTT.
SwapCycleConfig small_guest(const char* name, std::uint64_t seed);

// So much VRAM that its buffers there do not fit.
inline constexpr std::uint64_t kSmallVramMib = 6;

// How much VRAM the host leaves to the guest from now on; returns before the guest has obeyed.
void ask_vram(machine::Machine& machine, std::uint64_t mib);

// The device's property `fault-plan` (docs/faults.md).
class FaultOrders {
public:
    explicit FaultOrders(machine::Machine& machine) : machine_(machine) {}

    // rules: JSON objects, with commas between them.
    void give(const std::string& rules);
    // Ends the plan. Why not: each of its rules must have struck at least once. "": all is well.
    std::string end();

private:
    machine::Machine& machine_;
};

// Why not: device and CPU must have found exactly @count bad pages, of @cls.
std::string must_find(const oracle::CycleResult& seen, std::size_t count, oracle::PageClass cls);

// A case more: the guest's IOMMU, in whose console it says so, must have met no address that is nobody's.
void check_iommu(const std::string& suite, machine::Machine& machine, report::TestResults& into);

// Why not: all balances must be as they were @before. TTM frees from a workqueue: for at most @patience it may take its time.
std::string uneven(Session& session, const oracle::Counters& before, std::chrono::milliseconds patience);

}  // namespace vttm::cli
