// SPDX-License-Identifier: GPL-2.0
/*
 * VRAM that has lost its content.
 *
 * Of a reset nobody says what it was: one of the function keeps VRAM, a trip to D3hot or through an
 * empty slot does not. So the first page of VRAM is the driver's, and holds a number that is looked
 * at after each. When it is not there, nothing is that was in VRAM: those buffers are lost, as by a
 * move that has failed (vttm_bo_drop_lost()), and so are moves that had still to be done.
 */
#include <linux/io-64-nonatomic-hi-lo.h>
#include <linux/pci.h>
#include <linux/random.h>

#include <drm/drm_gem.h>
#include <drm/drm_print.h>

#include "vttm_bo.h"
#include "vttm_drv.h"

/* Under hw_lock, or before anybody else has the device; the first page of VRAM is ours. */
void vttm_canary_plant(struct vttm_device *vdev)
{
	writeq(vdev->canary_value, vdev->canary);
	/* It is there when this has been read. */
	readq(vdev->canary);
}

static bool vttm_canary_lives(struct vttm_device *vdev)
{
	/* With all of VRAM its page is the host's, too, and there is nothing to lose. */
	return !vdev->balloon.told || readq(vdev->canary) == vdev->canary_value;
}

/*
 * Buffers whose content is in VRAM. Somebody may wait for a job with their reservation, and no job
 * ends before we are done: so it is TTM's list that keeps them here.
 */
static u32 vttm_lost_mark(struct vttm_device *vdev, u64 *bytes)
{
	struct ttm_resource_manager *man = ttm_manager_type(&vdev->ttm, TTM_PL_VRAM);
	struct ttm_lru_item *item;
	unsigned int i;
	u32 count = 0;

	*bytes = 0;
	spin_lock(&vdev->ttm.lru_lock);
	for (i = 0; i < TTM_MAX_BO_PRIORITY; i++) {
		list_for_each_entry(item, &man->lru[i], link) {
			struct ttm_buffer_object *tbo;

			if (!ttm_lru_item_is_res(item))
				continue;
			tbo = ttm_lru_item_to_res(item)->bo;
			/* It is not there yet, or is on its way out for good. */
			if (!vttm_bo_is_ours(tbo) || tbo->deleted ||
			    READ_ONCE(tbo->resource) != ttm_lru_item_to_res(item))
				continue;
			WRITE_ONCE(to_vttm_bo(tbo)->lost, true);
			*bytes += tbo->base.size;
			count++;
		}
	}
	spin_unlock(&vdev->ttm.lru_lock);
	return count;
}

/* Behind a reset, under hw_lock, with the device started and the schedulers standing still. */
void vttm_lost_check(struct vttm_device *vdev)
{
	u64 bytes;
	u32 count;

	lockdep_assert_held(&vdev->hw_lock);
	if (vttm_canary_lives(vdev))
		return;
	atomic64_inc(&vdev->stats.vram_losses);
	count = vttm_lost_mark(vdev, &bytes);
	/* Behind it: a buffer that leaves VRAM just now is lost by its move. */
	smp_wmb();
	WRITE_ONCE(vdev->vram_epoch, vdev->vram_epoch + 1);
	vttm_canary_plant(vdev);
	if (!count)
		return;
	drm_err(&vdev->drm, "content of %u buffers in VRAM is lost (%llu KiB)\n", count,
		bytes >> 10);
	queue_work(system_long_wq, &vdev->lost_work);
}

/* Whoever has a lost buffer mapped reads what is there: until this comes. */
static void vttm_lost_work(struct work_struct *work)
{
	struct vttm_device *vdev = container_of(work, struct vttm_device, lost_work);
	struct ttm_operation_ctx ctx = {};
	unsigned long id = 0; /* none has it */
	struct vttm_bo *bo;

	while ((bo = vttm_bo_next(vdev, &id))) {
		dma_resv_lock(bo->tbo.base.resv, NULL);
		/* One that is busy is dropped by who uses it next. */
		vttm_bo_drop_lost(bo, &ctx);
		dma_resv_unlock(bo->tbo.base.resv);
		drm_gem_object_put(&bo->tbo.base);
	}
}

/* Once jobs run again: returns when buffers that were lost are said to be. */
void vttm_lost_flush(struct vttm_device *vdev)
{
	flush_work(&vdev->lost_work);
}

void vttm_lost_stop(struct vttm_device *vdev)
{
	disable_work_sync(&vdev->lost_work);
}

/* VRAM is requested, and the device as after power-on. */
int vttm_lost_init(struct vttm_device *vdev)
{
	INIT_WORK(&vdev->lost_work, vttm_lost_work);
	/* As CPUs map the rest. */
	vdev->canary = devm_ioremap_wc(vdev->drm.dev, vdev->vram_base, VTTM_VRAM_RESERVED);
	if (!vdev->canary)
		return -ENOMEM;
	/* Not that of the driver before, and nothing that a memory which was off reads as. */
	do {
		vdev->canary_value = get_random_u64();
	} while (!vdev->canary_value || !~vdev->canary_value);
	vttm_canary_plant(vdev);
	return 0;
}
