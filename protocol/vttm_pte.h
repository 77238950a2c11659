/* SPDX-License-Identifier: MIT */
/*
 * vttm page tables: 48-bit virtual addresses, four levels of 512 64-bit little-endian entries.
 *
 * The root (VTTM_REG_VM_ROOT) and the entries of levels 3..1 point to a 4 KiB table: VALID, SYSTEM
 * and the address count, WRITE is ignored, NO_ACCESS must be zero. Level 0 entries are leaves of
 * 4 KiB. Bits outside VTTM_PTE_FLAGS | VTTM_PTE_ADDR must be zero (VTTM_FAULT_RESERVED_BITS).
 *
 * Large leaves (VTTM_FEATURE_LARGE_LEAVES; without it LARGE is a reserved bit):
 *   2 MiB   LARGE in an entry of level 1: it is a leaf, its address a multiple of 2 MiB.
 *   64 KiB  LARGE in the 16 entries of level 0 that cover 64 KiB of addresses. Each is by itself
 *           the right leaf of its 4 KiB: the addresses follow each other from a multiple of 64 KiB on,
 *           all else is equal. So clearing LARGE in all 16 changes nothing but the size.
 * LARGE elsewhere, a wrong address, and 16 entries that do not agree are faults (LEAF_*).
 *
 * NO_ACCESS (VTTM_FEATURE_NO_ACCESS; without it a reserved bit) makes a leaf of any size one that
 * may be neither read nor written, whatever WRITE says; its address leads nowhere, but keeps the
 * form that its size asks for. Such a leaf is valid: it is cached as any other.
 *
 * The device caches leaves in a TLB, and (VTTM_FEATURE_WALK_CACHE) the entries of levels 3..1 on
 * the way to them, and never forgets by itself: after clearing or changing a valid entry the driver
 * invalidates (VTTM_REG_TLB_INV_CMD) and waits before it reuses the page or table. Invalid entries
 * are never cached, so making an entry valid needs no invalidation. Rights, sizes, upper entries
 * and the root count as the leaf does: adding WRITE, moving a table, splitting a leaf is a change.
 * The other bits of an entry without VALID are the driver's.
 */
#ifndef VTTM_PTE_H
#define VTTM_PTE_H

#include "vttm_assert.h"

#define VTTM_PAGE_SHIFT 12
#define VTTM_PAGE_SIZE 4096ull
#define VTTM_VA_BITS 48
#define VTTM_PT_LEVELS 4
#define VTTM_PT_ENTRIES 512u
#define VTTM_PT_INDEX_BITS 9

#define VTTM_PTE_VALID (1ull << 0)
#define VTTM_PTE_WRITE (1ull << 1)
#define VTTM_PTE_SYSTEM (1ull << 2) /* address is a bus address; else an offset into VRAM */
#define VTTM_PTE_LARGE (1ull << 3)  /* leaf of 2 MiB (level 1) or part of one of 64 KiB (level 0) */
#define VTTM_PTE_NO_ACCESS (1ull << 4) /* leaf: may be neither read nor written */
#define VTTM_PTE_FLAGS \
	(VTTM_PTE_VALID | VTTM_PTE_WRITE | VTTM_PTE_SYSTEM | VTTM_PTE_LARGE | VTTM_PTE_NO_ACCESS)
#define VTTM_PTE_ADDR 0x000ffffffffff000ull

/* Sizes of large leaves, and the entries of level 0 that make up one of 64 KiB. */
#define VTTM_LEAF_64K_SHIFT 16
#define VTTM_LEAF_2M_SHIFT 21
#define VTTM_LEAF_64K_ENTRIES 16u

/* Index of @va into the table of @level (3 = root table .. 0 = leaves). */
#define VTTM_PT_INDEX(va, level) \
	(((va) >> (VTTM_PAGE_SHIFT + VTTM_PT_INDEX_BITS * (level))) & (VTTM_PT_ENTRIES - 1))

VTTM_STATIC_ASSERT(VTTM_PTE_FLAGS == 31, "flags are bits 0 to 4");
VTTM_STATIC_ASSERT((VTTM_PTE_FLAGS & VTTM_PTE_ADDR) == 0, "flags and address are apart");
VTTM_STATIC_ASSERT(VTTM_PTE_ADDR == (1ull << 52) - VTTM_PAGE_SIZE, "addresses have 52 bits");
VTTM_STATIC_ASSERT(VTTM_PAGE_SIZE == 1ull << VTTM_PAGE_SHIFT, "size of a page");
VTTM_STATIC_ASSERT(VTTM_PT_ENTRIES == 1u << VTTM_PT_INDEX_BITS, "entries of a table");
VTTM_STATIC_ASSERT(VTTM_PT_ENTRIES * 8 == VTTM_PAGE_SIZE, "a table is a page of 64-bit entries");
VTTM_STATIC_ASSERT(VTTM_PAGE_SHIFT + VTTM_PT_LEVELS * VTTM_PT_INDEX_BITS == VTTM_VA_BITS, "levels");
VTTM_STATIC_ASSERT(VTTM_LEAF_64K_ENTRIES << VTTM_PAGE_SHIFT == 1u << VTTM_LEAF_64K_SHIFT,
		   "entries of a leaf of 64 KiB");
VTTM_STATIC_ASSERT(VTTM_PAGE_SHIFT + VTTM_PT_INDEX_BITS == VTTM_LEAF_2M_SHIFT,
		   "an entry of level 1 covers 2 MiB");

#endif /* VTTM_PTE_H */
