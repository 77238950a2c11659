/* SPDX-License-Identifier: MIT */
/*
 * vttm registers (BAR0), PCI identity and interrupts: the contract of device and driver.
 *
 * BAR0 is 64 KiB of 32-bit little-endian registers. An access must be 4 bytes wide and aligned, or
 * 8 bytes wide, aligned, and on a _LO register (it then covers _LO and _HI). Any other access and
 * any hole reads as 0 and ignores writes; the device counts it (VTTM_REG_BAD_ACCESS).
 *
 * RO: writes are ignored. RW: reads back what was written. WO: reads as 0. W1C: writing a 1 bit
 * clears it. A value that a register cannot take, or a write at the wrong time, is ignored and
 * counted too; undefined bits of DEV_CTRL, IRQ_ENABLE and ENG_CTRL are dropped and not counted.
 * Two 4-byte reads of a pair that the device changes (LAST_FENCE, BYTES, FAULT_ADDR, counters) may
 * tear: read 8 bytes, or read HI, LO, HI until both HI agree.
 * Sizes are bytes, addresses are bytes. "Bus address" is what the driver gets from the DMA API.
 */
#ifndef VTTM_REGS_H
#define VTTM_REGS_H

#include "vttm_assert.h"

/* PCI: class 0x0380 (display controller, other). The id belongs to QEMU's experimental range. */
#define VTTM_PCI_VENDOR_ID 0x1b36
#define VTTM_PCI_DEVICE_ID 0x10f7
#define VTTM_PCI_REVISION 1
#define VTTM_BAR_REGS 0
#define VTTM_BAR_VRAM 2 /* 64-bit, prefetchable; size = VRAM_VISIBLE */
#define VTTM_BAR_MSIX 4

#define VTTM_REGS_SIZE 0x10000u

/* --- Discovery ------------------------------------------------------------------------------ */
#define VTTM_REG_MAGIC 0x0000u /* RO: VTTM_MAGIC */
#define VTTM_MAGIC 0x4d545456u /* "VTTM" */
#define VTTM_REG_ABI 0x0004u   /* RO: major << 16 | minor; a driver refuses an unknown major */
#define VTTM_ABI_MAJOR 1u
#define VTTM_ABI_MINOR 3u
#define VTTM_REG_FEATURES_LO 0x0008u /* RO: VTTM_FEATURE_* */
#define VTTM_REG_FEATURES_HI 0x000cu
#define VTTM_FEATURE_STALE_DETECT (1u << 0) /* stale TLB use is detected and counted */
#define VTTM_FEATURE_WITNESS (1u << 1)      /* the host keeps a witness log of stamp packets */
#define VTTM_FEATURE_LARGE_LEAVES (1u << 2) /* VTTM_PTE_LARGE; since ABI 1.1 as all that follow */
#define VTTM_FEATURE_NO_ACCESS (1u << 3)    /* VTTM_PTE_NO_ACCESS */
#define VTTM_FEATURE_WALK_CACHE (1u << 4)   /* upper entries are cached until invalidated */
#define VTTM_FEATURE_FAULT_RING (1u << 5)   /* VTTM_REG_FAULT_RING_* */
#define VTTM_FEATURE_FAULT_RETRY (1u << 6)  /* VTTM_REG_VM_MODE, VTTM_ENG_ANSWER */
#define VTTM_FEATURE_COPY_2D (1u << 7)      /* COPY_2D, FILL_2D; since ABI 1.2 as all that follow */
#define VTTM_FEATURE_COPY_SG (1u << 8)      /* SCATTER, GATHER */
#define VTTM_FEATURE_HASH (1u << 9)         /* HASH */
#define VTTM_FEATURE_SYNC (1u << 10)        /* TIMESTAMP, SEM_SIGNAL, SEM_WAIT, COND_SKIP */
#define VTTM_FEATURE_INDIRECT (1u << 11)    /* INDIRECT */
#define VTTM_FEATURE_RINGS (1u << 12)       /* VTTM_REG_NUM_RINGS rings per engine, priorities */
#define VTTM_FEATURE_COUNTERS (1u << 13)    /* VTTM_COUNTER_BASE */
#define VTTM_FEATURE_VRAM_BALLOON (1u << 14) /* VTTM_REG_VRAM_TARGET */
#define VTTM_FEATURE_POISON (1u << 15)       /* VTTM_FAULT_POISON; since ABI 1.3 */
#define VTTM_REG_VRAM_SIZE_LO 0x0010u       /* RO: bytes of VRAM, multiple of 2 MiB */
#define VTTM_REG_VRAM_SIZE_HI 0x0014u
#define VTTM_REG_VRAM_VISIBLE_LO 0x0018u /* RO: bytes of VRAM seen through BAR2; follows its size */
#define VTTM_REG_VRAM_VISIBLE_HI 0x001cu
#define VTTM_REG_NUM_ENGINES 0x0020u /* RO: 2 in ABI 1.x */
#define VTTM_REG_NUM_VMS 0x0024u     /* RO: VTTM_MAX_VMS */

/* --- Device control ------------------------------------------------------------------------- */
#define VTTM_REG_DEV_CTRL 0x0028u      /* RW */
#define VTTM_DEV_CTRL_RESET (1u << 0)  /* self-clearing: all engines, VMs, TLBs, IRQ state */
#define VTTM_REG_DEV_STATUS 0x002cu    /* RO */
/* Poll until clear after a reset; until then every write is ignored. */
#define VTTM_DEV_STATUS_RESETTING (1u << 0)
#define VTTM_REG_IRQ_STATUS 0x0030u    /* W1C: VTTM_IRQ_*; latched even while not enabled */
/*
 * RW: a set bit lets its MSI-X vector fire: at each event, and at once if the bit goes from 0 to 1
 * while its status is latched.
 */
#define VTTM_REG_IRQ_ENABLE 0x0034u
#define VTTM_IRQ_ERROR (1u << 0)
#define VTTM_IRQ_ENGINE(e) (1u << (1 + (e)))
#define VTTM_IRQ_VRAM (1u << (1 + VTTM_NUM_ENGINES)) /* VRAM_TARGET has changed */
#define VTTM_REG_TIMESTAMP_LO 0x0038u /* RO: device time, ns since creation; LO latches HI */
#define VTTM_REG_TIMESTAMP_HI 0x003cu
#define VTTM_REG_BAD_ACCESS 0x0040u /* RO: malformed or refused register accesses since reset */
#define VTTM_REG_NUM_RINGS 0x0044u  /* RO: rings per engine; a hole without VTTM_FEATURE_RINGS */

/*
 * MSI-X vectors: 0 = error (fault, halted engine), 1 + e = engine e (FENCE packets with IRQ), then
 * VRAM_TARGET (since ABI 1.2; a driver that uses three vectors only does not hear of it).
 */
#define VTTM_MSIX_ERROR 0
#define VTTM_MSIX_ENGINE(e) (1 + (e))
#define VTTM_MSIX_VRAM (1 + VTTM_NUM_ENGINES)
#define VTTM_NUM_VECTORS 4

/* --- Faults: the first one since FAULT_STATUS was cleared is latched, all are counted --------- */
#define VTTM_REG_FAULT_STATUS 0x0050u /* W1C: bit 0 */
#define VTTM_FAULT_STATUS_VALID (1u << 0)
#define VTTM_REG_FAULT_INFO 0x0054u /* RO: reason[7:0] engine[11:8] access[12] ring[15:13] vm[31:16] */
#define VTTM_FAULT_INFO_REASON(i) ((i) & 0xffu)
#define VTTM_FAULT_INFO_ENGINE(i) (((i) >> 8) & 0xfu)
#define VTTM_FAULT_INFO_WRITE (1u << 12) /* the access was, or would have been, a write */
#define VTTM_FAULT_INFO_RING(i) (((i) >> 13) & 7u)
#define VTTM_FAULT_INFO_VM(i) ((i) >> 16)
/*
 * RO: the address that faulted: of an access the VA (bus address, VRAM offset, if the packet named
 * such a space), to the byte; of a range beyond its space its begin; of BAD_PACKET, BAD_FRAMING, PRIVILEGE and a SET_VM out of range the packet's: its
 * bus address in the ring, or its address in the space of its indirect buffer.
 */
#define VTTM_REG_FAULT_ADDR_LO 0x0058u
#define VTTM_REG_FAULT_ADDR_HI 0x005cu
#define VTTM_REG_FAULT_COUNT 0x0060u /* RO: faults since reset */
#define VTTM_REG_STALE_COUNT 0x0064u /* RO: uses of a stale translation since reset */

enum vttm_fault_reason {
	VTTM_FAULT_NONE = 0,
	VTTM_FAULT_NOT_VALID = 1,     /* a table entry or leaf without VALID */
	VTTM_FAULT_READ_ONLY = 2,     /* write through a leaf without WRITE */
	VTTM_FAULT_RESERVED_BITS = 3, /* must-be-zero bits of an entry are set */
	VTTM_FAULT_VA_RANGE = 4,      /* VA beyond 48 bits, or the range wraps */
	VTTM_FAULT_VRAM_RANGE = 5,    /* VRAM offset beyond VRAM_LIMIT */
	VTTM_FAULT_BUS = 6,           /* system memory not there, or not RAM (own BARs, MMIO) */
	VTTM_FAULT_NO_VM = 7,         /* the VM has no valid root, or its id is out of range */
	VTTM_FAULT_BAD_PACKET = 8,    /* well-framed packet with bad operands */
	VTTM_FAULT_BAD_FRAMING = 9,   /* unknown opcode or length, bad TAIL: the ring halts */
	VTTM_FAULT_NO_ACCESS = 10,    /* read or write, and the leaf says NO_ACCESS */
	VTTM_FAULT_LEAF_LEVEL = 11,   /* LARGE in the root or in an entry of level 3 or 2 */
	VTTM_FAULT_LEAF_ALIGN = 12,   /* address of a large leaf is not what its place asks for */
	VTTM_FAULT_LEAF_MIXED = 13,   /* the 16 entries of a 64 KiB leaf do not agree */
	VTTM_FAULT_PRIVILEGE = 14,    /* a packet that must not stand in an unprivileged IB */
	VTTM_FAULT_POISON = 15,       /* read of VRAM that has lost its content (uncorrectable error) */
};

/* --- TLB invalidation ------------------------------------------------------------------------
 * Write START and PAGES (for RANGE), then CMD. Each CMD write adds one to what TLB_INV_DONE will
 * reach; the driver polls until DONE has caught up (modulo 2^32). Then no engine uses a dropped
 * translation any more, packets in flight included. The TLB never forgets by itself.
 * RANGE drops all that covers any page of it: large leaves and cached upper entries go as a whole.
 */
#define VTTM_REG_TLB_INV_START_LO 0x0070u /* RW: first VA; rounded down to a page in use */
#define VTTM_REG_TLB_INV_START_HI 0x0074u
#define VTTM_REG_TLB_INV_PAGES 0x0078u /* RW: number of 4 KiB pages */
#define VTTM_REG_TLB_INV_CMD 0x007cu   /* WO: scope[1:0], vm[31:16] */
#define VTTM_TLB_INV_ALL 0u /* and the undefined scope 3 */
#define VTTM_TLB_INV_VM 1u
#define VTTM_TLB_INV_RANGE 2u
#define VTTM_TLB_INV_CMD(scope, vm) ((scope) | ((vm) << 16))
#define VTTM_REG_TLB_INV_DONE 0x0080u /* RO: completed invalidations since reset */

/* --- Fault ring (see vttm_fault.h) ------------------------------------------------------------
 * Set BASE and SIZE, then CTRL = ENABLE, which makes PUT, GET and LOST 0. To take it down:
 * CTRL = 0, poll until BUSY is clear; then the memory is the driver's. PUT and GET number records
 * modulo 2^32.
 */
#define VTTM_REG_FAULT_RING_BASE_LO 0x0090u /* RW while off: bus address; low 12 bits are 0 */
#define VTTM_REG_FAULT_RING_BASE_HI 0x0094u
#define VTTM_REG_FAULT_RING_SIZE 0x0098u /* RW while off: bytes, power of two, 4 KiB..64 KiB */
#define VTTM_REG_FAULT_RING_CTRL 0x009cu /* RW; other bits than these two are refused */
#define VTTM_FAULT_RING_CTRL_ENABLE (1u << 0)
#define VTTM_FAULT_RING_CTRL_BUSY (1u << 1) /* RO: a record is being written; not off before */
#define VTTM_REG_FAULT_RING_PUT 0x00a0u  /* RO: records written */
#define VTTM_REG_FAULT_RING_GET 0x00a4u  /* RW: records read; forward only, and not beyond PUT */
#define VTTM_REG_FAULT_RING_LOST 0x00a8u /* RO: records not written: ring full, or no RAM there */

/* --- VRAM balloon ------------------------------------------------------------------------------
 * The host may ask for VRAM back, at any time: VRAM_TARGET is how much it leaves, VTTM_IRQ_VRAM tells of
 * each change; a driver reads it after a reset, too, which does not change it. The driver empties the
 * VRAM from the top down, waits until no job and no CPU uses that part any more, and then writes what
 * it keeps to VRAM_LIMIT. From their next chunk on engines that access VRAM at or above VRAM_LIMIT meet
 * VTTM_FAULT_VRAM_RANGE, and what lay there is lost: it reads as anything when it is given back. To
 * take VRAM back, raise VRAM_LIMIT up to VRAM_TARGET, read it back, use that. Nobody enforces VRAM_TARGET: a
 * driver without a balloon uses all VRAM.
 */
#define VTTM_REG_VRAM_TARGET_LO 0x00b0u /* RO: bytes, multiple of 2 MiB, 0 .. VRAM_SIZE */
#define VTTM_REG_VRAM_TARGET_HI 0x00b4u
/*
 * RW: bytes, multiple of 2 MiB; not raised beyond VRAM_TARGET. VRAM_SIZE after a reset. A 4-byte
 * write is taken by itself: both halves of one that changes both must be valid, or write 8 bytes.
 */
#define VTTM_REG_VRAM_LIMIT_LO 0x00b8u
#define VTTM_REG_VRAM_LIMIT_HI 0x00bcu
#define VTTM_VRAM_LIMIT_UNIT 0x200000u
#define VTTM_VRAM_LIMIT_STEP 0x4000000u /* lowered by at most so much with one write */

/* --- VMs: root of the page table (see vttm_pte.h) -------------------------------------------- */
#define VTTM_MAX_VMS 256u
#define VTTM_NO_VM 0xffffu /* in fault and witness records: no VM was current */
#define VTTM_REG_VM_ROOT_LO(vm) (0x1000u + (vm) * 8u) /* RW: an entry in vttm_pte.h's format */
#define VTTM_REG_VM_ROOT_HI(vm) (0x1004u + (vm) * 8u)
#define VTTM_REG_VM_MODE(vm) (0x2000u + (vm) * 4u) /* RW: VTTM_VM_MODE_*; other bits are refused */
/* VTTM_FAULT_NOT_VALID of an access in this VM stalls the engine until VTTM_ENG_ANSWER. */
#define VTTM_VM_MODE_RETRY (1u << 0)

/* --- Engines ---------------------------------------------------------------------------------- */
#define VTTM_ENGINE_COPY 0u
#define VTTM_ENGINE_STAMP 1u
#define VTTM_NUM_ENGINES 2u
#define VTTM_ENGINE_BASE(e) (0x4000u + (e) * 0x100u)

/*
 * Rings (VTTM_FEATURE_RINGS). Each ring of an engine has a block of the registers below; that of
 * ring 0 is the engine's. All are the ring's own but for CLASS, BYTES and PACKETS, which are the
 * engine's and the same in each block. Behind the last ring other registers begin at once.
 */
#define VTTM_NUM_RINGS 4u
#define VTTM_RING_BLOCK(e, r) (VTTM_ENGINE_BASE(e) + (r) * 0x1000u)

#define VTTM_ENG_CTRL 0x00u             /* RW */
#define VTTM_ENG_CTRL_ENABLE (1u << 0)  /* fetches only while set; a packet under way runs on */
/*
 * Self-clearing: drops packet and buffers under way, HEAD = TAIL = 0, no current VM, no pending error,
 * clears HALTED. ENABLE becomes what the same write says. The ring's place, LAST_FENCE, PRIORITY,
 * the counters and the TLB stay.
 * RESET is the engine's: all rings; it stands in the block of ring 0 only (elsewhere it is refused),
 * and clears ENABLE of the other rings. RING_RESET is for the ring of the block alone.
 */
#define VTTM_ENG_CTRL_RESET (1u << 1)
#define VTTM_ENG_CTRL_RING_RESET (1u << 2) /* VTTM_FEATURE_RINGS */
#define VTTM_ENG_STATUS 0x04u           /* RO */
#define VTTM_ENG_STATUS_IDLE (1u << 0)  /* HEAD == TAIL and no packet under way */
/* Stopped by VTTM_FAULT_BAD_FRAMING, or VTTM_FAULT_BUS of the ring itself; needs a reset. */
#define VTTM_ENG_STATUS_HALTED (1u << 1)
/* Poll until clear after a reset; until then writes to this block are ignored. */
#define VTTM_ENG_STATUS_RESETTING (1u << 2)
/* Waits at a retryable fault for VTTM_ENG_ANSWER, or a reset; not IDLE. */
#define VTTM_ENG_STATUS_STALLED (1u << 3)
/* Holds at a SEM_WAIT and looks for its value; not IDLE. Clear while not ENABLE: it does not look. */
#define VTTM_ENG_STATUS_WAITING (1u << 4)
#define VTTM_ENG_CLASS 0x08u            /* RO: enum vttm_engine_class */
#define VTTM_ENG_RING_BASE_LO 0x10u     /* RW while disabled: bus address; low 12 bits are 0 */
#define VTTM_ENG_RING_BASE_HI 0x14u
#define VTTM_ENG_RING_SIZE 0x18u        /* RW while disabled: bytes, power of two, 4 KiB..1 MiB */
#define VTTM_ENG_HEAD 0x20u             /* RO: byte offset of the next packet to fetch */
/*
 * RW, doorbell: byte offset behind the last packet, multiple of 4, below RING_SIZE (else the engine
 * halts with VTTM_FAULT_BAD_FRAMING). HEAD == TAIL is an empty ring: leave 4 bytes free.
 */
#define VTTM_ENG_TAIL 0x24u
#define VTTM_ENG_LAST_FENCE_LO 0x28u    /* RO: sequence number of the last FENCE packet */
#define VTTM_ENG_LAST_FENCE_HI 0x2cu
#define VTTM_ENG_BYTES_LO 0x30u /* RO: bytes written, verified, hashed since device reset */
#define VTTM_ENG_BYTES_HI 0x34u
#define VTTM_ENG_PACKETS 0x38u /* RO: packets done without error since device reset */
/* RO: number of the last stall; 0: none since device reset. 24 bits, 1 follows 2^24 - 1. */
#define VTTM_ENG_STALL 0x3cu
/*
 * WO: ends the stall of this number: RETRY tries the access again, FAIL makes the fault one like
 * any other. An answer to a stall that is not (any more) is ignored.
 */
#define VTTM_ENG_ANSWER 0x40u
#define VTTM_ENG_ANSWER_RETRY 1u
#define VTTM_ENG_ANSWER_FAIL 2u
#define VTTM_ENG_ANSWER_VAL(stall, answer) ((stall) << 8 | (answer))
#define VTTM_ENG_STALL_MAX 0xffffffu
/* RW: 0 .. VTTM_PRIORITY_MAX, the higher goes first; 0 after device reset. VTTM_FEATURE_RINGS. */
#define VTTM_ENG_PRIORITY 0x44u
#define VTTM_PRIORITY_MAX 3u

enum vttm_engine_class {
	/* Both: NOP, SET_VM, FENCE, TIMESTAMP, SEM_SIGNAL, SEM_WAIT, COND_SKIP, INDIRECT. */
	VTTM_CLASS_COPY = 1,  /* COPY, FILL, COPY_2D, FILL_2D, SCATTER, GATHER */
	VTTM_CLASS_STAMP = 2, /* STAMP_WRITE, STAMP_VERIFY, HASH */
};

/* --- Counters (VTTM_FEATURE_COUNTERS) ----------------------------------------------------------
 * RO, 64 bits each: low half at the offset, high half 4 above; since device reset. A read of 8
 * bytes is one moment; two of 4 bytes may tear. Each grows only, and all of an engine are complete
 * while it is IDLE.
 */
#define VTTM_COUNTER_BASE(e) (0x8000u + (e) * 0x100u)
#define VTTM_CNT_BUSY_NS 0x00u    /* time at work on packets; not while STALLED or WAITING */
#define VTTM_CNT_BYTES 0x08u      /* as VTTM_ENG_BYTES */
#define VTTM_CNT_PACKETS 0x10u    /* as VTTM_ENG_PACKETS */
#define VTTM_CNT_FAULTS 0x18u     /* the engine's part of VTTM_REG_FAULT_COUNT */
#define VTTM_CNT_STALE 0x20u      /* ... of VTTM_REG_STALE_COUNT */
#define VTTM_CNT_TLB_HITS 0x28u   /* translations that the TLB had */
#define VTTM_CNT_TLB_MISSES 0x30u /* ... that needed a walk: ROOT_WALKS + WALK_HITS */
#define VTTM_CNT_ROOT_WALKS 0x38u /* walks from the root */
#define VTTM_CNT_WALK_HITS 0x40u  /* walks from a table that the page-walk cache had */
#define VTTM_NUM_COUNTERS 9u

#define VTTM_RING_MIN_SIZE 0x1000u
#define VTTM_RING_MAX_SIZE 0x100000u

/* 8 bytes wide access needs each pair in place. */
#define VTTM_ASSERT_PAIR(reg) \
	VTTM_STATIC_ASSERT(reg##_LO % 8 == 0 && reg##_HI == reg##_LO + 4, #reg " is a pair")
VTTM_ASSERT_PAIR(VTTM_REG_FEATURES);
VTTM_ASSERT_PAIR(VTTM_REG_VRAM_SIZE);
VTTM_ASSERT_PAIR(VTTM_REG_VRAM_VISIBLE);
VTTM_ASSERT_PAIR(VTTM_REG_TIMESTAMP);
VTTM_ASSERT_PAIR(VTTM_REG_FAULT_ADDR);
VTTM_ASSERT_PAIR(VTTM_REG_TLB_INV_START);
VTTM_ASSERT_PAIR(VTTM_REG_FAULT_RING_BASE);
VTTM_ASSERT_PAIR(VTTM_REG_VRAM_TARGET);
VTTM_ASSERT_PAIR(VTTM_REG_VRAM_LIMIT);
VTTM_ASSERT_PAIR(VTTM_ENG_RING_BASE);
VTTM_ASSERT_PAIR(VTTM_ENG_LAST_FENCE);
VTTM_ASSERT_PAIR(VTTM_ENG_BYTES);
VTTM_STATIC_ASSERT(VTTM_REG_VM_ROOT_LO(1) % 8 == 0 &&
		   VTTM_REG_VM_ROOT_HI(1) == VTTM_REG_VM_ROOT_LO(1) + 4, "VM_ROOT is a pair");
/* The blocks of registers follow each other without overlap. */
VTTM_STATIC_ASSERT(VTTM_REG_NUM_RINGS < VTTM_REG_FAULT_STATUS, "control below faults");
VTTM_STATIC_ASSERT(VTTM_REG_STALE_COUNT < VTTM_REG_TLB_INV_START_LO, "faults below TLB");
VTTM_STATIC_ASSERT(VTTM_REG_TLB_INV_DONE < VTTM_REG_FAULT_RING_BASE_LO, "TLB below fault ring");
VTTM_STATIC_ASSERT(VTTM_REG_FAULT_RING_LOST < VTTM_REG_VRAM_TARGET_LO, "fault ring below balloon");
VTTM_STATIC_ASSERT(VTTM_REG_VRAM_LIMIT_HI < VTTM_REG_VM_ROOT_LO(0), "balloon below VMs");
VTTM_STATIC_ASSERT(VTTM_REG_VM_ROOT_LO(VTTM_MAX_VMS) <= VTTM_REG_VM_MODE(0), "roots below modes");
VTTM_STATIC_ASSERT(VTTM_REG_VM_MODE(VTTM_MAX_VMS) <= VTTM_ENGINE_BASE(0), "VMs below engines");
VTTM_STATIC_ASSERT(VTTM_ENGINE_BASE(0) + VTTM_ENG_PRIORITY < VTTM_ENGINE_BASE(1), "engines apart");
VTTM_STATIC_ASSERT(VTTM_ENGINE_BASE(VTTM_NUM_ENGINES) <= VTTM_RING_BLOCK(0, 1), "rings apart");
VTTM_STATIC_ASSERT(VTTM_NUM_RINGS <= 8, "FAULT_INFO has 3 bits for the ring");
VTTM_STATIC_ASSERT(VTTM_RING_BLOCK(0, VTTM_NUM_RINGS) <= VTTM_COUNTER_BASE(0),
		   "rings below counters");
VTTM_STATIC_ASSERT(VTTM_CNT_WALK_HITS + 8u == VTTM_NUM_COUNTERS * 8u, "counters without a hole");
VTTM_STATIC_ASSERT(VTTM_COUNTER_BASE(0) + VTTM_NUM_COUNTERS * 8u <= VTTM_COUNTER_BASE(1),
		   "counters apart");
VTTM_STATIC_ASSERT(VTTM_COUNTER_BASE(VTTM_NUM_ENGINES) <= VTTM_REGS_SIZE, "counters within BAR0");
VTTM_STATIC_ASSERT(VTTM_MSIX_ENGINE(VTTM_NUM_ENGINES) == VTTM_MSIX_VRAM, "a vector per engine");
VTTM_STATIC_ASSERT(VTTM_MSIX_VRAM + 1 == VTTM_NUM_VECTORS, "and one for the balloon");
VTTM_STATIC_ASSERT(VTTM_MAX_VMS <= VTTM_NO_VM, "no VM has the id of none");

#endif /* VTTM_REGS_H */
