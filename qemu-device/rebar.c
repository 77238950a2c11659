/*
 * vttm virtual GPU, PCI shim: BAR2, through which the CPU sees VRAM
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * On PCI Express the driver chooses how much of the VRAM BAR2 shows, from
 * VTTM_VRAM_MIN up to all of it. The property 'vram-visible' is what it shows
 * after a reset. QEMU's PCI core has no words for it, so we change the size of
 * the region that it knows. All of it runs under the big lock.
 */

#include "qemu/osdep.h"
#include "qemu/host-utils.h"
#include "qemu/range.h"
#include "qemu/units.h"
#include "hw/pci/pcie.h"
#include "hw/vttm/trace-hw_vttm.h"
#include "vttm.h"

#define VTTM_REBAR_OFFSET PCI_CONFIG_SPACE_SIZE
#define VTTM_REBAR_VERSION 1
#define VTTM_REBAR_SIZEOF (PCI_REBAR_CTRL + 4)
/* PCI_REBAR_CAP: bit 4 is 1 MiB; PCI_REBAR_CTRL: 0 is 1 MiB */
#define VTTM_REBAR_CAP_SHIFT 4
#define VTTM_BAR_OFFSET (PCI_BASE_ADDRESS_0 + 4 * VTTM_BAR_VRAM)

/* What BAR2 shows of a device that has left the bus */

static uint64_t vttm_gone_read(void *opaque, hwaddr offset, unsigned size)
{
    return UINT64_MAX;
}

static void vttm_gone_write(void *opaque, hwaddr offset, uint64_t value,
                            unsigned size)
{
}

static const MemoryRegionOps vttm_gone_ops = {
    .read = vttm_gone_read,
    .write = vttm_gone_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
    .impl = {
        .min_access_size = 1,
        .max_access_size = 8,
        .unaligned = true,
    },
};

void vttm_rebar_show(VttmState *s, bool vram)
{
    memory_region_set_enabled(&s->vram_alias, vram);
}

static uint64_t vttm_rebar_size(VttmState *s)
{
    return PCI_DEVICE(s)->io_regions[VTTM_BAR_VRAM].size;
}

/* The BAR is not mapped, or about to be unmapped; its address is forgotten. */
static void vttm_rebar_resize(VttmState *s, uint64_t size)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    PCIIORegion *region = &pdev->io_regions[VTTM_BAR_VRAM];

    pci_set_long_by_mask(pdev->config + VTTM_REBAR_OFFSET + PCI_REBAR_CTRL,
                         PCI_REBAR_CTRL_BAR_SIZE, ctz64(size / MiB));
    if (size == region->size) {
        return;
    }
    trace_vttm_vram_resize(region->size, size);
    region->size = size;
    memory_region_transaction_begin();
    memory_region_set_size(&s->vram_bar, size);
    memory_region_set_size(&s->vram_alias, size);
    memory_region_set_size(&s->vram_gone, size);
    memory_region_transaction_commit();
    pci_set_quad(pdev->wmask + VTTM_BAR_OFFSET, ~(size - 1));
    pci_set_quad(pdev->config + VTTM_BAR_OFFSET, region->type);
    vttm_model_set_vram_visible(s->model, size);
}

static void vttm_rebar_add_capability(VttmState *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    uint8_t *cap = pdev->config + VTTM_REBAR_OFFSET;
    uint64_t sizes = 2 * s->vram_size - VTTM_VRAM_MIN; /* a bit per size */

    pcie_add_capability(pdev, PCI_EXT_CAP_ID_REBAR, VTTM_REBAR_VERSION,
                        VTTM_REBAR_OFFSET, VTTM_REBAR_SIZEOF);
    pci_set_long(cap + PCI_REBAR_CAP, sizes / MiB << VTTM_REBAR_CAP_SHIFT);
    pci_set_long(cap + PCI_REBAR_CTRL,
                 VTTM_BAR_VRAM | 1 << PCI_REBAR_CTRL_NBAR_SHIFT);
    pci_set_long(pdev->wmask + VTTM_REBAR_OFFSET + PCI_REBAR_CTRL,
                 PCI_REBAR_CTRL_BAR_SIZE);
    vttm_rebar_resize(s, s->vram_visible);
}

void vttm_rebar_init(VttmState *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    Object *obj = OBJECT(s);

    memory_region_init(&s->vram_bar, obj, "vttm-vram-bar", s->vram_visible);
    /* Below the VRAM, and seen when that is off */
    memory_region_init_io(&s->vram_gone, obj, &vttm_gone_ops, s,
                          "vttm-vram-gone", s->vram_visible);
    memory_region_init_alias(&s->vram_alias, obj, "vttm-vram", s->vram, 0,
                             s->vram_visible);
    memory_region_add_subregion_overlap(&s->vram_bar, 0, &s->vram_gone, 0);
    memory_region_add_subregion_overlap(&s->vram_bar, 0, &s->vram_alias, 1);
    pci_register_bar(pdev, VTTM_BAR_VRAM,
                     PCI_BASE_ADDRESS_SPACE_MEMORY |
                     PCI_BASE_ADDRESS_MEM_TYPE_64 |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, &s->vram_bar);
    if (pci_is_express(pdev)) {
        vttm_rebar_add_capability(s);
    }
}

void vttm_rebar_exit(VttmState *s)
{
    if (memory_region_is_mapped(&s->vram_alias)) {
        /* They hold references to the device, which would never go */
        memory_region_del_subregion(&s->vram_bar, &s->vram_alias);
        memory_region_del_subregion(&s->vram_bar, &s->vram_gone);
    }
}

/* At each reset but the one by register: PCI core forgets the address next. */
void vttm_rebar_reset(VttmState *s)
{
    if (pci_is_express(PCI_DEVICE(s))) {
        vttm_rebar_resize(s, s->vram_visible);
    }
}

/*
 * What BAR2 has by a configuration space that was loaded and is not trusted;
 * without the capability, by the property. The model's bytes must say the same,
 * which also makes it a size that can be.
 */
uint64_t vttm_rebar_saved(VttmState *s)
{
    PCIDevice *pdev = PCI_DEVICE(s);

    if (!pci_is_express(pdev)) {
        return vttm_rebar_size(s);
    }
    return MiB << ((pci_get_long(pdev->config + VTTM_REBAR_OFFSET +
                                 PCI_REBAR_CTRL) &
                    PCI_REBAR_CTRL_BAR_SIZE) >> PCI_REBAR_CTRL_BAR_SHIFT);
}

/*
 * Behind a load of configuration space and model, which agree on @size; the BAR
 * has been mapped with the size that it had here before.
 */
void vttm_rebar_load(VttmState *s, uint64_t size)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    uint64_t address = pci_get_quad(pdev->config + VTTM_BAR_OFFSET);

    if (size == vttm_rebar_size(s)) {
        return;
    }
    vttm_rebar_resize(s, size);
    pci_set_quad(pdev->config + VTTM_BAR_OFFSET,
                 (address & ~(size - 1)) |
                 pdev->io_regions[VTTM_BAR_VRAM].type);
    /* Has PCI core map the BARs anew */
    pci_default_write_config(pdev, PCI_COMMAND,
                             pci_get_word(pdev->config + PCI_COMMAND), 2);
}

/*
 * Behind a write to configuration space. A size that is not offered is not
 * taken, nor is any while the BAR is decoded: the register shows what is true.
 */
void vttm_rebar_write_config(VttmState *s, uint32_t addr, int len)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    uint32_t ctrl = VTTM_REBAR_OFFSET + PCI_REBAR_CTRL;
    uint64_t size;

    if (!pci_is_express(pdev) || !ranges_overlap(addr, len, ctrl, 4)) {
        return;
    }
    size = MiB << ((pci_get_long(pdev->config + ctrl) &
                    PCI_REBAR_CTRL_BAR_SIZE) >> PCI_REBAR_CTRL_BAR_SHIFT);
    if (size < VTTM_VRAM_MIN || size > s->vram_size ||
        (pci_get_word(pdev->config + PCI_COMMAND) & PCI_COMMAND_MEMORY)) {
        size = vttm_rebar_size(s);
    }
    vttm_rebar_resize(s, size);
}
