// SPDX-License-Identifier: Apache-2.0
// A machine with one vttm device whose CPU is the test: QEMU's qtest protocol, and QMP for what a
// host does.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "tests/unit/qtest/qemu_process.h"

namespace vttm::independent {

struct MachineConfig {
    uint64_t ram = 128ull << 20;
    uint64_t vram = 64ull << 20;
    uint64_t vram_visible = 32ull << 20;
    bool witness = false;  // the host keeps a witness log
};

class Wire {
public:
    explicit Wire(const MachineConfig& config = {});

    uint64_t In(unsigned bytes, uint16_t port);
    void Out(unsigned bytes, uint16_t port, uint32_t value);
    /// One access of 1, 2, 4 or 8 bytes to the physical address space.
    uint64_t Load(unsigned bytes, uint64_t address);
    void Store(unsigned bytes, uint64_t address, uint64_t value);
    std::vector<uint8_t> Read(uint64_t address, size_t bytes);
    void Write(uint64_t address, std::span<const uint8_t> bytes);

    /// A QMP command; returns what it returned; throws std::runtime_error on an error.
    nlohmann::json Qmp(const std::string& command,
                       nlohmann::json arguments = nlohmann::json::object());

    /// What the device has written to its witness log.
    std::vector<uint8_t> WitnessLog() const;

    const MachineConfig& config() const { return config_; }

private:
    std::string Command(const std::string& line);

    MachineConfig config_;
    qtest::TempDir dir_;
    qtest::LineSocket qtest_;
    qtest::LineSocket qmp_;
    std::unique_ptr<qtest::QemuProcess> qemu_;
};

}  // namespace vttm::independent
