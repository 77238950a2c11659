// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/stages/fault_orders.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <regex>

#include "host-backend/cli/stages/stage.h"

#include "host-backend/cli/ordered_faults.h"

namespace vttm::cli {

using nlohmann::json;

SwapCycleConfig small_guest(const char* name, std::uint64_t seed) {
    SwapCycleConfig config;
    config.name = name;
    config.seed = seed;
    config.ram_mib = 512;
    config.vram_mib = 64;
    config.vram_buffers_mib = 16;
    config.gtt_buffers_mib = 48;
    return config;
}

void ask_vram(machine::Machine& machine, std::uint64_t mib) {
    machine.set_device_property("vram-target", mib << 20);
}

void FaultOrders::give(const std::string& rules) {
    machine_.set_device_property("fault-plan", rules.empty() ? "" : R"({"faults": [)" + rules + "]}");
}

std::string FaultOrders::end() {
    const json record = fault_record(machine_);
    give("");
    const auto idle = idle_rules(record);
    return idle.empty() ? "" : fmt::format("{}: {}\n", fmt::join(idle, "; "), record.dump());
}

std::string must_find(const oracle::CycleResult& seen, std::size_t count, oracle::PageClass cls) {
    std::string why;
    for (const auto* r : {&seen.device, &seen.cpu}) {
        if (r->bad.size() != count)
            why += fmt::format("{} found {} bad pages, expected {}\n", oracle::name_of(r->who),
                               r->bad.size(), count);
        for (const auto& bad : r->bad)
            if (bad.cls != cls) why += fmt::format("unexpected: {}\n", oracle::describe(bad));
    }
    return why;
}

void check_iommu(const std::string& suite, machine::Machine& machine, report::TestResults& into) {
    static const std::regex kFault(R"(DMAR: [^\n]*fault addr[^\n]*)");
    const std::string console = console_of(machine);
    std::smatch fault;
    const bool met = std::regex_search(console, fault, kFault);
    into.cases.push_back(make_case(suite, "the_iommu_reports_nothing",
                                   met ? report::TestStatus::kFailed : report::TestStatus::kPassed,
                                   met ? fault.str() + "\n" : ""));
}

std::string uneven(Session& session, const oracle::Counters& before, std::chrono::milliseconds patience) {
    const auto end = Session::Clock::now() + patience;
    for (;;) {
        std::string why;
        for (const oracle::Balance& b : take_balances(before, session.counters()))
            if (!b.even()) why += fmt::format("{} was {} and is {}\n", b.name, b.before, b.after);
        if (why.empty() || Session::Clock::now() > end) return why;
        session.machine().agent().idle(std::chrono::milliseconds(250));
    }
}

}  // namespace vttm::cli
