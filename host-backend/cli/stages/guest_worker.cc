// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/stages/guest_worker.h"

#include <fmt/format.h>

#include <chrono>
#include <utility>

#include "host-backend/cli/guest_exec.h"

namespace vttm::cli {

using std::chrono::milliseconds;
using std::chrono::seconds;

GuestWorker::GuestWorker(machine::Machine& machine, const machine::Variant& variant, std::string test)
    : machine_(machine), variant_(variant), test_(std::move(test)) {}

std::string GuestWorker::shell(const std::string& script) {
    return guest_exec(machine_, {"/bin/busybox", "sh", "-c", script}, variant_.scaled(seconds(60))).output;
}

template <typename Condition>
bool GuestWorker::wait_until(Condition&& condition) {
    const auto end = std::chrono::steady_clock::now() + variant_.scaled(seconds(60));
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        machine_.agent().idle(milliseconds(100));
    }
    return true;
}

bool GuestWorker::says(const std::string& words) {
    return shell("cat /tmp/worker.log").find(words) != std::string::npos;
}

std::string GuestWorker::start() {
    shell("rm -f /tmp/worker.log /tmp/worker-end");
    shell(fmt::format("setsid sh -c '/bin/vttm-guest-tests --gtest_filter={}; echo exit $?' "
                      ">/tmp/worker.log 2>&1 </dev/null &",
                      test_));
    if (wait_until([this] { return says("at work") || says("exit "); }) && !says("exit ")) return "";
    return "nobody works\n";
}

std::string GuestWorker::finish() {
    shell("touch /tmp/worker-end");
    std::string why;
    if (!wait_until([this] { return says("exit "); })) {
        why = "the guest's test has not ended\n";
        shell("killall -9 vttm-guest-tests");
    }
    const std::string said = shell("cat /tmp/worker.log");
    if (said.find("exit 0") == said.npos || said.find("PASSED  ] 1 test") == said.npos) why += said;
    shell("rm -f /tmp/worker.log /tmp/worker-end");  // pages of shmem
    return why;
}

}  // namespace vttm::cli
