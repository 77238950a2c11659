/*
 * vttm virtual GPU, PCI shim: guest memory behind an IOMMU
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * An IOMMU translates each access anew, so what the guest unmaps is gone with
 * the next access. But a translation that fails makes the IOMMU interrupt the
 * guest, for which QEMU wants the big lock, and the model's workers must not
 * wait for that. So they put a request into a queue, and wait. Who holds the
 * big lock serves it: a bottom half, or, if that lock's holder waits for the
 * workers himself, he while he waits (vttm_iommu_wait()).
 *
 * That interrupt must not come back to us while a request is served: a reset
 * would wait for the worker that waits for just this request. VT-d hands its
 * interrupts to the APICs; other IOMMUs write them to memory, wherever the
 * guest says, be it our configuration space. So those are refused.
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "system/system.h"
#include "hw/vttm/trace-hw_vttm.h"
#include "vttm.h"

#define VTTM_IOMMU "intel-iommu"

struct VttmMapRequest {
    uint64_t addr;
    uint64_t *len;
    int is_write;
    void *ptr;
    bool done;
    QSIMPLEQ_ENTRY(VttmMapRequest) next;
};

/* A worker's: returns when its request was served */
void *vttm_iommu_map(VttmState *s, uint64_t addr, uint64_t *len, int is_write)
{
    VttmIommu *iommu = &s->iommu;
    VttmMapRequest req = { .addr = addr, .len = len, .is_write = is_write };

    qemu_mutex_lock(&iommu->lock);
    QSIMPLEQ_INSERT_TAIL(&iommu->requests, &req, next);
    qemu_bh_schedule(iommu->bh);
    qemu_cond_broadcast(&iommu->changed);
    while (!req.done) {
        qemu_cond_wait(&iommu->changed, &iommu->lock);
    }
    qemu_mutex_unlock(&iommu->lock);
    return req.ptr;
}

/*
 * Under the big lock and iommu->lock, which is released meanwhile. Serves what
 * is there on entry: workers who are quick with their next request shall not
 * keep the main loop here.
 */
static void vttm_iommu_serve(VttmState *s)
{
    VttmIommu *iommu = &s->iommu;
    QSIMPLEQ_HEAD(, VttmMapRequest) batch = QSIMPLEQ_HEAD_INITIALIZER(batch);
    VttmMapRequest *req;
    unsigned served = 0;

    QSIMPLEQ_CONCAT(&batch, &iommu->requests);
    while ((req = QSIMPLEQ_FIRST(&batch))) {
        QSIMPLEQ_REMOVE_HEAD(&batch, next);
        qemu_mutex_unlock(&iommu->lock);
        req->ptr = vttm_dma_map_now(s, req->addr, req->len, req->is_write);
        qemu_mutex_lock(&iommu->lock);
        req->done = true;
        qemu_cond_broadcast(&iommu->changed);
        served++;
    }
    trace_vttm_iommu_serve(served);
}

static void vttm_iommu_bh(void *opaque)
{
    VttmState *s = opaque;

    QEMU_LOCK_GUARD(&s->iommu.lock);
    vttm_iommu_serve(s);
}

typedef struct VttmCall {
    VttmIommu *iommu;
    void (*fn)(vttm_model *model);
    vttm_model *model;
    bool done;
} VttmCall;

static void *vttm_call_thread(void *opaque)
{
    VttmCall *call = opaque;

    rcu_register_thread(); /* the model does some of the workers' work here */
    call->fn(call->model);
    rcu_unregister_thread();
    qemu_mutex_lock(&call->iommu->lock);
    call->done = true;
    qemu_cond_broadcast(&call->iommu->changed);
    qemu_mutex_unlock(&call->iommu->lock);
    return NULL;
}

/*
 * Calls @fn, which waits for the model's workers, under the big lock. Behind an
 * IOMMU that is done by another thread, and this one serves the workers.
 */
void vttm_iommu_wait(VttmState *s, vttm_model *model,
                     void (*fn)(vttm_model *model))
{
    VttmIommu *iommu = &s->iommu;
    VttmCall call = { .iommu = iommu, .fn = fn, .model = model };
    QemuThread thread;

    if (!qatomic_read(&iommu->present)) {
        fn(model);
        return;
    }
    qemu_thread_create(&thread, "vttm-wait", vttm_call_thread, &call,
                       QEMU_THREAD_JOINABLE);
    qemu_mutex_lock(&iommu->lock);
    while (!call.done) {
        if (QSIMPLEQ_EMPTY(&iommu->requests)) {
            qemu_cond_wait(&iommu->changed, &iommu->lock);
        } else {
            vttm_iommu_serve(s);
        }
    }
    qemu_mutex_unlock(&iommu->lock);
    qemu_thread_join(&thread);
}

/*
 * At reset, with the workers at rest: only now is it known whether there is an
 * IOMMU, which may come behind the device on the command line.
 */
void vttm_iommu_look(VttmState *s)
{
    AddressSpace *as = pci_device_iommu_address_space(PCI_DEVICE(s));

    qatomic_set(&s->iommu.present, as != &address_space_memory);
}

static bool vttm_iommu_check(VttmState *s, Error **errp)
{
    AddressSpace *as = pci_device_iommu_address_space(PCI_DEVICE(s));
    Object *owner;

    if (as == &address_space_memory) {
        return true;
    }
    owner = memory_region_owner(as->root);
    if (owner && object_dynamic_cast(owner, VTTM_IOMMU)) {
        return true;
    }
    error_setg(errp, "vttm: the device cannot be behind the IOMMU '%s': only "
               VTTM_IOMMU " is supported",
               owner ? object_get_typename(owner) : "(unknown)");
    return false;
}

/* All devices of the command line are there */
static void vttm_iommu_machine_done(Notifier *notifier, void *unused)
{
    VttmState *s = container_of(notifier, VttmState, iommu.machine_done);

    vttm_iommu_check(s, &error_fatal);
}

void vttm_iommu_init(VttmState *s)
{
    qemu_mutex_init(&s->iommu.lock);
    qemu_cond_init(&s->iommu.changed);
    QSIMPLEQ_INIT(&s->iommu.requests);
}

bool vttm_iommu_realize(VttmState *s, Error **errp)
{
    if (phase_check(PHASE_MACHINE_READY)) {
        if (!vttm_iommu_check(s, errp)) {
            return false;
        }
    } else {
        s->iommu.machine_done.notify = vttm_iommu_machine_done;
        qemu_add_machine_init_done_notifier(&s->iommu.machine_done);
    }
    s->iommu.bh = qemu_bh_new(vttm_iommu_bh, s);
    return true;
}

/* The model is gone, and with it all requests */
void vttm_iommu_unrealize(VttmState *s)
{
    if (s->iommu.bh) {
        qemu_bh_delete(s->iommu.bh);
        s->iommu.bh = NULL;
    }
    if (s->iommu.machine_done.notify) {
        qemu_remove_machine_init_done_notifier(&s->iommu.machine_done);
        s->iommu.machine_done.notify = NULL;
    }
    s->iommu.present = false;
}

void vttm_iommu_finalize(VttmState *s)
{
    qemu_cond_destroy(&s->iommu.changed);
    qemu_mutex_destroy(&s->iommu.lock);
}
