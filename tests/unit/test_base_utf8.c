/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/utf8.h"

static const struct row {
    const char *why;
    struct span text;
    size_t len;
} rows[] = {
    {"end of text",                   SPAN(""),                 0},
    {"NUL is a character",            SPAN("\0"),               1},
    {"ASCII",                         SPAN("a"),                1},
    {"DEL",                           SPAN("\x7f"),             1},
    {"first of two bytes",            SPAN("\xc2\x80"),         2},
    {"last of two bytes",             SPAN("\xdf\xbf"),         2},
    {"first of three bytes",          SPAN("\xe0\xa0\x80"),     3},
    {"before the surrogates",         SPAN("\xed\x9f\xbf"),     3},
    {"behind the surrogates",         SPAN("\xee\x80\x80"),     3},
    {"last of three bytes",           SPAN("\xef\xbf\xbf"),     3},
    {"first of four bytes",           SPAN("\xf0\x90\x80\x80"), 4},
    {"U+10FFFF",                      SPAN("\xf4\x8f\xbf\xbf"), 4},
    {"U+110000",                      SPAN("\xf4\x90\x80\x80"), 0},
    {"f5",                            SPAN("\xf5\x80\x80\x80"), 0},
    {"ff",                            SPAN("\xff"),             0},
    {"lone continuation",             SPAN("\x80"),             0},
    {"lone continuation, last",       SPAN("\xbf"),             0},
    {"overlong NUL",                  SPAN("\xc0\x80"),         0},
    {"overlong in two",               SPAN("\xc1\xbf"),         0},
    {"overlong in three",             SPAN("\xe0\x9f\xbf"),     0},
    {"overlong in four",              SPAN("\xf0\x8f\xbf\xbf"), 0},
    {"first surrogate",               SPAN("\xed\xa0\x80"),     0},
    {"last surrogate",                SPAN("\xed\xbf\xbf"),     0},
    {"two, cut",                      SPAN("\xc3"),             0},
    {"three, cut after one",          SPAN("\xe2"),             0},
    {"three, cut after two",          SPAN("\xe2\x82"),         0},
    {"four, cut after three",         SPAN("\xf0\x9f\x98"),     0},
    {"two, bad second",               SPAN("\xc3("),            0},
    {"three, bad third",              SPAN("\xe2\x82("),        0},
    {"four, bad fourth",              SPAN("\xf0\x9f\x98("),    0},
    {"only the first is asked about", SPAN("a\xff"),            1},
};

static void test_len(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (utf8_len(rows[i].text) != rows[i].len)
            fail_msg("%s", rows[i].why);
}

/* Each code point, encoded as RFC 3629 3 says. */
static void test_every_code_point(void **state)
{
    (void)state;
    for (unsigned c = 0; c <= 0x10ffff; c++) {
        char b[4];
        size_t n;

        if (c < 0x80) {
            b[0] = (char)c;
            n = 1;
        } else if (c < 0x800) {
            b[0] = (char)(0xc0 | c >> 6);
            b[1] = (char)(0x80 | (c & 63));
            n = 2;
        } else if (c < 0x10000) {
            b[0] = (char)(0xe0 | c >> 12);
            b[1] = (char)(0x80 | (c >> 6 & 63));
            b[2] = (char)(0x80 | (c & 63));
            n = 3;
        } else {
            b[0] = (char)(0xf0 | c >> 18);
            b[1] = (char)(0x80 | (c >> 12 & 63));
            b[2] = (char)(0x80 | (c >> 6 & 63));
            b[3] = (char)(0x80 | (c & 63));
            n = 4;
        }
        if (utf8_len((struct span){b, n}) != (c >= 0xd800 && c < 0xe000 ? 0 : n))
            fail_msg("U+%04X", c);
    }
}

/* Of all strings of three bytes just as many are well formed as there are characters. */
static void test_no_other_three_bytes(void **state)
{
    unsigned found[5] = {0};

    (void)state;
    for (unsigned v = 0; v < 1u << 24; v++) {
        char b[3] = {(char)(v >> 16), (char)(v >> 8), (char)v};

        found[utf8_len((struct span){b, 3})]++;
    }
    assert_int_equal(found[1], 128 << 16);
    assert_int_equal(found[2], 1920 << 8);
    assert_int_equal(found[3], 65536 - 2048 - 2048);
    assert_int_equal(found[4], 0);
}

static void test_texts(void **state)
{
    (void)state;
    assert_true(utf8_is_valid(SPAN("")));
    assert_true(utf8_is_valid(SPAN("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80")));
    assert_false(utf8_is_valid(SPAN("gr\xfc\xdf")));
    assert_false(utf8_is_valid(SPAN("cut \xe2\x82")));
}

static void test_whole(void **state)
{
    static const struct {
        struct span text;
        size_t max, n;
    } cases[] = {
        {SPAN(""),                         5,        0},
        {SPAN("abc"),                      0,        0},
        {SPAN("abc"),                      2,        2},
        {SPAN("abc"),                      3,        3},
        {SPAN("abc"),                      SIZE_MAX, 3},
        {SPAN("a\xc3\xbc"
              "b"),
         2,                                          1},
        {SPAN("a\xc3\xbc"
              "b"),
         3,                                          3},
        {SPAN("\xe2\x82\xac\xe2\x82\xac"), 5,        3},
        {SPAN("\xe2\x82\xac\xe2\x82\xac"), 6,        6},
        {SPAN("a\xff"
              "b"),
         3,                                          1}, /* what is none ends it */
        {SPAN("a\xe2\x82"),                3,        1},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(utf8_whole(cases[i].text, cases[i].max).n, cases[i].n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_len),
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_no_other_three_bytes),
        cmocka_unit_test(test_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
