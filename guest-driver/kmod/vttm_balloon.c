// SPDX-License-Identifier: GPL-2.0
/*
 * VRAM that the host asks back (VTTM_REG_VRAM_TARGET).
 *
 * What is given up is held by pinned buffers of our own, a unit each, from the top of VRAM down: to
 * place one, TTM evicts what lies there. When what the evictions copy has left, nobody uses that part
 * of VRAM any more, and the device is told (VTTM_REG_VRAM_LIMIT).
 */
#include <linux/slab.h>
#include <linux/workqueue.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "vttm_bo.h"
#include "vttm_drv.h"

/* When a buffer was busy, or there was no memory to move it to. */
#define VTTM_BALLOON_RETRY (HZ / 10)

struct vttm_balloon_bo {
	struct ttm_buffer_object tbo;
	struct list_head link;
};

static void vttm_balloon_destroy(struct ttm_buffer_object *tbo)
{
	drm_gem_object_release(&tbo->base);
	kfree(container_of(tbo, struct vttm_balloon_bo, tbo));
}

static void vttm_balloon_gem_free(struct drm_gem_object *obj)
{
	ttm_bo_fini(container_of(obj, struct ttm_buffer_object, base));
}

static const struct drm_gem_object_funcs vttm_balloon_gem_funcs = {
	.free = vttm_balloon_gem_free,
};

/* Whether @tbo only keeps others from its place, and so has no content. */
bool vttm_bo_is_balloon(const struct ttm_buffer_object *tbo)
{
	return tbo->destroy == vttm_balloon_destroy;
}

/* Gives the unit that was taken last back to TTM. */
static void vttm_balloon_pop(struct vttm_device *vdev)
{
	struct vttm_balloon_bo *bo =
		list_first_entry(&vdev->balloon.units, struct vttm_balloon_bo, link);

	list_del(&bo->link);
	ttm_bo_reserve(&bo->tbo, false, false, NULL);
	ttm_bo_unpin(&bo->tbo);
	ttm_bo_unreserve(&bo->tbo);
	drm_gem_object_put(&bo->tbo.base);
}

/* Takes the unit of VRAM that ends at @end, and waits until nobody uses it. */
static int vttm_balloon_push(struct vttm_device *vdev, u64 end)
{
	const struct ttm_place place = {
		.fpfn = (end - VTTM_VRAM_LIMIT_UNIT) >> PAGE_SHIFT,
		.lpfn = end >> PAGE_SHIFT,
		.mem_type = TTM_PL_VRAM,
	};
	struct ttm_placement placement = { .num_placement = 1, .placement = &place };
	struct ttm_operation_ctx ctx = { .gfp_retry_mayfail = true };
	struct vttm_balloon_bo *bo;
	int ret;

	bo = kzalloc_obj(*bo);
	if (!bo)
		return -ENOMEM;
	drm_gem_private_object_init(&vdev->drm, &bo->tbo.base, VTTM_VRAM_LIMIT_UNIT);
	bo->tbo.base.funcs = &vttm_balloon_gem_funcs;

	/* Frees bo on failure. */
	ret = ttm_bo_init_reserved(&vdev->ttm, &bo->tbo, ttm_bo_type_kernel, &placement, 0, &ctx,
				   NULL, NULL, vttm_balloon_destroy);
	if (ret)
		return ret;
	ttm_bo_pin(&bo->tbo);
	/* What is still being copied out of there. */
	ret = ttm_bo_wait_ctx(&bo->tbo, &ctx);
	ttm_bo_unreserve(&bo->tbo);
	list_add(&bo->link, &vdev->balloon.units);
	if (ret)
		vttm_balloon_pop(vdev);
	return ret;
}

static void vttm_balloon_set_limit(struct vttm_device *vdev, u64 limit)
{
	WRITE_ONCE(vdev->balloon.limit, limit);
	vttm_write64(vdev, VTTM_REG_VRAM_LIMIT_LO, limit);
}

static void vttm_balloon_work(struct work_struct *work)
{
	struct vttm_balloon *balloon = container_of(to_delayed_work(work), struct vttm_balloon,
						    work);
	struct vttm_device *vdev = container_of(balloon, struct vttm_device, balloon);
	u64 limit = balloon->limit;
	u64 target;
	int idx, ret = 0;

	if (!drm_dev_enter(&vdev->drm, &idx))
		return;

	target = vttm_read64(vdev, VTTM_REG_VRAM_TARGET_LO);
	if (target > limit) {
		vttm_balloon_set_limit(vdev, target);
		for (; limit < target; limit += VTTM_VRAM_LIMIT_UNIT)
			vttm_balloon_pop(vdev);
	}
	for (; limit > target && !ret; limit -= VTTM_VRAM_LIMIT_UNIT) {
		ret = vttm_balloon_push(vdev, limit);
		if (ret)
			break;
	}
	if (limit != balloon->limit)
		vttm_balloon_set_limit(vdev, limit);
	drm_dev_exit(idx);

	if (ret) {
		drm_dbg(&vdev->drm, "VRAM below %llu MiB is in use: %d\n", limit >> 20, ret);
		queue_delayed_work(system_long_wq, &balloon->work, VTTM_BALLOON_RETRY);
	}
}

/* The target has changed, perhaps. For any context. */
void vttm_balloon_notify(struct vttm_device *vdev)
{
	if (vdev->features & VTTM_FEATURE_VRAM_BALLOON)
		mod_delayed_work(system_long_wq, &vdev->balloon.work, 0);
}

static void vttm_balloon_fini(struct drm_device *drm, void *arg)
{
	struct vttm_device *vdev = arg;

	disable_delayed_work_sync(&vdev->balloon.work);
	while (!list_empty(&vdev->balloon.units))
		vttm_balloon_pop(vdev);
}

/* Needs TTM's managers. */
int vttm_balloon_init(struct vttm_device *vdev)
{
	struct vttm_balloon *balloon = &vdev->balloon;

	INIT_LIST_HEAD(&balloon->units);
	INIT_DELAYED_WORK(&balloon->work, vttm_balloon_work);
	balloon->limit = vdev->vram_size;
	return drmm_add_action_or_reset(&vdev->drm, vttm_balloon_fini, vdev);
}
