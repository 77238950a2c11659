// SPDX-License-Identifier: Apache-2.0
// INDIRECT: where buffers may lie, nesting, privilege, and that no error in one outlives its job.
#include "protocol/vttm_fault.h"
#include "tests/unit/model/fault_machine.h"

namespace vttm::model::test {
namespace {

constexpr auto V = VTTM_SPACE_VRAM;
constexpr auto S = VTTM_SPACE_SYSTEM;
constexpr auto M = VTTM_SPACE_VM;
constexpr uint64_t kVa = 0x10000000;
constexpr uint64_t kIb = 0x10000;       // in RAM: buffers of tests
constexpr uint64_t kRecords = 0x80000;  // fault ring
constexpr uint64_t kOut = 0x100000;     // in VRAM

class Indirect : public FaultMachine {
protected:
    Indirect() {
        wr64(VTTM_REG_FAULT_RING_BASE_LO, kRecords);
        wr(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
        wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
        for (uint64_t i = 0; i < 16; i++) {
            tables_.set(root_, kVa + i * kPage, sys_pte(kIb + i * kPage));            // buffers
            tables_.set(root_, kVa + 0x100000 + i * kPage, vram_pte(kOut + i * kPage));  // data
        }
    }
    void store(uint64_t addr, const Commands& c) {
        std::memcpy(bus_.ram(addr), c.words().data(), c.dwords() * 4);
    }
    // Puts @c at @addr of RAM and runs it on engine @e.
    uint32_t run_ib(const Commands& c, bool unprivileged = false, unsigned e = 0,
                    uint64_t addr = kIb) {
        store(addr, c);
        return run(e, indirect(S, addr, c.dwords(), unprivileged));
    }
    uint32_t out(uint64_t i = 0) { return *reinterpret_cast<uint32_t*>(bus_.vram(kOut + i * 4)); }
    static vttm_pkt_fill mark(uint64_t i, uint32_t value) {
        return fill_packet(M, kVa + 0x100000 + i * 4, 4, value);
    }
    static vttm_pkt_set_vm set_vm(uint32_t vm) { return {VTTM_PKT_HDR(VTTM_OP_SET_VM, 0, 2), vm}; }
    static vttm_pkt_fence fence(uint64_t addr, uint64_t seq) {
        return {VTTM_PKT_HDR(VTTM_OP_FENCE, 0, 5), lo(addr), hi(addr), lo(seq), hi(seq)};
    }
    static uint32_t nop(uint32_t n = 1) { return VTTM_PKT_HDR(VTTM_OP_NOP, 0, n); }
    vttm_fault_record last_record() {
        const uint32_t put = rd(VTTM_REG_FAULT_RING_PUT);
        wr(VTTM_REG_FAULT_RING_GET, put);
        vttm_fault_record r;
        std::memcpy(&r, bus_.ram(kRecords + (put - 1) % 64 * sizeof(r)), sizeof(r));
        return r;
    }
    // @c fails with @reason at its packet that is @at bytes in; nothing behind that runs, neither
    // there nor in the ring, and the engine goes on.
    void expect_error(const Commands& c, uint32_t at, vttm_fault_reason reason,
                      bool unprivileged = false, unsigned e = 0) {
        const uint32_t count = rd(VTTM_REG_FAULT_COUNT);
        clear_fault();
        store(kIb, c);
        const uint32_t pos = tail_[e];
        put_packet(e, indirect(S, kIb, c.dwords(), unprivileged));
        put_packet(e, sem_signal(V, kOut + 0x8000, 1));
        *reinterpret_cast<uint64_t*>(bus_.vram(kOut + 0x8000)) = 0;
        ASSERT_EQ(finish(e), reason);
        EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), count + 1);
        EXPECT_EQ(fault_reason(), reason);
        EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), kIb + at);
        EXPECT_EQ(*reinterpret_cast<uint64_t*>(bus_.vram(kOut + 0x8000)), 0u) << "skipped";
        const vttm_fault_record r = last_record();
        EXPECT_EQ(r.packet_pos, pos) << "of the INDIRECT";
        EXPECT_EQ(VTTM_FAULT_IB_DEPTH(r.ib), 1u);
        EXPECT_EQ(VTTM_FAULT_IB_SPACE(r.ib), S);
        EXPECT_EQ(!!(r.ib & VTTM_FAULT_IB_UNPRIVILEGED), unprivileged);
        EXPECT_EQ(r.ib_addr, kIb + at);
        EXPECT_EQ(r.packet_hdr, c.words()[at / 4]);
        // The fence comes before the engine is at rest.
        EXPECT_TRUE(wait_for([&] { return eng(e, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_IDLE; }))
            << "HALTED, or not IDLE";
        EXPECT_EQ(run(e, sem_signal(V, kOut + 0x8000, 2)), 0u);
    }
};

TEST_F(Indirect, RunsFromEverySpace) {
    Commands c;
    for (uint32_t i = 0; i < 900; i++) c << mark(i, i + 1);  // 5400 dwords, 6 pages: none fits
    for (uint64_t i = 0; i < 8; i++)                         // every page lies elsewhere
        tables_.set(root_, kVa + i * kPage, sys_pte(kIb + (7 - i) * 2 * kPage));
    const auto* bytes = reinterpret_cast<const uint8_t*>(c.words().data());
    for (uint64_t i = 0; i < c.dwords() * 4; i++) {
        const uint64_t at = i + 20;
        bus_.ram(kIb + (7 - at / kPage) * 2 * kPage)[at % kPage] = bytes[i];
    }
    std::memcpy(bus_.ram(kFree + 12), bytes, c.dwords() * 4);
    std::memcpy(bus_.vram(0x200000 + 4), bytes, c.dwords() * 4);
    const std::pair<uint32_t, uint64_t> places[] = {{M, kVa + 20}, {S, kFree + 12},
                                                    {V, 0x200000 + 4}};
    for (auto [space, addr] : places) {
        std::memset(bus_.vram(kOut), 0, 4096);
        const uint32_t before = eng(0, VTTM_ENG_PACKETS);
        ASSERT_EQ(run(0, indirect(space, addr, c.dwords())), 0u) << space;
        for (uint32_t i = 0; i < 900; i++) ASSERT_EQ(out(i), i + 1) << space;
        EXPECT_EQ(eng(0, VTTM_ENG_PACKETS) - before, 902u) << "with INDIRECT and FENCE";
    }
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 0u);
}

TEST_F(Indirect, ShortMappings) {
    bus_.limit_mappings(16);
    Commands c;
    for (uint32_t i = 0; i < 50; i++) c << sem_signal(V, kOut, 1, true) << nop(3) << 1u << 2u;
    EXPECT_EQ(run_ib(c), 0u);
    EXPECT_EQ(out(), 50u);
}

TEST_F(Indirect, TheLongestOne) {
    auto* w = reinterpret_cast<uint32_t*>(bus_.ram(kFree));
    for (uint32_t i = 0; i < VTTM_IB_MAX_DWORDS; i += VTTM_PKT_MAX_DWORDS)
        w[i] = nop(VTTM_PKT_MAX_DWORDS);
    const uint32_t before = eng(1, VTTM_ENG_PACKETS);
    EXPECT_EQ(run(1, indirect(S, kFree, VTTM_IB_MAX_DWORDS)), 0u);
    EXPECT_EQ(eng(1, VTTM_ENG_PACKETS) - before, VTTM_IB_MAX_DWORDS / VTTM_PKT_MAX_DWORDS + 2);
}

// Four deep, each goes on behind its INDIRECT; the last packet of a buffer may be one, too.
TEST_F(Indirect, NestsAndReturns) {
    Commands c[4];
    c[3] << mark(3, 30) << sem_signal(V, kOut + 0x800, 1, true);
    for (int d = 2; d >= 0; d--) {
        const auto inner = indirect(S, kIb + (d + 1) * kPage, c[d + 1].dwords());
        c[d] << mark(d, d * 10) << inner << mark(d + 4, d + 1) << inner;
    }
    for (int d = 0; d < 4; d++) store(kIb + d * kPage, c[d]);
    ASSERT_EQ(run(0, indirect(S, kIb, c[0].dwords())), 0u);
    for (uint32_t d = 0; d < 3; d++) {
        EXPECT_EQ(out(d), d * 10);
        EXPECT_EQ(out(d + 4), d + 1);
    }
    EXPECT_EQ(out(0x200), 8u) << "2 * 2 * 2 times";
}

TEST_F(Indirect, TooDeepIsAnError) {
    Commands c;  // runs itself
    c << mark(0, 1) << indirect(S, kIb, 10) << mark(1, 1);
    EXPECT_EQ(run_ib(c), VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 1u);
    EXPECT_EQ(VTTM_FAULT_IB_DEPTH(last_record().ib), VTTM_IB_MAX_DEPTH);
    EXPECT_EQ(out(0), 1u);
    EXPECT_EQ(out(1), 0u) << "all levels ended";
    EXPECT_EQ(run(0, mark(1, 5)), 0u);
    EXPECT_EQ(out(1), 5u);
}

TEST_F(Indirect, BadOperands) {
    const auto bad = VTTM_FAULT_BAD_PACKET;
    Commands c;
    c << nop();
    store(kIb, c);
    expect_fault(0, indirect(S, kIb, 0), bad);
    expect_fault(0, indirect(S, kIb, VTTM_IB_MAX_DWORDS + 1), bad);
    expect_fault(0, indirect(S, kIb, ~0u), bad);
    expect_fault(0, indirect(S, kIb + 2, 1), bad);
    expect_fault(0, indirect(3, kIb, 1), bad);
    for (uint32_t flag : {1u << 2, 1u << 5, 1u << 7}) {
        auto odd = indirect(S, kIb, 1);
        odd.hdr |= VTTM_PKT_HDR(0, flag, 0);
        expect_fault(0, odd, bad);
    }
    expect_fault(0, indirect(V, kVramSize - 4, 2), VTTM_FAULT_VRAM_RANGE, kVramSize - 4);
    expect_fault(0, indirect(M, (1ull << 48) - 4, 2), VTTM_FAULT_VA_RANGE, (1ull << 48) - 4);
    expect_fault(0, indirect(S, ~0ull - 3, 2), VTTM_FAULT_BUS, ~0ull - 3);
    expect_fault(0, indirect(S, kRamSize, 1), VTTM_FAULT_BUS, kRamSize);
    expect_fault(0, indirect(M, kVa + 0x800000, 1), VTTM_FAULT_NOT_VALID, kVa + 0x800000);
    EXPECT_EQ(run(0, indirect(S, kIb, 1)), 0u);
}

// What a kernel refuses in a buffer of user space, the device refuses for it.
TEST_F(Indirect, UnprivilegedPackets) {
    const auto no = VTTM_FAULT_PRIVILEGE;
    auto refused = [&](unsigned e, auto packet) {
        Commands c;
        c << nop() << packet << sem_signal(M, kVa + 0x100000 + 0x900, 1);
        *reinterpret_cast<uint64_t*>(bus_.vram(kOut + 0x900)) = 0;
        expect_error(c, 4, no, true, e);
        EXPECT_EQ(out(0x240), 0u) << "the rest of the buffer";
        EXPECT_EQ(VTTM_FAULT_INFO_VM(rd(VTTM_REG_FAULT_INFO)), kVm);
    };
    const uint64_t va = kVa + 0x100000;
    refused(0, set_vm(kVm));
    refused(1, fence(kFenceAddr, 1));
    auto odd = set_vm(kVm);
    odd.hdr |= VTTM_PKT_HDR(0, 0x80u, 0);
    refused(0, odd);
    for (uint32_t space : {V, S, 3u}) {
        refused(0, fill_packet(space, 0x400000, 4, 1));
        refused(0, copy_packet(space, 0x400000, M, va, 4));
        refused(0, copy_packet(M, va, space, 0x400000, 4));
        refused(0, copy_2d({space, 0x400000, 4}, {M, va, 4}, 4, 1));
        refused(0, copy_2d({M, va, 4}, {space, 0x400000, 4}, 4, 1));
        refused(0, fill_2d({space, 0x400000, 4}, 4, 1, 1));
        for (bool scatter : {true, false}) {
            refused(0, sg(scatter, space, 0x400000, M, M, va, 1));
            refused(0, sg(scatter, M, va, space, M, va, 1));
            refused(0, sg(scatter, M, va, M, space, 0x400000, 1));
        }
        refused(0, timestamp(space, 0x400000));
        refused(0, sem_signal(space, 0x400000, 1));
        refused(1, sem_wait(space, 0x400000, 0));
        refused(1, cond_skip(space, 0x400000, 0, VTTM_CMP_GE, 0));
        refused(0, indirect(space, kIb, 1));
        refused(1, stamp_packet(false, space, 0x400000, 1, {1, 0, 1, 1}));
        refused(1, stamp_packet(true, M, va, 1, {1, 0, 1, 1}, space, 0x400000));
        refused(1, hash(space, 0x400000, 1, 0, M, va));
        refused(1, hash(M, va, 1, 0, space, 0x400000));
    }
    // And the same by virtual addresses runs.
    Commands c, d;
    *reinterpret_cast<vttm_sg_entry*>(bus_.vram(kOut + 0x200)) = {va + 0x300, 4, 0};
    c << nop() << fill_packet(M, va, 8, 1) << copy_packet(M, va + 16, M, va, 4)
      << copy_2d({M, va + 32, 4}, {M, va, 4}, 4, 2) << fill_2d({M, va + 64, 4}, 4, 1, 1)
      << sg(true, M, va, M, M, va + 0x200, 1) << timestamp(M, va + 128)
      << sem_signal(M, va + 136, 3) << sem_wait(M, va + 136, 3)
      << cond_skip(M, va, 0, VTTM_CMP_GE, 0);
    EXPECT_EQ(run_ib(c, true), 0u);
    d << hash(M, va, 8, 0, M, va + 144) << stamp_packet(false, M, va + kPage, 1, {1, 0, 1, 1});
    EXPECT_EQ(run_ib(d, true, 1), 0u);
    EXPECT_EQ(out(4), 1u);
}

TEST_F(Indirect, PrivilegeIsNotRegained) {
    Commands inner, outer;
    inner << fill_packet(V, kOut, 4, 1);
    store(kIb + kPage, inner);
    outer << indirect(M, kVa + kPage, inner.dwords(), false);
    EXPECT_EQ(run_ib(outer, true), VTTM_FAULT_PRIVILEGE);
    EXPECT_EQ(VTTM_FAULT_IB_DEPTH(last_record().ib), 2u);
    EXPECT_TRUE(last_record().ib & VTTM_FAULT_IB_UNPRIVILEGED);
    EXPECT_EQ(out(), 0u);
    // An unprivileged one within a privileged one does not take that one's rights away.
    Commands user, kernel;
    user << mark(1, 1);
    store(kIb + kPage, user);
    kernel << indirect(S, kIb + kPage, user.dwords(), true) << fill_packet(V, kOut, 4, 2);
    EXPECT_EQ(run_ib(kernel), 0u);
    EXPECT_EQ(out(0), 2u);
    EXPECT_EQ(out(1), 1u);
}

TEST_F(Indirect, PrivilegedOnesHoldEverything) {
    make_vm(6);
    Commands c;
    c << fence(kFenceAddr + 0x40, 41) << set_vm(6) << mark(0, 1);
    EXPECT_EQ(run_ib(c), VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(VTTM_FAULT_INFO_VM(rd(VTTM_REG_FAULT_INFO)), 6u);
    EXPECT_EQ(reinterpret_cast<vttm_fence_value*>(bus_.ram(kFenceAddr + 0x40))->seq, 41u);
    // SET_VM stays after the return; a buffer is fetched in the VM that it was entered in.
    put_set_vm(0, kVm);
    Commands d;
    d << set_vm(6) << nop() << set_vm(kVm) << mark(0, 7) << set_vm(6);
    store(kIb, d);
    EXPECT_EQ(run(0, indirect(M, kVa, d.dwords())), 0u);
    EXPECT_EQ(out(), 7u);
    EXPECT_EQ(run(0, mark(0, 1)), VTTM_FAULT_NOT_VALID) << "VM 6";
}

TEST_F(Indirect, ErrorsEndTheBuffer) {
    for (bool unprivileged : {false, true}) {
        Commands operands, opcode, other_class, length, beyond, cut;
        auto bad = mark(1, 1);
        bad.len_lo = 0;
        operands << mark(0, 1) << bad << mark(2, 1);
        expect_error(operands, 24, VTTM_FAULT_BAD_PACKET, unprivileged);
        opcode << mark(0, 1) << VTTM_PKT_HDR(0x7f, 0, 1) << mark(2, 1);
        expect_error(opcode, 24, VTTM_FAULT_BAD_FRAMING, unprivileged);
        other_class << hash(M, kVa, 4, 0, M, kVa);
        expect_error(other_class, 0, VTTM_FAULT_BAD_FRAMING, unprivileged);
        length << nop() << VTTM_PKT_HDR(VTTM_OP_FILL, 0, 7) << mark(2, 1) << mark(2, 1);
        expect_error(length, 4, VTTM_FAULT_BAD_FRAMING, unprivileged);
        beyond << nop() << nop(3) << 0u;
        expect_error(beyond, 4, VTTM_FAULT_BAD_FRAMING, unprivileged);
        cut << 0u;  // no length
        expect_error(cut, 0, VTTM_FAULT_BAD_FRAMING, unprivileged);
    }
    EXPECT_EQ(out(0), 1u);
    EXPECT_EQ(out(2), 0u);
}

TEST_F(Indirect, AFaultWhileFetching) {
    Commands c;
    for (int i = 0; i < 300; i++) c << mark(0, i);
    store(kIb, c);  // more than a page
    tables_.set(root_, kVa + kPage, 0);
    EXPECT_EQ(run(0, indirect(M, kVa, c.dwords())), VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), kVa + kPage);
    EXPECT_FALSE(rd(VTTM_REG_FAULT_INFO) & VTTM_FAULT_INFO_WRITE);
    EXPECT_EQ(out(), kPage / 24 - 1) << "the packet across the border did not run";
    EXPECT_EQ(last_record().ib_addr, kVa + kPage / 24 * 24);
    clear_fault();
    bus_.add_hole(kIb + kPage, kPage);
    EXPECT_EQ(run(0, indirect(S, kIb, c.dwords())), VTTM_FAULT_BUS);
    EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), kIb + kPage);
    EXPECT_TRUE(wait_for([&] { return eng(0, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_IDLE; }));  // a moment after the fence
    bus_.clear_holes();
    EXPECT_EQ(run(0, indirect(S, kIb, c.dwords())), 0u);
    EXPECT_EQ(out(), 299u);
}

TEST_F(Indirect, StallsWhileFetching) {
    wr(VTTM_REG_VM_MODE(kVm), VTTM_VM_MODE_RETRY);
    Commands c;
    for (int i = 0; i < 300; i++) c << sem_signal(M, kVa + 0x100000, 1, true) << nop();
    store(kIb, c);
    for (uint64_t i = 0; i < 2; i++) tables_.set(root_, kVa + i * kPage, 0);
    put_packet(0, indirect(M, kVa, c.dwords(), true));
    put_fence(0, 9);
    ring(0);
    cure_stalls(0, {{kVa, sys_pte(kIb)}, {kVa + kPage, sys_pte(kIb + kPage)}}, 9);
    EXPECT_EQ(fence_status(), 0u);
    EXPECT_EQ(out(), 300u) << "each packet ran once";
    // The other answer.
    tables_.set(root_, kVa + kPage, 0);
    invalidate(VTTM_TLB_INV_ALL);
    const uint32_t count = rd(VTTM_REG_FAULT_COUNT);
    put_packet(0, indirect(M, kVa, c.dwords(), true));
    put_packet(0, mark(0, 0));
    put_fence(0, 10);
    ring(0);
    ASSERT_TRUE(wait_for([&] { return eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED; }));
    EXPECT_FALSE(eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_IDLE);
    eng_wr(0, VTTM_ENG_ANSWER,
           VTTM_ENG_ANSWER_VAL(eng(0, VTTM_ENG_STALL), VTTM_ENG_ANSWER_FAIL));
    ASSERT_TRUE(
        wait_for([&] { return rd64(VTTM_ENGINE_BASE(0) + VTTM_ENG_LAST_FENCE_LO) == 10; }));
    EXPECT_EQ(fence_status(), uint32_t{VTTM_FAULT_NOT_VALID});
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), count + 1);
    EXPECT_NE(out(), 0u);
}

// Changing a packet after it was fetched changes nothing, and each dword is read once.
TEST_F(Indirect, PacketsAreCopiedOnce) {
    Commands c;
    c << fill_packet(S, kFree, 8, 0x11111111) << fill_packet(S, kFree + kPage, 8, 0x22222222);
    store(kIb, c);
    std::map<uint64_t, int> reads;
    std::atomic<bool> planted{false};
    bus_.on_map([&](uint64_t addr, bool) {
        if (addr >= kIb && addr < kIb + kPage) reads[addr]++;
        if (addr == kFree && !planted.exchange(true)) {
            Commands evil;
            evil << fill_packet(S, kFenceAddr, 1 << 20, 0);
            store(kIb, evil);
        }
    });
    EXPECT_EQ(run(0, indirect(S, kIb, c.dwords())), 0u);
    bus_.on_map(nullptr);
    EXPECT_TRUE(planted);
    EXPECT_EQ(reads, (std::map<uint64_t, int>{{kIb, 1}, {kIb + 4, 1}, {kIb + 24, 1},
                                              {kIb + 28, 1}}));
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.ram(kFree + 4)), 0x11111111u);
    EXPECT_EQ(*reinterpret_cast<uint32_t*>(bus_.ram(kFree + kPage)), 0x22222222u);
}

TEST_F(Indirect, SkipsStayWithinTheBuffer) {
    Commands c;
    c << cond_skip(M, kVa, 0, VTTM_CMP_GE, 6) << mark(0, 1) << mark(1, 1)
      << cond_skip(M, kVa, 0, VTTM_CMP_GE, 2) << 0xffffffffu << 0xffffffffu;
    EXPECT_EQ(run_ib(c, true), 0u) << "to the very end";
    EXPECT_EQ(out(0), 0u);
    EXPECT_EQ(out(1), 1u);
    Commands d;
    d << cond_skip(M, kVa, 0, VTTM_CMP_GE, 1);
    put_packet(0, indirect(S, kIb, 9));  // behind it in the ring there is enough to skip
    store(kIb, d);
    EXPECT_EQ(finish(0), VTTM_FAULT_BAD_PACKET);
}

TEST_F(Indirect, AfterAnErrorNoneIsEntered) {
    put_packet(0, fill_packet(V, 2, 4, 0));
    Commands c;
    c << fence(kFenceAddr + 0x40, 5) << mark(0, 1);
    EXPECT_EQ(run_ib(c), VTTM_FAULT_BAD_PACKET);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 1u);
    EXPECT_EQ(out(), 0u);
}

TEST_F(Indirect, DisableStopsAndResetLeaves) {
    Commands c;
    c << sem_wait(S, kResultAddr, 1) << nop() << mark(0, 1) << sem_signal(S, kResultAddr + 8, 1)
      << sem_wait(S, kResultAddr, 2);
    store(kIb, c);
    auto* word = reinterpret_cast<uint64_t*>(bus_.ram(kResultAddr));
    word[0] = word[1] = 0;
    put_packet(0, indirect(S, kIb, c.dwords()));
    put_fence(0, 3);
    ring(0);
    auto waits = [&] { return eng(0, VTTM_ENG_STATUS) == VTTM_ENG_STATUS_WAITING; };
    ASSERT_TRUE(wait_for(waits));
    eng_wr(0, VTTM_ENG_CTRL, 0);
    __atomic_store_n(word, 1, __ATOMIC_RELEASE);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_EQ(out(), 0u);
    EXPECT_EQ(eng(0, VTTM_ENG_STATUS), 0u);
    eng_wr(0, VTTM_ENG_CTRL, VTTM_ENG_CTRL_ENABLE);
    ASSERT_TRUE(wait_for([&] { return __atomic_load_n(word + 1, __ATOMIC_ACQUIRE) == 1; }));
    EXPECT_EQ(out(), 1u);
    ASSERT_TRUE(wait_for(waits));
    reset_engine(0);
    EXPECT_EQ(eng(0, VTTM_ENG_STATUS), VTTM_ENG_STATUS_IDLE);
    put_set_vm(0, kVm);
    EXPECT_EQ(run(0, mark(0, 9)), 0u);
    EXPECT_EQ(out(), 9u) << "the ring, not the rest of the buffer";
}

}  // namespace
}  // namespace vttm::model::test
