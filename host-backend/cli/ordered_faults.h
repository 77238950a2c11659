// SPDX-License-Identifier: Apache-2.0
// What the GPU did wrong: on the host's orders (docs/faults.md), or without any.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "host-backend/machine/machine.h"

namespace vttm::cli {

// Throws std::runtime_error with what is wrong with the plan, where, and what would be right.
void check_fault_plan(const std::string& plan, std::uint64_t vram_mib);

// What the device says of the plan in force (its property `faults`).
nlohmann::json fault_record(machine::Machine& machine);

// The rules of such a record that have not struck, each in words.
std::vector<std::string> idle_rules(const nlohmann::json& record);

// For who gave no plan: throws machine::InfraError if the device has done anything wrong on purpose.
void check_no_faults(machine::Machine& machine);

}  // namespace vttm::cli
