// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/splat_rules.h"

#include <gtest/gtest.h>

#include <utility>

namespace vttm::machine {
namespace {

using Kind = SplatKind;

class Telling : public testing::TestWithParam<std::pair<const char*, Kind>> {};

TEST_P(Telling, IsClassified) {
    const auto [line, kind] = GetParam();
    const auto found = classify_line(line);
    ASSERT_TRUE(found.has_value()) << line;
    EXPECT_EQ(splat_name(*found), splat_name(kind)) << line;
}

// Lines as kernels print them, with and without time stamp, caller and carriage return.
INSTANTIATE_TEST_SUITE_P(
    Lines, Telling,
    testing::Values(
        std::pair{"[    2.345678] Kernel panic - not syncing: sysrq triggered crash\r", Kind::kPanic},
        std::pair{"[    1.2] Kernel panic - not syncing: No working init found.", Kind::kPanic},
        std::pair{"[   12.345678][    T1] Kernel panic - not syncing: Fatal exception", Kind::kPanic},
        std::pair{"[    9.1] Kernel panic - not syncing: System is deadlocked on memory",
                  Kind::kPanic},
        std::pair{"traps: PANIC: double fault, error_code: 0x0", Kind::kPanic},
        std::pair{"[   3.1] BUG: kernel NULL pointer dereference, address: 0000000000000008",
                  Kind::kOops},
        std::pair{"BUG: unable to handle page fault for address: ffffc90000123000", Kind::kOops},
        std::pair{"Oops: Oops: 0002 [#1] SMP NOPTI", Kind::kOops},
        std::pair{"Oops: general protection fault, probably for non-canonical address "
                  "0xdead000000000122: 0000 [#1] SMP NOPTI",
                  Kind::kOops},
        std::pair{"general protection fault, probably for non-canonical address 0xdead000000000122: "
                  "0000 [#1] PREEMPT SMP",
                  Kind::kOops},
        std::pair{"invalid opcode: 0000 [#1] PREEMPT SMP", Kind::kOops},
        std::pair{"divide error: 0000 [#2] SMP", Kind::kOops},
        std::pair{"[   77.001] kernel BUG at mm/swap_state.c:123!", Kind::kOops},
        std::pair{"kernel tried to execute NX-protected page - exploit attempt? (uid: 0)",
                  Kind::kOops},
        std::pair{"BUG: Bad page state in process vttm-agent  pfn:12345", Kind::kBug},
        std::pair{"BUG: Bad rss-counter state mm:00000000 type:MM_ANONPAGES val:1", Kind::kBug},
        std::pair{"BUG: sleeping function called from invalid context at mm/vmalloc.c:42", Kind::kBug},
        std::pair{"BUG: scheduling while atomic: kswapd0/37/0x00000002", Kind::kBug},
        std::pair{"BUG kmalloc-64 (Not tainted): Right Redzone overwritten", Kind::kBug},
        std::pair{"list_del corruption. prev->next should be ffff88800, but was dead", Kind::kBug},
        std::pair{"refcount_t: underflow; use-after-free.", Kind::kBug},
        std::pair{"pagealloc: memory corruption", Kind::kBug},
        std::pair{"[   12.1] pagealloc: single bit error", Kind::kBug},
        std::pair{"ODEBUG: free active (active state 0) object: ffff888001 object type: work_struct "
                  "hint: vttm_tdr+0x0/0x80 [vttm]",
                  Kind::kBug},
        std::pair{"DMA-API: vttm 0000:00:10.0: device driver frees DMA memory with different size",
                  Kind::kBug},
        std::pair{"DMA-API: debugging out of memory - disabling", Kind::kBug},
        std::pair{"[   4.2] swap_dup_entries: Bad swap file entry 300000000001", Kind::kBug},
        std::pair{"get_swap_device: Bad swap offset entry 00000008", Kind::kBug},
        std::pair{"BUG: using smp_processor_id() in preemptible [00000000] code: vttm-agent/70",
                  Kind::kBug},
        std::pair{"BUG: sleeping function called from invalid context at include/linux/sched/mm.h:318",
                  Kind::kBug},
        std::pair{"WARNING: CPU: 0 PID: 37 at drivers/gpu/drm/ttm/ttm_bo.c:289 ttm_bo_release+0x1/0x2",
                  Kind::kWarning},
        std::pair{"WARNING: mm/page_alloc.c:1234 at free_pages+0x10/0x40, CPU#0: kswapd0/37",
                  Kind::kWarning},
        std::pair{"[   5.5] [   T37] BUG: KASAN: slab-use-after-free in shmem_fault+0x1/0x2",
                  Kind::kSanitizer},
        std::pair{"BUG: KFENCE: out-of-bounds read in test+0x1/0x2", Kind::kSanitizer},
        std::pair{"UBSAN: array-index-out-of-bounds in mm/swapfile.c:449:12", Kind::kSanitizer},
        std::pair{"kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)", Kind::kNote},
        std::pair{"kmemleak: Cannot allocate a kmemleak_object structure", Kind::kNote},
        std::pair{"WARNING: Nested lock was not taken", Kind::kLockdep},
        std::pair{"WARNING: lock held when returning to user space!", Kind::kLockdep},
        std::pair{"WARNING: bad contention detected!", Kind::kLockdep},
        std::pair{"WARNING: held lock freed!", Kind::kLockdep},
        std::pair{"[ BUG: Invalid wait context ]", Kind::kLockdep},
        std::pair{"[    3.1] DEBUG_LOCKS_WARN_ON(lock->magic != lock)", Kind::kLockdep},
        std::pair{"WARNING: possible circular locking dependency detected", Kind::kLockdep},
        std::pair{"WARNING: possible recursive locking detected", Kind::kLockdep},
        std::pair{"WARNING: inconsistent lock state", Kind::kLockdep},
        std::pair{"WARNING: bad unlock balance detected!", Kind::kLockdep},
        std::pair{"WARNING: suspicious RCU usage", Kind::kLockdep},
        std::pair{"WARNING: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected", Kind::kLockdep},
        std::pair{"WARNING: RECLAIM_FS-safe -> RECLAIM_FS-unsafe lock order detected",
                  Kind::kLockdep},
        std::pair{"WARNING: vttm-agent/77 still has locks held!", Kind::kLockdep},
        std::pair{"BUG: MAX_LOCKDEP_CHAINS too low!", Kind::kLockdep},
        std::pair{"INFO: trying to register non-static key.", Kind::kLockdep},
        std::pair{"INFO: task vttm-agent:77 blocked for more than 120 seconds.", Kind::kLockup},
        std::pair{"INFO: task kworker/u4:1:33 blocked in I/O wait for more than 122 seconds.",
                  Kind::kLockup},
        std::pair{"watchdog: BUG: soft lockup - CPU#0 stuck for 23s! [vttm-agent:77]", Kind::kLockup},
        std::pair{"watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 0", Kind::kLockup},
        std::pair{"NMI watchdog: Watchdog detected hard LOCKUP on cpu 0", Kind::kLockup},
        std::pair{"rcu: INFO: rcu_sched self-detected stall on CPU", Kind::kLockup},
        std::pair{"rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:", Kind::kLockup},
        std::pair{"rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 0-... }",
                  Kind::kLockup},
        std::pair{"rcu: rcu_sched kthread starved for 21003 jiffies! g-1099 f0x2 RCU_GP_WAIT_FQS(5)",
                  Kind::kLockup},
        std::pair{"BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!",
                  Kind::kLockup},
        std::pair{"vttm-init: agent exited 139", Kind::kAgentExited},
        std::pair{"vttm-init: fatal: vttm.ko does not load", Kind::kAgentExited},
        std::pair{"[  40.1] Out of memory: Killed process 99 (vttm-hog) total-vm:1024kB, "
                  "anon-rss:512kB",
                  Kind::kOomKill},
        std::pair{"Memory cgroup out of memory: Killed process 99 (vttm-hog) total-vm:1kB",
                  Kind::kOomKill},
        std::pair{"Write-error on swap-device (254:0:8192)", Kind::kNote},
        std::pair{"vttm-agent: page allocation failure: order:9, mode:0x40dc0", Kind::kNote},
        std::pair{"vttm-agent[77]: segfault at 0 ip 0000000000401000 sp 00007ffc error 4",
                  Kind::kNote}));

class Harmless : public testing::TestWithParam<const char*> {};

TEST_P(Harmless, IsNoSplat) { EXPECT_FALSE(classify_line(GetParam()).has_value()) << GetParam(); }

INSTANTIATE_TEST_SUITE_P(
    Lines, Harmless,
    testing::Values(
        "", "\r", "[    0.000000] Linux version 7.3.4-vttm-base (gcc 12.2.0) #1 SMP",
        "[    0.0] Command line: console=ttyS0 panic=-1 oops=panic vttm.mode=agent",
        "[    0.1] MDS CPU bug present and SMT on, data leak possible.",
        "[    0.1] Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
        "[    0.2] ACPI BIOS Error (bug): Could not resolve symbol",
        "[    0.3] [Firmware Bug]: TSC doesn't count with P0 frequency!",
        "[    0.4] Warning: unable to open an initial console.",
        "[    1.0] rcu: Hierarchical RCU implementation.",
        "[    1.0] rcu: \tRCU calculated value of scheduler-enlistment delay is 25 jiffies.",
        "[    1.0] NMI watchdog: Perf NMI watchdog permanently disabled",
        "[    1.1] Lock dependency validator: Copyright (c) 2006 Red Hat, Inc.",
        "[    0.6] kmemleak: Kernel memory leak detector initialized (mem pool available: 14816)",
        "[    0.6] ODEBUG-like text in a message: ODEBUG: selftest passed",
        "[    0.7] DMA-API: preallocated 65536 debug entries",
        "[    0.7] DMA-API: debugging enabled by kernel config",
        "[    0.8] page_poison: poisoning is on",
        "[    1.2] kasan: KernelAddressSanitizer initialized (generic)",
        "[    1.3] clocksource: Watchdog clocksource hpet",
        "[    1.4] vttm-init: ready", "vttm-init: swap on /dev/vda with discard",
        "[   10.0] vttm-hog invoked oom-killer: gfp_mask=0x140cca, order=0, oom_score_adj=1000",
        "[   10.0] oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),task=vttm-hog,pid=99",
        "[   10.0] oom_reaper: reaped process 99 (vttm-hog), now anon-rss:0kB",
        "[   11.0] INFO: lockdep is turned off.", "    # ttm_bo_reserve_deadlock: pass:1 fail:0",
        "ok 7 ttm_pool_alloc_basic  BUG: this is a test's name", "# BUG:", "debug: WARNING: x"));

TEST(SplatRules, OnlyRealSplatsEndARun) {
    for (const Kind kind : {Kind::kPanic, Kind::kOops, Kind::kBug, Kind::kWarning, Kind::kSanitizer,
                            Kind::kLockdep, Kind::kLockup, Kind::kAgentExited})
        EXPECT_TRUE(is_splat(kind)) << splat_name(kind);
    EXPECT_FALSE(is_splat(Kind::kOomKill));
    EXPECT_FALSE(is_splat(Kind::kNote));
    EXPECT_TRUE(is_fatal_at_boot(Kind::kPanic));
    EXPECT_FALSE(is_fatal_at_boot(Kind::kWarning));
}

TEST(SplatRules, PrefixIsStripped) {
    EXPECT_EQ(strip_prefix("[    1.234567] hello\r"), "hello");
    EXPECT_EQ(strip_prefix("<4>[    1.234567][   C0] hello"), "hello");
    EXPECT_EQ(strip_prefix("[drm] hello"), "[drm] hello");
    EXPECT_EQ(strip_prefix("[]"), "[]");
    EXPECT_EQ(strip_prefix("["), "[");
}

}  // namespace
}  // namespace vttm::machine
