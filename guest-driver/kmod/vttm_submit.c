// SPDX-License-Identifier: GPL-2.0
/* SUBMIT and WAIT. */
#include <linux/delay.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_exec.h>
#include <drm/drm_gem.h>
#include <drm/drm_syncobj.h>

#include "vttm_bo.h"
#include "vttm_drv.h"
#include "vttm_vm.h"

#define VTTM_SUBMIT_MAX_DWORDS 16384
#define VTTM_SUBMIT_MAX_BOS 4096

/* Pages that reclaim has written out come free with a delay, so a lack of memory may pass. */
#define VTTM_SUBMIT_TRIES 6
#define VTTM_SUBMIT_RETRY_MS 20

struct vttm_submit {
	struct vttm_device *vdev;
	struct vttm_file *vfile;
	struct vttm_job *job;
	struct vttm_queue *queue;
	struct drm_syncobj *syncobj_out;
	struct drm_exec exec;
};

static int vttm_submit_load(struct vttm_submit *submit, struct drm_vttm_submit *args,
			    struct drm_file *file)
{
	u32 n = args->num_dwords;
	struct vttm_job *job;
	int ret;

	job = vttm_job_create(&submit->vdev->engines[args->engine], &submit->queue->entity,
			      submit->vfile->vm, n, file);
	if (IS_ERR(job))
		return PTR_ERR(job);
	submit->job = job;

	if (copy_from_user(job->packets, u64_to_user_ptr(args->packets), n * sizeof(__le32)))
		return -EFAULT;
	job->num_dwords = n;
	ret = vttm_packets_check(job->packets, n, args->engine);
	if (ret)
		return ret;

	ret = drm_gem_objects_lookup(file, u64_to_user_ptr(args->bos), args->num_bos, &job->objs);
	if (ret)
		return ret;
	job->num_objs = args->num_bos;

	if (args->syncobj_in) {
		ret = drm_sched_job_add_syncobj_dependency(&job->base, file, args->syncobj_in, 0);
		if (ret)
			return ret;
	}
	if (args->syncobj_out) {
		submit->syncobj_out = drm_syncobj_find(file, args->syncobj_out);
		if (!submit->syncobj_out)
			return -ENOENT;
	}
	return 0;
}

static void vttm_submit_unload(struct vttm_submit *submit)
{
	if (submit->syncobj_out)
		drm_syncobj_put(submit->syncobj_out);
	if (submit->job)
		vttm_job_destroy(submit->job);
}

/* Locks all buffers and brings them to where the device reaches them. */
static int vttm_submit_lock(struct vttm_submit *submit)
{
	struct ttm_operation_ctx ctx = {
		.interruptible = true,
		/* Rather fail the job than have the OOM killer come for somebody else. */
		.gfp_retry_mayfail = true,
	};
	struct drm_exec *exec = &submit->exec;
	u32 i;
	int ret;

	drm_exec_init(exec, DRM_EXEC_INTERRUPTIBLE_WAIT | DRM_EXEC_IGNORE_DUPLICATES,
		      submit->job->num_objs);
	drm_exec_until_all_locked(exec) {
		ret = drm_exec_prepare_array(exec, submit->job->objs, submit->job->num_objs, 1);
		drm_exec_retry_on_contention(exec);
		if (ret)
			goto err_fini;
	}

	for (i = 0; i < submit->job->num_objs; i++) {
		struct vttm_bo *bo = gem_to_vttm_bo(submit->job->objs[i]);

		ret = vttm_bo_drop_lost(bo, &ctx);
		if (!ret)
			ret = vttm_bo_validate(bo, &ctx);
		if (ret)
			goto err_fini;
		/* The move may have taken the slot. */
		ret = dma_resv_reserve_fences(submit->job->objs[i]->resv, 1);
		if (ret)
			goto err_fini;
	}
	return 0;

err_fini:
	drm_exec_fini(exec);
	return ret;
}

/*
 * Submits evict each other's buffers; when two of them hold what the other one needs, both fail to
 * find room. Such a submit tries again alone, with no other one between lock and push.
 * Returns with validate_lock held (*alone: for writing) and all buffers locked.
 */
static int vttm_submit_lock_retry(struct vttm_submit *submit, bool *alone)
{
	struct rw_semaphore *lock = &submit->vdev->validate_lock;
	unsigned int tries;
	int ret;

	*alone = false;
	for (tries = 0; tries < VTTM_SUBMIT_TRIES; tries++) {
		ret = *alone ? down_write_killable(lock) : down_read_interruptible(lock);
		if (ret)
			return ret;
		ret = vttm_submit_lock(submit);
		if (!ret)
			return 0;
		if (*alone)
			up_write(lock);
		else
			up_read(lock);

		if (ret != -ENOSPC && ret != -ENOMEM && ret != -EBUSY && ret != -EDEADLK)
			return ret;
		/* Alone, and VRAM or GTT still too small: it will not get better. */
		if (*alone && ret == -ENOSPC)
			return ret;
		if (*alone && msleep_interruptible(VTTM_SUBMIT_RETRY_MS << tries))
			return -ERESTARTSYS;
		*alone = true;
	}
	return ret == -EBUSY || ret == -EDEADLK ? -ENOSPC : ret;
}

/* The window keeps results of the newest jobs only, so the oldest one there has to be done. */
static int vttm_submit_throttle(struct vttm_queue *queue)
{
	struct dma_fence *fence;
	long ret = 0;

	mutex_lock(&queue->lock);
	fence = dma_fence_get(queue->fences[(queue->seqno + 1) % VTTM_QUEUE_WINDOW]);
	mutex_unlock(&queue->lock);
	if (fence)
		ret = dma_fence_wait(fence, true);
	dma_fence_put(fence);
	return ret < 0 ? ret : 0;
}

/*
 * Queues the job and publishes its fence. All that may fail is done, but other threads may have
 * filled the window since the throttle: then it returns false and has done nothing.
 */
static bool vttm_submit_push(struct vttm_submit *submit, u64 *seqno)
{
	struct vttm_queue *queue = submit->queue;
	struct drm_sched_job *job = &submit->job->base;
	struct dma_fence *fence, *old;
	u32 i;

	mutex_lock(&queue->lock);
	old = queue->fences[(queue->seqno + 1) % VTTM_QUEUE_WINDOW];
	if (old && !dma_fence_is_signaled(old)) {
		mutex_unlock(&queue->lock);
		return false;
	}
	drm_sched_job_arm(job);
	fence = dma_fence_get(&job->s_fence->finished);
	*seqno = ++queue->seqno;
	queue->fences[*seqno % VTTM_QUEUE_WINDOW] = dma_fence_get(fence);
	for (i = 0; i < submit->job->num_objs; i++)
		dma_resv_add_fence(submit->job->objs[i]->resv, fence, DMA_RESV_USAGE_WRITE);
	drm_sched_entity_push_job(job);
	mutex_unlock(&queue->lock);
	submit->job = NULL;

	if (submit->syncobj_out)
		drm_syncobj_replace_fence(submit->syncobj_out, fence);
	dma_fence_put(old);
	dma_fence_put(fence);
	return true;
}

/* One attempt, behind the throttle; *pushed tells whether there still was room in the window. */
static int vttm_submit_try(struct vttm_submit *submit, u64 *seqno, bool *pushed)
{
	struct drm_sched_job *job = &submit->job->base;
	bool alone;
	u32 i;
	int ret, idx;

	/* The device's bus is needed to bring buffers there. */
	if (!drm_dev_enter(&submit->vdev->drm, &idx))
		return -ENODEV;
	ret = vttm_submit_lock_retry(submit, &alone);
	if (ret)
		goto out_exit;

	/* Jobs that share a buffer run in the order of submission, moves included. */
	for (i = 0; !ret && i < submit->job->num_objs; i++)
		ret = drm_sched_job_add_implicit_dependencies(job, submit->job->objs[i], true);
	if (!ret) {
		for (i = 0; i < submit->job->num_objs; i++)
			vttm_vm_fill_bo(submit->vfile->vm, gem_to_vttm_bo(submit->job->objs[i]));
		*pushed = vttm_submit_push(submit, seqno);
	}

	drm_exec_fini(&submit->exec);
	if (alone)
		up_write(&submit->vdev->validate_lock);
	else
		up_read(&submit->vdev->validate_lock);
out_exit:
	drm_dev_exit(idx);
	return ret;
}

/* The wait for room in the window holds no lock: others may need the buffers meanwhile. */
static int vttm_submit_run(struct vttm_submit *submit, u64 *seqno)
{
	bool pushed = false;
	int ret;

	do {
		ret = vttm_submit_throttle(submit->queue);
		if (!ret)
			ret = vttm_submit_try(submit, seqno, &pushed);
	} while (!ret && !pushed);
	return ret;
}

int vttm_submit_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct vttm_file *vfile = file->driver_priv;
	struct drm_vttm_submit *args = data;
	struct vttm_submit submit = {
		.vdev = to_vttm_device(drm),
		.vfile = vfile,
	};
	int ret;

	if (args->flags || args->engine >= VTTM_NUM_ENGINES || !args->num_dwords ||
	    args->num_dwords > VTTM_SUBMIT_MAX_DWORDS || args->num_bos > VTTM_SUBMIT_MAX_BOS)
		return -EINVAL;
	if (READ_ONCE(submit.vdev->dead))
		return -ENODEV;

	submit.queue = &vfile->queues[args->engine];
	ret = vttm_submit_load(&submit, args, file);
	if (!ret)
		ret = vttm_submit_run(&submit, &args->seqno);
	vttm_submit_unload(&submit);
	return ret;
}

int vttm_wait_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct vttm_file *vfile = file->driver_priv;
	struct drm_vttm_wait *args = data;
	struct vttm_queue *queue;
	struct dma_fence *fence = NULL;
	struct dma_fence *parent;
	long ret;

	if (args->engine >= VTTM_NUM_ENGINES)
		return -EINVAL;
	queue = &vfile->queues[args->engine];

	mutex_lock(&queue->lock);
	if (!args->seqno || args->seqno > queue->seqno) {
		mutex_unlock(&queue->lock);
		return -EINVAL;
	}
	if (args->seqno + VTTM_QUEUE_WINDOW > queue->seqno)
		fence = dma_fence_get(queue->fences[args->seqno % VTTM_QUEUE_WINDOW]);
	mutex_unlock(&queue->lock);

	args->status = VTTM_FAULT_NONE;
	if (!fence)
		return 0;

	/* 0 jiffies only asks; whatever is positive sleeps at least one. */
	if (args->timeout_ns < 0)
		ret = dma_fence_wait(fence, true);
	else
		ret = dma_fence_wait_timeout(fence, true, nsecs_to_jiffies(args->timeout_ns) +
							   !!args->timeout_ns);
	if (ret == 0 && args->timeout_ns >= 0 && !dma_fence_is_signaled(fence))
		ret = -ETIME;
	else if (ret >= 0)
		ret = fence->error;

	if (ret == -EIO) {
		parent = to_drm_sched_fence(fence)->parent;
		if (parent)
			args->status = to_vttm_fence(parent)->status;
	}
	dma_fence_put(fence);
	return ret;
}
