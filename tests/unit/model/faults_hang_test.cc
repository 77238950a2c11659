// SPDX-License-Identifier: Apache-2.0
// Engines that hang in the middle of a packet.
#include "tests/unit/model/faults_machine.h"

namespace vttm::model::test {
namespace {

constexpr uint64_t kChunk = 256 * 1024;

class FaultsHang : public FaultsMachine {
protected:
    vttm_pkt_fill fill(uint32_t value, uint64_t chunks = 4) {
        return fill_packet(VTTM_SPACE_SYSTEM, kFree, chunks * kChunk, value);
    }
    uint32_t chunk(uint64_t i) { return *reinterpret_cast<uint32_t*>(bus_.ram(kFree + i * kChunk)); }
    uint32_t last_of(uint64_t i) {
        return *reinterpret_cast<uint32_t*>(bus_.ram(kFree + (i + 1) * kChunk - 4));
    }
    // A fill of three chunks with 9 that is to hang after one, and stalls before: its first page is not mapped.
    bool stall_in_the_first_chunk() {
        wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY);
        for (uint64_t i = 1; i < 3 * kChunk / kPage; i++)
            tables_.set(root_, kVa + i * kPage, sys_pte(kFree + i * kPage));
        plan(R"({"kind": "engine-hang", "engine": "copy", "chunks": 1})");
        put_packet(kCopy, fill_packet(VTTM_SPACE_VM, kVa, 3 * kChunk, 9));
        stalled_ = kick(kCopy);
        return wait_for([&] { return eng(kCopy, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED; });
    }
    static constexpr uint64_t kVa = 0x200000;
    uint64_t stalled_ = 0;  // its fence
};

TEST_F(FaultsHang, SomeChunksAreDone) {
    EXPECT_EQ(run(kCopy, fill(1)), 0u);
    const uint64_t before = last_fence(kCopy), bytes_before = bytes(kCopy);
    plan(R"({"kind": "engine-hang", "engine": "copy", "chunks": 2})");
    put_packet(kCopy, fill(2));
    kick(kCopy);
    ASSERT_TRUE(wait_for([&] { return injected() == 1; }));
    no_plan();  // which is no cure; and the engine is at rest then
    sleep_ms(20);
    EXPECT_EQ(eng(kCopy, VTTM_ENG_STATUS), 0u) << "neither idle nor halted";
    EXPECT_EQ(last_fence(kCopy), before);
    EXPECT_EQ(bytes(kCopy), bytes_before + 2 * kChunk);
    EXPECT_EQ(last_of(1), 2u);
    EXPECT_EQ(chunk(2), 1u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 0u);
    invalidate(VTTM_TLB_INV_ALL);  // goes on
    reset_engine(kCopy);
    EXPECT_EQ(chunk(2), 1u) << "the packet is lost";
    EXPECT_EQ(run(kCopy, fill(3)), 0u);
    EXPECT_EQ(last_of(3), 3u);
    EXPECT_EQ(injected_ever(), 1u);
}

TEST_F(FaultsHang, APacketThatIsOverBeforeDoesNotHang) {
    plan(R"({"kind": "engine-hang", "engine": "copy", "chunks": 2, "count": 0})");
    for (uint64_t chunks : {1, 2}) EXPECT_EQ(run(kCopy, fill(5, chunks)), 0u) << chunks;
    EXPECT_EQ(events(), 4u);
    EXPECT_EQ(injected(), 0u);
    // Nor is it left for the next one.
    plan(R"({"kind": "engine-hang", "engine": "copy", "chunks": 1})");
    EXPECT_EQ(run(kCopy, fill(6, 1)), 0u);
    EXPECT_EQ(run(kCopy, fill(7, 4)), 0u);
    EXPECT_EQ(last_of(3), 7u);
    EXPECT_EQ(injected(), 0u);
}

// A packet that stalls in its first chunk has all of them still before it.
TEST_F(FaultsHang, AStallIsNoChunk) {
    ASSERT_TRUE(stall_in_the_first_chunk());
    EXPECT_EQ(injected(), 0u);
    tables_.set(root_, kVa, sys_pte(kFree));
    eng_wr(kCopy, VTTM_ENG_ANSWER,
           VTTM_ENG_ANSWER_VAL(eng(kCopy, VTTM_ENG_STALL), VTTM_ENG_ANSWER_RETRY));
    ASSERT_TRUE(wait_for([&] { return injected() == 1; }));
    no_plan();
    EXPECT_EQ(last_of(0), 9u);
    EXPECT_NE(chunk(1), 9u);
    reset_engine(kCopy);
}

// It is the plan's until it has come.
TEST_F(FaultsHang, EndsWithThePlanIfItHasNotCome) {
    ASSERT_TRUE(stall_in_the_first_chunk());
    no_plan();
    cure_stalls(kCopy, {{kVa, sys_pte(kFree)}}, stalled_);
    EXPECT_EQ(injected_ever(), 0u);
}

// The state of a hung engine goes with it, the packet half done.
TEST_F(FaultsHang, IsSavedWithTheDevice) {
    plan(R"({"kind": "engine-hang", "engine": "copy", "chunks": 1})");
    put_packet(kCopy, fill(2));
    kick(kCopy);
    ASSERT_TRUE(wait_for([&] { return injected() == 1; }));
    char err[256] = "";
    EXPECT_EQ(vttm_model_save(model_.get(), nullptr, 0, err, sizeof(err)), 0u);
    EXPECT_STRNE(err, "") << "a plan is in force";
    no_plan();
    std::vector<uint8_t> state(vttm_model_save(model_.get(), nullptr, 0, err, sizeof(err)));
    ASSERT_FALSE(state.empty()) << err;
    ASSERT_EQ(vttm_model_save(model_.get(), state.data(), state.size(), err, sizeof(err)),
              state.size());
    create(0);
    ASSERT_EQ(vttm_model_restore(model_.get(), state.data(), state.size(), nullptr, err,
                                 sizeof(err)),
              0)
        << err;
    sleep_ms(20);
    EXPECT_EQ(eng(kCopy, VTTM_ENG_STATUS), 0u);
    EXPECT_EQ(bytes(kCopy), kChunk);
    reset_engine(kCopy);
    EXPECT_EQ(run(kCopy, fill(3)), 0u);
}

}  // namespace
}  // namespace vttm::model::test
