// SPDX-License-Identifier: GPL-2.0
/* System pages of buffers: allocation, restore from the backup, DMA mapping, accounting. */
#include <linux/dma-mapping.h>
#include <linux/slab.h>
#include <linux/wait_bit.h>

#include <drm/drm_drv.h>

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

/* Pages that only the driver's shrinker, not TTM's own swapout, may take away. */
static int vttm_tt_init(struct vttm_tt *tt, struct ttm_buffer_object *tbo, u32 page_flags,
			enum ttm_caching caching)
{
	int ret;

	page_flags |= TTM_TT_FLAG_EXTERNAL | TTM_TT_FLAG_EXTERNAL_MAPPABLE;
	ret = ttm_tt_init(&tt->base, tbo, page_flags, caching, 0);
	if (ret)
		return ret;
	ret = ttm_tt_setup_backup(&tt->base);
	if (ret)
		ttm_tt_fini(&tt->base);
	return ret;
}

struct ttm_tt *vttm_tt_create(struct ttm_buffer_object *tbo, u32 page_flags)
{
	enum ttm_caching caching = vttm_ttm_caching(to_vttm_bo(tbo)->caching);
	struct vttm_tt *tt;
	int ret;

	if (WARN_ON_ONCE(!vttm_bo_is_ours(tbo)))
		return NULL;

	tt = kzalloc_obj(*tt);
	if (!tt)
		return NULL;

	/* Coherent pages are TTM's to swap out: the backup does not take them. */
	if (ttm_to_vttm_device(tbo->bdev)->coherent_pages)
		ret = ttm_sg_tt_init(&tt->base, tbo, page_flags, caching);
	else
		ret = vttm_tt_init(tt, tbo, page_flags, caching);
	if (ret) {
		kfree(tt);
		return NULL;
	}
	tt->purgeable = to_vttm_bo(tbo)->madv == VTTM_MADV_DONTNEED;
	return &tt->base;
}

/* Adds populated pages to, or takes them from, what the shrinker says it can free. */
void vttm_tt_account(struct vttm_device *vdev, struct vttm_tt *tt, bool add)
{
	long pages = add ? tt->base.num_pages : -(long)tt->base.num_pages;

	atomic_long_add(pages, tt->purgeable ? &vdev->purgeable_pages : &vdev->shrinkable_pages);
}

/* What the device's bus knows of has to go before the driver leaves: vttm_bo_detach_all(). */
static void vttm_tt_bus_get(struct vttm_device *vdev)
{
	atomic_inc(&vdev->bus_tts);
}

static void vttm_tt_bus_put(struct vttm_device *vdev)
{
	if (atomic_dec_and_test(&vdev->bus_tts))
		wake_up_var(&vdev->bus_tts);
}

static int vttm_tt_fill(struct ttm_device *ttm, struct ttm_tt *tt, struct ttm_operation_ctx *ctx)
{
	struct vttm_tt *vtt = to_vttm_tt(tt);
	int ret;

	if (ttm_tt_is_backed_up(tt) && !vtt->purged) {
		ret = ttm_tt_restore(ttm, tt, ctx);
	} else {
		ttm_tt_clear_backed_up(tt);
		ret = ttm_pool_alloc(&ttm->pool, tt, ctx);
	}
	if (!ret)
		vtt->purged = false;
	return ret;
}

int vttm_tt_populate(struct ttm_device *ttm, struct ttm_tt *tt, struct ttm_operation_ctx *ctx)
{
	struct vttm_device *vdev = ttm_to_vttm_device(ttm);
	int ret, idx;

	/* Pages of a bus that is gone are of no use to anybody. */
	if (!drm_dev_enter(&vdev->drm, &idx))
		return -ENODEV;
	ret = vttm_tt_fill(ttm, tt, ctx);
	if (!ret) {
		vttm_tt_account(vdev, to_vttm_tt(tt), true);
		if (vdev->coherent_pages)
			vttm_tt_bus_get(vdev);
	}
	drm_dev_exit(idx);
	return ret;
}

void vttm_tt_unpopulate(struct ttm_device *ttm, struct ttm_tt *tt)
{
	struct vttm_device *vdev = ttm_to_vttm_device(ttm);

	vttm_tt_unmap(vdev, tt);
	ttm_pool_free(&ttm->pool, tt);
	vttm_tt_account(vdev, to_vttm_tt(tt), false);
	if (vdev->coherent_pages)
		vttm_tt_bus_put(vdev);
}

void vttm_tt_destroy(struct ttm_device *ttm, struct ttm_tt *tt)
{
	vttm_tt_unmap(ttm_to_vttm_device(ttm), tt);
	ttm_tt_fini(tt);
	kfree(to_vttm_tt(tt));
}

/* Pages from @first on that the device sees one behind the other. Coherent pages only. */
static pgoff_t vttm_tt_run(struct vttm_device *vdev, const struct ttm_tt *tt, pgoff_t first)
{
	pgoff_t max = min_t(u64, tt->num_pages - first,
			    dma_get_max_seg_size(vdev->drm.dev) >> PAGE_SHIFT);
	pgoff_t n = 1;

	while (n < max && tt->dma_address[first + n] == tt->dma_address[first] + n * PAGE_SIZE)
		n++;
	return n;
}

/* Where coherent pages are, the allocation has said. */
static int vttm_tt_map_coherent(struct vttm_device *vdev, struct ttm_tt *tt, struct sg_table *sgt)
{
	unsigned int runs = 0;
	struct scatterlist *sg;
	pgoff_t i, n;
	int ret;

	for (i = 0; i < tt->num_pages; i += vttm_tt_run(vdev, tt, i))
		runs++;
	ret = sg_alloc_table(sgt, runs, GFP_KERNEL);
	if (ret)
		return ret;

	for (i = 0, sg = sgt->sgl; i < tt->num_pages; i += n, sg = sg_next(sg)) {
		n = vttm_tt_run(vdev, tt, i);
		sg_set_page(sg, tt->pages[i], n << PAGE_SHIFT, 0);
		sg_dma_address(sg) = tt->dma_address[i];
		sg_dma_len(sg) = n << PAGE_SHIFT;
	}
	return 0;
}

/* Uncached pages have no lines to flush, and cached ones are coherent on x86. */
static unsigned long vttm_tt_attrs(const struct ttm_tt *tt)
{
	return tt->caching == ttm_cached ? 0 : DMA_ATTR_SKIP_CPU_SYNC;
}

/* In DMA segments as long as the pages are contiguous. */
static int vttm_tt_map_pages(struct vttm_device *vdev, struct ttm_tt *tt, struct sg_table *sgt)
{
	struct device *dev = vdev->drm.dev;
	int ret;

	ret = sg_alloc_table_from_pages_segment(sgt, tt->pages, tt->num_pages, 0,
						(u64)tt->num_pages << PAGE_SHIFT,
						dma_get_max_seg_size(dev), GFP_KERNEL);
	if (ret)
		return ret;
	ret = dma_map_sgtable(dev, sgt, DMA_BIDIRECTIONAL, vttm_tt_attrs(tt));
	if (ret)
		sg_free_table(sgt);
	return ret;
}

/* Makes the pages reachable by the device. */
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
	ret = vdev->coherent_pages ? vttm_tt_map_coherent(vdev, tt, sgt) :
				     vttm_tt_map_pages(vdev, tt, sgt);
	if (ret) {
		kfree(sgt);
		return ret;
	}
	vtt->sgt = sgt;
	if (!vdev->coherent_pages)
		vttm_tt_bus_get(vdev);
	return 0;
}

/* The device has no translation to the pages any more. */
void vttm_tt_unmap(struct vttm_device *vdev, struct ttm_tt *tt)
{
	struct vttm_tt *vtt = to_vttm_tt(tt);

	if (!vtt->sgt)
		return;
	if (!vdev->coherent_pages) {
		dma_unmap_sgtable(vdev->drm.dev, vtt->sgt, DMA_BIDIRECTIONAL, vttm_tt_attrs(tt));
		vttm_tt_bus_put(vdev);
	}
	sg_free_table(vtt->sgt);
	kfree(vtt->sgt);
	vtt->sgt = NULL;
}
