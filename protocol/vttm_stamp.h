/* SPDX-License-Identifier: MIT */
/*
 * vttm stamps: self-identifying page content.
 *
 * A stamped 4 KiB page is 64 lines of 64 bytes. Each line names its buffer, page, generation and
 * line number and carries a keyed checksum, so one line found anywhere tells where it belongs, and
 * a page's content follows from its identity alone: whoever knows the identity can regenerate all
 * 4096 bytes. The device, the guest's CPU and the host share this header.
 *
 * The checksum is a fixed mix, not a cryptographic hash: it must be cheap on every CPU (emulated
 * ones too), and a line is always compared with what it should be, never trusted by it alone.
 */
#ifndef VTTM_STAMP_H
#define VTTM_STAMP_H

#include "vttm_packets.h"

#define VTTM_STAMP_MAGIC 0x50545356u /* "VSTP" */
#define VTTM_STAMP_LINE_SIZE 64u
#define VTTM_STAMP_LINES 64u
#define VTTM_STAMP_PAGE_SIZE 4096u

/* Identity of a stamped page. @buffer 0 is never used; generations start at 1. */
struct vttm_stamp_id {
	uint64_t key;        /* secret of the run (the host's seed) */
	uint64_t page;       /* index in the buffer */
	uint32_t buffer;     /* chosen by who creates the buffer, unique in a run */
	uint32_t generation; /* grows with each fill of the buffer */
};

struct vttm_stamp_line {
	uint32_t magic;
	uint32_t line; /* 0 .. 63 */
	uint32_t buffer;
	uint32_t generation;
	uint64_t page;
	uint64_t body[4]; /* follows from identity, line and key */
	uint64_t sum;     /* vttm_stamp_sum() of all words before it */
};

VTTM_ASSERT_SIZE(vttm_stamp_id, 24);
VTTM_ASSERT_OFFSET(vttm_stamp_id, key, 0);
VTTM_ASSERT_OFFSET(vttm_stamp_id, page, 8);
VTTM_ASSERT_OFFSET(vttm_stamp_id, buffer, 16);
VTTM_ASSERT_OFFSET(vttm_stamp_id, generation, 20);

VTTM_ASSERT_SIZE(vttm_stamp_line, 64);
VTTM_ASSERT_OFFSET(vttm_stamp_line, magic, 0);
VTTM_ASSERT_OFFSET(vttm_stamp_line, line, 4);
VTTM_ASSERT_OFFSET(vttm_stamp_line, buffer, 8);
VTTM_ASSERT_OFFSET(vttm_stamp_line, generation, 12);
VTTM_ASSERT_OFFSET(vttm_stamp_line, page, 16);
VTTM_ASSERT_OFFSET(vttm_stamp_line, body, 24);
VTTM_ASSERT_OFFSET(vttm_stamp_line, sum, 56);
VTTM_STATIC_ASSERT(sizeof(struct vttm_stamp_line) == VTTM_STAMP_LINE_SIZE, "size of a line");
VTTM_STATIC_ASSERT(VTTM_STAMP_LINES * VTTM_STAMP_LINE_SIZE == VTTM_STAMP_PAGE_SIZE, "lines");

/* What a page turned out to be. The order is part of the protocol (stamp results, witness log). */
enum vttm_stamp_class {
	VTTM_STAMP_GOOD = 0,
	VTTM_STAMP_ZERO = 1,    /* all bytes zero */
	VTTM_STAMP_STALE = 2,   /* whole page valid: same buffer and page, another generation */
	VTTM_STAMP_FOREIGN = 3, /* whole page valid: another buffer or page index */
	VTTM_STAMP_TORN = 4,    /* some lines right; the others valid elsewhere, or zero */
	VTTM_STAMP_BITFLIP = 5, /* differs from the expected page in at most 8 bits */
	VTTM_STAMP_GARBAGE = 6, /* anything else */
	VTTM_STAMP_NUM_CLASSES = 7,
};

static inline uint64_t vttm_mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ (x >> 31);
}

/* Per-page base of body and checksum. */
static inline uint64_t vttm_stamp_base(const struct vttm_stamp_id *id)
{
	uint64_t who = ((uint64_t)id->buffer << 32) | id->generation;

	return vttm_mix64(id->key ^ vttm_mix64(who) ^ (id->page * 0x9e3779b97f4a7c15ull));
}

/*
 * Keyed multilinear sum over the seven words before @sum: each multiplier is odd, so changing any
 * one word always changes the result.
 */
static inline uint64_t vttm_stamp_sum(const uint64_t w[7], uint64_t key)
{
	uint64_t s = key;

	s += (w[0] ^ 0x243f6a8885a308d3ull) * 0xa0761d6478bd642full;
	s += (w[1] ^ 0x13198a2e03707344ull) * 0xe7037ed1a0b428dbull;
	s += (w[2] ^ 0xa4093822299f31d0ull) * 0x8ebc6af09c88c6e3ull;
	s += (w[3] ^ 0x082efa98ec4e6c89ull) * 0x589965cc75374cc3ull;
	s += (w[4] ^ 0x452821e638d01377ull) * 0x1d8e4e27c47d124full;
	s += (w[5] ^ 0xbe5466cf34e90c6cull) * 0xeb44accab455d165ull;
	s += (w[6] ^ 0xc0ac29b7c97c50ddull) * 0x9e6c63d0676a9a99ull;
	return s ^ (s >> 29);
}

/* The eight words of line @line (0 .. 63) of the page @id, whose base is @base. */
static inline void vttm_stamp_make_line(uint64_t w[8], const struct vttm_stamp_id *id,
					uint64_t base, uint32_t line)
{
	uint64_t x = base + line * 0xd6e8feb86659fd93ull;

	w[0] = VTTM_STAMP_MAGIC | ((uint64_t)line << 32);
	w[1] = id->buffer | ((uint64_t)id->generation << 32);
	w[2] = id->page;
	w[3] = (x ^ (x >> 32)) * 0xff51afd7ed558ccdull;
	w[4] = (x ^ (x >> 29)) * 0xc4ceb9fe1a85ec53ull;
	w[5] = (x ^ (x >> 31)) * 0x87c37b91114253d5ull;
	w[6] = (x ^ (x >> 33)) * 0x4cf5ad432745937full;
	w[7] = vttm_stamp_sum(w, id->key);
}

/* Writes the whole page @id to @dst (4096 bytes, 8-byte aligned). */
static inline void vttm_stamp_fill(void *dst, const struct vttm_stamp_id *id)
{
	uint64_t base = vttm_stamp_base(id);
	uint64_t *w = (uint64_t *)dst;
	uint32_t line;

	for (line = 0; line < VTTM_STAMP_LINES; line++, w += 8)
		vttm_stamp_make_line(w, id, base, line);
}

/* 1 if @src (8-byte aligned) is exactly the page @id, else 0. */
static inline int vttm_stamp_check(const void *src, const struct vttm_stamp_id *id)
{
	uint64_t base = vttm_stamp_base(id);
	const uint64_t *w = (const uint64_t *)src;
	uint32_t line;

	for (line = 0; line < VTTM_STAMP_LINES; line++, w += 8) {
		uint64_t e[8], diff;

		vttm_stamp_make_line(e, id, base, line);
		diff = (w[0] ^ e[0]) | (w[1] ^ e[1]) | (w[2] ^ e[2]) | (w[3] ^ e[3]) |
		       (w[4] ^ e[4]) | (w[5] ^ e[5]) | (w[6] ^ e[6]) | (w[7] ^ e[7]);
		if (diff)
			return 0;
	}
	return 1;
}

/*
 * Reads the identity that the line at @w claims. Returns 1 and fills @id and @line if the magic and
 * the checksum under @key are right, else 0. Says nothing of the other lines of the page.
 */
static inline int vttm_stamp_parse_line(const uint64_t w[8], uint64_t key,
					struct vttm_stamp_id *id, uint32_t *line)
{
	if ((uint32_t)w[0] != VTTM_STAMP_MAGIC || (w[0] >> 32) >= VTTM_STAMP_LINES)
		return 0;
	if (vttm_stamp_sum(w, key) != w[7])
		return 0;
	id->key = key;
	id->buffer = (uint32_t)w[1];
	id->generation = (uint32_t)(w[1] >> 32);
	id->page = w[2];
	*line = (uint32_t)(w[0] >> 32);
	return 1;
}

/* Classifies the page at @src (8-byte aligned) that should be @id. See enum vttm_stamp_class. */
static inline enum vttm_stamp_class vttm_stamp_classify(const void *src,
							const struct vttm_stamp_id *id)
{
	const uint64_t *w = (const uint64_t *)src;
	uint64_t base = vttm_stamp_base(id), any = 0;
	uint32_t right = 0, zero = 0, valid = 0, flipped = 0, line, i;
	struct vttm_stamp_id first = { 0, 0, 0, 0 };
	int uniform = 1;

	for (line = 0; line < VTTM_STAMP_LINES; line++, w += 8) {
		struct vttm_stamp_id got;
		uint64_t e[8], diff = 0, line_any = 0;
		uint32_t at;

		vttm_stamp_make_line(e, id, base, line);
		for (i = 0; i < 8; i++) {
			uint64_t d = w[i] ^ e[i];

			diff |= d;
			line_any |= w[i];
			/* popcount without a builtin: kernel code may lack the library call */
			for (; d && flipped <= 8; d &= d - 1)
				flipped++;
		}
		any |= line_any;
		if (!diff) {
			right++;
			uniform = 0;
		} else if (!line_any) {
			zero++;
			uniform = 0;
		} else if (vttm_stamp_parse_line(w, id->key, &got, &at)) {
			valid++;
			if (line == 0)
				first = got;
			if (at != line || got.buffer != first.buffer || got.page != first.page ||
			    got.generation != first.generation)
				uniform = 0;
		} else {
			uniform = 0;
		}
	}
	if (right == VTTM_STAMP_LINES)
		return VTTM_STAMP_GOOD;
	if (!any)
		return VTTM_STAMP_ZERO;
	if (flipped <= 8)
		return VTTM_STAMP_BITFLIP;
	if (valid == VTTM_STAMP_LINES && uniform) {
		if (first.buffer == id->buffer && first.page == id->page)
			return VTTM_STAMP_STALE;
		return VTTM_STAMP_FOREIGN;
	}
	if (right + zero + valid == VTTM_STAMP_LINES)
		return VTTM_STAMP_TORN;
	return VTTM_STAMP_GARBAGE;
}

#endif /* VTTM_STAMP_H */
