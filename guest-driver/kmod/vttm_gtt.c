// SPDX-License-Identifier: GPL-2.0
/*
 * GTT: system pages that the device reaches. There is no aperture to allocate from (each VM has
 * page tables of its own), so the manager only limits how much is in GTT at a time; the rest waits
 * in SYSTEM, where the shrinker finds it first.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>

#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "vttm_bo.h"
#include "vttm_drv.h"

static unsigned int vttm_gtt_mib;
module_param_named(gtt_mib, vttm_gtt_mib, uint, 0444);
MODULE_PARM_DESC(gtt_mib, "limit of buffers in GTT at a time, in MiB (0: 3/4 of RAM, the default)");

static int vttm_gtt_alloc(struct ttm_resource_manager *man, struct ttm_buffer_object *tbo,
			  const struct ttm_place *place, struct ttm_resource **out)
{
	struct ttm_resource *res;

	res = kzalloc_obj(*res);
	if (!res)
		return -ENOMEM;
	ttm_resource_init(tbo, place, res);

	/* The stop of a move between VRAM and SYSTEM passes the limit: it must not fail. */
	if (!(place->flags & TTM_PL_FLAG_TEMPORARY) &&
	    ttm_resource_manager_usage(man) > man->size) {
		ttm_resource_fini(man, res);
		kfree(res);
		return -ENOSPC;
	}
	*out = res;
	return 0;
}

static void vttm_gtt_free(struct ttm_resource_manager *man, struct ttm_resource *res)
{
	ttm_resource_fini(man, res);
	kfree(res);
}

static void vttm_gtt_debug(struct ttm_resource_manager *man, struct drm_printer *printer)
{
	drm_printf(printer, "limit %llu MiB\n", man->size >> 20);
}

static const struct ttm_resource_manager_func vttm_gtt_funcs = {
	.alloc = vttm_gtt_alloc,
	.free = vttm_gtt_free,
	.debug = vttm_gtt_debug,
};

static void vttm_gtt_fini(struct drm_device *drm, void *arg)
{
	struct ttm_resource_manager *man = arg;
	struct ttm_device *ttm = &to_vttm_device(drm)->ttm;

	ttm_resource_manager_evict_all(ttm, man);
	ttm_resource_manager_set_used(man, false);
	ttm_resource_manager_cleanup(man);
	ttm_set_driver_manager(ttm, TTM_PL_TT, NULL);
}

int vttm_gtt_init(struct vttm_device *vdev)
{
	struct ttm_resource_manager *man;
	u64 ram = (u64)totalram_pages() << PAGE_SHIFT;

	man = drmm_kzalloc(&vdev->drm, sizeof(*man), GFP_KERNEL);
	if (!man)
		return -ENOMEM;

	vdev->gtt_size = vttm_gtt_mib ? (u64)vttm_gtt_mib << 20 : PAGE_ALIGN(ram / 4 * 3);
	man->use_tt = true;
	man->func = &vttm_gtt_funcs;
	ttm_resource_manager_init(man, &vdev->ttm, vdev->gtt_size);
	ttm_set_driver_manager(&vdev->ttm, TTM_PL_TT, man);
	ttm_resource_manager_set_used(man, true);
	return drmm_add_action_or_reset(&vdev->drm, vttm_gtt_fini, man);
}
