// SPDX-License-Identifier: GPL-2.0
/* System pages of buffers: allocation, restore from the backup, DMA mapping, accounting. */
#include <linux/dma-mapping.h>
#include <linux/slab.h>

#include "vttm_bo.h"
#include "vttm_drv.h"

static enum ttm_caching vttm_ttm_caching(u32 caching)
{
	switch (caching) {
	case VTTM_CACHING_WC:
		return ttm_write_combined;
	case VTTM_CACHING_UC:
		return ttm_uncached;
	default:
		return ttm_cached;
	}
}

struct ttm_tt *vttm_tt_create(struct ttm_buffer_object *tbo, u32 page_flags)
{
	struct vttm_tt *tt;

	if (WARN_ON_ONCE(!vttm_bo_is_ours(tbo)))
		return NULL;

	tt = kzalloc_obj(*tt);
	if (!tt)
		return NULL;

	/* Pages that only the driver's shrinker, not TTM's own swapout, may take away. */
	page_flags |= TTM_TT_FLAG_EXTERNAL | TTM_TT_FLAG_EXTERNAL_MAPPABLE;
	if (ttm_tt_init(&tt->base, tbo, page_flags, vttm_ttm_caching(to_vttm_bo(tbo)->caching), 0))
		goto err_free;
	if (ttm_tt_setup_backup(&tt->base))
		goto err_fini;

	tt->purgeable = to_vttm_bo(tbo)->madv == VTTM_MADV_DONTNEED;
	return &tt->base;

err_fini:
	ttm_tt_fini(&tt->base);
err_free:
	kfree(tt);
	return NULL;
}

/* Adds populated pages to, or takes them from, what the shrinker says it can free. */
void vttm_tt_account(struct vttm_device *vdev, struct vttm_tt *tt, bool add)
{
	long pages = add ? tt->base.num_pages : -(long)tt->base.num_pages;

	atomic_long_add(pages, tt->purgeable ? &vdev->purgeable_pages : &vdev->shrinkable_pages);
}

int vttm_tt_populate(struct ttm_device *ttm, struct ttm_tt *tt, struct ttm_operation_ctx *ctx)
{
	struct vttm_tt *vtt = to_vttm_tt(tt);
	int ret;

	if (ttm_tt_is_backed_up(tt) && !vtt->purged) {
		ret = ttm_tt_restore(ttm, tt, ctx);
	} else {
		ttm_tt_clear_backed_up(tt);
		ret = ttm_pool_alloc(&ttm->pool, tt, ctx);
	}
	if (ret)
		return ret;

	vtt->purged = false;
	vttm_tt_account(ttm_to_vttm_device(ttm), vtt, true);
	return 0;
}

void vttm_tt_unpopulate(struct ttm_device *ttm, struct ttm_tt *tt)
{
	struct vttm_device *vdev = ttm_to_vttm_device(ttm);

	vttm_tt_unmap(vdev, tt);
	ttm_pool_free(&ttm->pool, tt);
	vttm_tt_account(vdev, to_vttm_tt(tt), false);
}

void vttm_tt_destroy(struct ttm_device *ttm, struct ttm_tt *tt)
{
	vttm_tt_unmap(ttm_to_vttm_device(ttm), tt);
	ttm_tt_fini(tt);
	kfree(to_vttm_tt(tt));
}

/* Makes the pages reachable by the device, in DMA segments as long as they are contiguous. */
int vttm_tt_map(struct vttm_device *vdev, struct ttm_tt *tt)
{
	struct vttm_tt *vtt = to_vttm_tt(tt);
	struct sg_table *sgt;
	int ret;

	if (vtt->sgt)
		return 0;

	sgt = kzalloc_obj(*sgt);
	if (!sgt)
		return -ENOMEM;
	ret = sg_alloc_table_from_pages_segment(sgt, tt->pages, tt->num_pages, 0,
						(u64)tt->num_pages << PAGE_SHIFT,
						dma_get_max_seg_size(vdev->drm.dev), GFP_KERNEL);
	if (ret)
		goto err_free;
	/* Uncached pages have no lines to flush, and cached ones are coherent on x86. */
	ret = dma_map_sgtable(vdev->drm.dev, sgt, DMA_BIDIRECTIONAL,
			      tt->caching == ttm_cached ? 0 : DMA_ATTR_SKIP_CPU_SYNC);
	if (ret)
		goto err_free_table;
	vtt->sgt = sgt;
	return 0;

err_free_table:
	sg_free_table(sgt);
err_free:
	kfree(sgt);
	return ret;
}

/* The device has no translation to the pages any more. */
void vttm_tt_unmap(struct vttm_device *vdev, struct ttm_tt *tt)
{
	struct vttm_tt *vtt = to_vttm_tt(tt);

	if (!vtt->sgt)
		return;
	dma_unmap_sgtable(vdev->drm.dev, vtt->sgt, DMA_BIDIRECTIONAL,
			  tt->caching == ttm_cached ? 0 : DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(vtt->sgt);
	kfree(vtt->sgt);
	vtt->sgt = NULL;
}
