/*
 * vttm virtual GPU, PCI shim: migration and snapshots
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The GPU itself is a string of bytes that the model writes, checks and takes
 * back (docs/migration.md); VRAM is RAM like any other. The stream is not
 * trusted: whatever is wrong in it ends the load with a reason. The machine is
 * stopped when the state is saved or loaded, so the model is paused.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "hw/pci/msix.h"
#include "migration/qemu-file-types.h"
#include "migration/vmstate.h"
#include "hw/vttm/trace-hw_vttm.h"
#include "vttm.h"

/*
 * Of what is here. The model's bytes have a version of their own, which the
 * model checks.
 */
#define VTTM_VMSTATE_VERSION 1

static void vttm_forget_saved(VttmState *s)
{
    g_free(s->saved);
    s->saved = NULL;
    s->saved_size = 0;
}

static int vttm_pre_save(void *opaque)
{
    VttmState *s = opaque;
    char message[256] = "";
    size_t size;

    vttm_forget_saved(s);
    s->saved = g_malloc(VTTM_MODEL_STATE_MAX);
    size = vttm_model_save(s->model, s->saved, VTTM_MODEL_STATE_MAX, message,
                           sizeof(message));
    if (!size || size > VTTM_MODEL_STATE_MAX) {
        error_report("vttm: the GPU cannot be saved: %s",
                     size ? "its state is too long" : message);
        vttm_forget_saved(s);
        return -EINVAL;
    }
    s->saved_size = size;
    s->saved_irqs = qatomic_read(&s->irq_pending);
    trace_vttm_save(size);
    return 0;
}

static int vttm_post_save(void *opaque)
{
    vttm_forget_saved(opaque);
    return 0;
}

static int vttm_put_model(QEMUFile *f, void *pv, size_t unused,
                          const VMStateField *field, JSONWriter *vmdesc)
{
    VttmState *s = pv;

    qemu_put_be32(f, s->saved_size);
    qemu_put_buffer(f, s->saved, s->saved_size);
    return 0;
}

static int vttm_get_model(QEMUFile *f, void *pv, size_t unused,
                          const VMStateField *field)
{
    VttmState *s = pv;
    uint32_t size = qemu_get_be32(f);

    vttm_forget_saved(s);
    if (size > VTTM_MODEL_STATE_MAX) {
        error_report("vttm: the saved GPU has %" PRIu32 " bytes: at most %u "
                     "can be", size, VTTM_MODEL_STATE_MAX);
        return -EINVAL;
    }
    s->saved = g_malloc(size);
    s->saved_size = size;
    if (qemu_get_buffer(f, s->saved, size) != size) {
        error_report("vttm: the saved GPU ends early");
        return -EIO;
    }
    return 0;
}

static const VMStateInfo vttm_vmstate_model = {
    .name = "vttm model",
    .get = vttm_get_model,
    .put = vttm_put_model,
};

/*
 * All is checked before anything of it is taken. A load that is refused does
 * not end QEMU if it was that of a snapshot: what is left must be harmless.
 */
static int vttm_load(VttmState *s)
{
    uint64_t visible = vttm_rebar_saved(s);
    char message[512] = "";

    if (s->saved_irqs & ~MAKE_64BIT_MASK(0, VTTM_NUM_VECTORS)) {
        error_report("vttm: the saved GPU has interrupts 0x%" PRIx32 " under "
                     "way: it has %u", s->saved_irqs, VTTM_NUM_VECTORS);
        return -EINVAL;
    }
    if (vttm_model_restore(s->model, s->saved, s->saved_size, &visible,
                           message, sizeof(message)) < 0) {
        error_report("vttm: the saved GPU is refused: %s", message);
        return -EINVAL;
    }
    vttm_rebar_load(s, visible);
    qatomic_set(&s->irq_pending, s->saved_irqs);
    vttm_power_load(s);
    trace_vttm_load(s->saved_size);
    return 0;
}

static int vttm_post_load(void *opaque, int version_id)
{
    VttmState *s = opaque;
    uint64_t kept;
    int ret = vttm_load(s);

    vttm_forget_saved(s);
    if (!ret) {
        /* What has come for VRAM that is not there: all zeroes, or old */
        kept = s->asleep ? 0 : vttm_model_vram_limit(s->model);
        if (kept < s->vram_size) {
            vttm_vram_given_up(s, kept, s->vram_size - kept);
        }
    }
    return ret;
}

const VMStateDescription vttm_vmstate = {
    .name = TYPE_VTTM,
    .version_id = VTTM_VMSTATE_VERSION,
    .minimum_version_id = VTTM_VMSTATE_VERSION,
    .pre_save = vttm_pre_save,
    .post_save = vttm_post_save,
    .post_load = vttm_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, VttmState),
        VMSTATE_MSIX(parent_obj, VttmState),
        VMSTATE_UINT32(saved_irqs, VttmState),
        {
            .name = "model",
            .info = &vttm_vmstate_model,
            .flags = VMS_SINGLE,
        },
        VMSTATE_END_OF_LIST()
    },
};
