// SPDX-License-Identifier: GPL-2.0
/* What user space may put into a ring. */
#include <linux/errno.h>
#include <linux/types.h>

#include "vttm_drv.h"
#include "vttm_packets.h"

struct vttm_packet_rule {
	u32 dwords; /* 0: any, up to VTTM_PKT_MAX_DWORDS */
	u32 engines; /* BIT(VTTM_ENGINE_*) */
};

static int vttm_packet_rule(u32 op, struct vttm_packet_rule *rule)
{
	switch (op) {
	case VTTM_OP_NOP:
		*rule = (struct vttm_packet_rule) {
			0, BIT(VTTM_ENGINE_COPY) | BIT(VTTM_ENGINE_STAMP)
		};
		return 0;
	case VTTM_OP_COPY:
		*rule = (struct vttm_packet_rule) {
			sizeof(struct vttm_pkt_copy) / 4, BIT(VTTM_ENGINE_COPY)
		};
		return 0;
	case VTTM_OP_FILL:
		*rule = (struct vttm_packet_rule) {
			sizeof(struct vttm_pkt_fill) / 4, BIT(VTTM_ENGINE_COPY)
		};
		return 0;
	case VTTM_OP_STAMP_WRITE:
	case VTTM_OP_STAMP_VERIFY:
		*rule = (struct vttm_packet_rule) {
			sizeof(struct vttm_pkt_stamp) / 4, BIT(VTTM_ENGINE_STAMP)
		};
		return 0;
	case VTTM_OP_SET_VM:
	case VTTM_OP_FENCE:
		return -EACCES;
	default:
		return -EINVAL;
	}
}

/*
 * The packets are framed as the engine wants them (it would halt otherwise), know virtual addresses
 * only, and do nothing that is the driver's. What they do with their addresses is the MMU's
 * business, and wrong operands are the packet's own fault.
 * -EINVAL: opcode, length or flags; -EACCES: privileged opcode or space.
 */
int vttm_packets_check(const __le32 *packets, u32 num_dwords, unsigned int engine)
{
	u32 pos = 0;

	while (pos < num_dwords) {
		u32 hdr = le32_to_cpu(packets[pos]);
		u32 dwords = VTTM_PKT_DWORDS(hdr);
		u32 flags = VTTM_PKT_FLAGS(hdr);
		struct vttm_packet_rule rule;
		int ret;

		ret = vttm_packet_rule(VTTM_PKT_OP(hdr), &rule);
		if (ret)
			return ret;
		if (!(rule.engines & BIT(engine)))
			return -EINVAL;
		if (!dwords || dwords > VTTM_PKT_MAX_DWORDS || dwords > num_dwords - pos ||
		    (rule.dwords && dwords != rule.dwords))
			return -EINVAL;
		if (VTTM_PKT_DST_OF(flags) != VTTM_SPACE_VM ||
		    VTTM_PKT_SRC_OF(flags) != VTTM_SPACE_VM)
			return -EACCES;
		if (flags)
			return -EINVAL;
		pos += dwords;
	}
	return 0;
}
