// SPDX-License-Identifier: GPL-2.0
/* Moves and clears by the copy engine, in physical spaces, as jobs of the driver. */
#include <linux/gpu_buddy.h>
#include <linux/sizes.h>

#include <drm/drm_gem.h>

#include "vttm_bo.h"
#include "vttm_drv.h"

/*
 * Dwords of one job. A buffer of scattered 4 KiB pages needs more packets than the ring holds and
 * so several jobs; others get their turn in between.
 */
#define VTTM_MIGRATE_DWORDS 7168u
/* A packet's length is at most 2^32. */
#define VTTM_MIGRATE_MAX_LEN ((u64)SZ_1G)

static void vttm_span_load(struct vttm_span *span)
{
	if (span->block) {
		span->addr = gpu_buddy_block_offset(span->block);
		span->len = vttm_vram_block_size(span->block);
	} else if (span->sg) {
		span->addr = sg_dma_address(span->sg);
		span->len = sg_dma_len(span->sg);
	} else {
		span->len = 0;
	}
	span->len = min(span->len, span->left);
	span->left -= span->len;
}

/* @res: the buffer's present or future place, VRAM or (DMA-mapped) GTT. */
void vttm_span_first(struct vttm_span *span, struct vttm_bo *bo, struct ttm_resource *res)
{
	*span = (struct vttm_span) { .left = bo->tbo.base.size };

	if (res->mem_type == TTM_PL_VRAM) {
		span->space = VTTM_SPACE_VRAM;
		span->blocks = vttm_vram_blocks(res);
		span->block = list_first_entry(span->blocks, struct gpu_buddy_block, link);
	} else if (!WARN_ON(res->mem_type != TTM_PL_TT || !to_vttm_tt(bo->tbo.ttm)->sgt)) {
		span->space = VTTM_SPACE_SYSTEM;
		span->sg = to_vttm_tt(bo->tbo.ttm)->sgt->sgl;
	}
	vttm_span_load(span);
}

/* @bytes: at most @span->len. */
void vttm_span_advance(struct vttm_span *span, u64 bytes)
{
	span->addr += bytes;
	span->len -= bytes;
	if (span->len || !span->left)
		return;

	if (span->block) {
		if (list_is_last(&span->block->link, span->blocks))
			span->block = NULL;
		else
			span->block = list_next_entry(span->block, link);
	} else if (span->sg) {
		span->sg = sg_next(span->sg);
	}
	vttm_span_load(span);
}

static void vttm_push_copy(struct vttm_job *job, const struct vttm_span *dst,
			   const struct vttm_span *src, u64 len)
{
	vttm_job_push(job, VTTM_PKT_HDR(VTTM_OP_COPY,
					VTTM_PKT_DST(dst->space) | VTTM_PKT_SRC(src->space),
					sizeof(struct vttm_pkt_copy) / 4));
	vttm_job_push64(job, dst->addr);
	vttm_job_push64(job, src->addr);
	vttm_job_push64(job, len);
}

static void vttm_push_fill(struct vttm_job *job, const struct vttm_span *dst, u64 len)
{
	vttm_job_push(job, VTTM_PKT_HDR(VTTM_OP_FILL, VTTM_PKT_DST(dst->space),
					sizeof(struct vttm_pkt_fill) / 4));
	vttm_job_push64(job, dst->addr);
	vttm_job_push64(job, len);
	vttm_job_push(job, 0);
}

static struct vttm_job *vttm_migrate_job(struct vttm_device *vdev, struct vttm_bo *bo)
{
	struct vttm_job *job = vttm_job_create(&vdev->engines[VTTM_ENGINE_COPY],
					       &vdev->migrate_entity, NULL, VTTM_MIGRATE_DWORDS,
					       NULL);

	if (!IS_ERR(job)) {
		job->bo = bo;
		job->vram_epoch = READ_ONCE(vdev->vram_epoch);
	}
	return job;
}

static struct dma_fence *vttm_migrate_push(struct vttm_device *vdev, struct vttm_job *job)
{
	struct dma_fence *fence;

	mutex_lock(&vdev->migrate_lock);
	drm_sched_job_arm(&job->base);
	/* Jobs behind it look whether it has failed, so they may not be in the ring before. */
	set_bit(DRM_SCHED_FENCE_DONT_PIPELINE, &job->base.s_fence->finished.flags);
	fence = dma_fence_get(&job->base.s_fence->finished);
	drm_sched_entity_push_job(&job->base);
	mutex_unlock(&vdev->migrate_lock);
	return fence;
}

/*
 * Queues the copy from @src, or the clear if NULL, behind all that uses @bo. Returns the fence of
 * the last job. When a later job cannot be made, those before it are waited for, so that a failed
 * call leaves nothing behind that writes to @dst.
 */
static struct dma_fence *vttm_migrate(struct vttm_bo *bo, struct ttm_resource *dst,
				      struct ttm_resource *src)
{
	const u32 packet = (src ? sizeof(struct vttm_pkt_copy) : sizeof(struct vttm_pkt_fill)) / 4;
	struct vttm_device *vdev = vttm_bo_device(bo);
	struct dma_fence *fence = NULL;
	struct vttm_span to, from;
	int ret;

	vttm_span_first(&to, bo, dst);
	if (src)
		vttm_span_first(&from, bo, src);

	while (to.len) {
		struct vttm_job *job = vttm_migrate_job(vdev, bo);

		if (IS_ERR(job)) {
			ret = PTR_ERR(job);
			goto err_wait;
		}
		/* The jobs behind the first one follow it in the same entity. */
		if (!fence) {
			ret = drm_sched_job_add_resv_dependencies(&job->base, bo->tbo.base.resv,
								  DMA_RESV_USAGE_BOOKKEEP);
			if (ret) {
				vttm_job_destroy(job);
				return ERR_PTR(ret);
			}
		}
		while (to.len && job->num_dwords + packet <= job->max_dwords) {
			u64 len = min(to.len, VTTM_MIGRATE_MAX_LEN);

			if (src) {
				len = min(len, from.len);
				vttm_push_copy(job, &to, &from, len);
				vttm_span_advance(&from, len);
			} else {
				vttm_push_fill(job, &to, len);
			}
			vttm_span_advance(&to, len);
		}
		dma_fence_put(fence);
		fence = vttm_migrate_push(vdev, job);
	}
	return fence;

err_wait:
	if (fence)
		dma_fence_wait(fence, false);
	dma_fence_put(fence);
	return ERR_PTR(ret);
}

struct dma_fence *vttm_migrate_copy(struct vttm_bo *bo, struct ttm_resource *dst,
				    struct ttm_resource *src)
{
	return vttm_migrate(bo, dst, src);
}

struct dma_fence *vttm_migrate_clear(struct vttm_bo *bo, struct ttm_resource *dst)
{
	return vttm_migrate(bo, dst, NULL);
}
