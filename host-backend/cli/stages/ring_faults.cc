// SPDX-License-Identifier: Apache-2.0
// Faults of the device in the middle of jobs that follow each other in a ring: what has run must
// not run again, what has not must, and only the job at fault may fail. A program in the guest
// works and checks what it sees (tests/guest/ring_fault_test.cc); the counters of the driver say
// what it has noticed.
#include "host-backend/cli/stages/ring_faults.h"

#include <fmt/format.h>

#include <map>

#include "host-backend/cli/guest_exec.h"
#include "host-backend/cli/stages/fault_orders.h"

namespace vttm::cli {
namespace {

using report::TestStatus;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kDriver = "/sys/bus/pci/drivers/vttm";
// What the driver counts of faults. A case says by how much each has to grow; by 0, where it does
// not.
constexpr const char* kCounters[] = {"resets",      "device_resets", "job_errors", "faults",
                                     "fences_lost", "moves_again",   "stale"};

struct Case {
    const char* name;
    const char* rules;
    const char* guest;
    std::map<std::string, std::int64_t> grown;
};

const Case kCases[] = {
    {"lost_fence",
     R"({"kind": "fence-never", "engine": "copy"})",
     "LostFence",
     {{"job_errors", 1}, {"fences_lost", 1}}},
    {"overtaken_fence",
     R"({"kind": "fence-late", "engine": "copy", "packets": 100})",
     "LostFence",
     {{"job_errors", 1}, {"fences_lost", 1}}},
    {"lost_fence_then_hang",
     R"({"kind": "fence-never", "engine": "copy"}, {"kind": "engine-hang", "engine": "copy", "nth": 7})",
     "LostFenceThenHang",
     {{"resets", 1}, {"job_errors", 2}, {"fences_lost", 1}}},
    {"lost_fence_then_reset",
     R"({"kind": "fence-never", "engine": "copy"}, {"kind": "device-reset", "engine": "stamp"})",
     "LostFenceThenReset",
     {{"device_resets", 1}, {"job_errors", 2}, {"fences_lost", 1}}},
    {"lost_fence_of_a_move",
     R"({"kind": "fence-never", "engine": "copy"})",
     "MoveAmongJobs",
     {{"fences_lost", 1}, {"moves_again", 1}}},
    {"failed_move",
     // Not before all that may come behind it is there.
     R"({"kind": "dma-error", "engine": "copy"},
        {"kind": "latency", "engine": "copy", "us": 600000, "count": 1})",
     "MoveAmongJobs",
     {{"faults", 1}, {"moves_again", 1}}},
    {"hang_in_a_move",
     R"({"kind": "engine-hang", "engine": "copy", "count": 2})",
     "MoveAmongJobs",
     {{"resets", 2}, {"moves_again", 2}}},
    {"move_that_never_ends",
     R"({"kind": "engine-hang", "engine": "copy", "count": 3})",
     "MoveThatNeverEnds",
     {{"resets", 3}, {"moves_again", 2}, {"job_errors", 1}}},
    {"hang_in_a_packet",
     R"({"kind": "engine-hang", "engine": "copy", "nth": 2, "chunks": 3})",
     "HangInAFill",
     {{"resets", 1}, {"job_errors", 1}}},
    {"early_fence",
     R"({"kind": "fence-early", "engine": "copy", "us": 2000000})",
     "EarlyFence",
     {}},
    {"late_write",
     R"({"kind": "write-reordered", "engine": "copy", "byte": 0, "bytes": 4096, "packets": 4})",
     "LateWrite",
     {}},
    {"slow_engine",
     R"({"kind": "bandwidth", "engine": "copy", "mib_per_second": 4})",
     "SlowEngine",
     {}},
    {"no_interrupts", R"({"kind": "irq-lost", "engine": "copy", "count": 0})", "NoInterrupts", {}},
    {"halt_without_interrupt",
     R"({"kind": "dma-error", "engine": "copy", "access": "ring", "nth": 2},
        {"kind": "irq-lost", "engine": "copy", "vector": "error", "count": 0})",
     "HaltWithoutInterrupt",
     {{"resets", 1}, {"job_errors", 1}, {"faults", 1}}},
};

class RingFaults {
public:
    RingFaults(const StageContext& context, Session& session, report::TestResults& into)
        : context_(context),
          session_(session),
          machine_(session.machine()),
          into_(into),
          orders_(session.machine()) {}

    void run() {
        be_impatient();
        for (const Case& c : kCases) check(c);
    }

private:
    // The driver looks at jobs once a second, so that a case takes seconds.
    void be_impatient() {
        const std::string why = shell(fmt::format(
            "cd {} && pci=$(echo 0000:*) && echo 1000 >/sys/module/vttm/parameters/job_timeout_ms "
            "&& echo $pci >unbind && echo $pci >bind && echo done",
            kDriver));
        if (why != "done\n")
            throw std::runtime_error("the driver does not become impatient: " + why);
    }

    void check(const Case& c) {
        context_.progress.phase(fmt::format("test ring faults: {}", c.name));
        const oracle::Counters before = session_.counters();
        shell(
            fmt::format("setsid sh -c '/bin/vttm-guest-tests --gtest_filter=HostRingFaultTest.{}; "
                        "echo exit $?' "
                        ">/tmp/ring-fault.log 2>&1 </dev/null &",
                        c.guest));
        std::string why;
        if (!wait_for("ready")) why = "the guest is not ready\n";
        orders_.give(c.rules);
        shell("touch /tmp/ring-fault-go");
        if (!wait_for("exit ")) {
            why += "the guest's test has not ended\n";
            shell("killall -9 vttm-guest-tests");
        }
        why += orders_.end();
        const std::string log =
            shell("cat /tmp/ring-fault.log; rm -f /tmp/ring-fault.log /tmp/ring-fault-go");
        if (log.find("PASSED  ] 1 test") == std::string::npos ||
            log.find("exit 0") == std::string::npos)
            why += log;
        why += must_have_grown(before, c);
        into_.cases.push_back(make_case(
            "ring_faults", c.name, why.empty() ? TestStatus::kPassed : TestStatus::kFailed, why));
        machine_.check();
    }

    std::string must_have_grown(const oracle::Counters& before, const Case& c) {
        const oracle::Counters grown = oracle::delta(before, session_.counters());
        std::string why;
        for (const char* counter : kCounters) {
            const auto wanted = c.grown.find(counter);
            const std::int64_t by = wanted == c.grown.end() ? 0 : wanted->second;
            const auto it = grown.find(std::string("vttm.") + counter);
            if (it == grown.end() || it->second != by)
                why += fmt::format("{} grew by {}, not by {}\n", counter,
                                   it == grown.end() ? "?" : std::to_string(it->second), by);
        }
        return why;
    }

    std::string shell(const std::string& script) {
        return guest_exec(machine_, {"/bin/busybox", "sh", "-c", script},
                          context_.variant.scaled(seconds(60)))
            .output;
    }
    bool wait_for(const std::string& words) {
        const auto end = Session::Clock::now() + context_.variant.scaled(seconds(60));
        while (shell("cat /tmp/ring-fault.log").find(words) == std::string::npos) {
            if (Session::Clock::now() > end) return false;
            machine_.agent().idle(milliseconds(100));
        }
        return true;
    }

    const StageContext& context_;
    Session& session_;
    machine::Machine& machine_;
    report::TestResults& into_;
    FaultOrders orders_;
};

}  // namespace

void run_ring_faults(const StageContext& context, Session& session, report::TestResults& into) {
    RingFaults(context, session, into).run();
}

}  // namespace vttm::cli
