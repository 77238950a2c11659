/* SPDX-License-Identifier: MIT */
/*
 * vttm command packets: what a driver writes into a ring.
 *
 * A packet is a header dword and its operands, all little-endian 32-bit words, and may wrap at the
 * end of the ring. The device copies a packet out of the ring once, then validates the copy.
 *
 * Addresses in packets (FENCE's aside) are in the space that the header's flags name:
 * virtual in the engine's current VM (SET_VM), or physical in VRAM, or a bus address. Physical
 * spaces are for the kernel: a driver must refuse them in packets that come from user space.
 *
 * Errors. Well-framed but wrong, or a fault on the way: the fault is recorded, the rest of the
 * packet is dropped, and packets are skipped up to the next FENCE, whose status tells (SET_VM is
 * still obeyed). A flag that an opcode does not define is a wrong operand. Unknown opcode, an
 * opcode of another engine class or a wrong length: the engine halts (VTTM_ENG_STATUS_HALTED)
 * until it is reset; in an indirect buffer it does not, see INDIRECT.
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
	VTTM_OP_TIMESTAMP = 0x03,    /* struct vttm_pkt_timestamp; VTTM_FEATURE_SYNC, like the next 3 */
	VTTM_OP_SEM_SIGNAL = 0x04,   /* struct vttm_pkt_sem_signal */
	VTTM_OP_SEM_WAIT = 0x05,     /* struct vttm_pkt_sem_wait */
	VTTM_OP_COND_SKIP = 0x06,    /* struct vttm_pkt_cond_skip */
	VTTM_OP_INDIRECT = 0x07,     /* struct vttm_pkt_indirect; VTTM_FEATURE_INDIRECT */
	VTTM_OP_COPY = 0x10,         /* struct vttm_pkt_copy */
	VTTM_OP_FILL = 0x11,         /* struct vttm_pkt_fill */
	VTTM_OP_COPY_2D = 0x12,      /* struct vttm_pkt_copy_2d; since ABI 1.2: VTTM_FEATURE_COPY_2D */
	VTTM_OP_FILL_2D = 0x13,      /* struct vttm_pkt_fill_2d; likewise */
	VTTM_OP_SCATTER = 0x14,      /* struct vttm_pkt_sg; VTTM_FEATURE_COPY_SG */
	VTTM_OP_GATHER = 0x15,       /* struct vttm_pkt_sg; likewise */
	VTTM_OP_STAMP_WRITE = 0x20,  /* struct vttm_pkt_stamp */
	VTTM_OP_STAMP_VERIFY = 0x21, /* struct vttm_pkt_stamp */
	VTTM_OP_HASH = 0x22,         /* struct vttm_pkt_hash; VTTM_FEATURE_HASH */
};
#define VTTM_PKT_MAX_DWORDS 1024u

/* Flags: space of the destination (or of the only address) and of the source. */
#define VTTM_SPACE_VM 0u
#define VTTM_SPACE_VRAM 1u
#define VTTM_SPACE_SYSTEM 2u
#define VTTM_PKT_DST(space) ((space) << 0)
#define VTTM_PKT_SRC(space) ((space) << 2)
#define VTTM_PKT_DST_OF(flags) ((flags) & 3u)
#define VTTM_PKT_SRC_OF(flags) (((flags) >> 2) & 3u)
#define VTTM_PKT_FLAG_IRQ (1u << 4) /* FENCE: raise the engine's vector after the writeback */
#define VTTM_PKT_FLAG_ADD (1u << 4) /* SEM_SIGNAL: add, do not store */
#define VTTM_PKT_FLAG_DWORD (1u << 4) /* COND_SKIP: look at 32 bits */
#define VTTM_PKT_FLAG_UNPRIVILEGED (1u << 4) /* INDIRECT: of a buffer that user space wrote */
/* SCATTER, GATHER: space of the list. */
#define VTTM_PKT_LIST(space) ((space) << 4)
#define VTTM_PKT_LIST_OF(flags) (((flags) >> 4) & 3u)

/*
 * Makes @vm (below VTTM_MAX_VMS) current for the packets behind it. Privileged. After a reset of
 * the engine, and after a SET_VM that was refused (VTTM_FAULT_NO_VM; BAD_PACKET for a flag), none is
 * current (VTTM_NO_VM). One that an unprivileged IB must not contain changes nothing.
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
	/* enum vttm_fault_reason of the first error since the last FENCE that was written, or 0 */
	uint32_t status;
	uint32_t rsvd;
};

/*
 * Writes the device's time (as VTTM_REG_TIMESTAMP) to @addr (8-byte aligned) as one 64-bit store: the
 * time at which the packet runs, after all effects of earlier packets of the ring.
 */
struct vttm_pkt_timestamp {
	uint32_t hdr;
	uint32_t addr_lo, addr_hi;
};

/*
 * Stores @value to @addr (8-byte aligned), or with VTTM_PKT_FLAG_ADD adds it modulo 2^64; atomic
 * towards CPUs and engines. Who sees the value sees all effects of earlier packets of the ring. Rings
 * that wait look again at once.
 */
struct vttm_pkt_sem_signal {
	uint32_t hdr;
	uint32_t addr_lo, addr_hi;
	uint32_t value_lo, value_hi;
};

/* How the word in memory compares with the packet's value; numbers have no sign. */
enum vttm_compare {
	VTTM_CMP_EQ = 0,
	VTTM_CMP_NE = 1,
	VTTM_CMP_GE = 2,
	VTTM_CMP_GT = 3,
	VTTM_CMP_LE = 4,
	VTTM_CMP_LT = 5,
	VTTM_CMP_SEQ = 6, /* memory - value, as a signed number, is not negative: sequence numbers */
};
#define VTTM_CMP_LAST VTTM_CMP_SEQ

/*
 * Holds the ring until the 64 bits at @addr (8-byte aligned) compare with @value as @compare says.
 * What later packets do comes after what the writer did before the value.
 */
struct vttm_pkt_sem_wait {
	uint32_t hdr;
	uint32_t addr_lo, addr_hi;
	uint32_t value_lo, value_hi;
	uint32_t compare; /* enum vttm_compare */
};

/*
 * Skips the @skip dwords behind this packet if the 64 bits at @addr (8-byte aligned; with
 * VTTM_PKT_FLAG_DWORD 32 bits, zero-extended, 4-byte aligned), masked with @mask, compare with
 * @value as @compare says. What is skipped is not looked at. @skip may reach TAIL (as it was when this
 * packet was fetched), but not beyond: BAD_PACKET, whatever memory holds.
 */
struct vttm_pkt_cond_skip {
	uint32_t hdr;
	uint32_t addr_lo, addr_hi;
	uint32_t value_lo, value_hi;
	uint32_t mask_lo, mask_hi;
	uint32_t compare; /* enum vttm_compare */
	uint32_t skip;    /* dwords */
};

/*
 * Runs the packets in @dwords (1 .. VTTM_IB_MAX_DWORDS) dwords at @addr (4-byte aligned, in the space of
 * VTTM_PKT_DST), an indirect buffer (IB), then goes on behind itself. Packets in it are what they are in a
 * ring; they do not wrap, and each is copied once, when it is its turn, then validated. An INDIRECT in
 * an IB nests, VTTM_IB_MAX_DEPTH deep. A virtual @addr is in the VM that is current at the INDIRECT.
 * A range that leaves its space is an error of the INDIRECT itself.
 *
 * With VTTM_PKT_FLAG_UNPRIVILEGED, and in all that is nested below, SET_VM, FENCE and every space but
 * VTTM_SPACE_VM are refused (VTTM_FAULT_PRIVILEGE): a kernel need not read what user space wrote.
 *
 * Any error in an IB, bad framing and a fault while fetching from it too, ends all IBs under way:
 * the ring goes on behind its INDIRECT and skips up to the next FENCE. It never halts the engine.
 */
struct vttm_pkt_indirect {
	uint32_t hdr;
	uint32_t addr_lo, addr_hi;
	uint32_t dwords;
};
#define VTTM_IB_MAX_DWORDS (1u << 18)
#define VTTM_IB_MAX_DEPTH 4u

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
 * Copies a rectangle: @height rows of @width bytes, row i from @src + i * @src_pitch to
 * @dst + i * @dst_pitch, rows in ascending order. @width and @height are at least 1 and
 * @width * @height at most 2^32; each pitch is at least @width. Any alignment.
 * The extent of a side, (height - 1) * pitch + width bytes from its address, must lie in its space.
 * If both spaces agree, no byte may belong to both rectangles: the extents are apart, or the pitches
 * are equal and the rows miss each other (two windows of one surface). All else is BAD_PACKET.
 */
struct vttm_pkt_copy_2d {
	uint32_t hdr;
	uint32_t dst_lo, dst_hi;
	uint32_t src_lo, src_hi;
	uint32_t dst_pitch, src_pitch; /* bytes from row to row */
	uint32_t width;                /* bytes */
	uint32_t height;               /* rows */
};

/* Fills a rectangle with @value; address, @pitch and @width are multiples of 4; else as above. */
struct vttm_pkt_fill_2d {
	uint32_t hdr;
	uint32_t dst_lo, dst_hi;
	uint32_t pitch;
	uint32_t width;
	uint32_t height;
	uint32_t value;
};

/*
 * SCATTER: copies from @addr on to the pieces of a list, in its order. GATHER: copies the pieces to
 * @addr on. Flags: VTTM_PKT_DST and _SRC name the spaces of what is written and read, of SCATTER
 * the pieces' and @addr's, of GATHER @addr's and the pieces'; VTTM_PKT_LIST that of the list.
 * The list is @count (1 .. VTTM_SG_MAX) struct vttm_sg_entry at @list (16-byte aligned). It is read
 * once and whole, then checked, then nothing of it is read again; before that nothing is written.
 * The sum of the lengths is 1 .. 2^32. Every piece, and the range of that sum at @addr, must lie in
 * its space; if both spaces agree, no piece may overlap the range. Pieces may overlap each other:
 * of what SCATTER writes the later one stays.
 */
struct vttm_pkt_sg {
	uint32_t hdr;
	uint32_t addr_lo, addr_hi;
	uint32_t list_lo, list_hi;
	uint32_t count;
};

struct vttm_sg_entry {
	uint64_t addr;
	uint32_t len;  /* bytes, not 0 */
	uint32_t rsvd; /* 0 */
};
#define VTTM_SG_MAX 4096u

/*
 * STAMP_WRITE: stamps @npages (1 .. 2^20) pages from @va (page aligned) as pages
 * @page .. @page + npages - 1 of @buffer in @generation under @key (vttm_stamp.h). @buffer and
 * @generation are not 0, @page + npages - 1 does not wrap.
 * STAMP_VERIFY: checks them; writes struct vttm_stamp_result to @result, an address in the space
 * of VTTM_PKT_SRC (16-byte aligned, within one page). Both are 0 and ignored for STAMP_WRITE.
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

/*
 * Hashes @len bytes (1 .. 2^32, any alignment) at @addr with XXH64 (the algorithm of that name of
 * the xxHash specification; Linux: xxh64()) under the seed @seed, and writes struct vttm_hash_result to
 * @result, an address in the space of VTTM_PKT_SRC (16-byte aligned), once all was read.
 */
struct vttm_pkt_hash {
	uint32_t hdr;
	uint32_t addr_lo, addr_hi;
	uint32_t len_lo, len_hi;
	uint32_t seed_lo, seed_hi;
	uint32_t result_lo, result_hi;
};

struct vttm_hash_result {
	uint64_t hash;
	uint64_t bytes; /* @len */
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

VTTM_ASSERT_SIZE(vttm_pkt_timestamp, 12);
VTTM_ASSERT_OFFSET(vttm_pkt_timestamp, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_timestamp, addr_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_timestamp, addr_hi, 8);

VTTM_ASSERT_SIZE(vttm_pkt_sem_signal, 20);
VTTM_ASSERT_OFFSET(vttm_pkt_sem_signal, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_sem_signal, addr_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_sem_signal, addr_hi, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_sem_signal, value_lo, 12);
VTTM_ASSERT_OFFSET(vttm_pkt_sem_signal, value_hi, 16);

VTTM_ASSERT_SIZE(vttm_pkt_sem_wait, 24);
VTTM_ASSERT_OFFSET(vttm_pkt_sem_wait, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_sem_wait, addr_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_sem_wait, addr_hi, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_sem_wait, value_lo, 12);
VTTM_ASSERT_OFFSET(vttm_pkt_sem_wait, value_hi, 16);
VTTM_ASSERT_OFFSET(vttm_pkt_sem_wait, compare, 20);

VTTM_ASSERT_SIZE(vttm_pkt_cond_skip, 36);
VTTM_ASSERT_OFFSET(vttm_pkt_cond_skip, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_cond_skip, addr_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_cond_skip, addr_hi, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_cond_skip, value_lo, 12);
VTTM_ASSERT_OFFSET(vttm_pkt_cond_skip, value_hi, 16);
VTTM_ASSERT_OFFSET(vttm_pkt_cond_skip, mask_lo, 20);
VTTM_ASSERT_OFFSET(vttm_pkt_cond_skip, mask_hi, 24);
VTTM_ASSERT_OFFSET(vttm_pkt_cond_skip, compare, 28);
VTTM_ASSERT_OFFSET(vttm_pkt_cond_skip, skip, 32);

VTTM_ASSERT_SIZE(vttm_pkt_indirect, 16);
VTTM_ASSERT_OFFSET(vttm_pkt_indirect, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_indirect, addr_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_indirect, addr_hi, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_indirect, dwords, 12);

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

VTTM_ASSERT_SIZE(vttm_pkt_copy_2d, 36);
VTTM_ASSERT_OFFSET(vttm_pkt_copy_2d, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_copy_2d, dst_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_copy_2d, dst_hi, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_copy_2d, src_lo, 12);
VTTM_ASSERT_OFFSET(vttm_pkt_copy_2d, src_hi, 16);
VTTM_ASSERT_OFFSET(vttm_pkt_copy_2d, dst_pitch, 20);
VTTM_ASSERT_OFFSET(vttm_pkt_copy_2d, src_pitch, 24);
VTTM_ASSERT_OFFSET(vttm_pkt_copy_2d, width, 28);
VTTM_ASSERT_OFFSET(vttm_pkt_copy_2d, height, 32);

VTTM_ASSERT_SIZE(vttm_pkt_fill_2d, 28);
VTTM_ASSERT_OFFSET(vttm_pkt_fill_2d, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_fill_2d, dst_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_fill_2d, dst_hi, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_fill_2d, pitch, 12);
VTTM_ASSERT_OFFSET(vttm_pkt_fill_2d, width, 16);
VTTM_ASSERT_OFFSET(vttm_pkt_fill_2d, height, 20);
VTTM_ASSERT_OFFSET(vttm_pkt_fill_2d, value, 24);

VTTM_ASSERT_SIZE(vttm_pkt_sg, 24);
VTTM_ASSERT_OFFSET(vttm_pkt_sg, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_sg, addr_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_sg, addr_hi, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_sg, list_lo, 12);
VTTM_ASSERT_OFFSET(vttm_pkt_sg, list_hi, 16);
VTTM_ASSERT_OFFSET(vttm_pkt_sg, count, 20);

VTTM_ASSERT_SIZE(vttm_sg_entry, 16);
VTTM_ASSERT_OFFSET(vttm_sg_entry, addr, 0);
VTTM_ASSERT_OFFSET(vttm_sg_entry, len, 8);
VTTM_ASSERT_OFFSET(vttm_sg_entry, rsvd, 12);

VTTM_ASSERT_SIZE(vttm_pkt_hash, 36);
VTTM_ASSERT_OFFSET(vttm_pkt_hash, hdr, 0);
VTTM_ASSERT_OFFSET(vttm_pkt_hash, addr_lo, 4);
VTTM_ASSERT_OFFSET(vttm_pkt_hash, addr_hi, 8);
VTTM_ASSERT_OFFSET(vttm_pkt_hash, len_lo, 12);
VTTM_ASSERT_OFFSET(vttm_pkt_hash, len_hi, 16);
VTTM_ASSERT_OFFSET(vttm_pkt_hash, seed_lo, 20);
VTTM_ASSERT_OFFSET(vttm_pkt_hash, seed_hi, 24);
VTTM_ASSERT_OFFSET(vttm_pkt_hash, result_lo, 28);
VTTM_ASSERT_OFFSET(vttm_pkt_hash, result_hi, 32);

VTTM_ASSERT_SIZE(vttm_hash_result, 16);
VTTM_ASSERT_OFFSET(vttm_hash_result, hash, 0);
VTTM_ASSERT_OFFSET(vttm_hash_result, bytes, 8);

#endif /* VTTM_PACKETS_H */
