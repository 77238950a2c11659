/* SPDX-License-Identifier: MIT */
/*
 * The device's witness log: what the stamp engine did, for the host only (the guest never sees it).
 *
 * The file starts with struct vttm_witness_header, then fixed-size records in the order of the
 * work. Neighbouring pages are merged into one record while everything but the page index and
 * the address is equal and both go up together; a record may so stand for many pages, all of one
 * packet. All records of a packet are in the log before the writeback of the next FENCE.
 */
#ifndef VTTM_WITNESS_H
#define VTTM_WITNESS_H

#include "vttm_packets.h"

#define VTTM_WITNESS_MAGIC 0x53544957u /* "WITS" */
#define VTTM_WITNESS_VERSION 1u

struct vttm_witness_header {
	uint32_t magic;
	uint32_t version;
	uint32_t record_size;
	uint32_t rsvd;
};

enum vttm_witness_kind {
	VTTM_WITNESS_WRITE = 1,  /* STAMP_WRITE wrote these pages */
	VTTM_WITNESS_VERIFY = 2, /* STAMP_VERIFY read these pages; see stamp_class */
	/*
	 * An access used a stale translation; phys as used, or where a stale upper entry leads that led
	 * to no leaf. npages: more than 1 only through a large leaf.
	 */
	VTTM_WITNESS_STALE = 3,
	/*
	 * A fault; stamp_class holds enum vttm_fault_reason, va what VTTM_REG_FAULT_ADDR says, space
	 * is VTTM_SPACE_VM, phys 0. buffer, generation and page of STALE and FAULT are of the stamp
	 * packet under way if the address is one of its pages, else 0.
	 */
	VTTM_WITNESS_FAULT = 4,
};

struct vttm_witness_record {
	uint32_t kind;
	uint32_t stamp_class; /* enum vttm_stamp_class of VERIFY */
	uint32_t buffer;
	uint32_t generation;
	uint64_t page;   /* first page index in the buffer */
	uint64_t npages; /* pages in this run */
	uint64_t va;     /* of the first page */
	uint64_t phys;   /* bus address or VRAM offset of the first page */
	uint32_t space;  /* VTTM_SPACE_VRAM or VTTM_SPACE_SYSTEM */
	uint32_t engine_vm; /* engine << 16 | vm (VTTM_NO_VM: none) */
	uint64_t time_ns;   /* device time of the packet's start; of the event for STALE and FAULT */
};

VTTM_ASSERT_SIZE(vttm_witness_header, 16);
VTTM_ASSERT_OFFSET(vttm_witness_header, magic, 0);
VTTM_ASSERT_OFFSET(vttm_witness_header, version, 4);
VTTM_ASSERT_OFFSET(vttm_witness_header, record_size, 8);
VTTM_ASSERT_OFFSET(vttm_witness_header, rsvd, 12);

VTTM_ASSERT_SIZE(vttm_witness_record, 64);
VTTM_ASSERT_OFFSET(vttm_witness_record, kind, 0);
VTTM_ASSERT_OFFSET(vttm_witness_record, stamp_class, 4);
VTTM_ASSERT_OFFSET(vttm_witness_record, buffer, 8);
VTTM_ASSERT_OFFSET(vttm_witness_record, generation, 12);
VTTM_ASSERT_OFFSET(vttm_witness_record, page, 16);
VTTM_ASSERT_OFFSET(vttm_witness_record, npages, 24);
VTTM_ASSERT_OFFSET(vttm_witness_record, va, 32);
VTTM_ASSERT_OFFSET(vttm_witness_record, phys, 40);
VTTM_ASSERT_OFFSET(vttm_witness_record, space, 48);
VTTM_ASSERT_OFFSET(vttm_witness_record, engine_vm, 52);
VTTM_ASSERT_OFFSET(vttm_witness_record, time_ns, 56);

#endif /* VTTM_WITNESS_H */
