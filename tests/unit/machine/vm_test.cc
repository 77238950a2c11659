// SPDX-License-Identifier: Apache-2.0
// Boots the real guest and plants faults: each must end in its own error, with nothing left behind.
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iostream>
#include <thread>

#include "tests/unit/machine/vm_fixture.h"

namespace vttm::machine::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

TEST_F(VmTest, BootsSaysHelloAndLeavesNothing) {
    Machine m(config);
    m.start();
    const Traces traces(m);
    EXPECT_NE(traces.found(), "");
    const auto hello = m.agent().call("hello", nullptr, 10s);
    EXPECT_NE(hello.value("kernel", ""), "");
    EXPECT_EQ(m.ram().bytes().size(), config.ram_mib << 20);
    EXPECT_EQ(m.qmp("query-status")["running"], true);
    EXPECT_THROW(m.qmp("no-such-command"), InfraError);
    EXPECT_GT(m.boot_time(), 0ms);
    EXPECT_THROW(m.agent().call("no-such-op", nullptr, 10s), AgentError);
    m.agent().idle(1500ms);
    EXPECT_TRUE(m.agent().last_heartbeat().is_object());
    {
        PauseGuard paused(m);
        EXPECT_EQ(m.qmp("query-status")["running"], false);
    }
    EXPECT_EQ(m.qmp("query-status")["running"], true);
    m.stop(10s);
    EXPECT_EQ(traces.found(), "");
    EXPECT_THROW(m.agent(), InfraError);
    EXPECT_THROW(m.check(), MachineGone);
}

// QEMU itself says what is at a guest-physical address, below and above the hole.
class VmAddressTest : public VmTest {
  protected:
    void expect_as_qemu_has_them() {
        Machine m(config);
        m.start();
        PauseGuard paused(m);
        const GpaMap& map = m.ram().map();
        ASSERT_LT(map.low_bytes(), map.ram_bytes());
        for (const std::uint64_t gpa : {std::uint64_t{0x100000}, map.low_bytes() - 4096,
                                        std::uint64_t{1} << 32, (std::uint64_t{1} << 32) + 0x3ff000}) {
            const auto bytes = m.ram().at(gpa, 8);
            ASSERT_EQ(bytes.size(), 8u) << std::hex << gpa;
            const std::uint64_t mark = 0x7674746d00000000 ^ gpa;
            std::uint64_t before;
            std::memcpy(&before, bytes.data(), 8);
            std::memcpy(bytes.data(), &mark, 8);
            char command[64];
            std::snprintf(command, sizeof command, "xp /1gx 0x%llx",
                          static_cast<unsigned long long>(gpa));
            char text[32];
            std::snprintf(text, sizeof text, "0x%016llx", static_cast<unsigned long long>(mark));
            EXPECT_NE(m.hmp(command).find(text), std::string::npos) << m.hmp(command);
            std::memcpy(bytes.data(), &before, 8);
        }
        EXPECT_TRUE(m.ram().at(map.low_bytes(), 8).empty());
    }
};

TEST_F(VmAddressTest, AreTranslatedAsQemuDoes) {
    config.ram_mib = 3072;  // with a part above 4 GiB
    expect_as_qemu_has_them();
}

TEST_F(VmAddressTest, WithLessBelowTheHoleThanQemuWouldGive) {
    config.ram_mib = 1024;
    config.low_ram_mib = 640;
    expect_as_qemu_has_them();
}

TEST_F(VmTest, DeviceIsThereWithVramAndStats) {
    Machine m(config);
    m.start();
    EXPECT_EQ(m.vram().bytes().size(), config.vram_mib << 20);
    EXPECT_TRUE(m.stats().is_object()) << m.stats();
    EXPECT_TRUE(fs::exists(m.witness_log()));
}

TEST_F(VmTest, PanicIsAGuestPanic) {
    Machine m(config);
    m.start();
    const Traces traces(m);
    m.agent().post("fault", {{"kind", "panic"}});
    const auto e = expect_error<GuestPanic>([&] { m.agent().idle(30s); });
    EXPECT_EQ(e.exit_code(), 3);
    EXPECT_NE(e.problem().excerpt.find("Kernel panic"), std::string::npos) << e.what();
    EXPECT_NE(slurp(e.problem().where / "console.log").find("Kernel panic"), std::string::npos);
    EXPECT_THROW(m.agent().call("hello"), GuestPanic);
    m.stop();
    EXPECT_EQ(traces.found(), "");
}

TEST_F(VmTest, OopsIsAGuestPanic) {
    Machine m(config);
    m.start();
    // It needs a kernel with LKDTM; one without refuses, and the refusal fails this test.
    const auto e = expect_error<GuestPanic>([&] {
        m.agent().call("fault", {{"kind", "oops"}}, 30s);
    });
    EXPECT_EQ(e.exit_code(), 3);
    EXPECT_NE(e.problem().excerpt.find("RIP: "), std::string::npos) << e.what();
}

// What the guest's kernel says last counts too, but only after all is cleaned up.
TEST_F(VmTest, LateWarningIsRaisedByTheOrderlyStop) {
    Machine m(config);
    m.start();
    const Traces traces(m);
    m.tolerate_splats(true);
    m.agent().call("exec",
                   {{"argv",
                     {"/bin/busybox", "sh", "-c",
                      "echo '<3>WARNING: mm/x.c:1 at f+0x1/0x2, CPU#0: test/1' >/dev/kmsg"}},
                    {"timeout_ms", 20000}});
    EXPECT_NO_THROW(m.agent().call("hello", nullptr, 20s));
    m.tolerate_splats(false);
    const auto e = expect_error<GuestPanic>([&] { m.stop(10s); });
    EXPECT_NE(std::string(e.what()).find("mm/x.c:1"), std::string::npos) << e.what();
    EXPECT_TRUE(fs::exists(e.problem().where / "console.log"));
    EXPECT_TRUE(fs::exists(e.problem().where / "witness.log"));
    EXPECT_EQ(traces.found(), "");
}

TEST_F(VmTest, HangIsAGuestHangWithADump) {
    config.liveness = 5s;
    Machine m(config);
    m.start();
    const Traces traces(m);
    m.agent().post("fault", {{"kind", "hang"}});
    const auto e = expect_error<GuestHang>([&] { m.agent().idle(60s); });
    EXPECT_EQ(e.exit_code(), 4);
    const std::string dump = slurp(e.problem().where / "hang.txt");
    EXPECT_NE(dump.find("RIP="), std::string::npos) << dump;
    EXPECT_THROW(m.agent().call("hello"), GuestHang);
    m.stop();
    EXPECT_EQ(traces.found(), "");
}

// The kernel's word on a task that waits for ever comes without its stack; the dump has it.
TEST_F(VmTest, HungTaskIsAGuestHangWithItsStack) {
    Machine m(config);
    m.start();
    const auto shell = [&](const char* command) {
        return nlohmann::json{{"argv", {"/bin/busybox", "sh", "-c", command}},
                              {"timeout_ms", 60000}};
    };
    m.agent().call("exec", shell("echo 2 >/proc/sys/kernel/hung_task_timeout_secs"), 20s);
    const auto e = expect_error<GuestHang>([&] {
        m.agent().call("exec", shell("echo HUNG_TASK >/sys/kernel/debug/provoke-crash/DIRECT"),
                       60s);
    });
    EXPECT_EQ(e.exit_code(), 4);
    EXPECT_NE(std::string(e.what()).find("blocked for more than"), std::string::npos) << e.what();
    const std::string dump = slurp(e.problem().where / "hang.txt");
    EXPECT_NE(dump.find("lkdtm_HUNG_TASK"), std::string::npos) << dump;
    EXPECT_NE(dump.find("last_avail_idx"), std::string::npos) << dump;  // the swap disk's queue
    // The panic that the dump makes is not taken for the guest's own.
    EXPECT_THROW(m.agent().call("hello"), GuestHang);
    EXPECT_NO_THROW(m.stop());
}

TEST_F(VmTest, StoppedQemuIsAHangThatNamesQemu) {
    config.liveness = 3s;
    Machine m(config);
    m.start();
    const Traces traces(m);
    ::kill(m.qemu_pid(), SIGSTOP);
    const auto e = expect_error<GuestHang>([&] { m.agent().idle(60s); });
    EXPECT_NE(std::string(e.what()).find("monitor does not answer"), std::string::npos) << e.what();
    const auto started = std::chrono::steady_clock::now();
    m.stop();
    EXPECT_LT(std::chrono::steady_clock::now() - started, 9s);  // libvirt alone: 10 s and more
    EXPECT_EQ(traces.found(), "");
}

// Whoever asks QEMU itself must not wait for ever either.
TEST_F(VmTest, MonitorOfAStoppedQemuIsAHang) {
    config.liveness = 3s;
    Machine m(config);
    m.start();
    const Traces traces(m);
    ::kill(m.qemu_pid(), SIGSTOP);
    const auto started = std::chrono::steady_clock::now();
    const auto e = expect_error<GuestHang>([&] { m.qmp("query-status"); });
    EXPECT_EQ(e.exit_code(), 4);
    EXPECT_NE(std::string(e.what()).find("query-status"), std::string::npos) << e.what();
    EXPECT_THROW(PauseGuard{m}, GuestHang);
    m.stop();
    EXPECT_LT(std::chrono::steady_clock::now() - started, 20s);
    EXPECT_EQ(traces.found(), "");
}

TEST_F(VmTest, AgentExitIsAgentGone) {
    Machine m(config);
    m.start();
    m.agent().post("fault", {{"kind", "agent-exit"}});
    const auto e = expect_error<AgentGone>([&] { m.agent().idle(30s); });
    EXPECT_EQ(e.exit_code(), 6);
}

TEST_F(VmTest, KilledQemuIsMachineGone) {
    Machine m(config);
    m.start();
    const Traces traces(m);
    ::kill(m.qemu_pid(), SIGKILL);
    const auto e = expect_error<MachineGone>([&] { m.agent().idle(30s); });
    EXPECT_EQ(e.exit_code(), 6);
    EXPECT_NE(std::string(e.what()).find("killed"), std::string::npos) << e.what();
    EXPECT_TRUE(fs::exists(e.problem().where / "qemu.log")) << e.what();
    m.stop();
    EXPECT_EQ(traces.found(), "");
}

TEST_F(VmTest, PausedGuestIsNoHang) {
    config.liveness = 2s;
    Machine m(config);
    m.start();
    {
        PauseGuard paused(m);
        EXPECT_NO_THROW(m.agent().idle(5s));
    }
    EXPECT_NO_THROW(m.agent().call("hello", nullptr, 20s));
}

TEST_F(VmTest, KernelWithoutInitIsABootFailure) {
    config.cmdline_extra += " rdinit=/nothing";
    Machine m(config);
    const Traces traces(m);
    const auto e = expect_error<BootFailure>([&] { m.start(); });
    EXPECT_EQ(e.exit_code(), 16);
    EXPECT_NE(std::string(e.what()).find("panic"), std::string::npos) << e.what();
    EXPECT_EQ(traces.found(), "");
}

TEST_F(VmTest, BootOverItsLimitIsABootFailure) {
    config.boot_timeout = 50ms;
    Machine m(config);
    const Traces traces(m);
    const auto e = expect_error<BootFailure>([&] { m.start(); });
    EXPECT_EQ(e.exit_code(), 16);
    EXPECT_EQ(traces.found(), "");
}

TEST_F(VmTest, BrokenKernelImageIsABootFailure) {
    const fs::path kernel = fs::path(testing::TempDir()) / "vttm-no-kernel";
    std::ofstream(kernel) << "this is no kernel";
    config.kernel = kernel;
    config.boot_timeout = 5s;
    {
        Machine m(config);
        const Traces traces(m);
        const auto e = expect_error<BootFailure>([&] { m.start(); });
        EXPECT_EQ(e.exit_code(), 16);
        EXPECT_NE(std::string(e.what()).find(kernel.string()), std::string::npos) << e.what();
        EXPECT_EQ(traces.found(), "");
    }
    fs::remove(kernel);
}

TEST_F(VmTest, SignalInterruptsACall) {
    const InterruptGuard guard;
    Machine m(config);
    m.start();
    const Traces traces(m);
    std::thread later([] {
        std::this_thread::sleep_for(500ms);
        ::kill(::getpid(), SIGTERM);
    });
    const auto started = std::chrono::steady_clock::now();
    const auto e = expect_error<Interrupted>([&] {
        m.agent().call("exec", {{"argv", {"/bin/busybox", "sleep", "60"}}, {"timeout_ms", 90000}});
    });
    EXPECT_LT(std::chrono::steady_clock::now() - started, 15s);
    later.join();
    EXPECT_EQ(e.exit_code(), 130);
    m.stop();
    EXPECT_EQ(traces.found(), "");
}

// The machines of this test.
std::vector<pid_t> our_qemus(const fs::path& qemu) {
    return find_processes(qemu, "guest=vttm-" + std::to_string(::getpid()) + "-");
}

fs::path binary_of(const Machine& m) {
    return fs::read_symlink("/proc/" + std::to_string(m.qemu_pid()) + "/exe");
}

// Stops the QEMU that a migration starts, as soon as it is there.
std::thread stop_the_next_qemu(const fs::path& qemu, pid_t old) {
    return std::thread([qemu, old] {
        for (const auto end = std::chrono::steady_clock::now() + 120s;
             std::chrono::steady_clock::now() < end; std::this_thread::sleep_for(2ms))
            for (const pid_t pid : our_qemus(qemu))
                if (pid != old) {
                    ::kill(pid, SIGSTOP);
                    return;
                }
    });
}

TEST_F(VmTest, AMigratedMachineGoesOn) {
    Machine m(config);
    m.start();
    const int before = m.qemu_pid();
    m.migrate();
    EXPECT_NE(m.qemu_pid(), before);
    EXPECT_FALSE(process_alive(before));
    EXPECT_NO_THROW(m.agent().call("hello", nullptr, 20s));
    const Traces traces(m);
    m.stop(10s);
    EXPECT_EQ(traces.found(), "");
}

TEST_F(VmTest, RestoredQemuThatHangsIsAHang) {
    config.migration_limit = 40s;
    Machine m(config);
    m.start();
    const Traces traces(m);
    const fs::path qemu = binary_of(m);
    ASSERT_EQ(our_qemus(qemu).size(), 1u);
    std::thread stopper = stop_the_next_qemu(qemu, m.qemu_pid());
    const auto e = expect_error<GuestHang>([&] { m.migrate(); });
    stopper.join();
    EXPECT_EQ(e.exit_code(), 4);
    EXPECT_NE(std::string(e.what()).find("'restore' for 40 s"), std::string::npos) << e.what();
    m.stop();
    EXPECT_EQ(traces.found(), "");
    EXPECT_TRUE(our_qemus(qemu).empty());
}

TEST_F(VmTest, SignalInterruptsARestore) {
    const InterruptGuard guard;
    Machine m(config);
    m.start();
    const Traces traces(m);
    const fs::path qemu = binary_of(m);
    ASSERT_EQ(our_qemus(qemu).size(), 1u);
    std::thread stopper = stop_the_next_qemu(qemu, m.qemu_pid());
    std::atomic<std::chrono::steady_clock::time_point> sent{};
    std::thread later([&] {
        stopper.join();
        std::this_thread::sleep_for(1s);
        sent = std::chrono::steady_clock::now();
        ::kill(::getpid(), SIGTERM);
    });
    const auto e = expect_error<Interrupted>([&] { m.migrate(); });
    later.join();
    EXPECT_EQ(e.exit_code(), 130);
    EXPECT_LT(std::chrono::steady_clock::now() - sent.load(), 15s);
    m.stop();
    EXPECT_EQ(traces.found(), "");
    EXPECT_TRUE(our_qemus(qemu).empty());
}

TEST_F(VmTest, SlowOperationIsATimeoutAndTheClientLivesOn) {
    Machine m(config);
    m.start();
    const auto e = expect_error<Timeout>([&] {
        m.agent().call("exec", {{"argv", {"/bin/busybox", "sleep", "2"}}, {"timeout_ms", 9000}},
                       500ms);
    });
    EXPECT_EQ(e.exit_code(), 5);
    EXPECT_NO_THROW(m.agent().call("hello", nullptr, 20s));
}

// A small file system; unmounting fails, and so the test, if a file on it is still open.
class SmallDisk {
public:
    SmallDisk()
        : path(fs::path(testing::TempDir()) / ("vttm-small-" + std::to_string(::getpid()))) {
        fs::create_directories(path);
        mounted = ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=400m") == 0;
    }
    ~SmallDisk() {
        if (mounted && ::umount(path.c_str()) != 0) ADD_FAILURE() << std::strerror(errno);
        std::error_code ignored;
        fs::remove(path, ignored);
    }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;

    fs::path path;
    bool mounted = false;
};

// The host's disk fills up while the guest writes to its disk.
TEST_F(VmTest, FullHostDiskIsDiskFull) {
    const SmallDisk disk;
    if (!disk.mounted) GTEST_SKIP() << "cannot mount (needs CAP_SYS_ADMIN): " << std::strerror(errno);
    config.disk_dir = disk.path / "disk";
    config.cmdline_extra += " vttm.swap=none";  // a disk in use as swap cannot be written to
    Machine m(config);
    m.start();
    {
        const UniqueFd fill(
            ::open((disk.path / "fill").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        const std::uint64_t room = fs::space(disk.path).available - (4u << 20);
        ASSERT_EQ(::posix_fallocate(fill.get(), 0, static_cast<off_t>(room)), 0);
    }
    const auto e = expect_error<DiskFull>([&] {
        m.agent().call("exec", {{"argv",
                                 {"/bin/busybox", "dd", "if=/dev/urandom", "of=/dev/vda", "bs=1M",
                                  "seek=64", "count=64", "conv=fsync"}},
                                {"timeout_ms", 60000}});
    });
    EXPECT_EQ(e.exit_code(), 12);
}

// The CLI is SIGKILLed: the reaper does the rest.
TEST_F(VmTest, SigkilledProcessLeavesNothing) {
    std::array<int, 2> ends;
    ASSERT_EQ(::pipe(ends.data()), 0);
    const pid_t child = ::fork();
    if (child == 0) {
        ::dup2(ends[1], 1);
        ::execl("/proc/self/exe", "vm-machine", "--start-and-wait", nullptr);
        ::_exit(127);
    }
    ::close(ends[1]);
    std::string text;
    char c;
    while (::read(ends[0], &c, 1) == 1 && c != '\n') text += c;
    ::close(ends[0]);
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    ASSERT_NE(text, "") << "the child did not start its machine";
    const auto traces = nlohmann::json::parse(text);
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    std::string left;
    do {
        left.clear();
        for (const std::string path : traces["paths"])
            if (fs::exists(path)) left += path + " ";
        if (process_alive(traces["pid"])) left += "qemu";
        if (left.empty()) break;
        std::this_thread::sleep_for(100ms);
    } while (std::chrono::steady_clock::now() < deadline);
    EXPECT_EQ(left, "");
}

int start_and_wait() {
    Machine m(*config_from_environment());
    m.start();
    const nlohmann::json traces = {{"pid", m.qemu_pid()},
                                   {"paths",
                                    {m.run_dir().string(), m.swap_disk().parent_path().string(),
                                     m.qemu_log().parent_path().string()}}};
    std::cout << traces.dump() << std::endl;
    for (;;) m.agent().idle(1000ms);
}

}  // namespace
}  // namespace vttm::machine::test

int main(int argc, char** argv) {
    if (argc == 2 && std::string_view(argv[1]) == "--start-and-wait")
        return vttm::machine::test::start_and_wait();
    testing::InitGoogleTest(&argc, argv);
    return RUN_ALL_TESTS();
}
