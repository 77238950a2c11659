/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The user interface as C sees it. Programs of another build use these structures with the same driver,
 * 32-bit ones too: what moves a field, leaves a hole or changes an ioctl's number does not compile here.
 */
#include <stddef.h>

#include "guest-driver/uapi/vttm_drm.h"

#define FIELD(type, field, at, bytes) \
	_Static_assert(offsetof(struct drm_vttm_##type, field) == (at), #type "." #field " is at " #at); \
	_Static_assert(sizeof(((struct drm_vttm_##type *)0)->field) == (bytes), \
		       #type "." #field " has " #bytes " bytes")
/* No compiler may pad: the size is a multiple of 8, so that 32-bit programs see the same. */
#define SIZE(type, bytes) \
	_Static_assert(sizeof(struct drm_vttm_##type) == (bytes), #type " has " #bytes " bytes"); \
	_Static_assert((bytes) % 8 == 0, #type " is padded to 8")

SIZE(get_param, 16);
FIELD(get_param, param, 0, 4);
FIELD(get_param, pad, 4, 4);
FIELD(get_param, value, 8, 8);

SIZE(gem_create, 32);
FIELD(gem_create, size, 0, 8);
FIELD(gem_create, domains, 8, 4);
FIELD(gem_create, caching, 12, 4);
FIELD(gem_create, tag, 16, 4);
FIELD(gem_create, handle, 20, 4);
FIELD(gem_create, flags, 24, 4);
FIELD(gem_create, pad, 28, 4);

SIZE(gem_mmap, 16);
FIELD(gem_mmap, handle, 0, 4);
FIELD(gem_mmap, pad, 4, 4);
FIELD(gem_mmap, offset, 8, 8);

SIZE(gem_info, 32);
FIELD(gem_info, handle, 0, 4);
FIELD(gem_info, place, 4, 4);
FIELD(gem_info, size, 8, 8);
FIELD(gem_info, domains, 16, 4);
FIELD(gem_info, caching, 20, 4);
FIELD(gem_info, tag, 24, 4);
FIELD(gem_info, purged, 28, 4);

SIZE(vm_bind, 24);
FIELD(vm_bind, op, 0, 4);
FIELD(vm_bind, handle, 4, 4);
FIELD(vm_bind, va, 8, 8);
FIELD(vm_bind, flags, 16, 4);
FIELD(vm_bind, pad, 20, 4);

SIZE(submit, 48);
FIELD(submit, packets, 0, 8);
FIELD(submit, num_dwords, 8, 4);
FIELD(submit, engine, 12, 4);
FIELD(submit, bos, 16, 8);
FIELD(submit, num_bos, 24, 4);
FIELD(submit, syncobj_in, 28, 4);
FIELD(submit, syncobj_out, 32, 4);
FIELD(submit, flags, 36, 4);
FIELD(submit, seqno, 40, 8);

SIZE(wait, 24);
FIELD(wait, seqno, 0, 8);
FIELD(wait, engine, 8, 4);
FIELD(wait, status, 12, 4);
FIELD(wait, timeout_ns, 16, 8);

SIZE(gem_madvise, 16);
FIELD(gem_madvise, handle, 0, 4);
FIELD(gem_madvise, madv, 4, 4);
FIELD(gem_madvise, retained, 8, 4);
FIELD(gem_madvise, pad, 12, 4);
