// SPDX-License-Identifier: Apache-2.0
#include "host-backend/oracle/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace vttm::oracle {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

WitnessReport witness(Witness who, std::uint64_t checked = 100) {
    WitnessReport w;
    w.who = who;
    w.present = true;
    w.checked = checked;
    return w;
}

BadPage bad(std::uint32_t buffer, std::uint64_t page, PageClass cls) {
    BadPage b;
    b.id = {buffer, page};
    b.cls = cls;
    return b;
}

// A cycle of the insert backup with nothing wrong.
CycleResult good_cycle() {
    CycleResult r;
    r.backup = "insert";
    r.cycle = 1;
    r.pages_filled = 100;
    r.device = witness(Witness::kDevice);
    r.cpu = witness(Witness::kCpu);
    r.host = witness(Witness::kHost);
    r.swapped_share = 0.8;
    r.zero_copy.unchanged = 80;
    r.counters = {{"pswpout", 80}, {"inserted_pages", 100}};
    r.balances = {{"shmem", "pages", 10, 10, 0}};
    return r;
}

Verdict judged(const CycleResult& r) { return judge(r, Policy::for_backup(r.backup)); }

TEST(Verdict, Pass) {
    const Verdict v = judged(good_cycle());
    EXPECT_EQ(v.kind, VerdictKind::kPass);
    EXPECT_THAT(v.reasons, IsEmpty());
}

TEST(Verdict, APageBadForAllIsContent) {
    CycleResult r = good_cycle();
    for (auto* w : {&r.device, &r.cpu, &r.host}) w->bad = {bad(7, 12, PageClass::kZero)};
    const Verdict v = judged(r);
    EXPECT_EQ(v.kind, VerdictKind::kContent);
    EXPECT_THAT(v.reasons, ElementsAre("1 bad page for every witness: buffer 7 page 12 (zero)"));
    EXPECT_THAT(v.disagreements, IsEmpty());
}

TEST(Verdict, APageBadForOneWitnessIsADisagreement) {
    for (WitnessReport CycleResult::*one :
         {&CycleResult::device, &CycleResult::cpu, &CycleResult::host}) {
        CycleResult r = good_cycle();
        (r.*one).bad = {bad(7, 12, PageClass::kTorn)};
        const Verdict v = judged(r);
        EXPECT_EQ(v.kind, VerdictKind::kDisagree);
        ASSERT_EQ(v.disagreements.size(), 1u);
        EXPECT_EQ(v.disagreements[0].id, (PageId{7, 12}));
        EXPECT_THAT(v.reasons.at(0), HasSubstr("torn"));
    }
}

TEST(Verdict, DifferentClassesDisagreeToo) {
    CycleResult r = good_cycle();
    for (auto* w : {&r.device, &r.cpu, &r.host}) w->bad = {bad(7, 12, PageClass::kZero)};
    r.cpu.bad[0].cls = PageClass::kStale;
    const Verdict v = judged(r);
    EXPECT_EQ(v.kind, VerdictKind::kContent);
    ASSERT_EQ(v.disagreements.size(), 1u);
    EXPECT_EQ(v.disagreements[0].cpu, PageClass::kStale);
    EXPECT_EQ(v.reasons.size(), 2u);
}

TEST(Verdict, ManyBadPagesAreCountedNotAllNamed) {
    CycleResult r = good_cycle();
    for (auto* w : {&r.device, &r.cpu, &r.host}) {
        for (std::uint64_t p = 0; p < 30; p++) w->bad.push_back(bad(7, p, PageClass::kZero));
    }
    const Verdict v = judged(r);
    EXPECT_THAT(v.reasons.at(0), HasSubstr("30 bad pages"));
    EXPECT_THAT(v.reasons.at(0), HasSubstr("..."));
}

TEST(Verdict, StaleTranslationsAndFaultsAreContent) {
    CycleResult r = good_cycle();
    r.stale_uses = 2;
    EXPECT_EQ(judged(r).kind, VerdictKind::kContent);
    r = good_cycle();
    r.device_faults = 1;
    EXPECT_EQ(judged(r).kind, VerdictKind::kContent);
}

TEST(Verdict, UnevenBalancesLeak) {
    CycleResult r = good_cycle();
    r.balances = {{"shmem", "pages", 10, 11, 0}};
    EXPECT_EQ(judged(r).kind, VerdictKind::kLeak);
    r.balances = {{"shmem", "pages", 10, 9, 0}};
    EXPECT_EQ(judged(r).kind, VerdictKind::kLeak) << "less than before is wrong accounting";
    r.balances = {{"shmem", "pages", 10, 14, 4}};
    EXPECT_EQ(judged(r).kind, VerdictKind::kPass);
    r.balances = {{"shmem", "pages", 10, 15, 4}};
    EXPECT_EQ(judged(r).kind, VerdictKind::kLeak);
}

TEST(Verdict, FreedContentInRamLeaks) {
    CycleResult r = good_cycle();
    r.strays = 3;
    EXPECT_EQ(judged(r).kind, VerdictKind::kLeak);
}

TEST(Verdict, TooLittleSwappedIsInconclusive) {
    CycleResult r = good_cycle();
    r.swapped_share = 0.74;
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
    r.swapped_share = std::numeric_limits<double>::quiet_NaN();
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
    r.swapped_share = 0.75;
    EXPECT_EQ(judged(r).kind, VerdictKind::kPass);
}

TEST(Verdict, CountersThatDidNotMoveAreInconclusive) {
    for (const char* name : {"pswpout", "inserted_pages"}) {
        CycleResult r = good_cycle();
        r.counters[name] = 0;
        EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive) << name;
        r.counters.erase(name);
        EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive) << name;
    }
}

TEST(Verdict, NothingFilledIsInconclusive) {
    CycleResult r = good_cycle();
    r.pages_filled = 0;
    for (auto* w : {&r.device, &r.cpu, &r.host}) w->checked = 0;
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
}

TEST(Verdict, AbsentOrLazyWitnessesAreInconclusive) {
    for (WitnessReport CycleResult::*one :
         {&CycleResult::device, &CycleResult::cpu, &CycleResult::host}) {
        CycleResult r = good_cycle();
        (r.*one).checked = 99;
        EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
        (r.*one) = WitnessReport{};
        EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
        Policy p = Policy::for_backup("insert");
        p.need_device = p.need_cpu = p.need_host = false;
        EXPECT_EQ(judge(r, p).kind, VerdictKind::kPass);
    }
}

TEST(Verdict, InsertMustKeepThePage) {
    CycleResult r = good_cycle();
    r.zero_copy = {.unchanged = 98, .changed = 2};
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
    r.zero_copy = {.unchanged = 99, .changed = 1};
    EXPECT_EQ(judged(r).kind, VerdictKind::kPass);
    r.zero_copy = {.unknown = 100};
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive) << "no evidence";
}

TEST(Verdict, CopyMustNotKeepThePage) {
    CycleResult r = good_cycle();
    r.backup = "copy";
    r.counters = {{"pswpout", 80}, {"copied_pages", 100}, {"inserted_pages", 0}};
    r.zero_copy = {.unchanged = 0, .changed = 100};
    EXPECT_EQ(judged(r).kind, VerdictKind::kPass);
    r.zero_copy = {.unchanged = 2, .changed = 98};
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
    r.zero_copy = {};
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
}

TEST(Verdict, CopyMustNotInsert) {
    CycleResult r = good_cycle();
    r.backup = "copy";
    r.zero_copy = {.unchanged = 0, .changed = 100, .unknown = 0, .bad = 0};
    r.counters = {{"pswpout", 80}, {"copied_pages", 100}, {"inserted_pages", 0}};
    EXPECT_EQ(judged(r).kind, VerdictKind::kPass);
    r.counters["inserted_pages"] = 1;
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
    r.counters.erase("inserted_pages");
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
    r.counters = {{"pswpout", 80}, {"copied_pages", 0}, {"inserted_pages", 0}};
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive);
}

TEST(Verdict, SwapcacheMustHaveMovedPagesIntoTheSwapCache) {
    CycleResult r = good_cycle();
    r.backup = "swapcache";
    r.counters = {{"pswpout", 80}, {"inserted_pages", 0}, {"swapcache_pages", 100}};
    EXPECT_EQ(judged(r).kind, VerdictKind::kPass);
    r.counters = {{"pswpout", 80}, {"inserted_pages", 100}, {"swapcache_pages", 0}};
    EXPECT_EQ(judged(r).kind, VerdictKind::kInconclusive) << "all fell back to the file";
}

TEST(Verdict, HugePagesAndSecondCopiesWhereAsked) {
    CycleResult r = good_cycle();
    r.runs = {.groups = 10, .unsplit = 4, .huge_groups = 5, .huge_unsplit = 4};
    r.second_copies = 3;
    EXPECT_EQ(judged(r).kind, VerdictKind::kPass);
    Policy p = Policy::for_backup("insert");
    p.min_huge_unsplit_share = 0.8;
    EXPECT_EQ(judge(r, p).kind, VerdictKind::kPass);
    p.min_huge_unsplit_share = 0.9;
    EXPECT_EQ(judge(r, p).kind, VerdictKind::kInconclusive);
    p.min_huge_unsplit_share = 0.5;
    r.runs = {};
    EXPECT_EQ(judge(r, p).kind, VerdictKind::kInconclusive) << "no group, no proof";
    p.min_huge_unsplit_share.reset();
    p.max_second_copies = 2;
    EXPECT_EQ(judge(r, p).kind, VerdictKind::kInconclusive);
}

TEST(Verdict, TheHeaviestComesFirst) {
    CycleResult r = good_cycle();
    r.swapped_share = 0.1;
    r.balances = {{"shmem", "pages", 10, 20, 0}};
    for (auto* w : {&r.device, &r.cpu, &r.host}) w->bad = {bad(7, 12, PageClass::kZero)};
    r.host.bad.push_back(bad(7, 13, PageClass::kZero));
    const Verdict v = judged(r);
    EXPECT_EQ(v.kind, VerdictKind::kContent);
    ASSERT_EQ(v.reasons.size(), 4u);
    EXPECT_THAT(v.reasons[0], HasSubstr("bad page"));
    EXPECT_THAT(v.reasons[1], HasSubstr("disagree"));
    EXPECT_THAT(v.reasons[2], HasSubstr("shmem did not return: 10 before, 20 after pages"));
    EXPECT_THAT(v.reasons[3], HasSubstr("swap file"));
}

TEST(Verdict, CombineTakesTheHeaviest) {
    EXPECT_EQ(combine({}).kind, VerdictKind::kPass);
    const Verdict parts[] = {{VerdictKind::kInconclusive, {"a"}, {}},
                             {VerdictKind::kPass, {}, {}},
                             {VerdictKind::kDisagree, {"b"}, {{{1, 2}, {}, {}, {}}}}};
    const Verdict v = combine(parts);
    EXPECT_EQ(v.kind, VerdictKind::kDisagree);
    EXPECT_THAT(v.reasons, ElementsAre("b", "a"));
    EXPECT_EQ(v.disagreements.size(), 1u);
}

TEST(Counters, Delta) {
    const Counters d = delta({{"a", 5}, {"gone", 1}}, {{"a", 7}, {"new", 3}});
    EXPECT_EQ(d, (Counters{{"a", 2}, {"new", 3}}));
}

}  // namespace
}  // namespace vttm::oracle
