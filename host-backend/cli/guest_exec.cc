// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/guest_exec.h"

namespace vttm::cli {

GuestRun guest_exec(machine::Machine& machine, std::vector<std::string> argv,
                    std::chrono::milliseconds timeout) {
    GuestRun run;
    machine.agent().on_event([&](const nlohmann::json& e) {
        if (e.value("event", "") == "output") run.output += e.value("line", "") + "\n";
    });
    const auto reply =
        machine.agent().call("exec", {{"argv", std::move(argv)}, {"timeout_ms", timeout.count()}},
                             timeout + std::chrono::seconds(30));
    machine.agent().on_event({});
    run.status = reply.at("status").get<int>();
    run.timed_out = reply.at("timed_out").get<bool>();
    return run;
}

}  // namespace vttm::cli
