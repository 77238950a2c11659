// SPDX-License-Identifier: GPL-2.0
/*
 * Function level reset from outside (sysfs, VFIO) and system sleep.
 *
 * Around both the device is parked: the jobs in the rings end, further ones wait with the
 * schedulers, and nobody touches a register. Before that, buffers leave VRAM, whose content sleep
 * and some ways of resetting take away; they come back when they are next used. Page tables and
 * rings are in system memory, which lasts.
 */
#include <linux/interrupt.h>
#include <linux/pci.h>
#include <linux/pm.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>
#include <drm/drm_print.h>

#include "vttm_bo.h"
#include "vttm_drv.h"
#include "vttm_vm.h"

/* Each move gets three tries: see vttm_ring_resume(). */
#define VTTM_EVICT_TIMEOUT (30 * HZ)

/* Ends all that the device may be doing. Translations are needed up to here, and not any more. */
static void vttm_park_device(struct vttm_device *vdev)
{
	mutex_lock(&vdev->hw_lock);
	vttm_hw_park(vdev);
	if (vttm_hw_state(vdev) != VTTM_HW_GONE && vttm_hw_reset(vdev))
		vttm_hw_kill(vdev, "reset failed");
	mutex_unlock(&vdev->hw_lock);
}

static void vttm_park_irqs(struct vttm_device *vdev)
{
	struct pci_dev *pdev = to_pci_dev(vdev->drm.dev);
	int vector;

	/* The reset has disabled them; what is under way ends. */
	for (vector = 0; vector < VTTM_NUM_VECTORS; vector++) {
		int irq = pci_irq_vector(pdev, vector);

		if (irq >= 0)
			synchronize_irq(irq);
	}
}

static void vttm_park(struct vttm_device *vdev)
{
	unsigned int i;

	/* The balloon first, while its evictions are still run. */
	vttm_balloon_park(vdev);
	vttm_sched_park(vdev);
	vttm_sched_wait(vdev);
	vttm_park_device(vdev);
	vttm_park_irqs(vdev);
	/* Jobs that did not end, and now never will. */
	for (i = 0; i < VTTM_NUM_ENGINES; i++)
		vttm_ring_cancel_all(&vdev->engines[i], -ECANCELED);
}

/*
 * Brings the device to where it was, from whatever state it is in. It is parked, or has reset
 * itself and is parked here; the schedulers stand still.
 */
int vttm_power_restart(struct vttm_device *vdev)
{
	unsigned int i;
	int ret;

	mutex_lock(&vdev->hw_lock);
	if (!vdev->parked)
		vttm_hw_park(vdev);
	mutex_unlock(&vdev->hw_lock);
	vttm_park_irqs(vdev);

	ret = vttm_hw_start(vdev);
	if (ret)
		return ret;
	vttm_fault_start(vdev);
	for (i = 0; i < VTTM_NUM_ENGINES; i++) {
		ret = vttm_ring_start(&vdev->engines[i]);
		if (ret)
			return ret;
		/* Its counters begin anew: the next look at them says nothing. */
		vdev->engines[i].progress = U64_MAX;
	}

	mutex_lock(&vdev->hw_lock);
	vttm_lost_check(vdev);
	vttm_balloon_restore(vdev);
	vttm_vm_restore_all(vdev);
	/* Before anybody looks whether they are enabled: see vttm_hw_runs(). */
	vttm_write(vdev, VTTM_REG_IRQ_ENABLE, vdev->irq_enable);
	vdev->parked = false;
	mutex_unlock(&vdev->hw_lock);
	return 0;
}

/*
 * For the driver that leaves, behind drm_dev_unplug(): the device comes to rest, and then all jobs
 * end. Not the other way round: with its job a buffer may be freed, and the driver's own jobs reach
 * memory by its bus address, without page tables that could be taken from them.
 */
void vttm_power_stop(struct vttm_device *vdev)
{
	unsigned int i;

	vttm_sched_park(vdev);
	if (vttm_hw_state(vdev) == VTTM_HW_RUNS)
		vttm_sched_wait(vdev);
	vttm_park_device(vdev);
	WRITE_ONCE(vdev->stopped, true);
	for (i = 0; i < VTTM_NUM_ENGINES; i++)
		vttm_ring_cancel_all(&vdev->engines[i], -ENODEV);
	/* Those that wait end when it is their turn. */
	vttm_sched_unpark(vdev);
	vttm_recover_disable(vdev);
}

/*
 * Before the machine goes down, or another kernel comes: no access to memory and no interrupt from
 * here on, whatever is under way. Nothing is waited for but the device, and that not for long; jobs
 * end as those of a dead one.
 */
void vttm_power_shutdown(struct vttm_device *vdev)
{
	pci_clear_master(to_pci_dev(vdev->drm.dev));
	WRITE_ONCE(vdev->dead, true);
	mutex_lock(&vdev->hw_lock);
	if (vttm_hw_state(vdev) != VTTM_HW_GONE)
		vttm_hw_reset(vdev);
	vdev->parked = true;
	mutex_unlock(&vdev->hw_lock);
}

static int vttm_unpark(struct vttm_device *vdev)
{
	int ret = READ_ONCE(vdev->dead) ? -ENODEV : vttm_power_restart(vdev);
	unsigned int i;

	if (ret)
		vttm_hw_kill(vdev, "the device does not start again");
	/* They are empty. */
	for (i = 0; !ret && i < VTTM_NUM_ENGINES; i++)
		vttm_ring_resume(&vdev->engines[i], VTTM_RING_NOWHERE);
	/* Also then: the jobs that wait have to fail. */
	vttm_sched_unpark(vdev);
	vttm_balloon_unpark(vdev);
	return ret;
}

/* Queues the moves of all that is in VRAM, but for what cannot leave: the first error. */
static int vttm_evict_begin(struct vttm_device *vdev)
{
	/* Rather leave a buffer where it is than have the OOM killer come for somebody. */
	struct ttm_operation_ctx ctx = { .gfp_retry_mayfail = true };
	unsigned long id = 0; /* none has it */
	struct vttm_bo *bo;
	int first = 0;

	while ((bo = vttm_bo_next(vdev, &id))) {
		int ret;

		dma_resv_lock(bo->tbo.base.resv, NULL);
		ret = vttm_bo_leave_vram(bo, &ctx);
		dma_resv_unlock(bo->tbo.base.resv);
		drm_gem_object_put(&bo->tbo.base);
		/* One job that does not end may be the same for all: it has had its time. */
		if (ret == -EBUSY)
			ctx.no_wait_gpu = true;
		first = first ?: ret;
	}
	return first;
}

/* Moves that have begun end, or have had their time: -EBUSY. */
static int vttm_evict_end(struct vttm_device *vdev)
{
	unsigned long end = jiffies + VTTM_EVICT_TIMEOUT;
	unsigned long id = 0; /* none has it */
	struct vttm_bo *bo;
	int ret = 0;

	while ((bo = vttm_bo_next(vdev, &id))) {
		long left = end - jiffies;

		if (dma_resv_wait_timeout(bo->tbo.base.resv, DMA_RESV_USAGE_KERNEL, false,
					  max(left, 0L)) <= 0)
			ret = -EBUSY;
		drm_gem_object_put(&bo->tbo.base);
	}
	return ret;
}

static int vttm_evict_vram(struct vttm_device *vdev)
{
	int begin, end;

	if (READ_ONCE(vdev->dead))
		return 0;
	begin = vttm_evict_begin(vdev);
	end = vttm_evict_end(vdev);
	if (begin || end)
		drm_err(&vdev->drm, "VRAM cannot be emptied: %d\n", begin ?: end);
	return begin ?: end;
}

/*
 * Which way the function is reset, the PCI core does not say. A function level reset keeps VRAM, a
 * trip to D3hot does not. So VRAM is evicted, and nobody fills it before the reset: SUBMIT waits.
 * What cannot leave stays there and takes its chance: see vttm_lost.c.
 */
static void vttm_reset_prepare(struct pci_dev *pdev)
{
	struct vttm_device *vdev = pci_get_drvdata(pdev);

	down_write(&vdev->validate_lock);
	vttm_evict_vram(vdev);
	vttm_park(vdev);
}

static void vttm_reset_done(struct pci_dev *pdev)
{
	struct vttm_device *vdev = pci_get_drvdata(pdev);

	atomic64_inc(&vdev->stats.function_resets);
	vttm_unpark(vdev);
	up_write(&vdev->validate_lock);
	vttm_lost_flush(vdev);
}

const struct pci_error_handlers vttm_err_handlers = {
	.reset_prepare = vttm_reset_prepare,
	.reset_done = vttm_reset_done,
};

/*
 * User space stands still, and all other devices are still there, swap among them: now is the time
 * to find memory for what is in VRAM. What is in GTT stays there.
 */
static int vttm_pm_prepare(struct device *dev)
{
	return vttm_evict_vram(dev_get_drvdata(dev));
}

static int vttm_pm_suspend(struct device *dev)
{
	vttm_park(dev_get_drvdata(dev));
	return 0;
}

static int vttm_pm_resume(struct device *dev)
{
	struct vttm_device *vdev = dev_get_drvdata(dev);

	atomic64_inc(&vdev->stats.sleeps);
	return vttm_unpark(vdev);
}

const struct dev_pm_ops vttm_pm_ops = {
	.prepare = vttm_pm_prepare,
	SYSTEM_SLEEP_PM_OPS(vttm_pm_suspend, vttm_pm_resume)
};
