// SPDX-License-Identifier: Apache-2.0
#include "tests/unit/qtest/moving_vm.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <thread>

namespace vttm::qtest {

using nlohmann::json;

void MovingVm::BeginSave() { vm->Qmp("migrate", {{"uri", "file:" + file()}}); }

std::string MovingVm::WaitSaved() {
    const auto end = std::chrono::steady_clock::now() + 3 * kPatience;
    while (std::chrono::steady_clock::now() < end) {
        const json now = Progress();
        const std::string status = now["status"];
        if (status == "completed") return status;
        if (status == "failed" || status == "cancelled")
            return status + ": " + now.value("error-desc", "");
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return "it does not end: " + Progress().dump();
}

void MovingVm::Save() {
    BeginSave();
    ASSERT_EQ(WaitSaved(), "completed") << vm->process().Log();
}

void MovingVm::Load(VmOptions options) {
    options.more.insert(options.more.end(), {"-incoming", "defer", "-S"});
    auto next = std::make_unique<Vm>(options);
    next->Qmp("migrate-incoming", {{"uri", "file:" + file()}});
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (next->Qmp("query-status")["status"] == "inmigrate") {
        ASSERT_LT(std::chrono::steady_clock::now(), end) << "it does not load";
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    gpu = std::make_unique<Gpu>(*next, *gpu);
    vm = std::move(next);
}

std::string MovingVm::Refusal(VmOptions options) {
    options.more.insert(options.more.end(), {"-incoming", "defer", "-S"});
    Vm next(options);
    try {
        next.Qmp("migrate-incoming", {{"uri", "file:" + file()}});
    } catch (const QemuError&) {
        // It may end before it has answered.
    }
    EXPECT_EQ(next.process().Wait(20), 1) << "QEMU has to end with an error";
    return next.process().Log();
}

std::vector<uint32_t> MovingVm::Registers() {
    std::vector<uint32_t> all;
    for (uint32_t off = 0; off < VTTM_RING_BLOCK(0u, VTTM_NUM_RINGS); off += 4)
        if (off != VTTM_REG_TIMESTAMP_LO && off != VTTM_REG_TIMESTAMP_HI)
            all.push_back(gpu->Reg(off));
    return all;
}

std::vector<uint8_t> MovingVm::FileBytes() const {
    std::ifstream in(file(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

void MovingVm::SetFileBytes(const std::vector<uint8_t>& bytes) const {
    std::ofstream(file(), std::ios::binary | std::ios::trunc)
        .write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

std::pair<size_t, size_t> MovingVm::ModelBytes() const {
    const std::vector<uint8_t> bytes = FileBytes();
    const std::string magic = "vttm-gpu";
    const auto at = std::search(bytes.begin(), bytes.end(), magic.begin(), magic.end());
    if (at == bytes.end()) throw QemuError("no GPU in the saved machine");
    const size_t begin = at - bytes.begin();
    uint32_t size;
    std::memcpy(&size, &bytes[begin + 12], 4);
    return {begin, size};
}

}  // namespace vttm::qtest
