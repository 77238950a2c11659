// SPDX-License-Identifier: Apache-2.0
// The machine is moved into another QEMU, and taken back in time by a snapshot, with jobs in both engines, with the VRAM
// balloon in motion, and in the middle of a swap cycle. All content is proved after. (Scenario `migrate` moves a machine
// whose GPU rests, with much more content.)
#include <fmt/format.h>

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "host-backend/cli/stages/fault_orders.h"
#include "host-backend/cli/stages/guest_half.h"
#include "host-backend/cli/stages/stage.h"
#include "host-backend/cli/swap_cycle.h"
#include "protocol/vttm_stamp.h"

namespace vttm::cli {
namespace {

using nlohmann::json;
using oracle::PageClass;
using report::TestStatus;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr const char* kSuite = "migrate";

class MigrationCases {
public:
    MigrationCases(const StageContext& context, const SwapCycleConfig& config, Session& session,
                   report::TestResults& into)
        : context_(context),
          config_(config),
          session_(session),
          machine_(session.machine()),
          cycle_(session, config, "insert", context.progress),
          into_(into) {}

    void run() {
        const oracle::Counters before = session_.counters();
        cycle_.begin();
        cycle_.fill();
        run_case("jobs_under_way", [this] { return with_a_worker([this] { return move(); }); });
        run_case("while_the_balloon_inflates", [this] { return balloon_in_motion(); });
        cycle_.press();  // what it has sent to the swap disk stays there until it is verified
        run_case("back_in_time_in_mid_cycle", [this] { return with_a_worker([this] { return twice_back(); }); });
        session_.free_all();
        run_case("nothing_is_left_behind",
                 [&] { return uneven(session_, before, context_.variant.scaled(seconds(20))); });
    }

private:
    template <typename Work>
    void run_case(const std::string& name, Work&& work) {
        context_.progress.phase(fmt::format("test {}: {}", kSuite, name));
        const std::string why = work();
        into_.cases.push_back(
            make_case(kSuite, name, why.empty() ? TestStatus::kPassed : TestStatus::kFailed, why));
        machine_.check();
    }
    // All of the cycle's buffers are good for all witnesses.
    std::string all_is_good() {
        cycle_.look();
        cycle_.verify();
        std::string why = must_find(cycle_.result(), 0, PageClass::kGood);
        if (!cycle_.result().host.bad.empty())
            why += fmt::format("the host found {} bad pages\n", cycle_.result().host.bad.size());
        return why;
    }
    std::string with_a_worker(const std::function<std::string()>& act) {
        return GuestHalf(context_, machine_).run("HostMigrationTest.JobsGoOnElsewhere", act);
    }
    // Stops the machine when both engines have work before them. Why not.
    std::string stop_at_work() {
        for (int i = 0; i < 500; ++i) {
            machine_.pause();
            const json at_work = machine_.stats().at("at_work");
            if (at_work.at("copy") == true && at_work.at("stamp") == true) return "";
            machine_.resume();
            machine_.agent().idle(milliseconds(10));
        }
        return "the engines never had work at the same time\n";
    }

    std::string move() {
        if (const std::string why = stop_at_work(); !why.empty()) return why;
        machine_.migrate();
        return all_is_good();
    }

    std::string balloon_in_motion() {
        const auto limit_mib = [this] {
            return machine_.device_property("vram-limit").get<std::uint64_t>() >> 20;
        };
        const auto obeyed = [&](std::uint64_t mib) {
            const auto end = Session::Clock::now() + context_.variant.scaled(seconds(60));
            while (limit_mib() != mib && Session::Clock::now() < end) machine_.agent().idle(milliseconds(100));
            return limit_mib() == mib ? "" : fmt::format("the guest keeps {} MiB of VRAM\n", limit_mib());
        };
        machine_.pause();  // so that it cannot have obeyed yet
        ask_vram(machine_, kSmallVramMib);
        std::string why;
        if (limit_mib() != config_.vram_mib) why = "the guest has obeyed before it could\n";
        machine_.migrate();
        why += obeyed(kSmallVramMib) + all_is_good();
        ask_vram(machine_, config_.vram_mib);
        return why + obeyed(config_.vram_mib);
    }

    // A job of the monitor; what is wrong with it.
    std::string job(const std::string& command, json arguments) {
        const std::string id = fmt::format("job{}", ++jobs_);
        arguments["job-id"] = id;
        machine_.qmp(command, arguments);
        const auto end = Session::Clock::now() + context_.variant.scaled(seconds(120));
        while (Session::Clock::now() < end) {
            for (const json& j : machine_.qmp("query-jobs"))
                if (j.at("id") == id && j.at("status") == "concluded") {
                    const std::string error = j.value("error", "");
                    machine_.qmp("job-dismiss", {{"id", id}});
                    return error.empty() ? "" : fmt::format("{}: {}\n", command, error);
                }
            std::this_thread::sleep_for(milliseconds(10));
        }
        return command + " does not end\n";
    }
    // An image that takes the state of the machine. The swap disk is a raw file, of which the host keeps a copy.
    std::string add_image() {
        const std::string file = (machine_.swap_disk().parent_path() / "snapshots").string();
        std::string why = job("blockdev-create", {{"options", {{"driver", "file"}, {"filename", file}, {"size", 0}}}});
        machine_.qmp("blockdev-add", {{"driver", "file"}, {"node-name", "file0"}, {"filename", file}});
        why += job("blockdev-create", {{"options", {{"driver", "qcow2"}, {"file", "file0"}, {"size", 1 << 20}}}});
        machine_.qmp("blockdev-add", {{"driver", "qcow2"}, {"node-name", "snapshots"}, {"file", "file0"}});
        return why;
    }
    static void copy(const std::filesystem::path& from, const std::filesystem::path& to) {
        std::filesystem::copy_file(from, to, std::filesystem::copy_options::overwrite_existing);
    }

    // What happens behind the snapshot has never been: everything is brought back from the swap disk, and brought back
    // again.
    std::string twice_back() {
        const json tag{{"tag", "mid"}, {"vmstate", "snapshots"}, {"devices", {"snapshots"}}};
        const std::filesystem::path saved_swap = machine_.swap_disk().string() + ".saved";
        std::string why = add_image();
        if (why.empty()) why = stop_at_work();
        if (!why.empty()) return why;
        // From here on it stands still.
        why = job("snapshot-save", tag);
        copy(machine_.swap_disk(), saved_swap);
        for (int i = 0; i < 2 && why.empty(); ++i) {
            machine_.resume();
            const oracle::Counters there = session_.counters();
            why += all_is_good();
            const oracle::Counters grown = oracle::delta(there, session_.counters());
            if (grown.at("pswpin") == 0) why += "nothing came back from the swap disk\n";
            machine_.pause();
            why += job("snapshot-load", tag);
            copy(saved_swap, machine_.swap_disk());
        }
        machine_.resume();
        return why.empty() ? all_is_good() : why;
    }

    const StageContext& context_;
    const SwapCycleConfig& config_;
    Session& session_;
    machine::Machine& machine_;
    SwapCycle cycle_;
    report::TestResults& into_;
    unsigned jobs_ = 0;
};

}  // namespace

void run_migration(const StageContext& context, report::TestResults& into) {
    SwapCycleConfig config = small_guest("migrate-at-work", 4715);
    config.ram_mib = 640;
    config.swap_mib = 512;
    config.gtt_buffers_mib = 192;
    config.swapped_share = 0.3;
    const machine::MachineConfig mc = stage_machine(context, config);
    machine::Machine machine(mc);
    context.progress.phase("test migrate: boot");
    machine.start();
    Session session(machine, vttm_mix64(config.seed),
                    Session::Clock::now() + seconds(config.timeout_s));
    MigrationCases(context, config, session, into).run();
    check_guest(context, machine);
    machine.stop(seconds(5));
}

}  // namespace vttm::cli
