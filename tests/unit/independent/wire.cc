// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/independent/wire.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <system_error>

namespace vttm::independent {
namespace {

constexpr int kAnswerSeconds = 20;  // QEMU answers in microseconds; a loaded CI machine is slow

[[noreturn]] void Fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

void WaitReadable(int fd, int seconds, const char* what) {
    pollfd p{.fd = fd, .events = POLLIN, .revents = 0};
    const int ready = poll(&p, 1, seconds * 1000);
    if (ready < 0) Fail("poll");
    if (ready == 0) throw std::runtime_error(fmt::format("QEMU: no {} in {} s", what, seconds));
}

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

LineSocket::LineSocket(const std::string& path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    if (path.size() >= sizeof name.sun_path)
        throw std::invalid_argument("path of a socket: " + path);
    std::copy(path.begin(), path.end(), name.sun_path);
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener_ < 0) Fail("socket");
    if (bind(listener_, reinterpret_cast<sockaddr*>(&name), sizeof name) < 0) Fail(path);
    if (listen(listener_, 1) < 0) Fail("listen");
}

LineSocket::~LineSocket() {
    if (peer_ >= 0) close(peer_);
    if (listener_ >= 0) close(listener_);
}

void LineSocket::Accept(int seconds) {
    WaitReadable(listener_, seconds, "connection");
    peer_ = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (peer_ < 0) Fail("accept");
}

void LineSocket::SendLine(const std::string& line) {
    const std::string text = line + "\n";
    for (size_t at = 0; at < text.size();) {
        const ssize_t n = send(peer_, text.data() + at, text.size() - at, MSG_NOSIGNAL);
        if (n < 0) Fail("send to QEMU");
        at += static_cast<size_t>(n);
    }
}

std::string LineSocket::ReceiveLine() {
    size_t end;
    while ((end = buffer_.find('\n')) == std::string::npos) {
        char part[65536];
        WaitReadable(peer_, kAnswerSeconds, "answer");
        const ssize_t n = recv(peer_, part, sizeof part, 0);
        if (n < 0) Fail("recv");
        if (n == 0) throw std::runtime_error("QEMU has ended");
        buffer_.append(part, static_cast<size_t>(n));
    }
    std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    return line;
}

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
        qtest_.Accept(kAnswerSeconds);
        qmp_.Accept(kAnswerSeconds);
        qmp_.ReceiveLine();  // greeting
        Qmp("qmp_capabilities");
    } catch (const std::exception& e) {
        throw std::runtime_error(fmt::format("{}; QEMU said: {}", e.what(), qemu_->Log()));
    }
}

std::string Wire::Command(const std::string& line) {
    qtest_.SendLine(line);
    for (;;) {
        const std::string answer = qtest_.ReceiveLine();
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
    qmp_.SendLine(nlohmann::json{{"execute", command}, {"arguments", std::move(arguments)}}.dump());
    for (;;) {
        const nlohmann::json answer = nlohmann::json::parse(qmp_.ReceiveLine());
        if (answer.contains("return")) return answer["return"];
        if (answer.contains("error"))
            throw std::runtime_error(command + ": " + answer["error"].dump());
    }
}

}  // namespace vttm::independent
