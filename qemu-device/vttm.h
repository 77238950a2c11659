/*
 * vttm virtual GPU, PCI shim: state shared by the files of this directory
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VTTM_VTTM_H
#define HW_VTTM_VTTM_H

#include "hw/pci/pci_device.h"
#include "host-backend/model/vttm_model.h"
#include "protocol/vttm_regs.h"
#include "migration/vmstate.h"
#include "qom/object.h"
#include "system/hostmem.h"

#define TYPE_VTTM "vttm"

/* VRAM and its visible part: see VTTM_REG_VRAM_SIZE_LO */
#define VTTM_VRAM_MIN (2 * MiB)

OBJECT_DECLARE_SIMPLE_TYPE(VttmState, VTTM)

typedef struct VttmLogKind {
    const char *name;
    const char *property;
    uint32_t magic;
    uint32_t version;
    uint32_t record_size;
} VttmLogKind;

/*
 * A log. Written by the model's worker threads, which must not take the big
 * lock: @lock protects all but @kind, @path, @max and @fd, which are set by
 * realize.
 */
typedef struct VttmLog {
    const VttmLogKind *kind;
    char *path;
    uint64_t max; /* bytes of the file; 0: no limit */
    int fd;
    QemuMutex lock;
    uint64_t size; /* bytes that the file has */
    bool failed;
    uint64_t lost; /* records that did not reach the file */
} VttmLog;

typedef struct VttmMapRequest VttmMapRequest;

/* What workers ask the big lock's holder for: see iommu.c */
typedef struct VttmIommu {
    bool present; /* changes only while the workers are at rest */
    QemuMutex lock; /* requests, and what they say */
    QemuCond changed;
    QSIMPLEQ_HEAD(, VttmMapRequest) requests;
    QEMUBH *bh;
    Notifier machine_done;
} VttmIommu;

/* VRAM that goes back to the host while the device sleeps: see vram.c */
typedef struct VttmVramFree {
    QemuThread thread;
    bool wanted;
    bool running; /* the thread; @done is its own then */
    bool stop;
    uint64_t done; /* bytes, from the start of VRAM */
} VttmVramFree;

struct VttmState {
    PCIDevice parent_obj;

    /* Properties */
    HostMemoryBackend *hostmem;
    uint64_t vram_visible; /* after a reset; then the BAR's size has it */
    uint64_t vram_target; /* until realize; then the model has it */
    uint32_t tlb_entries;
    char *fault_plan;     /* as it was set; NULL: none */
    VttmLog witness;
    VttmLog trace;

    /* BARs */
    MemoryRegion regs;
    MemoryRegion vram_bar;
    MemoryRegion vram_gone; /* what BAR2 shows of a removed device */
    MemoryRegion vram_alias;

    /* VRAM as the GPU sees it: all of it, whatever BAR2 shows */
    MemoryRegion *vram;
    MemoryRegion vram_root;
    AddressSpace vram_as;
    uint8_t *vram_ptr;
    uint64_t vram_size;

    vttm_model *model;
    bool paused;
    bool asleep; /* D3hot: the model is paused once more */
    uint8_t af_cap; /* offset of Advanced Features; 0 on PCI Express */

    VttmIommu iommu;
    VttmVramFree vram_free;

    /* Bitmap of MSI-X vectors to fire; set on any thread, taken by irq_bh */
    uint32_t irq_pending;
    uint32_t irq_now; /* of these, what irq_bh has taken and not yet sent */
    QEMUBH *irq_bh;
    QEMUBH *removed_bh;

    VMChangeStateEntry *vm_change;
    Error *migration_blocker; /* while a fault plan is set */
    bool vram_registered; /* VRAM migrates under our name */
    uint8_t *saved; /* of the model, while it is saved or loaded */
    uint32_t saved_size;
    uint32_t saved_irqs; /* irq_pending, likewise; not trusted */
};

/* dma.c: callbacks of the model, on its worker threads */
void *vttm_dma_map(void *opaque, uint64_t addr, uint64_t *len, int is_write);
void vttm_dma_unmap(void *opaque, uint64_t addr, void *ptr, uint64_t len,
                    int is_write);
void vttm_vram_dirty(void *opaque, uint64_t offset, uint64_t len);
/* ... under the big lock */
void *vttm_dma_map_now(VttmState *s, uint64_t addr, uint64_t *len,
                       int is_write);
void vttm_thread_enter(void *opaque);
void vttm_thread_exit(void *opaque);

/* vram.c */
void vttm_vram_given_up(void *opaque, uint64_t offset, uint64_t len);
void vttm_vram_free_begin(VttmState *s);
void vttm_vram_free_continue(VttmState *s);
void vttm_vram_free_pause(VttmState *s);
void vttm_vram_free_end(VttmState *s);

/* iommu.c */
void *vttm_iommu_map(VttmState *s, uint64_t addr, uint64_t *len, int is_write);
void vttm_iommu_wait(VttmState *s, vttm_model *model,
                     void (*fn)(vttm_model *model));
void vttm_iommu_look(VttmState *s);
void vttm_iommu_init(VttmState *s);
bool vttm_iommu_realize(VttmState *s, Error **errp);
void vttm_iommu_unrealize(VttmState *s);
void vttm_iommu_finalize(VttmState *s);

/* power.c */
bool vttm_power_init(VttmState *s, Error **errp);
void vttm_power_reset(VttmState *s);
void vttm_power_load(VttmState *s);
void vttm_config_write(PCIDevice *pdev, uint32_t addr, uint32_t val, int len);

/* faults.c */
bool vttm_is_removed(VttmState *s);
void vttm_removed(void *opaque, int gone);
void vttm_faults_realize(VttmState *s);
bool vttm_faults_start(VttmState *s, Error **errp);
void vttm_faults_unrealize(VttmState *s);
void vttm_faults_class_init(ObjectClass *klass);
uint32_t vttm_config_read(PCIDevice *pdev, uint32_t addr, int len);

/* vttm.c */
void vttm_irq_forget(VttmState *s);
/* ... what @get of the model writes */
char *vttm_get_json(VttmState *s,
                    size_t (*get)(vttm_model *, char *, size_t), Error **errp);

/* migration.c */
extern const VMStateDescription vttm_vmstate;

/* rebar.c */
void vttm_rebar_init(VttmState *s);
void vttm_rebar_exit(VttmState *s);
void vttm_rebar_show(VttmState *s, bool vram);
void vttm_rebar_reset(VttmState *s);
uint64_t vttm_rebar_saved(VttmState *s);
void vttm_rebar_load(VttmState *s, uint64_t size);
void vttm_rebar_write_config(VttmState *s, uint32_t addr, int len);

/* log.c */
extern const VttmLogKind vttm_witness_log;
extern const VttmLogKind vttm_trace_log;
void vttm_log_init(VttmLog *log, const VttmLogKind *kind);
bool vttm_log_open(VttmLog *log, Error **errp);
void vttm_log_close(VttmLog *log);
void vttm_log_finalize(VttmLog *log);
uint64_t vttm_log_lost(VttmLog *log);
void vttm_log_class_init(ObjectClass *klass);
/* Callbacks of the model, on its worker threads; the second on others, too */
void vttm_witness_append(void *opaque, const struct vttm_witness_record *rec,
                         size_t n);
void vttm_trace_append(void *opaque, const struct vttm_trace_record *rec);

#endif /* HW_VTTM_VTTM_H */
