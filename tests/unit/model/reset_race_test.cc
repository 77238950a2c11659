// SPDX-License-Identifier: Apache-2.0
// A reset of the device and register writes at the same time: a write falls before the reset, and
// then nothing is left of it, or it is ignored, or it falls behind it; for all parts of the device alike.
#include <barrier>
#include <functional>

#include "tests/unit/model/faults_machine.h"
#include "tests/unit/model/state_machine.h"

namespace vttm::model::test {
namespace {

// Called within each trace callback of the model. The callback's argument is the bus.
std::function<void(const vttm_trace_record&)> trace_hook;

class ResetRace : public Machine {
protected:
    ResetRace() {
        vttm_model_config c{};
        c.api = VTTM_MODEL_API;
        c.vram = bus_.vram();
        c.vram_size = kVramSize;
        c.vram_visible = kVramSize;
        vttm_model_ops ops = bus_.ops();
        ops.trace = [](void*, const vttm_trace_record* rec) {
            if (trace_hook) trace_hook(*rec);
        };
        char err[256] = "";
        model_.reset();
        model_.reset(vttm_model_create(&c, &ops, &bus_, err, sizeof(err)));
        setup_ring(0);
        setup_ring(1);
    }
    ~ResetRace() override {
        model_.reset();
        trace_hook = nullptr;
    }

    // The register write @write, which the trace tells of as @kind, is held in that callback while the
    // device is reset and engine 1 is in the middle of a chunk; then it goes on.
    void reset_around(vttm_trace_kind kind, const std::function<void()>& write) {
        std::atomic<bool> in_chunk{false}, chunk_go{false}, in_write{false}, write_go{false};
        bus_.on_map([&](uint64_t addr, bool) {
            if (addr != kFree) return;
            in_chunk = true;
            while (!chunk_go) std::this_thread::yield();
        });
        trace_hook = [&](const vttm_trace_record& rec) {
            if (rec.kind != static_cast<uint32_t>(kind) || rec.engine != 0) return;
            in_write = true;
            while (!write_go) std::this_thread::yield();
        };
        put_packet(1, stamp_packet(false, VTTM_SPACE_SYSTEM, kFree, 8, {1, 0, 1, 1}));
        ring(1);
        ASSERT_TRUE(wait_for([&] { return in_chunk.load(); }));
        std::thread writer(write);
        ASSERT_TRUE(wait_for([&] { return in_write.load(); }));
        wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
        EXPECT_EQ(rd(VTTM_REG_DEV_STATUS), VTTM_DEV_STATUS_RESETTING);
        wr(VTTM_REG_IRQ_ENABLE, 1);  // ignored, as all that comes now
        write_go = true;
        writer.join();
        EXPECT_EQ(rd(VTTM_REG_DEV_STATUS), VTTM_DEV_STATUS_RESETTING) << "engine 1 works still";
        eng_wr(0, VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
        chunk_go = true;
        ASSERT_TRUE(wait_for([&] { return rd(VTTM_REG_DEV_STATUS) == 0; }));
        bus_.on_map(nullptr);
        vttm_model_pause(model_.get());  // nobody is in the hook, which knows what is here
        trace_hook = nullptr;
        vttm_model_resume(model_.get());
    }
    // Every register of every ring is as after a reset, and the driver can set the device up.
    void expect_reset() {
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++)
            for (unsigned r = 0; r < VTTM_NUM_RINGS; r++)
                for (uint32_t reg : {VTTM_ENG_CTRL, VTTM_ENG_RING_SIZE, VTTM_ENG_HEAD, VTTM_ENG_TAIL,
                                     VTTM_ENG_PRIORITY})
                    EXPECT_EQ(rd(VTTM_RING_BLOCK(e, r) + reg), 0u) << e << " " << r << " " << reg;
        EXPECT_EQ(rd(VTTM_REG_IRQ_ENABLE), 0u);
        setup_ring(0);
        setup_ring(1);
        EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 0u) << "a register was not as after a reset";
        EXPECT_EQ(finish(0), 0u);
        EXPECT_EQ(finish(1), 0u);
    }
};

TEST_F(ResetRace, ADoorbellUnderWayIsForgotten) {
    reset_around(VTTM_TRACE_TAIL, [&] { eng_wr(0, VTTM_ENG_TAIL, 64); });
    expect_reset();
}

TEST_F(ResetRace, AnEnableUnderWayIsForgotten) {
    reset_around(VTTM_TRACE_RESET, [&] {
        wr(VTTM_RING_BLOCK(0, 2) + VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE | VTTM_ENG_CTRL_RING_RESET);
    });
    expect_reset();
}

// The write comes from within a callback of another one: neither waits for the reset, nor it for them.
TEST_F(ResetRace, AWriteWithinAWrite) {
    reset_around(VTTM_TRACE_TAIL, [&] {
        const auto outer = trace_hook;
        trace_hook = [&, outer](const vttm_trace_record& rec) {
            if (rec.kind != VTTM_TRACE_RESET || rec.engine != 0) return outer(rec);
            eng_wr(0, VTTM_ENG_TAIL, 64);
            eng_wr(0, VTTM_ENG_PRIORITY, 2);  // the reset has begun by now
        };
        wr(VTTM_RING_BLOCK(0, 2) + VTTM_ENG_CTRL, VTTM_ENG_CTRL_RING_RESET);
    });
    expect_reset();
}

// A reset asked for from within a write's callback begins when that write is over.
TEST_F(ResetRace, AResetWithinAWrite) {
    trace_hook = [&](const vttm_trace_record& rec) {
        if (rec.kind == VTTM_TRACE_TAIL && rec.value == 64) wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    };
    eng_wr(0, VTTM_ENG_TAIL, 64);
    EXPECT_EQ(rd(VTTM_REG_DEV_STATUS), 0u) << "engines at rest obey at once";
    expect_reset();
}

// --- Stress --------------------------------------------------------------------------------------

class ResetStress : public StateMachine {
protected:
    // Both engines have obeyed the same invalidations: else the state would not load.
    void expect_same_counts() {
        ASSERT_TRUE(wait_for([&] { return rd(VTTM_REG_DEV_STATUS) == 0; }));
        ASSERT_EQ(restore(save()), "");
    }
};

TEST_F(ResetStress, InvalidationsAgainstResetsOfTheHost) {
    constexpr int kRounds = 2000;
    std::barrier meet(2);
    std::thread host([&] {
        for (int i = 0; i < kRounds; i++) {
            meet.arrive_and_wait();
            vttm_model_reset(model_.get());
            meet.arrive_and_wait();
        }
    });
    for (int i = 0; i < kRounds; i++) {
        meet.arrive_and_wait();
        for (int n = 0; n < 8; n++) wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_ALL);
        meet.arrive_and_wait();
        if (!HasFailure()) expect_same_counts();
        // Nothing is on its way: the next command is the next number.
        const uint32_t done = rd(VTTM_REG_TLB_INV_DONE);
        wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_ALL);
        if (HasFailure()) continue;  // the other thread counts on all rounds
        EXPECT_EQ(rd(VTTM_REG_TLB_INV_DONE), done + 1) << i;
    }
    host.join();
}

// Writes of all kinds, while the resets come from two more threads.
TEST_F(ResetStress, WritesAgainstResets) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++)
        threads.emplace_back([&, e] {
            for (uint32_t i = 0; !stop; i++) {
                eng_wr(e, VTTM_ENG_PRIORITY, i % 4);
                eng_wr(e, VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
                wr64(VTTM_REG_VM_ROOT_LO(e), ~0ull);
                wr(VTTM_REG_IRQ_ENABLE, 7);
                wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_ALL);
                wr(VTTM_REG_TLB_INV_PAGES, i);
            }
        });
    threads.emplace_back([&] {
        for (; !stop; std::this_thread::yield()) wr(VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
    });
    threads.emplace_back([&] {
        for (int i = 0; i < 20000; i++) vttm_model_reset(model_.get());
        stop = true;
    });
    for (auto& t : threads) t.join();
    expect_same_counts();
}

class ResetByPlan : public FaultsMachine {};

// The worker of engine 0 begins the reset, in the middle of the driver's writes.
TEST_F(ResetByPlan, InvalidationsAgainstResetsOfAWorker) {
    for (int round = 0; round < 400 && !HasFailure(); round++) {
        plan(R"({"kind": "device-reset", "engine": "copy"})");
        put(0, {VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1)});
        const uint64_t resets = json::parse(stats())["registers"]["resets"];
        ring(0);
        auto over = [&] {
            return injected() && json::parse(stats())["registers"]["resets"] == resets + 1 &&
                   rd(VTTM_REG_DEV_STATUS) == 0;
        };
        while (rd(VTTM_REG_FAULT_COUNT) == 0 && eng(0, VTTM_ENG_RING_SIZE))
            wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_ALL);
        ASSERT_TRUE(wait_for(over));
        no_plan();
        StateBytes bytes(VTTM_MODEL_STATE_MAX);
        char err[256] = "";
        bytes.resize(vttm_model_save(model_.get(), bytes.data(), bytes.size(), err, sizeof(err)));
        ASSERT_FALSE(bytes.empty()) << err;
        ASSERT_EQ(vttm_model_restore(model_.get(), bytes.data(), bytes.size(), nullptr, err,
                                     sizeof(err)),
                  0)
            << err;
        setup_ring(0);
    }
}

}  // namespace
}  // namespace vttm::model::test
