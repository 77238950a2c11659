// SPDX-License-Identifier: Apache-2.0
// A move that fails leaves a buffer at a place that nobody has written to, but others before. What
// they left there must not be seen: the buffer is one of zeroes, and a job behind the move fails.
// (What is here of others is zeroes, too: that nothing old is seen these cases ask, but no driver
// has failed it yet.) And one that fails once is done again, with nothing lost.
#include "host-backend/cli/stages/lost_moves.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "host-backend/cli/stages/fault_orders.h"
#include "host-backend/pressure/vram_balloon.h"

namespace vttm::cli {
namespace {

using oracle::PageClass;
using report::TestStatus;
using std::chrono::seconds;

class LostMoves {
public:
    LostMoves(const StageContext& context, Session& session, const SwapCycleConfig& config,
              SwapCycle& cycle, report::TestResults& into)
        : context_(context),
          session_(session),
          config_(config),
          cycle_(cycle),
          into_(into),
          orders_(session.machine()) {}

    // From VRAM to memory that was the kernel's or another process's.
    void out_of_vram() {
        context_.progress.phase("test lost moves: out of VRAM");
        std::string why = good_again();
        const oracle::Counters before = session_.counters();
        pressure::VramBalloon balloon = small_vram();
        orders_.give(kAll);
        balloon.step();
        why += orders_.end();
        why += must_be_zeroes();
        why += must_have_grown(before, 0);
        balloon.release();
        check("out_of_vram", why + good_again());
    }

    // Back to VRAM, full of what other buffers had there. The job that it was for hears of it.
    void into_vram() {
        context_.progress.phase("test lost moves: into VRAM");
        std::string why = good_again();
        const oracle::Counters before = session_.counters();
        pressure::VramBalloon balloon = small_vram();
        balloon.step();
        balloon.release();
        orders_.give(kAll);
        why += must_fail_to_verify(ENODATA);
        why += orders_.end();
        why += must_be_zeroes();
        why += must_have_grown(before, 1);
        check("into_vram", why + good_again());
    }

    // One move on the way out, and one on the way back.
    void only_once() {
        context_.progress.phase("test lost moves: only once");
        std::string why = good_again();
        const oracle::Counters before = session_.counters();
        pressure::VramBalloon balloon = small_vram();
        orders_.give(kOne);
        balloon.step();
        why += orders_.end();
        balloon.release();
        orders_.give(kOne);
        cycle_.verify();
        why += orders_.end();
        why += must_find(cycle_.result(), 0, PageClass::kGood);
        const oracle::Counters grown = oracle::delta(before, session_.counters());
        for (const auto& [counter, by] :
             {std::pair{"vttm.faults", 2}, {"vttm.moves_again", 2}, {"vttm.job_errors", 0}})
            if (grown.at(counter) != by)
                why += fmt::format("{} grew by {}, not by {}\n", counter, grown.at(counter), by);
        check("only_once", why + good_again());
    }

    // Memory of the device that has failed: content that was there is lost to a job that reads it,
    // and to the move of its buffer. Nothing else is.
    void poisoned_page() {
        context_.progress.phase("test lost moves: poisoned page");
        std::string why = good_again();
        const oracle::Counters before = session_.counters();
        const auto [id, offset] = highest_in_vram();
        if (offset < kSmallVramMib << 20) why += "all of VRAM's buffers are where they can stay\n";
        orders_.give(fmt::format(R"({{"kind": "vram-poison", "offset": {}}})", offset));
        why += must_fail_to_verify(EIO);
        pressure::VramBalloon balloon = small_vram();
        balloon.step();
        why += orders_.end();
        why += must_be_zeroes(session_.ledger().buffers().at(id).pages);
        const oracle::Counters grown = oracle::delta(before, session_.counters());
        for (const auto& [counter, by] :
             {std::pair{"vttm.faults", 1 + kTries}, {"vttm.job_errors", 2}})
            if (grown.at(counter) != by)
                why += fmt::format("{} grew by {}, not by {}\n", counter, grown.at(counter), by);
        balloon.release();
        check("poisoned_page", why + good_again());
    }

private:
    static constexpr const char* kAll = R"({"kind": "dma-error", "engine": "copy", "count": 0})";
    static constexpr const char* kOne = R"({"kind": "dma-error", "engine": "copy"})";
    // Of the driver for a move (VTTM_KERNEL_JOB_TRIES).
    static constexpr int kTries = 3;

    pressure::VramBalloon small_vram() {
        return {[this](const std::string& command, nlohmann::json arguments) {
                    return session_.machine().qmp(command, std::move(arguments));
                },
                session_.machine().agent(),
                {.vram_mib = config_.vram_mib,
                 .target_mib = kSmallVramMib,
                 .limit = {.each = seconds(60), .until = session_.deadline()}}};
    }
    void check(const std::string& name, const std::string& why) {
        into_.cases.push_back(make_case("lost_moves", name,
                                        why.empty() ? TestStatus::kPassed : TestStatus::kFailed,
                                        why));
        session_.machine().check();
    }
    std::string good_again() {
        cycle_.fill();
        cycle_.verify();
        return must_find(cycle_.result(), 0, PageClass::kGood);
    }
    std::string must_fail_to_verify(int error) {
        int found = 0;
        try {
            session_.verify(By::kDevice);
        } catch (const machine::AgentError& e) {
            found = e.error_number;
        }
        return found == error ? ""
                              : fmt::format("the job failed with \"{}\", not with {}\n",
                                            std::strerror(found), std::strerror(error));
    }
    // The buffer with the page at the highest offset there, and that offset.
    std::pair<std::uint32_t, std::uint64_t> highest_in_vram() {
        std::pair<std::uint32_t, std::uint64_t> highest{0, 0};
        const oracle::Placement claim = session_.placement();
        for (const auto& [id, buffer] : session_.ledger().buffers()) {
            const auto* runs = claim.runs(id);
            if (!runs) continue;
            for (const oracle::PlacementRun& run : *runs) {
                const std::uint64_t last = run.place.addr + (run.count - 1) * 4096;
                if (run.place.kind == oracle::PlaceKind::kVram && last >= highest.second)
                    highest = {id, last};
            }
        }
        return highest;
    }
    // @pages, or what the CPU says; the others are whole.
    std::string must_be_zeroes(std::size_t pages = 0) {
        cycle_.verify();
        const oracle::CycleResult seen = cycle_.result();
        const std::size_t count = pages ? pages : seen.cpu.bad.size();
        context_.progress.note(fmt::format("lost moves: {} pages of zeroes", count));
        return (count != 0 ? "" : "no buffer has lost its content\n") +
               must_find(seen, count, PageClass::kZero);
    }
    // A move failed for so many faults, and @others for another reason.
    std::string must_have_grown(const oracle::Counters& before, std::int64_t others) {
        const oracle::Counters grown = oracle::delta(before, session_.counters());
        const std::int64_t errors = grown.at("vttm.job_errors"), faults = grown.at("vttm.faults");
        if (faults > 0 && faults == kTries * (errors - others) && grown.at("vttm.stale") == 0)
            return "";
        return fmt::format("{} jobs failed with {} faults and {} stale uses\n", errors, faults,
                           grown.at("vttm.stale"));
    }

    const StageContext& context_;
    Session& session_;
    const SwapCycleConfig& config_;
    SwapCycle& cycle_;
    report::TestResults& into_;
    FaultOrders orders_;
};

}  // namespace

void run_lost_moves(const StageContext& context, Session& session, const SwapCycleConfig& config,
                    SwapCycle& cycle, report::TestResults& into) {
    LostMoves lost(context, session, config, cycle, into);
    lost.out_of_vram();
    lost.into_vram();
    lost.only_once();
    lost.poisoned_page();
}

}  // namespace vttm::cli
