// SPDX-License-Identifier: GPL-2.0
/* VRAM: a buddy allocator behind a TTM resource manager. */
#include <linux/gpu_buddy.h>
#include <linux/slab.h>

#include <drm/drm_buddy.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "vttm_bo.h"
#include "vttm_drv.h"

struct vttm_vram {
	struct ttm_resource_manager base;
	struct mutex lock; /* buddy */
	struct gpu_buddy buddy;
	struct list_head reserved; /* its block: VTTM_VRAM_RESERVED */
	u64 visible;
};

struct vttm_vram_res {
	struct ttm_resource base;
	struct list_head blocks; /* struct gpu_buddy_block, in the order of the buffer */
	bool visible;            /* all of it is in BAR2 */
};

static struct vttm_vram *to_vttm_vram(struct ttm_resource_manager *man)
{
	return container_of(man, struct vttm_vram, base);
}

static struct vttm_vram_res *to_vttm_vram_res(struct ttm_resource *res)
{
	return container_of(res, struct vttm_vram_res, base);
}

bool vttm_vram_visible(struct ttm_resource *res)
{
	return to_vttm_vram_res(res)->visible;
}

struct list_head *vttm_vram_blocks(struct ttm_resource *res)
{
	return &to_vttm_vram_res(res)->blocks;
}

u64 vttm_vram_block_size(struct gpu_buddy_block *block)
{
	return (u64)PAGE_SIZE << gpu_buddy_block_order(block);
}

/* VRAM offset of the byte at @offset in the resource. */
u64 vttm_vram_offset(struct ttm_resource *res, u64 offset)
{
	struct gpu_buddy_block *block;

	list_for_each_entry(block, vttm_vram_blocks(res), link) {
		u64 size = vttm_vram_block_size(block);

		if (offset < size)
			return gpu_buddy_block_offset(block) + offset;
		offset -= size;
	}
	WARN_ON_ONCE(1);
	return 0;
}

/* The most that buffers can have of VRAM below @limit. */
u64 vttm_vram_room(u64 limit)
{
	return limit ? limit - VTTM_VRAM_RESERVED : 0;
}

static int vttm_vram_alloc(struct ttm_resource_manager *man, struct ttm_buffer_object *tbo,
			   const struct ttm_place *place, struct ttm_resource **out)
{
	struct vttm_vram *vram = to_vttm_vram(man);
	u64 begin = (u64)place->fpfn << PAGE_SHIFT;
	u64 end = place->lpfn ? (u64)place->lpfn << PAGE_SHIFT : man->size;
	struct gpu_buddy_block *block;
	struct vttm_vram_res *res;
	int ret;

	if (end > man->size || tbo->base.size > end - begin)
		return -ENOSPC;

	res = kzalloc_obj(*res);
	if (!res)
		return -ENOMEM;
	INIT_LIST_HEAD(&res->blocks);
	ttm_resource_init(tbo, place, &res->base);

	mutex_lock(&vram->lock);
	ret = gpu_buddy_alloc_blocks(&vram->buddy, begin, end, res->base.size, PAGE_SIZE,
				     &res->blocks,
				     place->fpfn || place->lpfn ? GPU_BUDDY_RANGE_ALLOCATION : 0);
	mutex_unlock(&vram->lock);
	if (ret) {
		ttm_resource_fini(man, &res->base);
		kfree(res);
		return ret;
	}

	block = list_first_entry(&res->blocks, struct gpu_buddy_block, link);
	res->base.start = gpu_buddy_block_offset(block) >> PAGE_SHIFT;
	res->visible = true;
	list_for_each_entry(block, &res->blocks, link)
		if (gpu_buddy_block_offset(block) + vttm_vram_block_size(block) > vram->visible)
			res->visible = false;
	*out = &res->base;
	return 0;
}

static void vttm_vram_free(struct ttm_resource_manager *man, struct ttm_resource *base)
{
	struct vttm_vram *vram = to_vttm_vram(man);
	struct vttm_vram_res *res = to_vttm_vram_res(base);

	mutex_lock(&vram->lock);
	gpu_buddy_free_list(&vram->buddy, &res->blocks, 0);
	mutex_unlock(&vram->lock);
	ttm_resource_fini(man, base);
	kfree(res);
}

static u64 vttm_vram_block_begin(struct gpu_buddy_block *block)
{
	return gpu_buddy_block_offset(block) >> PAGE_SHIFT;
}

static u64 vttm_vram_block_end(struct gpu_buddy_block *block)
{
	return (gpu_buddy_block_offset(block) + vttm_vram_block_size(block)) >> PAGE_SHIFT;
}

static u64 vttm_vram_place_end(const struct ttm_place *place)
{
	return place->lpfn ?: U64_MAX;
}

/* Whether freeing @base makes room at @place. */
static bool vttm_vram_intersects(struct ttm_resource_manager *man, struct ttm_resource *base,
				 const struct ttm_place *place, size_t size)
{
	struct gpu_buddy_block *block;

	list_for_each_entry(block, vttm_vram_blocks(base), link)
		if (vttm_vram_block_end(block) > place->fpfn &&
		    vttm_vram_block_begin(block) < vttm_vram_place_end(place))
			return true;
	return false;
}

/* Whether all of @base is at @place. */
static bool vttm_vram_compatible(struct ttm_resource_manager *man, struct ttm_resource *base,
				 const struct ttm_place *place, size_t size)
{
	struct gpu_buddy_block *block;

	list_for_each_entry(block, vttm_vram_blocks(base), link)
		if (vttm_vram_block_begin(block) < place->fpfn ||
		    vttm_vram_block_end(block) > vttm_vram_place_end(place))
			return false;
	return true;
}

static void vttm_vram_debug(struct ttm_resource_manager *man, struct drm_printer *printer)
{
	struct vttm_vram *vram = to_vttm_vram(man);

	mutex_lock(&vram->lock);
	drm_printf(printer, "visible %llu MiB\n", vram->visible >> 20);
	drm_buddy_print(&vram->buddy, printer);
	mutex_unlock(&vram->lock);
}

static const struct ttm_resource_manager_func vttm_vram_funcs = {
	.alloc = vttm_vram_alloc,
	.free = vttm_vram_free,
	.intersects = vttm_vram_intersects,
	.compatible = vttm_vram_compatible,
	.debug = vttm_vram_debug,
};

static void vttm_vram_fini(struct drm_device *drm, void *arg)
{
	struct vttm_vram *vram = arg;
	struct ttm_device *ttm = &to_vttm_device(drm)->ttm;

	ttm_resource_manager_evict_all(ttm, &vram->base);
	ttm_resource_manager_set_used(&vram->base, false);
	mutex_lock(&vram->lock);
	gpu_buddy_free_list(&vram->buddy, &vram->reserved, 0);
	mutex_unlock(&vram->lock);
	gpu_buddy_fini(&vram->buddy);
	ttm_resource_manager_cleanup(&vram->base);
	ttm_set_driver_manager(ttm, TTM_PL_VRAM, NULL);
	mutex_destroy(&vram->lock);
}

int vttm_vram_init(struct vttm_device *vdev)
{
	struct vttm_vram *vram;
	int ret;

	vram = drmm_kzalloc(&vdev->drm, sizeof(*vram), GFP_KERNEL);
	if (!vram)
		return -ENOMEM;

	mutex_init(&vram->lock);
	vram->visible = vdev->vram_visible;
	ret = gpu_buddy_init(&vram->buddy, vdev->vram_size, PAGE_SIZE);
	if (ret)
		return ret;
	gpu_buddy_driver_set_lock(&vram->buddy, &vram->lock);

	INIT_LIST_HEAD(&vram->reserved);
	mutex_lock(&vram->lock);
	ret = gpu_buddy_alloc_blocks(&vram->buddy, 0, VTTM_VRAM_RESERVED, VTTM_VRAM_RESERVED,
				     PAGE_SIZE, &vram->reserved, GPU_BUDDY_RANGE_ALLOCATION);
	mutex_unlock(&vram->lock);
	if (ret) {
		gpu_buddy_fini(&vram->buddy);
		return ret;
	}

	vram->base.func = &vttm_vram_funcs;
	ttm_resource_manager_init(&vram->base, &vdev->ttm, vdev->vram_size);
	ttm_set_driver_manager(&vdev->ttm, TTM_PL_VRAM, &vram->base);
	ttm_resource_manager_set_used(&vram->base, true);
	return drmm_add_action_or_reset(&vdev->drm, vttm_vram_fini, vram);
}
