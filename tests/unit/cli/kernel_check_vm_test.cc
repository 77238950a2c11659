// SPDX-License-Identifier: Apache-2.0
// Each assertion of the kernel variant at hand is tripped on purpose, in a guest of its own (by LKDTM, and the kernel's
// sample of leaks): the run must end with a fault that names it. Without this, a variant whose assertions are off,
// or whose words we do not know, would pass everything.
#include <gmock/gmock.h>

#include "host-backend/cli/guest_exec.h"
#include "host-backend/cli/kernel_check.h"
#include "tests/unit/machine/vm_fixture.h"

namespace vttm::cli {
namespace {

using machine::GuestPanic;
using machine::Machine;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

struct Plant {
    const char* crash;  // of LKDTM
    const char* told;   // what the error must say
};

std::vector<Plant> plants_for(const machine::Variant& variant) {
    std::vector<Plant> plants = {{"WARNING", "kernel WARNING"}};
    if (variant.lockdep) {  // made of debug.config
        plants.push_back({"CORRUPT_LIST_ADD", "list_add corruption"});
        plants.push_back({"SPINLOCKUP", "lock held when returning|scheduling while atomic|Invalid wait context"});
    }
    if (variant.kasan)
        plants.push_back({"READ_AFTER_FREE", "KASAN: slab-use-after-free"});
    else if (variant.lockdep)
        plants.push_back({"WRITE_BUDDY_AFTER_FREE", "pagealloc: memory corruption"});
    return plants;
}

class KernelCheckVm : public machine::test::VmTest {
protected:
    const machine::Variant& variant() const { return machine::variant_named(config.variant); }
    GuestRun shell(Machine& m, const std::string& script) {
        return guest_exec(m, {"/bin/busybox", "sh", "-c", script},
                          variant().scaled(std::chrono::seconds(30)));
    }
    void crash(Machine& m, const std::string& type) {
        shell(m, "echo " + type + " >/sys/kernel/debug/provoke-crash/DIRECT");
        m.agent().idle(std::chrono::seconds(2));
        m.check();
    }
    Progress progress_{true};
};

TEST_F(KernelCheckVm, AHealthyGuestPasses) {
    Machine m(config);
    m.start();
    EXPECT_NO_THROW(check_kernel(m, variant(), progress_));
    m.stop(std::chrono::seconds(5));
}

TEST_F(KernelCheckVm, EachAssertionEndsTheRun) {
    for (const Plant& plant : plants_for(variant())) {
        SCOPED_TRACE(plant.crash);
        Machine m(config);
        m.start();
        const auto e = expect_error<GuestPanic>([&] { crash(m, plant.crash); });
        EXPECT_THAT(e.what(), ContainsRegex(plant.told));
    }
}

TEST_F(KernelCheckVm, ALeakOfOursEndsTheRun) {
    if (!variant().kmemleak) return;  // nothing is claimed there
    Machine m(config);
    m.start();
    ASSERT_EQ(shell(m, "modprobe kmemleak-test").status, 0);
    const auto e = expect_error<machine::Leak>([&] { check_kernel(m, variant(), progress_); });
    EXPECT_THAT(e.what(), HasSubstr("leaks memory of ours"));
    EXPECT_THAT(e.what(), HasSubstr("[kmemleak_test]"));
}

TEST_F(KernelCheckVm, AKmemleakThatIsOffIsNotTakenForNoLeaks) {
    if (!variant().kmemleak) return;
    Machine m(config);
    m.start();
    ASSERT_EQ(shell(m, "echo off >/sys/kernel/debug/kmemleak").status, 0);
    const auto e = expect_error<machine::Inconclusive>([&] { check_kernel(m, variant(), progress_); });
    EXPECT_THAT(e.what(), HasSubstr("leak detector does not work any more"));
}

TEST_F(KernelCheckVm, WhatKmemleakFoundBeforeItWasOffIsALeak) {
    if (!variant().kmemleak) return;
    Machine m(config);
    m.start();
    ASSERT_EQ(shell(m, "modprobe kmemleak-test; f=/sys/kernel/debug/kmemleak; "
                       "echo scan >$f; sleep 6; echo scan >$f; echo off >$f").status, 0);
    const auto e = expect_error<machine::Leak>([&] { check_kernel(m, variant(), progress_); });
    EXPECT_THAT(e.what(), HasSubstr("[kmemleak_test]"));
    EXPECT_THAT(e.what(), HasSubstr("does not work any more"));
}

TEST_F(KernelCheckVm, ALockdepThatIsOffIsNotTakenForSilence) {
    if (!variant().lockdep) return;
    Machine m(config);
    m.start();
    m.tolerate_splats(true);  // as if its report had been overlooked
    crash(m, "SPINLOCKUP");
    const auto e = expect_error<GuestPanic>([&] { check_kernel(m, variant(), progress_); });
    EXPECT_THAT(e.what(), HasSubstr("lockdep switched itself off"));
}

}  // namespace
}  // namespace vttm::cli
