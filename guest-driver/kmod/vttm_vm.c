// SPDX-License-Identifier: GPL-2.0
/*
 * GPU address spaces.
 *
 * A mapping's PTEs become valid when a job needs the buffer (vttm_vm_fill_bo(), which needs no
 * invalidation, as invalid entries are never cached) and invalid before the buffer's pages go
 * elsewhere (vttm_vm_zap_bo()). Zapping waits for the jobs that use the buffer.
 */
#include <linux/delay.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>

#include "vttm_bo.h"
#include "vttm_drv.h"
#include "vttm_vm.h"

static struct vttm_vm *vttm_vm_new(struct vttm_device *vdev)
{
	struct vttm_vm *vm;
	int ret, idx;

	vm = kzalloc_obj(*vm);
	if (!vm)
		return ERR_PTR(-ENOMEM);

	kref_init(&vm->ref);
	vm->vdev = vdev;
	mutex_init(&vm->lock);
	spin_lock_init(&vm->pt_lock);
	mt_init(&vm->mappings);
	vm->root = vttm_pt_create_root(vdev);
	if (IS_ERR(vm->root)) {
		ret = PTR_ERR(vm->root);
		kfree(vm);
		return ERR_PTR(ret);
	}

	ret = xa_alloc(&vdev->vms, &vm->id, vm, XA_LIMIT(0, VTTM_MAX_VMS - 1), GFP_KERNEL);
	if (ret) {
		vttm_pt_destroy_root(vdev, vm->root);
		kfree(vm);
		return ERR_PTR(ret == -EBUSY ? -ENOSPC : ret);
	}
	atomic64_inc(&vdev->stats.vm_count);

	/* Of a parked device vttm_vm_restore_all() will do it. */
	if (vttm_hw_enter(vdev, &idx)) {
		vttm_write64(vdev, VTTM_REG_VM_ROOT_LO(vm->id), vttm_pt_root_entry(vm->root));
		vttm_hw_exit(vdev, idx);
	}
	return vm;
}

struct vttm_vm *vttm_vm_create(struct vttm_device *vdev)
{
	struct vttm_vm *vm = ERR_PTR(-ENODEV);
	int idx;

	/* While it is made the device does not go: then vttm_vm_detach_all() has to find it. */
	if (drm_dev_enter(&vdev->drm, &idx)) {
		vm = vttm_vm_new(vdev);
		drm_dev_exit(idx);
	}
	return vm;
}

/* After a reset of the device, under hw_lock: tells it where the page tables are. */
void vttm_vm_restore_all(struct vttm_device *vdev)
{
	struct vttm_vm *vm;
	unsigned long id;

	lockdep_assert_held(&vdev->hw_lock);
	xa_for_each(&vdev->vms, id, vm)
		/* 0: on its way out; vttm_vm_release() waits for us before it frees. */
		if (kref_read(&vm->ref))
			vttm_write64(vdev, VTTM_REG_VM_ROOT_LO(id), vttm_pt_root_entry(vm->root));
}

/* A reference to the VM of this id; NULL if there is none. One on its way out is waited for. */
static struct vttm_vm *vttm_vm_find(struct vttm_device *vdev, u32 id)
{
	struct vttm_vm *vm;

	for (;;) {
		xa_lock(&vdev->vms);
		vm = xa_load(&vdev->vms, id);
		if (!vm || kref_get_unless_zero(&vm->ref))
			break;
		xa_unlock(&vdev->vms);
		usleep_range(500, 1000);
	}
	xa_unlock(&vdev->vms);
	return vm;
}

/* Behind drm_dev_unplug(), so that no table is made any more, and behind vttm_bo_detach_all(). */
void vttm_vm_detach_all(struct vttm_device *vdev)
{
	u32 id;

	for (id = 0; id < VTTM_MAX_VMS; id++) {
		struct vttm_vm *vm = vttm_vm_find(vdev, id);

		if (!vm)
			continue;
		mutex_lock(&vm->lock);
		vttm_pt_detach(vdev, vm->root);
		mutex_unlock(&vm->lock);
		vttm_vm_put(vm);
	}
}

static void vttm_vm_release(struct kref *ref)
{
	struct vttm_vm *vm = container_of(ref, struct vttm_vm, ref);
	struct vttm_device *vdev = vm->vdev;
	int idx;

	if (vttm_hw_enter(vdev, &idx)) {
		vttm_write64(vdev, VTTM_REG_VM_ROOT_LO(vm->id), 0);
		vttm_hw_exit(vdev, idx);
	}
	/* The next user of the id must not meet translations of this one. */
	vttm_hw_tlb_invalidate(vdev, VTTM_TLB_INV_CMD(VTTM_TLB_INV_VM, vm->id), 0, 0);
	/* Found until here by who waits for its end: vttm_vm_detach_all(). */
	vttm_pt_destroy_root(vdev, vm->root);
	mutex_lock(&vdev->hw_lock);
	xa_erase(&vdev->vms, vm->id);
	mutex_unlock(&vdev->hw_lock);
	atomic64_dec(&vdev->stats.vm_count);
	mtree_destroy(&vm->mappings);
	mutex_destroy(&vm->lock);
	kfree(vm);
}

void vttm_vm_put(struct vttm_vm *vm)
{
	kref_put(&vm->ref, vttm_vm_release);
}

static void vttm_vm_invalidate(struct vttm_vm *vm, u64 va, u32 pages)
{
	vttm_hw_tlb_invalidate(vm->vdev, VTTM_TLB_INV_CMD(VTTM_TLB_INV_RANGE, vm->id), va, pages);
}

/* Takes a linked mapping out; no job uses it any more. Both locks are held. */
static void vttm_mapping_destroy(struct vttm_mapping *mapping)
{
	struct vttm_vm *vm = mapping->vm;
	struct vttm_bo *bo = mapping->bo;
	LIST_HEAD(dead);

	lockdep_assert_held(&vm->lock);
	dma_resv_assert_held(bo->tbo.base.resv);

	if (mapping->valid)
		vttm_pt_clear(vm, mapping->va, mapping->pages);
	vttm_pt_put(vm->root, mapping->va, mapping->pages, &dead);
	if (mapping->valid || !list_empty(&dead))
		vttm_vm_invalidate(vm, mapping->va, mapping->pages);
	vttm_pt_free_list(vm->vdev, &dead);

	list_del(&mapping->bo_link);
	mtree_erase(&vm->mappings, mapping->va >> VTTM_PAGE_SHIFT);
	atomic64_dec(&vm->vdev->stats.mappings);
	kfree(mapping);
}

/* For a handle that goes away: the buffer's mappings in @vm end when its jobs have. */
void vttm_vm_forget_bo(struct vttm_vm *vm, struct vttm_bo *bo)
{
	struct dma_resv *resv = bo->tbo.base.resv;
	struct vttm_mapping *mapping, *next;
	unsigned int gone = 0;

	mutex_lock(&vm->lock);
	dma_resv_lock(resv, NULL);
	list_for_each_entry_safe(mapping, next, &bo->mappings, bo_link) {
		if (mapping->vm != vm)
			continue;
		if (mapping->valid)
			dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP, false,
					      MAX_SCHEDULE_TIMEOUT);
		vttm_mapping_destroy(mapping);
		gone++;
	}
	dma_resv_unlock(resv);
	mutex_unlock(&vm->lock);

	while (gone--)
		drm_gem_object_put(&bo->tbo.base);
}

/* The file is gone: ends what is still mapped, and the file's hold on the VM. */
void vttm_vm_close(struct vttm_vm *vm)
{
	struct vttm_mapping *mapping;
	unsigned long index = 0;

	while ((mapping = mt_find(&vm->mappings, &index, ULONG_MAX))) {
		struct vttm_bo *bo = mapping->bo;

		drm_gem_object_get(&bo->tbo.base);
		vttm_vm_forget_bo(vm, bo);
		drm_gem_object_put(&bo->tbo.base);
		index = 0;
	}
	vttm_vm_put(vm);
}

/* Points the PTEs of @bo in @vm to where it is now (VRAM or GTT). Under its reservation. */
void vttm_vm_fill_bo(struct vttm_vm *vm, struct vttm_bo *bo)
{
	struct vttm_mapping *mapping;
	struct vttm_span span;

	list_for_each_entry(mapping, &bo->mappings, bo_link) {
		u64 va = mapping->va;

		if (mapping->vm != vm || mapping->valid)
			continue;
		for (vttm_span_first(&span, bo, bo->tbo.resource); span.len;
		     vttm_span_advance(&span, span.len)) {
			u64 entry = span.addr | VTTM_PTE_VALID;

			if (span.space == VTTM_SPACE_SYSTEM)
				entry |= VTTM_PTE_SYSTEM;
			if (!mapping->read_only)
				entry |= VTTM_PTE_WRITE;
			vttm_pt_fill(vm, va, span.len >> VTTM_PAGE_SHIFT, entry);
			va += span.len;
		}
		mapping->valid = true;
	}
}

/* What vttm_vm_zap_bo() does, for a buffer whose jobs have ended. */
void vttm_vm_zap_idle_bo(struct vttm_bo *bo)
{
	struct vttm_mapping *mapping;

	dma_resv_assert_held(bo->tbo.base.resv);

	list_for_each_entry(mapping, &bo->mappings, bo_link) {
		if (!mapping->valid)
			continue;
		vttm_pt_clear(mapping->vm, mapping->va, mapping->pages);
		mapping->valid = false;
		vttm_vm_invalidate(mapping->vm, mapping->va, mapping->pages);
	}
}

/*
 * Ends the device's view of @bo in all VMs, before its pages go elsewhere. Waits for its jobs as
 * @ctx says. Under its reservation; may be called in reclaim.
 */
int vttm_vm_zap_bo(struct vttm_bo *bo, struct ttm_operation_ctx *ctx)
{
	struct vttm_mapping *mapping;
	int ret;

	dma_resv_assert_held(bo->tbo.base.resv);

	list_for_each_entry(mapping, &bo->mappings, bo_link) {
		if (!mapping->valid)
			continue;
		ret = ttm_bo_wait_ctx(&bo->tbo, ctx);
		if (!ret)
			vttm_vm_zap_idle_bo(bo);
		return ret;
	}
	return 0;
}

static int vttm_vm_map(struct vttm_vm *vm, struct vttm_bo *bo, u64 va, bool read_only)
{
	struct vttm_mapping *mapping;
	u64 first = va >> VTTM_PAGE_SHIFT;
	LIST_HEAD(dead);
	int ret;

	mapping = kzalloc_obj(*mapping);
	if (!mapping)
		return -ENOMEM;
	mapping->vm = vm;
	mapping->bo = bo;
	mapping->va = va;
	mapping->pages = bo->tbo.base.size >> VTTM_PAGE_SHIFT;
	mapping->read_only = read_only;

	ret = mutex_lock_interruptible(&vm->lock);
	if (ret)
		goto err_free;
	ret = mtree_insert_range(&vm->mappings, first, first + mapping->pages - 1, mapping,
				 GFP_KERNEL);
	if (ret)
		goto err_unlock;
	ret = vttm_pt_get(vm->vdev, vm->root, va, mapping->pages, &dead);
	if (ret)
		goto err_erase;
	ret = dma_resv_lock_interruptible(bo->tbo.base.resv, NULL);
	if (ret)
		goto err_put;

	drm_gem_object_get(&bo->tbo.base);
	list_add_tail(&mapping->bo_link, &bo->mappings);
	atomic64_inc(&vm->vdev->stats.mappings);
	dma_resv_unlock(bo->tbo.base.resv);
	mutex_unlock(&vm->lock);
	return 0;

err_put:
	vttm_pt_put(vm->root, va, mapping->pages, &dead);
err_erase:
	if (!list_empty(&dead))
		vttm_vm_invalidate(vm, va, mapping->pages);
	vttm_pt_free_list(vm->vdev, &dead);
	mtree_erase(&vm->mappings, first);
err_unlock:
	mutex_unlock(&vm->lock);
err_free:
	kfree(mapping);
	return ret;
}

static int vttm_vm_unmap(struct vttm_vm *vm, u64 va)
{
	struct vttm_mapping *mapping;
	struct vttm_bo *bo;
	long ret;

	ret = mutex_lock_interruptible(&vm->lock);
	if (ret)
		return ret;

	mapping = mtree_load(&vm->mappings, va >> VTTM_PAGE_SHIFT);
	if (!mapping || mapping->va != va) {
		ret = -ENOENT;
		goto out_unlock;
	}
	bo = mapping->bo;
	ret = dma_resv_lock_interruptible(bo->tbo.base.resv, NULL);
	if (ret)
		goto out_unlock;
	if (mapping->valid)
		ret = dma_resv_wait_timeout(bo->tbo.base.resv, DMA_RESV_USAGE_BOOKKEEP, true,
					    MAX_SCHEDULE_TIMEOUT);
	if (ret >= 0) {
		vttm_mapping_destroy(mapping);
		ret = 0;
	}
	dma_resv_unlock(bo->tbo.base.resv);
	mutex_unlock(&vm->lock);
	if (!ret)
		drm_gem_object_put(&bo->tbo.base);
	return ret;

out_unlock:
	mutex_unlock(&vm->lock);
	return ret;
}

int vttm_vm_bind_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct vttm_file *vfile = file->driver_priv;
	struct drm_vttm_vm_bind *args = data;
	struct drm_gem_object *obj;
	int ret;

	if (args->pad || !IS_ALIGNED(args->va, VTTM_PAGE_SIZE) || args->va < VTTM_VA_MIN ||
	    args->va >= VTTM_VA_END)
		return -EINVAL;

	switch (args->op) {
	case VTTM_BIND_UNMAP:
		if (args->handle || args->flags)
			return -EINVAL;
		return vttm_vm_unmap(vfile->vm, args->va);
	case VTTM_BIND_MAP:
		break;
	default:
		return -EINVAL;
	}

	if (args->flags & ~VTTM_BIND_READ_ONLY)
		return -EINVAL;
	obj = drm_gem_object_lookup(file, args->handle);
	if (!obj)
		return -ENOENT;
	if (obj->size > VTTM_VA_END - args->va)
		ret = -EINVAL;
	else
		ret = vttm_vm_map(vfile->vm, gem_to_vttm_bo(obj), args->va,
				  args->flags & VTTM_BIND_READ_ONLY);
	drm_gem_object_put(obj);
	return ret;
}
