// SPDX-License-Identifier: Apache-2.0
// Snapshots of a GPU at work: the machine goes back in time, VRAM included.
#include <algorithm>
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
    void Job(const std::string& command, json arguments) {
        const std::string id = "job" + std::to_string(++jobs_);
        arguments["job-id"] = id;
        vm->Qmp(command, arguments);
        const auto end = std::chrono::steady_clock::now() + kPatience;
        for (;;) {
            for (const json& job : vm->Qmp("query-jobs")) {
                if (job["id"] != id || job["status"] != "concluded") continue;
                ASSERT_FALSE(job.contains("error")) << command << ": " << job.dump();
                vm->Qmp("job-dismiss", {{"id", id}});
                return;
            }
            ASSERT_LT(std::chrono::steady_clock::now(), end) << command;
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
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

}  // namespace
}  // namespace vttm::qtest
