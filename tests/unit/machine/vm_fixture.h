// SPDX-License-Identifier: Apache-2.0
// Machines for the tests that boot a real guest (suite 'vm').
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "host-backend/machine/interrupt.h"
#include "host-backend/machine/machine.h"
#include "host-backend/machine/process.h"

namespace vttm::machine::test {

// From the vm.json that VTTM_VM names; nullopt if there is none. VTTM_VM_CMDLINE is appended to the
// kernel's command line.
inline std::optional<MachineConfig> config_from_environment() {
    const char* path = std::getenv("VTTM_VM");
    std::ifstream file(path ? path : "");
    if (!file) return std::nullopt;
    const auto vm = nlohmann::json::parse(file);
    MachineConfig config;
    config.qemu = vm.at("qemu").get<std::string>();
    config.kernel = vm.at("kernel").get<std::string>();
    config.initramfs = vm.at("initramfs").get<std::string>();
    config.accel = vm.value("accel", "tcg");
    config.variant = vm.value("variant", "base");
    config.ram_mib = 512;
    config.vram_mib = 64;
    config.swap_mib = 256;
    if (const char* extra = std::getenv("VTTM_VM_CMDLINE")) config.cmdline_extra = extra;
    return config;
}

inline std::string slurp(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

// Everything that a machine leaves must be gone: directories, VRAM's file, QEMU.
struct Traces {
    explicit Traces(const Machine& m)
        : run_dir(m.run_dir()), disk_dir(m.swap_disk().parent_path()), pid(m.qemu_pid()) {}

    std::string found() const {
        std::string out;
        for (const auto& path :
             {run_dir, disk_dir,
              std::filesystem::path("/dev/shm") / (run_dir.filename().string() + ".vram")})
            if (std::filesystem::exists(path)) out += path.string() + " is left; ";
        if (pid != 0 && process_alive(pid)) out += "QEMU runs; ";
        return out;
    }

    std::filesystem::path run_dir;
    std::filesystem::path disk_dir;
    int pid;
};

class VmTest : public testing::Test {
  protected:
    void SetUp() override {
        auto found = config_from_environment();
        if (!found) GTEST_SKIP() << "no virtual machine is built (VTTM_VM names no vm.json)";
        config = std::move(*found);
        const auto base = std::filesystem::path(testing::TempDir()) /
                          ("vttm-vm-test-" + std::to_string(::getpid()));
        config.logs_dir = base;
    }
    void TearDown() override {
        clear_interrupt();
        std::error_code ignored;
        if (!HasFailure()) std::filesystem::remove_all(config.logs_dir, ignored);
    }

    // Runs f, which must throw E; returns what was thrown.
    template <typename E, typename F>
    E expect_error(F&& f) {
        try {
            f();
        } catch (const E& e) {
            return e;
        } catch (const std::exception& e) {
            ADD_FAILURE() << "another error: " << e.what();
            throw;
        }
        ADD_FAILURE() << "no error";
        throw std::runtime_error("no error");
    }

    MachineConfig config;
};

}  // namespace vttm::machine::test
