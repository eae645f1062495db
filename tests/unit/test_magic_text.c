/* SPDX-License-Identifier: Apache-2.0 */
/* What libmagic makes of bytes before it tries tests for text: rows, and short files of all kinds,
 * of which libmagic itself says whether they are text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <magic.h>

#include "base/buf.h"
#include "guard.h"
#include "worker/magic_text.h"

#define ROUNDS 20000u

static char room[2 * MAGIC_ENCODING_MAX];

/* clang-format off */
static const struct {
    const char *name;
    struct span in;
    enum magic_text_kind kind;
    struct span text;
} rows[] = {
    {"ASCII", SPAN("hello\r\n\t\f\x1b\a\b\v"), MAGIC_TEXT_IS, SPAN("hello\r\n\t\f\x1b\a\b\v")},
    {"nothing", SPAN(""), MAGIC_TEXT_UNKNOWN, SPAN_NONE},
    {"one letter", SPAN("a"), MAGIC_TEXT_IS, SPAN("a")},
    {"UTF-8", SPAN("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"), MAGIC_TEXT_IS,
     SPAN("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80")},
    {"a mark before UTF-8", SPAN("\xef\xbb\xbfhello \xc3\xa4"), MAGIC_TEXT_IS, SPAN("hello \xc3\xa4")},
    {"a mark alone is a letter", SPAN("\xef\xbb\xbf"), MAGIC_TEXT_IS, SPAN("\xef\xbb\xbf")},
    {"a mark before Latin 1", SPAN("\xef\xbb\xbfh\xe4llo"), MAGIC_TEXT_IS,
     SPAN("\xc3\xaf\xc2\xbb\xc2\xbfh\xc3\xa4llo")},
    {"Latin 1", SPAN("h\xe4llo"), MAGIC_TEXT_IS, SPAN("h\xc3\xa4llo")},
    {"Windows' Latin 1", SPAN("h\x80llo"), MAGIC_TEXT_IS, SPAN("h\xc2\x80llo")},
    {"next line in ASCII", SPAN("a\x85" "bcd"), MAGIC_TEXT_IS, SPAN("a\xc2\x85" "bcd")},
    {"a surrogate in UTF-8", SPAN("a\xed\xa0\x80" "bc"), MAGIC_TEXT_IS,
     SPAN("a\xc3\xad\xc2\xa0\xc2\x80" "bc")},
    {"cut UTF-8", SPAN("hello \xe2\x82"), MAGIC_TEXT_UNKNOWN, SPAN_NONE},
    {"Latin 1 at the end", SPAN("hell\xf6"), MAGIC_TEXT_UNKNOWN, SPAN_NONE},
    {"UTF-16", SPAN("\xff\xfeh\0i\0"), MAGIC_TEXT_UNKNOWN, SPAN_NONE},
    {"UTF-16, big end first", SPAN("\xfe\xff\0h\0i"), MAGIC_TEXT_UNKNOWN, SPAN_NONE},
    {"UTF-32", SPAN("\xff\xfe\0\0h\0\0\0"), MAGIC_TEXT_UNKNOWN, SPAN_NONE},
    {"UTF-32, big end first", SPAN("\0\0\xfe\xff\0\0\0h"), MAGIC_TEXT_UNKNOWN, SPAN_NONE},
    {"NUL", SPAN("hello\0there"), MAGIC_TEXT_NONE, SPAN_NONE},
    {"NUL before UTF-8", SPAN("\xc3\xa4\0there"), MAGIC_TEXT_NONE, SPAN_NONE},
    {"NUL behind a mark", SPAN("\xef\xbb\xbf\0there"), MAGIC_TEXT_NONE, SPAN_NONE},
    {"a byte of 1", SPAN("\1hello"), MAGIC_TEXT_NONE, SPAN_NONE},
    {"NUL at the end is taken off", SPAN("hello\0\0"), MAGIC_TEXT_UNKNOWN, SPAN_NONE},
    {"another NUL before that", SPAN("hel\0lo\0\0"), MAGIC_TEXT_NONE, SPAN_NONE},
    {"NUL alone", SPAN("\0"), MAGIC_TEXT_NONE, SPAN_NONE},
    {"control characters, or EBCDIC", SPAN("hello\x05"), MAGIC_TEXT_UNKNOWN, SPAN_NONE},
    {"DEL", SPAN("hello\x7f"), MAGIC_TEXT_UNKNOWN, SPAN_NONE},
};
/* clang-format on */

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct guard g = guard_new(rows[i].in.n);
        struct span text = SPAN_NONE;

        print_message("%s\n", rows[i].name);
        assert_int_equal(magic_text_of(guard_span(&g, rows[i].in), room, &text), rows[i].kind);
        assert_int_equal(text.n, rows[i].text.n);
        if (text.n)
            assert_memory_equal(text.p, rows[i].text.p, text.n);
        guard_free(&g);
    }
}

/* A letter across the end of what libmagic makes text of. */
static void test_long(void **state)
{
    size_t n = MAGIC_ENCODING_MAX + 8;
    char *p = malloc(n);
    struct span text = SPAN_NONE;

    (void)state;
    assert_non_null(p);
    memset(p, 'a', n);
    memcpy(p + MAGIC_ENCODING_MAX - 1, "\xe2\x82\xac", 3);
    assert_int_equal(magic_text_of((struct span){p, n}, room, &text), MAGIC_TEXT_IS);
    assert_int_equal(text.n, MAGIC_ENCODING_MAX);
    /* In front of the end it is none, and then nobody knows what libmagic would say of it. */
    p[MAGIC_ENCODING_MAX + 1] = 'a';
    assert_int_equal(magic_text_of((struct span){p, n}, room, &text), MAGIC_TEXT_UNKNOWN);
    /* Behind it, libmagic does not look. */
    memset(p + MAGIC_ENCODING_MAX - 1, 'a', 3);
    memset(p + MAGIC_ENCODING_MAX, 0, 8);
    assert_int_equal(magic_text_of((struct span){p, n}, room, &text), MAGIC_TEXT_IS);
    p[MAGIC_ENCODING_MAX - 1] = '\0';
    assert_int_equal(magic_text_of((struct span){p, n}, room, &text), MAGIC_TEXT_UNKNOWN);
    /* All of it high: twice as long. */
    memset(p, 0xe4, n);
    assert_int_equal(magic_text_of((struct span){p, n}, room, &text), MAGIC_TEXT_IS);
    assert_int_equal(text.n, 2 * MAGIC_ENCODING_MAX);
    free(p);
}

static uint32_t seed = 1;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint32_t)(((uint64_t)(seed ^ seed >> 15) * below) >> 32);
}

static size_t make_bytes(char *p, size_t max)
{
    static const struct span bits[] = {
        SPAN("a"),        SPAN("\n"),           SPAN("\xc3\xa4"),     SPAN("\xe2\x82\xac"),
        SPAN("\xe4"),     SPAN("\x85"),         SPAN("\xed\xa0\x80"), SPAN("\xf0\x9f\x98\x80"),
        SPAN("\0"),       SPAN("\1"),           SPAN("\x05"),         SPAN("\x7f"),
        SPAN("\xff\xfe"), SPAN("\xef\xbb\xbf"), SPAN("+/v8"),         SPAN("\x96\x85\x40")};
    unsigned kinds = 1 + next_random(ARRAY_LEN(bits));
    size_t n = 0;

    for (unsigned i = 1 + next_random(12); i > 0 && n + 4 < max; i--) {
        struct span bit = bits[next_random(next_random(2) ? kinds : ARRAY_LEN(bits))];

        memcpy(p + n, bit.p, bit.n);
        n += bit.n;
    }
    return n;
}

/* The kind is never one that libmagic contradicts. */
static void test_libmagic(void **state)
{
    magic_t m = magic_open(MAGIC_MIME_ENCODING | MAGIC_NO_CHECK_COMPRESS);
    unsigned n_kinds[3] = {0};
    char bytes[64];

    (void)state;
    assert_non_null(m);
    assert_int_equal(magic_load(m, NULL), 0);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct span in = {bytes, make_bytes(bytes, sizeof bytes)}, text;
        enum magic_text_kind kind = magic_text_of(in, room, &text);
        const char *said;

        n_kinds[kind]++;
        if (in.n < 2 || kind == MAGIC_TEXT_UNKNOWN)
            continue;
        said = magic_buffer(m, in.p, in.n);
        assert_non_null(said);
        assert_int_equal(strcmp(said, "binary") == 0, kind == MAGIC_TEXT_NONE);
    }
    magic_close(m);
    for (size_t i = 0; i < ARRAY_LEN(n_kinds); i++)
        assert_true(n_kinds[i] > ROUNDS / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_libmagic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
