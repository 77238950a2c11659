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
    box.write("kvm", "");  // stands for the device: it is there and opens
    box.set("VTTM_KVM=" + box.path("kvm").string());
    auto verdict = [&](const char* qemu) {
        box.write("qemu", qemu);
        return box.run(R"(chmod +x "$SANDBOX/qemu"; . "$VTTM_ROOT/images/lib/kvm.sh"
            kvm_check "$SANDBOX/qemu"; echo "$VTTM_ACCEL_VERDICT: $VTTM_ACCEL_REASON"; rm -rf "$VTTM_CACHE")");
    };
    Outcome o = verdict("#!/bin/sh\nexit 85\n");
    EXPECT_THAT(o.out, HasSubstr("kvm: "));
    o = verdict("#!/bin/sh\necho assertion of the MSR; exit 134\n");
    EXPECT_THAT(o.out, HasSubstr("tcg: "));
    EXPECT_THAT(o.out, HasSubstr("assertion of the MSR"));
    o = verdict("#!/bin/sh\nexit 124\n");
    EXPECT_THAT(o.out, HasSubstr("tcg: "));
    EXPECT_THAT(o.out, HasSubstr("hung"));
}

TEST(Entry, KvmThatComesOrOpensLaterIsNoticed) {
    Sandbox box;
    box.set("VTTM_KVM=" + box.path("kvm").string());
    const std::string stamp = R"(variant=base linux_source= qemu_source= build=$SANDBOX/build
        . "$VTTM_ROOT/images/lib/kvm.sh"; . "$VTTM_ROOT/images/lib/setup.sh"; setup_stamp 2>/dev/null)";
    const std::string without = box.run(stamp).out;
    ASSERT_FALSE(without.empty());
    EXPECT_EQ(box.run(stamp).out, without);
    const std::string reason = R"(. "$VTTM_ROOT/images/lib/kvm.sh"; kvm_check /bin/true; echo "$VTTM_ACCEL_REASON")";
    EXPECT_THAT(box.run(reason).out, HasSubstr("there is no "));
    box.write("kvm", "");
    const std::string with = box.run(stamp).out;
    EXPECT_NE(with, without);
    std::filesystem::permissions(box.path("kvm"), std::filesystem::perms::owner_read);
    EXPECT_NE(box.run(stamp).out, with);
}

TEST(Entry, ArgumentsThatACommandDoesNotKnowAreExitCode2) {
    Sandbox box;
    for (const char* command : {"help", "setup", "build", "doctor", "clean"}) {
        const Outcome o = box.vttm({command, "junk"});
        EXPECT_EQ(o.status, 2) << command;
        EXPECT_THAT(o.err, HasSubstr(std::string(command) + " knows no 'junk'"));
    }
}

TEST(Entry, ARelativeCacheIsTheSameInEveryFolder) {
    Sandbox box;
    const Outcome o = box.run(R"sh(cd "$SANDBOX"; unset VTTM_CACHE_DIR; VTTM_CACHE=my/cache
        . "$VTTM_ROOT/images/lib/common.sh"; cd /
        echo "$VTTM_CACHE_DIR"; sh -c 'echo "$VTTM_CACHE"'; cache_init; echo "$(cache_build kind key touch)")sh");
    const std::string cache = box.path("my/cache").string();
    EXPECT_EQ(o.out, cache + "\n" + cache + "\n" + cache + "/kind/key\n") << o.err;
    // Without a home the CLI must not guess for itself.
    EXPECT_EQ(box.run(R"(unset HOME VTTM_CACHE; . "$VTTM_ROOT/images/lib/common.sh"; sh -c 'echo "$VTTM_CACHE"')").out,
              "/root/.cache/vttm\n");
}

TEST(Entry, BlanksAndColonsInPathsAreRefused) {
    for (const char* name : {"my cache", "my:cache", "my\tcache"}) {
        Sandbox box;
        box.set("VTTM_CACHE=" + box.path(name).string());
        const Outcome o = box.vttm({"build"});
        EXPECT_EQ(o.status, 2) << name;
        EXPECT_THAT(o.err, HasSubstr("VTTM_CACHE"));
        EXPECT_FALSE(std::filesystem::exists(box.path(name)));
    }
    Sandbox box;
    const std::filesystem::path clone = box.path("my clone");
    std::filesystem::create_directories(clone);
    std::filesystem::copy(source_root() / "vttm", clone / "vttm");
    std::filesystem::copy(source_root() / "images", clone / "images", std::filesystem::copy_options::recursive);
    const Outcome o = box.run(R"("$SANDBOX/my clone/vttm" build)");
    EXPECT_EQ(o.status, 2) << o.err;
    EXPECT_THAT(o.err, HasSubstr("move the clone"));
    EXPECT_FALSE(std::filesystem::exists(clone / "build"));
}

// Root may write anywhere, so what is not writable is played: no folder can be made below a file or in /proc.
TEST(Entry, DoctorReportsFoldersThatCannotBeMade) {
    Sandbox box;
    const auto doctor = [&](const std::string& cache, const std::string& build) {
        box.set("VTTM_CACHE=" + cache);
        return box.run("build=" + build + R"(
            for part in packages host kvm setup doctor; do . "$VTTM_ROOT/images/lib/$part.sh"; done
            packages_missing() { :; }
            accounts_missing() { :; }
            host_ram_mib() { echo 100000; }
            vttm_disk_free_mib() { echo 100000; }
            _doctor_network() { :; }
            _doctor_kvm() { :; }
            doctor)");
    };
    const std::string good = box.path("good").string();
    EXPECT_EQ(doctor(good, good).status, 0);
    Outcome o = doctor("/proc/sys/vttm", good);
    EXPECT_EQ(o.status, 12) << o.out;
    EXPECT_THAT(o.out, HasSubstr("/proc/sys is not writable"));
    o = doctor(good, "/proc/sys/vttm");
    EXPECT_EQ(o.status, 12) << o.out;
    EXPECT_THAT(o.out, HasSubstr("broken   build folder"));
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
