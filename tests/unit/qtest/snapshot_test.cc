// SPDX-License-Identifier: Apache-2.0
// Snapshots of a GPU at work: the machine goes back in time, VRAM included.
#include <algorithm>
#include <fstream>
#include <iterator>
#include <thread>

#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

using nlohmann::json;

class Snapshot : public QtestFixture {
protected:
    /// A qcow2 image for the snapshots.
    void AddDisk() {
        const std::string file = vm->dir().File("disk");
        Job("blockdev-create",
            {{"options", {{"driver", "file"}, {"filename", file}, {"size", 0}}}});
        vm->Qmp("blockdev-add", {{"driver", "file"}, {"node-name", "file0"}, {"filename", file}});
        Job("blockdev-create",
            {{"options", {{"driver", "qcow2"}, {"file", "file0"}, {"size", kMiB}}}});
        vm->Qmp("blockdev-add", {{"driver", "qcow2"}, {"node-name", "disk0"}, {"file", "file0"}});
    }
    void Job(const std::string& command, const json& arguments) {
        ASSERT_EQ(JobError(command, arguments), "") << command;
    }
    /// What is wrong with it; "": nothing.
    std::string JobError(const std::string& command, json arguments) {
        const std::string id = "job" + std::to_string(++jobs_);
        arguments["job-id"] = id;
        vm->Qmp(command, arguments);
        const auto end = std::chrono::steady_clock::now() + kPatience;
        for (;;) {
            for (const json& job : vm->Qmp("query-jobs")) {
                if (job["id"] != id || job["status"] != "concluded") continue;
                const std::string error = job.value("error", "");
                vm->Qmp("job-dismiss", {{"id", id}});
                return error;
            }
            if (std::chrono::steady_clock::now() >= end) return "it does not end";
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
    }
    /// Flips bits of the snapshot that AddDisk()'s image has, @before bytes ahead of the model's.
    void Tamper(unsigned before, uint8_t flip) {
        std::fstream disk(vm->dir().File("disk"), std::ios::in | std::ios::out | std::ios::binary);
        const std::vector<char> bytes{std::istreambuf_iterator<char>(disk), {}};
        const std::string magic = "vttm-gpu";
        const auto at = std::search(bytes.begin(), bytes.end(), magic.begin(), magic.end());
        ASSERT_NE(at, bytes.end()) << "no GPU in the snapshot";
        disk.clear();
        disk.seekp(at - bytes.begin() - before);
        disk.put(static_cast<char>(*(at - before) ^ flip));
        ASSERT_TRUE(disk.flush().good());
    }
    json Tag() const { return {{"tag", "s"}, {"vmstate", "disk0"}, {"devices", {"disk0"}}}; }

    int jobs_ = 0;
};

TEST_F(Snapshot, BackAndAgain) {
    Start();
    AddDisk();
    std::vector<Packet> packets;
    for (uint32_t i = 1; i <= 30; i++) packets.push_back(Fill(VTTM_SPACE_VRAM, 0, 8 * kMiB, i));
    const uint64_t seq = gpu->Submit(VTTM_ENGINE_COPY, packets);
    Job("snapshot-save", Tag());
    if (vm->Qmp("query-status")["status"] != "running") vm->Qmp("cont");
    ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, seq));

    // Twice: other work in between is as if it had never been.
    for (int i = 0; i < 2; i++) {
        Gpu later(*vm, *gpu);
        EXPECT_EQ(later.Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 8 * kMiB, 0xbad)}), 0u);
        later.Submit(VTTM_ENGINE_STAMP,
                     std::vector<Packet>(
                         20, StampWrite(VTTM_SPACE_SYSTEM, 8 * kMiB, 4096,
                                        {.key = 1, .page = 0, .buffer = 1, .generation = 1})));
        Job("snapshot-load", Tag());
        vm->Qmp("cont");
        ASSERT_TRUE(gpu->WaitFence(VTTM_ENGINE_COPY, seq));
        const std::vector<uint8_t> vram = VramFile(0, 8 * kMiB);
        for (size_t at = 0; at < vram.size(); at += 4)
            ASSERT_EQ(vram[at] | vram[at + 1] << 8, 30) << at;
        EXPECT_EQ(gpu->Reg64(VTTM_ENGINE_BASE(0) + VTTM_ENG_BYTES_LO), 30u * 8 * kMiB);
        EXPECT_EQ(gpu->Reg64(VTTM_ENGINE_BASE(1) + VTTM_ENG_BYTES_LO), 0u)
            << "the stamps never were";
        EXPECT_EQ(gpu->Reg(VTTM_REG_FAULT_COUNT), 0u);
    }
    EXPECT_EQ(vm->Quit(), 0);
    EXPECT_EQ(vm->process().Log(), "");
}

// Unlike a migration's, its load does not end QEMU, and whoever continues then must not end it either.
TEST_F(Snapshot, RefusedAndContinued) {
    Start();
    AddDisk();
    Job("snapshot-save", Tag());
    Tamper(5, 0x80);  // an interrupt under way, of a vector that is not there
    for (int i = 0; i < 2; i++) {
        EXPECT_NE(JobError("snapshot-load", Tag()), "");
        EXPECT_NE(vm->process().Log().find("has interrupts 0x80 under way: it has 4"),
                  std::string::npos)
            << vm->process().Log();
        EXPECT_NE(vm->Qmp("query-status")["status"], "running");
        vm->Qmp("cont");
        EXPECT_EQ(vm->Qmp("query-status")["status"], "running");
    }
    Tamper(5, 0x80);
    Job("snapshot-load", Tag());
    vm->Qmp("cont");
    EXPECT_EQ(gpu->Run(VTTM_ENGINE_COPY, {Fill(VTTM_SPACE_VRAM, 0, 64, 7)}), 0u);
    EXPECT_EQ(vm->Quit(), 0);
}

}  // namespace
}  // namespace vttm::qtest
