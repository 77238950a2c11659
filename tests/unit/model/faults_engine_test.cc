// SPDX-License-Identifier: Apache-2.0
// Faults on demand of engines, interrupts and fences, and of the device as a whole.
#include <gmock/gmock.h>

#include "tests/unit/model/faults_machine.h"

namespace vttm::model::test {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;

class FaultsEngine : public FaultsMachine {
protected:
    vttm_pkt_fill fill(uint64_t addr = kFree, uint32_t value = 0x11) {
        return fill_packet(VTTM_SPACE_SYSTEM, addr, kPage, value);
    }
    uint32_t word(uint64_t addr = kFree) {
        return at_rest([&] { return *reinterpret_cast<uint32_t*>(bus_.ram(addr)); });
    }
    // What a driver does after a device reset.
    void bring_up() {
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) setup_ring(e);
        wr64(VTTM_REG_VM_ROOT_LO(kVm), root_);
        inv_issued_ = 0;
    }
    bool settled() {
        return wait_for([&] { return !(rd(VTTM_REG_DEV_STATUS) & VTTM_DEV_STATUS_RESETTING); });
    }
};

TEST_F(FaultsEngine, OffByDefault) {
    EXPECT_EQ(run(kCopy, fill()), 0u);
    EXPECT_EQ(record()["total"], 0);
    EXPECT_TRUE(record()["rules"].empty());
    EXPECT_EQ(injected_ever(), 0u);
}

TEST_F(FaultsEngine, AWrongPlanChangesNothing) {
    plan(R"({"kind": "fence-never", "engine": "copy", "nth": 2})");
    EXPECT_EQ(run(kCopy, fill()), 0u);
    char err[512];
    for (const char* wrong : {"{", R"({"faults": [{"kind": "none"}]})"})
        EXPECT_EQ(vttm_model_set_fault_plan(model_.get(), wrong, err, sizeof(err)), -1);
    EXPECT_THAT(err, HasSubstr("faults[0] has 'kind': \"none\""));
    EXPECT_EQ(vttm_model_set_fault_plan(model_.get(), "{", nullptr, 0), -1);
    kick(kCopy);
    EXPECT_TRUE(wait_for([&] { return injected() == 1; })) << "and the count goes on";
}

TEST_F(FaultsEngine, HangLastsUntilTheEngineIsReset) {
    plan(R"({"kind": "engine-hang", "engine": "copy", "nth": 3})");
    EXPECT_EQ(run(kCopy, fill()), 0u);  // two packets
    const uint64_t before = last_fence(kCopy), bytes_before = bytes(kCopy);
    put_packet(kCopy, fill(kFree, 0x22));
    kick(kCopy);
    ASSERT_TRUE(wait_for([&] { return injected() == 1; }));
    no_plan();  // which is no cure
    sleep_ms(20);
    EXPECT_EQ(eng(kCopy, VTTM_ENG_STATUS), 0u) << "neither idle nor halted";
    EXPECT_EQ(last_fence(kCopy), before);
    EXPECT_EQ(bytes(kCopy), bytes_before);
    EXPECT_EQ(word(), 0x11u);
    // Nobody else minds.
    EXPECT_EQ(run(kStamp, stamp_packet(false, VTTM_SPACE_SYSTEM, kFree + kPage, 1, {1, 0, 2, 3})),
              0u);
    invalidate(VTTM_TLB_INV_ALL);
    vttm_model_pause(model_.get());
    vttm_model_resume(model_.get());
    // A ring's reset is none of the engine.
    eng_wr(kCopy, VTTM_ENG_CTRL, VTTM_ENG_CTRL_RING_RESET | VTTM_ENG_CTRL_ENABLE);
    tail_[kCopy] = 0;
    const uint64_t seq = kick(kCopy);
    sleep_ms(20);
    EXPECT_NE(last_fence(kCopy), seq);
    reset_engine(kCopy);
    EXPECT_EQ(run(kCopy, fill(kFree, 0x33)), 0u);
    EXPECT_EQ(word(), 0x33u);
    EXPECT_EQ(injected_ever(), 1u);
}

TEST_F(FaultsEngine, HangStopsAllRings) {
    plan(R"({"kind": "engine-hang", "engine": "copy", "ring": 0})");
    kick(kCopy);
    ASSERT_TRUE(wait_for([&] { return injected() == 1; }));
    const uint32_t block = VTTM_RING_BLOCK(kCopy, 2);
    wr64(block + VTTM_ENG_RING_BASE_LO, kFree);
    wr(block + VTTM_ENG_RING_SIZE, VTTM_RING_MIN_SIZE);
    wr(block + VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    *reinterpret_cast<uint32_t*>(bus_.ram(kFree)) = VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1);
    wr(block + VTTM_ENG_TAIL, 4);
    sleep_ms(20);
    EXPECT_EQ(rd(block + VTTM_ENG_HEAD), 0u);
    EXPECT_EQ(events(), 1u) << "the rule is about ring 0";
    wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    ASSERT_TRUE(settled());
    bring_up();
    EXPECT_EQ(run(kCopy, fill()), 0u);
}

TEST_F(FaultsEngine, LostInterruptsAreLatched) {
    wr(VTTM_REG_IRQ_ENABLE, ~0u);
    plan(R"({"kind": "irq-lost", "engine": "copy", "nth": 2, "count": 2})");
    for (int i = 0; i < 4; i++) {
        const uint64_t seq = kick(kCopy, true);
        ASSERT_TRUE(wait_for([&] { return last_fence(kCopy) == seq && idle(kCopy); }));
        ASSERT_TRUE(wait_for([&] { return rd(VTTM_REG_IRQ_STATUS) == VTTM_IRQ_ENGINE(kCopy); }));
        wr(VTTM_REG_IRQ_STATUS, ~0u);
    }
    EXPECT_TRUE(bus_.wait_irq(VTTM_MSIX_ENGINE(kCopy), 2));
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ENGINE(kCopy)), 2u);
    EXPECT_EQ(injected(), 2u);
    EXPECT_EQ(events(), 4u);
}

TEST_F(FaultsEngine, TheErrorInterruptGetsLostToo) {
    wr(VTTM_REG_IRQ_ENABLE, ~0u);
    plan(R"({"kind": "irq-lost", "engine": "copy", "vector": "error"})");
    for (int i = 0; i < 2; i++)
        EXPECT_EQ(run(kCopy, fill_packet(VTTM_SPACE_VRAM, kVramSize, 4, 0)), VTTM_FAULT_VRAM_RANGE);
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ERROR), 1u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 2u);
    EXPECT_EQ(injected(), 1u);
}

TEST_F(FaultsEngine, SpuriousInterruptsHaveNoCause) {
    plan(R"({"kind": "irq-spurious", "engine": "copy", "count": 3},
            {"kind": "irq-spurious", "engine": "copy", "vector": "error"},
            {"kind": "irq-spurious", "engine": "copy", "vector": "vram", "nth": 2})");
    for (int i = 0; i < 5; i++) EXPECT_EQ(finish(kCopy), 0u);
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ENGINE(kCopy)), 3u);
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ERROR), 1u);
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_VRAM), 1u);
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ENGINE(kStamp)), 0u);
    EXPECT_EQ(rd(VTTM_REG_IRQ_STATUS), 0u);
    EXPECT_EQ(rd(VTTM_REG_IRQ_ENABLE), 0u);
}

TEST_F(FaultsEngine, LateFence) {
    plan(R"({"kind": "fence-late", "engine": "copy", "us": 200000})");
    put_packet(kCopy, fill());
    const auto start = Clock::now();
    const uint64_t seq = kick(kCopy);
    ASSERT_TRUE(wait_for([&] { return word() == 0x11; }));
    EXPECT_NE(fence_value(), seq);
    EXPECT_NE(last_fence(kCopy), seq);
    ASSERT_TRUE(wait_fence(seq));
    EXPECT_GE(Clock::now() - start, milliseconds(200));
    EXPECT_TRUE(wait_for([&] { return last_fence(kCopy) == seq; }));
    EXPECT_EQ(finish(kCopy), 0u);
}

TEST_F(FaultsEngine, LateFenceIsOvertaken) {
    plan(R"({"kind": "fence-late", "engine": "copy", "packets": 2})");
    wr(VTTM_REG_IRQ_ENABLE, ~0u);
    put_fence(kCopy, 100, true);
    put_fence(kCopy, 101, false);
    put_packet(kCopy, fill());
    put_fence(kCopy, 102, false, kFenceAddr + 64);
    ring(kCopy);
    ASSERT_TRUE(wait_fence(102, kFenceAddr + 64));
    EXPECT_EQ(fence_value(), 100u) << "behind 101";
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ENGINE(kCopy)), 1u);
    ASSERT_TRUE(wait_for([&] { return last_fence(kCopy) == 102; }));
}

TEST_F(FaultsEngine, LateFenceDoesNotOutliveAReset) {
    plan(R"({"kind": "fence-late", "engine": "copy", "packets": 1})");
    put_fence(kCopy, 100);
    ring(kCopy);
    ASSERT_TRUE(wait_for([&] { return injected() == 1 && idle(kCopy); }));
    reset_engine(kCopy);
    EXPECT_EQ(run(kCopy, fill()), 0u);
    EXPECT_EQ(run(kCopy, fill()), 0u);
    EXPECT_EQ(fence_value(), seq_);
}

TEST_F(FaultsEngine, FenceThatNeverComes) {
    plan(R"({"kind": "fence-never", "engine": "copy"})");
    wr(VTTM_REG_IRQ_ENABLE, ~0u);
    const uint64_t before = last_fence(kCopy), value_before = fence_value();
    put_packet(kCopy, fill());
    kick(kCopy, true);
    ASSERT_TRUE(wait_for([&] { return idle(kCopy); }));
    EXPECT_EQ(word(), 0x11u);
    EXPECT_EQ(last_fence(kCopy), before);
    EXPECT_EQ(fence_value(), value_before);
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ENGINE(kCopy)), 0u);
    EXPECT_EQ(finish(kCopy), 0u);
}

TEST_F(FaultsEngine, EarlyFence) {
    plan(R"({"kind": "fence-early", "engine": "copy", "nth": 2, "us": 200000})");
    wr(VTTM_REG_IRQ_ENABLE, ~0u);
    EXPECT_EQ(run(kCopy, fill()), 0u);
    put_packet(kCopy, fill(kFree, 0x22));
    put_packet(kCopy, fill(kFree + kPage, 0x22));
    const auto start = Clock::now();
    const uint64_t seq = kick(kCopy, true);
    ASSERT_TRUE(wait_fence(seq));
    ASSERT_TRUE(bus_.wait_irq(VTTM_MSIX_ENGINE(kCopy), 1));
    EXPECT_EQ(last_fence(kCopy), seq);
    if (Clock::now() - start < milliseconds(150)) {  // else this machine is too busy to tell
        EXPECT_EQ(word(), 0x11u) << "the fence is out, the work is not done";
        EXPECT_FALSE(idle(kCopy));
    }
    ASSERT_TRUE(wait_for([&] { return idle(kCopy); }));
    EXPECT_GE(Clock::now() - start, milliseconds(200));
    EXPECT_EQ(word(), 0x22u);
    EXPECT_EQ(word(kFree + kPage), 0x22u);
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ENGINE(kCopy)), 1u) << "told once";
    EXPECT_EQ(run(kCopy, fill()), 0u);
    EXPECT_EQ(injected(), 1u);
    EXPECT_EQ(events(), 3u) << "one a job";
}

// The place of the FENCE that was told comes round again, in the time of another plan.
TEST_F(FaultsEngine, AnEarlyFenceIsForgottenWithItsPlan) {
    plan(R"({"kind": "fence-early", "engine": "copy", "us": 100000})");
    put_packet(kCopy, fill());
    ASSERT_TRUE(wait_fence(kick(kCopy)));
    no_plan();
    ASSERT_TRUE(wait_for([&] { return idle(kCopy); }));
    plan(R"({"kind": "irq-lost", "engine": "copy", "nth": 1000000})");
    // So many jobs of one size have their FENCEs at each place of the ring where one can be.
    for (uint32_t job = 0; job <= VTTM_RING_MIN_SIZE / 4; job++) ASSERT_EQ(run(kCopy, fill()), 0u) << job;
}

TEST_F(FaultsEngine, LatencyOfEachPacket) {
    plan(R"({"kind": "latency", "engine": "copy", "us": 20000})");
    const auto start = Clock::now();
    for (int i = 0; i < 4; i++) put_packet(kCopy, fill());
    EXPECT_EQ(finish(kCopy), 0u);
    EXPECT_GE(Clock::now() - start, milliseconds(100));
    EXPECT_EQ(injected(), 5u);
    EXPECT_EQ(run(kStamp, stamp_packet(false, VTTM_SPACE_SYSTEM, kFree, 1, {1, 0, 2, 3})), 0u);
    EXPECT_EQ(events(), 5u);
}

// A reset does not wait for a packet that is held up.
TEST_F(FaultsEngine, ResetEndsLatency) {
    plan(R"({"kind": "latency", "engine": "copy", "us": 60000000, "count": 1})");
    kick(kCopy);
    ASSERT_TRUE(wait_for([&] { return injected() == 1; }));
    EXPECT_FALSE(idle(kCopy));
    vttm_model_pause(model_.get());
    vttm_model_resume(model_.get());
    reset_engine(kCopy);
    EXPECT_EQ(run(kCopy, fill()), 0u);
}

TEST_F(FaultsEngine, BandwidthIsLimited) {
    constexpr uint64_t kLen = 2 << 20;
    plan(R"({"kind": "bandwidth", "engine": "copy", "mib_per_second": 10})");
    const auto start = Clock::now();
    EXPECT_EQ(run(kCopy, fill_packet(VTTM_SPACE_SYSTEM, kFree, kLen, 0x77)), 0u);
    EXPECT_GE(Clock::now() - start, milliseconds(200));
    EXPECT_EQ(injected(), kLen / (256 * 1024)) << "chunks";
    no_plan();
    const auto again = Clock::now();
    EXPECT_EQ(run(kCopy, fill_packet(VTTM_SPACE_SYSTEM, kFree, kLen, 0x78)), 0u);
    EXPECT_LT(Clock::now() - again, milliseconds(150));
}

TEST_F(FaultsEngine, SurpriseRemovalAtOnce) {
    wr(VTTM_REG_IRQ_ENABLE, ~0u);
    plan(R"({"kind": "surprise-removal"})");
    EXPECT_TRUE(vttm_model_removed(model_.get()));
    EXPECT_EQ(rd(VTTM_REG_MAGIC), ~0u);
    EXPECT_EQ(rd64(VTTM_REG_VRAM_SIZE_LO), ~0ull);
    EXPECT_EQ(vttm_model_mmio_read(model_.get(), VTTM_REGS_SIZE - 1, 1), 0xffu);
    EXPECT_EQ(vttm_model_mmio_read(model_.get(), 2, 2), 0xffffu);
    const uint64_t calls = bus_.callbacks();
    put_packet(kCopy, fill());
    kick(kCopy, true);
    wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    EXPECT_EQ(vttm_model_set_vram_target(model_.get(), VTTM_VRAM_LIMIT_UNIT), 0);
    vttm_model_reset(model_.get());  // of the machine
    sleep_ms(20);
    EXPECT_EQ(bus_.callbacks(), calls) << "no DMA, no interrupt";
    EXPECT_EQ(rd(VTTM_REG_MAGIC), ~0u);
    EXPECT_EQ(injected(), 1u);
    no_plan();
    EXPECT_FALSE(vttm_model_removed(model_.get()));
    EXPECT_EQ(rd(VTTM_REG_MAGIC), VTTM_MAGIC);
    EXPECT_EQ(rd(VTTM_REG_IRQ_ENABLE), 0u);
    EXPECT_EQ(eng(kCopy, VTTM_ENG_CTRL), 0u);
    bring_up();
    EXPECT_EQ(run(kCopy, fill()), 0u);
}

TEST_F(FaultsEngine, SurpriseRemovalAtAPacket) {
    plan(R"({"kind": "surprise-removal", "engine": "stamp", "nth": 2})");
    EXPECT_EQ(finish(kStamp), 0u);
    EXPECT_EQ(rd(VTTM_REG_MAGIC), VTTM_MAGIC);
    const uint64_t before = fence_value();
    kick(kStamp, true);
    ASSERT_TRUE(wait_for([&] { return rd(VTTM_REG_MAGIC) == ~0u; }));
    sleep_ms(10);
    EXPECT_EQ(fence_value(), before);
    plan(R"({"kind": "fence-never", "engine": "copy"})");  // any other plan
    EXPECT_EQ(rd(VTTM_REG_MAGIC), VTTM_MAGIC);
    bring_up();
    EXPECT_EQ(run(kStamp, stamp_packet(false, VTTM_SPACE_SYSTEM, kFree, 1, {1, 0, 2, 3})), 0u);
}

TEST_F(FaultsEngine, ResetStorm) {
    plan(R"({"kind": "device-reset", "engine": "copy", "nth": 2, "count": 5})");
    EXPECT_EQ(finish(kCopy), 0u);
    for (unsigned i = 1; i <= 5; i++) {
        wr(VTTM_REG_IRQ_ENABLE, ~0u);
        put_packet(kCopy, fill(kFree, 0x50 + i));
        kick(kCopy);
        ASSERT_TRUE(wait_for([&] { return rd(VTTM_REG_IRQ_ENABLE) == 0; })) << i;
        ASSERT_TRUE(settled());
        EXPECT_EQ(injected(), i);
        EXPECT_EQ(eng(kCopy, VTTM_ENG_CTRL), 0u);
        EXPECT_EQ(rd64(VTTM_REG_VM_ROOT_LO(kVm)), 0u);
        EXPECT_NE(word(), 0x50 + i) << "the packet is lost";
        bring_up();
    }
    EXPECT_EQ(run(kCopy, fill(kFree, 0x66)), 0u);
    EXPECT_EQ(word(), 0x66u);
    EXPECT_EQ(json::parse(stats())["registers"]["resets"], 5);
}

TEST_F(FaultsEngine, ResetsAtOnce) {
    plan(R"({"kind": "device-reset", "count": 7})");
    EXPECT_EQ(json::parse(stats())["registers"]["resets"], 7);
    EXPECT_EQ(injected(), 7u);
    EXPECT_EQ(eng(kCopy, VTTM_ENG_CTRL), 0u);
    bring_up();
    EXPECT_EQ(run(kCopy, fill()), 0u);
}

TEST_F(FaultsEngine, TheGuestsResetsLeaveThePlanAlone) {
    plan(R"({"kind": "fence-never", "engine": "copy", "nth": 3})");
    EXPECT_EQ(finish(kCopy), 0u);
    reset_engine(kCopy);
    EXPECT_EQ(finish(kCopy), 0u);
    wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    ASSERT_TRUE(settled());
    vttm_model_reset(model_.get());
    bring_up();
    kick(kCopy);
    ASSERT_TRUE(wait_for([&] { return injected() == 1; }));
    EXPECT_EQ(events(), 3u);
}

// Nothing that a guest can write arms a fault, or disarms one.
TEST_F(FaultsEngine, TheGuestReachesNoPlan) {
    auto write_everything = [&] {
        for (uint64_t value : {0ull, 1ull, ~0ull, 0x5a5a5a5a5a5a5a5aull})
            for (uint32_t off = 0; off < VTTM_REGS_SIZE; off += 4)
                for (unsigned size : {4u, 8u})
                    if (off != VTTM_REG_TLB_INV_CMD)
                        vttm_model_mmio_write(model_.get(), off, value, size);
        vttm_model_reset(model_.get());
        bring_up();
    };
    const json off = record();
    write_everything();
    EXPECT_EQ(record(), off);
    EXPECT_EQ(run(kCopy, fill()), 0u);
    EXPECT_EQ(injected_ever(), 0u);
    plan(R"({"kind": "dma-error", "engine": "copy", "nth": 2})");
    const json armed = record();
    write_everything();
    EXPECT_EQ(record(), armed);
    EXPECT_EQ(run(kCopy, fill()), 0u);
    EXPECT_EQ(run(kCopy, fill()), VTTM_FAULT_BUS);
}

// The same seed and the same packets: the same faults, whatever the other engine does meanwhile.
TEST_F(FaultsEngine, TheSeedDecides) {
    auto log_of = [&](uint64_t seed) {
        plan(R"({"kind": "irq-spurious", "engine": "copy", "count": 0, "probability": 0.3},
                {"kind": "irq-spurious", "engine": "stamp", "count": 0, "probability": 0.3})",
             seed);
        for (int i = 0; i < 200; i++) {
            kick(kCopy, false, kFenceAddr);
            kick(kStamp, false, kFenceAddr + 64);
            if (i % 20 != 19) continue;
            for (unsigned e : {0u, 1u}) EXPECT_TRUE(wait_idle(e));
        }
        std::vector<std::vector<uint64_t>> hits(2);
        const json all = record();
        for (const json& entry : all["log"]) hits.at(entry["rule"]).push_back(entry["event"]);
        return hits;
    };
    const auto first = log_of(42);
    EXPECT_NE(first[0], first[1]);
    for (const auto& hits : first) {
        EXPECT_GT(hits.size(), 30u);  // of 200 events, each with 0.3
        EXPECT_LT(hits.size(), 95u);
    }
    EXPECT_EQ(log_of(42), first);
    EXPECT_NE(log_of(43), first);
}

// For the thread sanitizer: plans that change while both engines work.
TEST_F(FaultsEngine, PlansChangeUnderLoad) {
    std::atomic<bool> stop{false};
    std::thread host([&] {
        for (int i = 0; !stop; i++) {
            const std::string text = i % 2 ? "" : R"({"seed": 3, "faults": [
                {"kind": "latency", "engine": "copy", "us": 50, "probability": 0.5},
                {"kind": "bit-flip", "engine": "copy", "count": 0, "probability": 0.5},
                {"kind": "write-reordered", "engine": "stamp", "count": 0, "us": 20},
                {"kind": "irq-lost", "engine": "copy", "count": 0},
                {"kind": "bandwidth", "engine": "stamp", "mib_per_second": 1000},
                {"kind": "vram-poison", "offset": 0}]})";
            char err[256];
            EXPECT_EQ(vttm_model_set_fault_plan(model_.get(), text.c_str(), err, sizeof(err)), 0);
            record();
        }
    });
    for (int i = 0; i < 100; i++) {
        put_packet(kCopy, fill());
        const uint64_t copy = kick(kCopy, true);
        put_packet(kStamp, stamp_packet(false, VTTM_SPACE_SYSTEM, kFree + kPage, 4, {1, 0, 2, 3}));
        const uint64_t stamp = kick(kStamp, true, kFenceAddr + 64);
        ASSERT_TRUE(wait_fence(copy));
        ASSERT_TRUE(wait_fence(stamp, kFenceAddr + 64));
    }
    stop = true;
    host.join();
}

}  // namespace
}  // namespace vttm::model::test
