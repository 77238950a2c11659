// SPDX-License-Identifier: GPL-2.0
/* Buffers as user space sees them: handles, CPU mappings, advice. */
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_gem_ttm_helper.h>

#include "vttm_bo.h"
#include "vttm_drv.h"
#include "vttm_vm.h"

static void vttm_gem_free(struct drm_gem_object *obj)
{
	ttm_bo_fini(&gem_to_vttm_bo(obj)->tbo);
}

/* Closing a handle ends the buffer's mappings in that file's address space. */
static void vttm_gem_close(struct drm_gem_object *obj, struct drm_file *file)
{
	struct vttm_file *vfile = file->driver_priv;

	vttm_vm_forget_bo(vfile->vm, gem_to_vttm_bo(obj));
}

/*
 * Waits for moves of the buffer, if it may without the mmap lock: else VM_FAULT_RETRY, and the
 * reservation is dropped. (TTM does the same, but does not ask how they ended.)
 */
static vm_fault_t vttm_gem_fault_idle(struct ttm_buffer_object *tbo, struct vm_fault *vmf)
{
	struct dma_resv *resv = tbo->base.resv;
	long ret;

	if (dma_resv_test_signaled(resv, DMA_RESV_USAGE_KERNEL))
		return 0;

	if (fault_flag_allow_retry_first(vmf->flags)) {
		if (vmf->flags & FAULT_FLAG_RETRY_NOWAIT)
			return VM_FAULT_RETRY;
		drm_gem_object_get(&tbo->base);
		mmap_read_unlock(vmf->vma->vm_mm);
		dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, true, MAX_SCHEDULE_TIMEOUT);
		dma_resv_unlock(resv);
		drm_gem_object_put(&tbo->base);
		return VM_FAULT_RETRY;
	}
	ret = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, true, MAX_SCHEDULE_TIMEOUT);
	return ret < 0 ? VM_FAULT_NOPAGE : 0;
}

/* Has the buffer where the CPU reaches it, with its content, or zeroes if that is lost. */
static vm_fault_t vttm_gem_fault_ready(struct ttm_buffer_object *tbo, struct vm_fault *vmf)
{
	struct ttm_operation_ctx ctx = { .interruptible = true };
	struct vttm_bo *bo = to_vttm_bo(tbo);
	vm_fault_t ret;
	int err;

	do {
		err = vttm_bo_make_mappable(bo);
		if (err)
			break;
		ret = vttm_gem_fault_idle(tbo, vmf);
		if (ret)
			return ret;
		if (!READ_ONCE(bo->lost))
			return 0;
		/* It has no place then. */
		err = vttm_bo_drop_lost(bo, &ctx);
	} while (!err);

	if (err == -EINTR || err == -ERESTARTSYS)
		return VM_FAULT_NOPAGE;
	return err == -ENOMEM ? VM_FAULT_OOM : VM_FAULT_SIGBUS;
}

static vm_fault_t vttm_gem_fault(struct vm_fault *vmf)
{
	struct ttm_buffer_object *tbo = vmf->vma->vm_private_data;
	vm_fault_t ret;
	int idx;

	ret = ttm_bo_vm_reserve(tbo, vmf);
	if (ret)
		return ret;

	if (drm_dev_enter(tbo->base.dev, &idx)) {
		ret = vttm_gem_fault_ready(tbo, vmf);
		if (!ret)
			ret = ttm_bo_vm_fault_reserved(vmf, vmf->vma->vm_page_prot,
						       TTM_BO_VM_NUM_PREFAULT);
		/* Unplugged in the middle of it: the next try gets a dummy page. */
		if ((ret & VM_FAULT_ERROR) && drm_dev_is_unplugged(tbo->base.dev))
			ret = VM_FAULT_NOPAGE;
		drm_dev_exit(idx);
	} else {
		ret = ttm_bo_vm_dummy_page(vmf, vmf->vma->vm_page_prot);
	}
	/* The reservation was dropped with the mmap lock. */
	if (ret == VM_FAULT_RETRY && !(vmf->flags & FAULT_FLAG_RETRY_NOWAIT))
		return ret;
	dma_resv_unlock(tbo->base.resv);
	return ret;
}

/* For debuggers: what ttm_bo_vm_access() shows is as it is, so it has to be right before. */
static int vttm_gem_access(struct vm_area_struct *vma, unsigned long addr, void *buf, int len,
			   int write)
{
	struct ttm_operation_ctx ctx = { .interruptible = true };
	struct ttm_buffer_object *tbo = vma->vm_private_data;
	int ret, idx;

	if (!drm_dev_enter(tbo->base.dev, &idx))
		return -ENODEV;
	ret = dma_resv_lock_interruptible(tbo->base.resv, NULL);
	if (ret)
		goto out;
	ret = ttm_bo_wait_ctx(tbo, &ctx);
	if (!ret)
		ret = vttm_bo_drop_lost(to_vttm_bo(tbo), &ctx);
	if (!ret)
		ret = vttm_bo_make_mappable(to_vttm_bo(tbo));
	dma_resv_unlock(tbo->base.resv);
	if (!ret)
		ret = ttm_bo_vm_access(vma, addr, buf, len, write);
out:
	drm_dev_exit(idx);
	return ret;
}

static const struct vm_operations_struct vttm_gem_vm_ops = {
	.fault = vttm_gem_fault,
	.open = ttm_bo_vm_open,
	.close = ttm_bo_vm_close,
	.access = vttm_gem_access,
};

const struct drm_gem_object_funcs vttm_gem_funcs = {
	.free = vttm_gem_free,
	.close = vttm_gem_close,
	.mmap = drm_gem_ttm_mmap,
	.vm_ops = &vttm_gem_vm_ops,
};

int vttm_gem_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct vttm_device *vdev = to_vttm_device(drm);
	struct drm_vttm_gem_create *args = data;
	struct vttm_bo *bo;
	u64 size, room = 0;
	int ret;

	if (args->flags || args->pad || !args->size || !args->domains ||
	    args->domains & ~(VTTM_DOMAIN_VRAM | VTTM_DOMAIN_GTT) ||
	    args->caching > VTTM_CACHING_UC)
		return -EINVAL;

	if (args->domains & VTTM_DOMAIN_VRAM)
		room = vttm_vram_room(vdev->vram_size);
	if (args->domains & VTTM_DOMAIN_GTT)
		room = max(room, vdev->gtt_size);
	if (args->size > room)
		return -ENOSPC;
	size = PAGE_ALIGN(args->size);

	bo = vttm_bo_create(vdev, size, args->domains, args->caching, args->tag);
	if (IS_ERR(bo))
		return PTR_ERR(bo);
	ret = drm_gem_handle_create(file, &bo->tbo.base, &args->handle);
	drm_gem_object_put(&bo->tbo.base);
	args->size = size;
	return ret;
}

int vttm_gem_mmap_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vttm_gem_mmap *args = data;

	if (args->pad)
		return -EINVAL;
	return drm_gem_ttm_dumb_map_offset(file, drm, args->handle, &args->offset);
}

int vttm_gem_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vttm_gem_info *args = data;
	struct drm_gem_object *obj;
	struct vttm_bo *bo;
	int ret;

	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	bo = gem_to_vttm_bo(obj);

	ret = dma_resv_lock_interruptible(obj->resv, NULL);
	if (!ret) {
		args->place = vttm_bo_place(bo);
		args->purged = bo->purged;
		dma_resv_unlock(obj->resv);
		args->size = obj->size;
		args->domains = bo->domains;
		args->caching = bo->caching;
		args->tag = bo->tag;
	}
	drm_gem_object_put(obj);
	return ret;
}

static void vttm_bo_set_madv(struct vttm_bo *bo, u32 madv)
{
	bool purgeable = madv == VTTM_MADV_DONTNEED;
	struct vttm_device *vdev = vttm_bo_device(bo);
	struct ttm_tt *tt = bo->tbo.ttm;

	bo->madv = madv;
	if (!tt || to_vttm_tt(tt)->purgeable == purgeable)
		return;
	if (ttm_tt_is_populated(tt))
		vttm_tt_account(vdev, to_vttm_tt(tt), false);
	to_vttm_tt(tt)->purgeable = purgeable;
	if (ttm_tt_is_populated(tt))
		vttm_tt_account(vdev, to_vttm_tt(tt), true);
}

int vttm_gem_madvise_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct drm_vttm_gem_madvise *args = data;
	struct drm_gem_object *obj;
	struct vttm_bo *bo;
	int ret;

	if (args->pad || args->madv > VTTM_MADV_DONTNEED)
		return -EINVAL;
	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	bo = gem_to_vttm_bo(obj);

	ret = dma_resv_lock_interruptible(obj->resv, NULL);
	if (!ret) {
		vttm_bo_set_madv(bo, args->madv);
		args->retained = !bo->purged;
		/* From here on it is a buffer of zeroes like a new one. */
		if (args->madv == VTTM_MADV_WILLNEED)
			bo->purged = false;
		dma_resv_unlock(obj->resv);
	}
	drm_gem_object_put(obj);
	return ret;
}
