// SPDX-License-Identifier: Apache-2.0
// Stamps are made and checked by vectors: what the compiler has made of it in the library that QEMU
// loads ($VTTM_MODEL_LIBRARY), and that it says the same as protocol/vttm_stamp.h.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "host-backend/model/stamp_page.h"

namespace vttm::model {
namespace {

// Of each function of stamp_page.cc: how many 64-bit products it makes at least two at a time (with
// AVX2 a vpmuludq is a third of one), and how many one by one.
struct Products {
    int vector = 0;
    int scalar = 0;
};

std::map<std::string, Products> disassemble(const std::string& library) {
    std::map<std::string, Products> out;
    FILE* pipe = popen(("objdump -d -C --no-show-raw-insn '" + library + "' 2>&1").c_str(), "r");
    if (!pipe) return out;
    const std::regex head(R"(<vttm::model::\(anonymous namespace\)::((fill|is_good)_\w+)\()");
    const std::regex vector(R"(\tvpmull?u?d?q .*%[yz]mm)"), scalar(R"(\ti?mul)");
    std::string function;
    char line[4096];
    while (std::fgets(line, sizeof(line), pipe)) {
        std::smatch found;
        const std::string text = line;
        if (text.find(">:") != std::string::npos)
            function = std::regex_search(text, found, head) ? found[1].str() : "";
        if (function.empty()) continue;
        Products& p = out[function];
        p.vector += std::regex_search(text, vector);
        p.scalar += std::regex_search(text, scalar);
    }
    pclose(pipe);
    return out;
}

TEST(StampPage, IsVectorised) {
#ifndef __x86_64__
    GTEST_SKIP() << "only x86-64 has these functions";
#endif
#ifndef VTTM_OPTIMIZED
    GTEST_SKIP() << "a build without optimization has no vectors";
#endif
    if (std::system("objdump --version >/dev/null 2>&1"))
        GTEST_SKIP() << "objdump (Debian: binutils) is missing";
    const char* library = std::getenv("VTTM_MODEL_LIBRARY");
    ASSERT_NE(library, nullptr);
    auto functions = disassemble(library);
    // A line is 4 products for its body and 7 for its sum.
    for (const char* name : {"fill_avx512", "is_good_avx512", "fill_avx2", "is_good_avx2"}) {
        ASSERT_TRUE(functions.count(name)) << name << " is not in " << library;
        EXPECT_GE(functions[name].vector, 11) << name;
    }
    // ... and who looks like this can tell.
    ASSERT_TRUE(functions.count("fill_portable"));
    EXPECT_EQ(functions["fill_portable"].vector, 0);
    EXPECT_GE(functions["fill_portable"].scalar, 8);
}

class EachCode : public ::testing::TestWithParam<StampCode> {
protected:
    void SetUp() override {
        if (!can_run(GetParam())) GTEST_SKIP() << "this CPU does not run it";
    }
    const StampPage& code_ = stamp_page(GetParam());
    alignas(64) uint64_t page_[VTTM_STAMP_PAGE_SIZE / 8] = {};
    alignas(64) uint64_t want_[VTTM_STAMP_PAGE_SIZE / 8] = {};
};

TEST_P(EachCode, MakesTheHeadersPage) {
    uint64_t x = 1;
    const auto next = [&] { return x = vttm_mix64(x + 0x9e3779b97f4a7c15ull); };
    for (int i = 0; i < 1000; i++) {
        const vttm_stamp_id id{next(), next(), static_cast<uint32_t>(next()),
                               static_cast<uint32_t>(next())};
        vttm_stamp_fill(want_, &id);
        code_.fill(page_, id);
        ASSERT_EQ(std::memcmp(page_, want_, sizeof(page_)), 0);
        ASSERT_TRUE(code_.is_good(page_, id));
    }
}

TEST_P(EachCode, SeesEachBit) {
    const vttm_stamp_id id{1, 2, 3, 4};
    vttm_stamp_fill(page_, &id);
    for (uint64_t& word : page_) {
        for (int bit = 0; bit < 64; bit++) {
            word ^= 1ull << bit;
            ASSERT_FALSE(code_.is_good(page_, id));
            word ^= 1ull << bit;
        }
    }
    EXPECT_TRUE(code_.is_good(page_, id));
}

INSTANTIATE_TEST_SUITE_P(StampPage, EachCode,
                         ::testing::Values(StampCode::portable, StampCode::avx2, StampCode::avx512));

}  // namespace
}  // namespace vttm::model
