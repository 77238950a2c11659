/*
 * vttm virtual GPU, PCI shim: faults that the host orders
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The property 'fault-plan' hands a plan to the model, which makes the faults
 * and tells of them in 'faults'. What a plan can do to the bus is here: the
 * device may leave it, and then reads as all ones wherever a guest looks. The
 * model answers so for the registers, rebar.c for VRAM, this file for
 * configuration space.
 */

#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/main-loop.h"
#include "qapi/error.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "qobject/qlist.h"
#include "migration/blocker.h"
#include "hw/vttm/trace-hw_vttm.h"
#include "vttm.h"

bool vttm_is_removed(VttmState *s)
{
    return s->model && vttm_model_removed(s->model);
}

uint32_t vttm_config_read(PCIDevice *pdev, uint32_t addr, int len)
{
    if (vttm_is_removed(VTTM(pdev))) {
        return MAKE_64BIT_MASK(0, len * 8);
    }
    return pci_default_read_config(pdev, addr, len);
}

/* Callback of the model, on any thread */
void vttm_removed(void *opaque, int gone)
{
    VttmState *s = opaque;

    trace_vttm_removed(gone);
    qemu_bh_schedule(s->removed_bh);
}

static void vttm_follow_removal(void *opaque)
{
    VttmState *s = opaque;

    vttm_rebar_show(s, !vttm_model_removed(s->model));
}

/* A plan's state is the host's, of this process: it does not go elsewhere. */
static bool vttm_block_migration(VttmState *s, Error **errp)
{
    if (s->migration_blocker) {
        return true;
    }
    error_setg(&s->migration_blocker, "vttm: a fault plan is in force, and "
               "cannot be saved or migrated: set 'fault-plan' to \"\" first");
    return migrate_add_blocker(&s->migration_blocker, errp) == 0;
}

/* Whether a plan has no fault. What is wrong with one, the model has to say. */
static bool vttm_is_empty_plan(const char *plan)
{
    QObject *obj;
    QDict *dict;
    QList *faults;
    bool empty;

    if (!plan[strspn(plan, " \t\r\n")]) {
        return true;
    }
    obj = qobject_from_json(plan, NULL);
    dict = qobject_to(QDict, obj);
    faults = dict ? qobject_to(QList, qdict_get(dict, "faults")) : NULL;
    empty = faults && qlist_empty(faults);
    qobject_unref(obj);
    return empty;
}

static bool vttm_apply_fault_plan(VttmState *s, const char *plan, Error **errp)
{
    char message[512] = "";
    int ret;

    if (!vttm_is_empty_plan(plan) && !vttm_block_migration(s, errp)) {
        return false;
    }

    /* All that the model waits for then is at rest already */
    vttm_iommu_wait(s, s->model, vttm_model_pause);
    ret = vttm_model_set_fault_plan(s->model, plan, message, sizeof(message));
    vttm_model_resume(s->model);
    /* A plan without a fault is none; one that is refused leaves the last */
    if (!vttm_model_has_fault_plan(s->model)) {
        migrate_del_blocker(&s->migration_blocker);
    }
    if (ret < 0) {
        error_setg(errp, "vttm: 'fault-plan': %s", message);
        return false;
    }
    trace_vttm_fault_plan(plan);
    return true;
}

/* Before the model is created */
void vttm_faults_realize(VttmState *s)
{
    s->removed_bh = qemu_bh_new_guarded(vttm_follow_removal, s,
                                        &DEVICE(s)->mem_reentrancy_guard);
}

/* At the end of realize: a plan that was there before the device */
bool vttm_faults_start(VttmState *s, Error **errp)
{
    return !s->fault_plan || vttm_apply_fault_plan(s, s->fault_plan, errp);
}

/* The model is gone */
void vttm_faults_unrealize(VttmState *s)
{
    if (s->removed_bh) {
        qemu_bh_delete(s->removed_bh);
        s->removed_bh = NULL;
    }
    migrate_del_blocker(&s->migration_blocker);
}

static char *vttm_get_faults(Object *obj, Error **errp)
{
    return vttm_get_json(VTTM(obj), vttm_model_faults_json, errp);
}

static char *vttm_get_fault_plan(Object *obj, Error **errp)
{
    VttmState *s = VTTM(obj);

    return g_strdup(s->fault_plan ? s->fault_plan : "");
}

static void vttm_set_fault_plan(Object *obj, const char *plan, Error **errp)
{
    VttmState *s = VTTM(obj);

    /* Before realize it is only kept, and checked when the model is there */
    if (s->model && !vttm_apply_fault_plan(s, plan, errp)) {
        return;
    }
    g_free(s->fault_plan);
    s->fault_plan = g_strdup(plan);
}

void vttm_faults_class_init(ObjectClass *klass)
{
    object_class_property_add_str(klass, "fault-plan", vttm_get_fault_plan,
                                  vttm_set_fault_plan);
    object_class_property_set_description(klass, "fault-plan",
        "What shall go wrong (a JSON object, see docs/faults.md; empty: nothing)");
    object_class_property_add_str(klass, "faults", vttm_get_faults, NULL);
    object_class_property_set_description(klass, "faults",
        "What the fault plan has done (a JSON object)");
}
