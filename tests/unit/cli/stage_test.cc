// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/stages/stage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>

#include "host-backend/cli/stages/cycle_cases.h"
#include "host-backend/cli/stages/kunit_reply.h"
#include "host-backend/machine/errors.h"

namespace vttm::cli {
namespace {

using report::TestResults;
using report::TestStatus;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class StageTest : public ::testing::Test {
protected:
    TestResults run(std::function<void(const StageContext&, TestResults&)> body, bool may_skip = false) {
        return run_stage({.name = "s", .what = "a stage", .may_skip = may_skip, .run = std::move(body)},
                         context(), first_);
    }
    static report::TestCase passed(const char* name) { return make_case("x", name, TestStatus::kPassed); }

    CommonOptions common_;
    Manifest manifest_{.qemu = {}, .kernel = {}, .initramfs = {}, .kernel_release = {},
                       .variant = "base", .accel = {}};
    Progress progress_{true};
    StageContext context() {
        return {.common = common_,
                .manifest = manifest_,
                .variant = machine::variant_named(manifest_.variant),
                .source_root = ".",
                .results_dir = ::testing::TempDir(),
                .progress = progress_};
    }
    std::optional<Failure> first_;
};

TEST_F(StageTest, KeepsWhatWasFinishedBeforeAnException) {
    const auto r = run([](const StageContext&, TestResults& into) {
        into.cases.push_back(passed("first_half"));
        throw machine::GuestHang({.what = "second half hangs", .where = "", .todo = "", .excerpt = ""});
    });
    EXPECT_THAT(r.names(TestStatus::kPassed), ElementsAre("x.first_half"));
    EXPECT_THAT(r.names(TestStatus::kFailed), ElementsAre("s.guest-hang"));
    EXPECT_THAT(r.cases.back().message, HasSubstr("second half hangs"));
    ASSERT_TRUE(first_);
    EXPECT_EQ(first_->code, report::ExitCode::kGuestHang);
}

TEST_F(StageTest, TheFirstFailureIsTheCauseButCtrlCAlwaysCounts) {
    const auto with = [](auto e) { return [e](const StageContext&, TestResults&) { throw e; }; };
    run(with(machine::GuestPanic({.what = "a", .where = "", .todo = "", .excerpt = ""})));
    run(with(std::runtime_error("b")));
    EXPECT_EQ(first_->code, report::ExitCode::kGuestPanic);
    first_.reset();
    run(with(machine::Inconclusive({.what = "a", .where = "", .todo = "", .excerpt = ""})));
    EXPECT_EQ(first_->code, report::ExitCode::kInconclusive);
    run(with(std::runtime_error("b")));
    EXPECT_EQ(first_->code, report::ExitCode::kInfrastructure);
    run(with(machine::Interrupted({.what = "c", .where = "", .todo = "", .excerpt = ""})));
    EXPECT_EQ(first_->code, report::ExitCode::kInterrupted);
}

TEST_F(StageTest, SkipsFailWhereNothingMayBeSkipped) {
    const auto body = [](const StageContext&, TestResults& into) {
        into.cases.push_back(make_case("x", "y", TestStatus::kSkipped, "no root"));
    };
    EXPECT_EQ(run(body, true).counts().skipped, 1u);
    const auto strict = run(body, false);
    EXPECT_EQ(strict.counts().failed, 1u);
    EXPECT_THAT(strict.cases[0].message, HasSubstr("no root"));
    EXPECT_FALSE(first_);
}

// What a kernel variant cannot show may be skipped there, and nowhere else.
TEST_F(StageTest, ASkipForWantOfTheVariantStandsOnlyThere) {
    struct {
        const char* why;
        std::set<std::string> stands;
    } const cases[] = {
        {"SKIP only orders up to 0 here", {"nothp"}},
        {"needs huge pages", {"nothp"}},
        {"needs a kernel without assertions", {"debug", "kasan"}},
        {"SKIP only orders up to 9 here", {}},
        {"needs swap", {}},
    };
    for (const auto& c : cases)
        for (const char* variant : {"base", "debug", "kasan", "nothp"}) {
            manifest_.variant = variant;
            const auto r = run([&](const StageContext&, TestResults& into) {
                into.cases.push_back(make_case("x", "y", TestStatus::kSkipped, c.why));
            });
            EXPECT_EQ(r.counts().failed, c.stands.contains(variant) ? 0u : 1u) << c.why << " " << variant;
        }
}

// The capabilities of this thread without CAP_SYS_ADMIN, as root's in a container.
class WithoutSysAdmin {
public:
    WithoutSysAdmin() {
        if (::syscall(SYS_capget, &header_, before_) != 0) return;
        __user_cap_data_struct less[] = {before_[0], before_[1]};
        had_ = (less[0].effective & CAP_TO_MASK(CAP_SYS_ADMIN)) != 0;
        less[0].effective &= ~CAP_TO_MASK(CAP_SYS_ADMIN);
        done_ = ::syscall(SYS_capset, &header_, less) == 0;
    }
    ~WithoutSysAdmin() {
        if (done_) ::syscall(SYS_capset, &header_, before_);
    }
    WithoutSysAdmin(const WithoutSysAdmin&) = delete;
    WithoutSysAdmin& operator=(const WithoutSysAdmin&) = delete;
    bool done() const { return done_; }
    bool had() const { return had_; }

private:
    __user_cap_header_struct header_{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct before_[_LINUX_CAPABILITY_U32S_3] = {};
    bool done_ = false, had_ = false;
};

TEST_F(StageTest, ASkipForWantOfACapabilityStandsOnlyWithoutIt) {
    const auto body = [](const StageContext&, TestResults& into) {
        into.cases.push_back(
            make_case("x", "y", TestStatus::kSkipped, "cannot mount (needs CAP_SYS_ADMIN): EPERM"));
    };
    bool had = false;
    {
        const WithoutSysAdmin without;
        ASSERT_TRUE(without.done());
        had = without.had();
        EXPECT_EQ(run(body).counts().skipped, 1u);
    }
    if (had) {
        EXPECT_EQ(run(body).counts().failed, 1u);
    }
}

// Of all stages alike: fitted to the kernel at hand.
TEST_F(StageTest, AScenarioIsFittedToTheVariantAndShapesTheMachine) {
    for (const char* variant : {"base", "nothp", "debug"}) {
        manifest_.variant = variant;
        SwapCycleConfig scenario;
        scenario.timeout_s = 100;
        scenario.min_unsplit = 0.9;
        scenario.ram_mib = 700;
        const machine::MachineConfig config = stage_machine(context(), scenario);
        EXPECT_EQ(config.variant, variant);
        EXPECT_EQ(config.ram_mib, 700u);
        EXPECT_EQ(scenario.timeout_s, 100u * static_cast<unsigned>(machine::variant_named(variant).patience));
        EXPECT_EQ(scenario.min_unsplit, std::string_view(variant) == "nothp" ? 0 : 0.9);
    }
}

TEST(KunitReply, SuitesOfOneBootUnderTheirBackup) {
    const nlohmann::json reply = {
        {"results",
         {{{"suite", "a"}, {"ktap", "KTAP version 1\n1..1\n    # Subtest: a\n    1..2\n    ok 1 x\n"
                                    "    not ok 2 y\nnot ok 1 a\n"}},
          {{"suite", "b"}, {"ktap", "no result at all"}}}}};
    TestResults r;
    add_kunit_cases(reply, 2, "copy", "copy", r);
    EXPECT_EQ(r.counts().passed, 1u);
    EXPECT_EQ(r.counts().failed, 2u);
    for (const auto& c : r.cases) EXPECT_TRUE(c.suite.starts_with("copy")) << c.full_name();
    add_kunit_cases(reply, 3, "insert", "copy", r);
    EXPECT_EQ(r.counts().failed, 6u) << "a module without a suite, and another mode than asked";
}

TEST(KunitReply, KeepsWhatCasesThatPassMeasured) {
    const auto dir = std::filesystem::path(::testing::TempDir()) / "vttm-kunit-text";
    std::filesystem::remove_all(dir);
    const auto reply = [](const char* ktap) {
        return nlohmann::json{{"results", {{{"suite", "a"}, {"ktap", ktap}}}}};
    };
    keep_kunit_text(reply("# x: 1 us\nok 1 x\n"), dir / "kept");
    keep_kunit_text(reply("ok 1 y\n"), dir / "kept");
    std::ostringstream text;
    text << std::ifstream(dir / "kept").rdbuf();
    EXPECT_EQ(text.str(), "# x: 1 us\nok 1 x\nok 1 y\n");
    EXPECT_THROW(keep_kunit_text(reply(""), dir), std::runtime_error) << "a folder";
    std::filesystem::remove_all(dir);
}

TEST(CycleCases, OnePerCycleOfTheHalfThatRan) {
    report::RunReport run;
    run.cycles.resize(2);
    run.cycles[0].result.backup = run.cycles[1].result.backup = "copy";
    run.cycles[0].result.cycle = 1;
    run.cycles[1].result.cycle = 2;
    run.cycles[1].verdict = {oracle::VerdictKind::kLeak, {"one", "two"}, {}};
    TestResults r;
    add_cycle_cases(run, "swap_cycle", r);
    EXPECT_THAT(r.names(TestStatus::kPassed), ElementsAre("swap_cycle.copy_1"));
    EXPECT_THAT(r.names(TestStatus::kFailed), ElementsAre("swap_cycle.copy_2"));
    EXPECT_EQ(r.cases[1].message, "one\ntwo\n");
}

}  // namespace
}  // namespace vttm::cli
