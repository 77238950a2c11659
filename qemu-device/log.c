/*
 * vttm virtual GPU, PCI shim: logs
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The witness log is the host's proof of what the GPU did
 * (protocol/vttm_witness.h), the trace log tells when (protocol/vttm_trace.h).
 * Written with write(2), so that a reader sees each batch of records as soon as
 * the model handed it out. After an error, and when it is as long as it may
 * become, a log ends: it stays a true prefix of what happened, whole records
 * only, and a property counts the rest.
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
    .property = "witness-log",
    .magic = VTTM_WITNESS_MAGIC,
    .version = VTTM_WITNESS_VERSION,
    .record_size = sizeof(struct vttm_witness_record),
};

const VttmLogKind vttm_trace_log = {
    .name = "trace log",
    .property = "trace-log",
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

/* A pipe without a reader would stop the workers, which must not wait */
static bool vttm_log_is_regular(VttmLog *log, struct stat *st, Error **errp)
{
    if (fstat(log->fd, st) < 0) {
        error_setg_errno(errp, errno, "vttm: cannot look at the %s '%s'",
                         log->kind->name, log->path);
        return false;
    }
    if (!S_ISREG(st->st_mode)) {
        error_setg(errp, "vttm: the %s '%s' is no regular file",
                   log->kind->name, log->path);
        return false;
    }
    return true;
}

bool vttm_log_open(VttmLog *log, Error **errp)
{
    const uint64_t least = sizeof(VttmLogHeader) + log->kind->record_size;
    struct stat st;
    const bool incoming = runstate_check(RUN_STATE_INMIGRATE);
    const VttmLogHeader header = {
        .magic = cpu_to_le32(log->kind->magic),
        .version = cpu_to_le32(log->kind->version),
        .record_size = cpu_to_le32(log->kind->record_size),
    };

    log->failed = false;
    log->lost = 0;
    if (log->max && log->max < least) {
        error_setg(errp, "vttm: '%s-max' is %" PRIu64 " bytes: it must be 0 "
                   "(no limit), or %" PRIu64 " at least", log->kind->property,
                   log->max, least);
        return false;
    }
    if (!log->path) {
        return true;
    }

    /*
     * A log tells of one device's life; an older one is replaced. That of a
     * device that comes here goes on, if its log is here, too.
     */
    log->fd = qemu_create(log->path, O_APPEND | O_NONBLOCK |
                          (incoming ? O_RDWR : O_WRONLY | O_TRUNC), 0600, errp);
    if (log->fd < 0) {
        error_prepend(errp, "vttm: cannot create the %s: ", log->kind->name);
        return false;
    }
    if (!vttm_log_is_regular(log, &st, errp)) {
        vttm_log_close(log);
        return false;
    }
    if (incoming && vttm_log_has_header(log, &header)) {
        log->size = st.st_size;
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
    log->size = sizeof(header);
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

/* How many of @size bytes, whole records, it takes before it is full */
static size_t vttm_log_room(VttmLog *log, size_t size)
{
    uint64_t left;

    if (!log->max) {
        return size;
    }
    left = log->max > log->size ? log->max - log->size : 0;
    return MIN(size, left - left % log->kind->record_size);
}

static void vttm_log_is_full(VttmLog *log)
{
    log->failed = true;
    warn_report("vttm: %s '%s' is full ('%s-max' is %" PRIu64 " bytes); "
                "it ends here and proves nothing of what follows",
                log->kind->name, log->path, log->kind->property, log->max);
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
        size_t room = vttm_log_room(log, size);

        done = vttm_log_write(log, rec, room);
        log->size += done;
        if (done < room) {
            vttm_log_fail(log, errno);
        } else if (room < size) {
            vttm_log_is_full(log);
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
    object_class_property_set_description(klass, "witness-log-max",
        "Bytes that the witness log may have; behind them it ends (0: no limit)");
    object_class_property_set_description(klass, "trace-log-max",
        "Bytes that the trace log may have; behind them it ends (0: no limit)");
    object_class_property_add(klass, "witness-lost", "uint64", vttm_get_lost,
                              NULL, NULL, (void *)&vttm_witness_log);
    object_class_property_set_description(klass, "witness-lost",
        "Records that did not reach the witness log");
    object_class_property_add(klass, "trace-lost", "uint64", vttm_get_lost,
                              NULL, NULL, (void *)&vttm_trace_log);
    object_class_property_set_description(klass, "trace-lost",
        "Records that did not reach the trace log");
}
