/* SPDX-License-Identifier: MIT */
/*
 * The fault ring: a record of each fault, in system memory (VTTM_FEATURE_FAULT_RING).
 *
 * The device writes record n to FAULT_RING_BASE + (n % records) * 64, then FAULT_RING_PUT becomes
 * n + 1, then the error vector fires. The driver reads records from FAULT_RING_GET up to PUT and
 * writes GET. While PUT - GET equals the number of records, further ones are not written and only
 * counted (FAULT_RING_LOST).
 */
#ifndef VTTM_FAULT_H
#define VTTM_FAULT_H

#include "vttm_assert.h"

struct vttm_fault_record {
	uint32_t number;     /* n, modulo 2^32 */
	uint32_t info;       /* as VTTM_REG_FAULT_INFO */
	uint64_t addr;       /* as VTTM_REG_FAULT_ADDR */
	uint64_t time_ns;    /* as VTTM_REG_TIMESTAMP */
	uint64_t last_fence; /* the ring's LAST_FENCE then: the job at fault is the one behind it */
	uint32_t packet_pos; /* byte offset of the packet in the ring; in an IB, of its INDIRECT there */
	uint32_t packet_hdr; /* header of the packet at fault; 0 if it could not be read */
	uint32_t stall;      /* number of the stall that this fault began (VTTM_ENG_STALL); 0: none */
	uint32_t ib;         /* VTTM_FAULT_IB_*; 0: the packet is in the ring */
	uint64_t ib_addr;    /* address of the packet in the indirect buffer's space; else 0 */
	uint64_t rsvd;       /* 0 */
};

#define VTTM_FAULT_IB_DEPTH(ib) ((ib) & 0xfu)          /* 1: entered from the ring */
#define VTTM_FAULT_IB_SPACE(ib) (((ib) >> 4) & 3u)     /* VTTM_SPACE_* */
#define VTTM_FAULT_IB_UNPRIVILEGED (1u << 8)

#define VTTM_FAULT_RECORD_SIZE 64u
#define VTTM_FAULT_RING_MIN_SIZE 0x1000u
#define VTTM_FAULT_RING_MAX_SIZE 0x10000u

VTTM_ASSERT_SIZE(vttm_fault_record, VTTM_FAULT_RECORD_SIZE);
VTTM_ASSERT_OFFSET(vttm_fault_record, number, 0);
VTTM_ASSERT_OFFSET(vttm_fault_record, info, 4);
VTTM_ASSERT_OFFSET(vttm_fault_record, addr, 8);
VTTM_ASSERT_OFFSET(vttm_fault_record, time_ns, 16);
VTTM_ASSERT_OFFSET(vttm_fault_record, last_fence, 24);
VTTM_ASSERT_OFFSET(vttm_fault_record, packet_pos, 32);
VTTM_ASSERT_OFFSET(vttm_fault_record, packet_hdr, 36);
VTTM_ASSERT_OFFSET(vttm_fault_record, stall, 40);
VTTM_ASSERT_OFFSET(vttm_fault_record, ib, 44);
VTTM_ASSERT_OFFSET(vttm_fault_record, ib_addr, 48);
VTTM_ASSERT_OFFSET(vttm_fault_record, rsvd, 56);

#endif /* VTTM_FAULT_H */
