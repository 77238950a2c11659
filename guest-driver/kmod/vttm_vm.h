/* SPDX-License-Identifier: GPL-2.0 */
/* GPU address spaces: which buffer is mapped where, and the page tables that say so. */
#ifndef VTTM_VM_H
#define VTTM_VM_H

#include <linux/bits.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/maple_tree.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>

struct drm_device;
struct drm_file;
struct ttm_operation_ctx;
struct vttm_bo;
struct vttm_device;
struct vttm_pt;

#define VTTM_VA_MIN 0x10000ull
#define VTTM_VA_END BIT_ULL(47)

/* Held by its file and by every job that runs in it. */
struct vttm_vm {
	struct kref ref;
	struct vttm_device *vdev;
	u32 id;
	struct mutex lock;          /* mappings and the shape of the page-table tree */
	struct maple_tree mappings; /* by page number */
	struct vttm_pt *root;
	spinlock_t pt_lock; /* leaves, and the entries of level 1 that are or lead to them */
};

/*
 * A buffer at an address; holds a reference to both. @valid: the PTEs point to the buffer's pages.
 * @valid and @bo_link belong to the buffer's reservation.
 */
struct vttm_mapping {
	struct vttm_vm *vm;
	struct vttm_bo *bo;
	u64 va;
	u32 pages;
	bool read_only;
	bool valid;
	struct list_head bo_link;
};

/* vttm_vm.c */
struct vttm_vm *vttm_vm_create(struct vttm_device *vdev);
void vttm_vm_restore_all(struct vttm_device *vdev);
void vttm_vm_detach_all(struct vttm_device *vdev);
void vttm_vm_put(struct vttm_vm *vm);
void vttm_vm_close(struct vttm_vm *vm);
void vttm_vm_forget_bo(struct vttm_vm *vm, struct vttm_bo *bo);
void vttm_vm_fill_bo(struct vttm_vm *vm, struct vttm_bo *bo);
int vttm_vm_zap_bo(struct vttm_bo *bo, struct ttm_operation_ctx *ctx);
void vttm_vm_zap_idle_bo(struct vttm_bo *bo);
int vttm_vm_bind_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* vttm_pt.c */
struct vttm_pt *vttm_pt_create_root(struct vttm_device *vdev);
void vttm_pt_destroy_root(struct vttm_device *vdev, struct vttm_pt *root);
void vttm_pt_detach(struct vttm_device *vdev, struct vttm_pt *root);
u64 vttm_pt_root_entry(struct vttm_pt *root);
int vttm_pt_get(struct vttm_device *vdev, struct vttm_pt *root, u64 va, u32 pages,
		struct list_head *dead);
void vttm_pt_put(struct vttm_pt *root, u64 va, u32 pages, struct list_head *dead);
void vttm_pt_free_list(struct vttm_device *vdev, struct list_head *dead);
void vttm_pt_fill(struct vttm_vm *vm, u64 va, u32 pages, u64 entry);
void vttm_pt_clear(struct vttm_vm *vm, u64 va, u32 pages);

#endif /* VTTM_VM_H */
