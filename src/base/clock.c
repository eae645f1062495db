/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <stdio.h>
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
