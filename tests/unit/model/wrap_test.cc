// SPDX-License-Identifier: Apache-2.0
// Numbers that wrap: those of stalls after 2^24 - 1, those of fault records and invalidations after
// 2^32 - 1. No test can count that far, but a device that is loaded may be close to it.
#include <cstring>

#include "protocol/vttm_fault.h"
#include "tests/unit/model/state_fixture.h"

namespace vttm::model::test {
namespace {

class Wrap : public State {
protected:
    // What lies where (state.cc, engine_state.cc, ring_state.cc). Each test reads a number that it knows
    // there before it writes another one, so it notices when that is no longer so.
    static constexpr size_t kTag = 8, kHead = kTag + 4;
    static constexpr size_t kPut = 1 + 8 + 4, kGet = kPut + 4;      // of "fltring"
    static constexpr size_t kInvalidations = 15 * 8;                // of "engine"
    static constexpr size_t kFirstRing = kInvalidations + 8 + 1 + 4 * (VTTM_PRIORITY_MAX + 1);
    static constexpr size_t kStall = kFirstRing + kHead + 5 + 4;    // of "engine": that of ring 0

    // Where the content of the @nth section @tag of all begins.
    static size_t section(const StateBytes& bytes, const char* tag, unsigned nth = 0) {
        for (size_t at = kStateHeader; at + kHead < bytes.size();) {
            uint32_t len;
            std::memcpy(&len, &bytes[at + kTag], 4);
            if (!std::strncmp(reinterpret_cast<const char*>(&bytes[at]), tag, kTag) && !nth--)
                return at + kHead;
            at += kHead + len;
        }
        ADD_FAILURE() << "no section " << tag;
        return 0;
    }
    // @is there becomes @shall.
    template <typename T>
    static void change(StateBytes& bytes, size_t at, T is, T shall) {
        T there;
        std::memcpy(&there, &bytes[at], sizeof(T));
        ASSERT_EQ(there, is) << "the format has changed";
        std::memcpy(&bytes[at], &shall, sizeof(T));
    }
    void load(StateBytes& bytes) {
        seal_state(bytes);
        ASSERT_EQ(restore(bytes), "");
    }

    void fault() { EXPECT_EQ(run(0, fill_packet(V, kVramSize, 4, 0)), VTTM_FAULT_VRAM_RANGE); }
    vttm_fault_record record(uint32_t n) {
        vttm_fault_record r;
        std::memcpy(&r, bus_.ram(kRecords + n % kRing * sizeof(r)), sizeof(r));
        return r;
    }
    static constexpr uint32_t kRing = VTTM_FAULT_RING_MIN_SIZE / VTTM_FAULT_RECORD_SIZE;
};

// --- Stalls --------------------------------------------------------------------------------------

TEST_F(Wrap, StallsAreCountedFromOneAgain) {
    wr64(VTTM_REG_FAULT_RING_BASE_LO, kRecords);
    wr(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
    wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
    put_packet(0, fill_packet(M, kVa, 4 * kPage, 7));
    kick(0);
    ASSERT_TRUE(wait_status(0, VTTM_ENG_STATUS_STALLED));
    StateBytes bytes = save();
    ASSERT_NO_FATAL_FAILURE(change<uint32_t>(bytes, section(bytes, "engine") + kStall, 1,
                                             VTTM_ENG_STALL_MAX - 1));
    load(bytes);

    const uint32_t numbers[] = {VTTM_ENG_STALL_MAX - 1, VTTM_ENG_STALL_MAX, 1, 2};
    for (uint32_t i = 0; i < 4; i++) {
        ASSERT_TRUE(wait_for([&] {
            return eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED &&
                   rd64(VTTM_REG_FAULT_ADDR_LO) == kVa + i * kPage;
        })) << i;
        EXPECT_EQ(eng(0, VTTM_ENG_STALL), numbers[i]) << "0 is no stall";
        if (i) {
            EXPECT_EQ(record(i).stall, numbers[i]);
        }
        // Answers that come late, come early, or name none.
        for (uint32_t late : {numbers[(i + 3) % 4], numbers[(i + 2) % 4], 0u})
            eng_wr(0, VTTM_ENG_ANSWER, VTTM_ENG_ANSWER_VAL(late, VTTM_ENG_ANSWER_FAIL));
        EXPECT_TRUE(eng(0, VTTM_ENG_STATUS) & VTTM_ENG_STATUS_STALLED);
        tables_.set(root_, kVa + i * kPage, sys_pte(kFree + i * kPage));
        clear_fault();
        eng_wr(0, VTTM_ENG_ANSWER, VTTM_ENG_ANSWER_VAL(numbers[i], VTTM_ENG_ANSWER_RETRY));
    }
    done(0);
    for (uint64_t at = 0; at < 4 * kPage; at += 8) ASSERT_EQ(word(kFree + at), 0x700000007u) << at;
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 0u);
}

TEST_F(Wrap, AStallBeyondTheLastNumberIsNotLoaded) {
    StateBytes bytes = save();
    ASSERT_NO_FATAL_FAILURE(change<uint32_t>(bytes, section(bytes, "engine") + kStall, 0,
                                             VTTM_ENG_STALL_MAX + 1));
    seal_state(bytes);
    EXPECT_NE(restore(bytes).find("'stall'"), std::string::npos);
}

// --- Fault ring ----------------------------------------------------------------------------------

class WrapOfFaultRing : public Wrap {
protected:
    static constexpr uint32_t kPutThen = 0xfffffffe, kGetThen = 0xfffffffc;

    // A ring that is on, with two records that the driver has not taken.
    void SetUp() override {
        wr64(VTTM_REG_FAULT_RING_BASE_LO, kRecords);
        wr(VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
        wr(VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
        for (int i = 0; i < 3; i++) fault();
        wr(VTTM_REG_FAULT_RING_GET, 1);
        StateBytes bytes = save();
        const size_t ring = section(bytes, "fltring");
        ASSERT_NO_FATAL_FAILURE(change<uint32_t>(bytes, ring + kPut, 3, kPutThen));
        ASSERT_NO_FATAL_FAILURE(change<uint32_t>(bytes, ring + kGet, 1, kGetThen));
        load(bytes);
        EXPECT_EQ(put(), kPutThen);
        EXPECT_EQ(rd(VTTM_REG_FAULT_RING_GET), kGetThen);
    }
    uint32_t put() { return rd(VTTM_REG_FAULT_RING_PUT); }
    using Machine::put;
};

TEST_F(WrapOfFaultRing, RecordsGoOnAtTheirPlaces) {
    for (uint32_t i = 0; i < 5; i++) {
        fault();
        ASSERT_EQ(put(), kPutThen + i + 1);
        EXPECT_EQ(record(kPutThen + i).number, kPutThen + i);
    }
    EXPECT_EQ(put(), 3u);
    // As the handler of the specification takes them.
    uint32_t get = kGetThen, taken = 0;
    for (const uint32_t to = put(); get != to; get++) taken++;
    EXPECT_EQ(taken, 7u);
    wr(VTTM_REG_FAULT_RING_GET, get);
    EXPECT_EQ(rd(VTTM_REG_FAULT_RING_GET), 3u);
    EXPECT_EQ(rd(VTTM_REG_FAULT_RING_LOST), 0u);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 0u);
}

TEST_F(WrapOfFaultRing, ItIsFullWhenItIs) {
    for (uint32_t i = 2; i < kRing; i++) fault();
    EXPECT_EQ(put(), kGetThen + kRing);
    EXPECT_EQ(rd(VTTM_REG_FAULT_RING_LOST), 0u);
    fault();
    EXPECT_EQ(put(), kGetThen + kRing) << "full";
    EXPECT_EQ(rd(VTTM_REG_FAULT_RING_LOST), 1u);
    EXPECT_EQ(record(kGetThen + 2).number, kGetThen + 2) << "nothing was overwritten";
    wr(VTTM_REG_FAULT_RING_GET, 0);  // four taken
    for (uint32_t i = 0; i < 4; i++) fault();
    EXPECT_EQ(put(), kRing);
    EXPECT_EQ(rd(VTTM_REG_FAULT_RING_LOST), 1u);
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), 0u);
}

TEST_F(WrapOfFaultRing, GetGoesForwardOnly) {
    for (int i = 0; i < 4; i++) fault();
    ASSERT_EQ(put(), 2u);
    uint32_t bad = 0;
    for (uint32_t wrong : {kGetThen - 1, 3u, 0x80000000u, 0x7fffffffu}) {
        wr(VTTM_REG_FAULT_RING_GET, wrong);
        EXPECT_EQ(rd(VTTM_REG_FAULT_RING_GET), kGetThen) << std::hex << wrong;
        EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), ++bad);
    }
    for (uint32_t right : {0xfffffffdu, 0xffffffffu, 0u, 2u}) {
        wr(VTTM_REG_FAULT_RING_GET, right);
        EXPECT_EQ(rd(VTTM_REG_FAULT_RING_GET), right);
    }
    wr(VTTM_REG_FAULT_RING_GET, 0xffffffffu);
    EXPECT_EQ(rd(VTTM_REG_FAULT_RING_GET), 2u) << "back";
    EXPECT_EQ(rd(VTTM_REG_BAD_ACCESS), ++bad);
}

// --- Invalidations -------------------------------------------------------------------------------

class WrapOfInvalidations : public Wrap, public ::testing::WithParamInterface<uint64_t> {
protected:
    // Three invalidations were done; @count from now on.
    void preset(uint64_t count) {
        for (int i = 0; i < 3; i++) invalidate(VTTM_TLB_INV_ALL);
        StateBytes bytes = save();
        for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++)
            ASSERT_NO_FATAL_FAILURE(change<uint64_t>(
                bytes, section(bytes, "engine", e) + kInvalidations, 3, count));
        load(bytes);
        inv_issued_ = static_cast<uint32_t>(count);
        EXPECT_EQ(rd(VTTM_REG_TLB_INV_DONE), inv_issued_);
    }
};

TEST_P(WrapOfInvalidations, AreDoneWhenEachEngineHasObeyed) {
    preset(GetParam());
    map(kVa, kFree, 1);
    EXPECT_EQ(run(0, fill_packet(M, kVa, 4, 1)), 0u);
    // Engine 0 is in the middle of a chunk, engine 1 obeys at once.
    std::atomic<bool> inside{false}, go{false};
    bus_.on_map([&](uint64_t addr, bool write) {
        if (!write || addr != kFree) return;
        inside = true;
        while (!go) std::this_thread::yield();
    });
    put_packet(0, fill_packet(M, kVa, 4, 2));
    ring(0);
    ASSERT_TRUE(wait_for([&] { return inside.load(); }));
    const uint32_t before = inv_issued_;
    for (int i = 0; i < 5; i++) {
        wr(VTTM_REG_TLB_INV_CMD, VTTM_TLB_INV_CMD(VTTM_TLB_INV_VM, kVm));
        inv_issued_++;
        EXPECT_EQ(rd(VTTM_REG_TLB_INV_DONE), before) << "engine 0 has not obeyed";
    }
    go = true;
    // As the specification says that it is waited for.
    ASSERT_TRUE(wait_for([&] {
        return static_cast<int32_t>(rd(VTTM_REG_TLB_INV_DONE) - inv_issued_) >= 0;
    }));
    EXPECT_EQ(rd(VTTM_REG_TLB_INV_DONE), before + 5);
    bus_.on_map(nullptr);
    ASSERT_TRUE(wait_idle(0));
    migrate();
    invalidate(VTTM_TLB_INV_ALL);
    EXPECT_EQ(rd(VTTM_REG_STALE_COUNT), 0u);
}

// The device counts in 64 bits, so a state may come close to that wrap, too.
INSTANTIATE_TEST_SUITE_P(Near, WrapOfInvalidations,
                         ::testing::Values(0xfffffffdull, 0x1fffffffdull, 0x7ffffffffffffffdull,
                                           0xfffffffffffffffdull));

}  // namespace
}  // namespace vttm::model::test
