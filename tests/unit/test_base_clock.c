/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/attr.h"
#include "base/clock.h"

static const struct date_row {
    uint64_t wall_ms;
    const char *http, *iso;
} date_rows[] = {
    {0,               "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00.000Z"},
    {999,             "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00.999Z"},
 /* RFC 9110 5.6.7's example */
    {784111777123,    "Sun, 06 Nov 1994 08:49:37 GMT", "1994-11-06T08:49:37.123Z"},
    {951782400000,    "Tue, 29 Feb 2000 00:00:00 GMT", "2000-02-29T00:00:00.000Z"},
    {1709251199999,   "Thu, 29 Feb 2024 23:59:59 GMT", "2024-02-29T23:59:59.999Z"},
    {2147483648000,   "Tue, 19 Jan 2038 03:14:08 GMT", "2038-01-19T03:14:08.000Z"},
    {4107542400000,   "Mon, 01 Mar 2100 00:00:00 GMT", "2100-03-01T00:00:00.000Z"},
    {253402300799999, "Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59.999Z"},
 /* past the last year that both formats hold */
    {253402300800000, "Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59.000Z"},
    {UINT64_MAX,      "Fri, 31 Dec 9999 23:59:59 GMT", "9999-12-31T23:59:59.615Z"},
};

static void test_dates(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(date_rows); i++) {
        char http[HTTP_DATE_LEN + 1], iso[ISO_TIME_LEN + 1];

        clock_http_date(date_rows[i].wall_ms, http);
        clock_iso_time(date_rows[i].wall_ms, iso);
        assert_string_equal(http, date_rows[i].http);
        assert_string_equal(iso, date_rows[i].iso);
        assert_int_equal(strlen(http), HTTP_DATE_LEN);
        assert_int_equal(strlen(iso), ISO_TIME_LEN);
    }
}

static const struct parse_row {
    const char *text;
    uint64_t wall_ms; /* UINT64_MAX: refused */
} parse_rows[] = {
    {"1970-01-01T00:00:00.000Z",  0              },
    {"1970-01-01T00:00:00Z",      0              },
    {"1994-11-06T08:49:37.123Z",  784111777123   },
    {"1994-11-06T08:49:37Z",      784111777000   },
    {"2000-02-29T00:00:00.000Z",  951782400000   },
    {"2024-02-29T23:59:59.999Z",  1709251199999  },
    {"2100-03-01T00:00:00.000Z",  4107542400000  },
    {"9999-12-31T23:59:59.999Z",  253402300799999},
    {"",                          UINT64_MAX     },
    {"1969-12-31T23:59:59.999Z",  UINT64_MAX     },
    {"0000-00-00T00:00:00.000Z",  UINT64_MAX     },
    {"2100-02-29T00:00:00.000Z",  UINT64_MAX     }, /* no leap year */
    {"2024-02-30T00:00:00.000Z",  UINT64_MAX     },
    {"2024-04-31T00:00:00Z",      UINT64_MAX     },
    {"2024-13-01T00:00:00.000Z",  UINT64_MAX     },
    {"2024-00-01T00:00:00.000Z",  UINT64_MAX     },
    {"2024-01-00T00:00:00.000Z",  UINT64_MAX     },
    {"2024-01-01T24:00:00.000Z",  UINT64_MAX     },
    {"2024-01-01T23:60:00.000Z",  UINT64_MAX     },
    {"2016-12-31T23:59:60.000Z",  UINT64_MAX     }, /* a leap second: the clock has none */
    {"2024-01-01 00:00:00.000Z",  UINT64_MAX     },
    {"2024-01-01t00:00:00.000z",  UINT64_MAX     },
    {"2024-01-01T00:00:00.000",   UINT64_MAX     },
    {"2024-01-01T00:00:00.00Z",   UINT64_MAX     },
    {"2024-01-01T00:00:00,000Z",  UINT64_MAX     },
    {"2024-01-01T00:00:00+00:00", UINT64_MAX     },
    {"2024-01-01T00:00:000000Z",  UINT64_MAX     },
    {"2024-01-01T00:00:00.000ZZ", UINT64_MAX     },
    {" 2024-01-01T00:00:00.00Z",  UINT64_MAX     },
    {"+024-01-01T00:00:00.000Z",  UINT64_MAX     },
    {"2024-01-01T00:00:0xZ",      UINT64_MAX     },
    {"2024-01-01T00:00:00.00",    UINT64_MAX     },
};

static void test_iso_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parse_rows); i++) {
        bool good = parse_rows[i].wall_ms != UINT64_MAX;
        uint64_t got = 42;

        print_message("%s\n", parse_rows[i].text);
        assert_int_equal(clock_iso_parse(span_of(parse_rows[i].text), &got),
                         good ? OK : ERR_SYNTAX);
        assert_int_equal(got, good ? parse_rows[i].wall_ms : 42);
    }
}

/* A step of a day and a bit, through all years that the form has. */
static void test_iso_round_trip(void **state)
{
    (void)state;
    for (uint64_t t = 0; t < 253402300800000; t += 87654321) {
        char text[ISO_TIME_LEN + 1];
        uint64_t back;

        clock_iso_time(t, text);
        assert_int_equal(clock_iso_parse(span_of(text), &back), OK);
        assert_int_equal(back, t);
    }
}

static void test_system_clock(void **state)
{
    uint64_t first = clock_mono_us(&clock_system), wall_s = clock_wall_ms(&clock_system) / 1000;

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        uint64_t now = clock_mono_us(&clock_system);

        assert_true(now >= first);
        first = now;
    }
    assert_in_range(wall_s, (uint64_t)time(NULL) - 5, (uint64_t)time(NULL) + 5);
}

static uint64_t fake(void *ctx)
{
    return *(uint64_t *)ctx;
}

static void test_a_clock_of_ones_own(void **state)
{
    uint64_t t = 5432;
    struct clock c = {.mono_us = fake, .wall_ms = fake, .ctx = &t};

    (void)state;
    assert_int_equal(clock_mono_us(&c), 5432);
    assert_int_equal(clock_mono_ms(&c), 5);
    assert_int_equal(clock_wall_ms(&c), 5432);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_iso_parse),
        cmocka_unit_test(test_iso_round_trip),
        cmocka_unit_test(test_system_clock),
        cmocka_unit_test(test_a_clock_of_ones_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
