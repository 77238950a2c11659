// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/qtest/vm.h"

#include <fmt/format.h>

#include <fstream>

namespace vttm::qtest {

using nlohmann::json;

namespace {

constexpr uint16_t kConfigAddress = 0xcf8;
constexpr uint16_t kConfigData = 0xcfc;

}  // namespace

std::vector<std::string> Vm::BaseArguments(const VmOptions& options) {
    return {"-machine",
            fmt::format("{},accel={},memory-backend=ram0", options.machine, options.accel),
            "-object",
            fmt::format("memory-backend-memfd,id=ram0,size={},share=on", options.ram_size),
            "-m",
            fmt::format("size={}M", options.ram_size / kMiB),
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none"};
}

Vm::Vm(const VmOptions& options) : qtest_(dir_.File("qtest")), qmp_(dir_.File("qmp")) {
    // Made here, so that a test finds the file before QEMU has opened it.
    std::ofstream(vram_path()).close();
    std::filesystem::resize_file(vram_path(), options.vram_size);

    std::vector<std::string> args = BaseArguments(options);
    std::string device = "vttm,id=vttm0,vram=vram0,addr=04.0" + options.device_properties;
    if (options.witness) device += ",witness-log=" + witness_path();
    args.insert(
        args.end(),
        {"-qtest", "unix:" + dir_.File("qtest"), "-qtest-log", "none", "-chardev",
         "socket,id=qmp,path=" + dir_.File("qmp"), "-mon", "chardev=qmp,mode=control", "-object",
         fmt::format("memory-backend-file,id=vram0,size={},mem-path={},share=on", options.vram_size,
                     vram_path()),
         "-device", device});
    args.insert(args.end(), options.more.begin(), options.more.end());
    process_ = std::make_unique<QemuProcess>(args, dir_.File("log"));
    qmp_.Accept(*process_);
    qtest_.Accept(*process_);
    try {
        qmp_.Receive();  // greeting
    } catch (const QemuError& e) {
        process_->Wait(5);
        throw QemuError(std::string(e.what()) + ":\n" + process_->Log());
    }
    Qmp("qmp_capabilities");
}

Vm::~Vm() {
    try {
        if (process_ && process_->Running()) Quit();
    } catch (const std::exception&) {
        // The process object kills what did not listen.
    }
}

std::string Vm::Exchange(const std::string& command) {
    qtest_.Send(command);
    for (;;) {
        std::string line = qtest_.Receive();
        if (line.starts_with("IRQ ")) continue;
        if (!line.starts_with("OK")) throw QemuError(command + ": " + line);
        return line.size() > 3 ? line.substr(3) : "";
    }
}

uint64_t Vm::Number(const char* verb, uint64_t addr) {
    return std::stoull(Exchange(fmt::format("{} {:#x}", verb, addr)), nullptr, 0);
}

void Vm::Command(const char* verb, uint64_t addr, uint64_t value) {
    Exchange(fmt::format("{} {:#x} {:#x}", verb, addr, value));
}

uint64_t Vm::Read(uint64_t addr, unsigned size) {
    return Number(size == 1 ? "readb" : size == 2 ? "readw" : size == 4 ? "readl" : "readq", addr);
}

void Vm::Write(uint64_t addr, uint64_t value, unsigned size) {
    Command(size == 1   ? "writeb"
            : size == 2 ? "writew"
            : size == 4 ? "writel"
                        : "writeq",
            addr, value);
}

std::vector<uint8_t> Vm::ReadBytes(uint64_t addr, size_t size) {
    const std::string hex = Exchange(fmt::format("read {:#x} {:#x}", addr, size));
    std::vector<uint8_t> bytes(size);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = static_cast<uint8_t>(std::stoul(hex.substr(2 + 2 * i, 2), nullptr, 16));
    }
    return bytes;
}

void Vm::WriteBytes(uint64_t addr, std::span<const uint8_t> bytes) {
    std::string hex;
    for (uint8_t byte : bytes) hex += fmt::format("{:02x}", byte);
    Exchange(fmt::format("write {:#x} {:#x} 0x{}", addr, bytes.size(), hex));
}

void Vm::WriteWords(uint64_t addr, std::span<const uint32_t> words) {
    WriteBytes(addr, {reinterpret_cast<const uint8_t*>(words.data()), words.size_bytes()});
}

uint32_t Vm::Config32(unsigned slot, unsigned reg) {
    Out32(kConfigAddress, 0x80000000u | slot << 11 | reg);
    return In32(kConfigData);
}

void Vm::SetConfig32(unsigned slot, unsigned reg, uint32_t value) {
    Out32(kConfigAddress, 0x80000000u | slot << 11 | reg);
    Out32(kConfigData, value);
}

uint64_t Vm::ExtendedConfig(unsigned slot) {
    constexpr unsigned kPciexbar = 0x60;  // of the host bridge: bit 0 switches on, 256 MiB
    constexpr uint32_t kWindow = 0xb0000000;
    SetConfig32(0, kPciexbar + 4, 0);
    SetConfig32(0, kPciexbar, kWindow | 1);
    return kWindow + (slot << 15);
}

json Vm::Qmp(const std::string& command, json arguments) {
    json request = {{"execute", command}};
    if (!arguments.is_null()) request["arguments"] = std::move(arguments);
    qmp_.Send(request.dump());
    for (;;) {
        json answer = json::parse(qmp_.Receive());
        if (answer.contains("event")) {
            events_.push_back(std::move(answer));
        } else if (answer.contains("error")) {
            throw QemuError(command + ": " + answer["error"]["desc"].get<std::string>());
        } else if (answer.contains("return")) {
            return answer["return"];
        }
    }
}

json Vm::Event(const std::string& name) {
    for (;;) {
        for (auto it = events_.begin(); it != events_.end(); ++it) {
            if ((*it)["event"] == name) {
                json event = std::move(*it);
                events_.erase(it);
                return event;
            }
        }
        json message = json::parse(qmp_.Receive());
        if (message.contains("event")) events_.push_back(std::move(message));
    }
}

json Vm::DeviceProperty(const std::string& name) {
    return Qmp("qom-get", {{"path", "/machine/peripheral/vttm0"}, {"property", name}});
}

void Vm::SetDeviceProperty(const std::string& name, const json& value) {
    Qmp("qom-set", {{"path", "/machine/peripheral/vttm0"}, {"property", name}, {"value", value}});
}

int Vm::Quit() {
    Qmp("quit");
    return process_->Wait(20);
}

}  // namespace vttm::qtest
