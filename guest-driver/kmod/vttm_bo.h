/* SPDX-License-Identifier: GPL-2.0 */
/* Buffers: GEM objects on TTM, their system pages, and where they are. */
#ifndef VTTM_BO_H
#define VTTM_BO_H

#include <linux/scatterlist.h>

#include <drm/ttm/ttm_bo.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_tt.h>

#include "vttm_drv.h"

struct gpu_buddy_block;

struct vttm_bo {
	struct ttm_buffer_object tbo;
	u32 id; /* in vttm_device.bos */
	u32 domains;
	u32 caching;
	u32 tag;
	/* Under the reservation: */
	u32 madv;
	bool purged;
	struct list_head mappings; /* struct vttm_mapping */
	/* A move or clear has failed: see vttm_bo_drop_lost(). Set in any context. */
	bool lost;
};

static inline struct vttm_bo *to_vttm_bo(struct ttm_buffer_object *tbo)
{
	return container_of(tbo, struct vttm_bo, tbo);
}

static inline struct vttm_bo *gem_to_vttm_bo(struct drm_gem_object *obj)
{
	return container_of(obj, struct vttm_bo, tbo.base);
}

static inline struct vttm_device *vttm_bo_device(struct vttm_bo *bo)
{
	return ttm_to_vttm_device(bo->tbo.bdev);
}

/* System pages of a buffer. @sgt is set while the device can reach them (GTT). */
struct vttm_tt {
	struct ttm_tt base;
	struct sg_table *sgt;
	bool purgeable; /* counted as purgeable, not as shrinkable */
	bool purged;    /* "backed up" by dropping the content */
};

static inline struct vttm_tt *to_vttm_tt(struct ttm_tt *tt)
{
	return container_of(tt, struct vttm_tt, base);
}

/*
 * Walks a resource in device-contiguous spans: VRAM blocks, or DMA segments of GTT pages.
 * @addr and @len describe the present span; @len is 0 at the end.
 */
struct vttm_span {
	u64 addr;
	u64 len;
	u32 space; /* VTTM_SPACE_VRAM or VTTM_SPACE_SYSTEM */
	struct list_head *blocks;
	struct gpu_buddy_block *block;
	struct scatterlist *sg;
	u64 left; /* bytes behind the present span */
};

/* vttm_bo.c */
bool vttm_bo_is_ours(const struct ttm_buffer_object *tbo);
struct vttm_bo *vttm_bo_create(struct vttm_device *vdev, u64 size, u32 domains, u32 caching,
			       u32 tag);
int vttm_bo_validate(struct vttm_bo *bo, struct ttm_operation_ctx *ctx);
int vttm_bo_make_mappable(struct vttm_bo *bo);
int vttm_bo_leave_vram(struct vttm_bo *bo, struct ttm_operation_ctx *ctx);
u32 vttm_bo_place(struct vttm_bo *bo);
int vttm_bo_discard(struct vttm_bo *bo, struct ttm_operation_ctx *ctx);
int vttm_bo_drop_lost(struct vttm_bo *bo, struct ttm_operation_ctx *ctx);

/* vttm_gem.c */
extern const struct drm_gem_object_funcs vttm_gem_funcs;

/* vttm_ttm.c */
struct ttm_tt *vttm_tt_create(struct ttm_buffer_object *tbo, u32 page_flags);
int vttm_tt_populate(struct ttm_device *ttm, struct ttm_tt *tt, struct ttm_operation_ctx *ctx);
void vttm_tt_unpopulate(struct ttm_device *ttm, struct ttm_tt *tt);
void vttm_tt_destroy(struct ttm_device *ttm, struct ttm_tt *tt);
int vttm_tt_map(struct vttm_device *vdev, struct ttm_tt *tt);
void vttm_tt_unmap(struct vttm_device *vdev, struct ttm_tt *tt);
void vttm_tt_account(struct vttm_device *vdev, struct vttm_tt *tt, bool add);

/* vttm_migrate.c */
struct dma_fence *vttm_migrate_copy(struct vttm_bo *bo, struct ttm_resource *dst,
				    struct ttm_resource *src);
struct dma_fence *vttm_migrate_clear(struct vttm_bo *bo, struct ttm_resource *dst);
void vttm_span_first(struct vttm_span *span, struct vttm_bo *bo, struct ttm_resource *res);
void vttm_span_advance(struct vttm_span *span, u64 bytes);

/* vttm_detach.c */
struct vttm_bo *vttm_bo_next(struct vttm_device *vdev, unsigned long *id);

/* vttm_balloon.c */
bool vttm_bo_is_balloon(const struct ttm_buffer_object *tbo);

/* vttm_vram.c */
bool vttm_vram_visible(struct ttm_resource *res);
u64 vttm_vram_offset(struct ttm_resource *res, u64 offset);
struct list_head *vttm_vram_blocks(struct ttm_resource *res);
u64 vttm_vram_block_size(struct gpu_buddy_block *block);

#endif /* VTTM_BO_H */
