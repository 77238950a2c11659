/* SPDX-License-Identifier: MIT */
/*
 * vttm_drm.h - user interface of the vttm DRM driver (render node).
 *
 * All ioctls return 0, or -1 with errno. Common errors: EINVAL (unknown flag, reserved field not
 * zero, bad range), ENOENT (no such handle), EFAULT, ENODEV (device gone), EINTR (restart).
 * open() fails with ENOSPC when VTTM_MAX_VMS files are open: each has an address space.
 */
#ifndef VTTM_DRM_H
#define VTTM_DRM_H

#ifdef __KERNEL__
#include <drm/drm.h>
#else
#include <libdrm/drm.h>
#endif

#if defined(__cplusplus)
extern "C" {
#endif

#define DRM_VTTM_GET_PARAM 0x00
#define DRM_VTTM_GEM_CREATE 0x01
#define DRM_VTTM_GEM_MMAP 0x02
#define DRM_VTTM_GEM_INFO 0x03
#define DRM_VTTM_VM_BIND 0x04
#define DRM_VTTM_SUBMIT 0x05
#define DRM_VTTM_WAIT 0x06
#define DRM_VTTM_GEM_MADVISE 0x07

/* GET_PARAM: reads one property of the device. EINVAL: unknown @param. */
#define VTTM_PARAM_ABI 0          /* register VTTM_REG_ABI */
#define VTTM_PARAM_VRAM_SIZE 1    /* bytes */
#define VTTM_PARAM_VRAM_VISIBLE 2 /* bytes */
#define VTTM_PARAM_GTT_SIZE 3     /* bytes */
#define VTTM_PARAM_NUM_ENGINES 4
#define VTTM_PARAM_FAULT_COUNT 5 /* VTTM_REG_FAULT_COUNT */
#define VTTM_PARAM_STALE_COUNT 6 /* VTTM_REG_STALE_COUNT */

struct drm_vttm_get_param {
	__u32 param;
	__u32 pad; /* MBZ */
	__u64 value; /* out */
};

/*
 * GEM_CREATE: a buffer of zeroes. @size is rounded up to 4 KiB. With both domains VRAM is preferred
 * and GTT is where eviction takes it; VRAM alone also evicts through GTT to system memory and comes
 * back to VRAM when next used. @tag is a label for debugfs (the buffer id of stamps).
 * ENOMEM / ENOSPC: no memory or no VRAM (pages are allocated on first use).
 */
#define VTTM_DOMAIN_VRAM (1u << 0)
#define VTTM_DOMAIN_GTT (1u << 1)
#define VTTM_CACHING_WB 0
#define VTTM_CACHING_WC 1
#define VTTM_CACHING_UC 2

struct drm_vttm_gem_create {
	__u64 size;    /* in: bytes; out: rounded size */
	__u32 domains; /* VTTM_DOMAIN_*, at least one */
	__u32 caching; /* VTTM_CACHING_* of its system memory pages */
	__u32 tag;
	__u32 handle; /* out */
	__u32 flags;  /* MBZ */
	__u32 pad;    /* MBZ */
};

/* GEM_MMAP: the offset to give to mmap() on the DRM file. */
struct drm_vttm_gem_mmap {
	__u32 handle;
	__u32 pad; /* MBZ */
	__u64 offset; /* out */
};

/* GEM_INFO: where the buffer is now. */
#define VTTM_PLACE_NONE 0   /* no pages yet */
#define VTTM_PLACE_VRAM 1
#define VTTM_PLACE_GTT 2
#define VTTM_PLACE_SYSTEM 3 /* pages, but not reachable by the device */
#define VTTM_PLACE_BACKUP 4 /* backed up by the shrinker (at least partly) */
struct drm_vttm_gem_info {
	__u32 handle;
	__u32 place;   /* out: VTTM_PLACE_* */
	__u64 size;    /* out: bytes */
	__u32 domains; /* out */
	__u32 caching; /* out */
	__u32 tag;     /* out */
	__u32 purged;  /* out: 1 if its content was purged */
};

/*
 * VM_BIND: maps or unmaps a whole buffer in the file's GPU address space. Synchronous as seen by
 * later submits. EEXIST: overlaps a mapping. ENOENT on unmap: no mapping starts at @va.
 * Closing a handle unmaps its buffer everywhere in the file's address space, after its jobs.
 */
#define VTTM_BIND_MAP 0
#define VTTM_BIND_UNMAP 1
#define VTTM_BIND_READ_ONLY (1u << 0) /* flag of MAP */
struct drm_vttm_vm_bind {
	__u32 op;
	__u32 handle; /* MAP only */
	__u64 va;     /* 4 KiB aligned, >= 64 KiB, below 2^47 */
	__u32 flags;
	__u32 pad; /* MBZ */
};

/*
 * SUBMIT: runs packets (vttm_packets.h; COPY, FILL, STAMP_* and NOP, all addresses in
 * VTTM_SPACE_VM) on one engine. Each buffer that the packets touch must be in @bos (bound in this
 * file's VM): they are made resident and locked in place until the job is done. The driver adds
 * SET_VM and FENCE. Jobs of one engine and file run in order; so do jobs that share a buffer, on
 * whatever engine. @syncobj_out (or 0) is signalled when done; an error of the job is the fence's
 * error, which WAIT returns. EACCES: privileged opcode or space. ENOMEM/ENOSPC: no room for all.
 */
struct drm_vttm_submit {
	__u64 packets;    /* user pointer to __u32[] */
	__u32 num_dwords; /* 1 .. 16384 */
	__u32 engine;     /* VTTM_ENGINE_* */
	__u64 bos;        /* user pointer to __u32 handles */
	__u32 num_bos;    /* 0 .. 4096 */
	__u32 syncobj_in; /* 0: none */
	__u32 syncobj_out;
	__u32 flags;      /* MBZ */
	__u64 seqno;      /* out: for WAIT */
};

/*
 * WAIT: until job @seqno of @engine (of this file) is done. ETIME: not within @timeout_ns. EIO: the
 * job failed (@status holds enum vttm_fault_reason); ECANCELED: lost in a reset; ENODATA: not
 * begun, as the content of a buffer in @bos is lost (see GEM_MADVISE). @timeout_ns 0 only asks.
 * Results of the last 1024 jobs are kept (SUBMIT waits for the oldest): for older ones it is 0.
 */
struct drm_vttm_wait {
	__u64 seqno;
	__u32 engine;
	__u32 status; /* out */
	__s64 timeout_ns; /* relative; < 0: for ever */
};

/*
 * GEM_MADVISE: DONTNEED lets shrinker and eviction drop the content; WILLNEED takes that back. A
 * purged buffer is one of zeroes again. So is one whose content the device lost on the way to or
 * from VRAM: it is told as purged from its next use on.
 */
#define VTTM_MADV_WILLNEED 0
#define VTTM_MADV_DONTNEED 1
struct drm_vttm_gem_madvise {
	__u32 handle;
	__u32 madv;
	__u32 retained; /* out: 0 if the content is gone */
	__u32 pad; /* MBZ */
};

#define DRM_IOCTL_VTTM_GET_PARAM \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VTTM_GET_PARAM, struct drm_vttm_get_param)
#define DRM_IOCTL_VTTM_GEM_CREATE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VTTM_GEM_CREATE, struct drm_vttm_gem_create)
#define DRM_IOCTL_VTTM_GEM_MMAP \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VTTM_GEM_MMAP, struct drm_vttm_gem_mmap)
#define DRM_IOCTL_VTTM_GEM_INFO \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VTTM_GEM_INFO, struct drm_vttm_gem_info)
#define DRM_IOCTL_VTTM_VM_BIND \
	DRM_IOW(DRM_COMMAND_BASE + DRM_VTTM_VM_BIND, struct drm_vttm_vm_bind)
#define DRM_IOCTL_VTTM_SUBMIT \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VTTM_SUBMIT, struct drm_vttm_submit)
#define DRM_IOCTL_VTTM_WAIT DRM_IOWR(DRM_COMMAND_BASE + DRM_VTTM_WAIT, struct drm_vttm_wait)
#define DRM_IOCTL_VTTM_GEM_MADVISE \
	DRM_IOWR(DRM_COMMAND_BASE + DRM_VTTM_GEM_MADVISE, struct drm_vttm_gem_madvise)

#if defined(__cplusplus)
}
#endif

#endif /* VTTM_DRM_H */
