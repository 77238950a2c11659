// SPDX-License-Identifier: Apache-2.0
// What makes this driver a second one: it includes the specification, itself, and how a QEMU is
// started.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace vttm::independent {
namespace {

/// Whether a line of a source includes a file of this project that this driver must not know.
bool Foreign(const std::string& line) {
    const std::string include = "#include \"";
    if (!line.starts_with(include)) return false;
    const std::string path = line.substr(include.size());
    return !path.starts_with("protocol/vttm_") && !path.starts_with("tests/unit/independent/") &&
           path != "tests/unit/qtest/qemu_process.h\"";
}

TEST(Includes, OnlyTheSpecification) {
    const auto folder = std::filesystem::path(VTTM_SOURCE_ROOT) / "tests/unit/independent";
    unsigned files = 0;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() != ".cc" && entry.path().extension() != ".h") continue;
        files++;
        std::ifstream source(entry.path());
        for (std::string line; std::getline(source, line);) {
            EXPECT_FALSE(Foreign(line)) << entry.path() << ": " << line;
        }
    }
    EXPECT_GE(files, 20u) << "the folder was not found whole";
}

TEST(Includes, TheCheckSeesWhatIsForeign) {
    EXPECT_TRUE(Foreign("#include \"host-backend/model/device.h\""));
    EXPECT_TRUE(Foreign("#include \"tests/unit/qtest/gpu.h\""));
    EXPECT_FALSE(Foreign("#include \"protocol/vttm_regs.h\""));
    EXPECT_FALSE(Foreign("#include <vector>"));
}

}  // namespace
}  // namespace vttm::independent
