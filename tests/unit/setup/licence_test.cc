// SPDX-License-Identifier: Apache-2.0
// Each source, script and document names its licence.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/unit/setup/shell.h"

namespace vttm::setup_test {
namespace {

namespace fs = std::filesystem;

bool names_its_licence(const fs::path& file) {
    std::ifstream in(file);
    std::string line;
    for (int i = 0; i < 10 && std::getline(in, line); ++i)
        if (line.find("SPDX-License-Identifier:") != std::string::npos) return true;
    return false;
}

// By its name: what an editor or a merge leaves in the tree is no business of this test. Nor are inputs
// that a fuzzer made (tests/fuzz/README.md says whose they are).
bool is_ours(const fs::path& file) {
    if (file.parent_path().parent_path().filename() == "corpus") return false;
    static constexpr const char* kSuffixes[] = {".c",   ".cc",  ".h",    ".sh",   ".md",  ".build",
                                                ".yml", ".txt", ".toml", ".json", ".in"};
    const fs::path suffix = file.extension();
    return suffix.empty() || std::find(std::begin(kSuffixes), std::end(kSuffixes), suffix) != std::end(kSuffixes);
}

TEST(Licence, IsNamedInEachFile) {
    std::vector<std::string> without;
    std::size_t files = 0;
    const auto look = [&](const fs::path& file) {
        if (!is_ours(file)) return;
        ++files;
        if (!names_its_licence(file)) without.push_back(fs::relative(file, source_root()).string());
    };
    for (const char* name : {"vttm", "README.md", ".gitignore", "meson.build", "meson_options.txt", ".ci/run"})
        look(source_root() / name);
    for (const char* folder : {"ci", "docs", "guest-driver", "host-backend", "images", "protocol", "qemu-device", "tests"})
        for (const auto& entry : fs::recursive_directory_iterator(source_root() / folder))
            if (entry.is_regular_file()) look(entry.path());
    EXPECT_THAT(without, ::testing::IsEmpty());
    EXPECT_GT(files, 200u) << "the tree was not found";
}

}  // namespace
}  // namespace vttm::setup_test
