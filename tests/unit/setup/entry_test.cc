// SPDX-License-Identifier: Apache-2.0
// ./vttm: what it refuses, with which exit code and which advice.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/setup/shell.h"

namespace vttm::setup_test {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

TEST(Entry, HelpNamesEveryCommand) {
    Sandbox box;
    const Outcome o = box.vttm({"help"});
    EXPECT_EQ(o.status, 0);
    for (const char* command : {"run", "test", "shell", "bench", "build", "setup", "doctor", "clean"})
        EXPECT_THAT(o.out, HasSubstr(std::string("\n  ") + command + " "));
    EXPECT_EQ(box.vttm({}).out, o.out);
}

TEST(Entry, AWrongCommandLineIsExitCode2) {
    Sandbox box;
    EXPECT_EQ(box.vttm({"frobnicate"}).status, 2);
    EXPECT_EQ(box.vttm({"--variant=base", "run"}).status, 2) << "the command comes first";
    EXPECT_EQ(box.vttm({"build", "--variant=fast"}).status, 2);
    EXPECT_EQ(box.vttm({"build", "--variant"}).status, 2);
    const Outcome o = box.vttm({"build", "-Dlinux_source=/no/such/tree"});
    EXPECT_EQ(o.status, 2);
    EXPECT_THAT(o.err, HasSubstr("/no/such/tree"));
}

TEST(Entry, NoInstallListsWhatIsMissingAndEndsWith10) {
    Sandbox box;
    box.write("packages.txt", "# a comment\nlibc6\nvttm-no-such-package\nvttm-nor-this # why\n");
    box.set("VTTM_PACKAGES=" + box.path("packages.txt").string());
    for (const char* command : {"setup", "build"}) {
        const Outcome o = box.vttm({command, "--no-install"});
        EXPECT_EQ(o.status, 10) << command << o.err;
        EXPECT_THAT(o.err, HasSubstr("vttm-no-such-package vttm-nor-this"));
        EXPECT_THAT(o.err, HasSubstr("apt-get install"));
        EXPECT_THAT(o.err, Not(HasSubstr("libc6")));
    }
    EXPECT_THAT(box.leftovers(), IsEmpty());
}

TEST(Entry, MissingPackagesAreFoundWithOneCallOfDpkg) {
    Sandbox box;
    box.write("packages.txt", "libc6\nbash\nvttm-no-such-package\n");
    box.write("bin/dpkg-query", "#!/bin/sh\necho call >>\"$SANDBOX/calls\"\n"
                                "echo 'installed libc6'; echo 'config-files bash'; exit 1\n");
    const Outcome o = box.run(R"(
        chmod +x "$SANDBOX/bin/dpkg-query"; PATH=$SANDBOX/bin:$PATH
        VTTM_PACKAGES=$SANDBOX/packages.txt
        . "$VTTM_ROOT/images/lib/packages.sh"
        packages_missing)");
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(o.out, "bash\nvttm-no-such-package\n") << "removed but not purged is not installed";
    EXPECT_EQ(box.read("calls"), "call\n");
}

TEST(Entry, WithoutRightsToInstallItEndsWith10) {
    Sandbox box;
    box.write("packages.txt", "vttm-no-such-package\n");
    // Nobody: not root, and a sudo that refuses.
    box.write("bin/id", "#!/bin/sh\necho 65534\n");
    box.write("bin/sudo", "#!/bin/sh\nexit 1\n");
    const Outcome o = box.run(R"(
        chmod +x "$SANDBOX"/bin/*; PATH=$SANDBOX/bin:$PATH
        VTTM_PACKAGES=$SANDBOX/packages.txt
        . "$VTTM_ROOT/images/lib/packages.sh"
        packages_install yes)");
    EXPECT_EQ(o.status, 10);
    EXPECT_THAT(o.err, HasSubstr("vttm-no-such-package"));
    EXPECT_THAT(o.err, HasSubstr("no right to install"));
}

TEST(Entry, AnAptThatCannotReachItsMirrorIsExitCode11) {
    Sandbox box;
    box.write("packages.txt", "vttm-no-such-package\n");
    box.write("bin/id", "#!/bin/sh\necho 0\n");
    box.write("bin/apt-get", "#!/bin/sh\necho \"apt-get $*\" >>\"$SANDBOX/calls\"\n"
                             "echo 'Err:1 Temporary failure resolving host'; exit 100\n");
    const Outcome o = box.run(R"(
        chmod +x "$SANDBOX"/bin/*; PATH=$SANDBOX/bin:$PATH
        VTTM_PACKAGES=$SANDBOX/packages.txt
        . "$VTTM_ROOT/images/lib/packages.sh"
        packages_install yes)");
    EXPECT_EQ(o.status, 11);
    EXPECT_THAT(o.err, HasSubstr("mirror cannot be reached"));
    EXPECT_THAT(o.err, HasSubstr("packages.log"));
}

TEST(Entry, TooLittleRamIsExitCode15BeforeAnyWork) {
    Sandbox box;
    box.write("meminfo", "MemTotal: 2048000 kB\nMemFree: 100 kB\nMemAvailable: 1024000 kB\n");
    box.set("VTTM_MEMINFO=" + box.path("meminfo").string());
    const Outcome o = box.vttm({"run"});
    EXPECT_EQ(o.status, 15);
    EXPECT_THAT(o.err, HasSubstr("1000 MiB available"));
}

TEST(Entry, DoctorReportsTooLittleRam) {
    Sandbox box;
    box.write("meminfo", "MemAvailable: 1024000 kB\n");
    box.set("VTTM_MEMINFO=" + box.path("meminfo").string());
    box.set("VTTM_MIRRORS=copy:" + box.path("nowhere").string());
    const Outcome o = box.run(R"(
        build=$SANDBOX/build
        for part in packages host kvm setup doctor; do . "$VTTM_ROOT/images/lib/$part.sh"; done
        cache_init
        packages_missing() { :; }
        accounts_missing() { :; }
        _doctor_network() { :; }
        doctor)");
    EXPECT_EQ(o.status, 15) << o.err;
    EXPECT_THAT(o.out, HasSubstr("broken   RAM"));
    EXPECT_THAT(o.out, HasSubstr("missing    kernel"));
}

TEST(Entry, KvmThatOpensButRunsNoGuestIsNotUsed) {
    Sandbox box;
    if (!std::filesystem::exists("/dev/kvm")) GTEST_SKIP() << "there is no /dev/kvm here";
    auto verdict = [&](const char* qemu) {
        box.write("qemu", qemu);
        return box.run(R"(chmod +x "$SANDBOX/qemu"; . "$VTTM_ROOT/images/lib/kvm.sh"
            kvm_check "$SANDBOX/qemu"; echo "$VTTM_ACCEL_VERDICT: $VTTM_ACCEL_REASON"; rm -rf "$VTTM_CACHE")");
    };
    Outcome o = verdict("#!/bin/sh\nexit 85\n");
    if (o.out.find("may not be opened") != std::string::npos) GTEST_SKIP() << o.out;
    EXPECT_THAT(o.out, HasSubstr("kvm: "));
    o = verdict("#!/bin/sh\necho assertion of the MSR; exit 134\n");
    EXPECT_THAT(o.out, HasSubstr("tcg: "));
    EXPECT_THAT(o.out, HasSubstr("assertion of the MSR"));
    o = verdict("#!/bin/sh\nexit 124\n");
    EXPECT_THAT(o.out, HasSubstr("tcg: "));
    EXPECT_THAT(o.out, HasSubstr("hung"));
}

// An option of ./vttm configured by meson is found again by the next call.
TEST(Entry, AConfiguredSourceTreeIsRemembered) {
    Sandbox box;
    box.write("build/meson-info/intro-buildoptions.json",
              R"([{"name": "prefix", "value": "/usr"}, {"name": "linux_source", "value": "/home/me/linux", "section": "user"}, )"
              R"({"name": "qemu_source", "value": "", "section": "user"}])");
    const Outcome o = box.run(R"sh(build=$SANDBOX/build; . "$VTTM_ROOT/images/lib/setup.sh"
        echo "$(setup_option linux_source)|$(setup_option qemu_source)")sh");
    EXPECT_EQ(o.out, "/home/me/linux|\n");
}

}  // namespace
}  // namespace vttm::setup_test
