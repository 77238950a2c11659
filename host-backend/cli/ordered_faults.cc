// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/ordered_faults.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <stdexcept>

#include "host-backend/model/fault_plan.h"

namespace vttm::cli {

void check_fault_plan(const std::string& plan, std::uint64_t vram_mib) {
    try {
        if (model::parse_fault_plan(plan, vram_mib << 20).rules.empty())
            throw model::FaultPlanError("it has no rules: leave it out for a GPU without faults");
    } catch (const model::FaultPlanError& e) {
        throw std::runtime_error(fmt::format("fault_plan: {}", e.what()));
    }
}

nlohmann::json fault_record(machine::Machine& machine) {
    return nlohmann::json::parse(machine.device_property("faults").get<std::string>());
}

std::vector<std::string> idle_rules(const nlohmann::json& record) {
    std::vector<std::string> idle;
    std::size_t number = 0;
    for (const auto& rule : record.at("rules")) {
        if (rule.at("injected") == 0)
            idle.push_back(fmt::format("rule {} of the fault plan ({}) never struck, in {} events", number,
                                       rule.at("kind").get<std::string>(),
                                       rule.at("events").get<std::uint64_t>()));
        ++number;
    }
    return idle;
}

void check_no_faults(machine::Machine& machine) {
    const auto injected = machine.stats().at("injected").get<std::uint64_t>();
    if (!injected) return;
    throw machine::InfraError({.what = fmt::format("the GPU has injected {} faults, and this run ordered none", injected),
                               .where = "",
                               .todo = "who else has access to the machine's monitor?",
                               .excerpt = fault_record(machine).dump()});
}

}  // namespace vttm::cli
