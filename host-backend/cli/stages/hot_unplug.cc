// SPDX-License-Identifier: Apache-2.0
// The host unplugs the device from its root port while the guest works (device_del, to which the
// guest says when), and plugs one again. All calls of who has the old one open end with ENODEV, no
// memory stays with it, and the new one works. The same where DMA bounces, as buffers are then memory
// of the device's bus.
#include <fmt/format.h>

#include <cerrno>
#include <optional>
#include <stdexcept>

#include "host-backend/cli/guest_exec.h"
#include "host-backend/cli/stages/fault_orders.h"
#include "host-backend/cli/stages/stage.h"
#include "host-backend/cli/swap_cycle.h"
#include "host-backend/machine/domain_xml.h"
#include "host-backend/pressure/vram_balloon.h"
#include "protocol/vttm_stamp.h"

namespace vttm::cli {
namespace {

using oracle::PageClass;
using report::TestStatus;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kWork =
    "setsid sh -c '/bin/vttm-guest-tests --gtest_filter=HostUnplugTest.*; echo exit $?' "
    ">/tmp/unplug.log 2>&1 </dev/null &";

class HotUnplug {
public:
    HotUnplug(const StageContext& context, const SwapCycleConfig& config, machine::Machine& machine,
              std::string suite, report::TestResults& into)
        : context_(context), config_(config), machine_(machine), suite_(std::move(suite)), into_(into) {
        new_session();
    }

    void run() {
        const oracle::Counters before = session_->counters();
        under_load();
        plugged_again();
        with_buffers("with_buffers", [] {});
        with_buffers("with_an_inflated_balloon", [this] { balloon().step(); });
        with_buffers("while_the_balloon_inflates", [this] { ask_vram(machine_, kSmallVramMib); });
        start("nothing_is_left_behind");
        check(uneven(*session_, before, context_.variant.scaled(seconds(20))));
    }

private:
    void start(std::string name) {
        name_ = std::move(name);
        context_.progress.phase(fmt::format("test {}: {}", suite_, name_));
    }
    void check(const std::string& why) {
        into_.cases.push_back(
            make_case(suite_, name_, why.empty() ? TestStatus::kPassed : TestStatus::kFailed, why));
        machine_.check();
    }
    // Each device has a witness log of its own. Another key: nobody takes an old stamp for a new
    // one.
    void new_session() {
        session_.emplace(machine_, vttm_mix64(config_.seed + sessions_++),
                         Session::Clock::now() + seconds(config_.timeout_s));
    }
    GuestRun shell(const std::string& script) {
        return guest_exec(machine_, {"/bin/busybox", "sh", "-c", script},
                          context_.variant.scaled(seconds(30)));
    }
    template <typename Condition>
    bool wait_until(Condition&& condition) {
        const auto end = Session::Clock::now() + context_.variant.scaled(seconds(60));
        while (!condition()) {
            if (Session::Clock::now() > end) return false;
            machine_.agent().idle(milliseconds(100));
        }
        return true;
    }
    bool log_has(const std::string& words) {
        return shell("cat /tmp/unplug.log").output.find(words) != std::string::npos;
    }
    bool plugged() {
        for (const auto& entry : machine_.qmp("qom-list", {{"path", "/machine/peripheral"}}))
            if (entry.at("name") == "vttm0") return true;
        return false;
    }

    std::string unplug() {
        machine_.qmp("device_del", {{"id", "vttm0"}});
        return wait_until([this] { return !plugged(); })
                   ? ""
                   : "the guest does not let go of the device\n";
    }
    std::string plug() {
        machine_.qmp("device_add", {{"driver", "vttm"},
                                    {"id", "vttm0"},
                                    {"vram", "vram0"},
                                    {"bus", machine::kRootPort},
                                    {"witness-log", machine_.witness_log().string()}});
        const bool there = wait_until([this] { return shell("ls /dev/dri/renderD*").status == 0; });
        new_session();
        return there ? "" : "the guest's driver does not take the new device\n";
    }
    // The device that is there works.
    std::string work() {
        SwapCycle cycle(*session_, config_, "copy", context_.progress);
        cycle.begin();
        cycle.fill();
        cycle.verify();
        session_->free_all();
        return must_find(cycle.result(), 0, PageClass::kGood);
    }

    void under_load() {
        start("under_load");
        shell(kWork);
        std::string why;
        if (!wait_until([this] { return log_has("at work") || log_has("exit "); }) ||
            log_has("exit "))
            why = "nobody works\n";
        why += unplug();
        if (!wait_until([this] { return log_has("exit "); })) why += "who worked has not ended\n";
        if (!log_has("exit 0")) why += shell("cat /tmp/unplug.log").output;
        shell("rm /tmp/unplug.log");  // pages of shmem
        check(why);
    }

    void plugged_again() {
        start("plugged_again");
        std::string why = plug();
        why += work();
        check(why);
    }

    // The agent has the device open, with buffers in VRAM and GTT; @prepare happens before.
    template <typename Prepare>
    void with_buffers(const std::string& name, Prepare&& prepare) {
        start(name);
        std::string why;
        {
            SwapCycle cycle(*session_, config_, "copy", context_.progress);
            cycle.begin();
            cycle.fill();
            prepare();
            why += unplug();
            for (By by : {By::kDevice, By::kCpu}) why += must_be_gone(by);
            session_->free_all();
        }
        why += plug();
        balloon_.reset();
        ask_vram(machine_, config_.vram_mib);
        check(why + work());
    }
    std::string must_be_gone(By by) {
        try {
            session_->verify(by);
        } catch (const machine::AgentError& e) {
            return e.error_number == ENODEV ? "" : fmt::format("failed with \"{}\"\n", e.text);
        }
        return "buffers of a device that is gone can be read\n";
    }

    pressure::VramBalloon& balloon() {
        return balloon_.emplace(
            [this](const std::string& command, nlohmann::json arguments) {
                return machine_.qmp(command, std::move(arguments));
            },
            machine_.agent(),
            pressure::VramBalloon::Config{
                .vram_mib = config_.vram_mib,
                .target_mib = kSmallVramMib,
                .limit = {.each = seconds(60), .until = session_->deadline()}});
    }

    const StageContext& context_;
    const SwapCycleConfig& config_;
    machine::Machine& machine_;
    const std::string suite_;
    report::TestResults& into_;
    std::optional<Session> session_;
    std::optional<pressure::VramBalloon> balloon_;
    unsigned sessions_ = 0;
    std::string name_;
};

void unplug_in_a_machine(const StageContext& context, const std::string& suite, const std::string& cmdline,
                         bool iommu, report::TestResults& into) {
    SwapCycleConfig config = small_guest("hot-unplug", 4713);
    machine::MachineConfig mc = stage_machine(context, config);
    mc.root_port = true;
    mc.iommu = iommu;
    mc.cmdline_extra += cmdline;
    machine::Machine machine(mc);
    context.progress.phase(fmt::format("test {}: boot", suite));
    machine.start();
    HotUnplug(context, config, machine, suite, into).run();
    if (iommu) check_iommu(suite, machine, into);
    check_guest(context, machine);
    machine.stop(seconds(5));
}

}  // namespace

void run_hot_unplug(const StageContext& context, report::TestResults& into) {
    unplug_in_a_machine(context, "hot_unplug", "", false, into);
    unplug_in_a_machine(context, "hot_unplug_bounce", " swiotlb=force", false, into);
    unplug_in_a_machine(context, "hot_unplug_iommu", "", true, into);
}

}  // namespace vttm::cli
