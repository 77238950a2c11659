// SPDX-License-Identifier: Apache-2.0
// A device that was saved when version 1 of its state was made must go on in today's build: whoever changes what is
// saved and leaves the versions as they are is told here. golden/device-v1.txt is that device: the bytes of its
// section, and what its registers read. VTTM_QTEST_RECORD=FILE with
// --gtest_also_run_disabled_tests --gtest_filter=Golden.* writes another; one is due with each new version.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/unit/qtest/moving_vm.h"

namespace vttm::qtest {
namespace {

constexpr const char* kFile = VTTM_SOURCE_ROOT "/tests/unit/qtest/golden/device-v1.txt";
constexpr size_t kRow = 32;
constexpr uint32_t kFills = 60;

class Golden : public MovingVm {
protected:
    struct Saved {
        std::vector<uint8_t> bytes;
        std::vector<uint32_t> registers;
        nlohmann::json stats;
    };

    /// What the driver of the golden device has in memory; and, where there is a device, its registers.
    void Drive() {
        // So that few fields are 0, or equal.
        gpu->SetReg(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
        while (gpu->Reg(VTTM_REG_DEV_STATUS) & VTTM_DEV_STATUS_RESETTING) continue;
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) gpu->StartEngine(e);
        for (int i = 0; i < 3; i++) vm->Write(kRegsBase + 1, 0, 1);
        gpu->SetReg64(VTTM_REG_TLB_INV_START_LO, 0x123456000);
        gpu->SetReg(VTTM_REG_TLB_INV_PAGES, 5);
        gpu->SetReg(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(VTTM_TLB_INV_RANGE, 1));
        vm->SetDeviceProperty("vram-target", 6 * kMiB);
        gpu->MapPages({kData | VTTM_PTE_SYSTEM | VTTM_PTE_WRITE | VTTM_PTE_VALID});
        gpu->SetReg64(VTTM_REG_FAULT_RING_BASE_LO, kData + 0x10000);
        gpu->SetReg(VTTM_REG_FAULT_RING_SIZE, 4096);
        gpu->SetReg(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
        gpu->SetReg(VTTM_REG_VM_MODE(1), VTTM_VM_MODE_RETRY);
        gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ERROR | VTTM_IRQ_ENGINE(0));
        gpu->MaskVector(VTTM_MSIX_ERROR, true);
        std::vector<Packet> fills;
        for (uint32_t i = 1; i <= kFills; i++) fills.push_back(Fill(VTTM_SPACE_VRAM, 0, 8 * kMiB, i));
        copy_ = gpu->Submit(VTTM_ENGINE_COPY, fills, VTTM_PKT_FLAG_IRQ);
        // It stalls at the page that is not there.
        stamp_ = gpu->Submit(VTTM_ENGINE_STAMP, {SetVm(1), StampWrite(VTTM_SPACE_VM, 0, 3, {.key = 7, .buffer = 3, .generation = 1})});
    }
    /// Of file(): where the fields of the device begin and end.
    std::pair<size_t, size_t> Section() const {
        const std::vector<uint8_t> bytes = FileBytes();
        const auto [model, size] = ModelBytes();
        const std::string name = "0000:00:04.0/vttm";
        const auto at = std::search(bytes.begin(), bytes.end(), name.begin(), name.end());
        if (at == bytes.end()) throw QemuError("no device in the saved machine");
        return {at - bytes.begin() + name.size() + 8, model + size};  // instance and version of the section
    }
    void Splice(const std::vector<uint8_t>& section) {
        std::vector<uint8_t> bytes = FileBytes();
        const auto [begin, end] = Section();
        bytes.erase(bytes.begin() + begin, bytes.begin() + end);
        bytes.insert(bytes.begin() + begin, section.begin(), section.end());
        SetFileBytes(bytes);
    }
    static void Write(const std::string& path, const Saved& saved) {
        std::ofstream out(path);
        out << "# SPDX-License-Identifier: Apache-2.0\n# See golden_test.cc. Rows and registers that are not there are 0.\n";
        out << "bytes " << saved.bytes.size() << "\n";
        for (size_t at = 0; at < saved.bytes.size(); at += kRow) {
            const size_t n = std::min(kRow, saved.bytes.size() - at);
            std::string row;
            for (size_t i = 0; i < n; i++) row += fmt::format("{:02x}", saved.bytes[at + i]);
            if (row.find_first_not_of('0') != row.npos) out << fmt::format("at {:#06x} {}\n", at, row);
        }
        for (size_t i = 0; i < saved.registers.size(); i++)
            if (saved.registers[i]) out << fmt::format("register {} {:#x}\n", i, saved.registers[i]);
        out << "stats " << saved.stats.dump() << "\n";
    }
    static Saved Read(const std::string& path, size_t registers) {
        std::ifstream in(path);
        Saved saved{.bytes = {}, .registers = std::vector<uint32_t>(registers), .stats = {}};
        for (std::string line; std::getline(in, line);) {
            std::istringstream words(line);
            std::string what, at, value;
            words >> what >> at >> value;
            if (what == "stats") saved.stats = nlohmann::json::parse(line.substr(what.size()));
            if (what == "bytes") saved.bytes.resize(std::stoul(at));
            if (what == "register") saved.registers.at(std::stoul(at)) = static_cast<uint32_t>(std::stoul(value, nullptr, 0));
            for (size_t i = 0; what == "at" && i < value.size(); i += 2)
                saved.bytes.at(std::stoul(at, nullptr, 0) + i / 2) =
                    static_cast<uint8_t>(std::stoul(value.substr(i, 2), nullptr, 16));
        }
        return saved;
    }
    /// All but the time of the look.
    nlohmann::json Stats() {
        auto stats = nlohmann::json::parse(vm->DeviceProperty("stats").get<std::string>());
        stats.erase("time_ns");
        stats.erase("at_work");  // of the moment, too
        return stats;
    }
    uint64_t Done() { return gpu->Reg64(VTTM_ENGINE_BASE(VTTM_ENGINE_COPY) + VTTM_ENG_BYTES_LO); }
    bool Stalled() {
        return gpu->Reg(VTTM_ENGINE_BASE(VTTM_ENGINE_STAMP) + VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED;
    }

    uint64_t copy_ = 0, stamp_ = 0;
};

// No test: makes the file.
TEST_F(Golden, DISABLED_Recorded) {
    const char* path = std::getenv("VTTM_QTEST_RECORD");
    ASSERT_NE(path, nullptr) << "VTTM_QTEST_RECORD names no file to write";
    Start();
    Drive();
    while (!Done() || !Stalled()) ASSERT_EQ(vm->process().Log(), "");
    vm->Qmp("stop");
    ASSERT_LT(Done(), kFills * 8 * kMiB);
    Save();
    const auto [begin, end] = Section();
    const std::vector<uint8_t> bytes = FileBytes();
    Write(path, {{bytes.begin() + begin, bytes.begin() + end}, Registers(), Stats()});
}

TEST_F(Golden, Version1GoesOn) {
    StartCold();
    const Saved golden = Read(kFile, Registers().size());
    ASSERT_FALSE(golden.bytes.empty()) << kFile;
    Drive();  // of a device whose BARs are not there: memory only
    vm->Qmp("stop");
    ASSERT_NO_FATAL_FAILURE(Save());
    Splice(golden.bytes);
    ASSERT_NO_FATAL_FAILURE(Load());
    EXPECT_EQ(Registers(), golden.registers);
    EXPECT_EQ(Stats(), golden.stats);
    const uint64_t done = Done();
    EXPECT_GT(done, 0u);
    EXPECT_LT(done, kFills * 8 * kMiB);
    EXPECT_TRUE(gpu->VectorPending(VTTM_MSIX_ERROR)) << "of the stall";
    EXPECT_TRUE(Stalled());

    vm->Qmp("cont");
    ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, copy_));
    EXPECT_TRUE(gpu->WaitMessage(VTTM_MSIX_ENGINE(VTTM_ENGINE_COPY)));
    EXPECT_EQ(Done(), kFills * 8 * kMiB);
    EXPECT_EQ(vm->Read32(kVramBase + 8 * kMiB - 4), kFills);
    vm->Write64(kTables + 8, (kData + 0x1000) | VTTM_PTE_SYSTEM | VTTM_PTE_WRITE | VTTM_PTE_VALID);
    vm->Write64(kTables + 16, (kData + 0x2000) | VTTM_PTE_SYSTEM | VTTM_PTE_WRITE | VTTM_PTE_VALID);
    for (int i = 0; i < 2 && Stalled(); i++)
        gpu->SetReg(VTTM_ENGINE_BASE(VTTM_ENGINE_STAMP) + VTTM_ENG_ANSWER,
                    VTTM_ENG_ANSWER_VAL(1, VTTM_ENG_ANSWER_RETRY));
    ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_STAMP, stamp_));
    EXPECT_EQ(gpu->Reg64(VTTM_ENGINE_BASE(VTTM_ENGINE_STAMP) + VTTM_ENG_BYTES_LO), 3u * 4096);
}

}  // namespace
}  // namespace vttm::qtest
