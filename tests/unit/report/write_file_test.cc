// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <system_error>

#include "host-backend/report/run_report.h"

namespace vttm::report {
namespace {

namespace fs = std::filesystem;

class WriteFile : public ::testing::Test {
protected:
    WriteFile() {
        std::string name = (fs::temp_directory_path() / "vttm-report.XXXXXX").string();
        if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
        dir_ = name;
    }
    ~WriteFile() override { fs::remove_all(dir_); }
    static std::string content(const fs::path& p) {
        std::stringstream text;
        text << std::ifstream(p).rdbuf();
        return text.str();
    }
    std::size_t files() {
        return static_cast<std::size_t>(
            std::distance(fs::directory_iterator(dir_), fs::directory_iterator()));
    }
    fs::path dir_;
};

TEST_F(WriteFile, WritesAndReplaces) {
    const fs::path p = dir_ / "out.json";
    write_file(p.string(), "one");
    EXPECT_EQ(content(p), "one");
    write_file(p.string(), std::string(100000, 'x'));
    EXPECT_EQ(content(p).size(), 100000u);
    EXPECT_EQ(files(), 1u);
    struct stat st {};
    ASSERT_EQ(::stat(p.c_str(), &st), 0);
    EXPECT_TRUE(st.st_mode & S_IRUSR);
    EXPECT_FALSE(st.st_mode & S_IXUSR);
}

TEST_F(WriteFile, AFailureLeavesNothing) {
    EXPECT_THROW(write_file((dir_ / "none" / "out").string(), "x"), std::system_error);
    fs::create_directory(dir_ / "taken");
    EXPECT_THROW(write_file((dir_ / "taken").string(), "x"), std::system_error);
    EXPECT_EQ(files(), 1u) << "no temporary file stays";
}

TEST(WriteFileDiskFull, IsNamedSo) {
    // /dev/full cannot be written beside; the error number is what callers look at.
    try {
        write_file("/proc/vttm-no-such-place", "x");
        FAIL();
    } catch (const std::system_error& e) {
        EXPECT_NE(std::string(e.what()).find("/proc/vttm-no-such-place"), std::string::npos);
        EXPECT_NE(e.code().value(), 0);
    }
}

}  // namespace
}  // namespace vttm::report
