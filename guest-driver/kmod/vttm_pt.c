// SPDX-License-Identifier: GPL-2.0
/*
 * Page tables. The tree's shape changes only at bind and unbind (under vttm_vm.lock): a mapping
 * holds the tables it needs, so filling and clearing PTEs never allocates and may be done in
 * reclaim, under the buffer's reservation alone.
 *
 * An entry of level 1 is invalid, or a leaf of 2 MiB, or leads to its table of level 0, which is
 * there in any case. It leads there only while the table has a valid leaf. So it never changes from
 * table to leaf or back but through an invalid entry and the invalidation that comes with clearing
 * leaves: the device may have cached it. Mappings of several buffers share such an entry and its
 * table; vttm_vm.pt_lock keeps their filling and clearing apart.
 */
#include <linux/dma-mapping.h>
#include <linux/module.h>
#include <linux/sizes.h>

#include <drm/drm_drv.h>

#include "vttm_drv.h"
#include "vttm_vm.h"

struct vttm_pt {
	struct list_head link; /* of dead tables */
	/* A page, which CPU and device share: see vttm_check_dma(). NULL: the device is gone. */
	__le64 *entries;
	dma_addr_t dma;
	u32 used; /* leaf table: pages of mappings; else: children */
	u32 live; /* leaf table: valid leaves, in pages; under vttm_vm.pt_lock */
	struct vttm_pt *children[]; /* VTTM_PT_ENTRIES of them, none in a leaf table */
};

#define VTTM_PT_ROOT_LEVEL (VTTM_PT_LEVELS - 1)

static bool vttm_large_leaves = true;
module_param_named(large_leaves, vttm_large_leaves, bool, 0644);
MODULE_PARM_DESC(large_leaves, "map 64 KiB and 2 MiB at once where a buffer allows it (default: yes)");

/* Goes with the table, or with the device before. */
static void vttm_pt_free_page(struct vttm_device *vdev, struct vttm_pt *pt)
{
	struct device *dev = vdev->drm.dev;

	if (!pt->entries)
		return;
	if (vdev->coherent_tables) {
		dma_free_coherent(dev, VTTM_PAGE_SIZE, pt->entries, pt->dma);
	} else {
		dma_unmap_single(dev, pt->dma, VTTM_PAGE_SIZE, DMA_TO_DEVICE);
		free_page((unsigned long)pt->entries);
	}
	pt->entries = NULL;
}

static void vttm_pt_free(struct vttm_device *vdev, struct vttm_pt *pt)
{
	vttm_pt_free_page(vdev, pt);
	kfree(pt);
}

/* Its page of zeroes. */
static void vttm_pt_alloc_page(struct vttm_device *vdev, struct vttm_pt *pt)
{
	struct device *dev = vdev->drm.dev;

	if (vdev->coherent_tables) {
		pt->entries = dma_alloc_coherent(dev, VTTM_PAGE_SIZE, &pt->dma, GFP_KERNEL);
		return;
	}
	pt->entries = (__le64 *)get_zeroed_page(GFP_KERNEL);
	if (!pt->entries)
		return;
	pt->dma = dma_map_single(dev, pt->entries, VTTM_PAGE_SIZE, DMA_TO_DEVICE);
	if (dma_mapping_error(dev, pt->dma)) {
		free_page((unsigned long)pt->entries);
		pt->entries = NULL;
	}
}

/* -ENOMEM; -ENODEV: the device is unplugged. */
static struct vttm_pt *vttm_pt_alloc(struct vttm_device *vdev, unsigned int level)
{
	struct vttm_pt *pt = kzalloc_flex(*pt, children, level ? VTTM_PT_ENTRIES : 0);
	int idx, ret = -ENODEV;

	if (!pt)
		return ERR_PTR(-ENOMEM);
	INIT_LIST_HEAD(&pt->link);
	if (drm_dev_enter(&vdev->drm, &idx)) {
		vttm_pt_alloc_page(vdev, pt);
		ret = pt->entries ? 0 : -ENOMEM;
		drm_dev_exit(idx);
	}
	if (ret) {
		kfree(pt);
		return ERR_PTR(ret);
	}
	return pt;
}

static u64 vttm_pt_entry(const struct vttm_pt *pt)
{
	return pt->dma | VTTM_PTE_SYSTEM | VTTM_PTE_VALID;
}

static void vttm_pt_set(struct vttm_pt *pt, unsigned int index, u64 entry)
{
	WRITE_ONCE(pt->entries[index], cpu_to_le64(entry));
}

struct vttm_pt *vttm_pt_create_root(struct vttm_device *vdev)
{
	return vttm_pt_alloc(vdev, VTTM_PT_ROOT_LEVEL);
}

/* No mapping is left, and the device has forgotten the tree. */
void vttm_pt_destroy_root(struct vttm_device *vdev, struct vttm_pt *root)
{
	WARN_ON(root->used);
	vttm_pt_free(vdev, root);
}

static void vttm_pt_detach_level(struct vttm_device *vdev, struct vttm_pt *pt, unsigned int level)
{
	unsigned int i;

	vttm_pt_free_page(vdev, pt);
	for (i = 0; level && i < VTTM_PT_ENTRIES; i++)
		if (pt->children[i])
			vttm_pt_detach_level(vdev, pt->children[i], level - 1);
}

/*
 * For a device that goes, under vttm_vm.lock: takes the pages back. The tree itself stays until its
 * mappings end. None of these is valid any more, so nobody looks at an entry but vttm_pt_prune().
 */
void vttm_pt_detach(struct vttm_device *vdev, struct vttm_pt *root)
{
	vttm_pt_detach_level(vdev, root, VTTM_PT_ROOT_LEVEL);
}

/* What to write to the VM's root register. */
u64 vttm_pt_root_entry(struct vttm_pt *root)
{
	return vttm_pt_entry(root);
}

/* First byte behind the part of [va, end) that one entry of @level covers. */
static u64 vttm_pt_next(u64 va, u64 end, unsigned int level)
{
	u64 span = VTTM_PAGE_SIZE << (VTTM_PT_INDEX_BITS * level);

	return min(end, (va | (span - 1)) + 1);
}

static void vttm_pt_prune(struct vttm_pt *pt, unsigned int index, struct list_head *dead)
{
	struct vttm_pt *child = pt->children[index];

	if (child->used)
		return;
	WARN_ON_ONCE(child->live);
	if (pt->entries)
		vttm_pt_set(pt, index, 0);
	WRITE_ONCE(pt->children[index], NULL);
	pt->used--;
	list_add(&child->link, dead);
}

/* Lets go of the tables that [va, end) held below @pt; those without users go to @dead. */
static void vttm_pt_put_level(struct vttm_pt *pt, unsigned int level, u64 va, u64 end,
			      struct list_head *dead)
{
	u64 next;

	if (!level) {
		pt->used -= (end - va) / VTTM_PAGE_SIZE;
		return;
	}
	for (; va < end; va = next) {
		unsigned int i = VTTM_PT_INDEX(va, level);

		next = vttm_pt_next(va, end, level);
		vttm_pt_put_level(pt->children[i], level - 1, va, next, dead);
		vttm_pt_prune(pt, i, dead);
	}
}

/* On failure [*reached, end) holds nothing; tables made for it are in @dead. */
static int vttm_pt_get_level(struct vttm_device *vdev, struct vttm_pt *pt, unsigned int level,
			     u64 va, u64 end, u64 *reached, struct list_head *dead)
{
	u64 next;

	if (!level) {
		pt->used += (end - va) / VTTM_PAGE_SIZE;
		*reached = end;
		return 0;
	}
	for (; va < end; va = next) {
		unsigned int i = VTTM_PT_INDEX(va, level);
		struct vttm_pt *child = pt->children[i];
		int ret;

		next = vttm_pt_next(va, end, level);
		if (!child) {
			child = vttm_pt_alloc(vdev, level - 1);
			if (IS_ERR(child))
				return PTR_ERR(child);
			WRITE_ONCE(pt->children[i], child);
			pt->used++;
			if (level > 1) {
				/* Valid only once the table is seen as empty. */
				dma_wmb();
				vttm_pt_set(pt, i, vttm_pt_entry(child));
			}
		}
		ret = vttm_pt_get_level(vdev, child, level - 1, va, next, reached, dead);
		if (ret) {
			vttm_pt_prune(pt, i, dead);
			return ret;
		}
	}
	return 0;
}

/*
 * Makes and holds the tables for a mapping of @pages at @va. -ENOMEM, -ENODEV: nothing is held;
 * free @dead as after vttm_pt_put().
 */
int vttm_pt_get(struct vttm_device *vdev, struct vttm_pt *root, u64 va, u32 pages,
		struct list_head *dead)
{
	u64 end = va + pages * VTTM_PAGE_SIZE;
	u64 reached = va;
	int ret;

	ret = vttm_pt_get_level(vdev, root, VTTM_PT_ROOT_LEVEL, va, end, &reached, dead);
	if (ret && reached > va)
		vttm_pt_put_level(root, VTTM_PT_ROOT_LEVEL, va, reached, dead);
	return ret;
}

/* Gives the tables up. Free @dead after an invalidation of the range: walks may be under way. */
void vttm_pt_put(struct vttm_pt *root, u64 va, u32 pages, struct list_head *dead)
{
	vttm_pt_put_level(root, VTTM_PT_ROOT_LEVEL, va, va + pages * VTTM_PAGE_SIZE, dead);
}

void vttm_pt_free_list(struct vttm_device *vdev, struct list_head *dead)
{
	struct vttm_pt *pt, *next;

	list_for_each_entry_safe(pt, next, dead, link)
		vttm_pt_free(vdev, pt);
	INIT_LIST_HEAD(dead);
}

/* The table of level 1 for @va, which a mapping holds. */
static struct vttm_pt *vttm_pt_directory(struct vttm_pt *root, u64 va)
{
	struct vttm_pt *pt = root;
	unsigned int level;

	for (level = VTTM_PT_ROOT_LEVEL; level > 1 && pt; level--)
		pt = READ_ONCE(pt->children[VTTM_PT_INDEX(va, level)]);
	return pt;
}

/* The table of level 0 for @va, and the directory @pt whose entry leads to it; NULL without one. */
static struct vttm_pt *vttm_pt_table(struct vttm_vm *vm, u64 va, struct vttm_pt **pt)
{
	*pt = vttm_pt_directory(vm->root, va);
	return *pt ? READ_ONCE((*pt)->children[VTTM_PT_INDEX(va, 1)]) : NULL;
}

static u64 vttm_pt_read(struct vttm_pt *pt, unsigned int index)
{
	return le64_to_cpu(READ_ONCE(pt->entries[index]));
}

/* Writes leaves of 4 KiB, and of 64 KiB if @large, into entry @i and those behind it. */
static void vttm_pt_fill_table(struct vttm_vm *vm, struct vttm_pt *pt, unsigned int i, u32 pages,
			       u64 entry, bool large)
{
	struct vttm_stats *stats = &vm->vdev->stats;

	pt->live += pages;
	while (pages) {
		u32 n = 1;
		u64 flags = 0;

		if (large && pages >= VTTM_LEAF_64K_ENTRIES &&
		    IS_ALIGNED(i, VTTM_LEAF_64K_ENTRIES) &&
		    IS_ALIGNED(entry & VTTM_PTE_ADDR, SZ_64K)) {
			n = VTTM_LEAF_64K_ENTRIES;
			flags = VTTM_PTE_LARGE;
		}
		atomic64_inc(n > 1 ? &stats->leaves_64k : &stats->leaves_4k);
		pages -= n;
		for (; n; n--, entry += VTTM_PAGE_SIZE)
			vttm_pt_set(pt, i++, entry | flags);
	}
}

static void vttm_pt_clear_table(struct vttm_vm *vm, struct vttm_pt *pt, unsigned int i, u32 pages)
{
	struct vttm_stats *stats = &vm->vdev->stats;

	for (; pages; pages--, i++) {
		u64 entry = vttm_pt_read(pt, i);

		if (!(entry & VTTM_PTE_VALID))
			continue;
		if (!(entry & VTTM_PTE_LARGE))
			atomic64_dec(&stats->leaves_4k);
		else if (IS_ALIGNED(i, VTTM_LEAF_64K_ENTRIES))
			atomic64_dec(&stats->leaves_64k);
		vttm_pt_set(pt, i, 0);
		pt->live--;
	}
}

/* The part of @pages from @va on that one entry of level 1 covers. */
static u32 vttm_pt_part(u64 va, u32 pages)
{
	return min_t(u32, pages, VTTM_PT_ENTRIES - VTTM_PT_INDEX(va, 0));
}

/*
 * Maps @pages from @va to contiguous memory: @entry is the leaf of the first one. All of them are
 * invalid, and their tables held by a mapping. Needs no invalidation.
 */
void vttm_pt_fill(struct vttm_vm *vm, u64 va, u32 pages, u64 entry)
{
	bool large = READ_ONCE(vttm_large_leaves) && vm->vdev->features & VTTM_FEATURE_LARGE_LEAVES;
	u32 n;

	for (; pages; pages -= n, va += n * VTTM_PAGE_SIZE, entry += n * VTTM_PAGE_SIZE) {
		struct vttm_pt *pt;
		struct vttm_pt *table = vttm_pt_table(vm, va, &pt);
		unsigned int i = VTTM_PT_INDEX(va, 1);

		n = vttm_pt_part(va, pages);
		if (WARN_ON_ONCE(!table || !pt->entries || !table->entries))
			return;
		spin_lock(&vm->pt_lock);
		if (large && n == VTTM_PT_ENTRIES && IS_ALIGNED(entry & VTTM_PTE_ADDR, SZ_2M)) {
			atomic64_inc(&vm->vdev->stats.leaves_2m);
			vttm_pt_set(pt, i, entry | VTTM_PTE_LARGE);
		} else {
			vttm_pt_fill_table(vm, table, VTTM_PT_INDEX(va, 0), n, entry, large);
			/* The leaves are seen before what leads to them. */
			dma_wmb();
			vttm_pt_set(pt, i, vttm_pt_entry(table));
		}
		spin_unlock(&vm->pt_lock);
	}
}

/* Unmaps what vttm_pt_fill() has mapped, all of it. The caller invalidates. */
void vttm_pt_clear(struct vttm_vm *vm, u64 va, u32 pages)
{
	u32 n;

	for (; pages; pages -= n, va += n * VTTM_PAGE_SIZE) {
		struct vttm_pt *pt;
		struct vttm_pt *table = vttm_pt_table(vm, va, &pt);
		unsigned int i = VTTM_PT_INDEX(va, 1);

		n = vttm_pt_part(va, pages);
		if (WARN_ON_ONCE(!table || !pt->entries || !table->entries))
			return;
		spin_lock(&vm->pt_lock);
		if (vttm_pt_read(pt, i) & VTTM_PTE_LARGE) {
			/* It is within one mapping, and mappings go as a whole. */
			WARN_ON_ONCE(n != VTTM_PT_ENTRIES);
			atomic64_dec(&vm->vdev->stats.leaves_2m);
			vttm_pt_set(pt, i, 0);
		} else {
			vttm_pt_clear_table(vm, table, VTTM_PT_INDEX(va, 0), n);
			if (!table->live)
				vttm_pt_set(pt, i, 0);
		}
		spin_unlock(&vm->pt_lock);
	}
}
