// SPDX-License-Identifier: Apache-2.0
#include "host-backend/cli/swap_cycle_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace vttm::cli {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::string& toml) {
    std::string name = (std::filesystem::temp_directory_path() / "vttm-scenario-XXXXXX").string();
    int fd = ::mkstemp(name.data());
    EXPECT_GE(fd, 0);
    ::close(fd);
    std::ofstream(name) << toml;
    std::string error;
    try {
        load_swap_cycle(name);
    } catch (const std::exception& e) {
        error = e.what();
    }
    std::filesystem::remove(name);
    return error;
}

TEST(SwapCycleConfig, ShippedScenariosLoad) {
    const char* root = std::getenv("VTTM_SOURCE_ROOT");
    ASSERT_NE(root, nullptr);
    unsigned seen = 0;
    for (const auto& e : std::filesystem::directory_iterator(
             std::filesystem::path(root) / "tests" / "scenarios")) {
        if (e.path().extension() != ".toml") continue;
        SwapCycleConfig c = load_swap_cycle(e.path());
        EXPECT_EQ(c.name, e.path().stem().string());
        ++seen;
    }
    EXPECT_GE(seen, 2u);
}

TEST(SwapCycleConfig, NamesLineAndKeyOfErrors) {
    EXPECT_THAT(error_of("ram_mib = 1024\ncycels = 3\n"), HasSubstr(":2: unknown key \"cycels\""));
    EXPECT_THAT(error_of("cycles = \"three\"\n"), HasSubstr(":1: \"cycles\""));
    EXPECT_THAT(error_of("cycles = -1\n"), HasSubstr("\"cycles\""));
    EXPECT_THAT(error_of("cycles = \n"), HasSubstr(":1:"));
}

TEST(SwapCycleConfig, AFaultPlanIsCheckedBeforeAnyBoot) {
    const auto plan = [](const std::string& text) { return "fault_plan = '''" + text + "'''\n"; };
    EXPECT_EQ(error_of(plan(R"({"faults": [{"kind": "fence-never", "engine": "copy"}]})")), "");
    EXPECT_THAT(error_of(plan("{\"faults\": [")), HasSubstr("fault_plan: "));
    EXPECT_THAT(error_of(plan(R"({"faults": [{"kind": "no-such", "engine": "copy"}]})")), HasSubstr("no-such"));
    EXPECT_THAT(error_of(plan(R"({"faults": []})")), HasSubstr("no rules"));
    const std::string poison = plan(R"({"faults": [{"kind": "vram-poison", "offset": 67108864}]})");
    EXPECT_EQ(error_of("vram_mib = 128\n" + poison), "");
    EXPECT_THAT(error_of("vram_mib = 64\n" + poison), HasSubstr("offset")) << "it is of this run's VRAM";
    EXPECT_THAT(error_of("migrate = true\n" + plan(R"({"faults": [{"kind": "fence-never", "engine": "copy"}]})")),
                HasSubstr("does not migrate"));
}

TEST(SwapCycleConfig, ChecksRanges) {
    EXPECT_THAT(error_of("ram_mib = 16\n"), HasSubstr("ram_mib is 16"));
    EXPECT_THAT(error_of("vram_mib = 100\n"), HasSubstr("power of two"));
    EXPECT_THAT(error_of("swapped_share = 1.5\n"), HasSubstr("swapped_share"));
    EXPECT_THAT(error_of("backups = []\n"), HasSubstr("backups"));
    EXPECT_THAT(error_of("backups = [\"magic\"]\n"), HasSubstr("magic"));
    EXPECT_EQ(error_of("cycles = 2\nbackups = [\"insert\"]\n"), "");
}

TEST(FitToVariant, GivesTimeAndAsksForNoHugePagesWhereThereAreNone) {
    const SwapCycleConfig plain;
    SwapCycleConfig base, slow, nothp, long_one;
    fit_to_variant(base, machine::variant_named("base"));
    EXPECT_EQ(base.timeout_s, plain.timeout_s);
    EXPECT_EQ(base.min_unsplit, plain.min_unsplit);
    fit_to_variant(slow, machine::variant_named("kasan"));
    EXPECT_GT(slow.timeout_s, plain.timeout_s);
    EXPECT_EQ(slow.min_unsplit, plain.min_unsplit);
    EXPECT_EQ(slow.min_unchanged, plain.min_unchanged);
    fit_to_variant(nothp, machine::variant_named("nothp"));
    EXPECT_EQ(nothp.min_unsplit, 0);
    EXPECT_EQ(nothp.min_unchanged, plain.min_unchanged);
    long_one.timeout_s = 86400;
    fit_to_variant(long_one, machine::variant_named("kasan"));
    check_swap_cycle(long_one);  // still in range
}

}  // namespace
}  // namespace vttm::cli
