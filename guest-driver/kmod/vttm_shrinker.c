// SPDX-License-Identifier: GPL-2.0
/*
 * The shrinker: gives system pages of buffers back under memory pressure, in the order of what it
 * costs. First what nobody needs any more (purge), then idle buffers, then (in kswapd only) busy
 * ones, and last, where I/O is allowed, with write-out at once. VRAM is not its business. Where
 * buffers are in coherent memory it purges only; see vttm_swapout.c for the rest.
 */
#include <linux/shrinker.h>

#include <drm/drm_gem.h>
#include <drm/drm_managed.h>
#include <drm/ttm/ttm_backup.h>

#include "vttm_bo.h"
#include "vttm_drv.h"

struct vttm_shrink {
	struct vttm_device *vdev;
	struct ttm_operation_ctx ctx;
	unsigned long to_scan;
	unsigned long scanned;
	unsigned long freed;
	bool purge_only;
	bool writeback;
};

static unsigned long vttm_pages(atomic_long_t *counter)
{
	return max(atomic_long_read(counter), 0L);
}

/* As vttm_shrink_bo(), for coherent pages, which ttm_bo_shrink() does not take. */
static long vttm_shrink_coherent(struct vttm_shrink *shrink, struct ttm_buffer_object *tbo)
{
	struct vttm_bo *bo = to_vttm_bo(tbo);
	int ret;

	/* A deleted buffer only waits for its turn to be freed: let it. */
	if (bo->madv != VTTM_MADV_DONTNEED || tbo->deleted)
		return 0;

	shrink->scanned += tbo->ttm->num_pages;
	ret = ttm_bo_wait_ctx(tbo, &shrink->ctx);
	if (!ret) {
		ttm_bo_unmap_virtual(tbo);
		ret = vttm_bo_discard(bo, &shrink->ctx);
	}
	if (ret)
		return ret == -EINTR || ret == -ERESTARTSYS ? ret : 0;
	return tbo->ttm->num_pages;
}

/* Pages freed, or 0 if the buffer is left as it is. Under its (trylocked) reservation. */
static long vttm_shrink_bo(struct vttm_shrink *shrink, struct ttm_buffer_object *tbo)
{
	struct vttm_tt *tt = to_vttm_tt(tbo->ttm);
	struct ttm_bo_shrink_flags flags = {
		/* A deleted buffer only waits for its turn to be freed. */
		.purge = to_vttm_bo(tbo)->madv == VTTM_MADV_DONTNEED || tbo->deleted,
		.writeback = shrink->writeback,
		.allow_move = true,
	};
	long ret;

	if (shrink->vdev->coherent_pages)
		return vttm_shrink_coherent(shrink, tbo);
	if (shrink->purge_only && !flags.purge)
		return 0;

	shrink->scanned += tbo->ttm->num_pages;
	ret = ttm_bo_shrink(&shrink->ctx, tbo, flags);
	if (ret <= 0)
		return ret == -EBUSY ? 0 : ret;

	vttm_tt_account(shrink->vdev, tt, false);
	if (flags.purge) {
		tt->purged = true;
		to_vttm_bo(tbo)->purged = true;
		/* What comes next must read as zeroes, however this tt was made. */
		ttm_tt_mark_for_clear(tbo->ttm);
	}
	return ret;
}

static int vttm_shrink_walk(struct vttm_shrink *shrink)
{
	static const u32 types[] = { TTM_PL_SYSTEM, TTM_PL_TT };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		struct ttm_resource_manager *man = ttm_manager_type(&shrink->vdev->ttm, types[i]);
		struct ttm_lru_walk_arg arg = {
			.ctx = &shrink->ctx,
			.trylock_only = true,
		};
		struct ttm_bo_lru_cursor cursor;
		struct ttm_buffer_object *tbo;

		ttm_bo_lru_for_each_reserved_guarded(&cursor, man, &arg, tbo) {
			long freed;

			if (!vttm_bo_is_ours(tbo) || !ttm_bo_shrink_suitable(tbo, &shrink->ctx))
				continue;
			freed = vttm_shrink_bo(shrink, tbo);
			if (freed < 0)
				return freed;
			shrink->freed += freed;
			if (shrink->scanned >= shrink->to_scan)
				return 0;
		}
	}
	return 0;
}

static bool vttm_shrink_done(struct vttm_shrink *shrink, int ret)
{
	return ret || shrink->scanned >= shrink->to_scan;
}

/* One kind of content: idle buffers, then busy ones, then with write-out. */
static int vttm_shrink_passes(struct vttm_shrink *shrink, bool may_wait, bool may_write)
{
	int ret;

	shrink->writeback = false;
	shrink->ctx.no_wait_gpu = true;
	ret = vttm_shrink_walk(shrink);
	if (vttm_shrink_done(shrink, ret) || !may_wait)
		return ret;

	shrink->ctx.no_wait_gpu = false;
	ret = vttm_shrink_walk(shrink);
	if (vttm_shrink_done(shrink, ret) || !may_write)
		return ret;

	shrink->writeback = true;
	return vttm_shrink_walk(shrink);
}

static unsigned long vttm_shrinker_count(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct vttm_device *vdev = shrinker->private_data;
	unsigned long pages = vttm_pages(&vdev->purgeable_pages);

	/* Backing up allocates in shmem, which enters the filesystem. A worker may always. */
	if (sc->gfp_mask & __GFP_FS || vdev->coherent_pages)
		pages += min_t(u64, ttm_backup_bytes_avail() >> PAGE_SHIFT,
			       vttm_pages(&vdev->shrinkable_pages));
	return pages ?: SHRINK_EMPTY;
}

static unsigned long vttm_shrinker_scan(struct shrinker *shrinker, struct shrink_control *sc)
{
	struct vttm_device *vdev = shrinker->private_data;
	/* Only kswapd may wait for the device: others have better things to reclaim. */
	bool may_wait = !ttm_bo_shrink_avoid_wait();
	struct vttm_shrink shrink = {
		.vdev = vdev,
		.to_scan = sc->nr_to_scan,
		.purge_only = true,
	};
	int ret = 0;

	atomic64_inc(&vdev->stats.shrink_calls);

	if (vttm_pages(&vdev->purgeable_pages))
		ret = vttm_shrink_passes(&shrink, may_wait, false);
	/* Without swap nothing would be backed up: no buffer is to lose its place for that. */
	if (vdev->coherent_pages && !vttm_shrink_done(&shrink, ret) && ttm_backup_bytes_avail() &&
	    vttm_pages(&vdev->shrinkable_pages)) {
		vttm_swapout_queue(vdev, shrink.to_scan - shrink.scanned);
		shrink.scanned = shrink.to_scan;
	}
	if (!vttm_shrink_done(&shrink, ret) && sc->gfp_mask & __GFP_FS &&
	    ttm_backup_bytes_avail() && !vdev->coherent_pages) {
		shrink.purge_only = false;
		vttm_shrink_passes(&shrink, may_wait, may_wait && sc->gfp_mask & __GFP_IO);
	}

	sc->nr_scanned = shrink.scanned;
	atomic64_add(shrink.freed, &vdev->stats.shrunk_pages);
	return shrink.scanned ? shrink.freed : SHRINK_STOP;
}

static void vttm_shrinker_fini(struct drm_device *drm, void *arg)
{
	shrinker_free(arg);
}

int vttm_shrinker_init(struct vttm_device *vdev)
{
	struct shrinker *shrinker;

	shrinker = shrinker_alloc(0, "drm-vttm_gem:%s", vdev->drm.unique);
	if (!shrinker)
		return -ENOMEM;
	shrinker->count_objects = vttm_shrinker_count;
	shrinker->scan_objects = vttm_shrinker_scan;
	shrinker->private_data = vdev;
	vdev->shrinker = shrinker;
	shrinker_register(shrinker);
	return drmm_add_action_or_reset(&vdev->drm, vttm_shrinker_fini, shrinker);
}
