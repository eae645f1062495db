/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - time is a parameter. Monotonic milliseconds for deadlines, microseconds for timings,
 * wall clock for people. Tests hand in a clock of their own. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include "base/span.h"

struct clock {
    uint64_t (*mono_us)(void *ctx);
    uint64_t (*wall_ms)(void *ctx); /* since 1970-01-01T00:00:00Z */
    void *ctx;
};

/* The machine's clocks. */
extern const struct clock clock_system;

static inline uint64_t clock_mono_us(const struct clock *c)
{
    return c->mono_us(c->ctx);
}

static inline uint64_t clock_mono_ms(const struct clock *c)
{
    return c->mono_us(c->ctx) / 1000;
}

static inline uint64_t clock_wall_ms(const struct clock *c)
{
    return c->wall_ms(c->ctx);
}

#define HTTP_DATE_LEN 29 /* "Sun, 06 Nov 1994 08:49:37 GMT" */
#define ISO_TIME_LEN  24 /* "1994-11-06T08:49:37.123Z" */

/* RFC 9110 5.6.7 IMF-fixdate, with a closing NUL. */
void clock_http_date(uint64_t wall_ms, char ret[HTTP_DATE_LEN + 1]);
/* RFC 3339, UTC, milliseconds, with a closing NUL. */
void clock_iso_time(uint64_t wall_ms, char ret[ISO_TIME_LEN + 1]);
/* The same form back, with or without its milliseconds; nothing else of RFC 3339. ERR_SYNTAX, also
 * for a day that its month does not have. */
NODISCARD enum err clock_iso_parse(struct span text, uint64_t *ret_wall_ms);

#endif
