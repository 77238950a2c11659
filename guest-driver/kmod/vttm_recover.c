// SPDX-License-Identifier: GPL-2.0
/*
 * A device that resets itself, or is gone without a word.
 *
 * Neither is told by an interrupt. It is noticed where registers are looked at anyway: at a job for
 * an idle engine, a TLB invalidation, a time-out, a read of counters. A reset has taken VMs, rings
 * and translations, but not VRAM: they are set up anew, and jobs run again that had not begun. From
 * a device that is gone nothing comes back.
 */
#include <linux/workqueue.h>

#include <drm/drm_drv.h>
#include <drm/drm_print.h>

#include "vttm_bo.h"
#include "vttm_drv.h"

/* No job is on its way to a ring from here on. */
static void vttm_recover_hold(struct vttm_device *vdev)
{
	unsigned int i;

	for (i = 0; i < VTTM_NUM_ENGINES; i++)
		drm_sched_wqueue_stop(&vdev->engines[i].sched);
}

static void vttm_recover_release(struct vttm_device *vdev)
{
	unsigned int i;

	if (READ_ONCE(vdev->sched_parked))
		return;
	for (i = 0; i < VTTM_NUM_ENGINES; i++)
		drm_sched_wqueue_start(&vdev->engines[i].sched);
}

/* Jobs of a device that is dead end. The schedulers are held: none comes behind. */
static void vttm_recover_cancel(struct vttm_device *vdev)
{
	unsigned int i;

	for (i = 0; i < VTTM_NUM_ENGINES; i++)
		vttm_ring_cancel_all(&vdev->engines[i], -ENODEV);
}

static void vttm_recover_reset(struct vttm_device *vdev)
{
	u32 epoch = vdev->vram_epoch;
	unsigned int i;

	drm_err(&vdev->drm, "the device has reset itself: starting it again\n");
	atomic64_inc(&vdev->stats.device_resets);

	if (vttm_power_restart(vdev)) {
		vttm_hw_kill(vdev, "the device does not start again");
		vttm_recover_cancel(vdev);
		return;
	}
	for (i = 0; i < VTTM_NUM_ENGINES; i++) {
		if (vdev->vram_epoch == epoch) {
			vttm_ring_resume(&vdev->engines[i], VTTM_RING_NOWHERE);
			continue;
		}
		/* Without VRAM what was in a ring, and has not ended, is not worth another try. */
		vttm_ring_cancel_all(&vdev->engines[i], -ENODATA);
	}
	/* What the host asked for meanwhile. */
	vttm_balloon_notify(vdev);
}

/*
 * Looks whether the device is still the one that was set up, and acts. Returns whether it was. Runs
 * in reset_wq, and so beside no time-out handler; before vttm_sched_park() has returned.
 */
bool vttm_recover(struct vttm_device *vdev)
{
	enum vttm_hw_state state = vttm_hw_state(vdev);

	if (state == VTTM_HW_RUNS)
		return true;

	vttm_recover_hold(vdev);
	if (state == VTTM_HW_GONE) {
		vttm_hw_kill(vdev, "the device is gone");
		vttm_recover_cancel(vdev);
	} else {
		vttm_recover_reset(vdev);
	}
	vttm_recover_release(vdev);
	return false;
}

static void vttm_recover_work(struct work_struct *work)
{
	struct vttm_device *vdev = container_of(work, struct vttm_device, recover_work);
	int idx;

	/* Somebody else gave it up: what was put into a ring just then ends, too. */
	if (READ_ONCE(vdev->dead)) {
		vttm_recover_hold(vdev);
		vttm_recover_cancel(vdev);
		vttm_recover_release(vdev);
		return;
	}
	if (!drm_dev_enter(&vdev->drm, &idx))
		return;
	vttm_recover(vdev);
	drm_dev_exit(idx);
}

/* For who has met a device that vttm_hw_runs() says is not the one that was set up. Any context. */
void vttm_recover_queue(struct vttm_device *vdev)
{
	queue_work(vdev->reset_wq, &vdev->recover_work);
}

/* Returns when a recovery that was asked for, or is under way, has ended. */
void vttm_recover_flush(struct vttm_device *vdev)
{
	flush_work(&vdev->recover_work);
}

/* No recovery from here on; one that is under way has ended. */
void vttm_recover_disable(struct vttm_device *vdev)
{
	disable_work_sync(&vdev->recover_work);
}

void vttm_recover_enable(struct vttm_device *vdev)
{
	enable_work(&vdev->recover_work);
}

static void vttm_dead_tell(struct vttm_device *vdev)
{
	u64 bytes;
	u32 lost = vttm_bo_count_vram(vdev, &bytes);

	if (lost)
		drm_err(&vdev->drm, "content of %u buffers in VRAM is lost (%llu KiB)\n", lost,
			bytes >> 10);
}

/*
 * Behind vttm_hw_kill(). One that is still there may work again with a new driver: user space is
 * told. One that is gone has nothing more to say: who has it open hears so, too.
 */
static void vttm_dead_work(struct work_struct *work)
{
	struct vttm_device *vdev = container_of(work, struct vttm_device, dead_work);

	if (READ_ONCE(vdev->gone)) {
		if (!drm_dev_is_unplugged(&vdev->drm))
			drm_dev_unplug(&vdev->drm);
		vttm_dead_tell(vdev);
	} else if (!drm_dev_is_unplugged(&vdev->drm)) {
		drm_dev_wedged_event(&vdev->drm, DRM_WEDGE_RECOVERY_REBIND, NULL);
	}
}

/* For who takes the driver away: what vttm_hw_kill() has begun, ends. */
void vttm_recover_stop(struct vttm_device *vdev)
{
	flush_work(&vdev->dead_work);
	disable_work_sync(&vdev->dead_work);
}

void vttm_recover_init(struct vttm_device *vdev)
{
	INIT_WORK(&vdev->recover_work, vttm_recover_work);
	INIT_WORK(&vdev->dead_work, vttm_dead_work);
}
