// SPDX-License-Identifier: GPL-2.0
/* The buffers of a device that goes, or is gone: what it, or its bus, takes with it. */
#include <linux/wait_bit.h>

#include <drm/drm_gem.h>
#include <drm/drm_print.h>
#include <drm/ttm/ttm_pool.h>

#include "vttm_bo.h"
#include "vttm_drv.h"
#include "vttm_vm.h"

/* The buffer behind @id, 0 for the first, with a reference; NULL if there is none. */
struct vttm_bo *vttm_bo_next(struct vttm_device *vdev, unsigned long *id)
{
	struct vttm_bo *bo;

	xa_lock(&vdev->bos);
	do {
		bo = xa_find_after(&vdev->bos, id, ULONG_MAX, XA_PRESENT);
	} while (bo && !kref_get_unless_zero(&bo->tbo.base.refcount));
	xa_unlock(&vdev->bos);
	return bo;
}

/*
 * The device is gone: so is what its bus knows of @bo, and the CPU reaches none of its content any
 * more. Coherent pages go, others stay with the buffer. Under its reservation.
 */
static void vttm_bo_detach(struct vttm_device *vdev, struct vttm_bo *bo)
{
	struct ttm_operation_ctx ctx = {};
	struct ttm_tt *tt = bo->tbo.ttm;

	/*
	 * Jobs that have not ended fail when it is their turn: when fences of others have signalled
	 * that they wait for, which is at some time, as with any fence.
	 */
	dma_resv_wait_timeout(bo->tbo.base.resv, DMA_RESV_USAGE_BOOKKEEP, false,
			      MAX_SCHEDULE_TIMEOUT);
	/* First, whatever becomes of the pages: behind it nobody looks at page tables. */
	vttm_vm_zap_idle_bo(bo);
	if (vdev->coherent_pages && tt && ttm_tt_is_populated(tt)) {
		drm_WARN_ON(&vdev->drm, vttm_bo_discard(bo, &ctx));
		return;
	}
	if (tt)
		vttm_tt_unmap(vdev, tt);
}

/*
 * Frees the pages that TTM keeps for the next buffer. There is none, and none is left to give pages
 * back. What ttm_device_fini() finds in the end is a pool of no device, with nothing to free.
 */
static void vttm_pool_detach(struct ttm_pool *pool)
{
	int nid = pool->nid;

	ttm_pool_fini(pool);
	memset(pool, 0, sizeof(*pool));
	ttm_pool_init(pool, NULL, nid, 0);
}

/*
 * Behind drm_dev_unplug(), so that nobody maps or populates a buffer any more, and with the device
 * at rest: when it returns, the bus knows of no buffer, and none is mapped in an address space.
 */
void vttm_bo_detach_all(struct vttm_device *vdev)
{
	unsigned long id = 0; /* none has it */
	struct vttm_bo *bo;

	while ((bo = vttm_bo_next(vdev, &id))) {
		dma_resv_lock(bo->tbo.base.resv, NULL);
		vttm_bo_detach(vdev, bo);
		dma_resv_unlock(bo->tbo.base.resv);
		drm_gem_object_put(&bo->tbo.base);
	}
	/* Others are at it for what they have let go of: deleted buffers, and TTM's ghosts. */
	wait_var_event(&vdev->bus_tts, !atomic_read(&vdev->bus_tts));
	if (vdev->coherent_pages)
		vttm_pool_detach(&vdev->ttm.pool);
}

/* Buffers whose content is in VRAM. */
u32 vttm_bo_count_vram(struct vttm_device *vdev, u64 *bytes)
{
	unsigned long id = 0;
	struct vttm_bo *bo;
	u32 count = 0;

	*bytes = 0;
	while ((bo = vttm_bo_next(vdev, &id))) {
		dma_resv_lock(bo->tbo.base.resv, NULL);
		if (bo->tbo.resource && bo->tbo.resource->mem_type == TTM_PL_VRAM) {
			count++;
			*bytes += bo->tbo.base.size;
		}
		dma_resv_unlock(bo->tbo.base.resv);
		drm_gem_object_put(&bo->tbo.base);
	}
	return count;
}
