// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/console_watcher.h"

#include <gtest/gtest.h>

#include <fstream>

namespace vttm::machine {
namespace {

constexpr const char* kOops =
    "[   20.1] vttm: shrinking\r\n"
    "[   20.2] BUG: kernel NULL pointer dereference, address: 0000000000000008\r\n"
    "[   20.2] #PF: supervisor read access in kernel mode\r\n"
    "[   20.2] Oops: Oops: 0000 [#1] SMP NOPTI\r\n"
    "[   20.2] CPU: 0 UID: 0 PID: 37 Comm: kswapd0 Not tainted 7.3.4-vttm-base #1\r\n"
    "[   20.2] RIP: 0010:lruvec_stat_mod_folio+0x12/0x90\r\n"
    "[   20.3] ---[ end trace 0000000000000000 ]---\r\n"
    "[   20.4] Kernel panic - not syncing: Fatal exception\r\n"
    "[   20.4] ---[ end Kernel panic - not syncing: Fatal exception ]---\r\n";

TEST(ConsoleWatcher, CollectsAnOopsWithItsContext) {
    ConsoleWatcher w("");
    w.feed(kOops);
    ASSERT_EQ(w.splats().size(), 2u);  // the oops, and the panic that it caused
    const Splat& s = w.splats().front();
    EXPECT_EQ(s.kind, SplatKind::kOops);
    EXPECT_TRUE(s.complete);
    EXPECT_EQ(s.line, "BUG: kernel NULL pointer dereference, address: 0000000000000008");
    ASSERT_GE(s.lines.size(), 7u);
    EXPECT_EQ(s.lines.front(), "[   20.1] vttm: shrinking");
    EXPECT_EQ(s.lines[5], "[   20.2] RIP: 0010:lruvec_stat_mod_folio+0x12/0x90");
}

TEST(ConsoleWatcher, SplitAnywhereGivesTheSame) {
    const std::string text(kOops);
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        ConsoleWatcher w("");
        w.feed(std::string_view(text).substr(0, cut));
        w.feed(std::string_view(text).substr(cut));
        ASSERT_EQ(w.splats().size(), 2u) << cut;
        ASSERT_EQ(w.splats().front().lines.size(), 7u) << cut;
    }
}

TEST(ConsoleWatcher, PanicWithinAnOpenOopsMakesItAPanic) {
    ConsoleWatcher w("");
    w.feed("kernel BUG at mm/x.c:1!\nKernel panic - not syncing: Fatal exception\n");
    ASSERT_EQ(w.splats().size(), 1u);
    EXPECT_EQ(w.splats()[0].kind, SplatKind::kPanic);
    EXPECT_FALSE(w.splats()[0].complete);
}

TEST(ConsoleWatcher, PanicAfterTheEndOfAReportIsAnother) {
    ConsoleWatcher w("");
    w.feed("INFO: task a:1 blocked for more than 120 seconds.\n");
    w.end_report();
    w.feed("Kernel panic - not syncing: NMI: Not continuing\n");
    ASSERT_EQ(w.splats().size(), 2u);
    EXPECT_EQ(w.splats()[0].kind, SplatKind::kLockup);
    EXPECT_EQ(w.splats()[1].kind, SplatKind::kPanic);
}

TEST(ConsoleWatcher, UnfinishedLastLineCountsAtTheEnd) {
    ConsoleWatcher w("");
    w.feed("[    3.0] Kernel panic - not syncing: x");
    EXPECT_TRUE(w.splats().empty());
    w.finish();
    EXPECT_EQ(w.splats().size(), 1u);
}

const std::vector<ExpectedSplat> kNoVmaManager = {
    {R"(^WARNING: .*ttm_device\.c:\d+ at ttm_device_init\+)", "ttm_device_init_no_vma_man"}};

constexpr const char* kDeviceWarning =
    "[    1.18] WARNING: drivers/gpu/drm/ttm/ttm_device.c:213 at ttm_device_init+0x100/0x120 [ttm], "
    "CPU#0: kunit_try_catch/65\n[    1.19] Call Trace:\n";

TEST(ConsoleWatcher, ExpectedSplatsAreKeptApart) {
    ConsoleWatcher watcher("/nonexistent", kNoVmaManager);
    watcher.feed(kDeviceWarning);
    EXPECT_TRUE(watcher.splats().empty());  // not before its trace has told
    EXPECT_TRUE(watcher.expected_seen().empty());
    watcher.feed("[    1.19]  ttm_device_init_no_vma_man+0x9d/0x150 [ttm_device_test]\n"
                 "[    1.20] ---[ end trace 0000000000000000 ]---\n");
    EXPECT_TRUE(watcher.splats().empty());
    EXPECT_EQ(watcher.expected_seen().size(), 1u);
    watcher.finish();
    EXPECT_TRUE(watcher.splats().empty());
    // Another warning of the same guest still counts.
    watcher.feed("[    2.00] WARNING: mm/shmem.c:900 at shmem_insert_folio+0x1/0x2, CPU#0: x/1\n");
    ASSERT_EQ(watcher.splats().size(), 1u);
    EXPECT_EQ(watcher.splats()[0].kind, SplatKind::kWarning);
}

// The test's own code warns: it stands in no frame, but where the warning is from.
TEST(ConsoleWatcher, ExpectedSplatsOfTheTestItselfAreKeptApart) {
    ConsoleWatcher watcher("/nonexistent", {{R"(^WARNING: .*ttm_bo\.h:\d+ at )", "no_wait_ticket"},
                                            {"^BUG: Bad page state", "the_test"}});
    watcher.feed("WARNING: include/drm/ttm/ttm_bo.h:301 at no_wait_ticket+0x43/0x60 [ttm_bo_test], "
                 "CPU#0: kunit_try_catch/9\n");
    EXPECT_EQ(watcher.expected_seen().size(), 1u);
    watcher.feed("BUG: Bad page state in process x  pfn:1\nRIP: 0010:the_test+0x1/0x2\n");
    EXPECT_EQ(watcher.expected_seen().size(), 2u);
    watcher.feed("WARNING: include/drm/ttm/ttm_bo.h:301 at not_no_wait_ticket+0x43/0x60, CPU#0: x/9\n");
    watcher.finish();
    EXPECT_EQ(watcher.splats().size(), 1u);
}

TEST(ConsoleWatcher, ExpectedWordsFromAnotherTestAreASplat) {
    ConsoleWatcher watcher("/nonexistent", kNoVmaManager);
    watcher.feed(kDeviceWarning);
    watcher.feed("[    1.19]  vttm_probe+0x9d/0x150 [vttm]\n"
                 "[    1.19]  ? ttm_device_init_no_vma_man+0x9d/0x150 [ttm_device_test]\n"
                 "[    1.20] ---[ end trace 0000000000000000 ]---\n");
    ASSERT_EQ(watcher.splats().size(), 1u);
    EXPECT_TRUE(watcher.splats()[0].complete);
    EXPECT_EQ(watcher.splats()[0].kind, SplatKind::kWarning);
    EXPECT_GE(watcher.splats()[0].lines.size(), 5u);
    EXPECT_TRUE(watcher.expected_seen().empty());
}

TEST(ConsoleWatcher, ExpectedWordsWithoutATraceAreASplat) {
    for (const char* what_then : {"", "[    2.0] BUG: Bad page state in process x  pfn:1\n"}) {
        ConsoleWatcher watcher("/nonexistent", kNoVmaManager);
        watcher.feed(kDeviceWarning);
        watcher.feed(what_then);
        watcher.finish();
        ASSERT_GE(watcher.splats().size(), 1u);
        EXPECT_EQ(watcher.splats()[0].kind, SplatKind::kWarning);
    }
    ConsoleWatcher endless("/nonexistent", kNoVmaManager);
    endless.feed(kDeviceWarning);
    for (int i = 0; i < 100; ++i) endless.feed("[    1.3] no trace\n");
    EXPECT_EQ(endless.splats().size(), 1u);
}

// What lockdep says of ttm_bo_reserve_deadlock, and of the same words elsewhere.
TEST(ConsoleWatcher, LockdepReportsOfOneTestAreNoExcuseForOthers) {
    const std::vector<ExpectedSplat> expected = {
        {"^WARNING: (possible recursive locking|possible circular locking dependency) detected",
         "ttm_bo_reserve_deadlock"}};
    const auto report = [](const std::string& holder) {
        return "[    9.1] ============================================\n"
               "[    9.1] WARNING: possible recursive locking detected\n"
               "[    9.1] 7.3.4-vttm-debug-00000000 #1 Tainted: G                 N\n"
               "[    9.1] --------------------------------------------\n"
               "[    9.1] kunit_try_catch/120 is trying to acquire lock:\n"
               "[    9.1] ffff888004d5c1a8 (reservation_ww_class_mutex){+.+.}-{4:4}, at: "
               "ttm_bo_reserve+0x5c/0x130\n[    9.1] but task is already holding lock:\n"
               "[    9.1] ffff888004d5d1a8 (reservation_ww_class_mutex){+.+.}-{4:4}, at: " +
               holder + "+0x16c/0x380\n";
    };
    ConsoleWatcher watcher("/nonexistent", expected);
    watcher.feed(report("ttm_bo_reserve_deadlock"));
    EXPECT_TRUE(watcher.splats().empty());
    EXPECT_EQ(watcher.expected_seen().size(), 1u);
    watcher.feed(report("vttm_shrinker_scan"));
    watcher.finish();
    ASSERT_EQ(watcher.splats().size(), 1u);
    EXPECT_EQ(watcher.splats()[0].kind, SplatKind::kLockdep);
}

TEST(ConsoleWatcher, OomKillsAreRecordedAndNoSplat) {
    ConsoleWatcher w("");
    w.feed("[   40.1] Out of memory: Killed process 99 (vttm-hog) total-vm:1024kB\r\n"
           "[   41.1] Write-error on swap-device (254:0:8192)\r\n");
    EXPECT_TRUE(w.splats().empty());
    ASSERT_EQ(w.oom_kills().size(), 1u);
    EXPECT_EQ(w.oom_kills()[0], "Out of memory: Killed process 99 (vttm-hog) total-vm:1024kB");
    EXPECT_EQ(w.notes().size(), 1u);
}

TEST(ConsoleWatcher, TerminalSequencesAndControlBytesAreDropped) {
    ConsoleWatcher w("");
    w.feed("\x1b[0m\x1b[1;31m[    3.0] Kernel panic - not syncing: x\x1b[0m\x07\r\n\x1b[");
    ASSERT_EQ(w.splats().size(), 1u);
    EXPECT_EQ(w.splats()[0].line, "Kernel panic - not syncing: x");
    w.finish();
    EXPECT_EQ(w.tail(), "[    3.0] Kernel panic - not syncing: x\n\n");
}

TEST(ConsoleWatcher, FloodStaysBounded) {
    ConsoleWatcher w("");
    for (int i = 0; i < 20000; ++i) w.feed("BUG: Bad page state in process x  pfn:1\n---[ end \n");
    w.feed(std::string(10 << 20, 'x'));
    w.feed("\nBUG: late\n");
    EXPECT_LE(w.splats().size(), 100u);
    EXPECT_LT(w.tail(200).size(), 100'000u);
    for (const Splat& s : w.splats()) EXPECT_LE(s.lines.size(), ConsoleWatcher::kExcerptLines);
}

TEST(ConsoleWatcher, FollowsARotatedFile) {
    const std::string path = testing::TempDir() + "/vttm-console-rotated-" + std::to_string(::getpid());
    std::ofstream(path) << "[    1.0] hello\n[    2.0] Kernel pa";
    ConsoleWatcher w(path);
    EXPECT_TRUE(w.poll());
    std::ofstream(path, std::ios::app) << "nic - not ";  // still into the old one
    std::filesystem::rename(path, path + ".0");
    EXPECT_TRUE(w.poll());
    std::ofstream(path) << "syncing: y\n";
    EXPECT_TRUE(w.poll());
    EXPECT_FALSE(w.poll());
    ASSERT_EQ(w.splats().size(), 1u);
    EXPECT_EQ(w.splats()[0].line, "Kernel panic - not syncing: y");
    std::filesystem::remove(path);
    std::filesystem::remove(path + ".0");
}

TEST(ConsoleWatcher, TakesAFloodInPortions) {
    const std::string path = testing::TempDir() + "/vttm-console-flood-" + std::to_string(::getpid());
    std::ofstream(path) << std::string(ConsoleWatcher::kMaxPerPoll + 4096, '\n');
    ConsoleWatcher w(path);
    EXPECT_TRUE(w.poll());
    EXPECT_LE(w.bytes_seen(), ConsoleWatcher::kMaxPerPoll + 65536);
    EXPECT_TRUE(w.poll());
    EXPECT_EQ(w.bytes_seen(), ConsoleWatcher::kMaxPerPoll + 4096);
    EXPECT_FALSE(w.poll());
    std::filesystem::remove(path);
}

TEST(ConsoleWatcher, FollowsAGrowingFileThatComesLate) {
    const std::string path = testing::TempDir() + "/vttm-console-" + std::to_string(::getpid());
    ConsoleWatcher w(path);
    EXPECT_FALSE(w.poll());
    std::ofstream file(path);
    file << "[    1.0] hello\n[    2.0] Kernel pa" << std::flush;
    EXPECT_TRUE(w.poll());
    EXPECT_FALSE(w.poll());
    EXPECT_TRUE(w.splats().empty());
    file << "nic - not syncing: y\n" << std::flush;
    EXPECT_TRUE(w.poll());
    EXPECT_EQ(w.splats().size(), 1u);
    std::filesystem::remove(path);
}

}  // namespace
}  // namespace vttm::machine
