// SPDX-License-Identifier: Apache-2.0
// Several rings of an engine: priorities, turns, preemption between chunks, and what belongs to a
// ring alone.
#include "tests/unit/independent/fixture.h"
#include "tests/unit/independent/long_job.h"

namespace vttm::independent {
namespace {

class Rings : public IndependentDriver {
protected:
    std::unique_ptr<Ring> Open(unsigned engine, unsigned ring, uint32_t priority = 0) {
        auto r = std::make_unique<Ring>(*device, engine, ring);
        r->Wr(VTTM_ENG_PRIORITY, priority);
        r->Enable();
        return r;
    }
};

TEST_F(Rings, AllOfBothEnginesWorkAndShareTheEnginesCounters) {
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++) {
        Ring& first = e == VTTM_ENGINE_COPY ? *copy : *stamp;
        for (unsigned r = 1; r < VTTM_NUM_RINGS; r++) {
            const auto ring = Open(e, r);
            EXPECT_EQ(ring->Run(Program().Nop(r)), 0u);
            EXPECT_EQ(ring->Rd64(VTTM_ENG_LAST_FENCE_LO), 1u);
            EXPECT_EQ(ring->Rd(VTTM_ENG_CLASS), first.Rd(VTTM_ENG_CLASS));
            EXPECT_EQ(ring->Rd(VTTM_ENG_PACKETS), 2 * r);
            EXPECT_EQ(first.Rd(VTTM_ENG_PACKETS), 2 * r);
        }
        EXPECT_EQ(first.Rd64(VTTM_ENG_LAST_FENCE_LO), 0u);
    }
    device->Wr(VTTM_ENGINE_BASE(VTTM_NUM_ENGINES) + VTTM_ENG_CTRL, 0);
    EXPECT_EQ(device->Rd(VTTM_REG_BAD_ACCESS), ++bad_accesses) << "there is no third engine";
}

TEST_F(Rings, VmErrorAndRecordAreTheRingsOwn) {
    AddressSpace one(*device, 1), two(*device, 2);
    const Place a = Vram(device->AllocVram(4096)), b = Vram(device->AllocVram(4096));
    one.Map(0x1000, a, 4096);
    two.Map(0x1000, b, 4096);
    const auto second = Open(VTTM_ENGINE_COPY, 3);
    EXPECT_EQ(copy->Run(Program().SetVm(1)), 0u);
    EXPECT_EQ(second->Run(Program().SetVm(2)), 0u);
    // An error without a FENCE: the first ring skips, the second does not know of it.
    copy->Submit(Program().Fill(Vram(1), 4, 0));
    ASSERT_TRUE(Poll([&] { return device->Rd(VTTM_REG_FAULT_COUNT) == 1; }));
    device->TakeFaults();
    faults = 1;
    EXPECT_EQ(second->Run(Program().Fill(Virtual(0x1000), 4, 2)), 0u);
    EXPECT_EQ(copy->Run(Program().Fill(Virtual(0x1000), 4, 1)),
              static_cast<uint32_t>(VTTM_FAULT_BAD_PACKET));
    EXPECT_EQ(copy->Run(Program().Fill(Virtual(0x1000), 4, 1)), 0u);
    EXPECT_EQ(device->Read64(a), 1u);
    EXPECT_EQ(device->Read64(b), 2u);
    const uint32_t pos = second->tail();
    const vttm_fault_record r =
        OneFault(*second, Program().Fill(Vram(1), 4, 0), VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(VTTM_FAULT_INFO_RING(r.info), 3u);
    EXPECT_EQ(VTTM_FAULT_INFO_VM(r.info), 2u);
    EXPECT_EQ(r.packet_pos, pos);
    EXPECT_EQ(r.last_fence, 2u);
}

TEST_F(Rings, TheHigherPriorityPreemptsALongPacketWhichGoesOnAfterwards) {
    // The long job opens the gate just before its one packet of 1 GiB; nothing hangs on how fast
    // the test is.
    LongJob job(*device, 9);
    const auto urgent = Open(VTTM_ENGINE_COPY, 1, 1);
    const Place gate = System(device->AllocSystem(VTTM_PAGE_SIZE)), times = gate + 64;
    urgent->Put(Program().Wait(gate, 1, VTTM_CMP_EQ).Timestamp(times));
    const uint64_t first = urgent->Fence();
    ASSERT_TRUE(urgent->WaitStatus(VTTM_ENG_STATUS_WAITING));
    EXPECT_EQ(copy->Run(Program().Signal(gate, 1).Append(job.Fills(1)).Timestamp(times + 8)), 0u);
    ASSERT_TRUE(urgent->Done(first)) << "it was done long before the long one";
    EXPECT_LT(device->Read64(times), device->Read64(times + 8));
    EXPECT_EQ(copy->Rd64(VTTM_ENG_BYTES_LO), 1ull << 30)
        << "no byte of the long one was left out or done twice";
}

TEST_F(Rings, APacketThatWasLeftGoesOnWhereItWas) {
    // Stamps and a hash over 8 MiB, each left for the urgent ring in the middle: the result must
    // not show it.
    constexpr uint32_t kPages = 2048;
    const Place memory = Vram(device->AllocVram(kPages * VTTM_PAGE_SIZE)),
                words = System(device->AllocSystem(VTTM_PAGE_SIZE));
    const Place hash = words + 512, alone = words + 528, verdict = words + 576;
    const StampRun run{.npages = kPages};
    const auto urgent = Open(VTTM_ENGINE_STAMP, 1, 1);
    const Program long_ones[] = {Program().StampWrite(memory, run),
                                 Program().Hash(memory, kPages * VTTM_PAGE_SIZE, 1, hash)};
    for (uint64_t i = 0; i < 2; i++) {
        const Place gate = words + 64 * i;
        urgent->Put(Program().Wait(gate, 1, VTTM_CMP_EQ).Timestamp(gate + 8));
        const uint64_t first = urgent->Fence();
        ASSERT_TRUE(urgent->WaitStatus(VTTM_ENG_STATUS_WAITING));
        EXPECT_EQ(stamp->Run(Program().Signal(gate, 1).Append(long_ones[i]).Timestamp(gate + 16)),
                  0u);
        ASSERT_TRUE(urgent->WaitFence(first));
        EXPECT_LT(device->Read64(gate + 8), device->Read64(gate + 16));
    }
    EXPECT_EQ(stamp->Run(Program()
                             .StampVerify(memory, run, verdict)
                             .Hash(memory, kPages * VTTM_PAGE_SIZE, 1, alone)),
              0u);
    EXPECT_EQ(device->ReadAs<vttm_stamp_result>(verdict).good, kPages);
    EXPECT_EQ(device->ReadAs<vttm_hash_result>(hash).hash,
              device->ReadAs<vttm_hash_result>(alone).hash);
}

TEST_F(Rings, StrictPrioritiesAndEqualsInTurns) {
    // Ring 0 keeps the engine until the three others have got their work, then it is reset.
    LongJob job(*device, 9);
    const Place out = System(device->AllocSystem(VTTM_PAGE_SIZE));
    copy->Wr(VTTM_ENG_PRIORITY, VTTM_PRIORITY_MAX);
    copy->Put(job.Fills(4, 30));
    const uint64_t seq = copy->Fence();
    ASSERT_TRUE(Poll([&] { return copy->Rd64(VTTM_ENG_BYTES_LO) > 0; }));
    std::vector<std::unique_ptr<Ring>> rings;
    for (unsigned r = 1; r < VTTM_NUM_RINGS; r++) {
        rings.push_back(
            Open(VTTM_ENGINE_COPY, r, r == 1 ? 0 : 2));  // ring 1 below 2 and 3, which are equals
        Program p = Program().SetVm(9).Timestamp(out + 16 * r);
        for (int i = 0; i < 16; i++) p.Fill(Virtual(LongJob::kVa), 1 << 20, r);
        rings.back()->Put(p.Timestamp(out + (16 * r + 8)));
        rings.back()->Fence();
    }
    for (auto& r : rings) EXPECT_EQ(r->Rd(VTTM_ENG_HEAD), 0u) << "none has begun";
    ASSERT_FALSE(copy->Done(seq));
    ASSERT_TRUE(copy->Reset(VTTM_ENG_CTRL_RING_RESET));
    for (auto& r : rings) ASSERT_TRUE(r->WaitFence(1));
    const auto begin = [&](unsigned r) { return device->Read64(out + 16 * r); };
    const auto end = [&](unsigned r) { return device->Read64(out + (16 * r + 8)); };
    EXPECT_LE(end(2), begin(1)) << "as long as a ring has work, those below it stand still";
    EXPECT_LE(end(3), begin(1));
    EXPECT_LT(begin(2), end(3)) << "equals go in turns";
    EXPECT_LT(begin(3), end(2));
}

TEST_F(Rings, ARingThatWaitsHoldsUpNobodyNotEvenBelowIt) {
    const Place word = System(device->AllocSystem(VTTM_PAGE_SIZE));
    const auto high = Open(VTTM_ENGINE_COPY, 2, VTTM_PRIORITY_MAX);
    high->Put(Program().Wait(word, 1, VTTM_CMP_EQ));
    const uint64_t seq = high->Fence();
    ASSERT_TRUE(high->WaitStatus(VTTM_ENG_STATUS_WAITING));
    EXPECT_EQ(copy->Run(Program().Signal(word, 1)), 0u);
    EXPECT_TRUE(high->WaitFence(seq));
}

TEST_F(Rings, ResetOfOneRingLeavesTheOthersAlone) {
    const Place word = System(device->AllocSystem(VTTM_PAGE_SIZE));
    const auto stuck = Open(VTTM_ENGINE_COPY, 1, 2), waiting = Open(VTTM_ENGINE_COPY, 2);
    waiting->Put(Program().Wait(word, 1, VTTM_CMP_EQ));
    const uint64_t seq = waiting->Fence();
    stuck->Submit(Program().Wait(word, 2, VTTM_CMP_EQ));
    ASSERT_TRUE(stuck->WaitStatus(VTTM_ENG_STATUS_WAITING));
    ASSERT_TRUE(stuck->Reset(VTTM_ENG_CTRL_RING_RESET));
    EXPECT_EQ(stuck->Rd(VTTM_ENG_HEAD), 0u);
    EXPECT_EQ(stuck->Rd(VTTM_ENG_TAIL), 0u);
    EXPECT_EQ(stuck->Rd(VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
    EXPECT_EQ(stuck->Rd(VTTM_ENG_PRIORITY), 2u);
    EXPECT_EQ(stuck->Run(Program().Nop()), 0u);
    EXPECT_EQ(waiting->Rd(VTTM_ENG_STATUS), VTTM_ENG_STATUS_WAITING);
    device->Write64(word, 1);
    EXPECT_TRUE(waiting->WaitFence(seq));
}

TEST_F(Rings, ResetOfTheEngineDisablesTheOtherRings) {
    const auto other = Open(VTTM_ENGINE_COPY, 1, 1);
    EXPECT_EQ(other->Run(Program().Nop()), 0u);
    ASSERT_TRUE(copy->Reset(VTTM_ENG_CTRL_RESET));
    EXPECT_EQ(copy->Rd(VTTM_ENG_CTRL), VTTM_ENG_CTRL_ENABLE);
    EXPECT_EQ(other->Rd(VTTM_ENG_CTRL), 0u);
    EXPECT_EQ(other->Rd(VTTM_ENG_HEAD), 0u);
    EXPECT_EQ(device->Rd64(other->block() + VTTM_ENG_RING_BASE_LO), other->base())
        << "its place stays";
    EXPECT_EQ(other->Rd(VTTM_ENG_PRIORITY), 1u);
    EXPECT_EQ(other->Rd64(VTTM_ENG_LAST_FENCE_LO), 1u);
    other->DropTail();
    other->Wr(VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    EXPECT_EQ(other->Run(Program().Nop()), 0u);
}

}  // namespace
}  // namespace vttm::independent
