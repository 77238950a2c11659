// SPDX-License-Identifier: GPL-2.0
/*
 * Page tables. The tree's shape changes only at bind and unbind (under vttm_vm.lock): a mapping
 * holds the tables it needs, so filling and clearing PTEs never allocates and may be done in
 * reclaim, under the buffer's reservation alone.
 */
#include <linux/dma-mapping.h>

#include "vttm_drv.h"
#include "vttm_vm.h"

struct vttm_pt {
	struct list_head link; /* of dead tables */
	__le64 *entries;
	dma_addr_t dma;
	u32 used; /* leaf table: pages of mappings; else: children */
	struct vttm_pt *children[]; /* VTTM_PT_ENTRIES of them, none in a leaf table */
};

#define VTTM_PT_ROOT_LEVEL (VTTM_PT_LEVELS - 1)

static void vttm_pt_free(struct vttm_device *vdev, struct vttm_pt *pt)
{
	dma_free_coherent(vdev->drm.dev, VTTM_PAGE_SIZE, pt->entries, pt->dma);
	kfree(pt);
}

static struct vttm_pt *vttm_pt_alloc(struct vttm_device *vdev, unsigned int level)
{
	struct vttm_pt *pt = kzalloc_flex(*pt, children, level ? VTTM_PT_ENTRIES : 0);

	if (!pt)
		return NULL;
	INIT_LIST_HEAD(&pt->link);
	pt->entries = dma_alloc_coherent(vdev->drm.dev, VTTM_PAGE_SIZE, &pt->dma, GFP_KERNEL);
	if (!pt->entries) {
		kfree(pt);
		return NULL;
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
			if (!child)
				return -ENOMEM;
			WRITE_ONCE(pt->children[i], child);
			pt->used++;
			/* Valid only once the table is seen as empty. */
			dma_wmb();
			vttm_pt_set(pt, i, vttm_pt_entry(child));
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
 * Makes and holds the tables for a mapping of @pages at @va. -ENOMEM: nothing is held; free @dead
 * as after vttm_pt_put().
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

static struct vttm_pt *vttm_pt_leaf(struct vttm_pt *root, u64 va)
{
	struct vttm_pt *pt = root;
	unsigned int level;

	for (level = VTTM_PT_ROOT_LEVEL; level && pt; level--)
		pt = READ_ONCE(pt->children[VTTM_PT_INDEX(va, level)]);
	return pt;
}

/* Writes @pages leaves from @va: @entry, @entry + @step, ... Their tables are held by a mapping. */
void vttm_pt_write(struct vttm_pt *root, u64 va, u32 pages, u64 entry, u64 step)
{
	struct vttm_pt *leaf = NULL;

	for (; pages; pages--, va += VTTM_PAGE_SIZE, entry += step) {
		unsigned int i = VTTM_PT_INDEX(va, 0);

		if (!leaf || !i)
			leaf = vttm_pt_leaf(root, va);
		if (WARN_ON_ONCE(!leaf))
			return;
		vttm_pt_set(leaf, i, entry);
	}
}
