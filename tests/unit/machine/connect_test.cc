// SPDX-License-Identifier: Apache-2.0
// --connect: a libvirtd of our own, which runs QEMU as another user, as the system's would.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cstring>
#include <fstream>
#include <thread>

#include "tests/unit/machine/vm_fixture.h"

namespace vttm::machine::test {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

// libvirtd and virtlogd in a mount and a network namespace: the system's own libvirt, its
// directories and its networks are neither seen nor touched. Only the socket is outside.
class PrivateDaemon {
public:
    PrivateDaemon() {
        std::string name = (fs::temp_directory_path() / "libvirtd-XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
        home_ = name;
        ::chmod(home_.c_str(), 0755);
        fs::create_directories(home_ / "sock");
        std::ofstream(home_ / "libvirtd.conf")
            << "unix_sock_dir = \"" << (home_ / "sock").string() << "\"\n"
            << "auth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\n"
            << "log_outputs = \"3:file:" << (home_ / "libvirtd.log").string() << "\"\n";
        std::ofstream(home_ / "virtlogd.conf") << "";
        pid_ = ::fork();
        if (pid_ == 0) child();
        const auto deadline = std::chrono::steady_clock::now() + 30s;
        while (!fs::exists(home_ / "sock" / "libvirt-sock") &&
               std::chrono::steady_clock::now() < deadline)
            std::this_thread::sleep_for(100ms);
    }
    ~PrivateDaemon() {
        ::kill(-pid_, SIGTERM);
        for (int i = 0; i < 100 && ::waitpid(pid_, nullptr, WNOHANG) == 0; ++i)
            std::this_thread::sleep_for(50ms);
        ::kill(-pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
        std::error_code ignored;
        fs::remove_all(home_, ignored);
    }
    PrivateDaemon(const PrivateDaemon&) = delete;
    PrivateDaemon& operator=(const PrivateDaemon&) = delete;

    // Root in a container often may not.
    static bool possible() {
        const pid_t probe = ::fork();
        if (probe == 0) ::_exit(unshared() ? 0 : 1);
        int status = -1;
        return probe > 0 && ::waitpid(probe, &status, 0) == probe && status == 0;
    }

    pid_t pid() const { return pid_; }
    std::string uri() const {
        return "qemu+unix:///system?socket=" + (home_ / "sock" / "libvirt-sock").string();
    }
    std::string log() const { return slurp(home_ / "libvirtd.log"); }

private:
    static bool unshared() {
        return ::unshare(CLONE_NEWNS | CLONE_NEWNET) == 0 &&
               ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
    }

    [[noreturn]] void child() const {
        ::setpgid(0, 0);
        const int out = ::open((home_ / "out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        ::dup2(out, 1);
        ::dup2(out, 2);
        if (!unshared()) ::_exit(126);
        for (const char* dir : {"/etc/libvirt", "/var/lib/libvirt", "/run/libvirt",
                                "/var/log/libvirt", "/var/cache/libvirt"}) {
            const fs::path ours = home_ / fs::path(dir).relative_path();
            std::error_code error;
            fs::create_directories(ours, error);
            fs::create_directories(dir, error);
            if (::mount(ours.c_str(), dir, nullptr, MS_BIND, nullptr) != 0) ::_exit(125);
        }
        open_kvm();
        if (::fork() == 0) {
            ::execl("/usr/sbin/virtlogd", "virtlogd", "--config", (home_ / "virtlogd.conf").c_str(),
                    "--pid-file", (home_ / "virtlogd.pid").c_str(), nullptr);
            ::_exit(127);
        }
        ::execl("/usr/sbin/libvirtd", "libvirtd", "--config", (home_ / "libvirtd.conf").c_str(),
                "--pid-file", (home_ / "libvirtd.pid").c_str(), nullptr);
        ::_exit(127);
    }

    // libvirtd may open /dev/kvm, its QEMU perhaps not: then libvirt 9 throws away what it learned
    // about QEMU whenever it asks, and a start takes a minute and a half. Here QEMU may, too.
    void open_kvm() const {
        struct stat kvm {};
        const fs::path node = home_ / "kvm";
        if (::stat("/dev/kvm", &kvm) == 0 &&
            ::mknod(node.c_str(), S_IFCHR | 0666, kvm.st_rdev) == 0 &&
            ::chmod(node.c_str(), 0666) == 0)
            ::mount(node.c_str(), "/dev/kvm", nullptr, MS_BIND, nullptr);  // else it is only slow
    }

    fs::path home_;
    pid_t pid_ = -1;
};

class ConnectTest : public VmTest {
protected:
    void SetUp() override {
        VmTest::SetUp();
        if (IsSkipped()) return;
        for (const char* program : {"/usr/sbin/libvirtd", "/usr/sbin/virtlogd"})
            if (::access(program, X_OK) != 0)
                GTEST_SKIP() << "no " << program << " (package libvirt-daemon)";
        if (::geteuid() != 0) GTEST_SKIP() << "needs root, for a daemon of its own";
        if (!PrivateDaemon::possible())
            GTEST_SKIP() << "needs CAP_SYS_ADMIN, for a daemon in namespaces of its own";
        daemon.emplace();
        config.connect_uri = daemon->uri();
    }
    std::optional<PrivateDaemon> daemon;
};

// The user whom a process runs as.
uid_t user_of(int pid) {
    struct stat st {};
    return ::stat(("/proc/" + std::to_string(pid)).c_str(), &st) == 0 ? st.st_uid : 0;
}

TEST_F(ConnectTest, BootsReadsMemoryAndLeavesNothing) {
    Machine m(config);
    try {
        m.start();
    } catch (const Error& e) {
        FAIL() << e.what() << "\n" << daemon->log();
    }
    const Traces traces(m);
    EXPECT_NE(user_of(m.qemu_pid()), ::geteuid()) << "QEMU was to run as a user of its own";
    EXPECT_NE(m.agent().call("hello", nullptr, 20s).value("kernel", ""), "");
    EXPECT_EQ(m.ram().bytes().size(), config.ram_mib << 20);
    EXPECT_EQ(m.vram().bytes().size(), config.vram_mib << 20);
    EXPECT_TRUE(fs::exists(m.witness_log()));
    EXPECT_NE(slurp(m.console_log()).find("vttm-init: ready"), std::string::npos);
    {
        PauseGuard paused(m);
        EXPECT_EQ(m.qmp("query-status")["running"], false);
    }
    // The swap disk is written by QEMU's user and read by us.
    m.agent().call("pressure.hog", {{"mib", 500}}, 120s);
    m.agent().call("sync", nullptr, 60s);
    EXPECT_GT(fs::file_size(m.swap_disk()), 0u);
    struct stat st {};
    ASSERT_EQ(::stat(m.swap_disk().c_str(), &st), 0);
    EXPECT_GT(st.st_blocks, 0);
    m.stop(10s);
    EXPECT_EQ(traces.found(), "");
}

TEST_F(ConnectTest, PanicIsSeenThroughTheDaemonsLog) {
    Machine m(config);
    m.start();
    const Traces traces(m);
    m.agent().post("fault", {{"kind", "panic"}});
    const auto e = expect_error<GuestPanic>([&] { m.agent().idle(30s); });
    EXPECT_NE(slurp(e.problem().where / "console.log").find("Kernel panic"), std::string::npos);
    m.stop();
    EXPECT_EQ(traces.found(), "");
}

TEST_F(ConnectTest, DaemonThatIsNotThereIsNamed) {
    config.connect_uri = "qemu+unix:///system?socket=/nonexistent/sock";
    Machine m(config);
    const auto e = expect_error<InfraError>([&] { m.start(); });
    EXPECT_NE(std::string(e.what()).find("/nonexistent/sock"), std::string::npos) << e.what();
}

}  // namespace
}  // namespace vttm::machine::test
