/* SPDX-License-Identifier: MIT */
/*
 * vttm command packets: what a driver writes into a ring.
 *
 * A packet is a header dword and its operands, all little-endian 32-bit words, and may wrap at the
 * end of the ring. The device copies a packet out of the ring once, then validates the copy.
 *
 * Addresses in COPY, FILL and STAMP_* are in the space that the header's flags name:
 * virtual in the engine's current VM (SET_VM), or physical in VRAM, or a bus address. Physical
 * spaces are for the kernel: a driver must refuse them in packets that come from user space.
 *
 * Errors. Well-framed but wrong, or a fault on the way: the fault is recorded, the rest of the
 * packet is dropped, and packets are skipped up to the next FENCE, whose status tells (SET_VM is
 * still obeyed). A flag that an opcode does not define is a wrong operand. Unknown opcode, an
 * opcode of another engine class or a wrong length: the engine halts (VTTM_ENG_STATUS_HALTED)
 * until it is reset.
 */
#ifndef VTTM_PACKETS_H
#define VTTM_PACKETS_H

#include "vttm_assert.h"

/* Header: opcode[31:24] flags[23:16] length[15:0], the length in dwords with the header. */
#define VTTM_PKT_HDR(op, flags, dwords) \
	(((uint32_t)(op) << 24) | ((uint32_t)(flags) << 16) | (uint32_t)(dwords))
#define VTTM_PKT_OP(h) ((h) >> 24)
#define VTTM_PKT_FLAGS(h) (((h) >> 16) & 0xffu)
#define VTTM_PKT_DWORDS(h) ((h) & 0xffffu)

enum vttm_opcode {
	VTTM_OP_NOP = 0x00,          /* any length 1..1024; operands ignored */
	VTTM_OP_SET_VM = 0x01,       /* struct vttm_pkt_set_vm */
	VTTM_OP_FENCE = 0x02,        /* struct vttm_pkt_fence */
	VTTM_OP_COPY = 0x10,         /* struct vttm_pkt_copy */
	VTTM_OP_FILL = 0x11,         /* struct vttm_pkt_fill */
	VTTM_OP_STAMP_WRITE = 0x20,  /* struct vttm_pkt_stamp */
	VTTM_OP_STAMP_VERIFY = 0x21, /* struct vttm_pkt_stamp */
};
#define VTTM_PKT_MAX_DWORDS 1024u

/* Flags: space of the destination (only address of FILL and STAMP_*) and of the source. */
#define VTTM_SPACE_VM 0u
#define VTTM_SPACE_VRAM 1u
#define VTTM_SPACE_SYSTEM 2u
#define VTTM_PKT_DST(space) ((space) << 0)
#define VTTM_PKT_SRC(space) ((space) << 2)
#define VTTM_PKT_DST_OF(flags) ((flags) & 3u)
#define VTTM_PKT_SRC_OF(flags) (((flags) >> 2) & 3u)
#define VTTM_PKT_FLAG_IRQ (1u << 4) /* FENCE: raise the engine's vector after the writeback */

/*
 * Makes @vm (below VTTM_MAX_VMS) current for the packets behind it. Privileged. After a reset of
 * the engine, and after a SET_VM that was refused (VTTM_FAULT_NO_VM), none is current (VTTM_NO_VM).
 */
struct vttm_pkt_set_vm {
	uint32_t hdr;
	uint32_t vm;
};

/*
 * Writes struct vttm_fence_value to bus address @addr (16-byte aligned), after the effects of all
 * earlier packets of the ring, and then sets VTTM_ENG_LAST_FENCE. Privileged.
 * A FENCE that cannot be written is an error like any other: no LAST_FENCE, no interrupt, and the
 * next FENCE tells.
 */
struct vttm_pkt_fence {
	uint32_t hdr;
	uint32_t addr_lo, addr_hi;
	uint32_t seq_lo, seq_hi;
};

/* What a FENCE writes. @seq is written last, so who sees it also sees @status. */
struct vttm_fence_value {
	uint64_t seq;
	uint32_t status; /* enum vttm_fault_reason of the first error since the last FENCE, or 0 */
	uint32_t rsvd;
};

/*
 * Copies @len bytes (1 .. 2^32), any alignment; ranges that overlap are refused if both spaces
 * agree. (Different addresses may still lead to the same page: then what it holds is undefined.)
 */
struct vttm_pkt_copy {
	uint32_t hdr;
	uint32_t dst_lo, dst_hi;
	uint32_t src_lo, src_hi;
	uint32_t len_lo, len_hi;
};

/* Fills @len bytes (multiple of 4, 4 .. 2^32) at a 4-byte aligned address with @value. */
struct vttm_pkt_fill {
	uint32_t hdr;
	uint32_t dst_lo, dst_hi;
	uint32_t len_lo, len_hi;
	uint32_t value;
};

/*
 * STAMP_WRITE: stamps @npages (1 .. 2^20) pages from @va (page aligned) as pages
 * @page .. @page + npages - 1 of @buffer in @generation under @key (vttm_stamp.h). @buffer and
 * @generation are not 0, @page + npages - 1 does not wrap.
 * STAMP_VERIFY: checks them; writes struct vttm_stamp_result to @result, an address in the space
 * of VTTM_PKT_SRC (16-byte aligned, within one page). @result is 0 and ignored for STAMP_WRITE.
 * A bad page is no error of the packet: the fence status stays 0.
 */
struct vttm_pkt_stamp {
	uint32_t hdr;
	uint32_t va_lo, va_hi;
	uint32_t npages;
	uint32_t buffer;
	uint32_t generation;
	uint32_t page_lo, page_hi;
	uint32_t key_lo, key_hi;
	uint32_t result_lo, result_hi;
};

/* Written once, when all pages were checked. Classes are enum vttm_stamp_class. */
struct vttm_stamp_result {
	uint64_t checked; /* pages */
	uint64_t good;
	uint64_t bad;
	uint64_t first_bad_page; /* page index in the buffer; valid if bad != 0 */
	uint32_t by_class[8];    /* bad pages by class; [0] (good) stays 0 */
};

VTTM_ASSERT_SIZE(vttm_pkt_set_vm, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_set_vm, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_set_vm, vm, 4);

VTTM_ASSERT_SIZE(vttm_pkt_fence, 20);
VTTM_ASSERT_OFFSET(vttm_pkt_fence, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_fence, addr_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_fence, addr_hi, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_fence, seq_lo, 12);
VTTM_ASSERT_OFFSET(vttm_pkt_fence, seq_hi, 16);

VTTM_ASSERT_SIZE(vttm_fence_value, 16);
VTTM_ASSERT_OFFSET(vttm_fence_value, seq, 0);
VTTM_ASSERT_OFFSET(vttm_fence_value, status, 8);
VTTM_ASSERT_OFFSET(vttm_fence_value, rsvd, 12);

VTTM_ASSERT_SIZE(vttm_pkt_copy, 28);
VTTM_ASSERT_OFFSET(vttm_pkt_copy, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_copy, dst_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_copy, dst_hi, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_copy, src_lo, 12);
VTTM_ASSERT_OFFSET(vttm_pkt_copy, src_hi, 16);
VTTM_ASSERT_OFFSET(vttm_pkt_copy, len_lo, 20);
VTTM_ASSERT_OFFSET(vttm_pkt_copy, len_hi, 24);

VTTM_ASSERT_SIZE(vttm_pkt_fill, 24);
VTTM_ASSERT_OFFSET(vttm_pkt_fill, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_fill, dst_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_fill, dst_hi, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_fill, len_lo, 12);
VTTM_ASSERT_OFFSET(vttm_pkt_fill, len_hi, 16);
VTTM_ASSERT_OFFSET(vttm_pkt_fill, value, 20);

VTTM_ASSERT_SIZE(vttm_pkt_stamp, 48);
VTTM_ASSERT_OFFSET(vttm_pkt_stamp, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_stamp, va_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_stamp, va_hi, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_stamp, npages, 12);
VTTM_ASSERT_OFFSET(vttm_pkt_stamp, buffer, 16);
VTTM_ASSERT_OFFSET(vttm_pkt_stamp, generation, 20);
VTTM_ASSERT_OFFSET(vttm_pkt_stamp, page_lo, 24);
VTTM_ASSERT_OFFSET(vttm_pkt_stamp, page_hi, 28);
VTTM_ASSERT_OFFSET(vttm_pkt_stamp, key_lo, 32);
VTTM_ASSERT_OFFSET(vttm_pkt_stamp, key_hi, 36);
VTTM_ASSERT_OFFSET(vttm_pkt_stamp, result_lo, 40);
VTTM_ASSERT_OFFSET(vttm_pkt_stamp, result_hi, 44);

VTTM_ASSERT_SIZE(vttm_stamp_result, 64);
VTTM_ASSERT_OFFSET(vttm_stamp_result, checked, 0);
VTTM_ASSERT_OFFSET(vttm_stamp_result, good, 8);
VTTM_ASSERT_OFFSET(vttm_stamp_result, bad, 16);
VTTM_ASSERT_OFFSET(vttm_stamp_result, first_bad_page, 24);
VTTM_ASSERT_OFFSET(vttm_stamp_result, by_class, 32);

#endif /* VTTM_PACKETS_H */
