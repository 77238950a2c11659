// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>

namespace vttm::cli {
namespace {

class ManifestTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (std::filesystem::temp_directory_path() / "vttm-manifest-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        dir_ = name;
        for (const char* f : {"qemu", "kernel", "initramfs"}) std::ofstream(dir_ / f) << "x";
        good_ = {{"qemu", (dir_ / "qemu").string()},
                 {"kernel", (dir_ / "kernel").string()},
                 {"initramfs", (dir_ / "initramfs").string()},
                 {"kernel_release", "7.3.4-vttm"},
                 {"variant", "base"},
                 {"accel", "tcg"}};
    }
    void TearDown() override { std::filesystem::remove_all(dir_); }

    std::filesystem::path write(const std::string& text) {
        std::ofstream(dir_ / "vm.json") << text;
        return dir_ / "vm.json";
    }
    std::string error_of(const std::string& text) {
        try {
            load_manifest(write(text));
        } catch (const std::exception& e) {
            return e.what();
        }
        return "";
    }

    std::filesystem::path dir_;
    nlohmann::json good_;
};

TEST_F(ManifestTest, ReadsAllKeys) {
    Manifest m = load_manifest(write(good_.dump()));
    EXPECT_EQ(m.kernel, dir_ / "kernel");
    EXPECT_EQ(m.accel, "tcg");
    EXPECT_EQ(m.variant, "base");
}

TEST_F(ManifestTest, NamesTheMissingKey) {
    for (const auto& [key, value] : good_.items()) {
        nlohmann::json j = good_;
        j.erase(key);
        EXPECT_THAT(error_of(j.dump()), ::testing::HasSubstr(key));
    }
}

TEST_F(ManifestTest, NamesTheMissingFile) {
    std::filesystem::remove(dir_ / "kernel");
    EXPECT_THAT(error_of(good_.dump()), ::testing::HasSubstr((dir_ / "kernel").string()));
}

TEST_F(ManifestTest, RefusesGarbageAndUnknownAccelerator) {
    EXPECT_THAT(error_of("{not json"), ::testing::HasSubstr("not JSON"));
    good_["accel"] = "magic";
    EXPECT_THAT(error_of(good_.dump()), ::testing::HasSubstr("magic"));
    EXPECT_THROW(load_manifest(dir_ / "none.json"), ManifestError);
}

TEST_F(ManifestTest, KnowsTheVariants) {
    EXPECT_EQ(load_manifest(write(good_.dump())).variant, "base");
    good_["variant"] = "fast";
    EXPECT_THAT(error_of(good_.dump()), ::testing::HasSubstr("\"fast\""));
}

}  // namespace
}  // namespace vttm::cli
