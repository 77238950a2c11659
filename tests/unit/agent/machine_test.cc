// SPDX-License-Identifier: Apache-2.0
// counters, pressure.*, shrinker.scan, backup.set, sync, exec, kunit, fault, poweroff.
#include <algorithm>
#include <chrono>

#include "tests/unit/agent/agent_fixture.h"

namespace vttm::guest::test {
namespace {

using nlohmann::json;

class MachineTest : public AgentTest {
protected:
    // A program to be run in place of the hog.
    void put_hog(const std::string& script) {
        put("/bin/fake-hog", "#!/bin/sh\n" + script);
        hog_program = (root / "bin/fake-hog").string();
        std::filesystem::permissions(hog_program, std::filesystem::perms::owner_all);
    }
    void put_cgroup() {
        put("/sys/fs/cgroup/cgroup.subtree_control", "");
        put("/sys/fs/cgroup/memory.reclaim", "");
    }
    std::vector<std::string> output() const {
        std::vector<std::string> lines;
        for (const json& event : events) {
            if (event.at("event") == "output") {
                lines.push_back(event.at("line"));
            }
        }
        return lines;
    }
};

TEST_F(MachineTest, CountersReadTheKernelsFiles) {
    put("/sys/kernel/debug/ttm/backup_stats",
        "inserted_pages 10\ninserted_order9 0\ncopied_pages 3\n");
    put("/sys/kernel/debug/swap_backup/stats", "limit_pages 52428\nunwritten_pages 7\n");
    put("/sys/kernel/debug/dri/1/vttm_stats", "buffers 4\nmappings 2\nnonsense\nname x\n");
    put("/sys/fs/cgroup/vttm-hog/memory.current", "1048576\n");
    put("/sys/fs/cgroup/vttm-hog/memory.max", "max\n");
    put("/sys/fs/cgroup/vttm-hog/memory.events", "low 0\noom_kill 2\n");
    put("/sys/fs/cgroup/vttm-hog/memory.stat", "anon 12288\nshmem 8192\nactive_anon 1\n");
    start();
    const json answer = call_ok({{"op", "counters"}});
    EXPECT_EQ(answer.at("vmstat").at("pswpout"), 77);
    EXPECT_EQ(answer.at("meminfo").at("MemFree"), 700000);
    EXPECT_EQ(answer.at("swaps"), 8192 * 1024);
    EXPECT_EQ(answer.at("buddyinfo"), json({11, 22, 33, 40}));
    EXPECT_EQ(answer.at("backup"),
              json({{"inserted_pages", 10}, {"inserted_order9", 0}, {"copied_pages", 3}}));
    EXPECT_EQ(answer.at("swap_backup"), json({{"limit_pages", 52428}, {"unwritten_pages", 7}}));
    EXPECT_EQ(answer.at("vttm"), json({{"buffers", 4}, {"mappings", 2}}));
    EXPECT_EQ(answer.at("memcg"),
              json({{"memory.current", 1048576},
                    {"events.low", 0},
                    {"events.oom_kill", 2},
                    {"stat.anon", 12288},
                    {"stat.shmem", 8192}}));
}

TEST_F(MachineTest, CountersOfAGuestWithoutDriverOrCgroup) {
    start();
    const json answer = call_ok({{"op", "counters"}});
    for (const char* name : {"backup", "swap_backup", "vttm", "memcg"}) {
        EXPECT_EQ(answer.at(name), json::object()) << name;
    }
    std::filesystem::remove(root / "proc/vmstat");
    call_error({{"op", "counters"}}, ENOENT);
}

TEST_F(MachineTest, HogGrowsTouchesAndIsReleased) {
    hog_program = VTTM_HOG_PROGRAM;
    start();
    json answer = call_ok({{"op", "pressure.hog"}, {"mib", 5}, {"step_mib", 2}});
    EXPECT_EQ(answer.at("held_mib"), 5);
    EXPECT_EQ(answer.at("killed"), false);
    EXPECT_EQ(answer.at("memcg"), false);
    EXPECT_EQ(call_ok({{"op", "pressure.hog"}, {"mib", 3}}).at("held_mib"), 8);
    EXPECT_EQ(call_ok({{"op", "pressure.hog"}, {"mib", 0}, {"touch", true}}).at("held_mib"), 8);
    EXPECT_EQ(call_ok({{"op", "pressure.release"}}).at("released_mib"), 8);
    EXPECT_EQ(call_ok({{"op", "pressure.release"}}).at("released_mib"), 0);
    EXPECT_EQ(call_ok({{"op", "pressure.hog"}, {"mib", 1}}).at("held_mib"), 1);
}

TEST_F(MachineTest, HogKilledByTheKernelIsAResult) {
    put_hog("read line; echo held 16; echo held 32; kill -9 $$\n");
    start();
    for (int round = 0; round < 2; ++round) {
        const json answer = call_ok({{"op", "pressure.hog"}, {"mib", 64}});
        EXPECT_EQ(answer.at("killed"), true);
        EXPECT_EQ(answer.at("held_mib"), 0);
    }
    EXPECT_EQ(call_ok({{"op", "pressure.release"}}).at("released_mib"), 0);
}

TEST_F(MachineTest, HogThatFailsIsAnError) {
    put_hog("exit 1\n");
    start();
    call_error({{"op", "pressure.hog"}, {"mib", 1}}, EPIPE);
    put_hog("read line; echo what is this\n");
    call_error({{"op", "pressure.hog"}, {"mib", 1}}, EPROTO);
    call_ok({{"op", "pressure.release"}});
    put_hog("read line; echo error out of luck\n");
    call_error({{"op", "pressure.hog"}, {"mib", 1}}, ENOMEM);
    call_error({{"op", "pressure.hog"}}, EINVAL);
    call_error({{"op", "pressure.hog"}, {"mib", -1}}, EINVAL);
    call_error({{"op", "pressure.hog"}, {"mib", 1}, {"step_mib", 0}}, EINVAL);
}

TEST_F(MachineTest, HogLivesInItsCgroup) {
    put_cgroup();
    put_hog("echo \"$*\" >\"$0.args\"; read line; echo done 1; read line\n");
    start();
    EXPECT_EQ(call_ok({{"op", "pressure.hog"}, {"mib", 1}}).at("memcg"), true);
    EXPECT_NE(
        get("/bin/fake-hog.args").find("--cgroup " + root.string() + "/sys/fs/cgroup/vttm-hog"),
        std::string::npos);
    EXPECT_EQ(get("/sys/fs/cgroup/cgroup.subtree_control"), "+memory");
}

TEST_F(MachineTest, MemoryLimitAndReclaim) {
    put_cgroup();
    put("/sys/fs/cgroup/vttm-hog/memory.max", "max\n");
    put("/sys/fs/cgroup/vttm-hog/memory.reclaim", "");
    start();
    call_ok({{"op", "pressure.memcg"}, {"limit_mib", 256}});
    EXPECT_EQ(get("/sys/fs/cgroup/vttm-hog/memory.max"), "256M");
    call_ok({{"op", "pressure.memcg"}, {"limit_mib", 0}});
    EXPECT_EQ(get("/sys/fs/cgroup/vttm-hog/memory.max"), "max");
    EXPECT_EQ(call_ok({{"op", "pressure.reclaim"}, {"mib", 32}}).at("reclaimed"), true);
    EXPECT_EQ(get("/sys/fs/cgroup/memory.reclaim"), "32M");
    call_ok({{"op", "pressure.reclaim"}, {"mib", 8}, {"memcg", true}});
    EXPECT_EQ(get("/sys/fs/cgroup/vttm-hog/memory.reclaim"), "8M");
    call_error({{"op", "pressure.reclaim"}}, EINVAL);
    call_error({{"op", "pressure.memcg"}, {"limit_mib", "1"}}, EINVAL);
}

TEST_F(MachineTest, MemoryControlWithoutCgroupIsAnError) {
    start();
    call_error({{"op", "pressure.memcg"}, {"limit_mib", 256}}, ENOENT);
    call_error({{"op", "pressure.reclaim"}, {"mib", 32}}, ENOENT);
}

TEST_F(MachineTest, ShrinkerScan) {
    start();
    call_error({{"op", "shrinker.scan"}, {"pages", 512}}, ENODEV);
    put("/sys/kernel/debug/shrinker/mm-shadow-5/scan", "");
    put("/sys/kernel/debug/shrinker/drm-vttm-7/count", "0 4096\n");
    put("/sys/kernel/debug/shrinker/drm-vttm-7/scan", "");
    EXPECT_EQ(call_ok({{"op", "shrinker.scan"}, {"pages", 512}}).at("freed"), 0);
    EXPECT_EQ(get("/sys/kernel/debug/shrinker/drm-vttm-7/scan"), "0 0 512\n");
    EXPECT_EQ(get("/sys/kernel/debug/shrinker/mm-shadow-5/scan"), "");
    call_error({{"op", "shrinker.scan"}, {"pages", 0}}, EINVAL);
    call_error({{"op", "shrinker.scan"}, {"pages", 1}, {"trace", true}}, ENOTSUP);
}

TEST_F(MachineTest, BackupIsSetAndReadBack) {
    start();
    call_error({{"op", "backup.set"}, {"mode", "insert"}}, ENOENT);
    put("/sys/module/ttm/parameters/backup", "copy\n");
    EXPECT_EQ(call_ok({{"op", "backup.set"}, {"mode", "insert"}}).at("mode"), "insert");
    EXPECT_EQ(get("/sys/module/ttm/parameters/backup"), "insert");
    call_error({{"op", "backup.set"}, {"mode", "tape"}}, EINVAL);
    call_error({{"op", "backup.set"}}, EINVAL);
    // The way back is set only if it is named.
    call_error({{"op", "backup.set"}, {"mode", "insert"}, {"restore", "copy"}}, ENOENT);
    put("/sys/module/ttm/parameters/restore", "auto\n");
    EXPECT_EQ(call_ok({{"op", "backup.set"}, {"mode", "swapcache"}, {"restore", "copy"}}).at("restore"),
              "copy");
    EXPECT_EQ(get("/sys/module/ttm/parameters/restore"), "copy");
    call_error({{"op", "backup.set"}, {"mode", "insert"}, {"restore", "guess"}}, EINVAL);
    // A kernel that takes the word and stays with its own.
    std::filesystem::remove(root / "sys/module/ttm/parameters/backup");
    std::filesystem::create_symlink("/dev/null", root / "sys/module/ttm/parameters/backup");
    call_error({{"op", "backup.set"}, {"mode", "copy"}}, EIO);
}

TEST_F(MachineTest, SyncWaitsForWriteback) {
    start();
    EXPECT_EQ(call_ok({{"op", "sync"}}).at("swapped_pages"), 8192 / 4);
    put("/proc/vmstat", "nr_writeback 5\n");
    call_error({{"op", "sync"}, {"timeout_ms", 30}}, ETIME);
}

TEST_F(MachineTest, ExecHandsOutputOnAndReportsTheStatus) {
    start();
    json answer = call_ok(
        {{"op", "exec"}, {"argv", {"sh", "-c", "echo one; echo two >&2; printf three; exit 7"}}});
    EXPECT_EQ(answer.at("status"), 7);
    EXPECT_EQ(answer.at("timed_out"), false);
    EXPECT_EQ(output(), (std::vector<std::string>{"one", "two", "three"}));
    EXPECT_EQ(call_ok({{"op", "exec"}, {"argv", {"sh", "-c", "kill -11 $$"}}}).at("status"),
              128 + 11);
    EXPECT_EQ(call_ok({{"op", "exec"}, {"argv", {"cat"}}}).at("status"), 0);  // no input
}

TEST_F(MachineTest, ExecOutputNeedNotBeText) {
    start();
    call_ok({{"op", "exec"},
             {"argv", {"sh", "-c", "printf '\\377\\001\\n'; head -c 200000 /dev/zero"}}});
    ASSERT_GE(output().size(), 4u);
    EXPECT_NE(output()[0], "");
}

TEST_F(MachineTest, ExecIsEndedInTime) {
    using Clock = std::chrono::steady_clock;
    start();
    const Clock::time_point begin = Clock::now();
    for (const char* script : {"sleep 30", "sleep 30 & sleep 30", "exec >&- 2>&-; sleep 30",
                               "trap '' TERM; while :; do :; done"}) {
        const json answer =
            call_ok({{"op", "exec"}, {"argv", {"sh", "-c", script}}, {"timeout_ms", 150}});
        EXPECT_EQ(answer.at("timed_out"), true) << script;
        EXPECT_EQ(answer.at("status"), 128 + 9) << script;
    }
    EXPECT_LT(Clock::now() - begin, std::chrono::seconds(15));
}

TEST_F(MachineTest, ExecBadRequests) {
    start();
    call_error({{"op", "exec"}}, EINVAL);
    call_error({{"op", "exec"}, {"argv", json::array()}}, EINVAL);
    call_error({{"op", "exec"}, {"argv", {""}}}, EINVAL);
    call_error({{"op", "exec"}, {"argv", {1, 2}}}, EINVAL);
    call_error({{"op", "exec"}, {"argv", {"/no/such/program"}}}, ENOENT);
    call_error({{"op", "exec"}, {"argv", {"true"}}, {"timeout_ms", 0}}, EINVAL);
}

TEST_F(MachineTest, KunitReportsAModuleThatDoesNotLoad) {
    start();
    EXPECT_EQ(call_ok({{"op", "kunit"}, {"modules", json::array()}}).at("results"), json::array());
    const json answer = call({{"op", "kunit"}, {"modules", {"vttm_no_such_module"}}});
    EXPECT_EQ(answer.at("ok"), false);
    call_error({{"op", "kunit"}}, EINVAL);
}

TEST_F(MachineTest, FaultsAndPowerOffReachTheMachine) {
    start();
    for (const char* kind : {"panic", "hang", "oops", "agent-exit"}) {
        call_error({{"op", "fault"}, {"kind", kind}}, EOPNOTSUPP);  // the fake survives them
    }
    call_error({{"op", "fault"}, {"kind", "boredom"}}, EINVAL);
    call_ok({{"op", "poweroff"}});
    hang_up();
    EXPECT_EQ(machine_actions,
              (std::vector<std::string>{"fault 0", "fault 1", "fault 2", "fault 3", "power off"}));
}

}  // namespace
}  // namespace vttm::guest::test
