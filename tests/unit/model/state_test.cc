// SPDX-License-Identifier: Apache-2.0
// A device that is saved and loaded in each state that it can be in: the guest must not be able to
// tell.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "protocol/vttm_fault.h"
#include "tests/unit/model/state_fixture.h"

namespace vttm::model::test {
namespace {

TEST_F(State, NewAndIdle) {
    migrate();
    EXPECT_EQ(run(0, fill_packet(V, 0, 64, 7)), 0u);
    migrate();
    EXPECT_EQ(run(1, stamp_packet(false, V, 0, 4, {1, 0, 1, 1})), 0u);
    EXPECT_EQ(run(1, stamp_packet(true, V, 0, 4, {1, 0, 1, 1})), 0u);
    EXPECT_EQ(result().good, 4u);
}

TEST_F(State, AllRegisters) {
    wr64(VTTM_REG_FAULT_RING_BASE_LO, kRecords);
    wr(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    for (uint32_t vm = 0; vm < VTTM_MAX_VMS; vm++)
        if (vm != kVm) wr64(VTTM_REG_VM_ROOT_LO(vm), 0x123456789abc0000 + vm);
    wr(VTTM_REG_VM_MODE(200), VTTM_VM_MODE_RETRY);
    wr64(VTTM_REG_TLB_INV_START_LO, 0x1122334455667788);
    wr(VTTM_REG_TLB_INV_PAGES, 77);
    wr(0x3, 1);  // a bad access
    // Three faults, one record taken; the first one latched.
    for (int i = 0; i < 3; i++)
        expect_fault(0, fill_packet(V, kVramSize + i * 4, 64, 0), VTTM_FAULT_VRAM_RANGE);
    EXPECT_EQ(run(0, fill_packet(V, kVramSize, 64, 0)), VTTM_FAULT_VRAM_RANGE);
    wr(VTTM_REG_FAULT_RING_GET, 1);
    wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ERROR | VTTM_IRQ_VRAM);
    ASSERT_EQ(vttm_model_set_vram_target(model_.get(), 2 << 20), 0);
    wr64(VTTM_REG_VRAM_LIMIT_LO, 4 << 20);  // half-way
    ASSERT_EQ(vttm_model_set_vram_visible(model_.get(), 4 << 20), 0);
    for (unsigned r = 0; r < VTTM_NUM_RINGS; r++) {
        wr64(VTTM_RING_BLOCK(1, r) + VTTM_ENG_RING_BASE_LO, 0x700000 + r * kPage);
        wr(VTTM_RING_BLOCK(1, r) + VTTM_ENG_PRIORITY, r);
    }
    const unsigned irqs = bus_.irq_count(VTTM_MSIX_VRAM);
    migrate();
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_VRAM), irqs) << "what was raised is not raised again";
    EXPECT_EQ(rd(VTTM_REG_FAULT_RING_PUT), 4u);
    EXPECT_EQ(rd(VTTM_REG_IRQ_STATUS) & VTTM_IRQ_VRAM, VTTM_IRQ_VRAM);
    EXPECT_EQ(rd64(VTTM_REG_VRAM_LIMIT_LO), 4u << 20);
    EXPECT_EQ(vttm_model_vram_target(model_.get()), 2u << 20);
    // The limit holds, and can be lowered further.
    expect_fault(0, fill_packet(V, 4 << 20, 64, 0), VTTM_FAULT_VRAM_RANGE);
    wr64(VTTM_REG_VRAM_LIMIT_LO, 2 << 20);
    EXPECT_EQ(rd64(VTTM_REG_VRAM_LIMIT_LO), 2u << 20);
    vttm_fault_record r;
    std::memcpy(&r, bus_.ram(kRecords + 4 * sizeof(r)), sizeof(r));
    EXPECT_EQ(r.number, 4u);
}

// --- In the middle of a packet that stalled ------------------------------------------------------

TEST_F(State, MidFill) {
    map(kVa, kFree, kPages, {3, 6});
    put_packet(0, fill_packet(M, kVa + 8, kPages * kPage - 8, 0xabcd1234));
    kick(0);
    for (unsigned hole : {3, 6})
        move_at_stall(0, kVa + hole * kPage, sys_pte(kFree + hole * kPage));
    done(0);
    const auto* w = reinterpret_cast<uint32_t*>(bus_.ram(kFree));
    for (unsigned i = 2; i < kPages * kPage / 4; i++) ASSERT_EQ(w[i], 0xabcd1234u) << i;
}

TEST_F(State, MidCopyAndRows) {
    const uint64_t to = kFree + 0x100000;
    map(kVa, to, kPages, {4});
    map(kOther, kFree, kPages, {2});
    put_packet(0, copy_packet(M, kVa + 5, M, kOther + 9, (kPages - 1) * kPage));
    kick(0);
    move_at_stall(0, kOther + 2 * kPage, sys_pte(kFree + 2 * kPage));
    move_at_stall(0, kVa + 4 * kPage, sys_pte(to + 4 * kPage));
    done(0);
    EXPECT_EQ(std::memcmp(bus_.ram(to + 5), bus_.ram(kFree + 9), (kPages - 1) * kPage), 0);

    map(kVa + 0x100000, to + 0x100000, kPages, {5});
    put_packet(0, copy_2d({M, kVa + 0x100000, 300}, {S, kFree, 260}, 257, 100));
    put_packet(0, fill_2d({M, kVa + 0x200000, 4096}, 1024, 5, 0x55aa55aa));
    map(kVa + 0x200000, to + 0x200000, 5, {2});
    kick(0);
    move_at_stall(0, kVa + 0x105000, sys_pte(to + 0x105000));
    move_at_stall(0, kVa + 0x202000, sys_pte(to + 0x202000));
    done(0);
    for (unsigned row = 0; row < 100; row++)
        ASSERT_EQ(
            std::memcmp(bus_.ram(to + 0x100000 + row * 300), bus_.ram(kFree + row * 260), 257), 0)
            << row;
    for (unsigned row = 0; row < 5; row++)
        ASSERT_EQ(*reinterpret_cast<uint32_t*>(bus_.ram(to + 0x200000 + row * kPage + 1020)),
                  0x55aa55aau);
}

TEST_F(State, MidScatterAndGather) {
    // 600 pieces over three pages of list: in the middle of the list, then in the middle of the
    // work.
    std::vector<vttm_sg_entry> list;
    for (uint32_t i = 0; i < 600; i++) list.push_back({kVa + i * 50, 40 + i % 8, 0});
    std::memcpy(bus_.ram(kIb), list.data(), list.size() * sizeof(list[0]));
    const uint64_t to = kFree + 0x100000;
    map(kListVa, kIb, 3, {1});
    map(kVa, to, kPages, {5});
    put_packet(0, sg(true, S, kFree + 3, M, M, kListVa, 600));
    kick(0);
    move_at_stall(0, kListVa + kPage, sys_pte(kIb + kPage));
    ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_STALLED));
    // The list was read: what becomes of it now does not matter.
    std::memset(bus_.ram(kIb), 0xff, list.size() * sizeof(list[0]));
    move_at_stall(0, rd64(VTTM_REG_FAULT_ADDR_LO), sys_pte(to + 5 * kPage));
    done(0);
    uint64_t from = kFree + 3;
    for (const auto& e : list) {
        ASSERT_EQ(std::memcmp(bus_.ram(to + (e.addr - kVa)), bus_.ram(from), e.len), 0);
        from += e.len;
    }

    std::memcpy(bus_.ram(kIb), list.data(), list.size() * sizeof(list[0]));
    map(kOther, kFree + 0x200000, kPages, {3});
    put_packet(0, sg(false, M, kOther, M, S, kIb, 600));
    kick(0);
    move_at_stall(0, kOther + 3 * kPage, sys_pte(kFree + 0x200000 + 3 * kPage));
    done(0);
    from = kFree + 0x200000;
    for (const auto& e : list) {
        ASSERT_EQ(std::memcmp(bus_.ram(to + (e.addr - kVa)), bus_.ram(from), e.len), 0);
        from += e.len;
    }
}

TEST_F(State, MidStamps) {
    const vttm_stamp_id id{9, 100, 3, 4};
    map(kVa, kFree, kPages, {3});
    bus_.clear_witness();
    put_packet(1, stamp_packet(false, M, kVa, kPages, id));
    kick(1);
    move_at_stall(1, kVa + 3 * kPage, sys_pte(kFree + 3 * kPage));
    done(1);
    uint64_t stamped = 0;
    for (const auto& rec : bus_.witness())
        if (rec.kind == VTTM_WITNESS_WRITE) {
            EXPECT_EQ(rec.page, 100 + stamped);
            stamped += rec.npages;
        }
    EXPECT_EQ(stamped, kPages) << "the witness log goes on where it was";

    // Pages 1 and 6 are bad, the move is between them; then the result has nowhere to go.
    *bus_.ram(kFree + kPage + 9) ^= 1;
    std::memset(bus_.ram(kFree + 6 * kPage), 0, kPage);
    tables_.set(root_, kVa + 3 * kPage, 0);
    invalidate(VTTM_TLB_INV_ALL);
    put_packet(1, stamp_packet(true, M, kVa, kPages, id, M, kOther + 64));
    kick(1);
    move_at_stall(1, kVa + 3 * kPage, sys_pte(kFree + 3 * kPage));
    move_at_stall(1, kOther + 64, sys_pte(kResultAddr));
    done(1);
    const auto r = result(kResultAddr + 64);
    EXPECT_EQ(r.checked, kPages);
    EXPECT_EQ(r.good, kPages - 2);
    EXPECT_EQ(r.bad, 2u);
    EXPECT_EQ(r.first_bad_page, 101u);
    EXPECT_EQ(r.by_class[VTTM_STAMP_BITFLIP], 1u);
    EXPECT_EQ(r.by_class[VTTM_STAMP_ZERO], 1u);
}

TEST_F(State, MidHash) {
    const uint64_t len = kPages * kPage - 20;
    map(kVa, kFree, kPages, {2, 5});
    // A start that leaves the hash with part of a block at each page.
    put_packet(1, hash(M, kVa + 13, len, 42, M, kOther));
    kick(1);
    move_at_stall(1, kVa + 2 * kPage, sys_pte(kFree + 2 * kPage));
    move_at_stall(1, kVa + 5 * kPage, sys_pte(kFree + 5 * kPage));
    move_at_stall(1, kOther, sys_pte(kResultAddr));
    done(1);
    EXPECT_EQ(word(kResultAddr), XXH64(bus_.ram(kFree + 13), len, 42));
    EXPECT_EQ(word(kResultAddr + 8), len);
}

TEST_F(State, StallsAreAnsweredAfterwards) {
    map(kVa, kFree, 4, {2});
    put_packet(0, fill_packet(M, kVa, 4 * kPage, 1));
    kick(0);
    ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_STALLED));
    migrate();
    answer(0, VTTM_ENG_ANSWER_FAIL);
    done(0, VTTM_FAULT_NOT_VALID);
    // The answer is given, and not yet obeyed.
    for (uint32_t how : {VTTM_ENG_ANSWER_FAIL, VTTM_ENG_ANSWER_RETRY}) {
        put_packet(0, fill_packet(M, kVa, 4 * kPage, 1));
        kick(0);
        ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_STALLED));
        pause();
        answer(0, how);
        if (how == VTTM_ENG_ANSWER_RETRY) tables_.set(root_, kVa + 2 * kPage, sys_pte(kFree));
        migrate();
        done(0, how == VTTM_ENG_ANSWER_RETRY ? 0 : VTTM_FAULT_NOT_VALID);
    }
}

// --- Other states --------------------------------------------------------------------------------

TEST_F(State, MidChunks) {
    // 8 MiB in chunks of 256 KiB; stopped within, wherever that is, until it is over.
    auto* vram = reinterpret_cast<uint32_t*>(bus_.vram());
    unsigned midway = 0;
    bus_.limit_mappings(kPage);  // a slow bus
    bus_.on_map([](uint64_t, bool) { std::this_thread::sleep_for(std::chrono::microseconds(1)); });
    for (uint32_t round = 1; round <= 10; round++) {
        const uint64_t before = bytes(0);
        put_packet(0, fill_packet(V, 0, kVramSize, round));
        put_packet(0, copy_packet(S, kFree, V, 0, kVramSize));
        kick(0);
        while (bytes(0) - before < kVramSize + round * 0x80000) std::this_thread::yield();
        pause();
        const uint64_t part = (bytes(0) - before) % kVramSize;
        midway += part && part != kVramSize;
        migrate();
        done(0);
        ASSERT_EQ(bytes(0) - before, 2 * kVramSize) << "nothing twice, nothing left out";
        for (uint64_t i = 0; i < kVramSize / 4; i += 64) ASSERT_EQ(vram[i], round) << i;
        ASSERT_EQ(std::memcmp(vram, bus_.ram(kFree), kVramSize), 0);
    }
    EXPECT_GT(midway, 5u) << "hardly ever within a packet";
}

TEST_F(State, WaitsAtASemaphore) {
    set_word(kSem, 0);
    put_packet(0, sem_wait(S, kSem, 1));
    kick(0);
    ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_WAITING));
    migrate();
    ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_WAITING));
    set_word(kSem, 1);
    done(0);
    // What ends the wait has come before the new device looks.
    put_packet(0, sem_wait(S, kSem, 2));
    kick(0);
    ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_WAITING));
    pause();
    set_word(kSem, 2);
    migrate();
    done(0);
}

TEST_F(State, WithinNestedBuffers) {
    // Three deep, the inner ones unprivileged; the innermost waits. Behind each a mark, and last a
    // skip.
    tables_.set(root_, kVa, sys_pte(kIb));
    tables_.set(root_, kVa + kPage, vram_pte(0));
    tables_.set(root_, kVa + 2 * kPage, sys_pte(kSem));
    set_word(kSem, 0);
    const auto mark = [](uint64_t i) {
        return fill_packet(M, kVa + kPage + i * 4, 4, 0x1000 + uint32_t(i));
    };
    Commands c, b, a;
    c << mark(0) << sem_wait(M, kVa + 2 * kPage, 1)
      << cond_skip(M, kVa + 2 * kPage, 1, VTTM_CMP_EQ, 6) << mark(9) << mark(1);
    b << indirect(M, kVa + 0x800, c.dwords()) << mark(2);
    a << indirect(M, kVa + 0x400, b.dwords(), true) << mark(3);
    std::memcpy(bus_.ram(kIb + 0x800), c.words().data(), c.dwords() * 4);
    std::memcpy(bus_.ram(kIb + 0x400), b.words().data(), b.dwords() * 4);
    std::memcpy(bus_.ram(kIb), a.words().data(), a.dwords() * 4);
    put_packet(0, indirect(S, kIb, a.dwords()));
    kick(0);
    ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_WAITING));
    migrate();
    set_word(kSem, 1);
    done(0);
    const auto* out = reinterpret_cast<uint32_t*>(bus_.vram());
    for (uint32_t i = 0; i < 4; i++) EXPECT_EQ(out[i], 0x1000 + i);
    EXPECT_EQ(out[9], 0u) << "skipped";
}

TEST_F(State, ABufferThatCannotBeRead) {
    Commands c;
    c << fill_packet(V, 0, 4, 5);
    std::memcpy(bus_.ram(kIb), c.words().data(), c.dwords() * 4);
    put_packet(0, indirect(M, kVa, c.dwords()));
    kick(0);
    move_at_stall(0, kVa, sys_pte(kIb));
    done(0);
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.vram()), 5u);
}

TEST_F(State, UnprivilegedStaysSo) {
    Commands c;
    tables_.set(root_, kVa, sys_pte(kSem));
    set_word(kSem, 0);
    c << sem_wait(M, kVa, 1) << fill_packet(V, 0, 4, 5);
    std::memcpy(bus_.ram(kIb), c.words().data(), c.dwords() * 4);
    put_packet(0, indirect(S, kIb, c.dwords(), true));
    kick(0);
    ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_WAITING));
    migrate();
    set_word(kSem, 1);
    done(0, VTTM_FAULT_PRIVILEGE);
}

TEST_F(State, HaltedAndFailed) {
    put(0, {0xdeadbeef});
    ring(0);
    ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_HALTED));
    // The other engine has failed, and the FENCE that tells of it is still to come.
    put_packet(1, stamp_packet(false, V, kVramSize, 1, {1, 0, 1, 1}));
    ring(1);
    ASSERT_TRUE(wait_idle(1));
    migrate();
    EXPECT_TRUE(eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_HALTED);
    EXPECT_EQ(run(1, stamp_packet(false, V, 0, 1, {1, 0, 1, 1})), VTTM_FAULT_VRAM_RANGE);
    EXPECT_EQ(run(1, stamp_packet(false, V, 0, 1, {1, 0, 1, 1})), 0u);
    reset_engine(0);
    EXPECT_EQ(run(0, fill_packet(V, 0, 4, 1)), 0u);
}

TEST_F(State, ARingThatWasLeftForAnother) {
    // Ring 0 waits in turns with ring 1 of the same engine, ring 2 of a higher priority waits too.
    const auto block = [](unsigned r, uint32_t off) { return VTTM_RING_BLOCK(0u, r) + off; };
    for (unsigned r = 1; r < 3; r++) {
        const uint64_t addr = 0x500000 + r * 0x10000;
        uint32_t words[11] = {};
        const auto wait = sem_wait(S, kSem + r * 8, r);
        const auto fence = vttm_pkt_fence{VTTM_PKT_HDR(VTTM_OP_FENCE, 0, 5),
                                          uint32_t(kFenceAddr + r * 64), 0, 70 + r, 0};
        std::memcpy(words, &wait, 24);
        std::memcpy(words + 6, &fence, 20);
        std::memcpy(bus_.ram(addr), words, sizeof(words));
        set_word(kSem + r * 8, 0);
        wr64(block(r, VTTM_ENG_RING_BASE_LO), addr);
        wr(block(r, VTTM_ENG_RING_SIZE), VTTM_RING_MIN_SIZE);
        wr(block(r, VTTM_ENG_PRIORITY), r == 2 ? 3 : 0);
        wr(block(r, VTTM_ENG_CTRL), VTTM_ENG_CTRL_ENABLE);
        wr(block(r, VTTM_ENG_TAIL), sizeof(words));
        ASSERT_TRUE(
            wait_for([&] { return rd(block(r, VTTM_ENG_STATUS)) & VTTM_ENG_STATUS_WAITING; }));
    }
    set_word(kSem, 0);
    put_packet(0, sem_wait(S, kSem, 1));
    kick(0);
    ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_WAITING));
    migrate();
    for (unsigned r = 1; r < 3; r++) {
        set_word(kSem + r * 8, r);
        ASSERT_TRUE(wait_for([&] { return rd64(block(r, VTTM_ENG_LAST_FENCE_LO)) == 70 + r; }))
            << r;
    }
    set_word(kSem, 1);
    done(0);
}

TEST_F(State, GivenUpUnderAPacket) {
    // A packet that began when the guest still had what it names: it goes on, and then meets the
    // limit.
    set_word(kSem, 0);
    put_packet(0, fill_packet(V, 0, kVramSize, 3));
    kick(0);
    while (!bytes(0)) std::this_thread::yield();
    pause();
    const bool midway = bytes(0) < kVramSize;  // the FENCE behind it may be all that is left
    ASSERT_EQ(vttm_model_set_vram_target(model_.get(), 0), 0);
    wr64(VTTM_REG_VRAM_LIMIT_LO, 0);
    migrate();
    done(0, midway ? VTTM_FAULT_VRAM_RANGE : 0);
}

// A translation that the driver should have dropped cannot be used any more; one that was used
// stays on record. Nothing is made up either.
TEST_F(State, StaleTranslations) {
    map(kVa, kFree, 1);
    ASSERT_EQ(run(0, fill_packet(M, kVa, 4, 1)), 0u);
    tables_.set(root_, kVa, sys_pte(kFree + kPage));
    ASSERT_EQ(run(0, fill_packet(M, kVa, 4, 2)), 0u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 1u);
    migrate();
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 1u);
    ASSERT_EQ(run(0, fill_packet(M, kVa, 4, 3)), 0u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 1u);
    EXPECT_EQ(uint32_t(word(kFree)), 2u);
    EXPECT_EQ(uint32_t(word(kFree + kPage)), 3u) << "by the tables";
    // The detector is as it was.
    tables_.set(root_, kVa, sys_pte(kFree));
    ASSERT_EQ(run(0, fill_packet(M, kVa, 4, 4)), 0u);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 2u);
    EXPECT_EQ(uint32_t(word(kFree + kPage)), 4u);
}

TEST_F(State, InvalidationsGoOnCounting) {
    for (int i = 0; i < 5; i++) invalidate(VTTM_TLB_INV_ALL);
    migrate();
    EXPECT_EQ(rd(VTTM_REG_TLB_INV_DONE), 5u);
    invalidate(VTTM_TLB_INV_VM, kVm);
}

}  // namespace
}  // namespace vttm::model::test
