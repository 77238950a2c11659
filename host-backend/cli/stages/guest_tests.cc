// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "host-backend/cli/guest_exec.h"
#include "host-backend/cli/stages/stage.h"

namespace vttm::cli {
namespace {

using report::TestStatus;
using std::chrono::milliseconds;

constexpr const char* kResultFile = "/tmp/guest-tests.json";

std::string tail(const std::string& text) {
    return text.size() > 8192 ? text.substr(text.size() - 8192) : text;
}

}  // namespace

void run_guest_tests(const StageContext& context, report::TestResults& into) {
    machine::MachineConfig config = stage_machine(context);
    config.vram_mib = 64;  // small, so that the eviction tests need few buffers
    // KASAN's shadow is an eighth of RAM, and what it keeps in quarantine comes on top: without more
    // RAM the test that overcommits GTT (3/4 of RAM) has none left to do it in.
    if (context.variant.kasan) config.ram_mib *= 2;
    machine::Machine machine(config);
    context.progress.phase("test guest: boot");
    machine.start();
    context.progress.phase("test guest: GoogleTest in the guest");
    GuestRun tests = guest_exec(machine,
                                {"/bin/vttm-guest-tests", "--gtest_filter=-SleepTest.*:HostUnplugTest.*",
                                 std::string("--gtest_output=json:") + kResultFile},
                                context.variant.scaled(milliseconds(900'000)));
    GuestRun file = guest_exec(machine, {"/bin/cat", kResultFile}, context.variant.scaled(milliseconds(60'000)));
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
    check_guest(context, machine);
    machine.stop(milliseconds(5000));
    run_sleep_tests(context, into);
}

}  // namespace vttm::cli
