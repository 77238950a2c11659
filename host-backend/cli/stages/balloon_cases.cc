// SPDX-License-Identifier: Apache-2.0
// VRAM that the host takes back in awkward moments: before there is a driver, under CPU mappings,
// under buffers that do not fit any more, with no RAM to move them to. Nothing may get lost, and the
// driver has to follow as soon as it can.
#include "host-backend/cli/stages/balloon_cases.h"

#include <fmt/format.h>

#include <functional>

#include "host-backend/cli/guest_exec.h"
#include "host-backend/cli/stages/fault_orders.h"
#include "host-backend/cli/swap_cycle.h"
#include "host-backend/cli/vram_claims.h"
#include "host-backend/machine/preflight.h"
#include "host-backend/pressure/injectors.h"
#include "protocol/vttm_stamp.h"

namespace vttm::cli {
namespace {

using oracle::PageClass;
using report::TestStatus;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kSuite = "balloon";
constexpr const char* kDriver = "/sys/bus/pci/drivers/vttm";

class BalloonCases {
public:
    BalloonCases(const StageContext& context, const SwapCycleConfig& config, Session& session,
                 report::TestResults& into)
        : context_(context),
          config_(config),
          session_(session),
          machine_(session.machine()),
          into_(into) {}

    void run() {
        run_case("target_before_probe", [this] { return target_before_probe(); });
        run_case("mapped_vram_stays_whole", [this] {
            return in_guest("HostBalloonTest.MappedVramStaysWhole", [this] { return squeeze(); });
        });
        run_case("what_does_not_fit_is_refused", [this] {
            return in_guest("HostBalloonTest.WhatDoesNotFitIsRefusedAndNotLost",
                            [this] { return keep_small_until_refused(); });
        });
        run_case("ram_is_full", [this] { return ram_is_full(); });
    }

private:
    // A job that fails is this case's failure, and the next one has its turn, with all VRAM.
    template <typename Work>
    void run_case(std::string name, Work&& work) {
        name_ = std::move(name);
        context_.progress.phase("test balloon: " + name_);
        std::string why;
        try {
            why = work();
        } catch (const machine::AgentError& e) {
            why = e.text + "\n";
        }
        why += take(config_.vram_mib);
        session_.free_all();
        into_.cases.push_back(
            make_case(kSuite, name_, why.empty() ? TestStatus::kPassed : TestStatus::kFailed, why));
        machine_.check();
    }
    std::string shell(const std::string& script) {
        return guest_exec(machine_, {"/bin/busybox", "sh", "-c", script},
                          context_.variant.scaled(seconds(60)))
            .output;
    }
    bool wait_until(const std::function<bool()>& condition) {
        const auto end = Session::Clock::now() + context_.variant.scaled(seconds(60));
        while (!condition()) {
            if (Session::Clock::now() > end) return false;
            machine_.agent().idle(milliseconds(100));
        }
        return true;
    }
    std::uint64_t limit_mib() {
        return machine_.device_property("vram-limit").get<std::uint64_t>() >> 20;
    }
    bool log_has(const std::string& words) {
        return shell("cat /tmp/balloon.log").find(words) != std::string::npos;
    }
    // The host wants the guest to keep so much, and gets it. Why not.
    std::string take(std::uint64_t mib) {
        ask_vram(machine_, mib);
        if (wait_until([&] { return limit_mib() == mib; })) return "";
        return fmt::format("the guest keeps {} MiB of VRAM, and was left {}\n", limit_mib(), mib);
    }

    // Of the session's buffers.
    std::string none_beyond_the_limit() {
        const std::uint64_t pages =
            pages_in_vram_from(session_.placement(), session_.ledger(), limit_mib() << 20);
        return pages ? fmt::format("{} pages are in VRAM that was given up\n", pages) : "";
    }

    // No driver is there when the target changes, so no interrupt tells it.
    std::string target_before_probe() {
        const std::string listed = shell(fmt::format("cd {} && echo 0000:*", kDriver));
        const std::string pci = listed.substr(0, listed.find_first_of(" \n"));
        shell(fmt::format("echo {} >{}/unbind", pci, kDriver));
        ask_vram(machine_, kSmallVramMib);
        machine_.agent().idle(seconds(1));
        std::string why;
        if (limit_mib() != config_.vram_mib) why = "somebody gave VRAM up without a driver\n";
        shell(fmt::format("echo {} >{}/bind", pci, kDriver));
        if (!wait_until([this] { return limit_mib() == kSmallVramMib; }))
            why += fmt::format("the new driver keeps {} MiB of VRAM\n", limit_mib());
        // More buffers in VRAM than there is room for now, and then less.
        SwapCycle cycle(session_, config_, "copy", context_.progress);
        cycle.begin();
        cycle.fill();
        cycle.verify();
        why += must_find(cycle.result(), 0, PageClass::kGood) + none_beyond_the_limit();
        why += take(config_.vram_mib);
        cycle.verify();
        why += must_find(cycle.result(), 0, PageClass::kGood);
        return why;
    }

    // A test in the guest and @host beside it, from when that says that it works.
    std::string in_guest(const char* filter, const std::function<std::string()>& host) {
        shell("rm -f /tmp/balloon.log /tmp/balloon-end");
        shell(fmt::format("setsid sh -c '/bin/vttm-guest-tests --gtest_filter={}; echo exit $?' "
                          ">/tmp/balloon.log 2>&1 </dev/null &",
                          filter));
        std::string why;
        if (!wait_until([this] { return log_has("at work") || log_has("exit "); }) ||
            log_has("exit "))
            why = "nobody works\n";
        else
            try {
                why = host();
            } catch (const machine::AgentError& e) {
                why = e.text + "\n";
            }
        shell("touch /tmp/balloon-end");
        if (!wait_until([this] { return log_has("exit "); })) {
            why += "the guest's test has not ended\n";
            shell("killall -9 vttm-guest-tests");
        }
        if (!log_has("exit 0") || !log_has("PASSED  ] 1 test") || !why.empty())
            why += shell("cat /tmp/balloon.log");
        shell("rm -f /tmp/balloon.log /tmp/balloon-end");  // pages of shmem
        return why;
    }

    // While the guest uses mappings, which it does until it is told to end.
    std::string squeeze() {
        std::string why;
        for (int i = 0; i < 4 && why.empty(); ++i) {
            why += take(kSmallVramMib);
            why += take(config_.vram_mib);
        }
        return why;
    }
    std::string keep_small_until_refused() {
        std::string why = take(kSmallVramMib);
        if (!wait_until([this] { return log_has("refused") || log_has("exit "); }))
            why += "the guest does not get on\n";
        return why + take(config_.vram_mib);
    }

    std::uint64_t available_mib() {
        return machine::mem_available(shell("cat /proc/meminfo")).value_or(0) >> 20;
    }

    // Without swap and with little RAM the driver cannot empty VRAM. It keeps what it could not move,
    // and follows when there is room.
    std::string ram_is_full() {
        constexpr std::uint64_t kLeftMib = 20;
        // TTM keeps pages of buffers that were freed, and they are not in MemAvailable.
        shell("echo 2 >/proc/sys/vm/drop_caches");
        SwapCycleConfig config = config_;
        config.vram_buffers_mib = 56;
        config.gtt_buffers_mib = 8;
        SwapCycle cycle(session_, config, "copy", context_.progress);
        cycle.begin();
        cycle.fill();
        const std::string device = shell("sed -n '2s/[ \t].*//p' /proc/swaps");
        std::string why = shell("swapoff " + device);
        {
            pressure::AnonymousHog hog(
                machine_.agent(),
                {.step_mib = 8,
                 .max_mib = config.ram_mib,
                 .limit = {.each = seconds(120), .until = session_.deadline()}});
            while (available_mib() > kLeftMib && hog.step().progressed) {}
            ask_vram(machine_, kSmallVramMib);
            machine_.agent().idle(context_.variant.scaled(seconds(5)));
            const std::uint64_t kept = limit_mib();
            context_.progress.note(fmt::format("with a hog of {} MiB the guest keeps {} MiB of VRAM",
                                               hog.held_mib(), kept));
            if (kept == kSmallVramMib) why += "RAM was not full: all was moved\n";
            if (kept == config.vram_mib) why += "nothing was moved at all\n";
            hog.release();
        }
        if (!wait_until([this] { return limit_mib() == kSmallVramMib; }))
            why += fmt::format("the guest has RAM, and keeps {} MiB of VRAM\n", limit_mib());
        why += shell("swapon " + device);
        why += none_beyond_the_limit();
        why += take(config.vram_mib);  // the larger ones can be used again
        cycle.verify();
        why += must_find(cycle.result(), 0, PageClass::kGood);
        return why;
    }

    const StageContext& context_;
    const SwapCycleConfig& config_;
    Session& session_;
    machine::Machine& machine_;
    report::TestResults& into_;
    std::string name_;
};

}  // namespace

void run_balloon(const StageContext& context, report::TestResults& into) {
    SwapCycleConfig config = small_guest("balloon", 4714);
    const machine::MachineConfig mc = stage_machine(context, config);
    machine::Machine machine(mc);
    context.progress.phase("test balloon: boot");
    machine.start();
    Session session(machine, vttm_mix64(config.seed),
                    Session::Clock::now() + seconds(config.timeout_s));
    BalloonCases(context, config, session, into).run();
    check_guest(context, machine);
    machine.stop(seconds(5));
}

}  // namespace vttm::cli
