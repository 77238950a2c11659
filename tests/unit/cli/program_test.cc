// SPDX-License-Identifier: Apache-2.0
// The program itself, as far as it goes without a virtual machine: how it ends.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "host-backend/cli/subprocess.h"
#include "tests/unit/cli/tiny_filesystem.h"

namespace vttm::cli {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class ProgramTest : public ::testing::Test {
protected:
    void SetUp() override {
        ASSERT_NE(std::getenv("VTTM_CLI"), nullptr) << "meson test sets it";
        std::string name = (std::filesystem::temp_directory_path() / "vttm-program-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        dir_ = name;
        std::filesystem::create_directories(dir_ / "build" / "vm");
        vm_ = dir_ / "build" / "vm" / "vm.json";
        // All files are there, but QEMU is no program: preflight ends the run before it starts.
        for (const char* f : {"qemu", "kernel", "initramfs"}) std::ofstream(dir_ / f) << "x";
        std::ofstream(vm_) << nlohmann::json{{"qemu", (dir_ / "qemu").string()},
                                             {"kernel", (dir_ / "kernel").string()},
                                             {"initramfs", (dir_ / "initramfs").string()},
                                             {"kernel_release", "7.3.4"},
                                             {"variant", "base"},
                                             {"accel", "tcg"}};
    }
    void TearDown() override { std::filesystem::remove_all(dir_); }

    // Runs it with a shell's redirections behind the arguments; returns the exit code.
    int vttm(const std::string& arguments, std::string root = std::getenv("VTTM_SOURCE_ROOT")) {
        output_.clear();
        const std::string line = std::string(std::getenv("VTTM_CLI")) + " --vm " + vm_.string() +
                                 " --source-root " + root + " " + arguments;
        return run_subprocess({.argv = {"sh", "-c", line},
                               .env = {"VTTM_CACHE=" + (dir_ / "cache").string(),
                                       "PATH=" + (dir_ / "bin").string() + ":" + std::getenv("PATH")},
                               .timeout = std::chrono::seconds(60),
                               .on_line = [&](std::string_view l) { output_.append(l).append("\n"); }})
            .status;
    }

    // A program @name in a folder that PATH has first.
    std::filesystem::path script(const std::string& name, const std::string& text) {
        const auto path = dir_ / "bin" / name;
        std::filesystem::create_directories(path.parent_path());
        std::ofstream(path) << "#!/bin/sh\n" << text;
        std::filesystem::permissions(path, std::filesystem::perms::owner_all);
        return path;
    }

    std::filesystem::path dir_, vm_;
    std::string output_;
};

TEST_F(ProgramTest, WrongUsageIs2) {
    EXPECT_EQ(vttm(""), 2);
    EXPECT_EQ(vttm("fly"), 2);
    EXPECT_EQ(vttm("run --no-such-option"), 2);
    EXPECT_EQ(vttm("run no-such-scenario"), 2);
    EXPECT_THAT(output_, HasSubstr("no-such-scenario.toml"));
    EXPECT_EQ(vttm("run --cycles 0"), 2);
    EXPECT_THAT(output_, HasSubstr("cycles is 0"));
    EXPECT_EQ(vttm("test no-such-stage"), 2);
    EXPECT_EQ(vttm("bench no-such-scenario"), 2);
    EXPECT_EQ(vttm("run --help"), 0);
}

TEST_F(ProgramTest, ShellRefusesWhatItCannotDo) {
    for (const char* option : {"--connect qemu:///system", "--keep", "--logs /tmp"}) {
        EXPECT_EQ(vttm(std::string("shell ") + option), 2) << option;
        EXPECT_THAT(output_, HasSubstr("has no meaning for shell"));
    }
}

TEST_F(ProgramTest, AnErrorSaysWhatWhereAndWhatToDo) {
    const auto json = dir_ / "out.json";
    EXPECT_EQ(vttm("run swap-cycle-short --json " + json.string()), 6);
    EXPECT_THAT(output_, AllOf(HasSubstr("the QEMU binary cannot be used"),
                               HasSubstr((dir_ / "qemu").string()), HasSubstr("what to do:")));
    const auto report = nlohmann::json::parse(std::ifstream(json));
    EXPECT_EQ(report.at("exit_code"), 6);
    EXPECT_EQ(report.at("scenario"), "swap-cycle-short");
    EXPECT_EQ(vttm("run 2>/dev/full --json " + json.string()), 6) << "progress is no reason to die";
    EXPECT_EQ(vttm("shell"), 6);
    EXPECT_THAT(output_, HasSubstr("the QEMU binary cannot be used"));
}

TEST_F(ProgramTest, AMachineThatIsNotBuiltIsNoWrongUsage) {
    std::filesystem::remove(dir_ / "kernel");
    for (const char* command : {"run", "test unit", "shell", "compare"}) {
        EXPECT_EQ(vttm(command), 6) << command;
        EXPECT_THAT(output_, AllOf(HasSubstr((dir_ / "kernel").string()), HasSubstr("./vttm build"))) << command;
    }
}

// The nightly job of each CI template demands figures. An option that is none would end it with 2 each night.
TEST_F(ProgramTest, TheTemplatesCompareByOptionsThatThereAre) {
    std::string first;
    for (const char* name : {"ci/github.yml", "ci/gitlab-ci.yml"}) {
        std::ifstream file(std::filesystem::path(std::getenv("VTTM_SOURCE_ROOT")) / name);
        std::string line, found;
        while (std::getline(file, line))
            if (const auto at = line.find("./vttm compare"); at != line.npos) found = line.substr(at + 7);
        ASSERT_NE(found, "") << name << " compares nothing";
        for (const char* option : {"--cycles 100", "--max-out 0.1", "--max-in 0.2", "--min-blocks 99", "--no-more-oom"})
            EXPECT_THAT(found, HasSubstr(option)) << name;
        // Right usage: it gets as far as to QEMU, which is none here.
        EXPECT_EQ(vttm(found), 6) << name << output_;
        EXPECT_EQ(vttm(found + " --no-such-demand"), 2) << name;
        if (!first.empty()) {
            EXPECT_EQ(found, first) << "the templates differ";
        }
        first = found;
    }
}

TEST_F(ProgramTest, OptionsComeOverTheScenarioWhereverTheyStand) {
    const auto json = dir_ / "swap-cycle-short";  // the value of an option is no scenario
    EXPECT_EQ(vttm("run --json " + json.string() + " --ram 700 swap-cycle"), 6);
    const auto report = nlohmann::json::parse(std::ifstream(json));
    EXPECT_EQ(report.at("scenario"), "swap-cycle");
    EXPECT_EQ(report.at("guest_ram_bytes"), 700u << 20);
    EXPECT_EQ(report.at("vram_bytes"), 256u << 20) << "from the scenario's file";
}

// Meson's own environment names the machine of its build, which need not be the one asked for.
TEST_F(ProgramTest, TestsGetTheMachineThatWasNamed) {
    const auto program = script("program", R"(env | grep '^VTTM_VM=' >")" + (dir_ / "told").string() +
                                               R"("
echo '{"testsuites":[{"name":"A","testsuite":[{"name":"t","status":"RUN"}]}]}' >"${GTEST_OUTPUT#json:}")");
    std::ofstream(dir_ / "tests.json") << nlohmann::json::array(
        {{{"name", "one"}, {"suite", {"vttm:vm"}}, {"cmd", {program.string()}},
          {"env", {{"VTTM_VM", "/another/vm.json"}}}, {"timeout", 30}}});
    script("meson", "cat '" + (dir_ / "tests.json").string() + "'");
    EXPECT_EQ(vttm("test vm"), 0) << output_;
    EXPECT_TRUE(output_.ends_with("\n1 passed, 0 failed\n")) << output_;
    std::ifstream file(dir_ / "told");
    const std::string told{std::istreambuf_iterator<char>(file), {}};
    EXPECT_EQ(told, "VTTM_VM=" + vm_.string() + "\n");
}

// All has run by then, the scenario too.
TEST_F(ProgramTest, BenchEndsWithWhatABenchmarkMissed) {
    std::filesystem::create_directories(dir_ / "build" / "reports");  // the real ./vttm makes it
    script("vttm", R"(while [ "$1" != --json ]; do shift; done
echo '{"accelerator": "tcg", "kernel": "7.3.4", "seconds_to_first_check": 1, "seconds_to_boot": 1, "backups": []}' >"$2")");
    const std::string scenario =
        std::string(std::getenv("VTTM_SOURCE_ROOT")) + "/tests/scenarios/swap-cycle-short.toml";
    const auto bench = [&](std::vector<std::string> ends) {
        auto all = nlohmann::json::array();
        for (const std::string& end : ends)
            all.push_back({{"name", "ends " + end}, {"cmd", {"sh", "-c", "exit " + end}}});
        std::ofstream(dir_ / "benchmarks.json") << all;
        script("meson", "cat '" + (dir_ / "benchmarks.json").string() + "'");
        return vttm("bench --runs 1 " + scenario, (dir_ / "bin").string());
    };
    EXPECT_EQ(bench({"0", "0"}), 0) << output_;
    EXPECT_EQ(bench({"9", "0"}), 9) << output_;
    EXPECT_THAT(output_, AllOf(HasSubstr("benchmark ends 9 ended with 9"), HasSubstr("report: ")));
    EXPECT_EQ(bench({"9", "1", "9"}), 6) << output_;
    EXPECT_EQ(bench({"139"}), 6) << output_;
}

TEST_F(ProgramTest, AFullDiskIs12) {
    EXPECT_EQ(vttm("test --list >/dev/full"), 12);
    EXPECT_THAT(output_, AllOf(HasSubstr("disk is full"), HasSubstr("what to do:")));
    EXPECT_EQ(vttm("test --list >/dev/full 2>/dev/full"), 12) << "nowhere to say it";
    test::TinyFilesystem tiny;
    if (!tiny.why_not().empty()) GTEST_SKIP() << tiny.why_not();
    tiny.fill();
    EXPECT_EQ(vttm("run --json " + (tiny.dir() / "out.json").string()), 12);
    EXPECT_THAT(output_, AllOf(HasSubstr("cannot write out.json: the disk is full"),
                               HasSubstr("what to do: free space there")));
    EXPECT_EQ(tiny.files(), 1u) << "half a file stayed";
}

}  // namespace
}  // namespace vttm::cli
