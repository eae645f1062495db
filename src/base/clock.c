/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t system_us(clockid_t id)
{
    struct timespec t;

    (void)clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static uint64_t system_mono_us(void *ctx)
{
    (void)ctx;
    return system_us(CLOCK_MONOTONIC);
}

static uint64_t system_wall_ms(void *ctx)
{
    (void)ctx;
    return system_us(CLOCK_REALTIME) / 1000;
}

const struct clock clock_system = {.mono_us = system_mono_us, .wall_ms = system_wall_ms};

/* Year 9999 is the last that both formats hold. */
static struct tm utc(uint64_t wall_ms)
{
    const uint64_t last = 253402300799;
    uint64_t s = wall_ms / 1000;
    time_t t = (time_t)(s < last ? s : last);
    struct tm tm = {0};

    (void)gmtime_r(&t, &tm);
    return tm;
}

void clock_http_date(uint64_t wall_ms, char ret[HTTP_DATE_LEN + 1])
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm tm = utc(wall_ms);

    (void)snprintf(ret, HTTP_DATE_LEN + 1, "%s, %02u %s %04u %02u:%02u:%02u GMT",
                   days[(unsigned)tm.tm_wday % 7], (unsigned)tm.tm_mday % 100,
                   months[(unsigned)tm.tm_mon % 12], (unsigned)(tm.tm_year + 1900) % 10000,
                   (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
                   (unsigned)tm.tm_sec % 100);
}

void clock_iso_time(uint64_t wall_ms, char ret[ISO_TIME_LEN + 1])
{
    struct tm tm = utc(wall_ms);

    (void)snprintf(ret, ISO_TIME_LEN + 1, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
                   (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
                   (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100,
                   (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100,
                   (unsigned)(wall_ms % 1000));
}

/* Days since 1970-01-01 in the Gregorian calendar. |year| from 1970 on; out of range for |month| or
 * |day| gives some other day. */
static uint64_t days_since_epoch(uint64_t year, uint64_t month, uint64_t day)
{
    /* Years that begin in March: the leap day is the last one. */
    uint64_t y = month <= 2 ? year - 1 : year, m = month <= 2 ? month + 9 : month - 3;
    uint64_t leaps = y / 4 - y / 100 + y / 400;

    return y * 365 + leaps + (m * 153 + 2) / 5 + day - 1 - 719468;
}

enum err clock_iso_parse(struct span text, uint64_t *ret_wall_ms)
{
    /* Where the numbers stand: year, month, day, hour, minute, second, millisecond. */
    static const struct {
        size_t off, n;
    } parts[] = {
        {0,  4},
        {5,  2},
        {8,  2},
        {11, 2},
        {14, 2},
        {17, 2},
        {20, 3}
    };
    const size_t short_len = ISO_TIME_LEN - 4; /* without ".123" */
    char full[ISO_TIME_LEN + 1] = {0}, back[ISO_TIME_LEN + 1];
    uint64_t v[7], ms;

    if (text.n != ISO_TIME_LEN && text.n != short_len)
        return ERR_SYNTAX;
    memcpy(full, text.p, text.n);
    if (text.n == short_len && full[short_len - 1] == 'Z')
        memcpy(full + short_len - 1, ".000Z", sizeof ".000Z");
    for (size_t i = 0; i < 7; i++)
        TRY(span_u64((struct span){full + parts[i].off, parts[i].n}, 9999, &v[i]));
    if (v[0] < 1970 || v[1] < 1 || v[1] > 12 || v[2] < 1)
        return ERR_SYNTAX;
    ms = ((days_since_epoch(v[0], v[1], v[2]) * 24 + v[3]) * 60 + v[4]) * 60 + v[5];
    ms = ms * 1000 + v[6];
    /* Written again it is the same, or it was no time: 30 February, 25:00, a blank for the T. */
    clock_iso_time(ms, back);
    if (!span_eq(span_of(full), span_of(back)))
        return ERR_SYNTAX;
    *ret_wall_ms = ms;
    return OK;
}
