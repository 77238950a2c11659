// SPDX-License-Identifier: GPL-2.0
/*
 * VRAM that the host asks back (VTTM_REG_VRAM_TARGET).
 *
 * What is given up is held by pinned buffers of our own, a unit each, from the top of VRAM down:
 * to place one, TTM evicts what lies there. When what the evictions copy has left, nobody uses that
 * part of VRAM any more, and the device is told (VTTM_REG_VRAM_LIMIT).
 */
#include <linux/slab.h>
#include <linux/workqueue.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "vttm_bo.h"
#include "vttm_drv.h"

/* When a buffer was busy, or there was no memory to move it to: first, and at most. */
#define VTTM_BALLOON_RETRY (HZ / 10)
#define VTTM_BALLOON_RETRY_MAX (10 * HZ)

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
	/* At once: without its pin nobody shall find it there, and try to evict it. */
	ttm_resource_free(&bo->tbo, &bo->tbo.resource);
	ttm_bo_unreserve(&bo->tbo);
	drm_gem_object_put(&bo->tbo.base);
}

/* Takes the unit of VRAM that ends at @end, and waits until nobody uses it. */
static int vttm_balloon_push(struct vttm_device *vdev, u64 end)
{
	/* The reserved part stays where it is. */
	u64 begin = max_t(u64, end - VTTM_VRAM_LIMIT_UNIT, VTTM_VRAM_RESERVED);
	const struct ttm_place place = {
		.fpfn = begin >> PAGE_SHIFT,
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
	drm_gem_private_object_init(&vdev->drm, &bo->tbo.base, end - begin);
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

/* Whether a register says something that the device can say: all ones is one that is gone. */
static bool vttm_balloon_is_sane(struct vttm_device *vdev, u64 bytes)
{
	return bytes <= vdev->vram_size && IS_ALIGNED(bytes, VTTM_VRAM_LIMIT_UNIT);
}

/* Takes back what is offered. */
static int vttm_balloon_grow(struct vttm_device *vdev, u64 target)
{
	struct vttm_balloon *balloon = &vdev->balloon;
	u64 limit;
	int idx;

	if (!vttm_hw_enter(vdev, &idx))
		return 0;
	/* The host may want it back by now, and the device refuses: what it says then, counts. */
	vttm_write64(vdev, VTTM_REG_VRAM_LIMIT_LO, target);
	limit = vttm_read64(vdev, VTTM_REG_VRAM_LIMIT_LO);
	if (vttm_balloon_is_sane(vdev, limit)) {
		/* Its page was the host's until now. */
		if (!balloon->told && limit)
			vttm_canary_plant(vdev);
		balloon->told = limit;
	}
	vttm_hw_exit(vdev, idx);
	if (!vttm_balloon_is_sane(vdev, limit) || limit <= balloon->limit)
		return -EAGAIN;

	while (balloon->limit < limit && !list_empty(&balloon->units)) {
		vttm_balloon_pop(vdev);
		WRITE_ONCE(balloon->limit, balloon->limit + VTTM_VRAM_LIMIT_UNIT);
	}
	return 1;
}

/* Behind a device that is parked vttm_balloon_restore() does it. */
static void vttm_balloon_tell(struct vttm_device *vdev)
{
	int idx;

	mutex_lock(&vdev->hw_lock);
	vdev->balloon.told = vdev->balloon.limit;
	mutex_unlock(&vdev->hw_lock);
	if (vttm_hw_enter(vdev, &idx)) {
		vttm_write64(vdev, VTTM_REG_VRAM_LIMIT_LO, vdev->balloon.told);
		vttm_hw_exit(vdev, idx);
	}
}

/* One step towards the target. 1: a step was made, 0: there is none to be made; or an error. */
static int vttm_balloon_step(struct vttm_device *vdev)
{
	struct vttm_balloon *balloon = &vdev->balloon;
	u64 target = vttm_read64(vdev, VTTM_REG_VRAM_TARGET_LO);
	int ret;

	if (READ_ONCE(vdev->dead) || !vttm_balloon_is_sane(vdev, target) ||
	    target == balloon->limit)
		return 0;
	if (target > balloon->limit)
		return vttm_balloon_grow(vdev, target);

	ret = vttm_balloon_push(vdev, balloon->limit);
	if (ret)
		return ret;
	WRITE_ONCE(balloon->limit, balloon->limit - VTTM_VRAM_LIMIT_UNIT);
	vttm_balloon_tell(vdev);
	return 1;
}

static void vttm_balloon_work(struct work_struct *work)
{
	struct vttm_balloon *balloon = container_of(to_delayed_work(work), struct vttm_balloon,
						    work);
	struct vttm_device *vdev = container_of(balloon, struct vttm_device, balloon);
	unsigned long delay;
	int idx, ret;

	/* Who unplugs the device waits for a step at most. */
	do {
		if (!drm_dev_enter(&vdev->drm, &idx))
			return;
		ret = vttm_balloon_step(vdev);
		drm_dev_exit(idx);
		cond_resched();
	} while (ret > 0);

	if (!ret)
		return;
	drm_dbg(&vdev->drm, "VRAM below %llu MiB is in use: %d\n", balloon->limit >> 20, ret);
	delay = READ_ONCE(balloon->retry);
	WRITE_ONCE(balloon->retry, min(2 * delay, VTTM_BALLOON_RETRY_MAX));
	queue_delayed_work(system_long_wq, &balloon->work, delay);
}

/* The target has changed, perhaps. For any context. */
void vttm_balloon_notify(struct vttm_device *vdev)
{
	if (!(vdev->features & VTTM_FEATURE_VRAM_BALLOON))
		return;
	WRITE_ONCE(vdev->balloon.retry, VTTM_BALLOON_RETRY);
	mod_delayed_work(system_long_wq, &vdev->balloon.work, 0);
}

/* Takes no more steps: what is under way has ended. Its evictions need the engines. */
void vttm_balloon_park(struct vttm_device *vdev)
{
	disable_delayed_work_sync(&vdev->balloon.work);
}

/* Under hw_lock: a reset has made VRAM_LIMIT all of VRAM; what was given up stays given up. */
void vttm_balloon_restore(struct vttm_device *vdev)
{
	u64 limit = vdev->vram_size;

	if (!(vdev->features & VTTM_FEATURE_VRAM_BALLOON))
		return;
	while (limit > vdev->balloon.told) {
		limit -= min(limit - vdev->balloon.told, (u64)VTTM_VRAM_LIMIT_STEP);
		vttm_write64(vdev, VTTM_REG_VRAM_LIMIT_LO, limit);
	}
}

void vttm_balloon_unpark(struct vttm_device *vdev)
{
	enable_delayed_work(&vdev->balloon.work);
	/* What the host asked for meanwhile. */
	vttm_balloon_notify(vdev);
}

static void vttm_balloon_fini(struct drm_device *drm, void *arg)
{
	struct vttm_device *vdev = arg;

	while (!list_empty(&vdev->balloon.units))
		vttm_balloon_pop(vdev);
}

/* While the registers are still mapped, also when probing fails. */
static void vttm_balloon_stop(void *arg)
{
	struct vttm_device *vdev = arg;

	disable_delayed_work_sync(&vdev->balloon.work);
}

/* Needs TTM's managers and the registers. */
int vttm_balloon_init(struct vttm_device *vdev)
{
	struct vttm_balloon *balloon = &vdev->balloon;
	int ret;

	INIT_LIST_HEAD(&balloon->units);
	INIT_DELAYED_WORK(&balloon->work, vttm_balloon_work);
	balloon->limit = vdev->vram_size;
	balloon->told = vdev->vram_size;
	balloon->retry = VTTM_BALLOON_RETRY;
	ret = drmm_add_action_or_reset(&vdev->drm, vttm_balloon_fini, vdev);
	if (ret)
		return ret;
	return devm_add_action_or_reset(vdev->drm.dev, vttm_balloon_stop, vdev);
}
