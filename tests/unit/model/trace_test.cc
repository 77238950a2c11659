// SPDX-License-Identifier: Apache-2.0
// What the embedder is told of when: begin and end of packets, fences before they can be seen, interrupts
// before they are fired; and nothing at all if it does not ask.
#include <algorithm>
#include <mutex>
#include <vector>

#include "tests/unit/model/machine.h"

namespace vttm::model::test {
namespace {

// The callback's argument is the bus: one test at a time collects here.
std::mutex trace_mu;
std::vector<vttm_trace_record> trace_seen;

class Trace : public Machine {
protected:
    Trace() {
        trace_seen.clear();
        vttm_model_config c{};
        c.api = VTTM_MODEL_API;
        c.vram = bus_.vram();
        c.vram_size = kVramSize;
        c.vram_visible = kVramSize;
        vttm_model_ops ops = bus_.ops();
        ops.trace = [](void*, const vttm_trace_record* rec) {
            std::lock_guard lock(trace_mu);
            trace_seen.push_back(*rec);
        };
        char err[256] = "";
        model_.reset();
        model_.reset(vttm_model_create(&c, &ops, &bus_, err, sizeof(err)));
        setup_ring(0);
        setup_ring(1);
    }
    static std::vector<vttm_trace_record> seen() {
        std::lock_guard lock(trace_mu);
        return trace_seen;
    }
    static std::vector<uint32_t> kinds(unsigned engine) {
        std::vector<uint32_t> out;
        for (const auto& r : seen())
            if (r.engine == engine) out.push_back(r.kind);
        return out;
    }
    static const vttm_trace_record* last(vttm_trace_kind kind) {
        static vttm_trace_record found;
        for (const auto& r : seen())
            if (r.kind == kind) {
                found = r;
                return &found;
            }
        return nullptr;
    }
};

TEST_F(Trace, TellsAJobInItsOrder) {
    wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ENGINE(0));
    put_packet(0, fill_packet(VTTM_SPACE_VRAM, 0, 4096, 7));
    put_fence(0, 42);
    const uint64_t before = rd64(VTTM_REG_TIMESTAMP_LO);
    ring(0);
    ASSERT_TRUE(wait_idle(0));
    ASSERT_TRUE(bus_.wait_irq(VTTM_MSIX_ENGINE(0), 1));
    const uint64_t after = rd64(VTTM_REG_TIMESTAMP_LO);
    EXPECT_EQ(kinds(0), (std::vector<uint32_t>{VTTM_TRACE_TAIL, VTTM_TRACE_PACKET_BEGIN, VTTM_TRACE_PACKET_END,
                                               VTTM_TRACE_PACKET_BEGIN, VTTM_TRACE_FENCE, VTTM_TRACE_PACKET_END}));
    EXPECT_EQ(kinds(VTTM_TRACE_NONE), (std::vector<uint32_t>{VTTM_TRACE_IRQ}));
    uint64_t time = before;
    for (const auto& r : seen()) {
        EXPECT_GE(r.time_ns, time) << r.kind;
        time = r.time_ns;
    }
    EXPECT_LE(time, after) << "device time, as the register has it";
    EXPECT_EQ(last(VTTM_TRACE_PACKET_BEGIN)->value, VTTM_PKT_HDR(VTTM_OP_FILL, VTTM_PKT_DST(VTTM_SPACE_VRAM), 6));
    EXPECT_EQ(last(VTTM_TRACE_PACKET_BEGIN)->addr, kRingAddr[0]);
    EXPECT_EQ(last(VTTM_TRACE_FENCE)->value, 42u);
    EXPECT_EQ(last(VTTM_TRACE_FENCE)->addr, kFenceAddr);
    EXPECT_EQ(last(VTTM_TRACE_IRQ)->value, VTTM_MSIX_ENGINE(0));
}

TEST_F(Trace, AFaultEndsItsPacket) {
    put_packet(0, fill_packet(VTTM_SPACE_SYSTEM, 1ull << 50, 4096, 7));
    ring(0);
    ASSERT_TRUE(wait_idle(0));
    EXPECT_EQ(kinds(0), (std::vector<uint32_t>{VTTM_TRACE_TAIL, VTTM_TRACE_PACKET_BEGIN, VTTM_TRACE_FAULT,
                                               VTTM_TRACE_PACKET_END}));
    EXPECT_EQ(VTTM_FAULT_INFO_REASON(last(VTTM_TRACE_FAULT)->value), VTTM_FAULT_BUS);
    EXPECT_EQ(last(VTTM_TRACE_FAULT)->addr, 1ull << 50);
}

TEST_F(Trace, ResetsAndPausesAreTold) {
    reset_engine(1);
    vttm_model_pause(model_.get());
    vttm_model_resume(model_.get());
    vttm_model_reset(model_.get());
    EXPECT_EQ(kinds(1), (std::vector<uint32_t>{VTTM_TRACE_RESET}));
    EXPECT_EQ(last(VTTM_TRACE_RESET)->value, (1u << VTTM_NUM_RINGS) - 1);
    EXPECT_EQ(kinds(VTTM_TRACE_NONE),
              (std::vector<uint32_t>{VTTM_TRACE_PAUSE, VTTM_TRACE_RESUME, VTTM_TRACE_RESET}));
}

TEST_F(Trace, BeginAndEndAlternateUnderLoad) {
    for (unsigned e = 0; e < 2; e++)
        for (int i = 0; i < 60; i++, seq_++) put_fence(e, seq_ + 1, true, kFree + 16 * seq_);
    ring(0);
    ring(1);
    ASSERT_TRUE(wait_idle(0));
    ASSERT_TRUE(wait_idle(1));
    for (unsigned e = 0; e < 2; e++) {
        int open = 0, fences = 0;
        for (uint32_t kind : kinds(e)) {
            open += kind == VTTM_TRACE_PACKET_BEGIN;
            open -= kind == VTTM_TRACE_PACKET_END;
            fences += kind == VTTM_TRACE_FENCE;
            ASSERT_GE(open, 0);
            ASSERT_LE(open, 1);
        }
        EXPECT_EQ(open, 0);
        EXPECT_EQ(fences, 60);
    }
}

}  // namespace
}  // namespace vttm::model::test
