// SPDX-License-Identifier: Apache-2.0
// The protocol headers as C++ sees them: constants that other parts repeat, and agreement with C.
#include <gtest/gtest.h>

#include <cstddef>
#include <set>
#include <vector>

#include "protocol/vttm_packets.h"
#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"
#include "protocol/vttm_witness.h"
#include "tests/unit/protocol/layout_c.h"

namespace vttm::protocol {
namespace {

TEST(Protocol, HeaderRoundTrip) {
    for (uint32_t op : {0u, 0x21u, 0xffu})
        for (uint32_t flags : {0u, 0x1fu, 0xffu})
            for (uint32_t n : {1u, 1024u, 0xffffu}) {
                const uint32_t h = VTTM_PKT_HDR(op, flags, n);
                EXPECT_EQ(h, vttm_c_pkt_hdr(op, flags, n));
                EXPECT_EQ(VTTM_PKT_OP(h), op);
                EXPECT_EQ(VTTM_PKT_FLAGS(h), flags);
                EXPECT_EQ(VTTM_PKT_DWORDS(h), n);
            }
    const uint32_t flags = VTTM_PKT_DST(VTTM_SPACE_SYSTEM) | VTTM_PKT_SRC(VTTM_SPACE_VRAM);
    EXPECT_EQ(VTTM_PKT_DST_OF(flags), VTTM_SPACE_SYSTEM);
    EXPECT_EQ(VTTM_PKT_SRC_OF(flags), VTTM_SPACE_VRAM);
    EXPECT_FALSE(flags & VTTM_PKT_FLAG_IRQ);
}

TEST(Protocol, PageTableIndices) {
    const uint64_t va = 0x0000'1234'5678'9abcull;
    EXPECT_EQ(VTTM_PT_INDEX(va, 3), (va >> 39) & 511);
    EXPECT_EQ(VTTM_PT_INDEX(va, 2), (va >> 30) & 511);
    EXPECT_EQ(VTTM_PT_INDEX(va, 1), (va >> 21) & 511);
    EXPECT_EQ(VTTM_PT_INDEX(va, 0), (va >> 12) & 511);
    const uint64_t last = (1ull << VTTM_VA_BITS) - 1;
    for (int level = 0; level < VTTM_PT_LEVELS; level++)
        EXPECT_EQ(VTTM_PT_INDEX(last, level), VTTM_PT_ENTRIES - 1);
}

// Registers do not overlap, and the HI word of a pair is where an 8-byte access expects it.
TEST(Protocol, RegistersAreApart) {
    const std::vector<uint32_t> regs = {
        VTTM_REG_MAGIC, VTTM_REG_ABI, VTTM_REG_FEATURES_LO, VTTM_REG_FEATURES_HI,
        VTTM_REG_VRAM_SIZE_LO, VTTM_REG_VRAM_SIZE_HI, VTTM_REG_VRAM_VISIBLE_LO,
        VTTM_REG_VRAM_VISIBLE_HI, VTTM_REG_NUM_ENGINES, VTTM_REG_NUM_VMS, VTTM_REG_DEV_CTRL,
        VTTM_REG_DEV_STATUS, VTTM_REG_IRQ_STATUS, VTTM_REG_IRQ_ENABLE, VTTM_REG_TIMESTAMP_LO,
        VTTM_REG_TIMESTAMP_HI, VTTM_REG_BAD_ACCESS, VTTM_REG_NUM_RINGS, VTTM_REG_FAULT_STATUS, VTTM_REG_FAULT_INFO,
        VTTM_REG_FAULT_ADDR_LO, VTTM_REG_FAULT_ADDR_HI, VTTM_REG_FAULT_COUNT,
        VTTM_REG_STALE_COUNT, VTTM_REG_TLB_INV_START_LO, VTTM_REG_TLB_INV_START_HI,
        VTTM_REG_TLB_INV_PAGES, VTTM_REG_TLB_INV_CMD, VTTM_REG_TLB_INV_DONE,
        VTTM_REG_FAULT_RING_BASE_LO, VTTM_REG_FAULT_RING_BASE_HI, VTTM_REG_FAULT_RING_SIZE,
        VTTM_REG_FAULT_RING_CTRL, VTTM_REG_FAULT_RING_PUT, VTTM_REG_FAULT_RING_GET,
        VTTM_REG_FAULT_RING_LOST};
    const std::set<uint32_t> unique(regs.begin(), regs.end());
    EXPECT_EQ(unique.size(), regs.size());
    for (uint32_t r : regs) EXPECT_EQ(r % 4, 0u);
    for (uint32_t lo : {VTTM_REG_FEATURES_LO, VTTM_REG_VRAM_SIZE_LO, VTTM_REG_VRAM_VISIBLE_LO,
                        VTTM_REG_TIMESTAMP_LO, VTTM_REG_FAULT_ADDR_LO, VTTM_REG_TLB_INV_START_LO,
                        VTTM_REG_FAULT_RING_BASE_LO, VTTM_REG_VM_ROOT_LO(0u), VTTM_REG_VM_ROOT_LO(255u),
                        VTTM_ENGINE_BASE(1) + VTTM_ENG_RING_BASE_LO,
                        VTTM_ENGINE_BASE(1) + VTTM_ENG_LAST_FENCE_LO,
                        VTTM_ENGINE_BASE(1) + VTTM_ENG_BYTES_LO})
        EXPECT_EQ(lo % 8, 0u) << std::hex << lo;
    EXPECT_EQ(VTTM_REG_FEATURES_HI, VTTM_REG_FEATURES_LO + 4);
    EXPECT_EQ(VTTM_REG_FAULT_ADDR_HI, VTTM_REG_FAULT_ADDR_LO + 4);
    EXPECT_EQ(VTTM_REG_TLB_INV_START_HI, VTTM_REG_TLB_INV_START_LO + 4);
    EXPECT_EQ(VTTM_REG_VM_ROOT_HI(7u), VTTM_REG_VM_ROOT_LO(7u) + 4);
    EXPECT_EQ(VTTM_ENG_RING_BASE_HI, VTTM_ENG_RING_BASE_LO + 4);
    EXPECT_EQ(VTTM_ENG_LAST_FENCE_HI, VTTM_ENG_LAST_FENCE_LO + 4);
    EXPECT_EQ(VTTM_ENG_BYTES_HI, VTTM_ENG_BYTES_LO + 4);
}

// Interrupt bits and vectors are numbered alike.
TEST(Protocol, InterruptBitsFollowVectors) {
    EXPECT_EQ(VTTM_IRQ_ERROR, 1u << VTTM_MSIX_ERROR);
    for (unsigned e = 0; e < VTTM_NUM_ENGINES; e++)
        EXPECT_EQ(VTTM_IRQ_ENGINE(e), 1u << VTTM_MSIX_ENGINE(e));
}

}  // namespace
}  // namespace vttm::protocol
