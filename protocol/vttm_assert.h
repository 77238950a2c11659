/* SPDX-License-Identifier: MIT */
/* Types, and assertions of what the other headers promise: whoever includes them checks them. */
#ifndef VTTM_ASSERT_H
#define VTTM_ASSERT_H

#ifdef __KERNEL__
#include <linux/stddef.h>
#include <linux/types.h>
#define VTTM_STATIC_ASSERT(e, m) _Static_assert(e, m)
#else
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
#define VTTM_STATIC_ASSERT(e, m) static_assert(e, m)
#else
#define VTTM_STATIC_ASSERT(e, m) _Static_assert(e, m)
#endif
#endif

#define VTTM_ASSERT_SIZE(type, bytes) \
	VTTM_STATIC_ASSERT(sizeof(struct type) == (bytes), #type " is " #bytes " bytes")
#define VTTM_ASSERT_OFFSET(type, field, off) \
	VTTM_STATIC_ASSERT(offsetof(struct type, field) == (off), #type "." #field " is at " #off)

#endif /* VTTM_ASSERT_H */
