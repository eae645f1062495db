/* SPDX-License-Identifier: Apache-2.0 */
/* attr.h - the few compiler attributes that the tree uses, under names that read well. */
#ifndef BASE_ATTR_H
#define BASE_ATTR_H

#include <stdbool.h>

#define NODISCARD       __attribute__((warn_unused_result))
#define PRINTF(fmt, va) __attribute__((format(printf, fmt, va)))
#define LIKELY(x)       __builtin_expect(!!(x), 1)
#define UNLIKELY(x)     __builtin_expect(!!(x), 0)
#define ARRAY_LEN(a)    (sizeof(a) / sizeof((a)[0]))

/* Sanitizers shall see who uses what is gone: memory is not kept for the next then. */
#if defined(SALLYPORT_SANITIZED) && SALLYPORT_SANITIZED
#define IS_SANITIZED true
#else
#define IS_SANITIZED false
#endif

/* The struct that contains |member| at |ptr|. Keeps const out: callers own what they recover. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
