/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocol headers as C sees them: their assertions must hold there too, or this does not
 * compile; the functions let the C++ side compare values.
 */
#include "protocol/vttm_packets.h"
#include "protocol/vttm_pte.h"
#include "protocol/vttm_regs.h"
#include "protocol/vttm_stamp.h"
#include "protocol/vttm_witness.h"

/* The model's interface must be usable from C as well: QEMU is. */
#include "host-backend/model/vttm_model.h"

#include "tests/unit/protocol/layout_c.h"

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
