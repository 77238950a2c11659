// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/preflight.h"

#include <gtest/gtest.h>

#include <fstream>

namespace vttm::machine {
namespace {

namespace fs = std::filesystem;
constexpr std::uint64_t kMiB = 1ull << 20;

template <typename E, typename F>
std::string message_of(F&& f, int exit_code) {
    try {
        f();
    } catch (const E& e) {
        EXPECT_EQ(e.exit_code(), exit_code);
        return e.what();
    }
    ADD_FAILURE() << "not thrown";
    return {};
}

TEST(Preflight, MemAvailableIsParsed) {
    EXPECT_EQ(mem_available("MemTotal:  100 kB\nMemAvailable:    2048 kB\n"), 2 * kMiB);
    EXPECT_FALSE(mem_available("MemTotal: 100 kB\n"));
    EXPECT_FALSE(mem_available("MemAvailable: much\n"));
    EXPECT_FALSE(mem_available("MemAvailable:"));
}

TEST(Preflight, RamIsGuestAndVramAndQemu) {
    MachineConfig config;
    EXPECT_EQ(ram_needed(config), (1536 + 256 + 256) * kMiB);
    EXPECT_NO_THROW(check_ram(2048 * kMiB, ram_needed(config), "/x"));
    const auto text = message_of<TooLittleRam>(
        [&] { check_ram(2048 * kMiB - 1, ram_needed(config), "/x"); }, 15);
    EXPECT_NE(text.find("needs 2048 MiB"), std::string::npos) << text;
    EXPECT_NE(text.find("what to do"), std::string::npos) << text;
}

TEST(Preflight, TightestCgroupLimitCounts) {
    const fs::path root =
        fs::path(testing::TempDir()) / ("vttm-cgroup-" + std::to_string(::getpid()));
    fs::create_directories(root / "a" / "b");
    EXPECT_FALSE(cgroup_available(root, "0::/a/b\n"));
    std::ofstream(root / "a" / "b" / "memory.max") << "max\n";
    std::ofstream(root / "a" / "b" / "memory.current") << "5\n";
    EXPECT_FALSE(cgroup_available(root, "0::/a/b\n"));
    std::ofstream(root / "a" / "memory.max") << "1000\n";
    std::ofstream(root / "a" / "memory.current") << "300\n";
    EXPECT_EQ(cgroup_available(root, "1:name=x:/y\n0::/a/b\n"), 700u);
    std::ofstream(root / "memory.max") << "100\n";
    std::ofstream(root / "memory.current") << "300\n";
    EXPECT_EQ(cgroup_available(root, "0::/a/b\n"), 0u);
    EXPECT_EQ(cgroup_available(root, "0::/\n"), 0u);
    EXPECT_FALSE(cgroup_available(root, "3:memory:/a\n"));
    EXPECT_FALSE(cgroup_available(root, ""));
    fs::remove_all(root);
}

TEST(Preflight, DiskNamesTheDirectory) {
    MachineConfig config;
    EXPECT_NO_THROW(check_disk(disk_needed(config), disk_needed(config), "/d"));
    const auto text =
        message_of<DiskFull>([&] { check_disk(0, disk_needed(config), "/some/dir"); }, 12);
    EXPECT_NE(text.find("/some/dir"), std::string::npos) << text;
}

class WithFiles : public testing::Test {
  protected:
    void SetUp() override {
        dir = fs::path(testing::TempDir()) / ("vttm-preflight-" + std::to_string(::getpid()));
        fs::create_directories(dir);
        for (const char* name : {"qemu", "kernel", "initramfs"}) std::ofstream(dir / name) << "x";
        fs::permissions(dir / "qemu", fs::perms::owner_all);
        config.qemu = dir / "qemu";
        config.kernel = dir / "kernel";
        config.initramfs = dir / "initramfs";
        config.ram_mib = 64;
        config.vram_mib = 2;
        config.swap_mib = 1;
        config.disk_dir = dir / "not" / "there" / "yet";
    }
    void TearDown() override { fs::remove_all(dir); }
    fs::path dir;
    MachineConfig config;
};

TEST_F(WithFiles, GoodOnesPass) { EXPECT_NO_THROW(preflight(config)); }

TEST_F(WithFiles, MissingFileIsNamed) {
    for (const char* name : {"qemu", "kernel", "initramfs"}) {
        fs::rename(dir / name, dir / "away");
        const auto text = message_of<InfraError>([&] { preflight(config); }, 6);
        EXPECT_NE(text.find((dir / name).string()), std::string::npos) << text;
        fs::rename(dir / "away", dir / name);
    }
}

TEST_F(WithFiles, AbsurdSizesAreRefused) {
    auto bad = config;
    bad.ram_mib = 0;
    EXPECT_THROW(preflight(bad), std::invalid_argument);
    bad = config;
    bad.low_ram_mib = 63;
    EXPECT_THROW(preflight(bad), std::invalid_argument);
    bad = config;
    bad.vram_mib = 100;
    EXPECT_THROW(preflight(bad), std::invalid_argument);
    bad = config;
    bad.accel = "magic";
    EXPECT_THROW(preflight(bad), std::invalid_argument);
    bad = config;
    bad.vcpus = 0;
    EXPECT_THROW(preflight(bad), std::invalid_argument);
}

TEST_F(WithFiles, MoreThanTheHostHas) {
    auto bad = config;
    bad.ram_mib = 1u << 20;
    message_of<TooLittleRam>([&] { preflight(bad); }, 15);
    bad = config;
    bad.swap_mib = 1ull << 40;
    message_of<DiskFull>([&] { preflight(bad); }, 12);
}

TEST(Preflight, FileThatIsNotNamedIsNotThere) {
    MachineConfig config;
    config.qemu = "/bin/true";
    try {
        preflight(config);
        FAIL();
    } catch (const InfraError& e) {
        EXPECT_NE(std::string(e.what()).find("kernel cannot be used: No such file"), std::string::npos)
            << e.what();
    }
}

}  // namespace
}  // namespace vttm::machine
