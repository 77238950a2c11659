// SPDX-License-Identifier: Apache-2.0
// What QMP and the command line tell of the device without its documentation; and the trace log on the wire.
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>

#include "protocol/vttm_trace.h"
#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

constexpr const char* kProperties[] = {"vram", "vram-visible", "vram-target", "vram-limit", "tlb-entries", "fault-plan",
                                       "faults", "stats", "witness-log", "witness-log-max", "witness-lost", "trace-log",
                                       "trace-log-max", "trace-lost"};

class Introspection : public QtestFixture {
protected:
    std::vector<vttm_trace_record> Trace() {
        std::ifstream file(path_, std::ios::binary);
        const std::string bytes{std::istreambuf_iterator<char>(file), {}};
        vttm_trace_header header{};
        if (bytes.size() < sizeof(header)) return {};
        std::memcpy(&header, bytes.data(), sizeof(header));
        EXPECT_EQ(header.magic, VTTM_TRACE_MAGIC);
        EXPECT_EQ(header.version, VTTM_TRACE_VERSION);
        EXPECT_EQ(header.record_size, sizeof(vttm_trace_record));
        EXPECT_EQ((bytes.size() - sizeof(header)) % sizeof(vttm_trace_record), 0u) << "half a record";
        std::vector<vttm_trace_record> records((bytes.size() - sizeof(header)) / sizeof(vttm_trace_record));
        std::memcpy(records.data(), bytes.data() + sizeof(header), records.size() * sizeof(vttm_trace_record));
        return records;
    }
    TempDir traces_;
    const std::string path_ = traces_.File("trace");
};

TEST_F(Introspection, EachPropertyIsDescribed) {
    StartCold();
    std::map<std::string, std::string> told;
    for (const auto& p : vm->Qmp("qom-list-properties", {{"typename", "vttm"}}))
        told[p.at("name")] = p.value("description", "");
    std::map<std::string, std::string> device;
    for (const auto& p : vm->Qmp("device-list-properties", {{"typename", "vttm"}}))
        device[p.at("name")] = p.value("description", "");
    for (const char* name : kProperties) {
        ASSERT_TRUE(told.contains(name)) << name;
        EXPECT_FALSE(told[name].empty()) << name;
        EXPECT_EQ(device[name], told[name]);
    }
}

TEST(IntrospectionHelp, TheCommandLineDescribesThemToo) {
    TempDir dir;
    QemuProcess qemu({"-device", "vttm,help"}, dir.File("log"));
    EXPECT_EQ(qemu.Wait(20), 0);
    const std::string help = qemu.Log();
    for (const char* name : kProperties) {
        const size_t at = help.find(std::string("  ") + name + "=<");
        ASSERT_NE(at, help.npos) << name << " in:\n" << help;
        const std::string line = help.substr(at, help.find('\n', at) - at);
        EXPECT_NE(line.find(" - "), line.npos) << line;
    }
}

TEST_F(Introspection, TheTraceLogTellsAJob) {
    Start({.device_properties = ",trace-log=" + path_});
    const uint64_t before = gpu->Reg64(VTTM_REG_TIMESTAMP_LO);
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 4096, 1)}), 0u);
    vm->Qmp("stop");
    vm->Qmp("cont");
    const uint64_t after = gpu->Reg64(VTTM_REG_TIMESTAMP_LO);
    std::map<uint32_t, unsigned> kinds;
    for (const vttm_trace_record& r : Trace()) {
        if (r.time_ns < before) continue;
        EXPECT_LE(r.time_ns, after);
        kinds[r.kind]++;
    }
    EXPECT_GE(kinds[VTTM_TRACE_TAIL], 1u);
    EXPECT_GE(kinds[VTTM_TRACE_PACKET_BEGIN], 2u);
    EXPECT_EQ(kinds[VTTM_TRACE_PACKET_BEGIN], kinds[VTTM_TRACE_PACKET_END]);
    EXPECT_EQ(kinds[VTTM_TRACE_FENCE], 1u);
    EXPECT_EQ(kinds[VTTM_TRACE_PAUSE], 1u);
    EXPECT_EQ(kinds[VTTM_TRACE_RESUME], 1u);
    EXPECT_EQ(vm->DeviceProperty("trace-lost"), 0);
    const auto stats = nlohmann::json::parse(vm->DeviceProperty("stats").get<std::string>());
    EXPECT_GE(stats.at("time_ns").get<uint64_t>(), after);
}

TEST_F(Introspection, AFullDiskLosesNoRecordSilently) {
    Start({.device_properties = ",trace-log=" + path_});
    // QEMU's messages are in a file, too: the limit must leave them room.
    for (int i = 0; i < 40; i++)
        ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 4096, 1)}), 0u);
    const size_t records = Trace().size();
    vm->process().LimitFileSize(sizeof(vttm_trace_header) + records * sizeof(vttm_trace_record) + 80);
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 4096, 1)}), 0u) << "the GPU goes on";
    EXPECT_EQ(Trace().size(), records + 2) << "whole records only";
    EXPECT_GE(vm->DeviceProperty("trace-lost").get<unsigned>(), 4u);
    EXPECT_NE(vm->process().Log().find("cannot write the trace log"), std::string::npos);
}

// Each key that they have is in the device's page for QEMU's documentation.
TEST_F(Introspection, TheJsonPropertiesAreDocumented) {
    Start({.device_properties = R"(,fault-plan={"faults": [{"kind": "irq-lost",, "engine": "copy"}]})"});
    gpu->SetReg(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(0));
    ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, gpu->Submit(VTTM_ENGINE_COPY, {}, VTTM_PKT_FLAG_IRQ)));
    std::ifstream file(VTTM_SOURCE_ROOT "/qemu-device/docs/vttm.rst");
    const std::string page{std::istreambuf_iterator<char>(file), {}};
    const std::string schema = page.substr(page.find("JSON properties"), page.find("Class 0x0380") - page.find("JSON properties"));
    unsigned keys = 0;
    const auto look = [&](const auto& self, const nlohmann::json& value) -> void {
        if (!value.is_structured()) return;
        for (const auto& [key, inner] : value.items()) {
            if (value.is_object()) {
                EXPECT_NE(schema.find('"' + key + '"'), schema.npos) << key;
                keys++;
            }
            self(self, inner);
        }
    };
    const auto faults = nlohmann::json::parse(vm->DeviceProperty("faults").get<std::string>());
    ASSERT_EQ(faults.at("log").size(), 1u);
    look(look, faults);
    look(look, nlohmann::json::parse(vm->DeviceProperty("stats").get<std::string>()));
    EXPECT_GE(keys, 40u);
}

// A driver's author who wants to see what a small TLB does.
TEST_F(Introspection, TheSizeOfTheTlb) {
    for (const auto& [size, expect] : {std::pair{"", 0}, {",tlb-entries=4", 60}}) {
        Start({.device_properties = size});
        std::vector<uint64_t> entries;
        for (uint64_t i = 0; i < 64; i++) entries.push_back((kMiB + 2 * i * 4096) | VTTM_PTE_WRITE | VTTM_PTE_VALID);
        gpu->MapPages(entries);
        ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {SetVm(1), Fill(VTTM_SPACE_VM, 0, 64 * 4096, 1)}), 0u);
        const auto stats = nlohmann::json::parse(vm->DeviceProperty("stats").get<std::string>());
        EXPECT_EQ(stats.at("mmu").at("evictions"), expect);
        EXPECT_EQ(vm->DeviceProperty("tlb-entries"), expect ? 4 : 1 << 20);
    }
}

TEST_F(Introspection, WithoutALogNothingIsTraced) {
    Start();
    ASSERT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 4096, 1)}), 0u);
    EXPECT_TRUE(Trace().empty());
    EXPECT_EQ(vm->DeviceProperty("trace-lost"), 0);
}

}  // namespace
}  // namespace vttm::qtest
