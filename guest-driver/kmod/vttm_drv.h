/* SPDX-License-Identifier: GPL-2.0 */
/*
 * vttm - DRM render driver of the virtual GPU for TTM.
 *
 * Locking, outermost first:
 *   vttm_device.validate_lock   many submits at once, or one that may evict alone
 *   vttm_vm.lock                address space: mappings tree and page-table tree; allocates
 *   BO reservation              placement, tt, list of mappings and their PTEs, madvise state
 *   vttm_queue.lock             order of a file's jobs on one engine
 *   vttm_device.hw_lock         registers that many use, and whether they may be used
 *   vttm_vm.pt_lock             leaves and what leads to them
 *   vttm_engine.lock            ring's list of pending fences; taken in hard interrupts
 * Reclaim (the shrinker) enters with a trylocked reservation: nothing below the reservation
 * allocates memory while it holds its lock.
 */
#ifndef VTTM_DRV_H
#define VTTM_DRV_H

#include <linux/io-64-nonatomic-hi-lo.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <drm/drm_device.h>
#include <drm/drm_file.h>
#include <drm/ttm/ttm_device.h>
#include <drm/ttm/ttm_resource.h>

#include "vttm_drm.h"
#include "vttm_pte.h"
#include "vttm_regs.h"
#include "vttm_ring.h"

struct dev_pm_ops;
struct pci_error_handlers;
struct seq_file;
struct shrinker;
struct vttm_fault_record;
struct vttm_vm;

/* Monotonic counters, except where noted; shown in debugfs (vttm_stats). */
struct vttm_stats {
	atomic64_t buffers;      /* now, not monotonic */
	atomic64_t buffer_bytes; /* now */
	atomic64_t mappings;     /* now */
	atomic64_t vm_count;     /* now */
	atomic64_t leaves_4k;    /* now, in all address spaces */
	atomic64_t leaves_64k;   /* now */
	atomic64_t leaves_2m;    /* now */
	atomic64_t shrink_calls;
	atomic64_t shrunk_pages;
	atomic64_t swapout_pages; /* given back by vttm_swapout.c */
	atomic64_t moves_vram_gtt;
	atomic64_t moves_gtt_vram;
	atomic64_t moves_system; /* between GTT and SYSTEM, both ways */
	atomic64_t jobs;
	atomic64_t job_errors;
	atomic64_t fences_lost; /* of jobs that the device has run */
	atomic64_t moves_again; /* attempts of the driver's own jobs beyond the first */
	atomic64_t resets;
	atomic64_t function_resets;
	atomic64_t device_resets; /* that the device has made by itself */
	atomic64_t vram_losses;   /* times that VRAM was not what it was: see vttm_lost.c */
	atomic64_t sleeps;
};

/* The first of VRAM is the driver's own: see vttm_lost.c. */
#define VTTM_VRAM_RESERVED PAGE_SIZE

/* See vttm_balloon.c. */
struct vttm_balloon {
	struct delayed_work work;
	struct list_head units; /* the lowest first */
	u64 limit;              /* VRAM below it is ours; changed by the work only */
	u64 told;               /* what VRAM_LIMIT is; under hw_lock */
	unsigned long retry;    /* jiffies to the next try */
};

struct vttm_device {
	struct drm_device drm;
	struct ttm_device ttm;

	void __iomem *regs;
	resource_size_t vram_base; /* CPU's address of BAR2 */
	u64 vram_size;
	u64 vram_visible;
	u64 gtt_size;
	u32 abi;
	u64 features; /* VTTM_FEATURE_* */
	bool dead; /* the device failed or is gone: bus mastering is off, for ever */
	bool gone; /* it is dead because it is gone */
	bool stopped; /* the driver leaves it: it is at rest, and gets no more jobs */
	/*
	 * What is mapped for DMA would bounce. So what CPU and device use at the same time is in
	 * memory of dma_alloc_coherent(). Rings are there in any case.
	 */
	bool coherent_pages;  /* of buffers */
	bool coherent_tables; /* page tables */

	struct vttm_engine engines[VTTM_NUM_ENGINES];
	struct workqueue_struct *reset_wq; /* ordered: one recovery at a time */
	bool sched_parked; /* nobody but vttm_sched_unpark() starts a scheduler */
	atomic_t live_jobs; /* that exist, be they queued, in a ring or about to be freed */
	struct work_struct recover_work;   /* these two: see vttm_recover.c */
	struct work_struct dead_work;

	struct drm_sched_entity migrate_entity;
	struct mutex migrate_lock; /* order of jobs of migrate_entity */

	/*
	 * Registers of TLB invalidation and of VMs, and what follows. @parked: the device is being
	 * reset or sleeps; it knows no VM and has no translation. See vttm_power.c.
	 */
	struct mutex hw_lock;
	bool parked;
	u32 tlb_issued;    /* value that TLB_INV_DONE will reach */
	u32 past_faults;   /* FAULT_COUNT and STALE_COUNT, summed up over resets */
	u32 past_stale;
	u32 seen_faults;   /* since the last reset, when last looked at */
	u32 seen_stale;
	struct xarray vms; /* struct vttm_vm, by id */
	u32 irq_enable;    /* VTTM_IRQ_* */

	void __iomem *canary; /* these: see vttm_lost.c */
	u64 canary_value;
	u32 vram_epoch; /* goes up when VRAM has lost its content */
	struct work_struct lost_work;

	struct vttm_fault_record *faults; /* the fault ring; NULL: the device has none */
	dma_addr_t faults_dma;
	u32 fault_get;                    /* records read */
	u32 fault_lost;                   /* FAULT_RING_LOST when last looked at */
	bool unsafe_skip_invalidation;    /* tests only: leave out every TLB invalidation */

	struct xarray bos; /* all buffers, for debugfs */
	struct rw_semaphore validate_lock;

	struct shrinker *shrinker;
	atomic_long_t shrinkable_pages;
	atomic_long_t purgeable_pages;
	atomic_t bus_tts; /* with pages mapped for DMA, or coherent: see vttm_bo_detach_all() */
	struct work_struct swapout_work; /* these two: see vttm_swapout.c */
	atomic_long_t swapout_wanted;

	struct vttm_balloon balloon;
	struct vttm_stats stats;
};

static inline struct vttm_device *to_vttm_device(struct drm_device *drm)
{
	return container_of(drm, struct vttm_device, drm);
}

static inline struct vttm_device *ttm_to_vttm_device(struct ttm_device *ttm)
{
	return container_of(ttm, struct vttm_device, ttm);
}

/* Jobs of one file on one engine. WAIT knows the results of the last VTTM_QUEUE_WINDOW jobs. */
#define VTTM_QUEUE_WINDOW 1024
struct vttm_queue {
	struct drm_sched_entity entity;
	struct mutex lock; /* seqno, fences, order of jobs */
	u64 seqno;         /* of the newest job; the first one is 1 */
	struct dma_fence *fences[VTTM_QUEUE_WINDOW];
};

struct vttm_file {
	struct vttm_vm *vm;
	struct vttm_queue queues[VTTM_NUM_ENGINES];
};

static inline u32 vttm_read(struct vttm_device *vdev, u32 reg)
{
	return readl(vdev->regs + reg);
}

static inline void vttm_write(struct vttm_device *vdev, u32 reg, u32 val)
{
	writel(val, vdev->regs + reg);
}

/* @reg is a _LO register; @reg + 4 is its _HI. */
static inline u64 vttm_read64(struct vttm_device *vdev, u32 reg)
{
	return readq(vdev->regs + reg);
}

static inline void vttm_write64(struct vttm_device *vdev, u32 reg, u64 val)
{
	writeq(val, vdev->regs + reg);
}

/* What the registers say of the device. */
enum vttm_hw_state {
	VTTM_HW_RUNS,  /* as it was set up */
	VTTM_HW_RESET, /* it has reset itself, or is at it */
	VTTM_HW_GONE,
};

/* vttm_hw.c */
int vttm_hw_init(struct vttm_device *vdev);
int vttm_hw_start(struct vttm_device *vdev);
int vttm_hw_reset(struct vttm_device *vdev);
int vttm_hw_irq_init(struct vttm_device *vdev);
bool vttm_hw_enter(struct vttm_device *vdev, int *idx);
void vttm_hw_exit(struct vttm_device *vdev, int idx);
bool vttm_hw_runs(struct vttm_device *vdev);
enum vttm_hw_state vttm_hw_state(struct vttm_device *vdev);
void vttm_hw_park(struct vttm_device *vdev);
bool vttm_hw_counts(struct vttm_device *vdev, u32 *faults, u32 *stale);
void vttm_hw_kill(struct vttm_device *vdev, const char *why);
int vttm_hw_tlb_invalidate(struct vttm_device *vdev, u32 cmd, u64 va, u32 pages);

/* vttm_fault.c */
int vttm_fault_init(struct vttm_device *vdev);
void vttm_fault_start(struct vttm_device *vdev);
void vttm_fault_process(struct vttm_device *vdev);
int vttm_faults_show(struct seq_file *m, void *unused);

/* vttm_power.c */
extern const struct pci_error_handlers vttm_err_handlers;
extern const struct dev_pm_ops vttm_pm_ops;
int vttm_power_restart(struct vttm_device *vdev);
void vttm_power_stop(struct vttm_device *vdev);
void vttm_power_shutdown(struct vttm_device *vdev);

/* vttm_recover.c */
void vttm_recover_init(struct vttm_device *vdev);
bool vttm_recover(struct vttm_device *vdev);
void vttm_recover_queue(struct vttm_device *vdev);
void vttm_recover_flush(struct vttm_device *vdev);
void vttm_recover_disable(struct vttm_device *vdev);
void vttm_recover_enable(struct vttm_device *vdev);
void vttm_recover_stop(struct vttm_device *vdev);

/* vttm_sched.c */
int vttm_sched_init(struct vttm_device *vdev);
void vttm_sched_drain(struct vttm_device *vdev);
void vttm_sched_park(struct vttm_device *vdev);
void vttm_sched_unpark(struct vttm_device *vdev);
bool vttm_sched_wait(struct vttm_device *vdev);
int vttm_queue_init(struct vttm_device *vdev, struct vttm_queue *queue, unsigned int engine);
void vttm_queue_fini(struct vttm_queue *queue);

/* vttm_submit.c */
int vttm_submit_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vttm_wait_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* vttm_packet.c */
int vttm_packets_check(const __le32 *packets, u32 num_dwords, unsigned int engine);

/* vttm_gem.c */
int vttm_gem_create_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vttm_gem_mmap_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vttm_gem_info_ioctl(struct drm_device *drm, void *data, struct drm_file *file);
int vttm_gem_madvise_ioctl(struct drm_device *drm, void *data, struct drm_file *file);

/* vttm_bo.c: TTM's device with its memory types */
int vttm_mm_init(struct vttm_device *vdev);

/* vttm_detach.c */
void vttm_bo_detach_all(struct vttm_device *vdev);
u32 vttm_bo_count_vram(struct vttm_device *vdev, u64 *bytes);

/* vttm_lost.c */
int vttm_lost_init(struct vttm_device *vdev);
void vttm_lost_check(struct vttm_device *vdev);
void vttm_lost_flush(struct vttm_device *vdev);
void vttm_lost_stop(struct vttm_device *vdev);
void vttm_canary_plant(struct vttm_device *vdev);

/* vttm_vram.c, vttm_gtt.c */
u64 vttm_vram_room(u64 limit);
int vttm_vram_init(struct vttm_device *vdev);
int vttm_gtt_init(struct vttm_device *vdev);

/* vttm_balloon.c */
int vttm_balloon_init(struct vttm_device *vdev);
void vttm_balloon_notify(struct vttm_device *vdev);
void vttm_balloon_park(struct vttm_device *vdev);
void vttm_balloon_restore(struct vttm_device *vdev);
void vttm_balloon_unpark(struct vttm_device *vdev);

/* vttm_shrinker.c */
int vttm_shrinker_init(struct vttm_device *vdev);

/* vttm_swapout.c */
int vttm_swapout_init(struct vttm_device *vdev);
void vttm_swapout_queue(struct vttm_device *vdev, unsigned long pages);

/* vttm_debugfs.c */
void vttm_debugfs_init(struct drm_minor *minor);

#endif /* VTTM_DRV_H */
