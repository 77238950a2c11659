// SPDX-License-Identifier: Apache-2.0
// Faults of the device, ordered by the host (docs/faults.md), under a guest that works: what spoils
// content must be found by every witness, the driver must survive the rest and lose nothing.
#include <fmt/format.h>

#include "host-backend/cli/stages/device_dying.h"
#include "host-backend/cli/stages/fault_orders.h"
#include "host-backend/cli/stages/lost_moves.h"
#include "host-backend/cli/stages/ring_faults.h"
#include "host-backend/cli/stages/stage.h"
#include "host-backend/cli/swap_cycle.h"
#include "protocol/vttm_stamp.h"

namespace vttm::cli {
namespace {

using oracle::PageClass;
using report::TestStatus;

constexpr const char* kSuite = "device_faults";

class DeviceFaults {
public:
    DeviceFaults(const StageContext& context, Session& session, SwapCycle& cycle,
                 report::TestResults& into)
        : context_(context), session_(session), cycle_(cycle), into_(into), orders_(session.machine()) {}

    void run() {
        cycle_.begin();
        cycle_.fill();  // a lost write shall leave an older generation behind
        spoils("bit_flip", R"({"kind": "bit-flip", "engine": "stamp", "nth": 3})",
               PageClass::kBitflip);
        is_misread("flipped_read",
                   R"({"kind": "bit-flip", "access": "read", "engine": "stamp", "nth": 3})");
        // Another page than before: that one is no good older generation.
        spoils(
            "dropped_write",
            R"({"kind": "write-dropped", "engine": "stamp", "nth": 6, "byte": 0, "bytes": 4096})",
            PageClass::kStale);
        survives("lost_interrupts", R"({"kind": "irq-lost", "engine": "stamp", "nth": 2})");
        survives("spurious_interrupts",
                 R"({"kind": "irq-spurious", "engine": "stamp", "count": 50},
                    {"kind": "irq-spurious", "engine": "stamp", "vector": "error", "count": 50},
                    {"kind": "irq-spurious", "engine": "stamp", "vector": "vram", "count": 50})");
        survives("latency", R"({"kind": "latency", "engine": "stamp", "us": 20000, "count": 50})");
        survives("late_fence",
                 R"({"kind": "fence-late", "engine": "stamp", "us": 300000, "nth": 2})");
        loses_a_job("hang", R"({"kind": "engine-hang", "engine": "stamp", "nth": 4})",
                    "vttm.resets");
        loses_a_job("fence_never", R"({"kind": "fence-never", "engine": "stamp", "nth": 2})",
                    "vttm.resets");
        loses_a_job("dma_error", R"({"kind": "dma-error", "engine": "stamp", "nth": 2})",
                    "vttm.faults");
        loses_a_job("halted_ring",
                    R"({"kind": "dma-error", "engine": "stamp", "access": "ring", "nth": 5})",
                    "vttm.resets");
    }

private:
    void plan(const std::string& rules) { orders_.give(rules); }
    std::string end_plan() { return orders_.end(); }
    void check(const std::string& name, const std::string& why) {
        into_.cases.push_back(
            make_case(kSuite, name, why.empty() ? TestStatus::kPassed : TestStatus::kFailed, why));
        session_.machine().check();
    }
    // The plan spoils one page of a fill, and the run ends as a failure of content.
    void spoils(const std::string& name, const std::string& rule, PageClass cls) {
        context_.progress.phase("test device faults: " + name);
        plan(rule);
        cycle_.fill();
        std::string why = end_plan();
        cycle_.look();
        cycle_.verify();
        oracle::CycleResult seen = cycle_.result();
        why += must_find(seen, 1, cls);
        if (seen.host.bad.size() != 1)
            why += fmt::format("the host found {} bad pages\n", seen.host.bad.size());
        const auto verdict = oracle::judge(seen, oracle::Policy::for_backup(seen.backup));
        if (verdict.kind != oracle::VerdictKind::kContent)
            why += fmt::format("verdict is {}\n", oracle::name_of(verdict.kind));
        check(name, why);
    }

    // The plan spoils what the device sees of one page, and no memory: it stands alone with that, the
    // run ends as a disagreement of witnesses, and the next look finds all as it was.
    void is_misread(const std::string& name, const std::string& rule) {
        context_.progress.phase("test device faults: " + name);
        cycle_.fill();
        cycle_.look();
        plan(rule);
        cycle_.verify();
        std::string why = end_plan();
        const oracle::CycleResult seen = cycle_.result();
        if (seen.device.bad.size() != 1 || seen.device.bad[0].cls != PageClass::kBitflip)
            why += fmt::format("the device found {} bad pages\n", seen.device.bad.size());
        if (!seen.cpu.bad.empty() || !seen.host.bad.empty())
            why += fmt::format("the CPU found {} bad pages, the host {}\n", seen.cpu.bad.size(),
                               seen.host.bad.size());
        const auto verdict = oracle::judge(seen, oracle::Policy::for_backup(seen.backup));
        if (verdict.kind != oracle::VerdictKind::kDisagree || verdict.disagreements.size() != 1)
            why += fmt::format("verdict is {}\n", oracle::name_of(verdict.kind));
        cycle_.verify();
        why += must_find(cycle_.result(), 0, PageClass::kGood);
        check(name, why);
    }

    std::string good_again() {
        cycle_.fill();
        cycle_.verify();
        return must_find(cycle_.result(), 0, PageClass::kGood);
    }

    // Nobody notices but by the time that it takes.
    void survives(const std::string& name, const std::string& rules) {
        context_.progress.phase("test device faults: " + name);
        const oracle::Counters before = session_.counters();
        plan(rules);
        std::string why = good_again();
        why += end_plan();
        const oracle::Counters grown = oracle::delta(before, session_.counters());
        for (const char* counter : {"vttm.resets", "vttm.job_errors", "vttm.faults"})
            if (grown.at(counter))
                why += fmt::format("{} grew by {}\n", counter, grown.at(counter));
        check(name, why);
    }

    // One job fails, @counter tells of it, and all is well afterwards.
    void loses_a_job(const std::string& name, const std::string& rule, const char* counter) {
        context_.progress.phase("test device faults: " + name);
        const oracle::Counters before = session_.counters();
        std::string why;
        plan(rule);
        try {
            cycle_.fill();
            why = "no job failed\n";
        } catch (const machine::AgentError& e) {
            context_.progress.note(fmt::format("{}: {}", name, e.text));
        }
        why += end_plan();
        const oracle::Counters grown = oracle::delta(before, session_.counters());
        for (const char* c : {counter, "vttm.job_errors"})
            if (grown.at(c) != 1) why += fmt::format("{} grew by {}, not by 1\n", c, grown.at(c));
        why += good_again();
        check(name, why);
    }

    const StageContext& context_;
    Session& session_;
    SwapCycle& cycle_;
    report::TestResults& into_;
    FaultOrders orders_;
};

}  // namespace

void run_device_faults(const StageContext& context, report::TestResults& into) {
    SwapCycleConfig config = small_guest("device-faults", 4712);
    const machine::MachineConfig mc = stage_machine(context, config);
    machine::Machine machine(mc);
    context.progress.phase("test device faults: boot");
    machine.start();
    Session session(machine, vttm_mix64(config.seed),
                    Session::Clock::now() + std::chrono::seconds(config.timeout_s));
    SwapCycle cycle(session, config, "copy", context.progress);
    DeviceFaults(context, session, cycle, into).run();
    run_lost_moves(context, session, config, cycle, into);
    run_dying_device(context, session, config, cycle, into);
    run_ring_faults(context, session, into);
    check_guest(context, machine, Orders::kFaults);
    machine.stop(std::chrono::seconds(5));
}

}  // namespace vttm::cli
