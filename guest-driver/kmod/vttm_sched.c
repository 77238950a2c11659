// SPDX-License-Identifier: GPL-2.0
/* Jobs: from the scheduler to the rings, and what happens when they hang. */
#include <linux/iopoll.h>
#include <linux/moduleparam.h>
#include <linux/pci.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "vttm_bo.h"
#include "vttm_drv.h"
#include "vttm_vm.h"

/*
 * Progress is looked at this often: an engine that makes none between two looks, or is halted, is
 * hung. A long job that advances is not.
 */
static unsigned int vttm_job_timeout_ms = 5000;
module_param_named(job_timeout_ms, vttm_job_timeout_ms, uint, 0644);
MODULE_PARM_DESC(job_timeout_ms,
		 "Time between two looks at a job that does not end, from the next bind on (default: 5000)");

#define VTTM_STOP_TIMEOUT_US 10000000

/*
 * A job of up to @max_dwords for @engine through @entity. @vm (or NULL: the driver's own job) is
 * held until the job is freed. The packets are appended with vttm_job_push().
 */
struct vttm_job *vttm_job_create(struct vttm_engine *engine, struct drm_sched_entity *entity,
				 struct vttm_vm *vm, u32 max_dwords, struct drm_file *file)
{
	const u32 frame = (sizeof(struct vttm_pkt_set_vm) + sizeof(struct vttm_pkt_fence)) / 4;
	struct vttm_job *job;
	int ret;

	job = kvzalloc_flex(*job, packets, max_dwords);
	if (!job)
		return ERR_PTR(-ENOMEM);

	job->engine = engine;
	job->max_dwords = max_dwords;
	job->fence = vttm_fence_create();
	if (!job->fence) {
		kvfree(job);
		return ERR_PTR(-ENOMEM);
	}

	ret = drm_sched_job_init(&job->base, entity,
				 max(max_dwords + frame, VTTM_JOB_MIN_CREDITS), engine,
				 file ? file->client_id : 0);
	if (ret) {
		kfree(job->fence);
		kvfree(job);
		return ERR_PTR(ret);
	}

	if (vm) {
		kref_get(&vm->ref);
		job->vm = vm;
	}
	atomic_inc(&engine->vdev->live_jobs);
	return job;
}

static void vttm_job_free(struct vttm_job *job)
{
	struct vttm_device *vdev = job->engine->vdev;
	u32 i;

	for (i = 0; i < job->num_objs; i++)
		drm_gem_object_put(job->objs[i]);
	kvfree(job->objs);
	if (dma_fence_was_initialized(&job->fence->base))
		dma_fence_put(&job->fence->base);
	else
		kfree(job->fence);
	if (job->vm)
		vttm_vm_put(job->vm);
	kvfree(job);
	if (atomic_dec_and_test(&vdev->live_jobs))
		wake_up_var(&vdev->live_jobs);
}

/* For a job that was never pushed. */
void vttm_job_destroy(struct vttm_job *job)
{
	drm_sched_job_cleanup(&job->base);
	vttm_job_free(job);
}

/* A job has ended with @error, or never begins; its fence has not signalled yet. Any context. */
void vttm_job_failed(struct vttm_job *job, u32 status, int error)
{
	struct vttm_device *vdev = job->engine->vdev;

	atomic64_inc(&vdev->stats.job_errors);
	if (!job->bo)
		return;
	WRITE_ONCE(job->bo->lost, true);
	drm_err_ratelimited(&vdev->drm,
			    "a move or clear of a buffer failed (fault %u, error %d): content lost\n",
			    status, error);
}

/*
 * Whether jobs only end any more. Not as soon as the device is unplugged: while it may be at one,
 * the end of that job, or of one behind it, would give memory back that it still writes to.
 */
static bool vttm_sched_has_ended(struct vttm_device *vdev)
{
	return READ_ONCE(vdev->dead) || READ_ONCE(vdev->stopped);
}

/* Whether @job may begin. All that it waits for has ended, moves of its buffers among it. */
static int vttm_job_check(struct vttm_job *job)
{
	u32 i;

	/* Killed while it was queued. */
	if (job->base.s_fence->finished.error)
		return job->base.s_fence->finished.error;
	/* With the device goes what was in VRAM: that is no failed move. */
	if (vttm_sched_has_ended(job->engine->vdev))
		return -ENODEV;
	/* What it was to move may have been in VRAM when that lost its content. */
	if (job->bo && job->vram_epoch != READ_ONCE(job->engine->vdev->vram_epoch))
		return -ENODATA;
	for (i = 0; i < job->num_objs; i++)
		if (READ_ONCE(gem_to_vttm_bo(job->objs[i])->lost))
			return -ENODATA;
	return 0;
}

static struct dma_fence *vttm_sched_run_job(struct drm_sched_job *sched_job)
{
	struct vttm_job *job = to_vttm_job(sched_job);
	struct vttm_engine *engine = job->engine;
	struct vttm_device *vdev = engine->vdev;
	int error;

	atomic64_inc(&vdev->stats.jobs);

	error = vttm_job_check(job);
	if (error) {
		vttm_job_failed(job, VTTM_FAULT_NONE, error);
		return ERR_PTR(error);
	}
	vttm_ring_emit_new(engine, job);
	return dma_fence_get(&job->fence->base);
}

/*
 * The driver leaves, and somebody may keep it from that until a job has ended: one that takes long
 * has had its time. Its engine first comes to rest.
 */
static void vttm_sched_give_up(struct vttm_engine *engine)
{
	if (vttm_ring_start(engine))
		vttm_hw_kill(engine->vdev, "engine reset failed");
	vttm_ring_cancel_all(engine, -ENODEV);
}

/* What @sched_job has to wait for beyond its dependencies. */
static struct dma_fence *vttm_sched_prepare_job(struct drm_sched_job *sched_job,
						struct drm_sched_entity *entity)
{
	struct vttm_job *job = to_vttm_job(sched_job);

	return job->vm ? NULL : vttm_ring_own_fence(job->engine);
}

static enum drm_gpu_sched_stat vttm_sched_timedout_job(struct drm_sched_job *sched_job)
{
	struct vttm_job *job = to_vttm_job(sched_job);
	struct vttm_engine *engine = job->engine;
	struct vttm_device *vdev = engine->vdev;

	drm_sched_wqueue_stop(&engine->sched);
	if (vttm_sched_has_ended(vdev)) {
		vttm_ring_cancel_all(engine, -ENODEV);
		drm_sched_wqueue_start(&engine->sched);
		return DRM_GPU_SCHED_STAT_NO_HANG;
	}

	/*
	 * Only interrupts or fences may have got lost. If it is not this engine alone,
	 * vttm_recover() deals with it.
	 */
	if (vttm_ring_skip_lost(engine) || !vttm_recover(vdev)) {
		/* Nothing is left to be done. */
	} else if (drm_dev_is_unplugged(&vdev->drm)) {
		vttm_sched_give_up(engine);
	} else if (!vttm_ring_progressed(engine)) {
		drm_err(&vdev->drm, "engine %s hangs at job %llu: reset\n", engine->name,
			(u64)job->fence->base.seqno);
		if (vttm_ring_recover(engine)) {
			vttm_hw_kill(vdev, "engine reset failed");
			vttm_ring_cancel_all(engine, -ENODEV);
		}
	}
	drm_sched_wqueue_start(&engine->sched);

	/* The jobs stay with the scheduler: they are done, cancelled, or in the ring again. */
	return DRM_GPU_SCHED_STAT_NO_HANG;
}

static void vttm_sched_free_job(struct drm_sched_job *sched_job)
{
	drm_sched_job_cleanup(sched_job);
	vttm_job_free(to_vttm_job(sched_job));
}

static void vttm_sched_cancel_job(struct drm_sched_job *sched_job)
{
	vttm_ring_cancel_all(to_vttm_job(sched_job)->engine, -ECANCELED);
}

static const struct drm_sched_backend_ops vttm_sched_ops = {
	.prepare_job = vttm_sched_prepare_job,
	.run_job = vttm_sched_run_job,
	.timedout_job = vttm_sched_timedout_job,
	.free_job = vttm_sched_free_job,
	.cancel_job = vttm_sched_cancel_job,
};

/*
 * Stops the schedulers: from here on no job is emitted, no time-out handled, and nothing recovered.
 * What is in the rings stays there; see vttm_sched_wait().
 */
void vttm_sched_park(struct vttm_device *vdev)
{
	unsigned int i;

	/*
	 * Time-out handlers and vttm_recover() start schedulers again, also those of other engines:
	 * all that may not have seen this has to end before any scheduler is stopped.
	 */
	WRITE_ONCE(vdev->sched_parked, true);
	for (i = 0; i < VTTM_NUM_ENGINES; i++)
		disable_delayed_work_sync(&vdev->engines[i].sched.work_tdr);
	vttm_recover_flush(vdev);
	for (i = 0; i < VTTM_NUM_ENGINES; i++)
		drm_sched_wqueue_stop(&vdev->engines[i].sched);
	/* The last jobs may have met a device that has reset itself, and wait to be emitted. */
	vttm_recover_flush(vdev);
	vttm_recover_disable(vdev);
}

void vttm_sched_unpark(struct vttm_device *vdev)
{
	unsigned int i;

	WRITE_ONCE(vdev->sched_parked, false);
	/* Before there are jobs that may need it. */
	vttm_recover_enable(vdev);
	for (i = 0; i < VTTM_NUM_ENGINES; i++) {
		struct drm_gpu_scheduler *sched = &vdev->engines[i].sched;

		enable_delayed_work(&sched->work_tdr);
		drm_sched_wqueue_start(sched);
	}
}

static bool vttm_engine_is_empty(struct vttm_engine *engine)
{
	/* In case an interrupt got lost. */
	vttm_ring_process(engine);
	return list_empty_careful(&engine->pending);
}

static bool vttm_engine_drain(struct vttm_engine *engine)
{
	bool empty;

	return !read_poll_timeout(vttm_engine_is_empty, empty, empty, 1000, VTTM_STOP_TIMEOUT_US,
				  false, engine);
}

/* Goes on behind lost fences. Whether there were some: what is behind them has its time, too. */
static bool vttm_engine_skips(struct vttm_engine *engine)
{
	atomic64_t *lost = &engine->vdev->stats.fences_lost;
	s64 before = atomic64_read(lost);

	return vttm_ring_skip_lost(engine) || atomic64_read(lost) != before;
}

/* Waits until the rings are empty; false if one does not end. */
bool vttm_sched_wait(struct vttm_device *vdev)
{
	bool all = true;
	unsigned int i;

	for (i = 0; i < VTTM_NUM_ENGINES; i++) {
		struct vttm_engine *engine = &vdev->engines[i];

		if (!vttm_engine_drain(engine) &&
		    !(vttm_engine_skips(engine) && vttm_engine_drain(engine))) {
			drm_err(&vdev->drm, "engine %s did not finish\n", engine->name);
			all = false;
		}
	}
	return all;
}

static void vttm_sched_fini(struct drm_device *drm, void *arg)
{
	struct vttm_engine *engine = arg;

	drm_sched_fini(&engine->sched);
}

static void vttm_migrate_entity_fini(struct drm_device *drm, void *arg)
{
	drm_sched_entity_destroy(arg);
}

static int vttm_sched_init_engine(struct vttm_device *vdev, struct vttm_engine *engine)
{
	const struct drm_sched_init_args args = {
		.ops = &vttm_sched_ops,
		.num_rqs = DRM_SCHED_PRIORITY_COUNT,
		.credit_limit = VTTM_RING_CREDITS,
		.timeout = msecs_to_jiffies(max(READ_ONCE(vttm_job_timeout_ms), 100u)),
		.timeout_wq = vdev->reset_wq,
		.name = engine->name,
		.dev = vdev->drm.dev,
	};
	int ret;

	ret = drm_sched_init(&engine->sched, &args);
	if (ret)
		return ret;
	return drmm_add_action_or_reset(&vdev->drm, vttm_sched_fini, engine);
}

/*
 * Workers of the schedulers free ended jobs, and with these the last references to buffers. Waits
 * for that. Nobody can make jobs any more, and those that are left have ended.
 */
void vttm_sched_drain(struct vttm_device *vdev)
{
	u32 i;

	for (i = 0; i < VTTM_NUM_ENGINES; i++)
		drm_sched_wqueue_start(&vdev->engines[i].sched);
	drm_WARN_ON(&vdev->drm,
		    !wait_var_event_timeout(&vdev->live_jobs, !atomic_read(&vdev->live_jobs),
					    10 * HZ));
}

int vttm_sched_init(struct vttm_device *vdev)
{
	struct drm_gpu_scheduler *sched = &vdev->engines[VTTM_ENGINE_COPY].sched;
	unsigned int i;
	int ret;

	vttm_recover_init(vdev);
	/* Reclaim waits for fences, and those may need a reset. */
	vdev->reset_wq = drmm_alloc_ordered_workqueue(&vdev->drm, "vttm-reset", WQ_MEM_RECLAIM);
	if (IS_ERR(vdev->reset_wq))
		return PTR_ERR(vdev->reset_wq);

	for (i = 0; i < VTTM_NUM_ENGINES; i++) {
		ret = vttm_sched_init_engine(vdev, &vdev->engines[i]);
		if (ret)
			return ret;
	}

	mutex_init(&vdev->migrate_lock);
	ret = drm_sched_entity_init(&vdev->migrate_entity, DRM_SCHED_PRIORITY_KERNEL, &sched, 1,
				    NULL);
	if (ret)
		return ret;
	return drmm_add_action_or_reset(&vdev->drm, vttm_migrate_entity_fini,
					&vdev->migrate_entity);
}

int vttm_queue_init(struct vttm_device *vdev, struct vttm_queue *queue, unsigned int engine)
{
	struct drm_gpu_scheduler *sched = &vdev->engines[engine].sched;

	mutex_init(&queue->lock);
	return drm_sched_entity_init(&queue->entity, DRM_SCHED_PRIORITY_NORMAL, &sched, 1, NULL);
}

/* Waits for the queue's jobs, or cancels them if the process was killed. */
void vttm_queue_fini(struct vttm_queue *queue)
{
	unsigned int i;

	drm_sched_entity_destroy(&queue->entity);
	for (i = 0; i < VTTM_QUEUE_WINDOW; i++)
		dma_fence_put(queue->fences[i]);
	mutex_destroy(&queue->lock);
}
