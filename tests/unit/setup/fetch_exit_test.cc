// SPDX-License-Identifier: Apache-2.0
// How a download ends that does not work: which status reaches the caller, through kernel_deb and QEMU's build too.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include "tests/unit/setup/shell.h"
#include "tests/unit/setup/tiny_disk.h"

namespace vttm::setup_test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr char kHash[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

using FetchOnFullDisk = OnTinyDisk;

TEST_F(FetchOnFullDisk, IsExitCode12AndEndsTheSearch) {
    // More than the disk holds, on two mirrors: the second must not even be tried.
    for (const char* mirror : {"m1", "m2"})
        box.write(std::string(mirror) + "/pool/main/t/tool/tool_1.orig.tar.xz", std::string(9u << 20, 'x'));
    box.set(fmt::format("VTTM_MIRRORS=copy:{} copy:{}", box.path("m1").string(), box.path("m2").string()));
    const Outcome o = on_tiny_disk(box, fmt::format(R"(
        status=0
        (fetch_source_file any tool tool_1.orig.tar.xz {}) || status=$?
        ls -A "$VTTM_CACHE/tmp" "$VTTM_CACHE/locks" "$VTTM_CACHE/downloads" >"$SANDBOX/listing"
        exit $status)", kHash));
    EXPECT_EQ(o.status, 12) << o.err;
    EXPECT_THAT(o.err, HasSubstr("the disk is full"));
    EXPECT_THAT(o.err, Not(HasSubstr("cannot download")));
    EXPECT_THAT(box.read("listing"), Not(HasSubstr("tool")));
    const std::string log = box.read("log/fetch.log");
    EXPECT_THAT(log, HasSubstr("m1/pool"));
    EXPECT_THAT(log, Not(HasSubstr("m2/pool"))) << "no other mirror can mend a full disk";
}

TEST_F(FetchOnFullDisk, ReachesTheCallerOfTheKernelsSource) {
    box.write("m1/pool/main/l/linux/big_1_all.deb", std::string(9u << 20, 'x'));
    box.set(fmt::format("VTTM_MIRRORS=copy:{}", box.path("m1").string()));
    const Outcome o = on_tiny_disk(box, fmt::format(R"(
        . "$VTTM_ROOT/images/kernel/sources.sh"
        kernel_pins="1|any|big|{0}|
2|any|big|{0}|"
        fetch_kernel >/dev/null)", kHash));
    EXPECT_EQ(o.status, 12) << o.err;
    EXPECT_THAT(o.err, Not(HasSubstr("next pinned version")));
}

TEST_F(FetchOnFullDisk, ReachesTheCallerOfQemusSource) {
    box.write("m1/pool/main/q/qemu/qemu_1.orig.tar.xz", std::string(9u << 20, 'x'));
    box.set(fmt::format("VTTM_MIRRORS=copy:{}", box.path("m1").string()));
    const Outcome o = on_tiny_disk(box, fmt::format(R"(
        . "$VTTM_ROOT/images/qemu/sources.sh"
        qemu_pins="any|1|{0}
any|2|{0}"
        fetch_qemu)", kHash));
    EXPECT_EQ(o.status, 12) << o.err;
    EXPECT_THAT(o.err, Not(HasSubstr("next pinned version")));
}

// The cause is what this step wrote, not what an earlier one left in the same log.
TEST_F(FetchOnFullDisk, OfYesterdayIsNotTodaysCause) {
    box.write("log/fetch.log", "cp: error writing: No space left on device\n");
    box.set("VTTM_MIRRORS=copy:" + box.path("nowhere").string());
    EXPECT_EQ(box.run(fmt::format("fetch_source_file any tool tool_1.orig.tar.xz {}", kHash)).status, 11);
}

TEST(FetchExit, AClosedPortIsExitCode11) {
    Sandbox box;
    // Port 1 is not served. Fresh downloads and apt folders: nothing answers but the network.
    box.set("VTTM_MIRRORS=http://127.0.0.1:1/debian");
    for (const std::string call : {"fetch_source_file any tool tool_1.orig.tar.xz ", "fetch_deb bookworm tool 1 "}) {
        const Outcome o = box.run(call + kHash);
        EXPECT_EQ(o.status, 11) << call << o.err;
        EXPECT_THAT(o.err, HasSubstr("cannot download"));
        EXPECT_THAT(o.err, HasSubstr("check the network"));
        EXPECT_THAT(box.leftovers(), IsEmpty());
    }
}

TEST(FetchExit, AWrongHashIsExitCode11AndTheFileIsRemoved) {
    Sandbox box;
    box.write("m1/pool/main/t/tool/tool_1.orig.tar.xz", "not what was pinned\n");
    box.set("VTTM_MIRRORS=copy:" + box.path("m1").string());
    box.write("cache/downloads/tool_1.orig.tar.xz", "nor this\n");
    const Outcome o = box.run(fmt::format("fetch_source_file any tool tool_1.orig.tar.xz {}", kHash));
    EXPECT_EQ(o.status, 11);
    EXPECT_FALSE(fs::exists(box.cache() / "downloads/tool_1.orig.tar.xz"));
    EXPECT_THAT(box.leftovers(), IsEmpty());
}

// apt's downloader at work, stood in for by a program that takes its time.
class FetchInterrupted : public ::testing::TestWithParam<std::pair<int, int>> {
   protected:
    static constexpr char kStandIn[] = R"(
        _fetch_apt() { echo $$ >"$SANDBOX/at-work"; sleep 10; }
    )";
    Sandbox box;
};

TEST_P(FetchInterrupted, EndsWithTheSignalsStatusAndTriesNoOtherMirror) {
    box.set("VTTM_MIRRORS=copy:/m1 copy:/m2");
    const auto [signal, status] = GetParam();
    Process p = box.start(std::string(kStandIn) + fmt::format(
        // The shell that waits for the download gets the signal, as from a terminal or from ./vttm's kill.
        R"((trap "exit {0}" {1}; fetch_source_file any tool tool_1.orig.tar.xz {2}) & child=$!
        while [ ! -s "$SANDBOX/at-work" ]; do sleep 0.05; done
        sleep 0.2
        for pid in $(cat /proc/$child/task/*/children); do kill -{1} $pid; done
        status=0; wait $child || status=$?; exit $status)",
        status, sigabbrev_np(signal), kHash));
    const Outcome o = p.wait();
    EXPECT_EQ(o.status, status) << o.err;
    EXPECT_THAT(o.err, Not(HasSubstr("cannot download")));
    EXPECT_THAT(box.leftovers_in_the_end(), IsEmpty());
}

INSTANTIATE_TEST_SUITE_P(Signals, FetchInterrupted, ::testing::Values(std::pair{SIGTERM, 143}, std::pair{SIGHUP, 143}),
                         [](const auto& info) { return std::string("SIG") + sigabbrev_np(info.param.first); });

// A downloader that itself says it was interrupted (apt does on Ctrl-C) is no network failure.
TEST(FetchExit, AnInterruptedDownloaderPassesThrough) {
    Sandbox box;
    box.set("VTTM_MIRRORS=copy:/m1 copy:/m2");
    const Outcome o = box.run(fmt::format(R"(
        _fetch_apt() {{ echo "$@" >>"$SANDBOX/calls"; return 130; }}
        fetch_source_file any tool tool_1.orig.tar.xz {})", kHash));
    EXPECT_EQ(o.status, 130) << o.err;
    EXPECT_THAT(box.read("calls"), Not(HasSubstr("/m2")));
}

}  // namespace
}  // namespace vttm::setup_test
