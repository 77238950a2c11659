/*
 * vttm virtual GPU, PCI shim: logs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The witness log is the host's proof of what the GPU did
 * (protocol/vttm_witness.h), the trace log tells when (protocol/vttm_trace.h).
 * Written with write(2), so that a reader sees each batch of records as soon as
 * the model handed it out. After an error a log ends: it stays a true prefix of
 * what happened, of whole records, and a property counts the rest.
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/visitor.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "system/runstate.h"
#include "vttm.h"

/* struct vttm_witness_header and struct vttm_trace_header */
typedef struct VttmLogHeader {
    uint32_t magic;
    uint32_t version;
    uint32_t record_size;
    uint32_t rsvd;
} VttmLogHeader;

QEMU_BUILD_BUG_ON(sizeof(VttmLogHeader) != sizeof(struct vttm_witness_header));
QEMU_BUILD_BUG_ON(sizeof(VttmLogHeader) != sizeof(struct vttm_trace_header));

const VttmLogKind vttm_witness_log = {
    .name = "witness log",
    .magic = VTTM_WITNESS_MAGIC,
    .version = VTTM_WITNESS_VERSION,
    .record_size = sizeof(struct vttm_witness_record),
};

const VttmLogKind vttm_trace_log = {
    .name = "trace log",
    .magic = VTTM_TRACE_MAGIC,
    .version = VTTM_TRACE_VERSION,
    .record_size = sizeof(struct vttm_trace_record),
};

void vttm_log_init(VttmLog *log, const VttmLogKind *kind)
{
    log->kind = kind;
    log->fd = -1;
    qemu_mutex_init(&log->lock);
}

void vttm_log_finalize(VttmLog *log)
{
    vttm_log_close(log);
    qemu_mutex_destroy(&log->lock);
}

/* Returns how many bytes of @buf were written: @size, or less and errno. */
static size_t vttm_log_write(VttmLog *log, const void *buf, size_t size)
{
    const char *p = buf;
    size_t done = 0;

    while (done < size) {
        ssize_t n = RETRY_ON_EINTR(write(log->fd, p + done, size - done));

        if (n < 0) {
            break;
        }
        done += n;
    }
    return done;
}

/* Whether @log is at one that can be continued; an empty file is none. */
static bool vttm_log_has_header(VttmLog *log, const VttmLogHeader *header)
{
    VttmLogHeader found;

    return pread(log->fd, &found, sizeof(found), 0) == sizeof(found) &&
           !memcmp(&found, header, sizeof(found));
}

bool vttm_log_open(VttmLog *log, Error **errp)
{
    const bool incoming = runstate_check(RUN_STATE_INMIGRATE);
    const VttmLogHeader header = {
        .magic = cpu_to_le32(log->kind->magic),
        .version = cpu_to_le32(log->kind->version),
        .record_size = cpu_to_le32(log->kind->record_size),
    };

    log->failed = false;
    log->lost = 0;
    if (!log->path) {
        return true;
    }

    /*
     * A log tells of one device's life; an older one is replaced. That of a
     * device that comes here goes on, if its log is here, too.
     */
    log->fd = qemu_create(log->path, incoming ? O_RDWR | O_APPEND :
                        O_WRONLY | O_TRUNC | O_APPEND, 0600, errp);
    if (log->fd < 0) {
        error_prepend(errp, "vttm: cannot create the %s: ", log->kind->name);
        return false;
    }
    if (incoming && vttm_log_has_header(log, &header)) {
        return true;
    }
    if (incoming && ftruncate(log->fd, 0) < 0) {
        error_setg_errno(errp, errno,
                         "vttm: cannot empty the %s '%s'", log->kind->name,
                         log->path);
        vttm_log_close(log);
        return false;
    }
    if (vttm_log_write(log, &header, sizeof(header)) < sizeof(header)) {
        error_setg_errno(errp, errno,
                         "vttm: cannot write the %s '%s'", log->kind->name,
                         log->path);
        vttm_log_close(log);
        return false;
    }
    return true;
}

void vttm_log_close(VttmLog *log)
{
    if (log->fd >= 0) {
        qemu_close(log->fd);
        log->fd = -1;
    }
}

uint64_t vttm_log_lost(VttmLog *log)
{
    QEMU_LOCK_GUARD(&log->lock);
    return log->lost;
}

/* Ends the log at its last whole record. */
static void vttm_log_fail(VttmLog *log, int err)
{
    off_t end = lseek(log->fd, 0, SEEK_END);
    off_t head = sizeof(VttmLogHeader);
    off_t part = end > head ?
                 (end - head) % log->kind->record_size : 0;

    log->failed = true;
    if (part && ftruncate(log->fd, end - part) < 0) {
        warn_report("vttm: %s '%s' ends in half a record: %s",
                    log->kind->name, log->path, strerror(errno));
    }
    warn_report("vttm: cannot write the %s '%s': %s; "
                "it ends here and proves nothing of what follows",
                log->kind->name, log->path, strerror(err));
}

static void vttm_log_append(VttmLog *log, const void *rec, size_t n)
{
    size_t size = n * log->kind->record_size;
    size_t done = 0;

    QEMU_LOCK_GUARD(&log->lock);
    if (!log->failed) {
        done = vttm_log_write(log, rec, size);
        if (done < size) {
            vttm_log_fail(log, errno);
        }
    }
    log->lost += n - done / log->kind->record_size;
}

void vttm_witness_append(void *opaque, const struct vttm_witness_record *rec,
                         size_t n)
{
    VttmState *s = opaque;

    vttm_log_append(&s->witness, rec, n);
}

void vttm_trace_append(void *opaque, const struct vttm_trace_record *rec)
{
    VttmState *s = opaque;

    vttm_log_append(&s->trace, rec, 1);
}

/* Properties */

static void vttm_get_lost(Object *obj, Visitor *v, const char *name,
                          void *opaque, Error **errp)
{
    VttmState *s = VTTM(obj);
    VttmLog *log = opaque == &vttm_trace_log ? &s->trace : &s->witness;
    uint64_t lost = vttm_log_lost(log);

    visit_type_uint64(v, name, &lost, errp);
}

void vttm_log_class_init(ObjectClass *klass)
{
    object_class_property_set_description(klass, "witness-log",
        "File for the log of what the GPU did (protocol/vttm_witness.h)");
    object_class_property_set_description(klass, "trace-log",
        "File for the log of when it did it (protocol/vttm_trace.h)");
    object_class_property_add(klass, "witness-lost", "uint64", vttm_get_lost,
                              NULL, NULL, (void *)&vttm_witness_log);
    object_class_property_set_description(klass, "witness-lost",
        "Records that did not reach the witness log");
    object_class_property_add(klass, "trace-lost", "uint64", vttm_get_lost,
                              NULL, NULL, (void *)&vttm_trace_log);
    object_class_property_set_description(klass, "trace-lost",
        "Records that did not reach the trace log");
}
