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
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "exec/address-spaces.h"
#include "vttm.h"

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

/* Under the big lock and iommu->lock, which is released meanwhile */
static void vttm_iommu_serve(VttmState *s)
{
    VttmIommu *iommu = &s->iommu;
    VttmMapRequest *req;

    while ((req = QSIMPLEQ_FIRST(&iommu->requests))) {
        QSIMPLEQ_REMOVE_HEAD(&iommu->requests, next);
        qemu_mutex_unlock(&iommu->lock);
        req->ptr = vttm_dma_map_now(s, req->addr, req->len, req->is_write);
        qemu_mutex_lock(&iommu->lock);
        req->done = true;
        qemu_cond_broadcast(&iommu->changed);
    }
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

    call->fn(call->model);
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

void vttm_iommu_init(VttmState *s)
{
    qemu_mutex_init(&s->iommu.lock);
    qemu_cond_init(&s->iommu.changed);
    QSIMPLEQ_INIT(&s->iommu.requests);
}

void vttm_iommu_realize(VttmState *s)
{
    s->iommu.bh = qemu_bh_new(vttm_iommu_bh, s);
}

/* The model is gone, and with it all requests */
void vttm_iommu_unrealize(VttmState *s)
{
    if (s->iommu.bh) {
        qemu_bh_delete(s->iommu.bh);
        s->iommu.bh = NULL;
    }
    s->iommu.present = false;
}

void vttm_iommu_finalize(VttmState *s)
{
    qemu_cond_destroy(&s->iommu.changed);
    qemu_mutex_destroy(&s->iommu.lock);
}
