// SPDX-License-Identifier: Apache-2.0
// The device's test in QEMU's own terms (qemu-device/vttm-test.c), built by QEMU's build; and what QEMU says of the fields
// that it saves.
#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/unit/qtest/gpu.h"

namespace vttm::qtest {
namespace {

using nlohmann::json;

using Upstream = QtestBase;

TEST_F(Upstream, VttmTest) {
    const auto test = QemuPath().parent_path() / "vttm-test";
    ASSERT_TRUE(std::filesystem::exists(test)) << "images/qemu/build.sh makes it together with QEMU";
    TempDir dir;
    const std::string command = fmt::format("cd '{}' && QTEST_QEMU_BINARY='{}' timeout 120 '{}' --tap >log 2>&1",
                                            dir.path().string(), QemuPath().string(), test.string());
    const int status = std::system(command.c_str());
    std::ostringstream log;
    log << std::ifstream(dir.File("log")).rdbuf();
    EXPECT_EQ(status, 0) << log.str();
    for (int i = 1; i <= 6; i++)
        EXPECT_NE(log.str().find(fmt::format("\nok {} ", i)), std::string::npos) << log.str();
}

/// Names and versions of all fields, in their order; sizes of those that are not structures of QEMU's.
json Fields(const json& description) {
    json fields = json::array();
    for (const json& f : description.value("Fields", json::array())) {
        json field = {f.at("field"), f.at("version_id")};
        if (f.contains("Description"))
            field.push_back(Fields(f.at("Description")));
        else
            field.push_back(f.at("size"));
        fields.push_back(field);
    }
    return fields;
}

// As scripts/vmstate-static-checker.py of QEMU does it: other fields under the same version are no migration.
TEST_F(Upstream, TheFieldsOfVersion1) {
    TempDir dir;
    QemuProcess qemu({"-machine", "q35", "-dump-vmstate", dir.File("all")}, dir.File("log"));
    ASSERT_EQ(qemu.Wait(20), 0) << qemu.Log();
    const json now = json::parse(std::ifstream(dir.File("all"))).at("vttm").at("Description");
    const json then =
        json::parse(std::ifstream(VTTM_SOURCE_ROOT "/tests/unit/qtest/golden/vmstate-v1.json")).at("Description");
    EXPECT_EQ(now.at("name"), then.at("name"));
    EXPECT_EQ(now.at("version_id"), then.at("version_id"));
    EXPECT_EQ(now.at("minimum_version_id"), then.at("minimum_version_id"));
    ASSERT_FALSE(Fields(then).empty());
    EXPECT_EQ(Fields(now), Fields(then));
}

}  // namespace
}  // namespace vttm::qtest
