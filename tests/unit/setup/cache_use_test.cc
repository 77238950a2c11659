// SPDX-License-Identifier: Apache-2.0
// Who uses the cache, and what may be deleted from it meanwhile; no lock outlives the run that took it.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/unit/setup/shell.h"

namespace vttm::setup_test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

// A tree of its own: `clean` deletes the build folder of the tree it is called in.
class CacheUse : public ::testing::Test {
   protected:
    void SetUp() override {
        ASSERT_EQ(box.run(R"(mkdir "$SANDBOX/tree"; cp -R "$VTTM_ROOT/images" "$VTTM_ROOT/vttm" "$SANDBOX/tree")").status, 0);
        box.write("tree/build/file", "x");
    }
    Outcome clean(const std::string& options) { return box.run("\"$SANDBOX/tree/vttm\" clean " + options); }
    bool there(const std::string& name) { return fs::exists(box.path(name)); }
    Sandbox box;
};

TEST_F(CacheUse, CleanIsRefusedWhileSomethingIsBuilt) {
    Process build = box.start(R"(make() { : >"$1/file"; echo x >"$SANDBOX/at-work"; sleep 5; }
        cache_build kind key make)");
    ASSERT_TRUE(box.wait_for("at-work"));
    for (const char* option : {"--cache", "--old=0"}) {
        const Outcome o = clean(option);
        EXPECT_EQ(o.status, 6) << o.err;
        EXPECT_THAT(o.err, HasSubstr("is in use, by process"));
        EXPECT_THAT(o.err, HasSubstr("nothing was deleted"));
    }
    EXPECT_TRUE(there("tree/build/file")) << "refused as a whole";
    EXPECT_EQ(build.wait().status, 0);
    EXPECT_TRUE(there("cache/kind/key/file"));
    EXPECT_EQ(clean("--cache").status, 0);
    EXPECT_FALSE(there("tree/build"));
}

TEST_F(CacheUse, AUserWaitsForOneThatCleans) {
    box.write("cache/in-use", "");
    Process cleaner = box.start(R"(cache_own; echo x >"$SANDBOX/owned"; sleep 1; echo cleaned >>"$SANDBOX/order"; rm -rf "$VTTM_CACHE")");
    ASSERT_TRUE(box.wait_for("owned"));
    const Outcome o = box.run(R"(make() { echo built >>"$SANDBOX/order"; }
        cache_build kind key make)");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(cleaner.wait().status, 0);
    EXPECT_EQ(box.read("order"), "cleaned\nbuilt\n");
    EXPECT_TRUE(there("cache/kind/key"));
}

TEST_F(CacheUse, CleanSparesATreeThatARunUses) {
    Process run = box.start(R"(command exec 5>>"$SANDBOX/tree/build/in-use"; flock -s 5; echo x >"$SANDBOX/held"; exec sleep 5)");
    ASSERT_TRUE(box.wait_for("held"));
    const Outcome o = clean("");
    EXPECT_EQ(o.status, 6);
    EXPECT_THAT(o.err, HasSubstr(fmt::format("is in use, by process {};", run.pid())));
    EXPECT_TRUE(there("tree/build/file"));
}

TEST_F(CacheUse, CleanOldDeletesWhatNobodyNeededForThatLong) {
    for (const char* name : {"kernel-base/old/f", "kernel-base/young/f", "kernel-base/mine/f", "qemu/old/f", "downloads/old", "letters/old"})
        box.write(std::string("cache/") + name, "x");
    box.write("tree/build/vm/cache-entries", box.path("cache/kernel-base/mine").string() + "\n");
    ASSERT_EQ(box.run(R"(cd "$VTTM_CACHE"; touch -d '31 days ago' kernel-base/old kernel-base/mine qemu/old downloads/old letters/old
        touch -d '29 days ago' kernel-base/young)").status, 0);
    const Outcome o = clean("--old");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_THAT(o.err, HasSubstr("deleted 3 entries"));
    EXPECT_FALSE(there("cache/kernel-base/old"));
    EXPECT_FALSE(there("cache/qemu/old"));
    EXPECT_FALSE(there("cache/downloads/old"));
    EXPECT_TRUE(there("cache/kernel-base/young"));
    EXPECT_TRUE(there("cache/kernel-base/mine")) << "this tree was built with it";
    EXPECT_TRUE(there("cache/letters/old")) << "not vttm's";
    EXPECT_TRUE(there("tree/build/file"));
    EXPECT_EQ(clean("--old=soon").status, 2);
    EXPECT_EQ(clean("--olf").status, 2);
}

TEST_F(CacheUse, AnEntryThatIsLookedUpIsYoungAgain) {
    box.write("cache/qemu/k/f", "x");
    ASSERT_EQ(box.run(R"(touch -d '31 days ago' "$VTTM_CACHE/qemu/k"; cache_lookup qemu k)").status, 0);
    EXPECT_EQ(clean("--old").status, 0);
    EXPECT_TRUE(there("cache/qemu/k"));
}

TEST_F(CacheUse, DisksOfKilledRunsAreSweptOthersStay) {
    for (const char* run : {"stale1", "young1", "opened", "wanted"}) box.write(fmt::format("cache/tmp/vttm-run-{}/swap", run), "x");
    ASSERT_EQ(box.run(R"(cd "$VTTM_CACHE/tmp"; touch -d '1 hour ago' vttm-run-stale1 vttm-run-opened
                         : >vttm-run-wanted/kept; touch -d '1 hour ago' vttm-run-wanted)").status, 0);
    Process run = box.start(R"(exec 4<"$VTTM_CACHE/tmp/vttm-run-opened/swap"; echo x >"$SANDBOX/open"; sleep 20)");
    ASSERT_TRUE(box.wait_for("open"));
    {
        Process user = box.start(R"(cache_init; cache_hold; echo x >"$SANDBOX/held"; sleep 20)");
        ASSERT_TRUE(box.wait_for("held"));
        EXPECT_EQ(box.run("cache_sweep_runs").status, 0);
        EXPECT_TRUE(there("cache/tmp/vttm-run-stale1")) << "somebody uses the cache";
    }
    EXPECT_EQ(box.run("cache_sweep_runs").status, 0);
    EXPECT_FALSE(there("cache/tmp/vttm-run-stale1"));
    EXPECT_TRUE(there("cache/tmp/vttm-run-young1"));
    EXPECT_TRUE(there("cache/tmp/vttm-run-opened"));
    EXPECT_TRUE(there("cache/tmp/vttm-run-wanted")) << "--keep";
}

// A build that leaves a process behind (a compile server, an agent): it must hold no lock of ours.
class Daemon : public CacheUse {
   protected:
    static constexpr char kLeaves[] = R"(
        leave() { setsid sleep 30 >/dev/null 2>&1 & echo $! >"$SANDBOX/daemon"; }
    )";
    std::string held() {
        return box.run(R"(find "/proc/$(cat "$SANDBOX/daemon")/fd" -lname "$SANDBOX/*" -printf '%l\n')").out;
    }
    void TearDown() override { box.run(R"sh([ ! -s "$SANDBOX/daemon" ] || kill "$(cat "$SANDBOX/daemon")")sh"); }
};

TEST_F(Daemon, OfAStageHoldsNoLock) {
    const Outcome o = box.run(std::string(kLeaves) + R"(
        . "$VTTM_ROOT/images/lib/setup.sh"
        stage= build=$SANDBOX/tree/build
        command exec 5>>"$build/in-use" 7>>"$build/setup.lock"
        cache_init; cache_hold
        setup_stage /dev/null leave)");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(held(), "");
}

TEST_F(Daemon, OfAStepUnderTheLockOfAptHoldsNone) {
    const Outcome o = box.run(std::string(kLeaves) + R"(
        (command exec 8>>"$SANDBOX/lock"; flock 8; vttm_step leave "$SANDBOX/log/x.log" leave))");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(held(), "");
}

TEST_F(Daemon, OfAFailedBuildDoesNotBlockTheNext) {
    EXPECT_EQ(box.run(std::string(kLeaves) + "fail() { leave; return 14; }\ncache_build kind key fail").status, 14);
    const Outcome o = box.run("make() { :; }\ntimeout 5 true; cache_build kind key make");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_THAT(o.err, Not(HasSubstr("waiting")));
}

TEST_F(CacheUse, DoctorLeavesTheCacheAlone) {
    box.write("tree/build/vm/qemu-system-x86_64", "#!/bin/sh\nexit 85\n");
    const Outcome o = box.run(R"(
        chmod +x "$SANDBOX/tree/build/vm/qemu-system-x86_64"
        build=$SANDBOX/tree/build
        for part in packages host kvm setup doctor; do . "$VTTM_ROOT/images/lib/$part.sh"; done
        _doctor_network() { :; }
        doctor)");
    EXPECT_THAT(o.out, HasSubstr("KVM")) << o.err;
    EXPECT_FALSE(there("cache"));
}

TEST_F(CacheUse, ACacheThatCannotBeWrittenIsExitCode12) {
    box.write("cache", "a file, no folder");
    EXPECT_EQ(box.run("make() { :; }\ncache_build kind key make").status, 12);
    fs::remove(box.path("cache"));
    fs::create_directories(box.path("cache/in-use"));
    EXPECT_EQ(box.run("make() { :; }\ncache_build kind key make").status, 12) << "a lock that cannot be opened";
}

// What the key of a kernel covers.
TEST_F(CacheUse, TheKernelsKeyCoversItsRecipeButNotTheOtherVersions) {
    fs::create_directories(box.path("tree/guest-driver"));
    ASSERT_EQ(box.run(R"(cp -R "$VTTM_ROOT/guest-driver/patches" "$SANDBOX/tree/guest-driver")").status, 0);
    auto key = [&](const std::string& change) {
        const Outcome o = box.run(change + "\n\"$SANDBOX/tree/images/kernel/build.sh\" --print-key");
        EXPECT_EQ(o.status, 0) << o.err;
        return o.out;
    };
    const std::string first = key(":");
    EXPECT_EQ(key("cd \"$SANDBOX/tree/images/kernel\"; sed -i \"s/^7.3~rc7.*/'/\" sources.sh"), first);
    const std::string second = key("echo '# x' >>\"$SANDBOX/tree/images/kernel/build.sh\"");
    EXPECT_NE(second, first);
    const std::string third = key("echo '# x' >>\"$SANDBOX/tree/images/kernel/recipe.sh\"");
    EXPECT_NE(third, second);
    EXPECT_NE(key("echo '# x' >>\"$SANDBOX/tree/images/kernel/config/base.config\""), third);
}

}  // namespace
}  // namespace vttm::setup_test
