/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol headers as C sees them, with every offset that a driver relies on. What does not
 * hold does not compile; the functions let the C++ side compare values.
 */
#include <stddef.h>

#include "protocol/vttm_packets.h"
#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"
#include "protocol/vttm_stamp.h"
#include "protocol/vttm_witness.h"

/* The model's interface must be usable from C as well: QEMU is. */
#include "host-backend/model/vttm_model.h"

#include "tests/unit/protocol/layout_c.h"

#define OFFSET(type, field, off) \
	_Static_assert(offsetof(struct type, field) == (off), #type "." #field " is at " #off)
#define SIZE(type, size) _Static_assert(sizeof(struct type) == (size), #type " is " #size)

SIZE(vttm_pkt_set_vm, 8);
OFFSET(vttm_pkt_set_vm, vm, 4);

SIZE(vttm_pkt_fence, 20);
OFFSET(vttm_pkt_fence, addr_lo, 4);
OFFSET(vttm_pkt_fence, addr_hi, 8);
OFFSET(vttm_pkt_fence, seq_lo, 12);
OFFSET(vttm_pkt_fence, seq_hi, 16);

SIZE(vttm_fence_value, 16);
OFFSET(vttm_fence_value, seq, 0);
OFFSET(vttm_fence_value, status, 8);
OFFSET(vttm_fence_value, rsvd, 12);

SIZE(vttm_pkt_copy, 28);
OFFSET(vttm_pkt_copy, dst_lo, 4);
OFFSET(vttm_pkt_copy, dst_hi, 8);
OFFSET(vttm_pkt_copy, src_lo, 12);
OFFSET(vttm_pkt_copy, src_hi, 16);
OFFSET(vttm_pkt_copy, len_lo, 20);
OFFSET(vttm_pkt_copy, len_hi, 24);

SIZE(vttm_pkt_fill, 24);
OFFSET(vttm_pkt_fill, dst_lo, 4);
OFFSET(vttm_pkt_fill, dst_hi, 8);
OFFSET(vttm_pkt_fill, len_lo, 12);
OFFSET(vttm_pkt_fill, len_hi, 16);
OFFSET(vttm_pkt_fill, value, 20);

SIZE(vttm_pkt_stamp, 48);
OFFSET(vttm_pkt_stamp, va_lo, 4);
OFFSET(vttm_pkt_stamp, va_hi, 8);
OFFSET(vttm_pkt_stamp, npages, 12);
OFFSET(vttm_pkt_stamp, buffer, 16);
OFFSET(vttm_pkt_stamp, generation, 20);
OFFSET(vttm_pkt_stamp, page_lo, 24);
OFFSET(vttm_pkt_stamp, page_hi, 28);
OFFSET(vttm_pkt_stamp, key_lo, 32);
OFFSET(vttm_pkt_stamp, key_hi, 36);
OFFSET(vttm_pkt_stamp, result_lo, 40);
OFFSET(vttm_pkt_stamp, result_hi, 44);

SIZE(vttm_stamp_result, 64);
OFFSET(vttm_stamp_result, checked, 0);
OFFSET(vttm_stamp_result, good, 8);
OFFSET(vttm_stamp_result, bad, 16);
OFFSET(vttm_stamp_result, first_bad_page, 24);
OFFSET(vttm_stamp_result, by_class, 32);

SIZE(vttm_stamp_line, 64);
OFFSET(vttm_stamp_line, magic, 0);
OFFSET(vttm_stamp_line, line, 4);
OFFSET(vttm_stamp_line, buffer, 8);
OFFSET(vttm_stamp_line, generation, 12);
OFFSET(vttm_stamp_line, page, 16);
OFFSET(vttm_stamp_line, body, 24);
OFFSET(vttm_stamp_line, sum, 56);

SIZE(vttm_witness_header, 16);
OFFSET(vttm_witness_header, magic, 0);
OFFSET(vttm_witness_header, version, 4);
OFFSET(vttm_witness_header, record_size, 8);
OFFSET(vttm_witness_header, rsvd, 12);

SIZE(vttm_witness_record, 64);
OFFSET(vttm_witness_record, kind, 0);
OFFSET(vttm_witness_record, stamp_class, 4);
OFFSET(vttm_witness_record, buffer, 8);
OFFSET(vttm_witness_record, generation, 12);
OFFSET(vttm_witness_record, page, 16);
OFFSET(vttm_witness_record, npages, 24);
OFFSET(vttm_witness_record, va, 32);
OFFSET(vttm_witness_record, phys, 40);
OFFSET(vttm_witness_record, space, 48);
OFFSET(vttm_witness_record, engine_vm, 52);
OFFSET(vttm_witness_record, time_ns, 56);

_Static_assert(VTTM_PTE_FLAGS == 7, "flags are bits 0 to 2");
_Static_assert((VTTM_PTE_FLAGS & VTTM_PTE_ADDR) == 0, "flags and address are apart");
_Static_assert(VTTM_PTE_ADDR == ((1ull << 52) - 1 - 0xfff), "addresses have 52 bits");
_Static_assert(VTTM_PAGE_SHIFT + VTTM_PT_LEVELS * VTTM_PT_INDEX_BITS == VTTM_VA_BITS, "levels");
_Static_assert(VTTM_REG_VM_ROOT_LO(VTTM_MAX_VMS) <= VTTM_ENGINE_BASE(0), "VMs below engines");
_Static_assert(VTTM_ENGINE_BASE(VTTM_NUM_ENGINES) <= VTTM_REGS_SIZE, "engines within BAR0");
_Static_assert(VTTM_MSIX_ENGINE(VTTM_NUM_ENGINES) == VTTM_NUM_VECTORS, "one vector per engine");

uint32_t vttm_c_pkt_hdr(uint32_t op, uint32_t flags, uint32_t dwords)
{
	return VTTM_PKT_HDR(op, flags, dwords);
}

void vttm_c_stamp_fill(void *dst, const struct vttm_stamp_id *id)
{
	vttm_stamp_fill(dst, id);
}

int vttm_c_stamp_classify(const void *src, const struct vttm_stamp_id *id)
{
	return vttm_stamp_classify(src, id);
}
