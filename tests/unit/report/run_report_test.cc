// SPDX-License-Identifier: Apache-2.0
#include "host-backend/report/run_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/unit/report/sample_run.h"

namespace vttm::report::test {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

// The table as it is without a terminal.
std::string table(const RunReport& run) { return format_table(run, {}); }

TEST(Summary, SumsPerBackup) {
    const auto s = summarize(sample_run());
    ASSERT_EQ(s.size(), 2u);
    EXPECT_EQ(s[0].backup, "copy");
    EXPECT_EQ(s[0].cycles, 2u);
    EXPECT_EQ(s[0].pages_filled, 2000u);
    EXPECT_EQ(s[0].device_checked, 2000u);
    EXPECT_EQ(s[0].host[0], 2000u);
    EXPECT_DOUBLE_EQ(s[0].min_swapped_share, 0.75);
    EXPECT_EQ(s[0].zero_copy.changed, 800u);
    EXPECT_EQ(s[0].runs.groups, 8u);
    EXPECT_EQ(s[0].counters.at("pswpout"), 1600);
    EXPECT_EQ(s[0].levels.at("nr_gpu_active"), 1002) << "the highest, not the sum";
    EXPECT_DOUBLE_EQ(s[0].ms_per_mib_out(), 500);
    EXPECT_DOUBLE_EQ(s[0].ms_per_mib_in(), 250);
    EXPECT_EQ(s[1].backup, "insert");
    EXPECT_EQ(s[1].cycles, 1u);
    EXPECT_EQ(BackupSummary().ms_per_mib_out(), 0);
}

TEST(Summary, TakesTheHeaviestVerdict) {
    RunReport run = sample_run();
    run.cycles[0].verdict.kind = oracle::VerdictKind::kLeak;
    EXPECT_EQ(summarize(run)[0].verdict, oracle::VerdictKind::kLeak);
    EXPECT_EQ(summarize(run)[1].verdict, oracle::VerdictKind::kPass);
}

TEST(Table, HasEveryRow) {
    const std::string t = table(sample_run());
    EXPECT_THAT(t, ContainsRegex("backup +copy +insert\n"));
    EXPECT_THAT(t, ContainsRegex("pages filled +2 000 +1 000\n"));
    EXPECT_THAT(t, ContainsRegex("device: pages verified +2 000 +1 000\n"));
    EXPECT_THAT(t, ContainsRegex("guest CPU: pages verified +2 000 +1 000\n"));
    EXPECT_THAT(t, ContainsRegex("host: pages verified +2 000 +1 000\n"));
    EXPECT_THAT(t, ContainsRegex("bad +0 +0\n"));
    EXPECT_THAT(t, ContainsRegex("pages seen in the swap file +1 600 +800\n"));
    EXPECT_THAT(t, ContainsRegex("share of the GTT pages in a cycle +75.00 % +80.00 %\n"));
    EXPECT_THAT(t, ContainsRegex("same guest-physical page in shmem +0.00 % +100.00 %\n"));
    EXPECT_THAT(t, ContainsRegex("2 MiB runs unsplit / all in the swap file +2 / 8 +4 / 4\n"));
    EXPECT_THAT(t, ContainsRegex("pswpout +1 600 +800\n"));
    EXPECT_THAT(t, ContainsRegex("pswpin +1 400 +700\n"));
    EXPECT_THAT(t, ContainsRegex("thp_swpout +6 +3\n"));
    EXPECT_THAT(t, ContainsRegex("thp_swpout_fallback +2 +1\n"));
    EXPECT_THAT(t, ContainsRegex("of pages .not known. +800 .20. +400 .10."));
    EXPECT_THAT(t, ContainsRegex("pages first seen in swap, too late to tell +6 +3\n"));
    EXPECT_THAT(t, ContainsRegex("inserted_pages +0 +1 000\n"));
    EXPECT_THAT(t, ContainsRegex("insert_fallback +0 +2\n"));
    EXPECT_THAT(t, ContainsRegex("copied_pages +2 000 +0\n"));
    EXPECT_THAT(t, ContainsRegex("allocstall +14 +7\n"));
    EXPECT_THAT(t, ContainsRegex("nr_gpu_active .peak. +1 002 +1 003\n"));
    EXPECT_THAT(t, ContainsRegex("nr_gpu_reclaim .peak. +17 +17\n"));
    EXPECT_THAT(t, ContainsRegex("ms per MiB out . +500.000 +500.000\n"));
    EXPECT_THAT(t, ContainsRegex("ms per MiB in . +250.000 +250.000\n"));
    EXPECT_THAT(t, ContainsRegex("verdict +PASS +PASS\n"));
    EXPECT_THAT(t, HasSubstr("PASS (exit code 0, 61.2 s)\n"));
    EXPECT_THAT(t, Not(HasSubstr("Bad pages")));
    EXPECT_THAT(t, Not(HasSubstr("Logs")));
    EXPECT_THAT(t, EndsWith("\n"));
}

TEST(Table, SaysThatTcgTimesAreNoHardwareTimes) {
    RunReport run = sample_run();
    EXPECT_THAT(table(run), HasSubstr("no hardware times"));
    run.accelerator = "kvm";
    EXPECT_THAT(table(run), Not(HasSubstr("no hardware times")));
    EXPECT_THAT(table(run), ContainsRegex("ms per MiB out +500.000"));
}

TEST(Table, ColoursOnlyWhereAsked) {
    EXPECT_THAT(table(sample_run()), Not(HasSubstr("\033")));
    EXPECT_THAT(format_table(sample_run(), {.colour = true, .max_bad = 20}),
                HasSubstr("\033[32mPASS\033[0m"));
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    EXPECT_FALSE(style_for(ends[1]).colour) << "a pipe is no terminal";
    ::close(ends[0]);
    ::close(ends[1]);
}

TEST(Table, ListsBadPagesByClassAndByName) {
    RunReport run = sample_run();
    auto& host = run.cycles[2].result.host;
    for (int i = 0; i < 25; i++) host.bad.push_back(bad_page());
    run.verdict = {oracle::VerdictKind::kDisagree, {"they disagree"}, {}};
    run.exit_code = ExitCode::kContent;
    const std::string t = table(run);
    EXPECT_THAT(t, ContainsRegex("  bad +0 +25\n"));
    EXPECT_THAT(t, ContainsRegex("    stale +0 +25\n"));
    EXPECT_THAT(t, Not(HasSubstr("    zero")));
    EXPECT_THAT(t, HasSubstr("insert cycle 3, host: buffer 7 page 12: stale in swap slot 345"));
    EXPECT_THAT(t, HasSubstr("... and 5 more"));
    EXPECT_THAT(t, HasSubstr("DISAGREE (exit code 1"));
    EXPECT_THAT(t, HasSubstr("  - they disagree\n"));
    EXPECT_THAT(t, HasSubstr("Logs: /logs\n"));
}

TEST(Table, ListsWhatWasNotGivenBack) {
    RunReport run = sample_run();
    run.balances = {{"shmem", "pages", 10, 10, 0}, {"swap", "bytes", 0, 4096, 0}};
    EXPECT_THAT(table(run), AllOf(HasSubstr("Not given back:\n  swap: 0 before, 4096 after bytes"),
                                  Not(HasSubstr("shmem: ")), Not(HasSubstr("within"))));
}

TEST(Table, NamesTheToleranceThatABalanceNeeded) {
    RunReport run = sample_run();
    run.balances = {{"shmem", "pages", 10, 10, 0}, {"swap", "pages", 0, 87, 256}};
    EXPECT_THAT(table(run), AllOf(HasSubstr("within the tolerance:\n  swap: 0 before, 87 after pages "
                                            "(tolerance 256)\n"),
                                  Not(HasSubstr("Not given back")), Not(HasSubstr("shmem: "))));
}

TEST(Table, SaysWhatALimitedCgroupIsChargedForOthers) {
    RunReport run = sample_run();
    EXPECT_THAT(table(run), Not(HasSubstr("charged to the hog's cgroup")));
    run.cycles[0].result.levels["memcg.foreign_bytes"] = 5000;
    run.cycles[1].result.levels["memcg.foreign_bytes"] = 70000;
    run.cycles[2].result.levels["memcg.foreign_bytes"] = 0;
    EXPECT_THAT(table(run), ContainsRegex("bytes of others charged to the hog's cgroup +70 000 +0\n"));
    const auto j = to_json(run);
    EXPECT_EQ(j["cycles"][0]["levels"]["memcg.foreign_bytes"], 5000);
    EXPECT_EQ(j["backups"][0]["levels"]["memcg.foreign_bytes"], 70000);
}

TEST(Table, SaysSoWhenStaleUsesAndStraysOccurred) {
    RunReport run = sample_run();
    EXPECT_THAT(table(run), Not(HasSubstr("stale translations")));
    run.cycles[0].result.stale_uses = 2;
    run.cycles[0].result.strays = 4;
    EXPECT_THAT(table(run), ContainsRegex("stale translations, faults of the device +2, 0 +0, 0"));
    EXPECT_THAT(table(run), ContainsRegex("left-over pages .* +0, 4 +0, 0"));
}

TEST(Table, WithoutACycle) {
    RunReport run;
    run.exit_code = ExitCode::kGuestPanic;
    run.error = "panic, see the console";
    const std::string t = table(run);
    EXPECT_THAT(t, HasSubstr("No cycle was completed"));
    EXPECT_THAT(t, HasSubstr("FAILED (guest-panic) (exit code 3, 0.0 s): panic, see the console\n"));
}

TEST(Table, UnknownFiguresAreDashes) {
    RunReport run = sample_run();
    for (auto& c : run.cycles) {
        c.result.counters.clear();
        c.result.levels.clear();
        c.result.zero_copy = {};
        c.result.bytes_out = 0;
    }
    const std::string t = table(run);
    EXPECT_THAT(t, ContainsRegex("pswpout +- +-\n"));
    EXPECT_THAT(t, ContainsRegex("allocstall +- +-\n"));
    EXPECT_THAT(t, ContainsRegex("same guest-physical page in shmem +- +-\n"));
    EXPECT_THAT(t, ContainsRegex("ms per MiB out . +- +-\n"));
}

TEST(Json, TellsEverything) {
    RunReport run = sample_run();
    run.cycles[2].result.host.bad = {bad_page()};
    run.cycles[2].verdict = {
        oracle::VerdictKind::kDisagree, {"why"}, {{{7, 12}, {}, {}, oracle::PageClass::kStale}}};
    run.cycles[0].result.balances = {{"shmem", "pages", 10, 12, 1}};
    run.verdict = run.cycles[2].verdict;
    run.exit_code = ExitCode::kContent;
    const auto j = nlohmann::json::parse(to_json(run).dump());
    EXPECT_EQ(j["format"], "vttm-run");
    EXPECT_EQ(j["version"], 1);
    EXPECT_EQ(j["seed"], "0xabc");
    EXPECT_EQ(j["times_are_hardware"], false);
    EXPECT_EQ(j["kernel"]["release"], "7.3.4-vttm");
    EXPECT_EQ(j["exit_code"], 1);
    EXPECT_EQ(j["exit_name"], "content");
    EXPECT_TRUE(j["error"].is_null());
    ASSERT_EQ(j["backups"].size(), 2u);
    EXPECT_EQ(j["backups"][1]["witnesses"]["host"]["by_class"]["stale"], 1);
    EXPECT_EQ(j["backups"][1]["verdict"], "DISAGREE");
    EXPECT_EQ(j["backups"][0]["times"]["ms_per_mib_out"], 500.0);
    EXPECT_EQ(j["backups"][0]["counters"]["pswpout"], 1600);
    ASSERT_EQ(j["cycles"].size(), 3u);
    const auto& c = j["cycles"][2];
    EXPECT_EQ(c["zero_copy"]["share"], 1.0);
    EXPECT_EQ(c["zero_copy"]["first_seen_in_swap"], 3);
    EXPECT_EQ(j["backups"][0]["zero_copy"]["first_seen_in_swap"], 6);
    EXPECT_EQ(j["seconds_to_boot"], 2.5);
    EXPECT_EQ(c["runs_2mib"]["unsplit"], 4);
    EXPECT_EQ(c["runs_2mib"]["split"], 0);
    EXPECT_EQ(c["witnesses"]["host"]["good"], 999);
    const auto& bad = c["witnesses"]["host"]["bad"][0];
    EXPECT_EQ(bad["class"], "stale");
    EXPECT_EQ(bad["where"]["kind"], "swap");
    EXPECT_EQ(bad["where"]["slot"], 345);
    EXPECT_FALSE(bad["where"].contains("addr"));
    EXPECT_EQ(bad["found"]["generation"], 2);
    EXPECT_EQ(bad["flipped_bits"], 9000);
    EXPECT_EQ(c["verdict"]["disagreements"][0]["host"], "stale");
    EXPECT_TRUE(c["verdict"]["disagreements"][0]["cpu"].is_null());
    EXPECT_EQ(j["cycles"][0]["balances"][0]["even"], false);
    EXPECT_EQ(j["cycles"][0]["levels"]["nr_gpu_active"], 1001);
}

TEST(Json, EveryBadPageIsListed) {
    RunReport run = sample_run();
    run.cycles[0].result.device.bad.assign(500, bad_page());
    EXPECT_EQ(to_json(run)["cycles"][0]["witnesses"]["device"]["bad"].size(), 500u);
}

TEST(Json, NullsWhereNothingIsKnown) {
    RunReport run = sample_run();
    run.cycles[0].result.zero_copy = {};
    run.cycles[0].result.bytes_in = 0;
    run.error = "broken off";
    const auto j = to_json(run);
    EXPECT_TRUE(j["cycles"][0]["zero_copy"]["share"].is_null());
    EXPECT_TRUE(j["cycles"][0]["times"]["ms_per_mib_in"].is_null());
    EXPECT_EQ(j["error"], "broken off");
}

}  // namespace
}  // namespace vttm::report::test
