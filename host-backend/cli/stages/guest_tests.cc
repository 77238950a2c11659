// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "host-backend/cli/stages/stage.h"
#include "host-backend/machine/machine.h"

namespace vttm::cli {
namespace {

using report::TestStatus;
using std::chrono::milliseconds;

constexpr const char* kResultFile = "/tmp/guest-tests.json";

// Runs a program in the guest; returns its output and status.
struct GuestRun {
    int status = 0;
    std::string output;
};

GuestRun guest_exec(machine::Machine& m, std::vector<std::string> argv, milliseconds timeout) {
    GuestRun run;
    m.agent().on_event([&](const nlohmann::json& e) {
        if (e.value("event", "") == "output") run.output += e.value("line", "") + "\n";
    });
    auto reply = m.agent().call("exec", {{"argv", std::move(argv)}, {"timeout_ms", timeout.count()}},
                                timeout + milliseconds(30'000));
    m.agent().on_event({});
    run.status = reply.at("status").get<int>();
    return run;
}

std::string tail(const std::string& text) {
    return text.size() > 8192 ? text.substr(text.size() - 8192) : text;
}

}  // namespace

void run_guest_tests(const StageContext& context, report::TestResults& into) {
    machine::MachineConfig config = machine_config(context.common, context.manifest);
    config.vram_mib = 64;  // small, so that the eviction tests need few buffers
    machine::Machine machine(config);
    context.progress.phase("test guest: boot");
    machine.start();
    context.progress.phase("test guest: GoogleTest in the guest");
    GuestRun tests = guest_exec(machine,
                                {"/bin/vttm-guest-tests", std::string("--gtest_output=json:") + kResultFile},
                                milliseconds(900'000));
    GuestRun file = guest_exec(machine, {"/bin/cat", kResultFile}, milliseconds(60'000));
    report::TestResults results;
    try {
        results = report::parse_gtest_json(file.output);
    } catch (const report::ParseError& e) {
        results.cases.push_back(make_case("guest", "program", TestStatus::kFailed,
                                          fmt::format("exit {}, no result file ({}); last output:\n{}",
                                                      tests.status, e.what(), tail(tests.output))));
    }
    if (tests.status != 0 && results.counts().failed == 0)
        results.cases.push_back(make_case("guest", "program", TestStatus::kFailed,
                                          fmt::format("exit {}; last output:\n{}", tests.status,
                                                      tail(tests.output))));
    into.append(results);
    machine.check();
    machine.stop(milliseconds(5000));
}

}  // namespace vttm::cli
