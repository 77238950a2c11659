// SPDX-License-Identifier: GPL-2.0
/* vttm: PCI glue, the DRM driver and its ioctl table. */
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pm.h>

#include <drm/drm_drv.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "vttm_drv.h"
#include "vttm_vm.h"

static bool vttm_resize_bar = true;
module_param_named(resize_bar, vttm_resize_bar, bool, 0444);
MODULE_PARM_DESC(resize_bar, "have BAR2 show all of VRAM, where the platform has room (default: Y)");

static bool vttm_coherent_pages;
module_param_named(coherent_pages, vttm_coherent_pages, bool, 0644);
MODULE_PARM_DESC(coherent_pages,
		 "have buffers in coherent DMA memory also where mapped memory does not bounce (default: N)");

/* For tests: the very bug that coherent_pages is there for. */
static bool vttm_unsafe_bounce;
module_param_named_unsafe(unsafe_bounce, vttm_unsafe_bounce, bool, 0644);
MODULE_PARM_DESC(unsafe_bounce, "do not care about bounce buffers: content is lost (default: N)");

/* Fails for a device that is gone. */
static int vttm_get_counts(struct vttm_device *vdev, u32 param, u64 *value)
{
	u32 faults, stale;

	if (!vttm_hw_counts(vdev, &faults, &stale))
		return -ENODEV;
	*value = param == VTTM_PARAM_FAULT_COUNT ? faults : stale;
	return 0;
}

static int vttm_get_param_ioctl(struct drm_device *drm, void *data, struct drm_file *file)
{
	struct vttm_device *vdev = to_vttm_device(drm);
	struct drm_vttm_get_param *args = data;

	if (args->pad)
		return -EINVAL;

	switch (args->param) {
	case VTTM_PARAM_ABI:
		args->value = vdev->abi;
		return 0;
	case VTTM_PARAM_VRAM_SIZE:
		args->value = vdev->vram_size;
		return 0;
	case VTTM_PARAM_VRAM_VISIBLE:
		args->value = vdev->vram_visible;
		return 0;
	case VTTM_PARAM_GTT_SIZE:
		args->value = vdev->gtt_size;
		return 0;
	case VTTM_PARAM_NUM_ENGINES:
		args->value = VTTM_NUM_ENGINES;
		return 0;
	case VTTM_PARAM_FAULT_COUNT:
	case VTTM_PARAM_STALE_COUNT:
		return vttm_get_counts(vdev, args->param, &args->value);
	default:
		return -EINVAL;
	}
}

static const struct drm_ioctl_desc vttm_ioctls[] = {
	DRM_IOCTL_DEF_DRV(VTTM_GET_PARAM, vttm_get_param_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VTTM_GEM_CREATE, vttm_gem_create_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VTTM_GEM_MMAP, vttm_gem_mmap_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VTTM_GEM_INFO, vttm_gem_info_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VTTM_VM_BIND, vttm_vm_bind_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VTTM_SUBMIT, vttm_submit_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VTTM_WAIT, vttm_wait_ioctl, DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(VTTM_GEM_MADVISE, vttm_gem_madvise_ioctl, DRM_RENDER_ALLOW),
};

static void vttm_file_free(struct vttm_file *vfile, unsigned int queues)
{
	while (queues--)
		vttm_queue_fini(&vfile->queues[queues]);
	vttm_vm_close(vfile->vm);
	kvfree(vfile);
}

static int vttm_open(struct drm_device *drm, struct drm_file *file)
{
	struct vttm_device *vdev = to_vttm_device(drm);
	struct vttm_file *vfile;
	unsigned int i;
	int ret;

	vfile = kvzalloc_obj(*vfile);
	if (!vfile)
		return -ENOMEM;
	vfile->vm = vttm_vm_create(vdev);
	if (IS_ERR(vfile->vm)) {
		ret = PTR_ERR(vfile->vm);
		kvfree(vfile);
		return ret;
	}
	for (i = 0; i < VTTM_NUM_ENGINES; i++) {
		ret = vttm_queue_init(vdev, &vfile->queues[i], i);
		if (ret) {
			vttm_file_free(vfile, i);
			return ret;
		}
	}
	file->driver_priv = vfile;
	return 0;
}

/* The handles are closed already, and their mappings with them. */
static void vttm_postclose(struct drm_device *drm, struct drm_file *file)
{
	vttm_file_free(file->driver_priv, VTTM_NUM_ENGINES);
}

DEFINE_DRM_GEM_FOPS(vttm_fops);

static const struct drm_driver vttm_driver = {
	.driver_features = DRIVER_GEM | DRIVER_RENDER | DRIVER_SYNCOBJ,
	.open = vttm_open,
	.postclose = vttm_postclose,
	.ioctls = vttm_ioctls,
	.num_ioctls = ARRAY_SIZE(vttm_ioctls),
	.fops = &vttm_fops,
	.debugfs_init = vttm_debugfs_init,
	.name = "vttm",
	.desc = "virtual GPU for TTM",
	.major = VTTM_ABI_MAJOR,
	.minor = VTTM_ABI_MINOR,
};

static void vttm_device_fini(struct drm_device *drm, void *arg)
{
	struct vttm_device *vdev = arg;

	drm_WARN_ON(drm, atomic64_read(&vdev->stats.mappings));
	drm_WARN_ON(drm, atomic64_read(&vdev->stats.vm_count));
	drm_WARN_ON(drm, atomic64_read(&vdev->stats.leaves_4k));
	drm_WARN_ON(drm, atomic64_read(&vdev->stats.leaves_64k));
	drm_WARN_ON(drm, atomic64_read(&vdev->stats.leaves_2m));
	xa_destroy(&vdev->bos);
	xa_destroy(&vdev->vms);
	mutex_destroy(&vdev->hw_lock);
}

static int vttm_device_init(struct vttm_device *vdev)
{
	mutex_init(&vdev->hw_lock);
	init_rwsem(&vdev->validate_lock);
	xa_init_flags(&vdev->vms, XA_FLAGS_ALLOC);
	xa_init_flags(&vdev->bos, XA_FLAGS_ALLOC1);
	return drmm_add_action_or_reset(&vdev->drm, vttm_device_fini, vdev);
}

/* Whether the device reaches the very memory that was mapped. */
static bool vttm_dma_is_direct(struct device *dev, struct page *page, dma_addr_t dma)
{
	struct iommu_domain *domain;

	/* With an IOMMU and CONFIG_DMA_API_DEBUG every mapping needs it, bounced or not. */
	if (!dma_need_sync(dev, dma))
		return true;
	domain = iommu_get_domain_for_dev(dev);
	return domain && iommu_iova_to_phys(domain, dma) == page_to_phys(page);
}

/* Whether what is mapped for DMA is memory of its own (swiotlb). Negative: an error. */
static int vttm_dma_bounces(struct device *dev)
{
	struct page *page = alloc_page(GFP_KERNEL);
	dma_addr_t dma;
	int ret = -EIO;

	if (!page)
		return -ENOMEM;
	dma = dma_map_page(dev, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL);
	if (!dma_mapping_error(dev, dma)) {
		ret = !vttm_dma_is_direct(dev, page, dma);
		dma_unmap_page(dev, dma, PAGE_SIZE, DMA_BIDIRECTIONAL);
	}
	__free_page(page);
	return ret;
}

/*
 * Buffers stay mapped while CPU and device both use them. Behind bounce buffers each would have
 * memory of its own, and content would be lost without a word. So it is memory that both reach,
 * from dma_alloc_coherent(). Not behind an IOMMU that translates: that is a machine of its own,
 * which nobody has tried.
 */
static int vttm_check_dma(struct vttm_device *vdev)
{
	struct device *dev = vdev->drm.dev;
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);
	bool translated = domain && domain->type != IOMMU_DOMAIN_IDENTITY;
	int bounces = vttm_dma_bounces(dev);

	if (bounces < 0)
		return bounces;
	if (bounces && translated) {
		dev_err(dev, "DMA goes through an IOMMU and bounce buffers: not supported\n");
		return -EOPNOTSUPP;
	}
	vdev->coherent_tables = bounces || (vttm_coherent_pages && !translated);
	vdev->coherent_pages = vdev->coherent_tables && !vttm_unsafe_bounce;
	if (vdev->coherent_pages)
		dev_info(dev, "buffers are in coherent memory%s\n",
			 bounces ? ", as DMA goes through bounce buffers" : "");
	return 0;
}

/*
 * Has BAR2 show all of VRAM, if bus and bridges have room for it. If not, or if the platform does
 * not let us, the driver does with what is visible, as ever. Nothing of the device is mapped yet.
 */
static void vttm_pci_resize_vram(struct pci_dev *pdev)
{
	u64 was = pci_resource_len(pdev, VTTM_BAR_VRAM);
	int size = pci_rebar_get_max_size(pdev, VTTM_BAR_VRAM);
	u16 command;
	int ret;

	if (!vttm_resize_bar || size < 0 || pci_rebar_size_to_bytes(size) <= was)
		return;

	pci_read_config_word(pdev, PCI_COMMAND, &command);
	pci_write_config_word(pdev, PCI_COMMAND, command & ~PCI_COMMAND_MEMORY);
	ret = pci_resize_resource(pdev, VTTM_BAR_VRAM, size,
				  BIT(VTTM_BAR_REGS) | BIT(VTTM_BAR_MSIX));
	pci_write_config_word(pdev, PCI_COMMAND, command);
	if (ret)
		pci_info(pdev, "BAR2 stays at %llu of %llu MiB: error %d\n", was >> 20,
			 (u64)pci_rebar_size_to_bytes(size) >> 20, ret);
}

static int vttm_pci_map(struct pci_dev *pdev, struct vttm_device *vdev)
{
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	vttm_pci_resize_vram(pdev);
	ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(52));
	if (ret)
		return ret;
	dma_set_max_seg_size(&pdev->dev, SZ_1G);
	ret = vttm_check_dma(vdev);
	if (ret)
		return ret;

	if (pci_resource_len(pdev, VTTM_BAR_REGS) < VTTM_REGS_SIZE) {
		dev_err(&pdev->dev, "BAR0 is too small for the registers\n");
		return -ENODEV;
	}
	vdev->regs = pcim_iomap_region(pdev, VTTM_BAR_REGS, "vttm");
	if (IS_ERR(vdev->regs))
		return PTR_ERR(vdev->regs);
	ret = pcim_request_region(pdev, VTTM_BAR_VRAM, "vttm");
	if (ret)
		return ret;
	vdev->vram_base = pci_resource_start(pdev, VTTM_BAR_VRAM);
	pci_set_master(pdev);
	return 0;
}

static int vttm_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct vttm_device *vdev;
	int ret;

	vdev = devm_drm_dev_alloc(&pdev->dev, &vttm_driver, struct vttm_device, drm);
	if (IS_ERR(vdev))
		return PTR_ERR(vdev);
	pci_set_drvdata(pdev, vdev);

	ret = vttm_pci_map(pdev, vdev);
	if (!ret)
		ret = vttm_hw_init(vdev);
	if (ret)
		return ret;
	vdev->vram_visible = min(vdev->vram_visible, pci_resource_len(pdev, VTTM_BAR_VRAM));

	ret = vttm_device_init(vdev);
	if (!ret)
		ret = vttm_lost_init(vdev);
	if (!ret)
		ret = vttm_fault_init(vdev);
	if (!ret)
		ret = vttm_ring_init(vdev, VTTM_ENGINE_COPY, "vttm-copy");
	if (!ret)
		ret = vttm_ring_init(vdev, VTTM_ENGINE_STAMP, "vttm-stamp");
	if (!ret)
		ret = vttm_sched_init(vdev);
	if (!ret)
		ret = vttm_mm_init(vdev);
	if (!ret)
		ret = vttm_swapout_init(vdev);
	if (!ret)
		ret = vttm_shrinker_init(vdev);
	if (!ret)
		ret = vttm_hw_irq_init(vdev);
	if (!ret)
		ret = drm_dev_register(&vdev->drm, 0);
	if (ret)
		return ret;

	drm_info(&vdev->drm, "ABI %u.%u, VRAM %llu MiB (%llu visible), GTT %llu MiB\n",
		 vdev->abi >> 16, vdev->abi & 0xffff, vdev->vram_size >> 20,
		 vdev->vram_visible >> 20, vdev->gtt_size >> 20);
	return 0;
}

static void vttm_stop(struct pci_dev *pdev)
{
	struct vttm_device *vdev = pci_get_drvdata(pdev);

	/* If nobody has noticed yet. */
	if (vttm_hw_state(vdev) == VTTM_HW_GONE)
		vttm_hw_kill(vdev, "the device is gone");
	vttm_recover_stop(vdev);
	if (!drm_dev_is_unplugged(&vdev->drm))
		drm_dev_unplug(&vdev->drm);
	vttm_lost_stop(vdev);
	/* Rings and fault ring are freed next, and registers are unmapped. */
	vttm_power_stop(vdev);
	/* Who has it open keeps buffers and address spaces, but this bus is not theirs any more. */
	vttm_bo_detach_all(vdev);
	vttm_vm_detach_all(vdev);
	pci_clear_master(pdev);
}

/* All others go on, down to user space that has the device open, and there is no time for them. */
static void vttm_shutdown(struct pci_dev *pdev)
{
	vttm_power_shutdown(pci_get_drvdata(pdev));
}

static const struct pci_device_id vttm_ids[] = {
	{ PCI_DEVICE(VTTM_PCI_VENDOR_ID, VTTM_PCI_DEVICE_ID) },
	{ }
};
MODULE_DEVICE_TABLE(pci, vttm_ids);

static struct pci_driver vttm_pci_driver = {
	.name = "vttm",
	.id_table = vttm_ids,
	.probe = vttm_probe,
	.remove = vttm_stop,
	.shutdown = vttm_shutdown,
	.err_handler = &vttm_err_handlers,
	.driver.pm = pm_sleep_ptr(&vttm_pm_ops),
};
module_pci_driver(vttm_pci_driver);

MODULE_DESCRIPTION("virtual GPU for TTM");
MODULE_LICENSE("GPL");
