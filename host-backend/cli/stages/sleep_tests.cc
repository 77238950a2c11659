// SPDX-License-Identifier: Apache-2.0
// The guest's tests that put it to sleep. The agent's channel may not survive that: when it resumes, virtio_console (as we
// read it in Linux 7.3.4) asks the host whether the port is open before it has buffers for the answer, and all
// writers block. So these tests have a machine of their own and report on its serial console.
#include <fmt/format.h>

#include <regex>
#include <thread>

#include "host-backend/cli/guest_exec.h"
#include "host-backend/cli/stages/stage.h"

namespace vttm::cli {
namespace {

using report::TestStatus;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kDone = "vttm-sleep-tests-done";
constexpr const char* kCommand =
    "setsid sh -c '/bin/vttm-guest-tests --gtest_filter=SleepTest.* --gtest_color=no; "
    "echo vttm-sleep-tests-done' >/dev/ttyS0 2>&1 </dev/null &";

// What GoogleTest has printed: a case per result; each that began has to have one.
void add_cases(const std::string& console, report::TestResults& into) {
    static const std::regex kResult(R"(\[ +(OK|FAILED) +\] SleepTest\.(\w+) \()");
    static const std::regex kRunning(R"(Running (\d+) tests from)");
    std::size_t count = 0;
    std::size_t from = 0;
    for (std::sregex_iterator it(console.begin(), console.end(), kResult), end; it != end; ++it) {
        const bool ok = (*it)[1] == "OK";
        const auto at = static_cast<std::size_t>(it->position());
        into.cases.push_back(make_case("guest_sleep", (*it)[2],
                                       ok ? TestStatus::kPassed : TestStatus::kFailed,
                                       ok ? "" : console.substr(from, at - from)));
        from = at;
        count++;
    }
    std::smatch running;
    const bool known = std::regex_search(console, running, kRunning);
    if (!known || count == 0 || std::to_string(count) != running[1].str() ||
        console.find(kDone) == std::string::npos)
        into.cases.push_back(make_case(
            "guest_sleep", "program", TestStatus::kFailed,
            fmt::format("{} results of {} tests; end of the console:\n{}", count,
                        known ? running[1].str() : "?",
                        console.substr(console.size() - std::min<std::size_t>(console.size(), 8192)))));
}

}  // namespace

void run_sleep_tests(const StageContext& context, report::TestResults& into) {
    machine::MachineConfig config = stage_machine(context);
    config.vram_mib = 64;
    const milliseconds patience = context.variant.scaled(seconds(180));
    config.liveness = patience + seconds(60);  // its silence is no hang
    machine::Machine machine(config);
    context.progress.phase("test sleep: boot");
    machine.start();
    context.progress.phase("test sleep: tests in the guest");
    guest_exec(machine, {"/bin/busybox", "sh", "-c", kCommand}, context.variant.scaled(seconds(30)));
    const auto end = std::chrono::steady_clock::now() + patience;
    while (console_of(machine).find(kDone) == std::string::npos &&
           std::chrono::steady_clock::now() < end) {
        std::this_thread::sleep_for(milliseconds(200));
        machine.check();
    }
    add_cases(console_of(machine), into);
    machine.check();
    machine.stop();
}

}  // namespace vttm::cli
