/*
 * vttm virtual GPU, PCI shim: the PCI device
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The GPU itself is a library, the model (host-backend/model/vttm_model.h).
 * This device gives it a place on the PCI bus: registers are forwarded from
 * BAR0, VRAM is a host memory backend behind BAR2, interrupts go out by MSI-X.
 *
 * Locking. Register accesses, reset, VM state changes and unrealize run under
 * the big lock and may wait for the model's workers; callbacks from the workers
 * therefore never take it. See README.md of this directory.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/host-utils.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "hw/pci/msix.h"
#include "hw/qdev-properties.h"
#include "hw/resettable.h"
#include "system/runstate.h"
#include "hw/vttm/trace-hw_vttm.h"
#include "vttm.h"

#define VTTM_TLB_ENTRIES (1u << 20)
#define VTTM_TLB_ENTRIES_MAX (1u << 24)
/* A guest shall not fill the host's disk, and a long test shall fit */
#define VTTM_LOG_MAX (16 * GiB)
/* 'vram-target' was not set */
#define VTTM_VRAM_ALL UINT64_MAX

QEMU_BUILD_BUG_ON(VTTM_PCI_VENDOR_ID != PCI_VENDOR_ID_REDHAT);
QEMU_BUILD_BUG_ON(VTTM_NUM_VECTORS > 32); /* irq_pending */

/* Registers (BAR0): the model knows their rules, odd accesses included */

static uint64_t vttm_regs_read(void *opaque, hwaddr offset, unsigned size)
{
    VttmState *s = opaque;
    uint64_t value;

    if (!s->model) {
        return 0; /* a vCPU that was on its way here during unplug */
    }
    value = vttm_model_mmio_read(s->model, offset, size);
    trace_vttm_mmio_read(offset, size, value);
    return value;
}

static void vttm_regs_write(void *opaque, hwaddr offset, uint64_t value,
                            unsigned size)
{
    VttmState *s = opaque;

    if (!s->model) {
        return;
    }
    trace_vttm_mmio_write(offset, size, value);
    vttm_model_mmio_write(s->model, offset, value, size);
}

static const MemoryRegionOps vttm_regs_ops = {
    .read = vttm_regs_read,
    .write = vttm_regs_write,
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

/* Interrupts: raised on any thread, delivered by a bottom half */

static void vttm_irq_raise(void *opaque, unsigned vector)
{
    VttmState *s = opaque;

    trace_vttm_irq_raise(vector);
    qatomic_or(&s->irq_pending, BIT(vector));
    qemu_bh_schedule(s->irq_bh);
}

static void vttm_unref(void *opaque)
{
    object_unref(OBJECT(opaque));
}

static void vttm_irq_deliver(void *opaque)
{
    VttmState *s = opaque;

    s->irq_now = qatomic_xchg(&s->irq_pending, 0) &
                 MAKE_64BIT_MASK(0, VTTM_NUM_VECTORS);
    if (s->asleep) {
        s->irq_now = 0;
        return; /* a new VRAM target: the driver asks for it after the reset */
    }
    trace_vttm_irq_deliver(s->irq_now);
    /*
     * A message goes where the guest says. If that is configuration space, it
     * may put the function to sleep, reset it, or unplug it: then the others
     * are not sent, and we must be there until this is over.
     */
    object_ref(OBJECT(s));
    while (s->irq_now) {
        unsigned vector = ctz32(s->irq_now);

        s->irq_now &= s->irq_now - 1;
        /* A masked vector is kept in the PBA by msix_notify() */
        msix_notify(PCI_DEVICE(s), vector);
    }
    if (s->irq_bh) {
        object_unref(OBJECT(s));
    } else {
        /* Who has called us has yet to look at our reentrancy guard */
        aio_bh_schedule_oneshot(qemu_get_aio_context(), vttm_unref, s);
    }
}

/* The workers are at rest: what they have raised belongs to the past */
void vttm_irq_forget(VttmState *s)
{
    qemu_bh_cancel(s->irq_bh);
    qatomic_set(&s->irq_pending, 0);
    s->irq_now = 0;
}

/* Life of the virtual machine */

static void vttm_set_paused(VttmState *s, bool paused)
{
    if (paused == s->paused) {
        return;
    }
    s->paused = paused;
    if (paused) {
        vttm_iommu_wait(s, s->model, vttm_model_pause);
        vttm_vram_free_pause(s);
    } else {
        vttm_vram_free_continue(s);
        if (qatomic_read(&s->irq_pending)) {
            qemu_bh_schedule(s->irq_bh); /* it came with a saved GPU */
        }
        vttm_model_resume(s->model);
    }
}

static void vttm_vm_change(void *opaque, bool running, RunState state)
{
    vttm_set_paused(opaque, !running);
}

static void vttm_reset_hold(Object *obj, ResetType type)
{
    VttmState *s = VTTM(obj);

    trace_vttm_reset();
    vttm_iommu_wait(s, s->model, vttm_model_reset);
    vttm_iommu_look(s);
    vttm_irq_forget(s);
    vttm_power_reset(s);
    vttm_rebar_reset(s);
}

/* Realize and its inverse */

static bool vttm_check_vram(VttmState *s, Error **errp)
{
    g_autofree char *name = NULL;

    if (!s->hostmem) {
        error_setg(errp, "vttm: property 'vram' is missing: it names the "
                   "memory backend that holds the VRAM, "
                   "as in -object memory-backend-memfd,id=vram0,size=256M "
                   "-device vttm,vram=vram0");
        return false;
    }
    name = host_memory_backend_get_name(s->hostmem);
    if (host_memory_backend_is_mapped(s->hostmem)) {
        error_setg(errp, "vttm: memory backend '%s' is already in use", name);
        return false;
    }

    s->vram = host_memory_backend_get_memory(s->hostmem);
    s->vram_size = memory_region_size(s->vram);
    if (!qemu_ram_is_shared(s->vram->ram_block)) {
        error_setg(errp, "vttm: memory backend '%s' is private: "
                   "VRAM needs share=on", name);
        return false;
    }
    if (s->vram_size < VTTM_VRAM_MIN || !is_power_of_2(s->vram_size)) {
        error_setg(errp, "vttm: memory backend '%s' has %" PRIu64 " bytes: "
                   "VRAM must be a power of two and at least %" PRIu64 " bytes",
                   name, s->vram_size, (uint64_t)VTTM_VRAM_MIN);
        return false;
    }
    if (!s->vram_visible) {
        s->vram_visible = s->vram_size;
    }
    if (s->vram_visible < VTTM_VRAM_MIN || !is_power_of_2(s->vram_visible) ||
        s->vram_visible > s->vram_size) {
        error_setg(errp, "vttm: 'vram-visible' is %" PRIu64 " bytes: "
                   "it must be a power of two from %" PRIu64 " to %" PRIu64
                   " (the size of '%s')", s->vram_visible,
                   (uint64_t)VTTM_VRAM_MIN, s->vram_size, name);
        return false;
    }
    return true;
}

static bool vttm_apply_vram_target(VttmState *s, uint64_t bytes, Error **errp)
{
    if (vttm_model_set_vram_target(s->model, bytes) < 0) {
        error_setg(errp, "vttm: 'vram-target' is %" PRIu64 " bytes: it must be "
                   "a multiple of %" PRIu64 " up to the size of the VRAM (%"
                   PRIu64 ")", bytes, (uint64_t)VTTM_VRAM_LIMIT_UNIT,
                   s->vram_size);
        return false;
    }
    trace_vttm_vram_target(bytes);
    return true;
}

static bool vttm_create_model(VttmState *s, Error **errp)
{
    const struct vttm_model_config config = {
        .api = VTTM_MODEL_API,
        .tlb_entries = s->tlb_entries,
        .vram = s->vram_ptr,
        .vram_size = s->vram_size,
        .vram_visible = s->vram_visible,
    };
    const struct vttm_model_ops ops = {
        .dma_map = vttm_dma_map,
        .dma_unmap = vttm_dma_unmap,
        .irq = vttm_irq_raise,
        .vram_dirty = vttm_vram_dirty,
        .vram_given_up = vttm_vram_given_up,
        .removed = vttm_removed,
        .witness = s->witness.path ? vttm_witness_append : NULL,
        .trace = s->trace.path ? vttm_trace_append : NULL,
        .thread_enter = vttm_thread_enter,
        .thread_exit = vttm_thread_exit,
    };
    char message[256] = "";

    s->model = vttm_model_create(&config, &ops, s, message, sizeof(message));
    if (!s->model) {
        error_setg(errp, "vttm: the GPU model refused to start: %s", message);
        return false;
    }
    return s->vram_target == VTTM_VRAM_ALL ||
           vttm_apply_vram_target(s, s->vram_target, errp);
}

/* Undoes vttm_realize(), also one that stopped half way. */
static void vttm_exit(PCIDevice *pdev)
{
    VttmState *s = VTTM(pdev);

    if (s->vm_change) {
        qemu_del_vm_change_state_handler(s->vm_change);
        s->vm_change = NULL;
    }
    if (s->model) {
        vttm_model *model = s->model;

        s->model = NULL;
        vttm_iommu_wait(s, model, vttm_model_destroy);
    }
    vttm_vram_free_end(s);
    vttm_iommu_unrealize(s);
    vttm_faults_unrealize(s);
    if (s->irq_bh) {
        qemu_bh_delete(s->irq_bh);
        s->irq_bh = NULL;
        s->irq_pending = 0;
        s->irq_now = 0;
    }
    vttm_rebar_exit(s);
    if (s->vram_registered) {
        vmstate_unregister_ram(s->vram, DEVICE(s));
        s->vram_registered = false;
    }
    if (s->vram_ptr) {
        address_space_destroy(&s->vram_as);
        host_memory_backend_set_mapped(s->hostmem, false);
        s->vram_ptr = NULL;
    }
    s->paused = false;
    s->asleep = false;
    msix_uninit_exclusive_bar(pdev);
    vttm_log_close(&s->witness);
    vttm_log_close(&s->trace);
}

static bool vttm_try_realize(VttmState *s, Error **errp)
{
    PCIDevice *pdev = PCI_DEVICE(s);
    Object *obj = OBJECT(s);
    unsigned vector;

    if (!s->tlb_entries || s->tlb_entries > VTTM_TLB_ENTRIES_MAX) {
        error_setg(errp, "vttm: 'tlb-entries' is %" PRIu32 ": it must be from "
                   "1 to %u", s->tlb_entries, VTTM_TLB_ENTRIES_MAX);
        return false;
    }
    if (!vttm_check_vram(s, errp) || !vttm_log_open(&s->witness, errp) ||
        !vttm_log_open(&s->trace, errp)) {
        return false;
    }
    if (msix_init_exclusive_bar(pdev, VTTM_NUM_VECTORS, VTTM_BAR_MSIX,
                                errp) < 0) {
        return false;
    }
    for (vector = 0; vector < VTTM_NUM_VECTORS; vector++) {
        msix_vector_use(pdev, vector);
    }

    /* DMA maps RAM or fails: see vttm_dma_map() */
    pdev->max_bounce_buffer_size = 0;
    pci_get_address_space(pdev)->max_bounce_buffer_size = 0;

    s->vram_ptr = memory_region_get_ram_ptr(s->vram);
    host_memory_backend_set_mapped(s->hostmem, true);
    vmstate_register_ram(s->vram, DEVICE(s));
    s->vram_registered = true;
    memory_region_init_alias(&s->vram_root, obj, "vttm-vram-root", s->vram, 0,
                             s->vram_size);
    address_space_init(&s->vram_as, &s->vram_root, "vttm-vram");

    s->irq_bh = qemu_bh_new_guarded(vttm_irq_deliver, s,
                                    &DEVICE(s)->mem_reentrancy_guard);
    vttm_faults_realize(s);
    if (!vttm_iommu_realize(s, errp) || !vttm_create_model(s, errp)) {
        return false;
    }
    vttm_set_paused(s, !runstate_is_running());
    s->vm_change = qdev_add_vm_change_state_handler(DEVICE(s), vttm_vm_change,
                                                    s);

    memory_region_init_io(&s->regs, obj, &vttm_regs_ops, s, "vttm-regs",
                          VTTM_REGS_SIZE);
    pci_register_bar(pdev, VTTM_BAR_REGS, PCI_BASE_ADDRESS_SPACE_MEMORY,
                     &s->regs);
    vttm_rebar_init(s);
    return vttm_faults_start(s, errp);
}

static void vttm_realize(PCIDevice *pdev, Error **errp)
{
    VttmState *s = VTTM(pdev);

    if (!vttm_power_init(s, errp) || !vttm_try_realize(s, errp)) {
        vttm_exit(pdev);
    }
}

/* Properties and type */

char *vttm_get_json(VttmState *s,
                    size_t (*get)(vttm_model *, char *, size_t), Error **errp)
{
    g_autofree char *json = NULL;
    size_t size = 0;
    size_t need;

    if (!s->model) {
        error_setg(errp, "vttm: the device is not realized");
        return NULL;
    }
    /* Counters grow while we look, so the length may, too */
    while ((need = get(s->model, json, size)) >= size) {
        size = need + 64;
        json = g_realloc(json, size);
    }
    return g_steal_pointer(&json);
}

static char *vttm_get_stats(Object *obj, Error **errp)
{
    return vttm_get_json(VTTM(obj), vttm_model_stats_json, errp);
}

static void vttm_get_vram_target(Object *obj, Visitor *v, const char *name,
                                 void *opaque, Error **errp)
{
    VttmState *s = VTTM(obj);
    uint64_t target = s->model ? vttm_model_vram_target(s->model) :
                                 s->vram_target;

    visit_type_size(v, name, &target, errp);
}

static void vttm_set_vram_target(Object *obj, Visitor *v, const char *name,
                                 void *opaque, Error **errp)
{
    VttmState *s = VTTM(obj);
    uint64_t target;

    if (!visit_type_size(v, name, &target, errp)) {
        return;
    }
    if (!s->model) {
        s->vram_target = target; /* checked when the size is known */
        return;
    }
    vttm_apply_vram_target(s, target, errp);
}

static void vttm_get_vram_limit(Object *obj, Visitor *v, const char *name,
                                void *opaque, Error **errp)
{
    VttmState *s = VTTM(obj);
    uint64_t limit = s->model ? vttm_model_vram_limit(s->model) : 0;

    visit_type_size(v, name, &limit, errp);
}

static const Property vttm_properties[] = {
    DEFINE_PROP_LINK("vram", VttmState, hostmem, TYPE_MEMORY_BACKEND,
                     HostMemoryBackend *),
    DEFINE_PROP_SIZE("vram-visible", VttmState, vram_visible, 0),
    DEFINE_PROP_UINT32("tlb-entries", VttmState, tlb_entries,
                       VTTM_TLB_ENTRIES),
    DEFINE_PROP_STRING("witness-log", VttmState, witness.path),
    DEFINE_PROP_SIZE("witness-log-max", VttmState, witness.max, VTTM_LOG_MAX),
    DEFINE_PROP_STRING("trace-log", VttmState, trace.path),
    DEFINE_PROP_SIZE("trace-log-max", VttmState, trace.max, VTTM_LOG_MAX),
};

static void vttm_instance_init(Object *obj)
{
    VttmState *s = VTTM(obj);

    vttm_log_init(&s->witness, &vttm_witness_log);
    vttm_log_init(&s->trace, &vttm_trace_log);
    vttm_iommu_init(s);
    s->vram_target = VTTM_VRAM_ALL;
    /* Must be known before realize: the size of config space follows */
    PCI_DEVICE(obj)->cap_present |= QEMU_PCI_CAP_EXPRESS;
}

static void vttm_instance_finalize(Object *obj)
{
    VttmState *s = VTTM(obj);

    vttm_iommu_finalize(s);
    vttm_log_finalize(&s->witness);
    vttm_log_finalize(&s->trace);
    g_free(s->fault_plan);
    g_free(s->saved);
}

static void vttm_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(klass);
    ResettableClass *rc = RESETTABLE_CLASS(klass);

    pc->realize = vttm_realize;
    pc->exit = vttm_exit;
    pc->config_read = vttm_config_read;
    pc->config_write = vttm_config_write;
    pc->vendor_id = VTTM_PCI_VENDOR_ID;
    pc->device_id = VTTM_PCI_DEVICE_ID;
    pc->revision = VTTM_PCI_REVISION;
    pc->class_id = PCI_CLASS_DISPLAY_OTHER;
    rc->phases.hold = vttm_reset_hold;
    dc->desc = "Virtual GPU for TTM";
    set_bit(DEVICE_CATEGORY_DISPLAY, dc->categories);
    dc->vmsd = &vttm_vmstate;
    device_class_set_props(dc, vttm_properties);
    object_class_property_set_description(klass, "vram",
        "Memory backend that is the VRAM (share=on, a power of two)");
    object_class_property_set_description(klass, "vram-visible",
        "Bytes of VRAM in BAR2 after a reset, a power of two (0: all)");

    object_class_property_set_description(klass, "tlb-entries",
        "Leaves that each engine's TLB holds (1 to 16777216)");

    object_class_property_add_str(klass, "stats", vttm_get_stats, NULL);
    object_class_property_set_description(klass, "stats",
        "Counters of the GPU model (a JSON object)");
    vttm_faults_class_init(klass);
    vttm_log_class_init(klass);
    object_class_property_add(klass, "vram-target", "size",
                              vttm_get_vram_target, vttm_set_vram_target,
                              NULL, NULL);
    object_class_property_set_description(klass, "vram-target",
        "Bytes of VRAM that the guest is asked to make do with");
    object_class_property_add(klass, "vram-limit", "size",
                              vttm_get_vram_limit, NULL, NULL, NULL);
    object_class_property_set_description(klass, "vram-limit",
        "Bytes of VRAM that the guest has kept; the rest is given back");
}

static const TypeInfo vttm_type = {
    .name = TYPE_VTTM,
    .parent = TYPE_PCI_DEVICE,
    .instance_size = sizeof(VttmState),
    .instance_init = vttm_instance_init,
    .instance_finalize = vttm_instance_finalize,
    .class_init = vttm_class_init,
    .interfaces = (InterfaceInfo[]) {
        { INTERFACE_PCIE_DEVICE },
        { INTERFACE_CONVENTIONAL_PCI_DEVICE },
        { },
    },
};

static void vttm_register_types(void)
{
    type_register_static(&vttm_type);
}

type_init(vttm_register_types)
