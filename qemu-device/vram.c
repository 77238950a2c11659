/*
 * vttm virtual GPU, PCI shim: memory of VRAM that is given back to the host
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The guest gives up a part of VRAM (VTTM_REG_VRAM_LIMIT, at most
 * VTTM_VRAM_LIMIT_STEP at once), or puts the device to sleep, which loses all
 * of it. To free memory takes time in proportion to what was used, and a guest
 * shall not make QEMU's main loop wait for gigabytes. So of a sleeping device's
 * VRAM the first step is freed at once, the rest by a thread, without the big
 * lock. Waking ends the thread after its present step: what has not been freed
 * by then stays, and keeps its bytes, which mean nothing to anyone.
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/rcu.h"
#include "hw/vttm/trace-hw_vttm.h"
#include "vttm.h"

/* Under the big lock, or on the thread: frees at most some 64 MiB */
void vttm_vram_given_up(void *opaque, uint64_t offset, uint64_t len)
{
    VttmState *s = opaque;
    int ret = 0;

    trace_vttm_vram_given_up(offset, len);
    /* Memory that something else relies on (VFIO, say) stays where it is */
    if (!ram_block_discard_is_disabled()) {
        ret = ram_block_discard_range(s->vram->ram_block, offset, len);
    }
    if (ret) {
        warn_report_once("vttm: memory of VRAM that the guest gave up cannot "
                         "be freed: %s", strerror(-ret));
    }
}

/* One step of the way; false: there is none left */
static bool vttm_vram_free_step(VttmState *s)
{
    VttmVramFree *f = &s->vram_free;
    uint64_t len = MIN(VTTM_VRAM_LIMIT_STEP, s->vram_size - f->done);

    if (!len) {
        return false;
    }
    vttm_vram_given_up(s, f->done, len);
    f->done += len;
    return f->done < s->vram_size;
}

static void *vttm_vram_free_thread(void *opaque)
{
    VttmState *s = opaque;

    rcu_register_thread();
    while (!qatomic_read(&s->vram_free.stop) && vttm_vram_free_step(s)) {
        /* next */
    }
    rcu_unregister_thread();
    return NULL;
}

/* Goes on where it was; the workers are at rest, the guest cannot see VRAM */
void vttm_vram_free_continue(VttmState *s)
{
    VttmVramFree *f = &s->vram_free;

    if (!f->wanted || f->running || f->done == s->vram_size) {
        return;
    }
    f->stop = false;
    f->running = true;
    qemu_thread_create(&f->thread, "vttm-free", vttm_vram_free_thread, s,
                       QEMU_THREAD_JOINABLE);
}

/* Of all VRAM */
void vttm_vram_free_begin(VttmState *s)
{
    s->vram_free.wanted = true;
    s->vram_free.done = 0;
    if (vttm_vram_free_step(s) && !s->paused) {
        vttm_vram_free_continue(s);
    }
}

/* Behind this nothing is freed, until it is continued */
void vttm_vram_free_pause(VttmState *s)
{
    VttmVramFree *f = &s->vram_free;

    if (f->running) {
        qatomic_set(&f->stop, true);
        qemu_thread_join(&f->thread);
        f->running = false;
    }
}

/* Behind this VRAM is the guest's */
void vttm_vram_free_end(VttmState *s)
{
    vttm_vram_free_pause(s);
    s->vram_free.wanted = false;
}
