// SPDX-License-Identifier: Apache-2.0
// images/lib/cache.sh and hash.sh: entries are complete or absent, built once, keyed by content.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/setup/shell.h"
#include "tests/unit/setup/tiny_disk.h"

namespace vttm::setup_test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using FullDisk = OnTinyDisk;

constexpr char kMake[] = R"(make() { echo run >>"$SANDBOX/runs"; echo "noise of the build"; sleep "${2:-0}"; echo product >"$1/file"; }
)";

TEST(Cache, BuildsOnceThenFindsIt) {
    Sandbox box;
    const std::string script = std::string(kMake) + "cache_build kind key make";
    const Outcome first = box.run(script), second = box.run(script);
    EXPECT_EQ(first.status, 0) << first.err;
    EXPECT_EQ(first.out, (box.cache() / "kind/key").string() + "\n") << "stdout holds the product only";
    EXPECT_EQ(second.out, first.out);
    EXPECT_EQ(box.read("runs"), "run\n");
    EXPECT_EQ(box.read("cache/kind/key/file"), "product\n");
    EXPECT_THAT(box.leftovers(), IsEmpty());
}

TEST(Cache, LookupOfAnAbsentEntryFailsAndPrintsNothing) {
    Sandbox box;
    const Outcome o = box.run("cache_lookup kind key");
    EXPECT_EQ(o.status, 1);
    EXPECT_EQ(o.out, "");
}

TEST(Cache, TwoBuildersOfOneKeyRunItOnce) {
    Sandbox box;
    const std::string script = std::string(kMake) + "cache_build kind key make 1";
    Process a = box.start(script), b = box.start(script), c = box.start(script);
    const Outcome oa = a.wait(), ob = b.wait(), oc = c.wait();
    EXPECT_EQ(oa.status, 0) << oa.err;
    EXPECT_EQ(ob.status, 0) << ob.err;
    EXPECT_EQ(oc.status, 0) << oc.err;
    EXPECT_EQ(oa.out, ob.out);
    EXPECT_EQ(box.read("runs"), "run\n");
    EXPECT_THAT(box.leftovers(), IsEmpty());
}

TEST(Cache, BuildersOfTwoKeysDoNotWaitForEachOther) {
    Sandbox box;
    // Each waits for the other to have begun: one after the other, neither would end.
    const char* script = R"(
        meet() { : >"$SANDBOX/$2"; n=0; while [ ! -e "$SANDBOX/$3" ]; do n=$((n + 1)); [ $n -lt 100 ] || return 9; sleep 0.1; done; }
        )";
    Process a = box.start(std::string(script) + "cache_build kind a meet a b");
    Process b = box.start(std::string(script) + "cache_build kind b meet b a");
    EXPECT_EQ(a.wait().status, 0);
    EXPECT_EQ(b.wait().status, 0);
}

TEST(Cache, AFailedBuildGivesItsStatusAndNoEntry) {
    Sandbox box;
    const Outcome o = box.run(R"(fail() { echo half >"$1/file"; return 14; }
        cache_build kind key fail)");
    EXPECT_EQ(o.status, 14);
    EXPECT_EQ(o.out, "");
    EXPECT_FALSE(fs::exists(box.cache() / "kind/key"));
    EXPECT_THAT(box.leftovers(), IsEmpty());
}

TEST(Cache, TheCodeOfVttmDieReachesTheCaller) {
    Sandbox box;
    const Outcome o = box.run(R"(fail() { vttm_die 13 "patch 3 does not apply" /log "rebase it"; }
        dir=$(cache_build kind key fail) || exit $?)");
    EXPECT_EQ(o.status, 13);
    EXPECT_THAT(o.err, HasSubstr("patch 3 does not apply"));
    EXPECT_THAT(o.err, HasSubstr("where: /log"));
    EXPECT_THAT(o.err, HasSubstr("to do: rebase it"));
}

TEST(Cache, SweepDeletesWhatKilledRunsLeftAndSparesARunningOne) {
    Sandbox box;
    box.write("cache/tmp/kind-dead.abcdef/file", "x");
    box.write("cache/locks/kind-dead", "");
    Process running = box.start(std::string(kMake) + "cache_build kind live make 3");
    ASSERT_TRUE(box.wait_for("runs"));
    EXPECT_EQ(box.run("cache_sweep").status, 0);
    EXPECT_FALSE(fs::exists(box.cache() / "tmp/kind-dead.abcdef"));
    EXPECT_FALSE(fs::exists(box.cache() / "locks/kind-dead"));
    EXPECT_EQ(running.wait().status, 0);
}

TEST(Cache, CleanDeletesNothingButItsOwn) {
    Sandbox box;
    box.write("cache/letters/mine", "x");
    box.write("cache/kernel-base/k/bzImage", "x");
    EXPECT_EQ(box.run("cache_clean").status, 0);
    EXPECT_TRUE(fs::exists(box.cache() / "letters/mine"));
    EXPECT_FALSE(fs::exists(box.cache() / "kernel-base"));
}

TEST_F(FullDisk, IsNamedAndNothingStays) {
    const Outcome o = on_tiny_disk(box, R"(
        fill() { head -c 9000000 /dev/zero >"$1/file"; }
        status=0
        cache_build kind key fill || status=$?
        ls -A "$VTTM_CACHE/tmp" "$VTTM_CACHE/kind" >"$SANDBOX/listing"
        exit $status)");
    EXPECT_EQ(o.status, 12);
    EXPECT_THAT(o.err, HasSubstr("the disk is full"));
    EXPECT_THAT(o.err, HasSubstr("VTTM_CACHE"));
    EXPECT_THAT(box.read("listing"), ::testing::Not(HasSubstr("key")));
}

TEST_F(FullDisk, IsRecognisedBehindAStepEvenIfItsFileIsGoneAgain) {
    // As compilers do: the tool deletes its half-written output, so the disk is no longer full.
    const Outcome o = on_tiny_disk(box, R"(
        compile() { head -c 9000000 /dev/zero >"$VTTM_CACHE/o" || { rm "$VTTM_CACHE/o"; return 1; }; }
        build() { vttm_step "compile" "$SANDBOX/log/x.log" compile || vttm_die 14 "does not build" "" ""; }
        cache_build kind key build)");
    EXPECT_EQ(o.status, 12);
    EXPECT_THAT(o.err, HasSubstr("the disk is full"));
}

TEST_F(FullDisk, IsRecognisedWhenTheLogItselfHasNoRoom) {
    const Outcome o = on_tiny_disk(box, R"(
        fill() { head -c 9000000 /dev/zero >"$VTTM_CACHE/o"; }
        vttm_step "fill" "$VTTM_CACHE/log/x.log" fill)");
    EXPECT_EQ(o.status, 12);
    EXPECT_THAT(o.err, HasSubstr("the disk is full"));
    const Outcome again = on_tiny_disk(box, R"(
        head -c 9000000 /dev/zero >"$VTTM_CACHE/o" 2>/dev/null || :
        vttm_step "any" "$VTTM_CACHE/log/x.log" true)");
    EXPECT_EQ(again.status, 12);
    EXPECT_THAT(again.err, HasSubstr("cannot write the log"));
}

TEST_F(FullDisk, IsSeenBeforeWorkStarts) {
    const Outcome o = on_tiny_disk(box, R"(. "$VTTM_ROOT/images/lib/host.sh"; host_check_disk)");
    EXPECT_EQ(o.status, 12);
    EXPECT_THAT(o.err, HasSubstr("too little disk"));
}

TEST(Hash, DependsOnContentAndNameButNotOnPlaceOrOrder) {
    Sandbox box;
    for (const char* tree : {"a", "b"}) {
        box.write(fmt::format("{}/images/lib/common.sh", tree), "");
        box.write(fmt::format("{}/x/one", tree), "1");
        box.write(fmt::format("{}/x/two", tree), "2");
    }
    auto hash = [&](const std::string& tree, const std::string& files) {
        return box.run(fmt::format(R"(VTTM_ROOT="$SANDBOX/{}"; cd "$VTTM_ROOT"; vttm_hash_files {})", tree, files)).out;
    };
    const std::string all = hash("a", "$VTTM_ROOT/x");
    EXPECT_EQ(all.size(), 17u) << "16 digits and a newline";
    EXPECT_EQ(hash("b", "$VTTM_ROOT/x"), all);
    EXPECT_EQ(hash("a", "$VTTM_ROOT/x/two $VTTM_ROOT/x/one"), all);
    box.write("a/x/two", "3");
    EXPECT_NE(hash("a", "$VTTM_ROOT/x"), all);
    box.write("a/x/two", "2");
    fs::rename(box.path("a/x/two"), box.path("a/x/three"));
    EXPECT_NE(hash("a", "$VTTM_ROOT/x"), all);
}

TEST(Hash, AMissingFileIsAnErrorNotAHash) {
    Sandbox box;
    const Outcome o = box.run("vttm_hash_files /no/such/file");
    EXPECT_NE(o.status, 0);
    EXPECT_EQ(o.out, "");
}

}  // namespace
}  // namespace vttm::setup_test
