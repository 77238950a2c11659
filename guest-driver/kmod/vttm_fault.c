// SPDX-License-Identifier: GPL-2.0
/*
 * Faults: the device writes a record of each into a ring in system memory. Older devices have the
 * fault registers only, which hold one.
 */
#include <linux/dma-mapping.h>
#include <linux/seq_file.h>

#include <drm/drm_drv.h>
#include <drm/drm_print.h>

#include "vttm_drv.h"
#include "vttm_fault.h"

#define VTTM_FAULT_RECORDS (VTTM_FAULT_RING_MIN_SIZE / VTTM_FAULT_RECORD_SIZE)

static const char *vttm_fault_name(u32 reason)
{
	static const char *const names[] = {
		[VTTM_FAULT_NOT_VALID] = "not valid",
		[VTTM_FAULT_READ_ONLY] = "read-only",
		[VTTM_FAULT_RESERVED_BITS] = "reserved bits",
		[VTTM_FAULT_VA_RANGE] = "address range",
		[VTTM_FAULT_VRAM_RANGE] = "beyond VRAM",
		[VTTM_FAULT_BUS] = "bus",
		[VTTM_FAULT_NO_VM] = "no VM",
		[VTTM_FAULT_BAD_PACKET] = "bad packet",
		[VTTM_FAULT_BAD_FRAMING] = "bad framing",
		[VTTM_FAULT_NO_ACCESS] = "no access",
		[VTTM_FAULT_LEAF_LEVEL] = "large leaf at wrong level",
		[VTTM_FAULT_LEAF_ALIGN] = "large leaf misaligned",
		[VTTM_FAULT_LEAF_MIXED] = "large leaf mixed",
		[VTTM_FAULT_PRIVILEGE] = "privileged packet",
		[VTTM_FAULT_POISON] = "poisoned VRAM",
	};

	return reason < ARRAY_SIZE(names) && names[reason] ? names[reason] : "unknown";
}

static void vttm_fault_print(struct vttm_device *vdev, u32 info, u64 addr)
{
	u32 reason = VTTM_FAULT_INFO_REASON(info);

	drm_err_ratelimited(&vdev->drm, "fault: reason %u (%s), engine %u, VM %u, %s at 0x%llx\n",
			    reason, vttm_fault_name(reason), VTTM_FAULT_INFO_ENGINE(info),
			    VTTM_FAULT_INFO_VM(info),
			    info & VTTM_FAULT_INFO_WRITE ? "write" : "read", addr);
}

/* The device has just been reset. Records of before are forgotten. */
void vttm_fault_start(struct vttm_device *vdev)
{
	if (!vdev->faults)
		return;
	WRITE_ONCE(vdev->fault_get, 0);
	vdev->fault_lost = 0;
	vttm_write64(vdev, VTTM_REG_FAULT_RING_BASE_LO, vdev->faults_dma);
	vttm_write(vdev, VTTM_REG_FAULT_RING_SIZE, VTTM_FAULT_RING_MIN_SIZE);
	vttm_write(vdev, VTTM_REG_FAULT_RING_CTRL, VTTM_FAULT_RING_CTRL_ENABLE);
}

int vttm_fault_init(struct vttm_device *vdev)
{
	if (!(vdev->features & VTTM_FEATURE_FAULT_RING))
		return 0;
	vdev->faults = dmam_alloc_coherent(vdev->drm.dev, VTTM_FAULT_RING_MIN_SIZE,
					   &vdev->faults_dma, GFP_KERNEL);
	if (!vdev->faults)
		return -ENOMEM;
	vttm_fault_start(vdev);
	return 0;
}

static void vttm_fault_read_ring(struct vttm_device *vdev)
{
	u32 put = vttm_read(vdev, VTTM_REG_FAULT_RING_PUT);
	u32 get = vdev->fault_get;
	u32 lost;

	/* A device that is gone reads as all ones. */
	if (put - get > VTTM_FAULT_RECORDS)
		return;
	/* PUT is read before the records that it stands for. */
	dma_rmb();
	for (; get != put; get++) {
		const struct vttm_fault_record *rec = &vdev->faults[get % VTTM_FAULT_RECORDS];

		vttm_fault_print(vdev, le32_to_cpu((__force __le32)rec->info),
				 le64_to_cpu((__force __le64)rec->addr));
	}
	WRITE_ONCE(vdev->fault_get, get);
	vttm_write(vdev, VTTM_REG_FAULT_RING_GET, get);

	lost = vttm_read(vdev, VTTM_REG_FAULT_RING_LOST);
	if (lost != vdev->fault_lost) {
		drm_err_ratelimited(&vdev->drm, "%u faults came too fast to be recorded\n",
				    lost - vdev->fault_lost);
		vdev->fault_lost = lost;
	}
}

/* In the interrupt of the error vector, which is never entered twice. */
void vttm_fault_process(struct vttm_device *vdev)
{
	if (vdev->faults) {
		vttm_fault_read_ring(vdev);
		vttm_write(vdev, VTTM_REG_FAULT_STATUS, VTTM_FAULT_STATUS_VALID);
	} else if (vttm_read(vdev, VTTM_REG_FAULT_STATUS) & VTTM_FAULT_STATUS_VALID) {
		u32 info = vttm_read(vdev, VTTM_REG_FAULT_INFO);
		u64 addr = vttm_read64(vdev, VTTM_REG_FAULT_ADDR_LO);

		vttm_write(vdev, VTTM_REG_FAULT_STATUS, VTTM_FAULT_STATUS_VALID);
		vttm_fault_print(vdev, info, addr);
	}
}

/*
 * A copy of record @n, unless a newer one has taken its place, or may be taking it: the device
 * writes record PUT before it moves PUT, so PUT is read behind the copy.
 */
static bool vttm_fault_copy(struct vttm_device *vdev, u32 n, struct vttm_fault_record *rec)
{
	memcpy(rec, &vdev->faults[n % VTTM_FAULT_RECORDS], sizeof(*rec));
	/* readl() orders itself only before what follows. */
	rmb();
	if (vttm_read(vdev, VTTM_REG_FAULT_RING_PUT) - n >= VTTM_FAULT_RECORDS)
		return false;
	return le32_to_cpu((__force __le32)rec->number) == n;
}

/* The last faults, oldest first. A device that is gone reads as all ones: nothing is shown. */
int vttm_faults_show(struct seq_file *m, void *unused)
{
	struct vttm_device *vdev = m->private;
	u32 get, n;
	int idx;

	if (!vdev->faults || !vttm_hw_enter(vdev, &idx))
		return 0;
	get = READ_ONCE(vdev->fault_get);
	n = get - min(get, VTTM_FAULT_RECORDS);
	for (; n != get; n++) {
		struct vttm_fault_record rec;
		u32 info;

		if (!vttm_fault_copy(vdev, n, &rec))
			continue;
		info = le32_to_cpu((__force __le32)rec.info);
		seq_printf(m, "%u %llu engine %u vm %u %s 0x%llx reason %u fence %llu\n", n,
			   le64_to_cpu((__force __le64)rec.time_ns), VTTM_FAULT_INFO_ENGINE(info),
			   VTTM_FAULT_INFO_VM(info),
			   info & VTTM_FAULT_INFO_WRITE ? "write" : "read",
			   le64_to_cpu((__force __le64)rec.addr), VTTM_FAULT_INFO_REASON(info),
			   le64_to_cpu((__force __le64)rec.last_fence));
	}
	vttm_hw_exit(vdev, idx);
	return 0;
}
