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

	engine->vdev = vdev;
	engine->id = id;
	engine->name = name;
	engine->fence_context = dma_fence_context_alloc(1);
	spin_lock_init(&engine->lock);
	INIT_LIST_HEAD(&engine->pending);

	engine->ring = dmam_alloc_coherent(vdev->drm.dev, VTTM_RING_SIZE, &engine->ring_dma,
					   GFP_KERNEL);
	engine->values = dmam_alloc_coherent(vdev->drm.dev,
					     VTTM_RING_VALUES * sizeof(*engine->values),
					     &engine->values_dma, GFP_KERNEL);
	if (!engine->ring || !engine->values)
		return -ENOMEM;

	return vttm_ring_start(engine);
}

/* Resets the engine and starts it on an empty ring. */
int vttm_ring_start(struct vttm_engine *engine)
{
	struct vttm_device *vdev = engine->vdev;
	u32 status;
	int ret;

	vttm_write(vdev, vttm_engine_reg(engine, VTTM_ENG_CTRL), VTTM_ENG_CTRL_RESET);
	ret = readl_poll_timeout(vdev->regs + vttm_engine_reg(engine, VTTM_ENG_STATUS), status,
				 !(status & VTTM_ENG_STATUS_RESETTING), 10,
				 VTTM_ENGINE_RESET_TIMEOUT_US);
	if (ret) {
		drm_err(&vdev->drm, "engine %s does not come out of reset\n", engine->name);
		return ret;
	}

	engine->tail = 0;
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

/* Puts [SET_VM] packets FENCE into the ring and rings the doorbell. The credits say it fits. */
static void vttm_ring_emit(struct vttm_engine *engine, struct vttm_job *job)
{
	u64 seq = job->fence->base.seqno;
	u64 addr = engine->values_dma + (seq % VTTM_RING_VALUES) * sizeof(*engine->values);
	const __le32 fence[] = {
		cpu_to_le32(VTTM_PKT_HDR(VTTM_OP_FENCE, VTTM_PKT_FLAG_IRQ,
					 sizeof(struct vttm_pkt_fence) / 4)),
		cpu_to_le32(lower_32_bits(addr)), cpu_to_le32(upper_32_bits(addr)),
		cpu_to_le32(lower_32_bits(seq)), cpu_to_le32(upper_32_bits(seq)),
	};

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
	job->fence->begun = true;

	/* writel() orders the stores to ring and page tables before the doorbell. */
	vttm_write(engine->vdev, vttm_engine_reg(engine, VTTM_ENG_TAIL), engine->tail * 4);
}

/* Starts @job: from here its fence signals when the device, or recovery, is done with it. */
void vttm_ring_emit_new(struct vttm_engine *engine, struct vttm_job *job)
{
	struct vttm_fence *fence = job->fence;
	unsigned long flags;
	bool idle;

	dma_fence_init64(&fence->base, &vttm_fence_ops, NULL, engine->fence_context,
			 ++engine->seq);
	fence->job = job;

	spin_lock_irqsave(&engine->lock, flags);
	dma_fence_get(&fence->base);
	idle = list_empty(&engine->pending);
	list_add_tail(&fence->link, &engine->pending);
	spin_unlock_irqrestore(&engine->lock, flags);

	/* What is given to a device that has lost its rings would be found only by its time-out. */
	if (idle && !vttm_hw_runs(engine->vdev))
		vttm_recover_queue(engine->vdev); /* emits it, or ends it */
	else
		vttm_ring_emit(engine, job);
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

/* Signals what the device has finished. Any context. */
void vttm_ring_process(struct vttm_engine *engine)
{
	struct vttm_fence *fence, *next;
	unsigned long flags;

	spin_lock_irqsave(&engine->lock, flags);
	list_for_each_entry_safe(fence, next, &engine->pending, link) {
		struct vttm_fence_value *value =
			&engine->values[fence->base.seqno % VTTM_RING_VALUES];

		if (le64_to_cpu((__force __le64)READ_ONCE(value->seq)) != fence->base.seqno)
			break;
		/* The device writes seq last. */
		dma_rmb();
		fence->status = le32_to_cpu((__force __le32)READ_ONCE(value->status));
		vttm_fence_finish(engine, fence, fence->status ? -EIO : 0);
	}
	spin_unlock_irqrestore(&engine->lock, flags);
}

void vttm_ring_cancel_all(struct vttm_engine *engine, int error)
{
	struct vttm_fence *fence, *next;
	unsigned long flags;

	spin_lock_irqsave(&engine->lock, flags);
	list_for_each_entry_safe(fence, next, &engine->pending, link)
		vttm_fence_finish(engine, fence, error);
	spin_unlock_irqrestore(&engine->lock, flags);
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
 * Goes on with an engine that was reset and started. The job at the head is blamed and cancelled
 * (jobs of the driver only after some attempts: no packet of theirs depends on being run once) if
 * it may have begun; those behind it have not, and run. The scheduler's work must be stopped.
 */
void vttm_ring_resume(struct vttm_engine *engine)
{
	struct vttm_fence *fence;
	unsigned long flags;

	/* What was finished before the reset is not to be run again. */
	vttm_ring_process(engine);

	spin_lock_irqsave(&engine->lock, flags);
	fence = list_first_entry_or_null(&engine->pending, struct vttm_fence, link);
	if (fence && fence->begun) {
		unsigned int tries = fence->job->vm ? 1 : VTTM_KERNEL_JOB_TRIES;

		if (++fence->job->tries >= tries)
			vttm_fence_finish(engine, fence, -ECANCELED);
	}
	/* The lock keeps the interrupt of the first one from changing the list. */
	list_for_each_entry(fence, &engine->pending, link)
		vttm_ring_emit(engine, fence->job);
	spin_unlock_irqrestore(&engine->lock, flags);
}

/* Resets a hung engine and goes on. The scheduler's work must be stopped. */
int vttm_ring_recover(struct vttm_engine *engine)
{
	int ret;

	atomic64_inc(&engine->vdev->stats.resets);
	ret = vttm_ring_start(engine);
	if (!ret)
		vttm_ring_resume(engine);
	return ret;
}
