// SPDX-License-Identifier: Apache-2.0
// A virtual machine without a running guest: the test is the CPU. It reads and writes
// guest-physical memory and I/O ports through QEMU's qtest protocol, and steers the machine through
// QMP.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tests/unit/qtest/qemu_process.h"

namespace vttm::qtest {

inline constexpr uint64_t kMiB = 1ull << 20;

struct VmOptions {
    std::string machine = "q35";
    std::string accel = "qtest";
    uint64_t ram_size = 64 * kMiB;
    uint64_t vram_size = 8 * kMiB;
    std::string device_properties{};  ///< appended to -device vttm,..., as ",name=value"
    bool witness = false;             ///< with a witness log
    std::vector<std::string> more{};  ///< more arguments
};

class Vm {
public:
    /// Starts a machine with the device `vttm0` in slot 4 of bus 0. Throws QemuError.
    explicit Vm(const VmOptions& options);
    /// Ends it by QMP `quit` and throws nothing; see Quit() to check the status.
    ~Vm();

    /// Arguments that give a machine without the device (RAM size from @options).
    static std::vector<std::string> BaseArguments(const VmOptions& options);

    // Guest-physical memory, little-endian.
    uint32_t Read32(uint64_t addr) { return static_cast<uint32_t>(Number("readl", addr)); }
    uint64_t Read64(uint64_t addr) { return Number("readq", addr); }
    void Write32(uint64_t addr, uint32_t value) { Command("writel", addr, value); }
    void Write64(uint64_t addr, uint64_t value) { Command("writeq", addr, value); }
    /// Access of @size bytes (1, 2, 4 or 8).
    uint64_t Read(uint64_t addr, unsigned size);
    void Write(uint64_t addr, uint64_t value, unsigned size);
    std::vector<uint8_t> ReadBytes(uint64_t addr, size_t size);
    void WriteBytes(uint64_t addr, std::span<const uint8_t> bytes);
    void WriteWords(uint64_t addr, std::span<const uint32_t> words);

    // I/O ports and, through them, the configuration space of a function on bus 0.
    uint32_t In32(uint16_t port) { return static_cast<uint32_t>(Number("inl", port)); }
    void Out32(uint16_t port, uint32_t value) { Command("outl", port, value); }
    uint32_t Config32(unsigned slot, unsigned reg);
    void SetConfig32(unsigned slot, unsigned reg, uint32_t value);
    /// q35: the whole 4 KiB of a function on bus 0, in memory from the address on that this returns.
    uint64_t ExtendedConfig(unsigned slot);

    /// QMP. Returns what `return` holds; throws QemuError with the description.
    nlohmann::json Qmp(const std::string& command, nlohmann::json arguments = nullptr);
    /// Waits for an event of that name.
    nlohmann::json Event(const std::string& name);
    nlohmann::json DeviceProperty(const std::string& name);
    void SetDeviceProperty(const std::string& name, const nlohmann::json& value);
    /// Ends the machine; returns QEMU's exit status.
    int Quit();

    const TempDir& dir() const { return dir_; }
    std::string vram_path() const { return dir_.File("vram"); }
    std::string witness_path() const { return dir_.File("witness"); }
    QemuProcess& process() { return *process_; }

private:
    std::string Exchange(const std::string& command);
    uint64_t Number(const char* verb, uint64_t addr);
    void Command(const char* verb, uint64_t addr, uint64_t value);

    TempDir dir_;
    LineSocket qtest_;
    LineSocket qmp_;
    std::unique_ptr<QemuProcess> process_;
    std::vector<nlohmann::json> events_;
};

}  // namespace vttm::qtest
