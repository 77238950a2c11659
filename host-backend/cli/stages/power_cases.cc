// SPDX-License-Identifier: Apache-2.0
// Stage `power`: sleep (sleep_tests.cc); resets that take VRAM with what could not leave it; an unbind and a shutdown
// while engines are slow (property `fault-plan`). Each has its other half in the guest (tests/guest/vram_loss_test.cc, slow_stop_test.cc).
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <regex>
#include <thread>

#include "host-backend/cli/ordered_faults.h"
#include "host-backend/cli/stages/fault_orders.h"
#include "host-backend/cli/stages/guest_half.h"
#include "host-backend/cli/stages/stage.h"

namespace vttm::cli {
namespace {

using report::TestStatus;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kSlowStamps = R"({"kind": "bandwidth", "engine": "stamp", "mib_per_second": 1})";
constexpr const char* kSlowCopies = R"({"kind": "bandwidth", "engine": "copy", "mib_per_second": 1})";

class PowerCases {
public:
    PowerCases(const StageContext& context, std::string suite, machine::Machine& machine,
               std::uint64_t vram_mib, report::TestResults& into)
        : context_(context),
          suite_(std::move(suite)),
          machine_(machine),
          vram_mib_(vram_mib),
          guest_(context, machine),
          orders_(machine),
          into_(into) {}

    void lose_vram() {
        for (const char* test : {"APowerResetBesideASlowJob", "AFunctionResetBesideASlowJob"})
            with_plan(test, kSlowStamps);
        for (const char* test : {"APowerResetWithFullRam", "AFunctionResetWithFullRam"})
            check(test, [&] { return with_full_ram(test); });
        check("AwayAndBack", [&] { return away_and_back("AwayAndBack", true); });
        check("AwayAndBackWithVram", [&] { return away_and_back("AwayAndBackWithVram", false); });
        // The balloon has taken all of VRAM, the driver's own page with it, and given it back: nothing is lost by that.
        check("all_vram_taken_before", [&] {
            return take(0) + take(vram_mib_) + away_and_back("AwayAndBackWithVram", false);
        });
    }
    void stop_slowly() {
        check("unbound_while_buffers_move", [this] {
            std::string why = guest_.run("HostSlowStopTest.UnboundWhileBuffersMove", [this] {
                orders_.give(fmt::format("{}, {}", kSlowStamps, kSlowCopies));
                return "";
            });
            return why + orders_.end();
        });
    }
    // The last of a machine.
    void shut_down() {
        check("shutdown_beside_a_slow_job", [this] {
            if (!guest_.begin("HostSlowStopTest.WorksUntilTheMachineIsOff")) return std::string("nobody works\n");
            orders_.give(kSlowCopies);
            guest_.host_is_done();
            if (!guest_.wait_until_said("slow jobs are under way")) return std::string("no job is under way\n");
            if (!idle_rules(fault_record(machine_)).empty() || machine_.stats().at("at_work").at("copy") != true)
                return std::string("the jobs are not slow\n");
            return power_off();
        }, false);
    }

private:
    template <typename Work>
    void check(const std::string& name, Work&& work, bool stays = true) {
        context_.progress.phase(fmt::format("test {}: {}", suite_, name));
        const std::string why = work();
        into_.cases.push_back(
            make_case(suite_, name, why.empty() ? TestStatus::kPassed : TestStatus::kFailed, why));
        if (stays) machine_.check();
    }
    static std::string vram_loss(const char* test) { return fmt::format("HostVramLossTest.{}", test); }

    void with_plan(const char* test, const char* rule) {
        check(test, [&] {
            std::string why = guest_.run(vram_loss(test), [&] {
                orders_.give(rule);
                return "";
            });
            return why + orders_.end();
        });
    }
    std::string with_full_ram(const char* test) {
        static const std::regex kStayed(R"(\d+ of \d+ buffers stayed, \d+ are lost)");
        const std::string why = guest_.run(vram_loss(test), [] { return ""; });
        std::smatch stayed;
        if (std::regex_search(guest_.log(), stayed, kStayed))
            context_.progress.note(fmt::format("{}: {}", test, stayed.str()));
        return why;
    }
    std::string take(std::uint64_t mib) {
        const auto limit = [this] { return machine_.device_property("vram-limit").get<std::uint64_t>() >> 20; };
        ask_vram(machine_, mib);
        return guest_.wait_until([&] { return limit() == mib; })
                   ? ""
                   : fmt::format("the guest keeps {} MiB of VRAM, and was left {}\n", limit(), mib);
    }
    // All that the guest does meanwhile is to wait; VRAM is as after power-on, if it is @lost.
    std::string away_and_back(const char* test, bool lost) {
        return guest_.run(vram_loss(test), [&] {
            orders_.give(R"({"kind": "surprise-removal"})");
            machine_.agent().idle(milliseconds(200));
            if (lost) std::ranges::fill(machine_.vram().bytes(), std::byte{0});
            return orders_.end();
        });
    }
    // Who goes down waits for no engine: nobody gets on any more, and the job may never end.
    std::string power_off() {
        const std::size_t from = console_of(machine_).size();
        const auto begin = std::chrono::steady_clock::now();
        guest_.shell("(sleep 0.2; poweroff -f) >/dev/null 2>&1 </dev/null &");
        const auto end = begin + context_.variant.scaled(seconds(60));
        std::string log;
        do {
            std::this_thread::sleep_for(milliseconds(100));
            log = console_of(machine_).substr(from);
        } while (log.find("reboot: Power down") == std::string::npos &&
                 std::chrono::steady_clock::now() < end);
        const auto took = std::chrono::steady_clock::now() - begin;
        context_.progress.note(fmt::format("off after {:.1f} s", std::chrono::duration<double>(took).count()));
        if (log.find("reboot: Power down") == std::string::npos) return "it does not go down\n" + log;
        // Who waits for them gives up after 10 s, and says so.
        return log.find("did not finish") == std::string::npos ? "" : "it has waited for jobs\n" + log;
    }

    const StageContext& context_;
    const std::string suite_;
    machine::Machine& machine_;
    const std::uint64_t vram_mib_;
    GuestHalf guest_;
    FaultOrders orders_;
    report::TestResults& into_;
};

}  // namespace

void run_power(const StageContext& context, report::TestResults& into) {
    run_sleep_tests(context, into);
    SwapCycleConfig config = small_guest("power", 4715);
    machine::MachineConfig mc = stage_machine(context, config);
    {
        machine::Machine machine(mc);
        context.progress.phase("test power: boot");
        machine.start();
        PowerCases(context, "vram_loss", machine, config.vram_mib, into).lose_vram();
        check_guest(context, machine, Orders::kFaults);
        machine.stop(seconds(5));
    }
    // What a device does to memory that is not its own any more, its IOMMU tells.
    mc.iommu = true;
    machine::Machine machine(mc);
    context.progress.phase("test power: boot behind an IOMMU");
    machine.start();
    PowerCases cases(context, "slow_stop", machine, config.vram_mib, into);
    cases.stop_slowly();
    check_iommu("slow_stop", machine, into);
    check_guest(context, machine, Orders::kFaults);
    cases.shut_down();
    machine.stop(seconds(5));
}

}  // namespace vttm::cli
