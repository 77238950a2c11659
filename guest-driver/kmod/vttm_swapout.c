// SPDX-License-Identifier: GPL-2.0
/*
 * Memory pressure where DMA bounces (vttm_device.coherent_pages). Pages of dma_alloc_coherent()
 * cannot be given to the page cache, and TTM copies a whole buffer (ttm_tt_swapout()) before it
 * frees any. That takes more memory than reclaim may take from its reserves. So the shrinker only
 * says how much is wanted, and a worker does it, which allocates as everybody else. TTM does the
 * same by itself when its buffers are more than half of RAM (ttm.pages_limit).
 */
#include <linux/workqueue.h>

#include <drm/drm_managed.h>
#include <drm/ttm/ttm_backup.h>
#include <drm/ttm/ttm_bo.h>

#include "vttm_drv.h"

/* Pages given back by the first buffer that lets go of them; 0: none does; or an error. */
static int vttm_swapout_one(struct vttm_device *vdev)
{
	struct ttm_operation_ctx ctx = { .no_wait_gpu = true };
	int ret = ttm_device_swapout(&vdev->ttm, &ctx, GFP_KERNEL);

	if (!ret || ret == -EBUSY) {
		/* No idle one is left. */
		ctx.no_wait_gpu = false;
		ret = ttm_device_swapout(&vdev->ttm, &ctx, GFP_KERNEL);
	}
	return ret;
}

static void vttm_swapout_work(struct work_struct *work)
{
	struct vttm_device *vdev = container_of(work, struct vttm_device, swapout_work);

	while (atomic_long_read(&vdev->swapout_wanted) > 0 && ttm_backup_bytes_avail()) {
		int pages = vttm_swapout_one(vdev);

		if (pages <= 0)
			break;
		atomic64_add(pages, &vdev->stats.swapout_pages);
		atomic_long_sub(pages, &vdev->swapout_wanted);
	}
	atomic_long_set(&vdev->swapout_wanted, 0);
}

/* Any context. */
void vttm_swapout_queue(struct vttm_device *vdev, unsigned long pages)
{
	atomic_long_add(pages, &vdev->swapout_wanted);
	queue_work(system_long_wq, &vdev->swapout_work);
}

static void vttm_swapout_fini(struct drm_device *drm, void *arg)
{
	disable_work_sync(arg);
}

int vttm_swapout_init(struct vttm_device *vdev)
{
	INIT_WORK(&vdev->swapout_work, vttm_swapout_work);
	return drmm_add_action_or_reset(&vdev->drm, vttm_swapout_fini, &vdev->swapout_work);
}
