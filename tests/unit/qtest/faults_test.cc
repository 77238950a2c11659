// SPDX-License-Identifier: Apache-2.0
// Faults that the host orders (docs/faults.md), from QMP to what the guest sees.
#include <thread>

#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

constexpr uint64_t kPage = VTTM_PAGE_SIZE;

class Faults : public QtestFixture {
protected:
    void Plan(const std::string& rules) {
        vm->SetDeviceProperty("fault-plan", R"({"seed": 1, "faults": [)" + rules + "]}");
    }
    json Record() { return json::parse(vm->DeviceProperty("faults").get<std::string>()); }
    uint64_t Injected() { return Record().at("rules").at(0).at("injected"); }
    uint64_t InjectedEver() {
        return json::parse(vm->DeviceProperty("stats").get<std::string>()).at("injected");
    }
    bool WaitInjected(uint64_t count) {
        for (const auto end = std::chrono::steady_clock::now() + kPatience; Injected() < count;) {
            if (std::chrono::steady_clock::now() > end) return false;
            std::this_thread::sleep_for(1ms);
        }
        return true;
    }
    Packet SomeFill() { return Fill(VTTM_SPACE_SYSTEM, kData, kPage, 0x5a5a5a5a); }
};

TEST_F(Faults, OffByDefault) {
    Start();
    EXPECT_EQ(vm->DeviceProperty("fault-plan"), "");
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SomeFill()}), 0u);
    EXPECT_EQ(Record().at("total"), 0);
    EXPECT_EQ(InjectedEver(), 0u);
}

TEST_F(Faults, AWrongPlanIsRefusedAndTheOldOneStays) {
    Start();
    Plan(R"({"kind": "fence-never", "engine": "stamp"})");
    const json before = vm->DeviceProperty("fault-plan");
    for (const auto& [plan, message] :
         {std::pair{"{", "vttm: 'fault-plan': the plan is no JSON"},
          std::pair{R"({"faults": [{"kind": "fire"}]})",
                    "vttm: 'fault-plan': faults[0] has 'kind': \"fire\": it must be one of"},
          std::pair{R"({"faults": [{"kind": "vram-poison", "offset": 8388608}]})",
                    "faults[0] has 'offset': 8388608"}}) {
        try {
            vm->SetDeviceProperty("fault-plan", plan);
            ADD_FAILURE() << plan;
        } catch (const QemuError& e) {
            EXPECT_NE(std::string(e.what()).find(message), std::string::npos) << e.what();
        }
    }
    EXPECT_THROW(vm->SetDeviceProperty("fault-plan", 7), QemuError);
    EXPECT_THROW(vm->SetDeviceProperty("faults", "{}"), QemuError) << "is read only";
    EXPECT_EQ(vm->DeviceProperty("fault-plan"), before);
    EXPECT_EQ(Record().at("rules").at(0).at("kind"), "fence-never");
}

TEST_F(Faults, PlanOfTheCommandLine) {
    Start(
        {.device_properties =
             R"(,fault-plan={"faults": [{"kind": "bit-flip",, "engine": "copy",, "byte": 9,, "bit": 1}]})"});
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SomeFill()}), 0u);
    std::vector<uint8_t> want(kPage, 0x5a);
    want[9] ^= 2;
    EXPECT_EQ(vm->ReadBytes(kData, kPage), want);
    EXPECT_EQ(Injected(), 1u);
}

TEST_F(QtestBase, AWrongPlanOfTheCommandLineEndsQemu) {
    TempDir dir;
    std::vector<std::string> args = Vm::BaseArguments({});
    args.insert(args.end(), {"-object", "memory-backend-memfd,id=vram0,size=4M,share=on", "-device",
                             "vttm,vram=vram0,fault-plan={\"faults\": 3}"});
    QemuProcess qemu(args, dir.File("log"));
    EXPECT_EQ(qemu.Wait(20), 1);
    EXPECT_NE(qemu.Log().find("'fault-plan': the plan needs 'faults'"), std::string::npos)
        << qemu.Log();
}

TEST_F(Faults, FlippedStampIsFound) {
    Start();
    constexpr vttm_stamp_id kId{.key = 5, .page = 0, .buffer = 42, .generation = 3};
    Plan(R"({"kind": "bit-flip", "engine": "stamp"})");
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_STAMP, {StampWrite(VTTM_SPACE_SYSTEM, kData, 8, kId),
                                           StampVerify(VTTM_SPACE_SYSTEM, kData, 8, kId)}),
              0u);
    const std::vector<uint8_t> bytes = vm->ReadBytes(kResult, sizeof(vttm_stamp_result));
    vttm_stamp_result result;
    std::memcpy(&result, bytes.data(), sizeof(result));
    EXPECT_EQ(result.bad, 1u);
    EXPECT_EQ(result.by_class[VTTM_STAMP_BITFLIP], 1u);
    EXPECT_EQ(InjectedEver(), 1u);
}

TEST_F(Faults, LostInterrupt) {
    Start();
    gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(VTTM_ENGINE_COPY));
    Plan(R"({"kind": "irq-lost", "engine": "copy"})");
    const uint64_t seq = gpu->Submit(VTTM_ENGINE_COPY, {SomeFill()}, VTTM_PKT_FLAG_IRQ);
    EXPECT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, seq));
    EXPECT_FALSE(gpu->WaitMessage(VTTM_MSIX_ENGINE(VTTM_ENGINE_COPY), 200ms));
    EXPECT_EQ(gpu->Reg(VTTM_REG_IRQ_STATUS), VTTM_IRQ_ENGINE(VTTM_ENGINE_COPY));
    EXPECT_EQ(Injected(), 1u);
    gpu->Submit(VTTM_ENGINE_COPY, {SomeFill()}, VTTM_PKT_FLAG_IRQ);
    EXPECT_TRUE(gpu->WaitMessage(VTTM_MSIX_ENGINE(VTTM_ENGINE_COPY)));
}

TEST_F(Faults, SpuriousInterrupt) {
    Start();
    gpu->SetReg(VTTM_REG_IRQ_ENABLE, 0);
    Plan(R"({"kind": "irq-spurious", "engine": "copy", "vector": "error"})");
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SomeFill()}), 0u);
    EXPECT_TRUE(gpu->WaitMessage(VTTM_MSIX_ERROR));
    EXPECT_EQ(gpu->Reg(VTTM_REG_IRQ_STATUS), 0u);
}

TEST_F(Faults, HangEndsWithAReset) {
    Start();
    Plan(R"({"kind": "engine-hang", "engine": "copy"})");
    const uint64_t seq = gpu->Submit(VTTM_ENGINE_COPY, {SomeFill()});
    ASSERT_TRUE(WaitInjected(1));
    EXPECT_FALSE(gpu->WaitFence(VTTM_ENGINE_COPY, seq, 200ms));
    EXPECT_EQ(gpu->Reg(VTTM_ENGINE_BASE(VTTM_ENGINE_COPY) + VTTM_ENG_STATUS), 0u);
    // The machine neither minds to stop nor to go on.
    vm->Qmp("stop");
    vm->Qmp("cont");
    SystemReset();
    BringUp();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SomeFill()}), 0u);
}

TEST_F(Faults, DmaErrorAndPoison) {
    Start();
    Plan(R"({"kind": "dma-error", "engine": "copy"}, {"kind": "vram-poison", "offset": 4096})");
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SomeFill()}), uint32_t{VTTM_FAULT_BUS});
    gpu->ClearFault();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SomeFill()}), 0u);
    EXPECT_EQ(
        gpu->Run(VTTM_ENGINE_COPY, {Copy(VTTM_SPACE_SYSTEM, kData, VTTM_SPACE_VRAM, 0, 2 * kPage)}),
        uint32_t{VTTM_FAULT_POISON});
    EXPECT_EQ(gpu->FaultReason(), uint32_t{VTTM_FAULT_POISON});
    EXPECT_EQ(gpu->Reg64(VTTM_REG_FAULT_ADDR_LO), kPage);
    EXPECT_EQ(Record().at("total"), 2);
}

TEST_F(Faults, ResetsAndRegistersOfTheGuestLeaveThePlanAlone) {
    Start();
    Plan(R"({"kind": "fence-never", "engine": "copy", "nth": 2})");
    const json before = Record();
    gpu->SetReg(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    SystemReset();
    BringUp();
    EXPECT_EQ(Record(), before);
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SomeFill()}), 0u);
    const uint64_t seq = gpu->Submit(VTTM_ENGINE_COPY, {SomeFill()});
    ASSERT_TRUE(WaitInjected(1));
    EXPECT_FALSE(gpu->WaitFence(VTTM_ENGINE_COPY, seq, 100ms));
    vm->SetDeviceProperty("fault-plan", "");
    EXPECT_EQ(vm->DeviceProperty("fault-plan"), "");
    EXPECT_EQ(Record().at("rules"), json::array());
    EXPECT_EQ(InjectedEver(), 1u);
}

TEST_F(Faults, SurpriseRemoval) {
    Start();
    SetVramFile(0, {1, 2, 3, 4, 5, 6, 7, 8});
    ASSERT_EQ(vm->Read64(kVramBase), 0x0807060504030201u);
    const uint32_t id = vm->Config32(kSlot, 0);
    Plan(R"({"kind": "surprise-removal", "engine": "copy", "nth": 3})");
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SomeFill()}), 0u);
    EXPECT_EQ(gpu->Reg(VTTM_REG_MAGIC), VTTM_MAGIC);
    const uint64_t seq = gpu->Submit(VTTM_ENGINE_COPY, {SomeFill()});
    ASSERT_TRUE(WaitInjected(1));
    EXPECT_FALSE(gpu->WaitFence(VTTM_ENGINE_COPY, seq, 100ms));
    EXPECT_EQ(gpu->Reg(VTTM_REG_MAGIC), ~0u);
    EXPECT_EQ(vm->Read(kRegsBase + 5, 1), 0xffu);
    EXPECT_EQ(vm->Config32(kSlot, 0), ~0u);
    EXPECT_EQ(vm->Read64(kVramBase), ~0ull);
    vm->Write64(kVramBase, 0);
    vm->SetConfig32(kSlot, 4, 0);
    EXPECT_EQ(VramFile(0, 8), (std::vector<uint8_t>{1, 2, 3, 4, 5, 6, 7, 8}));
    vm->SetDeviceProperty("fault-plan", "");
    EXPECT_EQ(vm->Config32(kSlot, 0), id);
    EXPECT_EQ(gpu->Reg(VTTM_REG_MAGIC), VTTM_MAGIC);
    EXPECT_EQ(vm->Read64(kVramBase), 0x0807060504030201u);
    BringUp();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SomeFill()}), 0u);
}

TEST_F(Faults, RemovedFromTheStart) {
    StartCold({.device_properties = R"(,fault-plan={"faults": [{"kind": "surprise-removal"}]})"});
    EXPECT_EQ(vm->Config32(kSlot, 0), ~0u);
    vm->SetDeviceProperty("fault-plan", "");
    BringUp();
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SomeFill()}), 0u);
}

TEST_F(Faults, ResetStorm) {
    Start();
    Plan(R"({"kind": "device-reset", "engine": "copy", "count": 3})");
    for (unsigned i = 1; i <= 3; i++) {
        gpu->Submit(VTTM_ENGINE_COPY, {SomeFill()});
        ASSERT_TRUE(WaitInjected(i));
        // It is told before the worker has obeyed.
        const auto end = std::chrono::steady_clock::now() + kPatience;
        while (gpu->Reg(VTTM_REG_DEV_STATUS) & VTTM_DEV_STATUS_RESETTING)
            ASSERT_LT(std::chrono::steady_clock::now(), end);
        BringUp();
    }
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SomeFill()}), 0u);
}

}  // namespace
}  // namespace vttm::qtest
