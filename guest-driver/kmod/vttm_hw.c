// SPDX-License-Identifier: GPL-2.0
/* The device as a whole: identity, reset, interrupts, TLB. */
#include <linux/interrupt.h>
#include <linux/iopoll.h>
#include <linux/pci.h>

#include <drm/drm_drv.h>
#include <drm/drm_print.h>

#include "vttm_drv.h"

#define VTTM_RESET_TIMEOUT_US 2000000
/* The device finishes the chunk that an engine is at before it reports an invalidation. */
#define VTTM_TLB_TIMEOUT_US 5000000

static int vttm_hw_check_magic(struct vttm_device *vdev)
{
	u32 magic = vttm_read(vdev, VTTM_REG_MAGIC);

	if (magic == VTTM_MAGIC)
		return 0;
	dev_err(vdev->drm.dev, "not a vttm device: magic 0x%08x, expected 0x%08x\n", magic,
		VTTM_MAGIC);
	return -ENODEV;
}

static int vttm_hw_identify(struct vttm_device *vdev)
{
	struct device *dev = vdev->drm.dev;
	int ret = vttm_hw_check_magic(vdev);

	if (ret)
		return ret;

	vdev->abi = vttm_read(vdev, VTTM_REG_ABI);
	if (vdev->abi >> 16 != VTTM_ABI_MAJOR) {
		dev_err(dev, "device has ABI %u.%u, this driver knows %u.x\n", vdev->abi >> 16,
			vdev->abi & 0xffff, VTTM_ABI_MAJOR);
		return -ENODEV;
	}

	if (vttm_read(vdev, VTTM_REG_NUM_ENGINES) < VTTM_NUM_ENGINES ||
	    vttm_read(vdev, VTTM_REG_NUM_VMS) < VTTM_MAX_VMS) {
		dev_err(dev, "device has too few engines or VMs\n");
		return -ENODEV;
	}

	vdev->features = vttm_read64(vdev, VTTM_REG_FEATURES_LO);
	vdev->vram_size = vttm_read64(vdev, VTTM_REG_VRAM_SIZE_LO);
	vdev->vram_visible = min(vttm_read64(vdev, VTTM_REG_VRAM_VISIBLE_LO), vdev->vram_size);
	if (!vdev->vram_size || !IS_ALIGNED(vdev->vram_size, SZ_2M)) {
		dev_err(dev, "bad VRAM size 0x%llx\n", vdev->vram_size);
		return -ENODEV;
	}
	return 0;
}

/* Resets the device; when it is done, nothing of before reaches memory any more. */
int vttm_hw_reset(struct vttm_device *vdev)
{
	u32 status;
	int ret;

	vttm_write(vdev, VTTM_REG_DEV_CTRL, VTTM_DEV_CTRL_RESET);
	ret = readl_poll_timeout(vdev->regs + VTTM_REG_DEV_STATUS, status,
				 !(status & VTTM_DEV_STATUS_RESETTING), 10,
				 VTTM_RESET_TIMEOUT_US);
	if (ret)
		dev_err(vdev->drm.dev, "device does not come out of reset\n");
	return ret;
}

/* Brings the device, if it is there, to its state after power-on. */
int vttm_hw_start(struct vttm_device *vdev)
{
	int ret;

	ret = vttm_hw_check_magic(vdev);
	if (ret)
		return ret;
	ret = vttm_hw_reset(vdev);
	if (ret)
		return ret;
	vdev->tlb_issued = vttm_read(vdev, VTTM_REG_TLB_INV_DONE);
	return 0;
}

/* Checks that this is a device we know, and starts it. */
int vttm_hw_init(struct vttm_device *vdev)
{
	int ret = vttm_hw_identify(vdev);

	return ret ?: vttm_hw_start(vdev);
}

/*
 * Whether the device is the one that was set up: a reset disables all interrupts, and one that is
 * gone reads as all ones. Not while the driver itself resets it (vttm_device.parked).
 */
bool vttm_hw_runs(struct vttm_device *vdev)
{
	return vttm_read(vdev, VTTM_REG_IRQ_ENABLE) == vdev->irq_enable;
}

enum vttm_hw_state vttm_hw_state(struct vttm_device *vdev)
{
	/* Not all ones: what is read of nothing is the platform's choice. */
	if (vttm_read(vdev, VTTM_REG_MAGIC) != VTTM_MAGIC)
		return VTTM_HW_GONE;
	/* Interrupts are disabled at the end of it. */
	if (vttm_read(vdev, VTTM_REG_DEV_STATUS) & VTTM_DEV_STATUS_RESETTING)
		return VTTM_HW_RESET;
	return vttm_hw_runs(vdev) ? VTTM_HW_RUNS : VTTM_HW_RESET;
}

/*
 * The device does not obey any more. Bus mastering goes off, so that it begins no access to memory
 * that is freed from now on (one that is under way cannot be waited for); every job fails.
 */
void vttm_hw_kill(struct vttm_device *vdev, const char *why)
{
	/* Before anybody takes it for dead, and ends its jobs. */
	pci_clear_master(to_pci_dev(vdev->drm.dev));
	if (xchg(&vdev->dead, true))
		return;
	drm_err(&vdev->drm, "%s: giving up on the device\n", why);
	WRITE_ONCE(vdev->gone, vttm_hw_state(vdev) == VTTM_HW_GONE);
	vttm_recover_queue(vdev);
	queue_work(system_long_wq, &vdev->dead_work);
}

/*
 * Before registers are touched that the whole driver uses: false while there is no device to
 * touch, be it for ever or for now. Else behind it the device is neither reset nor put to sleep,
 * nor pulled out in good order, until vttm_hw_exit().
 */
bool vttm_hw_enter(struct vttm_device *vdev, int *idx)
{
	if (!drm_dev_enter(&vdev->drm, idx))
		return false;
	mutex_lock(&vdev->hw_lock);
	if (!vdev->parked)
		return true;
	vttm_hw_exit(vdev, *idx);
	return false;
}

void vttm_hw_exit(struct vttm_device *vdev, int idx)
{
	mutex_unlock(&vdev->hw_lock);
	drm_dev_exit(idx);
}

/*
 * The numbers of a device that has reset itself, or is gone, are none: the last good ones stay.
 * Returns vttm_hw_runs().
 */
static bool vttm_hw_look(struct vttm_device *vdev)
{
	u32 faults = vttm_read(vdev, VTTM_REG_FAULT_COUNT);
	u32 stale = vttm_read(vdev, VTTM_REG_STALE_COUNT);

	if (!vttm_hw_runs(vdev))
		return false;
	vdev->seen_faults = faults;
	vdev->seen_stale = stale;
	return true;
}

/* Under hw_lock: nobody touches registers until the device is set up anew. */
void vttm_hw_park(struct vttm_device *vdev)
{
	lockdep_assert_held(&vdev->hw_lock);

	if (!READ_ONCE(vdev->dead))
		vttm_hw_look(vdev);
	vdev->past_faults += vdev->seen_faults;
	vdev->past_stale += vdev->seen_stale;
	vdev->seen_faults = 0;
	vdev->seen_stale = 0;
	vdev->parked = true;
}

/* Faults and uses of stale translations since the driver has the device. false: it is gone. */
bool vttm_hw_counts(struct vttm_device *vdev, u32 *faults, u32 *stale)
{
	int idx;

	if (!drm_dev_enter(&vdev->drm, &idx))
		return false;
	mutex_lock(&vdev->hw_lock);
	if (!vdev->parked && !READ_ONCE(vdev->dead) && !vttm_hw_look(vdev))
		vttm_recover_queue(vdev);
	*faults = vdev->past_faults + vdev->seen_faults;
	*stale = vdev->past_stale + vdev->seen_stale;
	vttm_hw_exit(vdev, idx);
	return true;
}

/* Whether it has ended: as asked for (@*runs), or because the device has lost all translations. */
static bool vttm_tlb_ended(struct vttm_device *vdev, bool *runs)
{
	u32 done = vttm_read(vdev, VTTM_REG_TLB_INV_DONE);

	*runs = true;
	/* All ones is a number like any other, and what is read of a device that is gone. */
	if ((s32)(done - vdev->tlb_issued) >= 0 && (done != U32_MAX || vttm_hw_runs(vdev)))
		return true;
	*runs = vttm_hw_runs(vdev);
	return !*runs;
}

/*
 * Drops translations and returns when no engine uses them any more. @cmd is a VTTM_TLB_INV_CMD();
 * @va and @pages count for VTTM_TLB_INV_RANGE. When the device fails to do it, it is killed, and
 * so even then the memory behind the translations may be freed.
 */
int vttm_hw_tlb_invalidate(struct vttm_device *vdev, u32 cmd, u64 va, u32 pages)
{
	bool ended, runs;
	int ret;

	/* A planted fault, for tests: see vttm_debugfs.c. */
	if (READ_ONCE(vdev->unsafe_skip_invalidation))
		return 0;
	if (READ_ONCE(vdev->dead))
		return -ENODEV;
	/*
	 * A device that is parked has no translation to drop. One that is being unplugged is not
	 * parked yet: its jobs may still run, so drm_dev_enter() is no reason to leave it out.
	 */
	mutex_lock(&vdev->hw_lock);
	if (vdev->parked) {
		mutex_unlock(&vdev->hw_lock);
		return 0;
	}
	vttm_write64(vdev, VTTM_REG_TLB_INV_START_LO, va);
	vttm_write(vdev, VTTM_REG_TLB_INV_PAGES, pages);
	/* writel() orders the page-table stores before the command. */
	vttm_write(vdev, VTTM_REG_TLB_INV_CMD, cmd);
	vdev->tlb_issued++;
	ret = read_poll_timeout(vttm_tlb_ended, ended, ended, 20, VTTM_TLB_TIMEOUT_US, false, vdev,
				&runs);
	if (ret)
		vttm_hw_kill(vdev, "TLB invalidation does not end");
	else if (!runs)
		vttm_recover_queue(vdev);
	mutex_unlock(&vdev->hw_lock);
	return ret;
}

static irqreturn_t vttm_irq_engine(int irq, void *arg)
{
	struct vttm_engine *engine = arg;

	/* Cleared first: a fence that is written behind this read raises it again. */
	vttm_write(engine->vdev, VTTM_REG_IRQ_STATUS, VTTM_IRQ_ENGINE(engine->id));
	vttm_ring_process(engine);
	return IRQ_HANDLED;
}

static irqreturn_t vttm_irq_error(int irq, void *arg)
{
	struct vttm_device *vdev = arg;
	unsigned int i;

	vttm_write(vdev, VTTM_REG_IRQ_STATUS, VTTM_IRQ_ERROR);
	vttm_fault_process(vdev);

	/* A halted engine needs its time-out handler now, not in some seconds. */
	for (i = 0; i < VTTM_NUM_ENGINES; i++)
		if (vttm_read(vdev, VTTM_ENGINE_BASE(i) + VTTM_ENG_STATUS) &
		    VTTM_ENG_STATUS_HALTED)
			drm_sched_fault(&vdev->engines[i].sched);
	return IRQ_HANDLED;
}

static irqreturn_t vttm_irq_vram(int irq, void *arg)
{
	struct vttm_device *vdev = arg;

	/* Cleared first: a change behind this read of the target raises it again. */
	vttm_write(vdev, VTTM_REG_IRQ_STATUS, VTTM_IRQ_VRAM);
	vttm_balloon_notify(vdev);
	return IRQ_HANDLED;
}

/* Needs engines, schedulers and memory types: from here on interrupts come. */
int vttm_hw_irq_init(struct vttm_device *vdev)
{
	struct pci_dev *pdev = to_pci_dev(vdev->drm.dev);
	bool balloon = vdev->features & VTTM_FEATURE_VRAM_BALLOON;
	unsigned int i, vectors = balloon ? VTTM_NUM_VECTORS : VTTM_MSIX_VRAM;
	int ret;

	ret = pci_alloc_irq_vectors(pdev, vectors, vectors, PCI_IRQ_MSIX);
	if (ret < 0) {
		dev_err(&pdev->dev, "no %u MSI-X vectors: %d\n", vectors, ret);
		return ret;
	}

	vdev->irq_enable = VTTM_IRQ_ERROR;
	ret = devm_request_irq(&pdev->dev, pci_irq_vector(pdev, VTTM_MSIX_ERROR), vttm_irq_error,
			       0, "vttm-error", vdev);
	for (i = 0; !ret && i < VTTM_NUM_ENGINES; i++) {
		ret = devm_request_irq(&pdev->dev, pci_irq_vector(pdev, VTTM_MSIX_ENGINE(i)),
				       vttm_irq_engine, 0, vdev->engines[i].name,
				       &vdev->engines[i]);
		vdev->irq_enable |= VTTM_IRQ_ENGINE(i);
	}
	if (!ret && balloon) {
		ret = devm_request_irq(&pdev->dev, pci_irq_vector(pdev, VTTM_MSIX_VRAM),
				       vttm_irq_vram, 0, "vttm-vram", vdev);
		vdev->irq_enable |= VTTM_IRQ_VRAM;
	}
	if (ret)
		return ret;

	vttm_write(vdev, VTTM_REG_IRQ_ENABLE, vdev->irq_enable);
	/* What the host asked for before. */
	vttm_balloon_notify(vdev);
	return 0;
}
