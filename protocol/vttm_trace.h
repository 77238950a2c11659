/* SPDX-License-Identifier: MIT */
/*
 * The device's trace: when it did what, for the host only (the guest never sees it). See docs/trace.md.
 *
 * The file starts with struct vttm_trace_header, then fixed-size records. Each engine's are in the order
 * of their times; those of different engines, and of register accesses, may be mixed.
 */
#ifndef VTTM_TRACE_H
#define VTTM_TRACE_H

#include "vttm_assert.h"

#define VTTM_TRACE_MAGIC 0x43415254u /* "TRAC" */
#define VTTM_TRACE_VERSION 1u

struct vttm_trace_header {
	uint32_t magic;
	uint32_t version;
	uint32_t record_size;
	uint32_t rsvd;
};

/* Of records that belong to the whole device. */
#define VTTM_TRACE_NONE 0xffffu

enum vttm_trace_kind {
	/* A packet was fetched and begins. value: its header; addr: where it lies (bus address). */
	VTTM_TRACE_PACKET_BEGIN = 1,
	/* It is over, for whatever reason but a reset of its ring. value, addr: as above. */
	VTTM_TRACE_PACKET_END = 2,
	/* A fence is about to be written. value: its number; addr: where. */
	VTTM_TRACE_FENCE = 3,
	/* A fault. value: what VTTM_REG_FAULT_INFO says; addr: the faulting address. */
	VTTM_TRACE_FAULT = 4,
	/* An MSI-X vector is about to be fired. value: which. engine, ring: VTTM_TRACE_NONE. */
	VTTM_TRACE_IRQ = 5,
	/*
	 * Rings were reset. value: a bit for each ring of the engine. engine, ring VTTM_TRACE_NONE: the
	 * device was, and value is 0.
	 */
	VTTM_TRACE_RESET = 6,
	/* The doorbell: TAIL was written. value: what. */
	VTTM_TRACE_TAIL = 7,
	/*
	 * The host stops the engines, and lets them go on. These nest. engine, ring: VTTM_TRACE_NONE.
	 * While a machine stands still its guest's clock does, too; that of the device does not.
	 */
	VTTM_TRACE_PAUSE = 8,
	VTTM_TRACE_RESUME = 9,
};

struct vttm_trace_record {
	uint32_t kind;
	uint16_t engine;
	uint16_t ring;
	uint64_t time_ns; /* device time, as VTTM_REG_TIMESTAMP */
	uint64_t value;
	uint64_t addr;
};

VTTM_ASSERT_SIZE(vttm_trace_header, 16);
VTTM_ASSERT_OFFSET(vttm_trace_header, magic, 0);
VTTM_ASSERT_OFFSET(vttm_trace_header, version, 4);
VTTM_ASSERT_OFFSET(vttm_trace_header, record_size, 8);
VTTM_ASSERT_OFFSET(vttm_trace_header, rsvd, 12);

VTTM_ASSERT_SIZE(vttm_trace_record, 32);
VTTM_ASSERT_OFFSET(vttm_trace_record, kind, 0);
VTTM_ASSERT_OFFSET(vttm_trace_record, engine, 4);
VTTM_ASSERT_OFFSET(vttm_trace_record, ring, 6);
VTTM_ASSERT_OFFSET(vttm_trace_record, time_ns, 8);
VTTM_ASSERT_OFFSET(vttm_trace_record, value, 16);
VTTM_ASSERT_OFFSET(vttm_trace_record, addr, 24);

#endif /* VTTM_TRACE_H */
