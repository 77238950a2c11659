// SPDX-License-Identifier: Apache-2.0
// A device that resets itself or leaves the bus without a word (docs/faults.md), under a guest that
// works: what survives must be whole, and what is lost must be said to be lost.
#include "host-backend/cli/stages/device_dying.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <regex>

#include "host-backend/cli/guest_exec.h"
#include "host-backend/cli/stages/fault_orders.h"
#include "host-backend/pressure/vram_balloon.h"

namespace vttm::cli {
namespace {

using oracle::PageClass;
using report::TestStatus;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kSuite = "device_dying";
constexpr const char* kDriver = "/sys/bus/pci/drivers/vttm";

class DyingDevice {
public:
    DyingDevice(const StageContext& context, Session& session, const SwapCycleConfig& config,
                report::TestResults& into)
        : context_(context),
          session_(session),
          config_(config),
          into_(into),
          orders_(session.machine()) {}

    // Buffers of @cycle are there, and filled.
    void reset_itself(SwapCycle& cycle) {
        reset_idle(cycle);
        reset_in_a_job(cycle);
        reset_in_a_move(cycle);
        reset_storm(cycle);
        reset_beside_function_resets(cycle);
        reset_before_an_invalidation();
    }

    void leave_the_bus() {
        const oracle::Counters before = session_.counters();
        gone("removed_idle", R"({"kind": "surprise-removal"})", "unbind");
        gone("removed_in_a_job", R"({"kind": "surprise-removal", "engine": "stamp", "nth": 4})",
             "unbind");
        gone("removed_in_a_move", R"({"kind": "surprise-removal", "engine": "copy", "nth": 4})",
             "unbind");
        gone("removed_and_taken_from_the_bus", R"({"kind": "surprise-removal"})", "remove");
        start("nothing_is_left_behind");
        check(uneven(session_, before, context_.variant.scaled(seconds(20))));
    }

private:
    void start(std::string name) {
        name_ = std::move(name);
        context_.progress.phase("test dying device: " + name_);
    }
    void check(const std::string& why) {
        into_.cases.push_back(
            make_case(kSuite, name_, why.empty() ? TestStatus::kPassed : TestStatus::kFailed, why));
        session_.machine().check();
    }

    // --- The device resets itself ------------------------------------------------------------

    // All that was filled is still there.
    std::string intact(SwapCycle& cycle) {
        return unless_it_fails([&] {
            cycle.verify();
            return must_find(cycle.result(), 0, PageClass::kGood);
        });
    }
    std::string good_again(SwapCycle& cycle) {
        return unless_it_fails([&] {
            cycle.fill();
            return intact(cycle);
        });
    }
    // A job that fails is this case's failure, and the next one has its turn.
    template <typename Work>
    std::string unless_it_fails(Work&& work) {
        try {
            return work();
        } catch (const machine::AgentError& e) {
            return e.text + "\n";
        }
    }
    // What the driver has counted since @before.
    std::string must_have_grown(const oracle::Counters& before, std::int64_t device_resets,
                                std::int64_t job_errors) {
        const oracle::Counters grown = oracle::delta(before, session_.counters());
        std::string why;
        for (const auto& [name, by] : {std::pair{"vttm.device_resets", device_resets},
                                       {"vttm.job_errors", job_errors},
                                       {"vttm.resets", std::int64_t{0}},
                                       {"vttm.faults", std::int64_t{0}},
                                       {"vttm.stale", std::int64_t{0}}})
            if (const auto it = grown.find(name); it == grown.end() || it->second != by)
                why += fmt::format("{} grew by {}, not by {}\n", name,
                                   it == grown.end() ? "?" : std::to_string(it->second), by);
        return why;
    }
    // Runs @work, one job of which must fail with @error.
    template <typename Work>
    std::string must_fail(int error, Work&& work) {
        try {
            work();
        } catch (const machine::AgentError& e) {
            context_.progress.note(fmt::format("{}: {}", name_, e.text));
            return e.error_number == error ? ""
                                           : fmt::format("failed with \"{}\", not with {}\n",
                                                         e.text, std::strerror(error));
        }
        return fmt::format("nothing failed, expected {}\n", std::strerror(error));
    }

    // No job was at work: none is lost, in VRAM and GTT all is whole.
    void reset_idle(SwapCycle& cycle) {
        start("reset_idle");
        std::string why = good_again(cycle);
        const oracle::Counters before = session_.counters();
        orders_.give(R"({"kind": "device-reset"})");
        why += orders_.end();
        why += intact(cycle);
        why += must_have_grown(before, 1, 0);
        check(why + good_again(cycle));
    }

    // The job that was at work is lost, and says so. It has written nothing.
    void reset_in_a_job(SwapCycle& cycle) {
        start("reset_in_a_job");
        const oracle::Counters before = session_.counters();
        orders_.give(R"({"kind": "device-reset", "engine": "stamp", "nth": 4})");
        std::string why = must_fail(ECANCELED, [&] { session_.verify(By::kDevice); });
        why += orders_.end();
        why += must_have_grown(before, 1, 1);
        why += intact(cycle);
        check(why + good_again(cycle));
    }

    // The driver's own job: it moves what exists nowhere else, and is done again. What the guest
    // had given up of VRAM before stays given up.
    void reset_in_a_move(SwapCycle& cycle) {
        start("reset_in_a_move");
        const oracle::Counters before = session_.counters();
        pressure::VramBalloon balloon(
            [this](const std::string& command, nlohmann::json arguments) {
                return session_.machine().qmp(command, std::move(arguments));
            },
            session_.machine().agent(),
            {.vram_mib = config_.vram_mib,
             .target_mib = kSmallVramMib,
             .limit = {.each = seconds(60), .until = session_.deadline()}});
        orders_.give(R"({"kind": "device-reset", "engine": "copy", "nth": 3})");
        balloon.step();
        std::string why = orders_.end();
        why += must_have_grown(before, 1, 0);
        if (oracle::delta(before, session_.counters()).at("vttm.moves_vram_gtt") == 0)
            why += "nothing was moved\n";
        orders_.give(R"({"kind": "device-reset"})");
        why += orders_.end();
        why += intact(cycle);
        if (vram_limit() != kSmallVramMib << 20)
            why += fmt::format("the driver keeps {} bytes of VRAM\n", vram_limit());
        balloon.release();
        check(why + good_again(cycle));
    }

    // Again at the next packet, as often as it is ordered: each costs one job.
    void reset_storm(SwapCycle& cycle) {
        constexpr int kResets = 2;
        start("reset_storm");
        const oracle::Counters before = session_.counters();
        orders_.give(fmt::format(
            R"({{"kind": "device-reset", "engine": "stamp", "nth": 2, "count": {}}})", kResets));
        std::string why;
        for (int i = 0; i < kResets; ++i)
            why += must_fail(ECANCELED, [&] { session_.verify(By::kDevice); });
        why += orders_.end();
        why += must_have_grown(before, kResets, kResets);
        why += intact(cycle);
        check(why + good_again(cycle));
    }

    // The guest resets the function again and again, while the device does so by itself: two who
    // stop the engines and start them again. Jobs may be lost, content and the engines not.
    void reset_beside_function_resets(SwapCycle& cycle) {
        constexpr int kResets = 5;
        start("reset_beside_function_resets");
        const oracle::Counters before = session_.counters();
        const std::string log = "/tmp/function-resets";
        std::string why = shell(fmt::format(
            "(for i in $(seq {}); do echo 1 >/sys/bus/pci/devices/{}/reset; done; echo end >{}) "
            ">/dev/null 2>&1 </dev/null &",
            kResets, pci_name(), log));
        orders_.give(
            R"({"kind": "device-reset", "engine": "stamp", "probability": 0.2, "count": 20})");
        const auto end = Session::Clock::now() + context_.variant.scaled(seconds(120));
        do {
            try {
                session_.verify(By::kDevice);
            } catch (const machine::AgentError& e) {
                if (e.error_number != ECANCELED) why += e.text + "\n";
            }
        } while (!shell("test -e " + log).empty() && Session::Clock::now() < end);
        why += orders_.end() + shell("rm " + log);
        const oracle::Counters grown = oracle::delta(before, session_.counters());
        if (grown.at("vttm.function_resets") != kResets || grown.at("vttm.device_resets") == 0)
            why += fmt::format("{} function resets of {}, {} of the device's own\n",
                               grown.at("vttm.function_resets"), kResets,
                               grown.at("vttm.device_resets"));
        why += intact(cycle);
        check(why + good_again(cycle));
    }

    // The first that the driver wants of the device is to forget translations. It has.
    void reset_before_an_invalidation() {
        start("reset_before_an_invalidation");
        const oracle::Counters before = session_.counters();
        orders_.give(R"({"kind": "device-reset"})");
        std::string why = orders_.end();
        session_.free_all();
        SwapCycle cycle(session_, config_, "copy", context_.progress);
        cycle.begin();
        why += good_again(cycle);
        why += must_have_grown(before, 1, 0);
        session_.free_all();
        check(why);
    }

    // --- The device is gone ------------------------------------------------------------------

    std::string shell(const std::string& script) {
        const GuestRun run = guest_exec(session_.machine(), {"/bin/busybox", "sh", "-c", script},
                                        context_.variant.scaled(seconds(60)));
        if (run.status == 0) return "";
        return fmt::format("\"{}\" ended with {}: {}\n", script, run.status, run.output);
    }

    // It goes under buffers in VRAM and GTT. Whoever asks for content is told ENODEV, and the log
    // says how much is lost; @leave ("unbind", "remove") takes the driver away. Then it comes back.
    void gone(const std::string& name, const std::string& rule, const std::string& leave) {
        start(name);
        SwapCycle cycle(session_, config_, "copy", context_.progress);
        cycle.begin();
        std::string why = good_again(cycle);
        const std::size_t log_before = console_of(session_.machine()).size();
        const std::string pci = pci_name();

        orders_.give(rule);
        ask_vram(session_.machine(), kSmallVramMib);  // the copy engine has something to do, too
        why += must_fail(ENODEV, [&] { session_.verify(By::kDevice); });
        why += told_lost(log_before);
        for (By by : {By::kDevice, By::kCpu})
            why += must_fail(ENODEV, [&] { session_.verify(by); });
        ask_vram(session_.machine(), config_.vram_mib);
        session_.free_all();
        why += leave == "unbind"
                   ? shell(fmt::format("echo {} >{}/unbind", pci, kDriver))
                   : shell(fmt::format("echo 1 >/sys/bus/pci/devices/{}/remove", pci));
        why += orders_.end();  // it is back
        why += leave == "unbind" ? shell(fmt::format("echo {} >{}/bind", pci, kDriver))
                                 : shell("echo 1 >/sys/bus/pci/rescan");
        why += work_anew();
        check(why);
    }

    std::string pci_name() {
        const GuestRun run =
            guest_exec(session_.machine(),
                       {"/bin/busybox", "sh", "-c", fmt::format("cd {} && echo 0000:*", kDriver)},
                       seconds(30));
        return run.output.substr(0, run.output.find_first_of(" \n"));
    }

    std::uint64_t vram_limit() {
        return session_.machine().device_property("vram-limit").get<std::uint64_t>();
    }

    // The kernel's log, once the driver has given the device up.
    std::string told_lost(std::size_t from) {
        static const std::regex kLost(R"(content of (\d+) buffers in VRAM is lost)");
        const auto end = Session::Clock::now() + context_.variant.scaled(seconds(20));
        std::smatch found;
        std::string log;
        do {
            session_.machine().agent().idle(milliseconds(100));
            log = console_of(session_.machine()).substr(from);
        } while (!std::regex_search(log, found, kLost) && Session::Clock::now() < end);
        if (found.empty()) return "the kernel's log does not say that content of VRAM is lost\n";
        context_.progress.note(fmt::format("{}: {}", name_, found.str()));
        return found[1] == "0" ? found.str() + "\n" : "";
    }

    std::string work_anew() {
        SwapCycle cycle(session_, config_, "copy", context_.progress);
        cycle.begin();
        std::string why = good_again(cycle);
        session_.free_all();
        return why;
    }

    const StageContext& context_;
    Session& session_;
    const SwapCycleConfig& config_;
    report::TestResults& into_;
    FaultOrders orders_;
    std::string name_;
};

}  // namespace

void run_dying_device(const StageContext& context, Session& session, const SwapCycleConfig& config,
                      SwapCycle& cycle, report::TestResults& into) {
    DyingDevice dying(context, session, config, into);
    dying.reset_itself(cycle);
    dying.leave_the_bus();
}

}  // namespace vttm::cli
