// SPDX-License-Identifier: Apache-2.0
#include "host-backend/machine/variant.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>

namespace vttm::machine {
namespace {

std::set<std::string> lines_of(const std::string& path) {
    std::ifstream file(path);
    std::set<std::string> lines;
    for (std::string line; std::getline(file, line);) lines.insert(line);
    return lines;
}

TEST(Variant, UnknownNamesAreRefused) {
    EXPECT_EQ(variant_named("base").patience, 1);
    for (const char* name : {"", "bas", "Debug", "debug "})
        EXPECT_THROW(variant_named(name), std::runtime_error) << name;
}

TEST(Variant, LimitsGrowWithPatience) {
    const Variant& kasan = variant_named("kasan");
    EXPECT_GT(kasan.patience, 1);
    EXPECT_EQ(kasan.scaled(std::chrono::seconds(3)), std::chrono::seconds(3 * kasan.patience));
    EXPECT_EQ(variant_named("base").scaled(std::chrono::milliseconds(7)), std::chrono::milliseconds(7));
}

// What the table promises of a kernel must be in its configuration.
TEST(Variant, ConfigurationsKeepTheTablesPromises) {
    const char* root = std::getenv("VTTM_SOURCE_ROOT");
    ASSERT_NE(root, nullptr);
    const std::string dir = std::string(root) + "/images/kernel/config/";
    const auto base = lines_of(dir + "base.config"), nothp = lines_of(dir + "nothp.config"),
               kasan = lines_of(dir + "kasan.config"), debug = lines_of(dir + "debug.config");
    const auto has = [](const std::set<std::string>& config, const char* option) {
        return config.contains(std::string("CONFIG_") + option + "=y");
    };
    for (const char* name : {"debug", "kasan"}) {  // kasan is made on top of debug
        const Variant& v = variant_named(name);
        EXPECT_EQ(v.lockdep, has(debug, "PROVE_LOCKING"));
        EXPECT_EQ(v.kmemleak, has(debug, "DEBUG_KMEMLEAK"));
        EXPECT_TRUE(has(debug, "PAGE_POISONING"));
        EXPECT_NE(v.cmdline.find("page_poison=1"), std::string_view::npos);
    }
    EXPECT_TRUE(variant_named("kasan").kasan && has(kasan, "KASAN"));
    EXPECT_FALSE(variant_named("nothp").huge_pages || has(nothp, "TRANSPARENT_HUGEPAGE"));
    EXPECT_TRUE(nothp.contains("# CONFIG_TRANSPARENT_HUGEPAGE is not set"));
    const Variant& plain = variant_named("base");
    EXPECT_TRUE(plain.huge_pages && has(base, "TRANSPARENT_HUGEPAGE"));
    EXPECT_FALSE(plain.lockdep || plain.kmemleak || plain.kasan);
    EXPECT_FALSE(has(base, "PROVE_LOCKING") || has(base, "DEBUG_KMEMLEAK") || has(base, "KASAN"));
}

}  // namespace
}  // namespace vttm::machine
