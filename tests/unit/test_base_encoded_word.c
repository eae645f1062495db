/* SPDX-License-Identifier: Apache-2.0 */
/* base/encoded_word.h: RFC 2047 2, and what is only like it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/encoded_word.h"
#include "guard.h"

enum what {
    NOTHING, /* does not begin one */
    FRONT,   /* begins one, and is none */
    WORD,    /* |out| */
    BAD,     /* not in its encoding */
};

static const struct row {
    const char *name;
    struct span in;
    enum what what;
    const char *charset;
    struct span out;
    size_t behind; /* bytes that are left behind the word */
} rows[] = {
    {"nothing",                      SPAN(""),                                  NOTHING, "",           {NULL, 0},                        0},
    {"q",                            SPAN("=?UTF-8?Q?a?="),                     WORD,    "UTF-8",      SPAN("a"),                        0},
    {"small letters",                SPAN("=?utf-8?q?a?="),                     WORD,    "utf-8",      SPAN("a"),                        0},
    {"q, encoded",                   SPAN("=?iso-8859-1?Q?r=E9sum=e9_1.pdf?="), WORD,    "iso-8859-1",
     SPAN("r\xe9sum\xe9 1.pdf"),                                                                                                         0},
    {"q, NUL",                       SPAN("=?us-ascii?q?a=00b?="),              WORD,    "us-ascii",   SPAN("a\0b"),                     0},
    {"b",                            SPAN("=?utf-8?B?ZXZpbC5leGU=?="),          WORD,    "utf-8",      SPAN("evil.exe"),                 0},
    {"b, two fill",                  SPAN("=?utf-8?b?YQ==?="),                  WORD,    "utf-8",      SPAN("a"),                        0},
    {"b, no padding",                SPAN("=?utf-8?b?YQ?="),                    WORD,    "utf-8",      SPAN("a"),                        0},
    {"b, every digit",               SPAN("=?x?b?+/09AZaz?="),                  WORD,    "x",          SPAN("\xfb\xfd\x3d\x01\x96\xb3"), 0},
    {"empty text",
     SPAN("=?utf-8?q?"
          "?="),
     WORD,                                                                               "utf-8",      SPAN(""),                         0},
    {"a language",                   SPAN("=?utf-8*en?q?a?="),                  WORD,    "utf-8",      SPAN("a"),                        0},
    {"text behind it",               SPAN("=?utf-8?q?a?=.pdf"),                 WORD,    "utf-8",      SPAN("a"),                        4},
    {"longer than the RFC allows",
     SPAN("=?utf-8?q?0123456789012345678901234567890123456789"
          "0123456789012345678901234567890123456789?="),
     WORD,                                                                               "utf-8",
     SPAN("01234567890123456789012345678901234567890123456789012345678901234567890123"
          "456789"),
     0                                                                                                                                    },
    {"a blank inside",               SPAN("=?utf-8?q?a b?="),                   WORD,    "utf-8",      SPAN("a b"),                      0},
    {"q, half a pair",               SPAN("=?utf-8?q?a=4?="),                   BAD,     "utf-8",      {NULL, 0},                        0},
    {"q, no hex",                    SPAN("=?utf-8?q?=zz?="),                   BAD,     "utf-8",      {NULL, 0},                        0},
    {"b, no digit",                  SPAN("=?utf-8?b?YQ-=?="),                  BAD,     "utf-8",      {NULL, 0},                        0},
    {"b, digits behind the padding", SPAN("=?utf-8?b?YQ==YQ==?="),              BAD,     "utf-8",      {NULL, 0},                        0},
    {"b, one digit too many",        SPAN("=?utf-8?b?YWJjZ?="),                 BAD,     "utf-8",      {NULL, 0},                        0},
    {"no end",                       SPAN("=?utf-8?q?evil.exe"),                FRONT,   "",           {NULL, 0},                        0},
    {"half an end",                  SPAN("=?utf-8?q?evil.exe?"),               FRONT,   "",           {NULL, 0},                        0},
    {"a question mark inside",       SPAN("=?utf-8?q?a?b?="),                   FRONT,   "",           {NULL, 0},                        0},
    {"no such encoding",             SPAN("=?utf-8?x?a?="),                     NOTHING, "",           {NULL, 0},                        0},
    {"no charset",                   SPAN("=??q?a?="),                          NOTHING, "",           {NULL, 0},                        0},
    {"a blank in the charset",       SPAN("=?utf 8?q?a?="),                     NOTHING, "",           {NULL, 0},                        0},
    {"no charset that long",
     SPAN("=?01234567890123456789012345678901234567890123456789012345678901"
          "2345?q?a?="),
     NOTHING,                                                                            "",
     {NULL, 0},
     0                                                                                                                                    },
    {"not at the start",             SPAN("a=?utf-8?q?a?="),                    NOTHING, "",           {NULL, 0},                        0},
    {"the front, cut",               SPAN("=?utf-8?q"),                         NOTHING, "",           {NULL, 0},                        0},
};

static void check_out(const struct row *row, const struct encoded_word *w)
{
    struct encoded_word_reader r;
    struct buf out;
    int c;

    buf_init(&out, 0);
    encoded_word_read(&r, w);
    while ((c = encoded_word_next(&r)) >= 0)
        buf_char(&out, (char)c);
    assert_int_equal(c, row->what == BAD ? ENCODED_WORD_BAD : ENCODED_WORD_END);
    if (row->what == WORD && !span_eq(buf_span(&out), row->out))
        fail_msg("%s: '%s'", row->name, buf_cstr(&out));
    buf_done(&out);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct guard g = guard_new(rows[i].in.n + 1);
        struct span in = guard_span(&g, rows[i].in);
        struct encoded_word w;
        size_t len = 4711;
        bool is_word = encoded_word_parse(in, &w, &len);

        print_message("%s\n", rows[i].name);
        assert_int_equal(is_word, rows[i].what >= WORD);
        assert_int_equal(encoded_word_begins(in), rows[i].what != NOTHING);
        if (is_word) {
            assert_int_equal(len, rows[i].in.n - rows[i].behind);
            assert_true(span_eq(w.charset, span_of(rows[i].charset)));
            check_out(&rows[i], &w);
        } else {
            assert_int_equal(len, 4711);
        }
        guard_free(&g);
    }
}

/* Cut anywhere nothing behind the cut is looked at, and a word is none. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct guard g = guard_new(rows[i].in.n + 1);

        for (size_t n = 0; n + rows[i].behind < rows[i].in.n; n++) {
            struct span cut = guard_span(&g, span_sub(rows[i].in, 0, n));
            struct encoded_word w;
            size_t len;

            assert_false(encoded_word_parse(cut, &w, &len));
            (void)encoded_word_begins(cut);
        }
        guard_free(&g);
    }
}

static void test_is_in(void **state)
{
    (void)state;
    assert_false(encoded_word_is_in(SPAN("")));
    assert_false(encoded_word_is_in(SPAN("a=b =? =?x?")));
    assert_true(encoded_word_is_in(SPAN("=?x?q?")));
    assert_true(encoded_word_is_in(SPAN("==?x?B?")));
    assert_true(encoded_word_is_in(SPAN("report =?utf-8?q?a?=")));
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_is_in),
    };

    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("encoded_word", tests, NULL, NULL);
}
