// SPDX-License-Identifier: Apache-2.0
// Where kernel and QEMU come from, and what becomes of a tree that our patches or hooks do not fit.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/setup/shell.h"

namespace vttm::setup_test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

std::string sha256(const Sandbox& box, const std::string& text) {
    box.write("to-hash", text);
    return box.run("sha256sum <\"$SANDBOX/to-hash\" | cut -d ' ' -f 1 | tr -d '\\n'").out;
}

TEST(Sources, TheSecondPinnedKernelIsTakenWhenTheFirstIsGone) {
    Sandbox box;
    box.write("m/pool/main/l/linux/linux-source-2_2~rc_all.deb", "second\n");
    box.set("VTTM_MIRRORS=copy:" + box.path("m").string());
    const Outcome o = box.run(fmt::format(R"sh(
        . "$VTTM_ROOT/images/kernel/sources.sh"
        kernel_pins='1|any|linux-source-1|{0}|
2~rc|any|linux-source-2|{0}|'
        fetch_kernel
        echo "$package" "$(kernel_field "$pin" 1)")sh", sha256(box, "second\n")));
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(o.out, (box.cache() / "downloads/linux-source-2_2~rc_all.deb").string() + " 2~rc\n");
    EXPECT_THAT(o.err, HasSubstr("Linux 1 cannot be had; trying the next pinned version"));
    EXPECT_THAT(o.err, Not(HasSubstr("error:"))) << "a fallback that serves is no error";
}

TEST(Sources, NoPinnedKernelIsExitCode11AndNamesAllThatWouldDo) {
    Sandbox box;
    const Outcome o = box.run(R"(. "$VTTM_ROOT/images/kernel/sources.sh"; fetch_kernel)");
    EXPECT_EQ(o.status, 11);
    EXPECT_THAT(o.err, HasSubstr("linux-source-7.3_7.3.4-1~bpo13+1_all.deb or linux-source-7.3_7.3~rc7-1~exp1_all.deb"));
    EXPECT_THAT(o.err, HasSubstr("--linux-source"));
}

TEST(Sources, TheSecondPinnedQemuIsTakenWhenTheFirstIsGone) {
    Sandbox box;
    box.write("m/pool/main/q/qemu/qemu_2.orig.tar.xz", "second\n");
    box.set("VTTM_MIRRORS=copy:" + box.path("m").string());
    const Outcome o = box.run(fmt::format(R"sh(
        . "$VTTM_ROOT/images/qemu/sources.sh"
        qemu_pins='any|1|{0}
any|2|{0}'
        fetch_qemu
        echo "$tarball" "$(pin_version "$pin")")sh", sha256(box, "second\n")));
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(o.out, (box.cache() / "downloads/qemu_2.orig.tar.xz").string() + " 2\n");
}

TEST(Sources, EachPinHasAFullHash) {
    Sandbox box;
    const Outcome o = box.run(R"(
        . "$VTTM_ROOT/images/kernel/sources.sh"; . "$VTTM_ROOT/images/qemu/sources.sh"
        for pin in $kernel_pins; do kernel_field "$pin" 4; done
        for pin in $qemu_pins; do pin_sha256 "$pin"; done)");
    EXPECT_THAT(o.out, ::testing::MatchesRegex("([0-9a-f]{64}\n){3,}"));
}

// A tree of one file, and a series of two patches that change the same line one after the other: the second hides
// the first, as in a real series.
class Series : public ::testing::Test {
   protected:
    static std::string patch(const std::string& from, const std::string& to) {
        return fmt::format("--- a/mm/file.c\n+++ b/mm/file.c\n@@ -1,3 +1,3 @@\n one\n-{}\n+{}\n three\n", from, to);
    }
    void SetUp() override {
        box.write("patches/0001-first.patch", patch("two", "2"));
        box.write("patches/0002-second.patch", patch("2", "II"));
    }
    Outcome apply(const std::string& content) {
        box.write("entry/linux/mm/file.c", content);
        return box.run(R"(
            . "$VTTM_ROOT/images/kernel/sources.sh"; . "$VTTM_ROOT/images/kernel/recipe.sh"
            series() { printf '%s\n' "$SANDBOX/patches/0001-first.patch" "$SANDBOX/patches/0002-second.patch"; }
            log=$SANDBOX/series.log source=/home/me/linux
            : >"$log"
            apply_series "$SANDBOX/entry/linux")");
    }
    std::string result() { return box.read("entry/linux/mm/file.c"); }
    Sandbox box;
};

TEST_F(Series, IsApplied) {
    const Outcome o = apply("one\ntwo\nthree\n");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(result(), "one\nII\nthree\n");
    EXPECT_EQ(box.read("entry/patches"), "0001-first.patch\n0002-second.patch\n");
}

TEST_F(Series, APatchThatDoesNotApplyIsExitCode13AndNamed) {
    box.write("patches/0002-second.patch", patch("something else", "II"));
    const Outcome o = apply("one\ntwo\nthree\n");
    EXPECT_EQ(o.status, 13);
    EXPECT_THAT(o.err, HasSubstr("0002-second.patch does not apply to /home/me/linux"));
    EXPECT_THAT(o.err, HasSubstr("series.log"));
    EXPECT_THAT(o.err, HasSubstr("port guest-driver/patches/0002-second.patch"));
    EXPECT_THAT(box.read("series.log"), HasSubstr("FAILED"));
    EXPECT_FALSE(fs::exists(box.path("entry/patches")));
}

TEST_F(Series, ATreeThatHasAllOfItIsLeftAsItIs) {
    const Outcome o = apply("one\nII\nthree\n");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_THAT(o.err, HasSubstr("has the series already"));
    EXPECT_EQ(result(), "one\nII\nthree\n");
}

TEST_F(Series, ATreeThatHasItsBeginningGetsTheRest) {
    const Outcome o = apply("one\n2\nthree\n");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_THAT(o.err, HasSubstr("0001-first.patch is in the tree already"));
    EXPECT_EQ(result(), "one\nII\nthree\n");
}

TEST_F(Series, WhatLooksLikeItsEndButIsNotItIsPutBackAndRefused) {
    // The second patch comes off, the first then does not.
    box.write("patches/0001-first.patch", patch("two", "zwei"));
    const Outcome o = apply("one\nII\nthree\n");
    EXPECT_EQ(o.status, 13);
    EXPECT_EQ(result(), "one\nII\nthree\n");
}

TEST(OwnTree, AKernelThatTheSeriesDoesNotFitIsExitCode13AndNothingStays) {
    Sandbox box;
    if (const Outcome free = box.run("vttm_disk_free_mib \"$SANDBOX\""); std::stol(free.out) < 5120)
        GTEST_SKIP() << "a kernel's build wants 5120 MiB in " << box.path("") << ", there are " << free.out;
    box.write("linux/Makefile", "all:\n");
    box.write("linux/mm/shmem.c", "int nothing;\n");
    box.write("linux/drivers/gpu/drm/ttm/ttm_pool.c", "int nothing;\n");
    const Outcome o = box.run(R"("$VTTM_ROOT/images/kernel/build.sh" --source "$SANDBOX/linux")");
    EXPECT_EQ(o.status, 13) << o.err;
    EXPECT_THAT(o.err, HasSubstr("0001-"));
    EXPECT_THAT(o.err, HasSubstr(box.path("linux").string()));
    EXPECT_THAT(box.leftovers(), IsEmpty());
    EXPECT_EQ(box.read("linux/mm/shmem.c"), "int nothing;\n");
}

// QEMU's build on a folder that is no QEMU 10, or one that already has what the device would bring.
class OwnQemu : public ::testing::Test {
   protected:
    void tree(const std::string& version, const std::string& build) {
        box.write("qemu/VERSION", version + "\n");
        box.write("qemu/hw/meson.build", build);
        box.write("qemu/hw/Kconfig", "source pci/Kconfig\n");
        box.write("model/vttm-model.pc", "");
    }
    Outcome build() {
        return box.run(R"("$VTTM_ROOT/images/qemu/build.sh" --source "$SANDBOX/qemu" --model-pc "$SANDBOX/model")");
    }
    Sandbox box;
};

TEST_F(OwnQemu, AnotherVersionIsExitCode13) {
    tree("9.2.1", "subdir('pci')\n");
    const Outcome o = build();
    EXPECT_EQ(o.status, 13) << o.err;
    EXPECT_THAT(o.err, HasSubstr("9.2.1"));
    EXPECT_THAT(box.leftovers(), IsEmpty());
}

TEST_F(OwnQemu, ATreeMadeInAnotherWayIsExitCode13AndUnchanged) {
    tree("10.0.13", "subdir('devices')\n");
    const Outcome o = build();
    EXPECT_EQ(o.status, 13) << o.err;
    EXPECT_THAT(o.err, HasSubstr("hw/meson.build"));
    EXPECT_EQ(box.read("qemu/hw/meson.build"), "subdir('devices')\n");
    EXPECT_THAT(box.leftovers(), IsEmpty());
}

TEST_F(OwnQemu, ATreeThatHasTheDeviceAlreadyIsExitCode13) {
    tree("10.0.13", "subdir('pci')\n");
    box.write("qemu/hw/vttm/mine.c", "");
    const Outcome o = build();
    EXPECT_EQ(o.status, 13) << o.err;
    EXPECT_THAT(o.err, HasSubstr("hw/vttm"));
}

TEST(OwnTree, SomethingElseThanASourceTreeIsExitCode2) {
    Sandbox box;
    box.write("folder/file", "");
    box.write("model/vttm-model.pc", "");
    EXPECT_EQ(box.run(R"("$VTTM_ROOT/images/kernel/build.sh" --source "$SANDBOX/folder")").status, 2);
    EXPECT_EQ(box.run(R"("$VTTM_ROOT/images/qemu/build.sh" --source "$SANDBOX/folder" --model-pc "$SANDBOX/model")").status, 2);
}

}  // namespace
}  // namespace vttm::setup_test
