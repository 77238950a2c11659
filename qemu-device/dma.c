/*
 * vttm virtual GPU, PCI shim: guest memory for the model's worker threads
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Nothing here may take the big lock: resetting or destroying the model waits
 * for its workers while it is held. So a bus address is either plain RAM,
 * which can be mapped under RCU alone, or it is refused. Behind an IOMMU that
 * is not so: see iommu.c.
 */

#include "qemu/osdep.h"
#include "qemu/rcu.h"
#include "exec/cpu-common.h"
#include "exec/memory.h"
#include "hw/vttm/trace-hw_vttm.h"
#include "vttm.h"

static bool vttm_is_vram(VttmState *s, const void *ptr)
{
    const uint8_t *p = ptr;

    return p >= s->vram_ptr && p < s->vram_ptr + s->vram_size;
}

/*
 * True if the GPU may use the host memory at @ptr, which address_space_map()
 * gave: guest RAM, but not a ROM, and not memory of a passed-through device.
 */
static bool vttm_is_plain_ram(void *ptr)
{
    MemoryRegion *mr;
    ram_addr_t offset;

    RCU_READ_LOCK_GUARD();
    mr = memory_region_from_host(ptr, &offset);
    return mr && memory_region_is_ram(mr) && !mr->readonly &&
           !memory_region_is_ram_device(mr);
}

void *vttm_dma_map_now(VttmState *s, uint64_t addr, uint64_t *len, int is_write)
{
    AddressSpace *as = pci_get_address_space(PCI_DEVICE(s));
    hwaddr got = *len;
    const char *refused = NULL;
    void *ptr;

    /*
     * The address space allows no bounce buffer (vttm_realize), so this maps
     * RAM or fails; it never accesses MMIO, which would need the big lock.
     * While bus mastering is off, nothing is mapped there at all.
     */
    ptr = address_space_map(as, addr, &got, is_write, MEMTXATTRS_UNSPECIFIED);
    if (!ptr || !got) {
        trace_vttm_dma_refused(addr, *len, is_write, "no memory there");
        return NULL;
    }
    if (vttm_is_vram(s, ptr)) {
        refused = "own VRAM";
    } else if (!vttm_is_plain_ram(ptr)) {
        refused = "not plain RAM";
    }
    if (refused) {
        trace_vttm_dma_refused(addr, *len, is_write, refused);
        /* Nothing was written: neither dirties nor invalidates anything */
        address_space_unmap(as, ptr, got, false, 0);
        return NULL;
    }

    trace_vttm_dma_map(addr, *len, got, is_write);
    *len = got;
    return ptr;
}

void *vttm_dma_map(void *opaque, uint64_t addr, uint64_t *len, int is_write)
{
    VttmState *s = opaque;

    return qatomic_read(&s->iommu.present) ?
           vttm_iommu_map(s, addr, len, is_write) :
           vttm_dma_map_now(s, addr, len, is_write);
}

void vttm_dma_unmap(void *opaque, uint64_t addr, void *ptr, uint64_t len,
                    int is_write)
{
    VttmState *s = opaque;

    /* Sets dirty bits, and under TCG drops code translated from these pages */
    address_space_unmap(pci_get_address_space(PCI_DEVICE(s)), ptr, len,
                        is_write, is_write ? len : 0);
}

void vttm_vram_dirty(void *opaque, uint64_t offset, uint64_t len)
{
    VttmState *s = opaque;

    /*
     * memory_region_set_dirty() would mark translated code as stale without
     * dropping it; unmapping a written mapping does both.
     */
    while (len) {
        hwaddr got = len;
        void *ptr = address_space_map(&s->vram_as, offset, &got, true,
                                      MEMTXATTRS_UNSPECIFIED);

        if (!ptr || !got) {
            return; /* beyond VRAM: the model never asks for it */
        }
        address_space_unmap(&s->vram_as, ptr, got, true, got);
        offset += got;
        len -= got;
    }
}

void vttm_thread_enter(void *opaque)
{
    rcu_register_thread();
}

void vttm_thread_exit(void *opaque)
{
    rcu_unregister_thread();
}
