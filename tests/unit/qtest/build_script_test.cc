// SPDX-License-Identifier: Apache-2.0
// images/qemu/build.sh on trees that it must refuse: the exit code, the message, and that neither
// the tree nor the cache is touched. (That it builds a right one is shown by all tests that run its
// QEMU.)
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "tests/unit/qtest/qemu_process.h"

namespace vttm::qtest {
namespace {

namespace fs = std::filesystem;

constexpr int kUsage = 2;
constexpr int kPatch = 13;

struct Outcome {
    int status;
    std::string output;  ///< stdout and stderr
};

class BuildScript : public ::testing::Test {
protected:
    void SetUp() override {
        Write("pc/vttm-model.pc", "");
        Write("qemu/VERSION", "10.0.13\n");
        Write("qemu/hw/meson.build", "subdir('pci')\nsubdir('xtensa')\n");
        Write("qemu/hw/Kconfig", "source pci/Kconfig\n");
        Write("qemu/tests/qtest/meson.build", "qtest_executables = {}\n");
        Write("qemu/configure", "#!/bin/sh\nexit 1\n");
    }
    void Write(const std::string& name, const std::string& text) {
        fs::create_directories((dir_.path() / name).parent_path());
        std::ofstream(dir_.path() / name) << text;
    }
    std::map<std::string, std::string> Tree() {
        std::map<std::string, std::string> tree;
        for (const auto& entry : fs::recursive_directory_iterator(dir_.path() / "qemu")) {
            if (!entry.is_regular_file()) continue;
            std::ostringstream text;
            text << std::ifstream(entry.path()).rdbuf();
            tree[entry.path()] = text.str();
        }
        return tree;
    }
    Outcome Run(const std::string& arguments) {
        const std::string command = "cd '" + dir_.path().string() + "' && VTTM_CACHE='" +
                                    dir_.File("cache") + "' VTTM_LOG_DIR='" + dir_.File("log") +
                                    "' sh '" VTTM_SOURCE_ROOT "/images/qemu/build.sh' " +
                                    arguments + " 2>&1 </dev/null";
        FILE* pipe = popen(command.c_str(), "r");
        if (!pipe) throw std::runtime_error("popen");
        Outcome outcome{};
        char chunk[4096];
        for (size_t n; (n = fread(chunk, 1, sizeof(chunk), pipe)) > 0;)
            outcome.output.append(chunk, n);
        outcome.status = WEXITSTATUS(pclose(pipe));
        return outcome;
    }
    /// Runs it on the tree qemu/ and expects a refusal that leaves no trace.
    void ExpectRefused(const std::string& message) {
        const auto before = Tree();
        const Outcome outcome = Run("--source qemu --model-pc pc");
        EXPECT_EQ(outcome.status, kPatch) << outcome.output;
        EXPECT_NE(outcome.output.find(message), std::string::npos) << outcome.output;
        EXPECT_EQ(Tree(), before) << "the user's tree was changed";
        const fs::path cache = dir_.path() / "cache";
        EXPECT_TRUE(!fs::exists(cache / "qemu") || fs::is_empty(cache / "qemu"));
        EXPECT_TRUE(fs::is_empty(cache / "tmp"));
    }

    TempDir dir_;
};

TEST_F(BuildScript, WrongArguments) {
    EXPECT_EQ(Run("").status, kUsage);
    EXPECT_EQ(Run("--model-pc nowhere").status, kUsage);
    EXPECT_EQ(Run("--model-pc pc --fast").status, kUsage);
    EXPECT_EQ(Run("--model-pc pc --source").status, kUsage);
}

TEST_F(BuildScript, NoQemuTree) {
    const Outcome outcome = Run("--model-pc pc --source pc");
    EXPECT_EQ(outcome.status, kUsage);
    EXPECT_NE(outcome.output.find("'pc' is no QEMU source tree"), std::string::npos)
        << outcome.output;
}

TEST_F(BuildScript, TooOld) {
    Write("qemu/VERSION", "7.2.22\n");
    ExpectRefused("it is QEMU 7.2.22");
}

TEST_F(BuildScript, TooNew) {
    Write("qemu/VERSION", "11.1.0\n");
    ExpectRefused("it is QEMU 11.1.0");
}

TEST_F(BuildScript, DeviceIsThereAlready) {
    Write("qemu/hw/vttm/vttm.c", "");
    ExpectRefused("the tree has a folder hw/vttm already");
}

TEST_F(BuildScript, NoPlaceForTheHook) {
    Write("qemu/hw/Kconfig", "rsource \"pci/Kconfig\"\n");
    ExpectRefused("hw/meson.build, hw/Kconfig or tests/qtest/meson.build is not made as in QEMU 10.0");
}

TEST_F(BuildScript, NoPlaceForTheTest) {
    Write("qemu/tests/qtest/meson.build", "foreach dir : target_dirs\n");
    ExpectRefused("hw/meson.build, hw/Kconfig or tests/qtest/meson.build is not made as in QEMU 10.0");
}

}  // namespace
}  // namespace vttm::qtest
