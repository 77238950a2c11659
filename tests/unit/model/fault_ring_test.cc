// SPDX-License-Identifier: Apache-2.0
// The fault ring: what a record says, order, overflow, taking it down, and hostile set-ups.
#include "protocol/vttm_fault.h"
#include "tests/unit/model/mmu_machine.h"

namespace vttm::model::test {
namespace {

constexpr uint64_t kFaultRing = 0x10000;
constexpr uint32_t kRecords = VTTM_FAULT_RING_MIN_SIZE / VTTM_FAULT_RECORD_SIZE;

class FaultRingTest : public MmuTest {
protected:
    FaultRingTest() {
        put_set_vm(1, 1);
        EXPECT_EQ(finish(1), 0u);
    }

    void on(uint64_t base = kFaultRing, uint32_t size = VTTM_FAULT_RING_MIN_SIZE) {
        wr64(VTTM_REG_FAULT_RING_BASE_LO, base);
        wr(VTTM_REG_FAULT_RING_SIZE, size);
        wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    }
    void off() { wr(VTTM_REG_FAULT_RING_CTRL, 0); }
    uint32_t ctrl() { return rd(VTTM_REG_FAULT_RING_CTRL); }
    uint32_t put_count() { return rd(VTTM_REG_FAULT_RING_PUT); }
    uint32_t lost() { return rd(VTTM_REG_FAULT_RING_LOST); }
    vttm_fault_record record(uint32_t n, uint32_t records = kRecords) {
        vttm_fault_record r;
        std::memcpy(&r, bus_.ram(kFaultRing + n % records * sizeof(r)), sizeof(r));
        return r;
    }
    uint32_t bad_access() { return rd(VTTM_REG_BAD_ACCESS); }
    // A fault at @va; nothing is mapped there.
    void fault(uint64_t va) { EXPECT_EQ(fill(va, 1), VTTM_FAULT_NOT_VALID); }
};

TEST_F(FaultRingTest, ARecordSaysWhatTheRegistersSayAndMore) {
    on();
    EXPECT_EQ(ctrl(), VTTM_FAULT_RING_CTRL_ENABLE);
    const uint64_t t0 = rd64(VTTM_REG_TIMESTAMP_LO);
    const uint32_t at = tail_[0];
    const uint64_t job = rd64(VTTM_ENGINE_BASE(0) + VTTM_ENG_LAST_FENCE_LO);
    const auto packet = fill_packet(VTTM_SPACE_VM, kVa + 12, 4, 1);
    EXPECT_EQ(run(0, packet), VTTM_FAULT_NOT_VALID);
    const uint64_t t1 = rd64(VTTM_REG_TIMESTAMP_LO);
    ASSERT_EQ(put_count(), 1u);
    const auto r = record(0);
    EXPECT_EQ(r.number, 0u);
    EXPECT_EQ(r.info, rd(VTTM_REG_FAULT_INFO));
    EXPECT_EQ(VTTM_FAULT_INFO_REASON(r.info), VTTM_FAULT_NOT_VALID);
    EXPECT_EQ(VTTM_FAULT_INFO_VM(r.info), 1u);
    EXPECT_TRUE(r.info & VTTM_FAULT_INFO_WRITE);
    EXPECT_EQ(r.addr, kVa + 12);
    EXPECT_GE(r.time_ns, t0);
    EXPECT_LE(r.time_ns, t1);
    EXPECT_EQ(r.last_fence, job);
    EXPECT_EQ(r.packet_pos, at);
    EXPECT_EQ(r.packet_hdr, packet.hdr);
    EXPECT_EQ(r.stall, 0u);
    EXPECT_EQ(r.ib, 0u);
    EXPECT_EQ(r.ib_addr, 0u);
    EXPECT_EQ(r.rsvd, 0u);

    // The registers keep the first fault, the ring has the next ones, too.
    EXPECT_EQ(read_page(kVa + 5 * kPage), VTTM_FAULT_NOT_VALID);
    const vttm_stamp_id id{9, 0, 1, 1};
    EXPECT_EQ(run(1, stamp_packet(true, VTTM_SPACE_VM, kVa, 1, id)), VTTM_FAULT_NOT_VALID);
    ASSERT_EQ(put_count(), 3u);
    EXPECT_EQ(rd64(VTTM_REG_FAULT_ADDR_LO), kVa + 12);
    EXPECT_EQ(record(1).addr, kVa + 5 * kPage);
    EXPECT_FALSE(record(1).info & VTTM_FAULT_INFO_WRITE);
    EXPECT_EQ(VTTM_FAULT_INFO_ENGINE(record(2).info), 1u);
    EXPECT_EQ(record(2).number, 2u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 3u);
    EXPECT_EQ(bad_access(), 0u);
}

TEST_F(FaultRingTest, HaltsAreRecordedToo) {
    on();
    const uint32_t at = tail_[0];
    put(0, {0x77000001});
    ring(0);
    ASSERT_TRUE(wait_for([&] { return put_count() == 1; }));
    EXPECT_EQ(VTTM_FAULT_INFO_REASON(record(0).info), VTTM_FAULT_BAD_FRAMING);
    EXPECT_EQ(record(0).packet_pos, at);
    EXPECT_EQ(record(0).packet_hdr, 0x77000001u);
    reset_engine(0);
    bus_.add_hole(kRingAddr[0], kPage);
    put(0, {VTTM_PKT_HDR(VTTM_OP_NOP, 0, 1)});
    ring(0);
    ASSERT_TRUE(wait_for([&] { return put_count() == 2; }));
    EXPECT_EQ(VTTM_FAULT_INFO_REASON(record(1).info), VTTM_FAULT_BUS);
    EXPECT_EQ(record(1).packet_hdr, 0u) << "it could not be read";
}

TEST_F(FaultRingTest, AFullRingLosesRecordsAndNothingElse) {
    on();
    for (uint32_t i = 0; i < kRecords + 5; i++) fault(kVa + i * kPage);
    EXPECT_EQ(put_count(), kRecords);
    EXPECT_EQ(lost(), 5u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), kRecords + 5);
    EXPECT_EQ(bus_.irq_count(VTTM_MSIX_ERROR), 0u) << "not enabled";
    EXPECT_EQ(record(kRecords - 1).addr, kVa + (kRecords - 1) * kPage);
    EXPECT_EQ(record(0).addr, kVa) << "nothing was overwritten";

    wr(VTTM_REG_FAULT_RING_GET, 2);
    for (uint32_t i = 0; i < 3; i++) fault(kVa + (1000 + i) * kPage);
    EXPECT_EQ(put_count(), kRecords + 2);
    EXPECT_EQ(lost(), 6u);
    EXPECT_EQ(record(0).addr, kVa + 1000 * kPage);
    EXPECT_EQ(record(0).number, kRecords);
    EXPECT_EQ(record(1).addr, kVa + 1001 * kPage);
    EXPECT_EQ(record(2).addr, kVa + 2 * kPage);
    EXPECT_EQ(*bus_.ram(kFaultRing + VTTM_FAULT_RING_MIN_SIZE), 0) << "not beyond its end";
}

TEST_F(FaultRingTest, EverySizeWraps) {
    for (uint32_t size = VTTM_FAULT_RING_MIN_SIZE; size <= VTTM_FAULT_RING_MAX_SIZE; size *= 2) {
        off();
        on(kFaultRing, size);
        const uint32_t n = size / VTTM_FAULT_RECORD_SIZE;
        for (uint32_t i = 0; i < n + 3; i++) {
            fault(kVa + i * kPage);
            ASSERT_EQ(put_count(), i + 1);
            ASSERT_EQ(record(i, n).addr, kVa + i * kPage);
            ASSERT_EQ(record(i, n).number, i);
            wr(VTTM_REG_FAULT_RING_GET, i + 1);
        }
        EXPECT_EQ(lost(), 0u);
    }
    EXPECT_EQ(bad_access(), 0u);
}

TEST_F(FaultRingTest, TheInterruptAndTheFenceComeBehindTheRecord) {
    on();
    wr(VTTM_REG_IRQ_ENABLE, VTTM_IRQ_ERROR);
    std::atomic<uint32_t> at_irq{0}, at_fence{0};
    bus_.on_irq([&](unsigned) { at_irq = put_count(); });
    bus_.on_map([&](uint64_t addr, bool write) {
        if (write && addr == kFenceAddr) at_fence = put_count();
    });
    fault(kVa);
    ASSERT_TRUE(bus_.wait_irq(VTTM_MSIX_ERROR, 1));
    EXPECT_TRUE(wait_for([&] { return at_irq == 1; }));
    EXPECT_EQ(at_fence, 1u);
    bus_.on_irq(nullptr);
    bus_.on_map(nullptr);
}

TEST_F(FaultRingTest, RegistersRefuseWhatIsWrong) {
    uint32_t bad = 0;
    auto refused = [&](uint32_t off, uint32_t v) {
        const uint32_t before = rd(off);
        wr(off, v);
        EXPECT_EQ(rd(off), before) << std::hex << off << " " << v;
        EXPECT_EQ(bad_access(), ++bad) << std::hex << off << " " << v;
    };
    refused(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);  // no size
    for (uint32_t v : {0u, 1u, 64u, 0x800u, 0x1001u, 0x3000u, 0x20000u, 0xffffffffu})
        refused(VTTM_REG_FAULT_RING_SIZE, v);
    wr64(VTTM_REG_FAULT_RING_BASE_LO, kFaultRing + 0x123);
    EXPECT_EQ(rd64(VTTM_REG_FAULT_RING_BASE_LO), kFaultRing);
    wr(VTTM_REG_FAULT_RING_SIZE, 0x2000);
    wr64(VTTM_REG_FAULT_RING_BASE_LO, ~0xfffull);  // wraps
    refused(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);

    on();
    refused(VTTM_REG_FAULT_RING_SIZE, 0x2000);
    refused(VTTM_REG_FAULT_RING_BASE_LO, 0x5000);
    refused(VTTM_REG_FAULT_RING_BASE_HI, 0x5000);
    refused(VTTM_REG_FAULT_RING_GET, 1);  // beyond PUT
    fault(kVa);
    fault(kVa);
    refused(VTTM_REG_FAULT_RING_GET, 3);
    refused(VTTM_REG_FAULT_RING_GET, 0x80000000);
    wr(VTTM_REG_FAULT_RING_GET, 1);
    refused(VTTM_REG_FAULT_RING_GET, 0);  // back
    wr(VTTM_REG_FAULT_RING_GET, 2);
    EXPECT_EQ(rd(VTTM_REG_FAULT_RING_GET), 2u);
    EXPECT_EQ(bad_access(), bad);
    // Enabling what is on changes nothing; enabling anew begins anew.
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    EXPECT_EQ(put_count(), 2u);
    off();
    EXPECT_EQ(ctrl(), 0u);
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    EXPECT_EQ(put_count(), 0u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_RING_GET), 0u);
}

TEST_F(FaultRingTest, ARingThatIsNotRamLosesRecords) {
    for (uint64_t base : {kRamSize, uint64_t{1} << 52, uint64_t{1} << 63}) {
        off();
        on(base);
        fault(kVa);
        EXPECT_EQ(put_count(), 0u);
        EXPECT_EQ(lost(), 1u);
    }
    // RAM that ends in the middle of the ring, and comes back.
    off();
    on();
    bus_.add_hole(kFaultRing + 64, 64);
    fault(kVa);
    fault(kVa);
    EXPECT_EQ(put_count(), 1u);
    EXPECT_EQ(lost(), 1u);
    bus_.clear_holes();
    fault(kVa + kPage);
    EXPECT_EQ(put_count(), 2u);
    EXPECT_EQ(record(1).addr, kVa + kPage);
    // Mapped in pieces too small for a record.
    bus_.limit_mappings(32);
    EXPECT_EQ(run(0, fill_packet(VTTM_SPACE_VRAM, kVramSize, 4, 1)), VTTM_FAULT_VRAM_RANGE);
    bus_.limit_mappings(0);
    EXPECT_EQ(put_count(), 2u);
    EXPECT_EQ(lost(), 2u);
}

// The ring lies on the engine's own ring: the device writes where it is told, and lives.
TEST_F(FaultRingTest, ARingOnTopOfAnother) {
    on(kRingAddr[1]);
    for (int i = 0; i < 200; i++) fault(kVa);
    EXPECT_EQ(put_count(), kRecords);
    off();
    reset_engine(1);
    EXPECT_EQ(finish(1), 0u);
}

TEST_F(FaultRingTest, TakingItDownWaitsForTheRecordUnderWay) {
    on();
    std::atomic<bool> inside{false}, go{false};
    bus_.on_map([&](uint64_t addr, bool write) {
        if (!write || addr != kFaultRing) return;
        inside = true;
        while (!go) std::this_thread::yield();
    });
    put_packet(0, fill_packet(VTTM_SPACE_VM, kVa, 4, 1));
    ring(0);
    ASSERT_TRUE(wait_for([&] { return inside.load(); }));
    // No register waits for it; the other engine works; its faults are recorded behind.
    EXPECT_EQ(ctrl(), VTTM_FAULT_RING_CTRL_ENABLE | VTTM_FAULT_RING_CTRL_BUSY);
    EXPECT_EQ(put_count(), 0u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_COUNT), 1u);
    off();
    EXPECT_EQ(ctrl(), VTTM_FAULT_RING_CTRL_BUSY);
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);  // too early
    wr64(VTTM_REG_FAULT_RING_BASE_LO, 0x20000);
    wr(VTTM_REG_FAULT_RING_SIZE, 0x2000);
    EXPECT_EQ(bad_access(), 3u);
    EXPECT_EQ(ctrl(), VTTM_FAULT_RING_CTRL_BUSY);
    go = true;
    EXPECT_TRUE(wait_for([&] { return ctrl() == 0; }));
    EXPECT_EQ(finish(0), VTTM_FAULT_NOT_VALID);
    bus_.on_map(nullptr);
    EXPECT_EQ(put_count(), 0u);
    fault(kVa);
    EXPECT_EQ(put_count(), 0u);
    EXPECT_EQ(lost(), 0u) << "a ring that is off loses nothing";
}

TEST_F(FaultRingTest, BothEnginesAtOnceLeaveNoGap) {
    constexpr uint32_t kEach = 300;
    on(kFaultRing, VTTM_FAULT_RING_MAX_SIZE);
    const vttm_stamp_id id{9, 0, 1, 1};
    for (uint32_t i = 0; i < kEach; i += 10) {
        for (uint32_t k = 0; k < 10; k++) {
            put_packet(0, fill_packet(VTTM_SPACE_VM, kVa + (i + k) * kPage, 4, 1));
            put_fence(0, 1, false, kFenceAddr + 64);
            put_packet(1, stamp_packet(false, VTTM_SPACE_VM, kVa + (i + k) * kPage, 1, id));
            put_fence(1, 1, false, kFenceAddr + 128);
        }
        ring(0);
        ring(1);
        ASSERT_TRUE(wait_idle(0) && wait_idle(1));
    }
    ASSERT_EQ(put_count(), 2 * kEach);
    uint64_t next[VTTM_NUM_ENGINES] = {};
    for (uint32_t i = 0; i < 2 * kEach; i++) {
        const auto r = record(i, VTTM_FAULT_RING_MAX_SIZE / VTTM_FAULT_RECORD_SIZE);
        ASSERT_EQ(r.number, i);
        ASSERT_EQ(r.addr, kVa + next[VTTM_FAULT_INFO_ENGINE(r.info)]++ * kPage);
    }
    EXPECT_EQ(next[0], kEach);
    EXPECT_EQ(next[1], kEach);
    EXPECT_EQ(lost(), 0u);
}

TEST_F(FaultRingTest, Resets) {
    on();
    fault(kVa);
    reset_engine(0);
    EXPECT_EQ(ctrl(), VTTM_FAULT_RING_CTRL_ENABLE) << "an engine's reset leaves it";
    EXPECT_EQ(put_count(), 1u);
    vttm_model_reset(model_.get());
    EXPECT_EQ(rd64(VTTM_REG_FAULT_RING_BASE_LO), 0u);
    for (uint32_t off : {VTTM_REG_FAULT_RING_SIZE, VTTM_REG_FAULT_RING_CTRL,
                         VTTM_REG_FAULT_RING_PUT, VTTM_REG_FAULT_RING_GET,
                         VTTM_REG_FAULT_RING_LOST})
        EXPECT_EQ(rd(off), 0u) << std::hex << off;
}

// Bits that mean nothing yet are refused, whatever stands beside them; BUSY is the device's.
TEST_F(FaultRingTest, UndefinedBitsAreRefused) {
    on();
    for (uint32_t bit = 2; bit < 32; bit++) {
        const uint32_t before = bad_access();
        wr(VTTM_REG_FAULT_RING_CTRL, 1u << bit);
        EXPECT_EQ(ctrl(), VTTM_FAULT_RING_CTRL_ENABLE) << "bit " << bit << ": it stays on";
        EXPECT_EQ(bad_access(), before + 1);
    }
    const uint32_t before = bad_access();
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_BUSY);
    EXPECT_EQ(ctrl(), 0u);
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE | VTTM_FAULT_RING_CTRL_BUSY);
    EXPECT_EQ(ctrl(), VTTM_FAULT_RING_CTRL_ENABLE);
    EXPECT_EQ(bad_access(), before);
    off();
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE | 1u << 31);
    EXPECT_EQ(ctrl(), 0u) << "it stays off";
}

}  // namespace
}  // namespace vttm::model::test
