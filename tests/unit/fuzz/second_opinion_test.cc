// SPDX-License-Identifier: Apache-2.0
// What the fuzzers compare with sees a model that errs, and what they make of bytes is what they say.
#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <random>
#include <set>
#include <vector>

#include "host-backend/model/fault_plan.h"
#include "protocol/vttm_packets.h"
#include "tests/fuzz/arena.h"
#include "tests/fuzz/fault_input.h"
#include "tests/fuzz/indirect_run.h"
#include "tests/fuzz/model_input.h"
#include "tests/fuzz/walk_input.h"

namespace vttm::fuzz {
namespace {

std::vector<uint8_t> random_bytes(uint64_t seed, size_t most) {
    std::mt19937_64 rng(seed);
    std::vector<uint8_t> bytes(1 + rng() % most);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(rng());
    return bytes;
}

TEST(SecondOpinion, AgreesOnAnything) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(2);
    uint64_t seed = 1;
    for (; seed <= 20000 && std::chrono::steady_clock::now() < end; seed++) {
        const auto bytes = random_bytes(seed, 1024);
        ASSERT_EQ(run_walk_input(bytes.data(), bytes.size(), seed % 64 == 0), "") << seed;
    }
    EXPECT_GT(seed, 20u);
}

TEST(SecondOpinion, Comparisons) {
    using Row = std::pair<uint64_t, uint64_t>;
    for (const auto& [memory, value] : {Row{5, 5}, Row{4, 5}, Row{5, 4}, Row{0, ~0ull}, Row{~0ull, 0}}) {
        EXPECT_EQ(reference_compares(VTTM_CMP_EQ, memory, value), memory == value);
        EXPECT_EQ(reference_compares(VTTM_CMP_NE, memory, value), memory != value);
        EXPECT_EQ(reference_compares(VTTM_CMP_GE, memory, value), memory >= value);
        EXPECT_EQ(reference_compares(VTTM_CMP_GT, memory, value), memory > value);
        EXPECT_EQ(reference_compares(VTTM_CMP_LE, memory, value), memory <= value);
        EXPECT_EQ(reference_compares(VTTM_CMP_LT, memory, value), memory < value);
    }
    EXPECT_TRUE(reference_compares(VTTM_CMP_SEQ, 1, ~0ull)) << "wraps";
    EXPECT_FALSE(reference_compares(VTTM_CMP_SEQ, ~0ull, 1));
    EXPECT_FALSE(reference_compares(VTTM_CMP_LAST + 1, 0, 0));
}

// A model over memory in which one dword is another than for the reference.
class Lied : public ::testing::Test, private model::StaleSink {
protected:
    // What the two differ in, over some inputs: the model is told a lie about the dword at @lie of the
    // buffers' page, and the model's VMs have no tables.
    std::string run(uint64_t lie, std::function<bool(uint32_t)> concerns) {
        for (uint64_t seed = 1; seed < 3000; seed++) {
            const auto bytes = random_bytes(seed, 200);
            Input in(bytes.data(), bytes.size());
            ReferenceMmu mmu([this](bool s, uint64_t a) { return word(s, a); }, kBytes);
            const auto poke = [&](bool system, uint64_t addr, uint32_t value) {
                if (system && addr % kPage == lie && concerns(value)) at_ = addr;
                WatchedMemory& m = system ? bus_.ram : bus_.vram;
                std::memcpy(m.at(addr), &value, 4);
            };
            bool clean = true;
            at_ = ~0ull;
            const std::string wrong =
                IndirectRun(ctx_, *sync_, mmu, [this](bool s, uint64_t a) { return word(s, a); },
                            poke, kBytes)
                    .run(in, clean);
            if (at_ == ~0ull) {
                EXPECT_EQ(wrong, "") << seed;
            } else if (!wrong.empty()) {
                return wrong;
            }
        }
        return {};
    }

private:
    static constexpr uint64_t kBytes = 1 << 20;
    void stale_used(uint64_t, uint32_t, uint64_t, uint64_t) override {}
    std::optional<uint64_t> word(bool system, uint64_t addr) {
        if (addr > kBytes - 8) return std::nullopt;
        uint64_t w;
        std::memcpy(&w, (system ? bus_.ram : bus_.vram).at(addr), 8);
        if (system && addr == (at_ & ~7ull)) w ^= 1ull << (at_ & 4) * 8;
        return w;
    }

    FuzzBus bus_{kBytes, kBytes, kBytes, 0};
    const vttm_model_ops ops_ = bus_.ops(true);
    const model::Bus model_bus_{ops_, &bus_, bus_.vram.at(), kBytes};
    model::VmRoots roots_;
    model::Clock clock_;
    model::Mmu mmu_{model_bus_, 64};
    model::WitnessLog witness_{model_bus_};
    model::ExecContext ctx_{model_bus_, roots_, clock_, mmu_, witness_, *this, 0, model::kNoVm};
    std::unique_ptr<model::Executor> sync_ = model::make_sync_executor(ctx_);
    uint64_t at_ = ~0ull;
};

TEST_F(Lied, LengthOfAPacket) {
    EXPECT_NE(run(0, [](uint32_t word) { return word >> 16 == 0; }), "");
}
TEST_F(Lied, WhatCondSkipSkips) {
    // Dword 8 of the first packet of a buffer: the lie is about how much it skips.
    EXPECT_NE(run(32, [](uint32_t word) { return word && word < 16; }), "");
}

// --- Fault plans -----------------------------------------------------------------------------------

TEST(FaultInput, EveryKindIsMadeAndTaken) {
    std::set<model::FaultKind> kinds;
    for (uint64_t seed = 1; seed < 2000; seed++) {
        const auto bytes = random_bytes(seed, 40);
        Input in(bytes.data(), bytes.size());
        const std::string text = fault_plan(in, 3, kVram);
        try {
            for (const auto& rule : model::parse_fault_plan(text, kVram).rules)
                kinds.insert(rule.kind);
        } catch (const model::FaultPlanError& e) {
            FAIL() << e.what() << ": " << text;
        }
    }
    EXPECT_EQ(kinds.size(), model::kFaultKinds);
}

// Whatever the host did to the device, the next input finds it as it was.
TEST(FaultInput, PlansEndWithTheInput) {
    Arena arena(64);
    const uint32_t words[] = {VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), 0,
                              VTTM_PKT_HDR(VTTM_OP_FILL, VTTM_PKT_DST(VTTM_SPACE_VRAM), 6), 0, 0,
                              1 << 20, 0, 1,
                              VTTM_PKT_HDR(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ, 5), uint32_t{kFence}, 0,
                              7, 0};
    for (const char* rule :
         {R"({"kind": "engine-hang", "engine": "copy", "chunks": 1})",
          R"({"kind": "surprise-removal"})", R"({"kind": "surprise-removal", "engine": "copy"})",
          R"({"kind": "device-reset", "count": 3})",
          R"({"kind": "device-reset", "engine": "copy", "nth": 2, "count": 3})",
          R"({"kind": "fence-late", "engine": "copy", "packets": 50})",
          R"({"kind": "write-reordered", "engine": "copy", "packets": 50})",
          R"({"kind": "fence-never", "engine": "copy"})",
          R"({"kind": "vram-poison", "offset": 0, "pages": 1024})"}) {
        arena.begin(nullptr);
        arena.set_fault_plan(std::string(R"({"faults": [)") + rule + "]}");
        arena.put({0, 0}, words, std::size(words));
        arena.wr(reg({0, 0}, VTTM_ENG_TAIL), arena.tail({0, 0}));
        EXPECT_EQ(arena.end(true), "") << rule;
    }
}

}  // namespace
}  // namespace vttm::fuzz
