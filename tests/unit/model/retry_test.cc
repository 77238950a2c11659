// SPDX-License-Identifier: Apache-2.0
// Retryable faults: an engine that waits at an address until the driver has mapped it, or gives up.
#include <chrono>
#include <thread>

#include "protocol/vttm_fault.h"
#include "tests/unit/model/mmu_machine.h"

namespace vttm::model::test {
namespace {

constexpr uint64_t kFaultRing = 0x10000;

class RetryTest : public MmuTest {
protected:
    RetryTest() {
        put_set_vm(1, 1);
        EXPECT_EQ(finish(1), 0u);
        wr(VTTM_REG_VM_MODE(1), VTTM_VM_MODE_RETRY);
    }
    bool is_stalled(unsigned e) { return eng(e, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED; }
    uint32_t stall(unsigned e) { return eng(e, VTTM_ENG_STALL); }
    bool wait_stalled(unsigned e, uint32_t number) {
        return wait_for([&] { return is_stalled(e) && stall(e) == number; });
    }
    void answer(unsigned e, uint32_t number, uint32_t answer) {
        eng_wr(e, VTTM_ENG_ANSWER, VTTM_ENG_ANSWER_VAL(number, answer));
    }
    void start_fill(uint64_t va, uint64_t len, uint32_t value) {
        put_packet(0, fill_packet(VTTM_SPACE_VM, va, len, value));
        put_fence(0, ++seq_);
        ring(0);
    }
    // The status of the fence that start_fill() put, when it comes.
    uint32_t status() {
        EXPECT_TRUE(wait_idle(0));
        auto* value = reinterpret_cast<vttm_fence_value*>(bus_.ram(kFenceAddr));
        EXPECT_EQ(value->seq, seq_);
        return value->status;
    }
};

TEST_F(RetryTest, TheAccessIsTriedAgain) {
    wr64(VTTM_REG_FAULT_RING_BASE_LO, kFaultRing);
    wr(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ERROR);
    // Two of four pages are missing, in the middle of the packet.
    tables_.set(root_, kVa, sys_pte(kFree));
    tables_.set(root_, kVa + 2 * kPage, sys_pte(kFree + 2 * kPage));
    start_fill(kVa, 4 * kPage, 0x77);
    for (uint32_t n = 1; n <= 2; n++) {
        const uint64_t off = n == 1 ? kPage : 3 * kPage;
        ASSERT_TRUE(wait_stalled(0, n));
        ASSERT_TRUE(bus_.wait_irq(VTTM_MSIX_ERROR, n));
        EXPECT_EQ(rd(VTTM_REG_FAULT_RING_PUT), n);
        vttm_fault_record r;
        std::memcpy(&r, bus_.ram(kFaultRing + (n - 1) * sizeof(r)), sizeof(r));
        EXPECT_EQ(r.stall, n);
        EXPECT_EQ(r.addr, kVa + off);
        EXPECT_EQ(VTTM_FAULT_INFO_REASON(r.info), VTTM_FAULT_NOT_VALID);
        EXPECT_FALSE(eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE);
        EXPECT_EQ(word(kFree + off - 4), 0x77u) << "what lies before is done";
        EXPECT_NE(rd64(VTTM_ENGINE_BASE(0) + VTTM_ENG_LAST_FENCE_LO), seq_);
        tables_.set(root_, kVa + off, sys_pte(kFree + off));
        answer(0, n, VTTM_ENG_ANSWER_RETRY);
    }
    EXPECT_EQ(status(), 0u) << "the job never failed";
    for (uint64_t a = 0; a < 4 * kPage; a += 4) ASSERT_EQ(word(kFree + a), 0x77u);
    EXPECT_FALSE(is_stalled(0));
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 2u);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 0u);
    EXPECT_EQ(stale(), 0u);
}

// Who polls STATUS finds the record; who polls the ring may answer before STATUS says so.
TEST_F(RetryTest, TheRecordComesBeforeTheStatus) {
    wr64(VTTM_REG_FAULT_RING_BASE_LO, kFaultRing);
    wr(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    std::atomic<bool> inside{false}, go{false};
    bus_.on_map([&](uint64_t addr, bool write) {
        if (!write || addr != kFaultRing) return;
        inside = true;
        while (!go) std::this_thread::yield();
    });
    start_fill(kVa, 4, 0x55);
    ASSERT_TRUE(wait_for([&] { return inside.load(); }));
    EXPECT_FALSE(is_stalled(0));
    EXPECT_FALSE(eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE);
    tables_.set(root_, kVa, sys_pte(kFree));
    answer(0, 1, VTTM_ENG_ANSWER_RETRY);
    go = true;
    EXPECT_EQ(status(), 0u);
    bus_.on_map(nullptr);
    EXPECT_EQ(word(kFree), 0x55u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_RING_PUT), 1u);
    EXPECT_EQ(stall(0), 1u);
}

TEST_F(RetryTest, EveryCursorOfEveryPacketResumes) {
    // COPY that faults at its source and at its destination.
    tables_.set(root_, kVa, sys_pte(kFree));
    std::memset(bus_.ram(kFree), 0x5a, 2 * kPage);
    put_packet(0, copy_packet(VTTM_SPACE_VM, kVa + 16 * kPage, VTTM_SPACE_VM, kVa, 2 * kPage));
    put_fence(0, ++seq_);
    ring(0);
    const struct {
        uint64_t va, phys;
    } missing[] = {{16 * kPage, 8 * kPage}, {kPage, kPage}, {17 * kPage, 9 * kPage}};
    uint32_t n = 0;
    for (const auto& m : missing) {
        ASSERT_TRUE(wait_stalled(0, ++n));
        tables_.set(root_, kVa + m.va, sys_pte(kFree + m.phys));
        answer(0, n, VTTM_ENG_ANSWER_RETRY);
    }
    EXPECT_EQ(status(), 0u);
    for (uint64_t a = 0; a < 2 * kPage; a += 4) ASSERT_EQ(word(kFree + 8 * kPage + a), 0x5a5a5a5au);

    // Stamps: a page in the middle, and the result.
    const uint64_t va = kVa + (1ull << 30);
    const vttm_stamp_id id{9, 5, 3, 1};
    for (uint64_t i = 0; i < 100; i++)
        if (i != 70) tables_.set(root_, va + i * kPage, sys_pte(kFree + (20 + i) * kPage));
    put_packet(1, stamp_packet(false, VTTM_SPACE_VM, va, 100, id));
    put_packet(1, stamp_packet(true, VTTM_SPACE_VM, va, 100, id, VTTM_SPACE_VM, va + 200 * kPage));
    put_fence(1, ++seq_);
    ring(1);
    ASSERT_TRUE(wait_stalled(1, 1));
    tables_.set(root_, va + 70 * kPage, sys_pte(kFree + 90 * kPage));
    answer(1, 1, VTTM_ENG_ANSWER_RETRY);
    ASSERT_TRUE(wait_stalled(1, 2));
    tables_.set(root_, va + 200 * kPage, sys_pte(kFree + 200 * kPage));
    answer(1, 2, VTTM_ENG_ANSWER_RETRY);
    ASSERT_TRUE(wait_idle(1));
    EXPECT_EQ(result(kFree + 200 * kPage).good, 100u);
    EXPECT_EQ(result(kFree + 200 * kPage).checked, 100u);
}

TEST_F(RetryTest, FailMakesItAFaultLikeAnyOther) {
    start_fill(kVa, 4, 1);
    ASSERT_TRUE(wait_stalled(0, 1));
    answer(0, 1, VTTM_ENG_ANSWER_FAIL);
    EXPECT_EQ(status(), VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 1u) << "one fault is one fault";
    tables_.set(root_, kVa, sys_pte(kFree));
    EXPECT_EQ(fill(kVa, 2), 0u) << "the next job is none the worse";
}

TEST_F(RetryTest, ARetryThatDoesNotHelpIsANewStall) {
    start_fill(kVa, 4, 1);
    for (uint32_t n = 1; n <= 50; n++) {
        ASSERT_TRUE(wait_stalled(0, n));
        EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), n) << "it does not try by itself";
        answer(0, n, VTTM_ENG_ANSWER_RETRY);
    }
    ASSERT_TRUE(wait_stalled(0, 51));
    answer(0, 51, VTTM_ENG_ANSWER_FAIL);
    EXPECT_EQ(status(), VTTM_FAULT_NOT_VALID);
}

TEST_F(RetryTest, AnswersToWhatIsNotAreIgnored) {
    for (uint32_t a : {VTTM_ENG_ANSWER_RETRY, VTTM_ENG_ANSWER_FAIL}) answer(0, 0, a);
    start_fill(kVa, 4, 1);
    ASSERT_TRUE(wait_stalled(0, 1));
    // Late ones, early ones, and those that came twice.
    for (uint32_t number : {0u, 2u, VTTM_ENG_STALL_MAX}) {
        answer(0, number, VTTM_ENG_ANSWER_RETRY);
        answer(0, number, VTTM_ENG_ANSWER_FAIL);
    }
    answer(1, 1, VTTM_ENG_ANSWER_FAIL);  // the other engine
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 0u);
    EXPECT_TRUE(is_stalled(0));
    EXPECT_EQ(stall(0), 1u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 1u);
    for (uint32_t bad : {0u, 3u, 0xffu}) answer(0, 1, bad);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 3u);
    EXPECT_TRUE(is_stalled(0));
    answer(0, 1, VTTM_ENG_ANSWER_RETRY);
    ASSERT_TRUE(wait_stalled(0, 2));
    answer(0, 1, VTTM_ENG_ANSWER_FAIL);
    EXPECT_TRUE(is_stalled(0));
    answer(0, 2, VTTM_ENG_ANSWER_FAIL);
    answer(0, 2, VTTM_ENG_ANSWER_FAIL);
    EXPECT_EQ(status(), VTTM_FAULT_NOT_VALID);
}

TEST_F(RetryTest, OnlyThatEngineWaits) {
    tables_.set(root_, kVa + kPage, sys_pte(kFree));
    start_fill(kVa, 4, 1);
    const uint64_t fence = seq_;
    ASSERT_TRUE(wait_stalled(0, 1));
    for (int i = 0; i < 20; i++)
        EXPECT_EQ(run(1, stamp_packet(false, VTTM_SPACE_VM, kVa + kPage, 1, {9, 0, 1, 1})), 0u);
    // At rest: invalidations and a pause do not wait either.
    invalidate(VTTM_TLB_INV_ALL);
    vttm_model_pause(model_.get());
    EXPECT_TRUE(is_stalled(0));
    answer(0, 1, VTTM_ENG_ANSWER_FAIL);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_LT(rd64(VTTM_ENGINE_BASE(0) + VTTM_ENG_LAST_FENCE_LO), fence) << "it is paused";
    vttm_model_resume(model_.get());
    EXPECT_TRUE(wait_idle(0));
    EXPECT_EQ(rd64(VTTM_ENGINE_BASE(0) + VTTM_ENG_LAST_FENCE_LO), fence);
}

TEST_F(RetryTest, ResetsEndIt) {
    start_fill(kVa, 4, 1);
    ASSERT_TRUE(wait_stalled(0, 1));
    reset_engine(0);
    EXPECT_FALSE(is_stalled(0));
    EXPECT_TRUE(eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE);
    answer(0, 1, VTTM_ENG_ANSWER_FAIL);  // too late
    put_set_vm(0, 1);
    tables_.set(root_, kVa, sys_pte(kFree));
    EXPECT_EQ(fill(kVa, 2), 0u);
    EXPECT_EQ(stall(0), 1u) << "numbers go on over an engine's reset";

    start_fill(kVa + kPage, 4, 1);
    ASSERT_TRUE(wait_stalled(0, 2));
    vttm_model_reset(model_.get());
    EXPECT_FALSE(is_stalled(0));
    EXPECT_EQ(stall(0), 0u);
    EXPECT_EQ(rd(VTTM_REG_VM_MODE(1)), 0u);
    setup_ring(0);
    wr64(VTTM_REG_VM_ROOT_LO(1), root_);
    put_set_vm(0, 1);
    EXPECT_EQ(fill(kVa + kPage, 1), VTTM_FAULT_NOT_VALID) << "fatal again";
    // Destroying the model with an engine that waits is up to the fixture.
    wr(VTTM_REG_VM_MODE(1), VTTM_VM_MODE_RETRY);
    start_fill(kVa + kPage, 4, 1);
    ASSERT_TRUE(wait_stalled(0, 1));
}

TEST_F(RetryTest, OtherFaultsAndOtherVmsAreFatal) {
    tables_.set(root_, kVa, sys_pte(kFree, false));
    tables_.set(root_, kVa + kPage, VTTM_PTE_VALID | VTTM_PTE_NO_ACCESS);
    tables_.set(root_, kVa + 2 * kPage, sys_pte(kRamSize));
    tables_.set(root_, kVa + 3 * kPage, sys_pte(kFree) | 1ull << 60);
    EXPECT_EQ(fill(kVa, 1), VTTM_FAULT_READ_ONLY);
    EXPECT_EQ(fill(kVa + kPage, 1), VTTM_FAULT_NO_ACCESS);
    EXPECT_EQ(fill(kVa + 2 * kPage, 1), VTTM_FAULT_BUS);
    EXPECT_EQ(fill(kVa + 3 * kPage, 1), VTTM_FAULT_RESERVED_BITS);
    make_vm(2);
    put_set_vm(0, 2);
    EXPECT_EQ(fill(kVa, 1), VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(stall(0), 0u);
    for (uint32_t bad : {2u, 3u, 0x80000000u}) wr(VTTM_REG_VM_MODE(2), bad);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 3u);
    EXPECT_EQ(rd(VTTM_REG_VM_MODE(2)), 0u);
    EXPECT_EQ(rd(VTTM_REG_VM_MODE(1)), VTTM_VM_MODE_RETRY);
}

// Work that waits behind a stall stays within its ring; the doorbell may ring on.
TEST_F(RetryTest, MoreWorkMayComeMeanwhile) {
    start_fill(kVa, 4, 1);
    ASSERT_TRUE(wait_stalled(0, 1));
    tables_.set(root_, kVa + kPage, sys_pte(kFree + kPage));
    start_fill(kVa + kPage, 4, 2);
    EXPECT_TRUE(is_stalled(0));
    EXPECT_EQ(word(kFree + kPage), 0u);
    tables_.set(root_, kVa, sys_pte(kFree));
    answer(0, 1, VTTM_ENG_ANSWER_RETRY);
    EXPECT_EQ(status(), 0u);
    EXPECT_EQ(word(kFree), 1u);
    EXPECT_EQ(word(kFree + kPage), 2u);
}

}  // namespace
}  // namespace vttm::model::test
