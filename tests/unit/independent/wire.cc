// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/independent/wire.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <stdexcept>

namespace vttm::independent {
namespace {

char Letter(unsigned bytes) {
    switch (bytes) {
        case 1:
            return 'b';
        case 2:
            return 'w';
        case 4:
            return 'l';
        case 8:
            return 'q';
    }
    throw std::invalid_argument("size of an access");
}

}  // namespace

Wire::Wire(const MachineConfig& config)
    : config_(config), qtest_(dir_.File("qtest")), qmp_(dir_.File("qmp")) {
    qemu_ = std::make_unique<qtest::QemuProcess>(
        std::vector<std::string>{
            "-machine", "q35,accel=qtest", "-m", fmt::format("{}M", config.ram >> 20),
            "-nodefaults", "-display", "none", "-qtest-log", "none", "-qtest",
            "unix:" + dir_.File("qtest"), "-qmp",
            fmt::format("unix:{},server=off", dir_.File("qmp")), "-object",
            fmt::format("memory-backend-memfd,id=vram0,share=on,size={}", config.vram), "-device",
            fmt::format("vttm,id=vttm0,vram=vram0,vram-visible={}{}", config.vram_visible,
                        config.witness ? ",witness-log=" + dir_.File("witness") : "")},
        dir_.File("log"));
    try {
        qtest_.Accept(*qemu_);
        qmp_.Accept(*qemu_);
        qmp_.Receive();  // greeting
        Qmp("qmp_capabilities");
    } catch (const std::exception& e) {
        throw std::runtime_error(fmt::format("{}; QEMU said: {}", e.what(), qemu_->Log()));
    }
}

std::string Wire::Command(const std::string& line) {
    qtest_.Send(line);
    for (;;) {
        const std::string answer = qtest_.Receive();
        if (answer.starts_with("IRQ ")) continue;
        if (!answer.starts_with("OK")) {
            throw std::runtime_error(fmt::format("qtest: {}: {}", line.substr(0, 80), answer));
        }
        return answer.size() > 3 ? answer.substr(3) : std::string();
    }
}

uint64_t Wire::In(unsigned bytes, uint16_t port) {
    return std::stoull(Command(fmt::format("in{} {:#x}", Letter(bytes), port)), nullptr, 0);
}

void Wire::Out(unsigned bytes, uint16_t port, uint32_t value) {
    Command(fmt::format("out{} {:#x} {:#x}", Letter(bytes), port, value));
}

uint64_t Wire::Load(unsigned bytes, uint64_t address) {
    return std::stoull(Command(fmt::format("read{} {:#x}", Letter(bytes), address)), nullptr, 0);
}

void Wire::Store(unsigned bytes, uint64_t address, uint64_t value) {
    Command(fmt::format("write{} {:#x} {:#x}", Letter(bytes), address, value));
}

std::vector<uint8_t> Wire::Read(uint64_t address, size_t bytes) {
    if (!bytes) return {};
    const std::string hex = Command(fmt::format("read {:#x} {:#x}", address, bytes));
    if (hex.size() != 2 + 2 * bytes) throw std::runtime_error("qtest: read: wrong length");
    const auto digit = [](char c) {
        return static_cast<uint8_t>(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    };
    std::vector<uint8_t> out(bytes);
    for (size_t i = 0; i < bytes; i++) {
        out[i] = static_cast<uint8_t>(digit(hex[2 + 2 * i]) << 4 | digit(hex[3 + 2 * i]));
    }
    return out;
}

void Wire::Write(uint64_t address, std::span<const uint8_t> bytes) {
    static constexpr char kDigits[] = "0123456789abcdef";
    constexpr size_t kPart = 64 << 10;
    while (!bytes.empty()) {
        const auto part = bytes.first(std::min(kPart, bytes.size()));
        std::string hex;
        hex.reserve(2 * part.size());
        for (const uint8_t b : part) {
            hex += kDigits[b >> 4];
            hex += kDigits[b & 15];
        }
        Command(fmt::format("write {:#x} {:#x} 0x{}", address, part.size(), hex));
        address += part.size();
        bytes = bytes.subspan(part.size());
    }
}

std::vector<uint8_t> Wire::WitnessLog() const {
    std::ifstream file(dir_.File("witness"), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

nlohmann::json Wire::Qmp(const std::string& command, nlohmann::json arguments) {
    qmp_.Send(nlohmann::json{{"execute", command}, {"arguments", std::move(arguments)}}.dump());
    for (;;) {
        const nlohmann::json answer = nlohmann::json::parse(qmp_.Receive());
        if (answer.contains("return")) return answer["return"];
        if (answer.contains("error"))
            throw std::runtime_error(command + ": " + answer["error"].dump());
    }
}

}  // namespace vttm::independent
