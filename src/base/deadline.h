/* SPDX-License-Identifier: Apache-2.0 */
/* deadline.h - arithmetic of deadlines: ms, UINT64_MAX is never. */
#ifndef BASE_DEADLINE_H
#define BASE_DEADLINE_H

#include <stdint.h>

/* |ms| after |since|; a limit of 0 is none. */
static inline uint64_t deadline_after(uint64_t since, uint64_t ms)
{
    uint64_t at;

    return ms == 0 || __builtin_add_overflow(since, ms, &at) ? UINT64_MAX : at;
}

static inline uint64_t deadline_earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
