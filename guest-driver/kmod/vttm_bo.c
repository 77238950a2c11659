// SPDX-License-Identifier: GPL-2.0
/* Buffers on TTM: where they may be, and how they move. */
#include <linux/pci.h>

#include <drm/drm_gem.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "vttm_bo.h"
#include "vttm_drv.h"
#include "vttm_vm.h"

static const struct ttm_place vttm_place_system = { .mem_type = TTM_PL_SYSTEM };
static const struct ttm_place vttm_place_vram = { .mem_type = TTM_PL_VRAM };
static const struct ttm_place vttm_place_gtt = { .mem_type = TTM_PL_TT };

static struct ttm_placement vttm_placement_system = {
	.num_placement = 1,
	.placement = &vttm_place_system,
};

static struct ttm_placement vttm_placement_vram = {
	.num_placement = 1,
	.placement = &vttm_place_vram,
};

static struct ttm_placement vttm_placement_gtt = {
	.num_placement = 1,
	.placement = &vttm_place_gtt,
};

/* VRAM while there is room without evicting anything, else GTT. */
static const struct ttm_place vttm_places_any[] = {
	{ .mem_type = TTM_PL_VRAM, .flags = TTM_PL_FLAG_DESIRED },
	{ .mem_type = TTM_PL_TT, .flags = TTM_PL_FLAG_FALLBACK },
};

static struct ttm_placement vttm_placement_any = {
	.num_placement = ARRAY_SIZE(vttm_places_any),
	.placement = vttm_places_any,
};

/* Eviction from VRAM: to GTT, or through it to SYSTEM when GTT is full. */
static const struct ttm_place vttm_places_evict[] = {
	{ .mem_type = TTM_PL_TT, .flags = TTM_PL_FLAG_DESIRED },
	{ .mem_type = TTM_PL_SYSTEM, .flags = TTM_PL_FLAG_FALLBACK },
};

static const struct ttm_placement vttm_placement_evict = {
	.num_placement = ARRAY_SIZE(vttm_places_evict),
	.placement = vttm_places_evict,
};

static void vttm_bo_destroy(struct ttm_buffer_object *tbo)
{
	struct vttm_bo *bo = to_vttm_bo(tbo);
	struct vttm_device *vdev = vttm_bo_device(bo);

	WARN_ON(!list_empty(&bo->mappings));
	if (bo->id)
		xa_erase(&vdev->bos, bo->id);
	atomic64_dec(&vdev->stats.buffers);
	atomic64_sub(tbo->base.size, &vdev->stats.buffer_bytes);
	drm_gem_object_release(&tbo->base);
	kfree(bo);
}

/* false: one of TTM's ghosts, which hold what a pipelined move has left behind. */
bool vttm_bo_is_ours(const struct ttm_buffer_object *tbo)
{
	return tbo->destroy == vttm_bo_destroy;
}

/* A buffer of zeroes without pages. @size is a multiple of the page size and not 0. */
struct vttm_bo *vttm_bo_create(struct vttm_device *vdev, u64 size, u32 domains, u32 caching,
			       u32 tag)
{
	struct vttm_bo *bo;
	int ret;

	bo = kzalloc_obj(*bo);
	if (!bo)
		return ERR_PTR(-ENOMEM);

	bo->domains = domains;
	bo->caching = caching;
	bo->tag = tag;
	bo->madv = VTTM_MADV_WILLNEED;
	INIT_LIST_HEAD(&bo->mappings);
	drm_gem_private_object_init(&vdev->drm, &bo->tbo.base, size);
	bo->tbo.base.funcs = &vttm_gem_funcs;
	atomic64_inc(&vdev->stats.buffers);
	atomic64_add(size, &vdev->stats.buffer_bytes);

	/* Frees bo on failure. */
	ret = ttm_bo_init_validate(&vdev->ttm, &bo->tbo, ttm_bo_type_device,
				   &vttm_placement_system, 0, true, NULL, NULL, vttm_bo_destroy);
	if (ret)
		return ERR_PTR(ret);

	ret = xa_alloc(&vdev->bos, &bo->id, bo, xa_limit_32b, GFP_KERNEL);
	if (ret) {
		bo->id = 0;
		drm_gem_object_put(&bo->tbo.base);
		return ERR_PTR(ret);
	}
	return bo;
}

/* Brings @bo to where the device reaches it. Under its reservation. */
int vttm_bo_validate(struct vttm_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct vttm_device *vdev = vttm_bo_device(bo);
	u32 domains = bo->domains;

	/* Where it can never fit there is nothing to evict for it. */
	if (bo->tbo.base.size > vttm_vram_room(READ_ONCE(vdev->balloon.limit)))
		domains &= ~VTTM_DOMAIN_VRAM;
	if (bo->tbo.base.size > vdev->gtt_size)
		domains &= ~VTTM_DOMAIN_GTT;

	switch (domains) {
	case VTTM_DOMAIN_VRAM:
		return ttm_bo_validate(&bo->tbo, &vttm_placement_vram, ctx);
	case VTTM_DOMAIN_GTT:
		return ttm_bo_validate(&bo->tbo, &vttm_placement_gtt, ctx);
	case VTTM_DOMAIN_VRAM | VTTM_DOMAIN_GTT:
		return ttm_bo_validate(&bo->tbo, &vttm_placement_any, ctx);
	default:
		return -ENOSPC;
	}
}

/* Brings @bo to where the CPU reaches it. Under its reservation. */
int vttm_bo_make_mappable(struct vttm_bo *bo)
{
	struct ttm_operation_ctx ctx = { .interruptible = true };
	struct ttm_resource *res = bo->tbo.resource;

	/* A purged buffer has no resource. */
	if (!res)
		return ttm_bo_validate(&bo->tbo, &vttm_placement_system, &ctx);
	if (res->mem_type == TTM_PL_VRAM && !vttm_vram_visible(res))
		return ttm_bo_validate(&bo->tbo, &vttm_placement_gtt, &ctx);
	return 0;
}

/* Moves @bo out of VRAM, if it is there; the content follows. Under its reservation. */
int vttm_bo_leave_vram(struct vttm_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct ttm_resource *res = bo->tbo.resource;
	struct ttm_placement placement = vttm_placement_evict;
	int ret;

	if (!res || res->mem_type != TTM_PL_VRAM)
		return 0;
	if (bo->madv != VTTM_MADV_DONTNEED)
		return ttm_bo_validate(&bo->tbo, &placement, ctx);
	/* Jobs that use it have ended; nobody needs more of it. */
	ret = ttm_bo_wait_ctx(&bo->tbo, ctx);
	if (ret)
		return ret;
	ttm_bo_unmap_virtual(&bo->tbo);
	return vttm_bo_discard(bo, ctx);
}

/* VTTM_PLACE_* of @bo. Under its reservation. */
u32 vttm_bo_place(struct vttm_bo *bo)
{
	struct ttm_resource *res = bo->tbo.resource;
	struct ttm_tt *tt = bo->tbo.ttm;

	if (res && res->mem_type == TTM_PL_VRAM)
		return VTTM_PLACE_VRAM;
	if (res && res->mem_type == TTM_PL_TT)
		return VTTM_PLACE_GTT;
	if (!tt || to_vttm_tt(tt)->purged)
		return VTTM_PLACE_NONE;
	if (ttm_tt_is_swapped(tt))
		return VTTM_PLACE_BACKUP;
	return ttm_tt_is_populated(tt) ? VTTM_PLACE_SYSTEM : VTTM_PLACE_NONE;
}

static void vttm_evict_flags(struct ttm_buffer_object *tbo, struct ttm_placement *placement)
{
	if (vttm_bo_is_ours(tbo) && tbo->resource->mem_type == TTM_PL_VRAM)
		*placement = vttm_placement_evict;
	else
		*placement = vttm_placement_system;
}

/*
 * Drops the content of a buffer that nobody needs. No CPU mapping leads to it any more. Under its
 * reservation; may be called in reclaim.
 */
int vttm_bo_discard(struct vttm_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct ttm_placement nowhere = {};
	int ret;

	ret = vttm_vm_zap_bo(bo, ctx);
	if (!ret)
		ret = ttm_bo_validate(&bo->tbo, &nowhere, ctx);
	if (!ret)
		bo->purged = true;
	return ret;
}

/*
 * A job that moved or cleared @bo has failed for good. So what is there is old content, maybe of
 * somebody else. Jobs behind that one fail (vttm_job_check()); who uses the buffer next comes here
 * first, and finds one of zeroes, as after a purge. Under its reservation.
 */
int vttm_bo_drop_lost(struct vttm_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct ttm_tt *tt = bo->tbo.ttm;
	int ret;

	if (!READ_ONCE(bo->lost))
		return 0;
	/* A move is several jobs: the last one of them could still say the same, of new content. */
	ret = ttm_bo_wait_ctx(&bo->tbo, ctx);
	/* Only pages that are there can be dropped. */
	if (!ret && tt && ttm_tt_is_swapped(tt))
		ret = ttm_bo_populate(&bo->tbo, ctx);
	if (ret)
		return ret;
	ttm_bo_unmap_virtual(&bo->tbo);
	ret = vttm_bo_discard(bo, ctx);
	if (!ret)
		WRITE_ONCE(bo->lost, false);
	return ret;
}

static bool vttm_bo_has_content(struct ttm_buffer_object *tbo)
{
	struct ttm_tt *tt = tbo->ttm;

	if (!tbo->resource)
		return false;
	if (tbo->resource->mem_type == TTM_PL_VRAM)
		return true;
	return tt && !to_vttm_tt(tt)->purged && (ttm_tt_is_populated(tt) || ttm_tt_is_swapped(tt));
}

static void vttm_count_move(struct vttm_device *vdev, u32 from, u32 to)
{
	if (from == TTM_PL_VRAM && to == TTM_PL_TT)
		atomic64_inc(&vdev->stats.moves_vram_gtt);
	else if (from == TTM_PL_TT && to == TTM_PL_VRAM)
		atomic64_inc(&vdev->stats.moves_gtt_vram);
	else
		atomic64_inc(&vdev->stats.moves_system);
}

/* Between VRAM and GTT, by the copy engine. */
static int vttm_bo_move_copy(struct vttm_bo *bo, bool evict, struct ttm_operation_ctx *ctx,
			     struct ttm_resource *new_mem)
{
	struct dma_fence *fence;
	int ret;

	/* The content stays where it is, and does not become whatever is at the other place. */
	if (READ_ONCE(vttm_bo_device(bo)->dead))
		return -ENODEV;
	ret = vttm_vm_zap_bo(bo, ctx);
	if (ret)
		return ret;
	fence = vttm_migrate_copy(bo, new_mem, bo->tbo.resource);
	if (IS_ERR(fence))
		return PTR_ERR(fence);

	ret = ttm_bo_move_accel_cleanup(&bo->tbo, fence, evict, true, new_mem);
	if (ret) {
		/* No memory for the ghost: finish here. */
		dma_fence_wait(fence, false);
		ttm_bo_move_sync_cleanup(&bo->tbo, new_mem);
	}
	dma_fence_put(fence);
	return 0;
}

/* A buffer without content comes to VRAM: it must read as zeroes. */
static int vttm_bo_move_clear(struct vttm_bo *bo, struct ttm_resource *new_mem)
{
	struct dma_fence *fence = vttm_migrate_clear(bo, new_mem);

	if (IS_ERR(fence))
		return PTR_ERR(fence);
	dma_resv_add_fence(bo->tbo.base.resv, fence, DMA_RESV_USAGE_KERNEL);
	dma_fence_put(fence);
	ttm_bo_move_null(&bo->tbo, new_mem);
	return 0;
}

static int vttm_bo_move(struct ttm_buffer_object *tbo, bool evict, struct ttm_operation_ctx *ctx,
			struct ttm_resource *new_mem, struct ttm_place *hop)
{
	struct vttm_device *vdev = ttm_to_vttm_device(tbo->bdev);
	u32 from = tbo->resource ? tbo->resource->mem_type : TTM_PL_SYSTEM;
	u32 to = new_mem->mem_type;
	struct vttm_bo *bo;
	int ret;

	if (vttm_bo_is_balloon(tbo)) {
		ttm_bo_move_null(tbo, new_mem);
		return 0;
	}
	/* What a ghost holds goes when its fence signals; it is never worth a move. */
	if (!vttm_bo_is_ours(tbo))
		return -EBUSY;
	bo = to_vttm_bo(tbo);

	/* What TTM swaps out has to keep its pages until it has copied them. */
	if (evict && bo->madv == VTTM_MADV_DONTNEED && tbo->resource &&
	    (from == TTM_PL_VRAM || !vdev->coherent_pages)) {
		ret = vttm_bo_discard(bo, ctx);
		if (!ret)
			ttm_resource_free(tbo, &new_mem);
		return ret;
	}

	if (to == TTM_PL_TT) {
		ret = vttm_tt_map(vdev, tbo->ttm);
		if (ret)
			return ret;
	}

	if (!vttm_bo_has_content(tbo)) {
		if (to == TTM_PL_VRAM)
			return vttm_bo_move_clear(bo, new_mem);
		ttm_bo_move_null(tbo, new_mem);
		return 0;
	}

	if (from == to && to != TTM_PL_VRAM) {
		/* The remains of a hop that failed. */
		ttm_bo_move_null(tbo, new_mem);
		return 0;
	}

	if ((from == TTM_PL_VRAM && to == TTM_PL_SYSTEM) ||
	    (from == TTM_PL_SYSTEM && to == TTM_PL_VRAM)) {
		*hop = (struct ttm_place) {
			.mem_type = TTM_PL_TT,
			.flags = TTM_PL_FLAG_TEMPORARY,
		};
		return -EMULTIHOP;
	}

	if (to == TTM_PL_SYSTEM) {
		/* GTT to SYSTEM: nothing moves, but no engine may reach the pages any more. */
		ret = ttm_bo_wait_ctx(tbo, ctx);
		if (!ret)
			ret = vttm_vm_zap_bo(bo, ctx);
		if (ret)
			return ret;
		ttm_bo_move_null(tbo, new_mem);
		vttm_tt_unmap(vdev, tbo->ttm);
	} else if (from == TTM_PL_SYSTEM) {
		ttm_bo_move_null(tbo, new_mem);
	} else {
		ret = vttm_bo_move_copy(bo, evict, ctx, new_mem);
		if (ret)
			return ret;
	}
	vttm_count_move(vdev, from, to);
	return 0;
}

static int vttm_io_mem_reserve(struct ttm_device *ttm, struct ttm_resource *mem)
{
	struct vttm_device *vdev = ttm_to_vttm_device(ttm);

	if (mem->mem_type != TTM_PL_VRAM)
		return 0;
	if (!vttm_vram_visible(mem))
		return -EINVAL;
	mem->bus.offset = vdev->vram_base + vttm_vram_offset(mem, 0);
	mem->bus.is_iomem = true;
	mem->bus.caching = ttm_write_combined;
	return 0;
}

static unsigned long vttm_io_mem_pfn(struct ttm_buffer_object *tbo, unsigned long page_offset)
{
	struct vttm_device *vdev = ttm_to_vttm_device(tbo->bdev);
	u64 offset = vttm_vram_offset(tbo->resource, (u64)page_offset << PAGE_SHIFT);

	return (vdev->vram_base + offset) >> PAGE_SHIFT;
}

static const struct ttm_device_funcs vttm_ttm_funcs = {
	.ttm_tt_create = vttm_tt_create,
	.ttm_tt_populate = vttm_tt_populate,
	.ttm_tt_unpopulate = vttm_tt_unpopulate,
	.ttm_tt_destroy = vttm_tt_destroy,
	.eviction_valuable = ttm_bo_eviction_valuable,
	.evict_flags = vttm_evict_flags,
	.move = vttm_bo_move,
	.io_mem_reserve = vttm_io_mem_reserve,
	.io_mem_pfn = vttm_io_mem_pfn,
};

static void vttm_mm_fini(struct drm_device *drm, void *arg)
{
	struct vttm_device *vdev = arg;

	vttm_sched_drain(vdev);
	/* Ends the deletions under way, so all pages are back after it. */
	ttm_device_fini(&vdev->ttm);
	drm_WARN_ON(drm, atomic_long_read(&vdev->shrinkable_pages));
	drm_WARN_ON(drm, atomic_long_read(&vdev->purgeable_pages));
	drm_WARN_ON(drm, atomic_read(&vdev->bus_tts));
	drm_WARN_ON(drm, atomic64_read(&vdev->stats.buffers));
}

int vttm_mm_init(struct vttm_device *vdev)
{
	/* Up to order 9: what the swap path can write in one piece. */
	u32 flags = TTM_ALLOCATION_POOL_BENEFICIAL_ORDER(9) | TTM_ALLOCATION_PROPAGATE_ENOSPC;
	struct drm_device *drm = &vdev->drm;
	int ret;

	BUILD_BUG_ON(PAGE_SIZE != VTTM_PAGE_SIZE);

	if (vdev->coherent_pages)
		flags |= TTM_ALLOCATION_POOL_USE_DMA_ALLOC;
	ret = ttm_device_init(&vdev->ttm, &vttm_ttm_funcs, drm->dev, drm->anon_inode->i_mapping,
			      drm->vma_offset_manager, flags);
	if (ret)
		return ret;
	ret = drmm_add_action_or_reset(drm, vttm_mm_fini, vdev);
	if (ret)
		return ret;

	ret = vttm_vram_init(vdev);
	if (ret)
		return ret;
	ret = vttm_gtt_init(vdev);
	if (ret)
		return ret;
	return vttm_balloon_init(vdev);
}
