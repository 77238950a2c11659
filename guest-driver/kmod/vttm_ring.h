/* SPDX-License-Identifier: GPL-2.0 */
/* Engines: a ring of packets, hardware fences, and the jobs that the scheduler puts there. */
#ifndef VTTM_RING_H
#define VTTM_RING_H

#include <linux/dma-fence.h>
#include <linux/spinlock.h>
#include <linux/types.h>

#include <drm/gpu_scheduler.h>

#include "vttm_packets.h"
#include "vttm_regs.h"

struct vttm_bo;
struct vttm_device;
struct vttm_vm;

#define VTTM_RING_SIZE 0x40000u /* bytes */
#define VTTM_RING_DWORDS (VTTM_RING_SIZE / 4)

/*
 * The scheduler's credits are ring dwords, so the ring never overflows. A job costs at least
 * VTTM_JOB_MIN_CREDITS, which bounds the fences in flight to the number of fence values. The slack
 * keeps TAIL from meeting a HEAD that has not passed the last FENCE yet.
 */
#define VTTM_JOB_MIN_CREDITS 64u
#define VTTM_RING_CREDITS (VTTM_RING_DWORDS - VTTM_JOB_MIN_CREDITS)
#define VTTM_RING_VALUES (VTTM_RING_DWORDS / VTTM_JOB_MIN_CREDITS)

struct vttm_engine {
	struct vttm_device *vdev;
	unsigned int id; /* VTTM_ENGINE_* */
	const char *name;

	__le32 *ring;
	dma_addr_t ring_dma;
	struct vttm_fence_value *values;
	dma_addr_t values_dma;

	spinlock_t lock; /* what follows */
	struct list_head pending; /* struct vttm_fence, in ring order */
	u32 tail;                 /* dwords */
	bool starting;            /* nothing is put into the ring */
	u64 seq;

	u64 fence_context;

	u64 progress; /* at the last time-out: bytes and packets done */
	struct drm_gpu_scheduler sched;
};

/* A job's fence in the ring. @status is valid once signalled. */
struct vttm_fence {
	struct dma_fence base;
	struct list_head link; /* engine->pending */
	struct vttm_job *job;  /* valid while pending */
	u64 number;            /* that the device writes for it; at first that of @base */
	u32 start, dwords;     /* where it is in the ring, and how much */
	u32 status;            /* enum vttm_fault_reason */
	bool begun;            /* it is in the ring: the device may have run a part of it */
};

/* For the place of a device that does not know it any more. */
#define VTTM_RING_NOWHERE U32_MAX

struct vttm_job {
	struct drm_sched_job base;
	struct vttm_engine *engine;
	struct vttm_vm *vm; /* NULL: the driver's own job, in physical spaces */
	struct drm_gem_object **objs; /* what it uses; holds references */
	u32 num_objs;
	/* The driver's own: what it moves or clears. Its fence keeps that from being freed. */
	struct vttm_bo *bo;
	u32 vram_epoch; /* vttm_device.vram_epoch when it was made */
	struct vttm_fence *fence;
	unsigned int tries; /* that came to nothing */
	u32 num_dwords;
	u32 max_dwords;
	__le32 packets[];
};

static inline struct vttm_job *to_vttm_job(struct drm_sched_job *job)
{
	return container_of(job, struct vttm_job, base);
}

static inline struct vttm_fence *to_vttm_fence(struct dma_fence *fence)
{
	return container_of(fence, struct vttm_fence, base);
}

/* vttm_ring.c */
int vttm_ring_init(struct vttm_device *vdev, unsigned int id, const char *name);
int vttm_ring_start(struct vttm_engine *engine);
struct vttm_fence *vttm_fence_create(void);
void vttm_ring_emit_new(struct vttm_engine *engine, struct vttm_job *job);
void vttm_ring_process(struct vttm_engine *engine);
struct dma_fence *vttm_ring_own_fence(struct vttm_engine *engine);
bool vttm_ring_skip_lost(struct vttm_engine *engine);
int vttm_ring_recover(struct vttm_engine *engine);
void vttm_ring_resume(struct vttm_engine *engine, u32 head);
void vttm_ring_cancel_all(struct vttm_engine *engine, int error);
bool vttm_ring_progressed(struct vttm_engine *engine);

/* vttm_sched.c */
struct vttm_job *vttm_job_create(struct vttm_engine *engine, struct drm_sched_entity *entity,
				 struct vttm_vm *vm, u32 max_dwords, struct drm_file *file);
void vttm_job_destroy(struct vttm_job *job);
void vttm_job_failed(struct vttm_job *job, u32 status, int error);

/* Appends one dword; the caller has asked for enough at creation. */
static inline void vttm_job_push(struct vttm_job *job, u32 dword)
{
	if (!WARN_ON_ONCE(job->num_dwords >= job->max_dwords))
		job->packets[job->num_dwords++] = cpu_to_le32(dword);
}

static inline void vttm_job_push64(struct vttm_job *job, u64 val)
{
	vttm_job_push(job, lower_32_bits(val));
	vttm_job_push(job, upper_32_bits(val));
}

#endif /* VTTM_RING_H */
