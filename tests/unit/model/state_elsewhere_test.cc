// SPDX-License-Identifier: Apache-2.0
// A device that is saved and loaded: what faults of the host leave behind, and what the other side is.
#include "tests/unit/model/state_fixture.h"

namespace vttm::model::test {
namespace {

// --- Faults of the host --------------------------------------------------------------------------

class StateOfFaults : public State {
protected:
    void plan(const char* text) {
        char err[256];
        ASSERT_EQ(vttm_model_set_fault_plan(model_.get(), text, err, sizeof(err)), 0) << err;
    }
};

TEST_F(StateOfFaults, AHungEngineStaysSo) {
    plan(R"({"faults": [{"kind": "engine-hang", "engine": "copy"}]})");
    put_packet(0, fill_packet(V, 0, 4, 5));
    ring(0);
    ASSERT_TRUE(wait_for([&] { return stats().find("\"injected\":1") != std::string::npos; }));
    EXPECT_NE(refusal().find("fault plan is in force"), std::string::npos) << refusal();
    plan("");
    migrate();
    EXPECT_NE(stats().find("\"injected\":1"), std::string::npos);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_FALSE(eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE);
    EXPECT_EQ(*bus_.vram(), 0);
    EXPECT_EQ(run(1, stamp_packet(false, V, 0, 1, {1, 0, 1, 1})), 0u) << "the other one works";
    reset_engine(0);
    EXPECT_EQ(run(0, fill_packet(V, 0, 4, 5)), 0u);
}

TEST_F(StateOfFaults, WhatIsLateIsRefused) {
    plan(R"({"faults": [{"kind": "fence-late", "engine": "copy", "packets": 1}]})");
    kick(0);
    ASSERT_TRUE(wait_idle(0));
    plan("");
    EXPECT_EQ(refusal(), "a fault that the host ordered is still to come to ring 0 of engine 0");
    put_packet(0, fill_packet(V, 0, 4, 5));
    ring(0);
    ASSERT_TRUE(wait_for([&] { return last_fence(0) == seq_; }));
    migrate();
}

TEST_F(StateOfFaults, ADeviceThatWasTakenAway) {
    plan(R"({"faults": [{"kind": "surprise-removal"}]})");
    EXPECT_NE(refusal(), "");
    plan("");
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) setup_ring(e);
    migrate();
    EXPECT_EQ(run(0, fill_packet(V, 0, 4, 5)), 0u);
}

TEST_F(StateOfFaults, APlanOnTheOtherSide) {
    const StateBytes bytes = save();
    plan(R"({"faults": [{"kind": "irq-lost", "engine": "copy"}]})");
    EXPECT_NE(restore(bytes).find("in force here"), std::string::npos);
    EXPECT_TRUE(vttm_model_has_fault_plan(model_.get()));
    plan(R"({"seed": 1, "faults": []})");  // without a fault it is none
    EXPECT_FALSE(vttm_model_has_fault_plan(model_.get()));
    EXPECT_EQ(restore(bytes), "");
}

// A packet that the plan has held up, not begun.
TEST_F(StateOfFaults, AHeldPacketBegins) {
    plan(R"({"faults": [{"kind": "latency", "engine": "copy", "us": 3000000}]})");
    put_packet(0, fill_packet(V, 0, 4, 5));
    kick(0);
    ASSERT_TRUE(wait_for([&] { return stats().find("\"injected\":1") != std::string::npos; }));
    pause();
    plan("");
    EXPECT_EQ(*bus_.vram(), 0);
    migrate();
    done(0);
    EXPECT_EQ(*bus_.vram(), 5);
}

// --- The other side ------------------------------------------------------------------------------

// What a device did before is over when it is loaded.
TEST_F(State, IntoADeviceAtWork) {
    map(kVa, kFree, 1);
    pause();
    const StateBytes bytes = save();
    const auto want = registers();
    resume();
    set_word(kSem, 0);
    ASSERT_EQ(run(0, fill_packet(M, kVa, 4, 1)), 0u);
    put(1, {0xdeadbeef});
    ring(1);
    ASSERT_TRUE(wait_status(1, VTTM_ENG_STATUS_HALTED));
    put_packet(0, sem_wait(S, kSem, 1));
    ring(0);
    ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_WAITING));
    tables_.set(root_, kVa, sys_pte(kFree + kPage));
    pause();
    ASSERT_EQ(restore(bytes), "");
    EXPECT_EQ(without_time(save()), without_time(bytes));
    EXPECT_EQ(registers(), want);
    resume();
    tail_[0] = eng(0, VTTM_ENG_TAIL);
    tail_[1] = eng(1, VTTM_ENG_TAIL);
    EXPECT_EQ(run(0, fill_packet(M, kVa, 4, 2)), 0u);
    EXPECT_EQ(uint32_t(word(kFree + kPage)), 2u) << "with empty TLBs";
    EXPECT_EQ(run(1, stamp_packet(false, V, 0, 1, {1, 0, 1, 1})), 0u);
}

TEST_F(State, TheBufferMayBeTooShort) {
    uint8_t byte = 0x55;
    char err[8];
    pause();
    const size_t need = vttm_model_save(model_.get(), &byte, 1, err, sizeof(err));
    EXPECT_EQ(byte, 0x55);
    EXPECT_EQ(need, save().size());
    EXPECT_LE(need, size_t{VTTM_MODEL_STATE_MAX});
    resume();
}

// BAR2 is resized by the bus, which has its own word on it.
TEST_F(State, AnotherApertureChangesNothing) {
    ASSERT_EQ(vttm_model_set_vram_visible(model_.get(), 2 << 20), 0);
    pause();
    const StateBytes bytes = save();
    const uint64_t same = 2 << 20, other = 4 << 20, none = 0;
    ASSERT_EQ(vttm_model_set_vram_visible(model_.get(), other), 0);
    wr64(VTTM_REG_VM_ROOT_LO(7), kVa);
    const StateBytes before = save();
    for (const uint64_t* bar : {&other, &none}) {
        EXPECT_EQ(restore(bytes, bar), "device: 'vram-visible' is 2097152, and BAR2 has " +
                                           std::to_string(*bar) + " bytes");
        EXPECT_EQ(without_time(save()), without_time(before));
    }
    EXPECT_EQ(restore(bytes, &same), "");
    EXPECT_EQ(without_time(save()), without_time(bytes));
    resume();
}

}  // namespace
}  // namespace vttm::model::test
