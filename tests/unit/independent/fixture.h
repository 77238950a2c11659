// SPDX-License-Identifier: Apache-2.0
// A fresh machine per test with both engines up, and the two counters that a sound driver leaves at
// 0.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <random>

#include "tests/unit/independent/address_space.h"
#include "tests/unit/independent/device.h"
#include "tests/unit/independent/ring.h"

namespace vttm::independent {

class IndependentDriver : public testing::Test {
protected:
    void SetUp() override {
        if (!std::filesystem::exists(qtest::QemuPath())) {
            GTEST_SKIP() << "no QEMU at " << qtest::QemuPath() << ": ./vttm build";
        }
        wire = std::make_unique<Wire>(config());
        device = std::make_unique<Device>(*wire);
        copy = std::make_unique<Ring>(*device, VTTM_ENGINE_COPY);
        stamp = std::make_unique<Ring>(*device, VTTM_ENGINE_STAMP);
        copy->Enable();
        stamp->Enable();
        device->EnableFaultRing();
    }

    void TearDown() override {
        if (!device) return;
        EXPECT_EQ(device->Rd(VTTM_REG_BAD_ACCESS), bad_accesses)
            << "the driver broke a rule of the registers";
        EXPECT_EQ(device->Rd(VTTM_REG_STALE_COUNT), stale) << "the driver forgot an invalidation";
        EXPECT_EQ(device->Rd(VTTM_REG_FAULT_COUNT), faults)
            << "faults that no test expected, or none where one was";
    }

    virtual MachineConfig config() const { return {}; }

    std::vector<uint8_t> Random(size_t bytes) {
        std::vector<uint8_t> out(bytes);
        for (uint8_t& b : out) b = static_cast<uint8_t>(random());
        return out;
    }

    /// Runs a program that must end with one fault of @reason, and returns its record.
    vttm_fault_record OneFault(Ring& ring, const Program& program, uint32_t reason) {
        const uint32_t status = ring.Run(program);
        EXPECT_EQ(status, reason);
        const std::vector<vttm_fault_record> records = device->TakeFaults();
        EXPECT_EQ(records.size(), 1u);
        faults++;
        if (records.empty()) return {};
        EXPECT_EQ(VTTM_FAULT_INFO_REASON(records[0].info), reason);
        return records[0];
    }

    std::mt19937 random{20261121};
    std::unique_ptr<Wire> wire;
    std::unique_ptr<Device> device;
    std::unique_ptr<Ring> copy, stamp;
    uint32_t bad_accesses = 0, stale = 0, faults = 0;  // what the test has provoked
};

}  // namespace vttm::independent
