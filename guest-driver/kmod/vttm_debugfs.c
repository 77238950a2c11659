// SPDX-License-Identifier: GPL-2.0
/*
 * debugfs: where each page of each buffer is (placement), counters of the driver (vttm_stats) and
 * of the device (vttm_counters), the last faults (vttm_faults), a bug for tests
 * (unsafe_skip_invalidation), and how this device's buffers are backed up (ttm_backup).
 */
#include <linux/debugfs.h>
#include <linux/kstrtox.h>
#include <linux/module.h>
#include <linux/panic.h>
#include <linux/seq_file.h>

#include <drm/drm_debugfs.h>
#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/ttm/ttm_backup.h>

#include "vttm_bo.h"
#include "vttm_drv.h"

/* A run of pages that lie one behind the other, in memory and on the swap device. */
struct vttm_run {
	pgoff_t first;
	pgoff_t count;
	const char *kind;
	u64 addr;
	s64 slot; /* -1: none */
};

static void vttm_run_flush(struct seq_file *m, struct vttm_run *run)
{
	if (run->count)
		seq_printf(m, "%lu %lu %s %llx %lld\n", run->first, run->count, run->kind,
			   run->addr, run->slot);
	run->count = 0;
}

/* Adds page @page, contiguous or not to those before it. */
static void vttm_run_add(struct seq_file *m, struct vttm_run *run, pgoff_t page, const char *kind,
			 u64 addr, s64 slot, pgoff_t count)
{
	u64 bytes = (u64)run->count << PAGE_SHIFT;

	if (run->count && !strcmp(run->kind, kind) &&
	    addr == (run->addr ? run->addr + bytes : 0) &&
	    slot == (run->slot >= 0 ? run->slot + (s64)run->count : -1)) {
		run->count += count;
		return;
	}
	vttm_run_flush(m, run);
	*run = (struct vttm_run) {
		.first = page,
		.count = count,
		.kind = kind,
		.addr = addr,
		.slot = slot,
	};
}

/* @file: tt->backup, or the swap_storage of coherent pages, which is such a file, too. */
static void vttm_show_backup(struct seq_file *m, struct vttm_run *run, struct file *file,
			     pgoff_t i)
{
#ifdef TTM_BACKUP_HAS_WHERE
	struct ttm_backup_where where;
	u64 addr = 0;
	s64 slot = -1;

	if (ttm_backup_where(file, i, &where)) {
		vttm_run_add(m, run, i, "none", 0, -1, 1);
		return;
	}
	if (where.kind == TTM_BACKUP_WHERE_RESIDENT || where.kind == TTM_BACKUP_WHERE_SWAPCACHE)
		addr = (u64)where.pfn << PAGE_SHIFT;
	if (where.kind == TTM_BACKUP_WHERE_SWAPPED || where.kind == TTM_BACKUP_WHERE_SWAPCACHE)
		slot = where.swap_offset;

	switch (where.kind) {
	case TTM_BACKUP_WHERE_RESIDENT:
		vttm_run_add(m, run, i, "shmem", addr, slot, 1);
		break;
	case TTM_BACKUP_WHERE_SWAPCACHE:
		vttm_run_add(m, run, i, "swapcache", addr, slot, 1);
		break;
	case TTM_BACKUP_WHERE_SWAPPED:
		vttm_run_add(m, run, i, "swap", addr, slot, 1);
		break;
	default:
		vttm_run_add(m, run, i, "none", 0, -1, 1);
		break;
	}
#else
	vttm_run_add(m, run, i, "shmem", 0, -1, 1);
#endif
}

static void vttm_show_handle(struct seq_file *m, struct vttm_run *run, struct ttm_tt *tt,
			     pgoff_t i)
{
	/* Handle 0: read back by a restore that is not complete, and so at no place of its own. */
	if (ttm_backup_page_ptr_to_handle(tt->pages[i]))
		vttm_show_backup(m, run, tt->backup, i);
	else
		vttm_run_add(m, run, i, "none", 0, -1, 1);
}

static void vttm_show_tt(struct seq_file *m, struct vttm_run *run, struct ttm_tt *tt,
			 const char *kind)
{
	pgoff_t i;

	for (i = 0; i < tt->num_pages; i++) {
		struct page *page = tt->pages[i];

		if (tt->swap_storage)
			vttm_show_backup(m, run, tt->swap_storage, i);
		else if (!page)
			vttm_run_add(m, run, i, "none", 0, -1, 1);
		else if (ttm_backup_page_ptr_is_handle(page))
			vttm_show_handle(m, run, tt, i);
		else
			vttm_run_add(m, run, i, kind, page_to_phys(page), -1, 1);
	}
}

static void vttm_show_vram(struct seq_file *m, struct vttm_run *run, struct vttm_bo *bo)
{
	struct vttm_span span;
	pgoff_t i = 0;

	for (vttm_span_first(&span, bo, bo->tbo.resource); span.len;
	     vttm_span_advance(&span, span.len)) {
		pgoff_t count = span.len >> PAGE_SHIFT;

		/* Offset 0 is a real place here: a run of its own per block. */
		vttm_run_flush(m, run);
		vttm_run_add(m, run, i, "vram", span.addr, -1, count);
		i += count;
	}
}

static struct vttm_bo *vttm_placement_find(struct vttm_device *vdev, loff_t *pos)
{
	unsigned long index = *pos;
	struct vttm_bo *bo;

	xa_lock(&vdev->bos);
	for (bo = xa_find(&vdev->bos, &index, ULONG_MAX, XA_PRESENT); bo;
	     bo = xa_find_after(&vdev->bos, &index, ULONG_MAX, XA_PRESENT))
		if (kref_get_unless_zero(&bo->tbo.base.refcount))
			break;
	xa_unlock(&vdev->bos);
	*pos = index;
	return bo;
}

static void *vttm_placement_start(struct seq_file *m, loff_t *pos)
{
	return vttm_placement_find(m->private, pos);
}

static void vttm_placement_stop(struct seq_file *m, void *v)
{
	struct vttm_bo *bo = v;

	if (bo)
		drm_gem_object_put(&bo->tbo.base);
}

static void *vttm_placement_next(struct seq_file *m, void *v, loff_t *pos)
{
	vttm_placement_stop(m, v);
	++*pos;
	return vttm_placement_find(m->private, pos);
}

static int vttm_placement_show(struct seq_file *m, void *v)
{
	struct vttm_bo *bo = v;
	struct ttm_resource *res;
	struct vttm_run run = {};
	int ret;

	ret = dma_resv_lock_interruptible(bo->tbo.base.resv, NULL);
	if (ret)
		return ret;

	res = bo->tbo.resource;
	seq_printf(m, "bo %u %lu\n", bo->tag, (unsigned long)bo->tbo.base.size >> PAGE_SHIFT);
	if (res && res->mem_type == TTM_PL_VRAM)
		vttm_show_vram(m, &run, bo);
	else if (bo->tbo.ttm)
		vttm_show_tt(m, &run, bo->tbo.ttm,
			     res && res->mem_type == TTM_PL_TT ? "gtt" : "system");
	else
		vttm_run_add(m, &run, 0, "none", 0, -1, bo->tbo.base.size >> PAGE_SHIFT);
	vttm_run_flush(m, &run);
	dma_resv_unlock(bo->tbo.base.resv);
	return 0;
}

static const struct seq_operations vttm_placement_sops = {
	.start = vttm_placement_start,
	.next = vttm_placement_next,
	.stop = vttm_placement_stop,
	.show = vttm_placement_show,
};

DEFINE_SEQ_ATTRIBUTE(vttm_placement);

static void vttm_show_counter(struct seq_file *m, const char *name, atomic64_t *counter)
{
	seq_printf(m, "%s %lld\n", name, (long long)atomic64_read(counter));
}

static int vttm_stats_show(struct seq_file *m, void *unused)
{
	struct vttm_device *vdev = m->private;
	struct vttm_stats *stats = &vdev->stats;
	u32 faults = 0, stale = 0;

	vttm_hw_counts(vdev, &faults, &stale);

	vttm_show_counter(m, "buffers", &stats->buffers);
	vttm_show_counter(m, "buffer_bytes", &stats->buffer_bytes);
	vttm_show_counter(m, "mappings", &stats->mappings);
	vttm_show_counter(m, "vm_count", &stats->vm_count);
	vttm_show_counter(m, "leaves_4k", &stats->leaves_4k);
	vttm_show_counter(m, "leaves_64k", &stats->leaves_64k);
	vttm_show_counter(m, "leaves_2m", &stats->leaves_2m);
	seq_printf(m, "shrinkable_pages %ld\n", atomic_long_read(&vdev->shrinkable_pages));
	seq_printf(m, "purgeable_pages %ld\n", atomic_long_read(&vdev->purgeable_pages));
	seq_printf(m, "vram_limit %llu\n", READ_ONCE(vdev->balloon.limit));
	vttm_show_counter(m, "shrink_calls", &stats->shrink_calls);
	vttm_show_counter(m, "shrunk_pages", &stats->shrunk_pages);
	vttm_show_counter(m, "swapout_pages", &stats->swapout_pages);
	seq_printf(m, "swapout_wanted %ld\n", atomic_long_read(&vdev->swapout_wanted));
	seq_printf(m, "coherent_pages %u\n", vdev->coherent_pages);
	vttm_show_counter(m, "moves_vram_gtt", &stats->moves_vram_gtt);
	vttm_show_counter(m, "moves_gtt_vram", &stats->moves_gtt_vram);
	vttm_show_counter(m, "moves_system", &stats->moves_system);
	seq_printf(m, "faults %u\n", faults);
	seq_printf(m, "stale %u\n", stale);
	vttm_show_counter(m, "jobs", &stats->jobs);
	vttm_show_counter(m, "job_errors", &stats->job_errors);
	vttm_show_counter(m, "fences_lost", &stats->fences_lost);
	vttm_show_counter(m, "moves_again", &stats->moves_again);
	vttm_show_counter(m, "resets", &stats->resets);
	vttm_show_counter(m, "function_resets", &stats->function_resets);
	vttm_show_counter(m, "device_resets", &stats->device_resets);
	vttm_show_counter(m, "vram_losses", &stats->vram_losses);
	vttm_show_counter(m, "sleeps", &stats->sleeps);
	return 0;
}

DEFINE_SHOW_ATTRIBUTE(vttm_stats);

DEFINE_SHOW_ATTRIBUTE(vttm_faults);

/* What the device counts: "<engine> <name> <value>". Empty if it does not, or is gone. */
static int vttm_counters_show(struct seq_file *m, void *unused)
{
	static const char *const names[VTTM_NUM_COUNTERS] = {
		[VTTM_CNT_BUSY_NS / 8] = "busy_ns",
		[VTTM_CNT_BYTES / 8] = "bytes",
		[VTTM_CNT_PACKETS / 8] = "packets",
		[VTTM_CNT_FAULTS / 8] = "faults",
		[VTTM_CNT_STALE / 8] = "stale",
		[VTTM_CNT_TLB_HITS / 8] = "tlb_hits",
		[VTTM_CNT_TLB_MISSES / 8] = "tlb_misses",
		[VTTM_CNT_ROOT_WALKS / 8] = "root_walks",
		[VTTM_CNT_WALK_HITS / 8] = "walk_hits",
	};
	struct vttm_device *vdev = m->private;
	unsigned int e, i;
	int idx;

	if (!(vdev->features & VTTM_FEATURE_COUNTERS) || !vttm_hw_enter(vdev, &idx))
		return 0;
	if (!vttm_hw_runs(vdev)) {
		vttm_recover_queue(vdev);
		vttm_hw_exit(vdev, idx);
		return 0;
	}
	for (e = 0; e < VTTM_NUM_ENGINES; e++)
		for (i = 0; i < VTTM_NUM_COUNTERS; i++)
			seq_printf(m, "%u %s %llu\n", e, names[i],
				   vttm_read64(vdev, VTTM_COUNTER_BASE(e) + i * 8));
	vttm_hw_exit(vdev, idx);
	return 0;
}

DEFINE_SHOW_ATTRIBUTE(vttm_counters);

static ssize_t vttm_unsafe_read(struct file *file, char __user *buf, size_t len, loff_t *pos)
{
	struct vttm_device *vdev = file->private_data;
	const char text[] = { READ_ONCE(vdev->unsafe_skip_invalidation) ? 'Y' : 'N', '\n' };

	return simple_read_from_buffer(buf, len, pos, text, sizeof(text));
}

static ssize_t vttm_unsafe_write(struct file *file, const char __user *buf, size_t len, loff_t *pos)
{
	struct vttm_device *vdev = file->private_data;
	bool on;
	int ret;

	ret = kstrtobool_from_user(buf, len, &on);
	if (ret)
		return ret;
	/* Whatever breaks from now on is not the kernel's fault. */
	if (on)
		add_taint(TAINT_USER, LOCKDEP_STILL_OK);
	WRITE_ONCE(vdev->unsafe_skip_invalidation, on);
	return len;
}

static const struct file_operations vttm_unsafe_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.read = vttm_unsafe_read,
	.write = vttm_unsafe_write,
	.llseek = default_llseek,
};

void vttm_debugfs_init(struct drm_minor *minor)
{
	struct vttm_device *vdev = to_vttm_device(minor->dev);
	struct dentry *root = minor->debugfs_root;
	static const struct {
		u32 type;
		const char *name;
	} managers[] = {
		{ TTM_PL_SYSTEM, "ttm_system" },
		{ TTM_PL_TT, "ttm_gtt" },
		{ TTM_PL_VRAM, "ttm_vram" },
	};
	unsigned int i;

	debugfs_create_file("placement", 0400, root, vdev, &vttm_placement_fops);
	debugfs_create_file("vttm_stats", 0444, root, vdev, &vttm_stats_fops);
	debugfs_create_file("vttm_counters", 0444, root, vdev, &vttm_counters_fops);
	debugfs_create_file("vttm_faults", 0400, root, vdev, &vttm_faults_fops);
	/*
	 * A driver bug by order: PTEs are cleared and the TLB keeps them. The device must notice
	 * (and touches memory that is not its own any more: for tests that keep it allocated).
	 */
	debugfs_create_file("unsafe_skip_invalidation", 0600, root, vdev, &vttm_unsafe_fops);
#ifdef TTM_DEVICE_HAS_BACKUP
	ttm_device_create_backup_debugfs(&vdev->ttm, root, "ttm_backup");
#endif
	for (i = 0; i < ARRAY_SIZE(managers); i++)
		ttm_resource_manager_create_debugfs(ttm_manager_type(&vdev->ttm, managers[i].type),
						    root, managers[i].name);
}
