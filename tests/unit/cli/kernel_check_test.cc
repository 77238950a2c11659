// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/kernel_check.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>

namespace vttm::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// A report as /sys/kernel/debug/kmemleak has it, with @frame in its backtrace.
std::string report(const std::string& frame) {
    return "unreferenced object 0xffff888004b0a000 (size 1024):\n"
           "  comm \"vttm-agent\", pid 71, jiffies 4294893421\n"
           "  hex dump (first 32 bytes):\n"
           "    00 00 00 00 ad 4e ad de ff ff ff ff 00 00 00 00  .....N..........\n"
           "  backtrace (crc 9c1ff3f5):\n"
           "    __kmalloc_cache_noprof+0x1b9/0x2d0\n"
           "    " + frame + "\n"
           "    do_one_initcall+0x51/0x210\n";
}

TEST(Kmemleak, NothingIsNothing) {
    const Leaks leaks = parse_kmemleak("");
    EXPECT_TRUE(leaks.ours.empty());
    EXPECT_TRUE(leaks.others.empty());
}

class Ours : public testing::TestWithParam<const char*> {};
TEST_P(Ours, IsALeakOfOurs) {
    const Leaks leaks = parse_kmemleak(report("kthread+0x11/0x20") + report(GetParam()) +
                                       report("acpi_init+0x1/0x2"));
    ASSERT_EQ(leaks.ours.size(), 1u);
    EXPECT_THAT(leaks.ours[0], HasSubstr(GetParam()));
    EXPECT_EQ(leaks.others.size(), 2u);
}
INSTANTIATE_TEST_SUITE_P(
    Frames, Ours,
    testing::Values("vttm_bo_create+0x44/0x130 [vttm]", "ttm_tt_init+0x20/0x90 [ttm]",
                    "drm_sched_job_init+0x2/0x90 [gpu_sched]", "swap_backup_create+0x30/0x90",
                    "shmem_insert_folio+0x1f0/0x900", "shmem_extract_folio+0x80/0x300",
                    "swap_backup_swapin+0x10/0x20", "folio_to_allocation+0x9/0x40",
                    "promote_to_compound_page+0x9/0x80",
                    "ttm_tt_init+0x20/0x90 [ttm]\n    ttm_backup_case+0x9/0x80 [ttm_backup_test]",
                    "swap_backup_create+0x30/0x90\n    backup_full+0x9/0x80 [swap_backup_kunit]",
                    "kmemleak_test_init+0x58/0x2a0 [kmemleak_test]"));

class Tests : public testing::TestWithParam<const char*> {};
TEST_P(Tests, IsALeakOfATest) {
    const Leaks leaks = parse_kmemleak(report(GetParam()));
    EXPECT_TRUE(leaks.ours.empty());
    EXPECT_EQ(leaks.tests.size(), 1u);
    EXPECT_TRUE(leaks.others.empty());
}
INSTANTIATE_TEST_SUITE_P(
    Frames, Tests,
    testing::Values("backup_failure+0x9/0x80 [swap_backup_kunit]",
                    "drm_gem_object_init+0x78/0x80\n    ttm_bo_kunit_init+0x90/0x160 [ttm_kunit_helpers]",
                    "ttm_mock_manager_alloc+0x2/0x3 [ttm_mock_manager]\n    ttm_bo_validate+0x9/0x80 [ttm]",
                    "swap_backup_suite_like+0x9/0x80 [swap_backup_kunit]"));

class Others : public testing::TestWithParam<const char*> {};
TEST_P(Others, IsNoLeakOfOurs) {
    const Leaks leaks = parse_kmemleak(report(GetParam()));
    EXPECT_TRUE(leaks.ours.empty());
    EXPECT_EQ(leaks.others.size(), 1u);
}
INSTANTIATE_TEST_SUITE_P(Frames, Others,
                         testing::Values("shmem_get_inode+0x30/0x90", "virtio_ttm_like+0x3/0x9",
                                         "zram_add+0x1/0x2 [zram]", "swap_cache_alloc_folio+0x10/0x20",
                                         "ext4_init_fs+0x9/0x40"));

TEST(Kmemleak, GarbageIsNoEmptyList) {
    EXPECT_THROW(parse_kmemleak("cat: can't open: No such file or directory\n"), std::runtime_error);
}

std::string what_of(const GuestRun& run) {
    int saved = 0;
    const auto logs = [&] { return ++saved, std::filesystem::path("/logs"); };
    try {
        judge_kmemleak(run, logs);
        return saved ? "logs saved for nothing" : "";
    } catch (const machine::Leak& e) {
        EXPECT_EQ(e.exit_code(), 8);
        return e.what();
    } catch (const machine::Inconclusive& e) {
        EXPECT_EQ(e.exit_code(), 7);
        return e.what();
    }
}

TEST(KmemleakVerdict, ALeakOfOursIsALeakAndOneOfOthersIsTold) {
    const std::string theirs = report("acpi_init+0x1/0x2");
    EXPECT_EQ(what_of({.status = 0, .output = ""}), "");
    EXPECT_EQ(what_of({.status = 0, .output = theirs}), "");
    EXPECT_EQ(judge_kmemleak({.status = 0, .output = theirs + theirs}, {}).others.size(), 2u);
    const std::string what = what_of({.status = 0, .output = theirs + report("x+0x1/0x2 [ttm]")});
    EXPECT_THAT(what, HasSubstr("leaks memory of ours: 1 reports"));
    EXPECT_THAT(what, HasSubstr("x+0x1/0x2 [ttm]"));
    EXPECT_THAT(what, HasSubstr("/logs"));
}

TEST(KmemleakVerdict, ADetectorThatDoesNotWorkIsNoPanicButInconclusive) {
    for (const std::string output : {"", "head: /sys/kernel/debug/kmemleak: No such file\n"})
        EXPECT_THAT(what_of({.status = 1, .output = output}), HasSubstr("does not work any more"));
    EXPECT_THAT(what_of({.status = 137, .timed_out = true, .output = report("acpi_init+0x1/0x2")}),
                HasSubstr("could not be read in time"));
}

// What it found before it broke off counts.
TEST(KmemleakVerdict, ALeakIsALeakThoughTheDetectorDoesNotWorkAnyMore) {
    const std::string ours = report("x+0x1/0x2 [ttm]");
    EXPECT_THAT(what_of({.status = 1, .output = ours}),
                AllOf(HasSubstr("leaks memory of ours: 1 reports"), HasSubstr("does not work any more")));
    EXPECT_THAT(what_of({.status = 137, .timed_out = true, .output = ours + "unreferenced object 0xff"}),
                AllOf(HasSubstr("leaks memory of ours"), HasSubstr("in time")));
}

TEST(KmemleakVerdict, AListThatWasNotReadToItsEndIsNotTakenForClean) {
    std::string many;
    while (many.size() < 1 << 20) many += report("acpi_init+0x1/0x2");
    many.resize(1 << 20);
    EXPECT_THAT(what_of({.status = 0, .output = many + "\n"}), HasSubstr("only the first 1048576 bytes"));
}

TEST(KmemleakVerdict, ThousandsOfReportsAreToldByTheirBacktraces) {
    std::string many;
    for (int i = 0; i < 500; ++i) many += report("x+0x1/0x2 [ttm]");
    const std::string what = what_of({.status = 0, .output = many + report("y+0x1/0x2 [vttm]")});
    EXPECT_THAT(what, HasSubstr("501 reports"));
    EXPECT_THAT(what, HasSubstr("2 different backtraces"));
    EXPECT_THAT(what, HasSubstr("500 times:"));
    EXPECT_THAT(what, HasSubstr("y+0x1/0x2 [vttm]"));
    EXPECT_LT(what.size(), 8000u);
}

TEST(LockdepStats, TellsWhetherItLooks) {
    const std::string stats = " lock-classes:                         1021 [max: 8192]\n";
    EXPECT_TRUE(lockdep_looks(stats + " debug_locks:                             1\n"));
    EXPECT_FALSE(lockdep_looks(stats + " debug_locks:                             0\n\n"));
    EXPECT_THROW(lockdep_looks(stats), std::runtime_error);
    EXPECT_THROW(lockdep_looks(""), std::runtime_error);
}

}  // namespace
}  // namespace vttm::cli
