// SPDX-License-Identifier: Apache-2.0
// Semaphores across the engines, timestamps, conditions, fences in order.
#include "tests/unit/independent/fixture.h"

namespace vttm::independent {
namespace {

constexpr uint64_t kVa = 0x000040000000;

class Sync : public IndependentDriver {
protected:
    void SetUp() override {
        IndependentDriver::SetUp();
        if (!device) return;
        word = System(device->AllocSystem(VTTM_PAGE_SIZE));
    }
    Place word;
};

TEST_F(Sync, OneEngineWaitsForTheOther) {
    const Place vram = Vram(device->AllocVram(VTTM_PAGE_SIZE)),
                out = System(device->AllocSystem(VTTM_PAGE_SIZE));
    copy->Put(Program().Wait(word, 41, VTTM_CMP_GE).Copy(out, vram, VTTM_PAGE_SIZE));
    const uint64_t seq = copy->Fence();
    ASSERT_TRUE(copy->WaitStatus(VTTM_ENG_STATUS_WAITING));
    EXPECT_FALSE(copy->Rd(VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE);
    EXPECT_FALSE(copy->Done(seq));

    // 40 is not enough; the other engine works on meanwhile.
    EXPECT_EQ(stamp->Run(Program().Signal(word, 40)), 0u);
    EXPECT_FALSE(copy->Done(seq));
    const StampRun run{};
    EXPECT_EQ(stamp->Run(Program().StampWrite(vram, run).Signal(word, 1, true)), 0u);
    ASSERT_TRUE(copy->WaitFence(seq));
    EXPECT_EQ(device->Read64(word), 41u);
    EXPECT_EQ(device->Read(out, VTTM_PAGE_SIZE), device->Read(vram, VTTM_PAGE_SIZE));
    EXPECT_NE(device->Read64(out), 0u);
}

TEST_F(Sync, TheCpuEndsAWaitByWritingTheWord) {
    copy->Put(Program().Wait(word, 7, VTTM_CMP_EQ));
    const uint64_t seq = copy->Fence();
    ASSERT_TRUE(copy->WaitStatus(VTTM_ENG_STATUS_WAITING));
    device->Write64(word, 7);  // and nothing else
    EXPECT_TRUE(copy->WaitFence(seq, 1000));
}

TEST_F(Sync, ADisabledRingDoesNotLookAndBeginsAnew) {
    copy->Put(Program().Wait(word, 1, VTTM_CMP_EQ));
    const uint64_t seq = copy->Fence();
    ASSERT_TRUE(copy->WaitStatus(VTTM_ENG_STATUS_WAITING));
    copy->Wr(VTTM_ENG_CTRL, 0);
    ASSERT_TRUE(Poll([&] { return !(copy->Rd(VTTM_ENG_STATUS) & VTTM_ENG_STATUS_WAITING); }));
    EXPECT_FALSE(copy->Rd(VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE);
    device->Write64(word, 1);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    device->Write64(word, 0);
    copy->Wr(VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    EXPECT_TRUE(copy->WaitStatus(VTTM_ENG_STATUS_WAITING))
        << "the word was right only while nobody looked";
    device->Write64(word, 1);
    EXPECT_TRUE(copy->WaitFence(seq));
}

TEST_F(Sync, AddWrapsAndComparisonsHaveNoSign) {
    const uint64_t big = ~0ull - 1;
    device->Write64(word, big);
    EXPECT_EQ(copy->Run(Program().Signal(word, 5, true)), 0u);
    EXPECT_EQ(device->Read64(word), 3u);

    // Which of the comparisons hold for memory and value? COND_SKIP shows it without a wait.
    const Place mark = word + 64;
    struct Case {
        uint64_t memory, value;
        std::array<bool, VTTM_CMP_LAST + 1> holds;  // EQ NE GE GT LE LT SEQ
    };
    const Case cases[] = {{5, 5, {true, false, true, false, true, false, true}},
                          {6, 5, {false, true, true, true, false, false, true}},
                          {4, 5, {false, true, false, false, true, true, false}},
                          {~0ull, 5, {false, true, true, true, false, false, false}},
                          {5, ~0ull, {false, true, false, false, true, true, true}},
                          {1ull << 63, 0, {false, true, true, true, false, false, false}}};
    for (const Case& c : cases) {
        for (uint32_t compare = 0; compare <= VTTM_CMP_LAST; compare++) {
            device->Write64(word, c.memory);
            device->Write64(mark, 0);
            const Program skipped = Program().Signal(mark, 1);
            EXPECT_EQ(copy->Run(Program()
                                    .SkipIf(word, ~0ull, compare, c.value, skipped.size())
                                    .Append(skipped)),
                      0u);
            EXPECT_EQ(device->Read64(mark) == 0, c.holds[compare])
                << c.memory << " " << compare << " " << c.value;
        }
    }
}

TEST_F(Sync, TheWaitHoldsForAsLongAsTheComparisonSays) {
    for (uint32_t compare = 0; compare <= VTTM_CMP_LAST; compare++) {
        // Memory that fails the comparison with 10, then one that meets it.
        const uint64_t bad[] = {9, 10, 9, 10, 11, 10, 9}, good[] = {10, 11, 10, 11, 10, 9, 10};
        device->Write64(word, bad[compare]);
        stamp->Put(Program().Wait(word, 10, compare));
        const uint64_t seq = stamp->Fence();
        ASSERT_TRUE(stamp->WaitStatus(VTTM_ENG_STATUS_WAITING)) << compare;
        EXPECT_FALSE(stamp->Done(seq));
        device->Write64(word, good[compare]);
        EXPECT_TRUE(stamp->WaitFence(seq)) << compare;
    }
}

TEST_F(Sync, ConditionsOnMasksAndDwords) {
    const Place mark = word + 64;
    const Program skipped = Program().Signal(mark, 1);
    const auto skips = [&](Place at, uint64_t mask, uint64_t value, bool dword) {
        device->Write64(mark, 0);
        EXPECT_EQ(copy->Run(Program()
                                .SkipIf(at, mask, VTTM_CMP_EQ, value, skipped.size(), dword)
                                .Append(skipped)),
                  0u);
        return device->Read64(mark) == 0;
    };
    device->Write64(word, 0x1122334455667788);
    EXPECT_TRUE(skips(word, 0xff00, 0x7700, false));
    EXPECT_FALSE(skips(word, 0xff00, 0x7788, false));
    EXPECT_TRUE(skips(word + 4, ~0ull, 0x11223344, true)) << "32 bits, zero-extended";
    EXPECT_FALSE(skips(word, ~0ull, 0x55667788, false));
}

TEST_F(Sync, WhatIsSkippedIsNotLookedAt) {
    device->Write64(word, 1);
    // Neither framing nor operands: 3 dwords of an unknown opcode, up to TAIL, which is written
    // once for all.
    copy->Put(
        Program().SkipIf(word, ~0ull, VTTM_CMP_EQ, 1, 3).Raw({0xffffffff, 0x7f000000, 0x12345678}));
    EXPECT_TRUE(copy->WaitFence(copy->Fence()));
    EXPECT_FALSE(copy->Rd(VTTM_ENG_STATUS) & VTTM_ENG_STATUS_HALTED);

    copy->Submit(Program().SkipIf(word, ~0ull, VTTM_CMP_EQ, 1, 2).Raw({0xffffffff, 0xffffffff}));
    EXPECT_TRUE(copy->WaitIdle()) << "a skip may end at TAIL";
    EXPECT_EQ(copy->Rd(VTTM_ENG_HEAD), copy->tail());

    // Beyond TAIL is wrong whatever memory holds, here: the condition is false.
    copy->Submit(Program().SkipIf(word, ~0ull, VTTM_CMP_EQ, 2, 1));
    ASSERT_TRUE(Poll([&] { return device->Rd(VTTM_REG_FAULT_COUNT) == 1; }));
    faults = 1;
    EXPECT_EQ(copy->Run(Program().Nop()), static_cast<uint32_t>(VTTM_FAULT_BAD_PACKET));
}

TEST_F(Sync, TimestampsAreInOrderAndOnTheRegistersClock) {
    const uint64_t before = device->Rd64(VTTM_REG_TIMESTAMP_LO);
    const Place vram = Vram(device->AllocVram(4 << 20));
    EXPECT_EQ(copy->Run(Program().Timestamp(word).Fill(vram, 4 << 20, 1).Timestamp(word + 8)), 0u);
    EXPECT_EQ(stamp->Run(Program().Timestamp(word + 16)), 0u);
    const uint64_t after = device->Rd64(VTTM_REG_TIMESTAMP_LO);
    EXPECT_LE(before, device->Read64(word));
    EXPECT_LT(device->Read64(word), device->Read64(word + 8)) << "4 MiB take time";
    EXPECT_LE(device->Read64(word + 8), device->Read64(word + 16));
    EXPECT_LE(device->Read64(word + 16), after);
}

TEST_F(Sync, InAVmAWordIsReachedThroughItsPage) {
    AddressSpace vm(*device, 3);
    vm.Map(kVa, word, VTTM_PAGE_SIZE);
    EXPECT_EQ(
        copy->Run(Program().SetVm(3).Signal(Virtual(kVa + 8), 99).Timestamp(Virtual(kVa + 16))),
        0u);
    EXPECT_EQ(device->Read64(word + 8), 99u);
    EXPECT_NE(device->Read64(word + 16), 0u);
    const vttm_fault_record r =
        OneFault(*copy, Program().SetVm(3).Wait(Virtual(kVa + VTTM_PAGE_SIZE), 1, VTTM_CMP_EQ),
                 VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(r.addr, kVa + VTTM_PAGE_SIZE);
    EXPECT_FALSE(r.info & VTTM_FAULT_INFO_WRITE);
}

TEST_F(Sync, WrongWordsAndComparisonsAreBadPackets) {
    OneFault(*copy, Program().Timestamp(word + 4), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().Signal(word + 4, 1), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().Wait(word + 4, 0, VTTM_CMP_EQ), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().Wait(word, 0, VTTM_CMP_LAST + 1), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().SkipIf(word + 4, 0, VTTM_CMP_EQ, 0, 0), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().SkipIf(word + 2, 0, VTTM_CMP_EQ, 0, 0, true), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy, Program().SkipIf(word, 0, VTTM_CMP_LAST + 1, 0, 0), VTTM_FAULT_BAD_PACKET);
    OneFault(*copy,
             Program().Put(VTTM_OP_TIMESTAMP, VTTM_PKT_FLAG_ADD | VTTM_PKT_DST(VTTM_SPACE_SYSTEM),
                           vttm_pkt_timestamp{0, Lo(word.address), Hi(word.address)}),
             VTTM_FAULT_BAD_PACKET);
}

TEST_F(Sync, ASignalBehindTheFenceRunsAfterAnErrorToo) {
    const Place lost = word + 64;
    copy->Put(Program().Fill(Vram(1), 4, 0).Signal(lost, 1));
    copy->Fence();
    copy->Submit(Program().Signal(word, 1));
    EXPECT_EQ(stamp->Run(Program().Wait(word, 1, VTTM_CMP_EQ)), 0u);
    EXPECT_EQ(device->Read64(lost), 0u) << "what stands between error and FENCE is skipped";
    faults = 1;
}

}  // namespace
}  // namespace vttm::independent
