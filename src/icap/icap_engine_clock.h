/* SPDX-License-Identifier: Apache-2.0 */
/* icap_engine_clock.h - arithmetic of deadlines: ms, UINT64_MAX is never. */
#ifndef ICAP_ENGINE_CLOCK_H
#define ICAP_ENGINE_CLOCK_H

#include <stdint.h>

/* The client's engine gives back what a transaction left behind after so long a pause. */
#define ICAP_REST_MS 1000u

/* |ms| after |since|; a limit of 0 is none. */
static inline uint64_t icap_after(uint64_t since, uint64_t ms)
{
    uint64_t at;

    return ms == 0 || __builtin_add_overflow(since, ms, &at) ? UINT64_MAX : at;
}

static inline uint64_t icap_earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

#endif
