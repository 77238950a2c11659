// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/stages/guest_half.h"

#include <fmt/format.h>

#include "host-backend/cli/guest_exec.h"

namespace vttm::cli {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {
constexpr const char* kLog = "/tmp/guest-half.log";
constexpr const char* kHostIsDone = "/tmp/host-is-done";
}  // namespace

std::string GuestHalf::shell(const std::string& script) {
    return guest_exec(machine_, {"/bin/busybox", "sh", "-c", script},
                      context_.variant.scaled(seconds(60)))
        .output;
}

bool GuestHalf::wait_until(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + context_.variant.scaled(seconds(120));
    while (!condition()) {
        if (std::chrono::steady_clock::now() > end) return false;
        machine_.agent().idle(milliseconds(100));
    }
    return true;
}

bool GuestHalf::said(const std::string& words) {
    return shell(fmt::format("cat {}", kLog)).find(words) != std::string::npos;
}

bool GuestHalf::wait_until_said(const std::string& words) {
    return wait_until([&] { return said(words) || said("exit "); }) && said(words);
}

bool GuestHalf::begin(const std::string& filter) {
    shell(fmt::format("rm -f {} {}", kLog, kHostIsDone));
    shell(fmt::format("setsid sh -c '/bin/vttm-guest-tests --gtest_filter={}; echo exit $?' "
                      ">{} 2>&1 </dev/null &",
                      filter, kLog));
    return wait_until_said("at work");
}

void GuestHalf::host_is_done() { shell(fmt::format("touch {}", kHostIsDone)); }

std::string GuestHalf::end() {
    std::string why;
    if (!wait_until([this] { return said("exit "); })) {
        why += "the guest's test has not ended\n";
        shell("killall -9 vttm-guest-tests");
    }
    log_ = shell(fmt::format("cat {}", kLog));
    if (log_.find("exit 0") == std::string::npos || log_.find("PASSED  ] 1 test") == std::string::npos) why += log_;
    shell(fmt::format("rm -f {} {}", kLog, kHostIsDone));  // pages of shmem
    return why;
}

std::string GuestHalf::run(const std::string& filter, const std::function<std::string()>& host) {
    std::string why;
    if (!begin(filter))
        why = "nobody works\n";
    else
        try {
            why = host();
        } catch (const machine::AgentError& e) {
            why = e.text + "\n";
        }
    host_is_done();
    return why + end();
}

}  // namespace vttm::cli
