/*
 * vttm virtual GPU, PCI shim: the witness log
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The host's proof of what the GPU did (protocol/vttm_witness.h). Written with
 * write(2), so that a reader sees each batch of records as soon as the model
 * handed it out. After an error the log ends: it stays a true prefix of what
 * happened, of whole records, and the property "witness-lost" counts the rest.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "system/runstate.h"
#include "vttm.h"

void vttm_witness_init(VttmWitness *w)
{
    w->fd = -1;
    qemu_mutex_init(&w->lock);
}

void vttm_witness_finalize(VttmWitness *w)
{
    vttm_witness_close(w);
    qemu_mutex_destroy(&w->lock);
}

/* Returns how many bytes of @buf were written: @size, or less and errno. */
static size_t vttm_witness_write(VttmWitness *w, const void *buf, size_t size)
{
    const char *p = buf;
    size_t done = 0;

    while (done < size) {
        ssize_t n = RETRY_ON_EINTR(write(w->fd, p + done, size - done));

        if (n < 0) {
            break;
        }
        done += n;
    }
    return done;
}

/* Whether @w is at a log that can be continued; an empty file is none. */
static bool vttm_witness_has_header(VttmWitness *w,
                                    const struct vttm_witness_header *header)
{
    struct vttm_witness_header found;

    return pread(w->fd, &found, sizeof(found), 0) == sizeof(found) &&
           !memcmp(&found, header, sizeof(found));
}

bool vttm_witness_open(VttmWitness *w, Error **errp)
{
    const bool incoming = runstate_check(RUN_STATE_INMIGRATE);
    const struct vttm_witness_header header = {
        .magic = cpu_to_le32(VTTM_WITNESS_MAGIC),
        .version = cpu_to_le32(VTTM_WITNESS_VERSION),
        .record_size = cpu_to_le32(sizeof(struct vttm_witness_record)),
    };

    w->failed = false;
    w->lost = 0;
    if (!w->path) {
        return true;
    }

    /*
     * A log tells of one device's life; an older one is replaced. That of a
     * device that comes here goes on, if its log is here, too.
     */
    w->fd = qemu_create(w->path, incoming ? O_RDWR | O_APPEND :
                        O_WRONLY | O_TRUNC | O_APPEND, 0600, errp);
    if (w->fd < 0) {
        error_prepend(errp, "vttm: cannot create the witness log: ");
        return false;
    }
    if (incoming && vttm_witness_has_header(w, &header)) {
        return true;
    }
    if (incoming && ftruncate(w->fd, 0) < 0) {
        error_setg_errno(errp, errno,
                         "vttm: cannot empty the witness log '%s'", w->path);
        vttm_witness_close(w);
        return false;
    }
    if (vttm_witness_write(w, &header, sizeof(header)) < sizeof(header)) {
        error_setg_errno(errp, errno,
                         "vttm: cannot write the witness log '%s'", w->path);
        vttm_witness_close(w);
        return false;
    }
    return true;
}

void vttm_witness_close(VttmWitness *w)
{
    if (w->fd >= 0) {
        qemu_close(w->fd);
        w->fd = -1;
    }
}

uint64_t vttm_witness_lost(VttmWitness *w)
{
    QEMU_LOCK_GUARD(&w->lock);
    return w->lost;
}

/* Ends the log at its last whole record. */
static void vttm_witness_fail(VttmWitness *w, int err)
{
    off_t end = lseek(w->fd, 0, SEEK_END);
    off_t head = sizeof(struct vttm_witness_header);
    off_t part = end > head ?
                 (end - head) % sizeof(struct vttm_witness_record) : 0;

    w->failed = true;
    if (part && ftruncate(w->fd, end - part) < 0) {
        warn_report("vttm: witness log '%s' ends in half a record: %s",
                    w->path, strerror(errno));
    }
    warn_report("vttm: cannot write the witness log '%s': %s; "
                "it ends here and proves nothing of what follows",
                w->path, strerror(err));
}

void vttm_witness_append(void *opaque, const struct vttm_witness_record *rec,
                         size_t n)
{
    VttmState *s = opaque;
    VttmWitness *w = &s->witness;
    size_t size = n * sizeof(*rec);
    size_t done = 0;

    QEMU_LOCK_GUARD(&w->lock);
    if (!w->failed) {
        done = vttm_witness_write(w, rec, size);
        if (done < size) {
            vttm_witness_fail(w, errno);
        }
    }
    w->lost += n - done / sizeof(*rec);
}
