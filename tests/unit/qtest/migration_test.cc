// SPDX-License-Identifier: Apache-2.0
// Migration of a GPU at work: nothing is lost, nothing is done twice, and what was tampered with is
// refused.
#include <cstring>
#include <thread>

#include "tests/unit/qtest/moving_vm.h"

namespace vttm::qtest {
namespace {

constexpr vttm_stamp_id kFirst{.key = 7, .page = 0, .buffer = 3, .generation = 1};
constexpr uint32_t kRounds = 70;  // of work: a ring is nearly full
constexpr unsigned kPmCtl = 4;    // in Power Management

class Migration : public MovingVm {
protected:
    /// Fills, copies and stamps for long, which end with: VRAM's lower half stamped, RAM at 8 MiB
    /// as filled, VRAM's upper half a copy of it.
    void BeginWork() {
        std::vector<Packet> copies, stamps;
        for (uint32_t i = 1; i <= kRounds; i++) {
            copies.push_back(Fill(VTTM_SPACE_SYSTEM, 8 * kMiB, 4 * kMiB, i));
            copies.push_back(
                Copy(VTTM_SPACE_VRAM, 4 * kMiB, VTTM_SPACE_SYSTEM, 8 * kMiB, 4 * kMiB));
            vttm_stamp_id id = kFirst;
            id.generation = i;
            stamps.push_back(StampWrite(VTTM_SPACE_VRAM, 0, 1024, id));
        }
        copy_seq_ = gpu->Submit(VTTM_ENGINE_COPY, copies, VTTM_PKT_FLAG_IRQ);
        stamp_seq_ = gpu->Submit(VTTM_ENGINE_STAMP, stamps);
    }
    bool AtWork() {
        return !(gpu->Reg(VTTM_ENGINE_BASE(0) + VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE) ||
               !(gpu->Reg(VTTM_ENGINE_BASE(1) + VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE);
    }
    /// Waits for the end of that work, and proves it.
    void EndWork() {
        ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, copy_seq_));
        ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_STAMP, stamp_seq_));
        EXPECT_EQ(VramFile(4 * kMiB, 4 * kMiB), Words(kRounds, 4 * kMiB));
        EXPECT_EQ(vm->ReadBytes(8 * kMiB, kMiB), Words(kRounds, kMiB));
        vttm_stamp_id id = kFirst;
        id.generation = kRounds;
        const std::vector<uint8_t> pages = VramFile(0, 4 * kMiB);
        for (size_t i = 0; i < 1024; i++, id.page++) {
            alignas(8) uint8_t page[VTTM_STAMP_PAGE_SIZE];
            std::memcpy(page, &pages[i * sizeof(page)], sizeof(page));
            ASSERT_EQ(vttm_stamp_classify(page, &id), VTTM_STAMP_GOOD) << i;
        }
        id.page = 0;
        EXPECT_EQ(gpu->Run(VTTM_ENGINE_STAMP, {StampVerify(VTTM_SPACE_VRAM, 0, 1024, id)}), 0u);
        EXPECT_EQ(vm->Read64(kResult + offsetof(vttm_stamp_result, good)), 1024u);
        EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_COUNT), 0u);
        bytes_ += kRounds * 8 * kMiB;
        EXPECT_EQ(gpu->Reg64(VTTM_ENGINE_BASE(0) + VTTM_ENG_BYTES_LO), bytes_)
            << "nothing twice, nothing left out";
    }
    static std::vector<uint8_t> Words(uint32_t value, size_t size) {
        std::vector<uint8_t> bytes(size);
        for (size_t i = 0; i < size; i += 4) std::memcpy(&bytes[i], &value, 4);
        return bytes;
    }
    void Move(const VmOptions& options = {}) {
        Save();
        const auto before = Registers();
        Load(options);
        EXPECT_EQ(Registers(), before);
    }

    uint64_t copy_seq_ = 0, stamp_seq_ = 0, bytes_ = 0;
};

TEST_F(Migration, DuringFillsCopiesAndStamps) {
    unsigned at_work = 0;
    for (const char* machine : {"q35", "pc"}) {
        const VmOptions options{.machine = machine};
        Start(options);
        gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(0));
        bytes_ = 0;
        // The engines stop somewhere else each time.
        for (int i = 0; i < 3; i++) {
            BeginWork();
            if (!i) vm->Qmp("stop");
            Move(options);
            at_work += AtWork();
            vm->Qmp("cont");
            EndWork();
            EXPECT_TRUE(gpu->WaitMessage(VTTM_MSIX_ENGINE(0)));
        }
        EXPECT_EQ(vm->Quit(), 0);
        EXPECT_EQ(vm->process().Log(), "");
    }
    EXPECT_GE(at_work, 2u) << "hardly ever within the work: it was over too soon";
}

// What engines write after memory was sent has to be sent again.
TEST_F(Migration, WritesBetweenPassesArrive) {
    Start();
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 2 * kMiB, 0x0a0a0a0a),
                                          Fill(VTTM_SPACE_SYSTEM, 8 * kMiB, kMiB, 0x0a0a0a0a)}),
              0u);
    // So little in each tenth of a second that no pass is over at once.
    vm->Qmp("migrate-set-parameters", {{"max-bandwidth", 2 * kMiB}, {"downtime-limit", 1}});
    BeginSave();
    // The CPU keeps it from an end until all memory was sent once.
    const auto keep_dirty = [&] {
        for (uint64_t i = 0; i < 256; i++) vm->Write64(32 * kMiB + i * 4096, i + 1);
    };
    const auto end = std::chrono::steady_clock::now() + 2 * kPatience;
    for (;;) {
        keep_dirty();
        const auto now = Progress();
        ASSERT_NE(now["status"], "completed") << "too soon: " << now.dump();
        ASSERT_LT(std::chrono::steady_clock::now(), end) << now.dump();
        if (now.contains("ram") && now["ram"]["dirty-sync-count"] >= 3) break;
    }
    EXPECT_EQ(
        gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, kMiB, 0x0b0b0b0b),
                                    Fill(VTTM_SPACE_SYSTEM, 8 * kMiB, kMiB / 2, 0x0b0b0b0b),
                                    Copy(VTTM_SPACE_SYSTEM, 10 * kMiB, VTTM_SPACE_VRAM, 0, kMiB)}),
        0u);
    vttm_stamp_id id = kFirst;
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_STAMP, {StampWrite(VTTM_SPACE_VRAM, 4 * kMiB, 256, id)}), 0u);
    ASSERT_NE(Progress()["status"], "completed") << "the engines came too late";
    vm->Qmp("migrate-set-parameters", {{"max-bandwidth", 4096 * kMiB}, {"downtime-limit", 2000}});
    ASSERT_EQ(WaitSaved(), "completed");

    const std::vector<uint8_t> vram = VramFile(0, 8 * kMiB);
    const std::vector<uint8_t> ram = vm->ReadBytes(8 * kMiB, 4 * kMiB);
    ASSERT_EQ(vram[0], 0x0b);
    Load();
    EXPECT_EQ(VramFile(0, 8 * kMiB) == vram, true) << "VRAM is not what it was";
    EXPECT_EQ(vm->ReadBytes(8 * kMiB, 4 * kMiB) == ram, true) << "RAM is not what it was";
    vm->Qmp("cont");
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_STAMP, {StampVerify(VTTM_SPACE_VRAM, 4 * kMiB, 256, id)}), 0u);
    EXPECT_EQ(vm->Read64(kResult + offsetof(vttm_stamp_result, good)), 256u);
}

TEST_F(Migration, InterruptsThatWait) {
    Start();
    gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(0) | VTTM_IRQ_VRAM);
    gpu->MaskVector(VTTM_MSIX_ENGINE(0), true);
    const uint64_t seq = gpu->Submit(VTTM_ENGINE_COPY, {}, VTTM_PKT_FLAG_IRQ);
    ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, seq));
    while (!gpu->VectorPending(VTTM_MSIX_ENGINE(0))) std::this_thread::yield();
    Move();
    vm->Qmp("cont");
    EXPECT_TRUE(gpu->VectorPending(VTTM_MSIX_ENGINE(0)));
    gpu->MaskVector(VTTM_MSIX_ENGINE(0), false);
    EXPECT_TRUE(gpu->WaitMessage(VTTM_MSIX_ENGINE(0)));
    // The host's wish while the machine stands still, and an interrupt for it.
    vm->Qmp("stop");
    vm->SetDeviceProperty("vram-target", 4 * kMiB);
    Move();
    vm->Qmp("cont");
    EXPECT_EQ(gpu->Reg64(VTTM_REG_VRAM_TARGET_LO), 4 * kMiB);
    EXPECT_TRUE(gpu->Reg(VTTM_REG_IRQ_STATUS) & VTTM_IRQ_VRAM);
}

TEST_F(Migration, VramThatWasGivenUp) {
    Start();
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 8 * kMiB, 5)}), 0u);
    vm->SetDeviceProperty("vram-target", 2 * kMiB);
    gpu->SetReg64(VTTM_REG_VRAM_LIMIT_LO, 4 * kMiB);
    Move();
    EXPECT_EQ(vm->DeviceProperty("vram-target"), 2 * kMiB);
    EXPECT_EQ(vm->DeviceProperty("vram-limit"), 4 * kMiB);
    EXPECT_EQ(VramFile(4 * kMiB - 4, 4), Words(5, 4));
    vm->Qmp("cont");
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 4 * kMiB, 64, 5)}),
              static_cast<uint32_t>(VTTM_FAULT_VRAM_RANGE));
}

TEST_F(Migration, AResizedBar) {
    constexpr unsigned kCommand = 4, kBar = 0x10 + 4 * VTTM_BAR_VRAM, kRebarCtl = 0x108;
    for (const auto& [from, to, bytes] : {std::tuple{"2M", 3u, 8 * kMiB}, {"8M", 1u, 2 * kMiB}}) {
        const VmOptions options{.device_properties = std::string(",vram-visible=") + from};
        Start(options);
        const uint64_t config = vm->ExtendedConfig(kSlot);
        const uint32_t command = vm->Config32(kSlot, kCommand);
        vm->SetConfig32(kSlot, kCommand, command & ~2u);
        vm->Write32(config + kRebarCtl, to << 8 | VTTM_BAR_VRAM);
        vm->SetConfig32(kSlot, kBar, Lo(kVramBase));
        vm->SetConfig32(kSlot, kBar + 4, Hi(kVramBase));
        vm->SetConfig32(kSlot, kCommand, command);
        ASSERT_EQ(gpu->Reg64(VTTM_REG_VRAM_VISIBLE_LO), bytes);
        vm->Write32(kVramBase + bytes - 4, 0x12345678);
        Move(options);
        EXPECT_EQ(gpu->Reg64(VTTM_REG_VRAM_VISIBLE_LO), bytes);
        EXPECT_EQ(vm->Read32(kVramBase + bytes - 4), 0x12345678u);
        vm->Write32(kVramBase + bytes - 4, 0x87654321);
        EXPECT_EQ(VramFile(bytes - 4, 4), Words(0x87654321, 4));
        EXPECT_EQ(vm->Read32(config + kRebarCtl) >> 8 & 0x3f, to);
        SystemReset();
        gpu->MapBars();
        EXPECT_EQ(gpu->Reg64(VTTM_REG_VRAM_VISIBLE_LO), 10 * kMiB - bytes) << "as at power-on";
    }
}

TEST_F(Migration, Asleep) {
    Start();
    BeginWork();
    const unsigned power = gpu->Capability(kCapPower) + kPmCtl;
    vm->SetConfig32(kSlot, power, 3);
    Save();
    Load();
    vm->Qmp("cont");
    EXPECT_EQ(vm->Config32(kSlot, power) & 3, 3u);
    EXPECT_NE(gpu->Reg(VTTM_REG_MAGIC), VTTM_MAGIC);
    vm->SetConfig32(kSlot, power, 0);
    BringUp();
    EXPECT_EQ(gpu->Reg(VTTM_REG_MAGIC), VTTM_MAGIC);
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 1)}), 0u);
}

TEST_F(Migration, WithAWitness) {
    const VmOptions options{.witness = true};
    Start(options);
    BeginWork();
    Move(options);
    vm->Qmp("cont");
    EndWork();
    EXPECT_EQ(vm->DeviceProperty("witness-lost"), 0u);
}

TEST_F(Migration, CountersOfTheHostGoOn) {
    Start();
    gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, kMiB, 5)});
    gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 9 * kMiB, 64, 5)});
    vm->Qmp("stop");
    // All but the time of the look.
    const auto counts = [this] {
        auto stats = nlohmann::json::parse(vm->DeviceProperty("stats").get<std::string>());
        EXPECT_EQ(stats.erase("time_ns") + stats.erase("at_work"), 2u);
        return stats;
    };
    const auto before = counts();
    Save();
    Load();
    EXPECT_EQ(counts(), before);
}

// --- Refused -------------------------------------------------------------------------------------

TEST_F(Migration, AFaultPlanStaysWhereItIs) {
    Start();
    const auto refused = [&] {
        try {
            BeginSave();
            return std::string();
        } catch (const QemuError& e) {
            return std::string(e.what());
        }
    };
    EXPECT_THROW(vm->SetDeviceProperty("fault-plan", "{}"), QemuError);
    Save();  // a plan that was refused blocks nothing
    vm->Qmp("cont");
    vm->SetDeviceProperty("fault-plan",
                          R"({"faults": [{"kind": "engine-hang", "engine": "copy", "nth": 9}]})");
    EXPECT_NE(refused().find("a fault plan is in force"), std::string::npos) << refused();
    EXPECT_THROW(vm->SetDeviceProperty("fault-plan", "{}"), QemuError);
    EXPECT_NE(refused(), "") << "the plan before is still there";
    vm->SetDeviceProperty("fault-plan", R"({"faults": []})");
    Save();  // a plan without a fault is none
    vm->Qmp("cont");
    // A fence that the plan has delayed is still to come.
    vm->SetDeviceProperty(
        "fault-plan", R"({"faults": [{"kind": "fence-late", "engine": "copy", "packets": 1}]})");
    gpu->Submit(VTTM_ENGINE_COPY, {});
    while (AtWork()) std::this_thread::yield();
    vm->SetDeviceProperty("fault-plan", " ");
    BeginSave();
    EXPECT_EQ(WaitSaved().substr(0, 6), "failed");
    EXPECT_NE(vm->process().Log().find("a fault that the host ordered is still to come"),
              std::string::npos)
        << vm->process().Log();
    if (vm->Qmp("query-status")["status"] != "running") vm->Qmp("cont");
    // It lands behind this fence, over it.
    gpu->Submit(VTTM_ENGINE_COPY, {});
    while (AtWork()) std::this_thread::yield();
    Move();
    vm->Qmp("cont");
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {}), 0u);
}

TEST_F(Migration, NoPlanWhileItRuns) {
    Start();
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 8 * kMiB, 0x0a0a0a0a)}), 0u);
    vm->Qmp("migrate-set-parameters", {{"max-bandwidth", 1 * kMiB}});
    BeginSave();
    try {
        vm->SetDeviceProperty("fault-plan",
                              R"({"faults": [{"kind": "engine-hang", "engine": "copy"}]})");
        ADD_FAILURE() << "a plan during a migration was taken";
    } catch (const QemuError& e) {
        EXPECT_NE(std::string(e.what()).find("migration"), std::string::npos) << e.what();
    }
    EXPECT_EQ(vm->DeviceProperty("fault-plan"), "");
    // None in other words is still none; and what says nothing sensible is no plan without a fault.
    for (const char* none : {"", " \n", R"({"faults": []})", R"({"seed": 3, "faults": [ ]})"})
        EXPECT_NO_THROW(vm->SetDeviceProperty("fault-plan", none)) << none;
    for (const char* wrong : {"[]", "{}", "{", R"({"faults": {}})", R"({"faults": [], "x": 1})"})
        EXPECT_THROW(vm->SetDeviceProperty("fault-plan", wrong), QemuError) << wrong;
    vm->Qmp("migrate_cancel");
    EXPECT_EQ(WaitSaved().substr(0, 9), "cancelled");
}

TEST_F(Migration, WhatWasTamperedWith) {
    Start();
    BeginWork();
    Save();
    const std::vector<uint8_t> sound = FileBytes();
    const auto [at, size] = ModelBytes();
    const auto refusal = [&](size_t where, uint8_t flip) {
        std::vector<uint8_t> bytes = sound;
        bytes[where] ^= flip;
        SetFileBytes(bytes);
        return Refusal();
    };
    const auto says = [&](const std::string& log, const char* what) {
        EXPECT_NE(log.find(what), std::string::npos) << log;
    };
    says(refusal(at + 8, 3), "the state has version 2, and this model knows but version 1");
    for (size_t where : {at + 16, at + 100, at + size / 2, at + size - 1})
        says(refusal(where, 0x40), "the checksum of the state is wrong");
    says(refusal(at, 1), "this is no state of a vttm GPU");
    says(refusal(at - 4, 0x80), "bytes: at most 1048576 can be");
    says(refusal(at - 5, 0x80), "under way: it has 4");
    std::vector<uint8_t> cut(sound.begin(), sound.begin() + at + size / 2);
    SetFileBytes(cut);
    says(Refusal(), "the saved GPU ends early");
    // It was not the file.
    SetFileBytes(sound);
    Load();
    vm->Qmp("cont");
    EndWork();
}

TEST_F(Migration, IntoAnotherDevice) {
    Start();
    Save();
    EXPECT_NE(Refusal({.witness = true}).find("identity: 'features' is"), std::string::npos);
    EXPECT_NE(Refusal({.vram_size = 16 * kMiB}).find("Size mismatch"), std::string::npos);
    Load();
    vm->Qmp("cont");
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {}), 0u);
}

// A BAR that the property, not the driver, has sized: configuration space does not tell.
TEST_F(Migration, IntoAnotherAperture) {
    Start({.machine = "pc", .device_properties = ",vram-visible=2M"});
    Save();
    const std::string log = Refusal({.machine = "pc", .device_properties = ",vram-visible=4M"});
    EXPECT_NE(log.find("device: 'vram-visible' is 2097152, and BAR2 has 4194304 bytes"),
              std::string::npos)
        << log;
}

}  // namespace
}  // namespace vttm::qtest
