// SPDX-License-Identifier: Apache-2.0
// What the kernel's own tools say of our kernel code: the series as a mailing list would get it, complete, numbered,
// signed, and clean for checkpatch, as is vttm.ko.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <string>
#include <vector>

#include "host-backend/cli/manifest.h"
#include "host-backend/cli/subprocess.h"

namespace vttm {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

// Set by meson and by `./vttm test`.
fs::path from_environment(const char* name) {
    const char* value = std::getenv(name);
    return value ? value : "";
}

fs::path folder() { return from_environment("VTTM_SOURCE_ROOT") / "guest-driver/patches"; }

std::string text_of(const fs::path& file) {
    std::ifstream in(file);
    return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::string> series() {
    std::vector<std::string> names;
    std::ifstream in(folder() / "series");
    for (std::string line; std::getline(in, line);)
        if (!line.empty() && line.front() != '#') names.push_back(line);
    return names;
}

struct Outcome {
    int status;
    std::string output;
};

// What checkpatch says, with `arguments`, of what `file` holds.
Outcome checkpatch(const std::string& arguments, const fs::path& file) {
    // The kernel's entry in the cache keeps linux/scripts.
    const auto kernel = cli::load_manifest(from_environment("VTTM_VM")).kernel.parent_path();
    Outcome outcome{};
    cli::SubprocessRequest request;
    request.argv = {"sh", "-c",
                    fmt::format(R"(exec perl "$1" --no-tree --strict --terse --no-summary {} <"$2")", arguments),
                    "checkpatch", (kernel / "linux/scripts/checkpatch.pl").string(), file.string()};
    request.on_line = [&](std::string_view line) { outcome.output.append(line).append("\n"); };
    outcome.status = cli::run_subprocess(request).status;
    return outcome;
}

// By standard input: checkpatch takes a file that git knows for a source file. New files lie below folders that
// MAINTAINERS names.
Outcome check_patch(const fs::path& patch) { return checkpatch("--ignore FILE_PATH_CHANGES -", patch); }

// User space has no BIT().
Outcome check_source(const fs::path& file) {
    return checkpatch(fmt::format("{} -f '{}'", file.parent_path().filename() == "uapi" ? "--ignore BIT_MACRO" : "",
                                  file.string()),
                      file);
}

TEST(Series, NamesEachPatchOnceInTheirOrder) {
    std::vector<std::string> files;
    for (const auto& entry : fs::directory_iterator(folder()))
        if (entry.path().extension() == ".patch") files.push_back(entry.path().filename());
    std::sort(files.begin(), files.end());
    EXPECT_EQ(series(), files);
    EXPECT_FALSE(files.empty());
}

class Patch : public ::testing::TestWithParam<std::string> {};

TEST_P(Patch, IsNumberedSignedAndExplained) {
    const std::string text = text_of(folder() / GetParam());
    const auto names = series();
    const auto number = std::find(names.begin(), names.end(), GetParam()) - names.begin() + 1;
    EXPECT_THAT(text, HasSubstr(fmt::format("\nSubject: [PATCH {:02}/{}] ", number, names.size())));
    EXPECT_THAT(GetParam(), ::testing::StartsWith(fmt::format("{:04}-", number)));
    const auto subject = text.find("\nSubject: "), message = text.find("\n\n", subject);
    const auto sign = text.find("\nSigned-off-by: "), end = text.find("\n---\n");
    ASSERT_NE(sign, std::string::npos);
    EXPECT_LT(sign, end) << "signed below the message";
    EXPECT_GT(sign, message + 100) << "a message of one line explains nothing";
}

TEST_P(Patch, IsCleanForCheckpatch) {
    const Outcome outcome = check_patch(folder() / GetParam());
    EXPECT_EQ(outcome.status, 0);
    EXPECT_EQ(outcome.output, "");
}

std::string test_name(const ::testing::TestParamInfo<std::string>& info) { return info.param.substr(0, 4); }
INSTANTIATE_TEST_SUITE_P(Series, Patch, ::testing::ValuesIn(series()), test_name);

// The check itself: a patch with a fault is not clean.
TEST(Checkpatch, FindsAPlantedFault) {
    std::string text = text_of(folder() / series().front());
    const auto added = text.find("\n+", text.find("\n@@"));
    ASSERT_NE(added, std::string::npos);
    text.insert(text.find('\n', added + 1), "   ");
    const fs::path file = fs::path(::testing::TempDir()) / "planted.patch";
    std::ofstream(file) << text;
    const Outcome outcome = check_patch(file);
    EXPECT_NE(outcome.status, 0);
    EXPECT_THAT(outcome.output, HasSubstr("trailing whitespace"));
}

TEST(Module, IsCleanForCheckpatch) {
    unsigned files = 0;
    for (const char* part : {"guest-driver/kmod", "guest-driver/uapi"})
        for (const auto& entry : fs::directory_iterator(from_environment("VTTM_SOURCE_ROOT") / part)) {
            if (entry.path().extension() != ".c" && entry.path().extension() != ".h") continue;
            ++files;
            const Outcome outcome = check_source(entry.path());
            EXPECT_EQ(outcome.status, 0);
            EXPECT_EQ(outcome.output, "");
        }
    EXPECT_GT(files, 10u);
}

TEST(Module, APlantedFaultIsFound) {
    const fs::path file = fs::path(::testing::TempDir()) / "planted.c";
    std::ofstream(file) << "// SPDX-License-Identifier: GPL-2.0\nint f(void)\n{\n    return 0;\n}\n";
    const Outcome outcome = check_source(file);
    EXPECT_NE(outcome.status, 0);
    EXPECT_THAT(outcome.output, HasSubstr("no spaces at the start of a line"));
}

}  // namespace
}  // namespace vttm
