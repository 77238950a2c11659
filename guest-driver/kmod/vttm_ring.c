// SPDX-License-Identifier: GPL-2.0
/* One engine's ring: writing packets, fences, recovery. */
#include <linux/dma-mapping.h>
#include <linux/iopoll.h>

#include <drm/drm_print.h>

#include "vttm_drv.h"
#include "vttm_vm.h"

#define VTTM_ENGINE_RESET_TIMEOUT_US 5000000
/* A job of the driver moves content that exists nowhere else: it is worth more than one attempt. */
#define VTTM_KERNEL_JOB_TRIES 3

static u32 vttm_engine_reg(const struct vttm_engine *engine, u32 reg)
{
	return VTTM_ENGINE_BASE(engine->id) + reg;
}

static const char *vttm_fence_driver_name(struct dma_fence *fence)
{
	return "vttm";
}

static const char *vttm_fence_timeline_name(struct dma_fence *fence)
{
	return "vttm-ring";
}

static const struct dma_fence_ops vttm_fence_ops = {
	.get_driver_name = vttm_fence_driver_name,
	.get_timeline_name = vttm_fence_timeline_name,
};

/* Allocated with its job, since run_job may not allocate. */
struct vttm_fence *vttm_fence_create(void)
{
	struct vttm_fence *fence = kzalloc_obj(*fence);

	if (fence)
		INIT_LIST_HEAD(&fence->link);
	return fence;
}

int vttm_ring_init(struct vttm_device *vdev, unsigned int id, const char *name)
{
	struct vttm_engine *engine = &vdev->engines[id];
	int ret;

	engine->vdev = vdev;
	engine->id = id;
	engine->name = name;
	/* One for jobs of users, one for the driver's own: these may end behind later ones. */
	engine->fence_context = dma_fence_context_alloc(2);
	spin_lock_init(&engine->lock);
	INIT_LIST_HEAD(&engine->pending);

	engine->ring = dmam_alloc_coherent(vdev->drm.dev, VTTM_RING_SIZE, &engine->ring_dma,
					   GFP_KERNEL);
	engine->values = dmam_alloc_coherent(vdev->drm.dev,
					     VTTM_RING_VALUES * sizeof(*engine->values),
					     &engine->values_dma, GFP_KERNEL);
	if (!engine->ring || !engine->values)
		return -ENOMEM;

	ret = vttm_ring_start(engine);
	if (!ret)
		vttm_ring_resume(engine, VTTM_RING_NOWHERE);
	return ret;
}

/*
 * Resets the engine and starts it on an empty ring. What is pending stays so, and none of it is put
 * into the ring until vttm_ring_resume() or vttm_ring_cancel_all() has dealt with all of it: a late
 * interrupt could have a job tried again that either takes for one of before.
 */
int vttm_ring_start(struct vttm_engine *engine)
{
	struct vttm_device *vdev = engine->vdev;
	unsigned long flags;
	u32 status;
	int ret;

	spin_lock_irqsave(&engine->lock, flags);
	engine->starting = true;
	engine->tail = 0;
	spin_unlock_irqrestore(&engine->lock, flags);

	vttm_write(vdev, vttm_engine_reg(engine, VTTM_ENG_CTRL), VTTM_ENG_CTRL_RESET);
	ret = readl_poll_timeout(vdev->regs + vttm_engine_reg(engine, VTTM_ENG_STATUS), status,
				 !(status & VTTM_ENG_STATUS_RESETTING), 10,
				 VTTM_ENGINE_RESET_TIMEOUT_US);
	if (ret) {
		drm_err(&vdev->drm, "engine %s does not come out of reset\n", engine->name);
		return ret;
	}

	vttm_write64(vdev, vttm_engine_reg(engine, VTTM_ENG_RING_BASE_LO), engine->ring_dma);
	vttm_write(vdev, vttm_engine_reg(engine, VTTM_ENG_RING_SIZE), VTTM_RING_SIZE);
	vttm_write(vdev, vttm_engine_reg(engine, VTTM_ENG_CTRL), VTTM_ENG_CTRL_ENABLE);
	return 0;
}

static void vttm_ring_write(struct vttm_engine *engine, const __le32 *src, u32 dwords)
{
	u32 first = min(dwords, VTTM_RING_DWORDS - engine->tail);

	memcpy(engine->ring + engine->tail, src, first * sizeof(*src));
	memcpy(engine->ring, src + first, (dwords - first) * sizeof(*src));
	engine->tail = (engine->tail + dwords) % VTTM_RING_DWORDS;
}

/*
 * Puts [SET_VM] packets FENCE into the ring and rings the doorbell. The credits say it fits, also
 * when it is done again: HEAD has passed what was there before, or a reset has taken it. Under
 * engine->lock, so that engine->pending is in the order of the ring.
 */
static void vttm_ring_emit(struct vttm_engine *engine, struct vttm_job *job)
{
	struct vttm_fence *f = job->fence;
	u64 addr = engine->values_dma + (f->number % VTTM_RING_VALUES) * sizeof(*engine->values);
	const __le32 fence[] = {
		cpu_to_le32(VTTM_PKT_HDR(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ,
					 sizeof(struct vttm_pkt_fence) / 4)),
		cpu_to_le32(lower_32_bits(addr)), cpu_to_le32(upper_32_bits(addr)),
		cpu_to_le32(lower_32_bits(f->number)), cpu_to_le32(upper_32_bits(f->number)),
	};

	lockdep_assert_held(&engine->lock);
	f->start = engine->tail;
	if (job->vm) {
		const __le32 set_vm[] = {
			cpu_to_le32(VTTM_PKT_HDR(VTTM_OP_SET_VM, 0,
						 sizeof(struct vttm_pkt_set_vm) / 4)),
			cpu_to_le32(job->vm->id),
		};

		vttm_ring_write(engine, set_vm, ARRAY_SIZE(set_vm));
	}
	vttm_ring_write(engine, job->packets, job->num_dwords);
	vttm_ring_write(engine, fence, ARRAY_SIZE(fence));
	f->dwords = (engine->tail - f->start) % VTTM_RING_DWORDS;
	f->begun = true;

	/* writel() orders the stores to ring and page tables before the doorbell. */
	vttm_write(engine->vdev, vttm_engine_reg(engine, VTTM_ENG_TAIL), engine->tail * 4);
}

/* Starts @job: from here its fence signals when the device, or recovery, is done with it. */
void vttm_ring_emit_new(struct vttm_engine *engine, struct vttm_job *job)
{
	struct vttm_fence *fence = job->fence;
	unsigned long flags;
	bool runs;

	/* What is given to a device that has lost its rings would be found only by its time-out. */
	runs = !list_empty_careful(&engine->pending) || vttm_hw_runs(engine->vdev);

	spin_lock_irqsave(&engine->lock, flags);
	fence->number = ++engine->seq;
	dma_fence_init64(&fence->base, &vttm_fence_ops, NULL, engine->fence_context + !job->vm,
			 fence->number);
	fence->job = job;
	dma_fence_get(&fence->base);
	list_add_tail(&fence->link, &engine->pending);
	if (runs)
		vttm_ring_emit(engine, job);
	spin_unlock_irqrestore(&engine->lock, flags);

	if (!runs)
		vttm_recover_queue(engine->vdev); /* emits it, or ends it */
}

/*
 * The fence of a job of the driver's own that is in the ring, or NULL. They go there one at a time:
 * the next one may write to what this one reads, which then could not be done again.
 */
struct dma_fence *vttm_ring_own_fence(struct vttm_engine *engine)
{
	struct dma_fence *own = NULL;
	struct vttm_fence *fence;
	unsigned long flags;

	spin_lock_irqsave(&engine->lock, flags);
	list_for_each_entry(fence, &engine->pending, link)
		if (!fence->job->vm) {
			own = dma_fence_get(&fence->base);
			break;
		}
	spin_unlock_irqrestore(&engine->lock, flags);
	return own;
}

/* Under engine->lock, so that fences signal in the order of the ring. */
static void vttm_fence_finish(struct vttm_engine *engine, struct vttm_fence *fence, int error)
{
	lockdep_assert_held(&engine->lock);

	list_del_init(&fence->link);
	if (error) {
		dma_fence_set_error(&fence->base, error);
		/* Before anybody hears of it. */
		vttm_job_failed(fence->job, fence->status, error);
	}
	fence->job = NULL;
	dma_fence_signal(&fence->base);
	dma_fence_put(&fence->base);
}

/* Whether the device says that it is done with @fence, and how. */
static bool vttm_fence_is_there(struct vttm_engine *engine, struct vttm_fence *fence)
{
	struct vttm_fence_value *value = &engine->values[fence->number % VTTM_RING_VALUES];

	if (!fence->begun ||
	    le64_to_cpu((__force __le64)READ_ONCE(value->seq)) != fence->number)
		return false;
	/* The device writes seq last. */
	dma_rmb();
	fence->status = le32_to_cpu((__force __le32)READ_ONCE(value->status));
	return true;
}

/*
 * Whether a job that came to nothing is worth one more attempt: one of the driver's is, which moves
 * content that exists nowhere else, or clears. No packet of it depends on being run once.
 */
static bool vttm_job_try_again(struct vttm_job *job)
{
	struct vttm_device *vdev = job->engine->vdev;

	if (job->vm || READ_ONCE(vdev->dead) || ++job->tries >= VTTM_KERNEL_JOB_TRIES)
		return false;
	atomic64_inc(&vdev->stats.moves_again);
	return true;
}

/* For a job that is to be emitted again: what comes late of the last time is not taken for it. */
static void vttm_fence_renew(struct vttm_engine *engine, struct vttm_fence *fence)
{
	fence->number = ++engine->seq;
	fence->status = VTTM_FAULT_NONE;
	fence->begun = false;
}

/*
 * The device has run @fence's job. What came to nothing may be tried again behind all others: who
 * needs its result waits for its fence, so nobody in the ring does. @emit: into the ring, too.
 */
static void vttm_fence_ran(struct vttm_engine *engine, struct vttm_fence *fence, int error,
			   bool emit)
{
	if (!error || !vttm_job_try_again(fence->job)) {
		vttm_fence_finish(engine, fence, error);
		return;
	}
	vttm_fence_renew(engine, fence);
	list_move_tail(&fence->link, &engine->pending);
	if (emit)
		vttm_ring_emit(engine, fence->job);
}

static int vttm_fence_error(const struct vttm_fence *fence)
{
	return fence->status ? -EIO : 0;
}

/* Signals what the device has finished. Any context. */
void vttm_ring_process(struct vttm_engine *engine)
{
	struct vttm_fence *fence, *next;
	unsigned long flags;

	spin_lock_irqsave(&engine->lock, flags);
	list_for_each_entry_safe(fence, next, &engine->pending, link) {
		if (!vttm_fence_is_there(engine, fence))
			break;
		vttm_fence_ran(engine, fence, vttm_fence_error(fence), !engine->starting);
	}
	spin_unlock_irqrestore(&engine->lock, flags);
}

/* Ends all that is in the ring: what the device has finished as it says, the rest with @error. */
void vttm_ring_cancel_all(struct vttm_engine *engine, int error)
{
	struct vttm_fence *fence, *next;
	unsigned long flags;

	spin_lock_irqsave(&engine->lock, flags);
	list_for_each_entry_safe(fence, next, &engine->pending, link)
		vttm_fence_finish(engine, fence, vttm_fence_is_there(engine, fence) ?
						 vttm_fence_error(fence) : error);
	engine->starting = false;
	spin_unlock_irqrestore(&engine->lock, flags);
}

/* What the device has done of what is pending. It runs jobs in the order of the ring. */
struct vttm_ring_done {
	struct vttm_fence *last; /* the last one that has certainly run, or NULL */
	struct vttm_fence *at;   /* the one that it is in the middle of, or NULL */
};

/*
 * @head is where the device fetches next, in dwords, or VTTM_RING_NOWHERE. A job before it has run:
 * HEAD moves on with each packet that is taken up, and the last one of a job is its FENCE. Without
 * @head only fences that are there say something.
 */
static struct vttm_ring_done vttm_ring_done(struct vttm_engine *engine, u32 head)
{
	struct vttm_fence *first = list_first_entry_or_null(&engine->pending, struct vttm_fence,
							    link);
	struct vttm_ring_done done = {};
	struct vttm_fence *fence;
	u32 reached = 0, pos = 0, all = 0;

	if (head < VTTM_RING_DWORDS && first && first->begun)
		reached = (head - first->start) % VTTM_RING_DWORDS;
	list_for_each_entry(fence, &engine->pending, link)
		all += fence->begun ? fence->dwords : 0;
	/* It may not have passed the FENCE before the first one yet. */
	if (reached > all)
		reached = 0;

	list_for_each_entry(fence, &engine->pending, link) {
		if (!fence->begun)
			continue;
		if (pos + fence->dwords <= reached || vttm_fence_is_there(engine, fence))
			done.last = fence;
		else if (pos < reached)
			done.at = fence;
		pos += fence->dwords;
	}
	return done;
}

/*
 * Ends all jobs that the device has run, also those whose fence got lost on the way: none of them
 * may run once more behind its successors. How such a one has ended nobody knows, so it counts as
 * cancelled, or is tried again.
 */
static void vttm_ring_settle(struct vttm_engine *engine, struct vttm_fence *last, bool emit)
{
	struct vttm_fence *fence;

	lockdep_assert_held(&engine->lock);

	if (!last)
		return;
	do {
		fence = list_first_entry(&engine->pending, struct vttm_fence, link);
		if (vttm_fence_is_there(engine, fence)) {
			vttm_fence_ran(engine, fence, vttm_fence_error(fence), emit);
		} else {
			atomic64_inc(&engine->vdev->stats.fences_lost);
			vttm_fence_ran(engine, fence, -ECANCELED, emit);
		}
	} while (fence != last);
}

/*
 * For who has waited long: goes on where a fence does not come, but later ones have. Then there is
 * nothing wrong with the engine. Returns whether it has nothing more to do.
 */
bool vttm_ring_skip_lost(struct vttm_engine *engine)
{
	/* Not into the rings of a device that has lost them: vttm_recover() puts it there. */
	bool emit = vttm_hw_runs(engine->vdev);
	unsigned long flags;
	bool empty;

	spin_lock_irqsave(&engine->lock, flags);
	vttm_ring_settle(engine, vttm_ring_done(engine, VTTM_RING_NOWHERE).last, emit);
	empty = list_empty(&engine->pending);
	spin_unlock_irqrestore(&engine->lock, flags);
	return empty;
}

/* Whether the engine has done anything since the last call. A halted engine has not. */
bool vttm_ring_progressed(struct vttm_engine *engine)
{
	struct vttm_device *vdev = engine->vdev;
	u64 now = vttm_read64(vdev, vttm_engine_reg(engine, VTTM_ENG_BYTES_LO)) +
		  vttm_read(vdev, vttm_engine_reg(engine, VTTM_ENG_PACKETS));
	bool progressed = now != engine->progress;

	engine->progress = now;
	return progressed && !(vttm_read(vdev, vttm_engine_reg(engine, VTTM_ENG_STATUS)) &
			       VTTM_ENG_STATUS_HALTED);
}

/*
 * Goes on with an engine that was reset and started; before, @head was where it fetched next, or
 * VTTM_RING_NOWHERE. What it has run is not run again. The job that it was at is blamed: cancelled,
 * or (one of the driver's) begun anew. Those behind it have not begun, and run. (Without @head, if
 * a fence got lost just before, that one's job is blamed, and the next one may have begun.) The
 * scheduler's work must be stopped.
 */
void vttm_ring_resume(struct vttm_engine *engine, u32 head)
{
	struct vttm_ring_done done;
	struct vttm_fence *fence;
	unsigned long flags;

	spin_lock_irqsave(&engine->lock, flags);
	done = vttm_ring_done(engine, head);
	vttm_ring_settle(engine, done.last, false);
	fence = list_first_entry_or_null(&engine->pending, struct vttm_fence, link);
	/* One that it stood before, and did not get on, is blamed, too: else there is no end. */
	if (fence && fence->begun &&
	    (fence == done.at || head == VTTM_RING_NOWHERE || !done.last) &&
	    !vttm_job_try_again(fence->job))
		vttm_fence_finish(engine, fence, -ECANCELED);
	/* The lock keeps the interrupt of the first one from changing the list. */
	list_for_each_entry(fence, &engine->pending, link) {
		if (fence->begun)
			vttm_fence_renew(engine, fence);
		vttm_ring_emit(engine, fence->job);
	}
	engine->starting = false;
	spin_unlock_irqrestore(&engine->lock, flags);
}

/* Resets a hung engine and goes on. The scheduler's work must be stopped. */
int vttm_ring_recover(struct vttm_engine *engine)
{
	struct vttm_device *vdev = engine->vdev;
	u32 head = vttm_read(vdev, vttm_engine_reg(engine, VTTM_ENG_HEAD)) / 4;
	int ret;

	atomic64_inc(&vdev->stats.resets);
	ret = vttm_ring_start(engine);
	if (ret)
		return ret;
	/* A second look that was asked for meanwhile comes too early to say anything. */
	engine->progress = U64_MAX;
	vttm_ring_resume(engine, head);
	return 0;
}
