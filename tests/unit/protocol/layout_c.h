/* SPDX-License-Identifier: Apache-2.0 */
/* What the C translation unit of the protocol test offers to the C++ one. */
#ifndef VTTM_TESTS_UNIT_PROTOCOL_LAYOUT_C_H
#define VTTM_TESTS_UNIT_PROTOCOL_LAYOUT_C_H

#include "protocol/vttm_stamp.h"

#ifdef __cplusplus
extern "C" {
#endif

uint32_t vttm_c_pkt_hdr(uint32_t op, uint32_t flags, uint32_t dwords);
void vttm_c_stamp_fill(void *dst, const struct vttm_stamp_id *id);
int vttm_c_stamp_classify(const void *src, const struct vttm_stamp_id *id);

#ifdef __cplusplus
}
#endif

#endif
