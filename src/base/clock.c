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
#define LAST_SECOND UINT64_C(253402300799)

static struct tm utc(uint64_t wall_ms)
{
    uint64_t s = wall_ms / 1000;
    time_t t = (time_t)(s < LAST_SECOND ? s : LAST_SECOND);
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

struct date {
    uint64_t year, month, day;
};

/* The Gregorian date |days| after 1970-01-01: the inverse of days_since_epoch(). */
static struct date date_of(uint64_t days)
{
    /* Eras of 400 years that begin on 1 March, as the years do here. */
    uint64_t z = days + 719468, era = z / 146097, doe = z % 146097;
    uint64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    uint64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    uint64_t mp = (5 * doy + 2) / 153;
    uint64_t month = mp < 10 ? mp + 3 : mp - 9;

    return (struct date){yoe + era * 400 + (month <= 2), month, doy - (153 * mp + 2) / 5 + 1};
}

static char *put_digits(char *p, uint64_t v, unsigned n, char after)
{
    for (unsigned i = n; i-- > 0; v /= 10)
        p[i] = (char)('0' + v % 10);
    p[n] = after;
    return p + n + 1;
}

#define SECOND_LEN (sizeof "9999-12-31T23:59:59." - 1)

/* "2026-11-30T19:26:49." */
static void put_second(uint64_t s, char *p)
{
    struct date d = date_of(s / 86400);

    p = put_digits(p, d.year, 4, '-');
    p = put_digits(p, d.month, 2, '-');
    p = put_digits(p, d.day, 2, 'T');
    p = put_digits(p, s / 3600 % 24, 2, ':');
    p = put_digits(p, s / 60 % 60, 2, ':');
    (void)put_digits(p, s % 60, 2, '.');
}

/* In every record: no gmtime(3), no printf(3), and a second is written out once. */
void clock_iso_time(uint64_t wall_ms, char ret[ISO_TIME_LEN + 1])
{
    static _Thread_local struct {
        uint64_t s;
        char text[SECOND_LEN];
    } last = {.s = UINT64_MAX};
    uint64_t s = wall_ms / 1000 < LAST_SECOND ? wall_ms / 1000 : LAST_SECOND;

    if (s != last.s) {
        put_second(s, last.text);
        last.s = s;
    }
    memcpy(ret, last.text, SECOND_LEN);
    ret = put_digits(ret + SECOND_LEN, wall_ms % 1000, 3, 'Z');
    *ret = '\0';
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
