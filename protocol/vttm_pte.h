/* SPDX-License-Identifier: MIT */
/*
 * vttm page tables: 48-bit virtual addresses, four levels of 512 64-bit little-endian entries.
 *
 * The root (VTTM_REG_VM_ROOT) and the entries of levels 3..1 point to a 4 KiB table in the same
 * format as leaves: VALID, SYSTEM and the address count, WRITE is ignored. Level 0 entries are
 * leaves of 4 KiB. Bits outside VTTM_PTE_FLAGS | VTTM_PTE_ADDR must be zero
 * (VTTM_FAULT_RESERVED_BITS); large leaves are not in ABI 1.0.
 *
 * The device caches leaves in a TLB that never forgets by itself: after clearing or changing a
 * valid entry the driver invalidates (VTTM_REG_TLB_INV_CMD) and waits before it reuses the page.
 * Invalid entries are never cached, so making an entry valid needs no invalidation. Rights, upper
 * entries and the root count as the leaf does: adding WRITE or moving a table is a change. The
 * other bits of an entry without VALID are the driver's.
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
#define VTTM_PTE_FLAGS (VTTM_PTE_VALID | VTTM_PTE_WRITE | VTTM_PTE_SYSTEM)
#define VTTM_PTE_ADDR 0x000ffffffffff000ull

/* Index of @va into the table of @level (3 = root table .. 0 = leaves). */
#define VTTM_PT_INDEX(va, level) \
	(((va) >> (VTTM_PAGE_SHIFT + VTTM_PT_INDEX_BITS * (level))) & (VTTM_PT_ENTRIES - 1))

VTTM_STATIC_ASSERT(VTTM_PTE_FLAGS == 7, "flags are bits 0 to 2");
VTTM_STATIC_ASSERT((VTTM_PTE_FLAGS & VTTM_PTE_ADDR) == 0, "flags and address are apart");
VTTM_STATIC_ASSERT(VTTM_PTE_ADDR == (1ull << 52) - VTTM_PAGE_SIZE, "addresses have 52 bits");
VTTM_STATIC_ASSERT(VTTM_PAGE_SIZE == 1ull << VTTM_PAGE_SHIFT, "size of a page");
VTTM_STATIC_ASSERT(VTTM_PT_ENTRIES == 1u << VTTM_PT_INDEX_BITS, "entries of a table");
VTTM_STATIC_ASSERT(VTTM_PT_ENTRIES * 8 == VTTM_PAGE_SIZE, "a table is a page of 64-bit entries");
VTTM_STATIC_ASSERT(VTTM_PAGE_SHIFT + VTTM_PT_LEVELS * VTTM_PT_INDEX_BITS == VTTM_VA_BITS, "levels");

#endif /* VTTM_PTE_H */
