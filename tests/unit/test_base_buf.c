/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"

static void test_text_of_every_kind(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    assert_string_equal(buf_cstr(&b), "");
    buf_done(&b);
    buf_add(&b, SPAN_NONE);
    assert_null(b.p);
    assert_non_null(buf_reserve(&b, 0)); /* NULL would mean an error */
    buf_text(&b, "a");
    buf_text(&b, NULL);
    buf_add(&b, SPAN_NONE);
    buf_char(&b, '-');
    buf_dec(&b, 0);
    buf_char(&b, '-');
    buf_dec(&b, UINT64_MAX);
    buf_fmt(&b, "-%s-%d", "x", -5);
    buf_fmt(&b, "%s", "");
    assert_string_equal(buf_cstr(&b), "a-0-18446744073709551615-x--5");
    assert_int_equal(b.n, 29);
    buf_drop(&b, 2);
    assert_string_equal(buf_cstr(&b), "0-18446744073709551615-x--5");
    buf_drop(&b, b.n);
    assert_string_equal(buf_cstr(&b), "");
    buf_drop(&b, 0);
    buf_done(&b);
    buf_drop(&b, 0);
    buf_done(&b);
}

static bool is_wiped(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

/* Where a secret was nothing is left: neither when it grows nor at its end. */
static void test_secrets_leave_nothing(void **state)
{
    char room[16], text[] = "0123456789abcdef";
    struct buf b;

    (void)state;
    buf_init_secret(&b, 0);
    b.p = room;
    b.cap = sizeof room;
    b.borrowed = true;
    buf_text(&b, text);
    assert_ptr_equal(b.p, room);
    buf_char(&b, 'g');
    assert_ptr_not_equal(b.p, room);
    assert_true(is_wiped(room, sizeof room));
    assert_string_equal(buf_cstr(&b), "0123456789abcdefg");
    for (unsigned i = 0; i < 2000; i++) /* from the heap to the heap */
        buf_text(&b, text);
    assert_int_equal(b.n, 17 + 2000 * 16);
    buf_done(&b);

    b.p = room;
    b.cap = sizeof room;
    b.borrowed = true;
    buf_text(&b, "secret");
    buf_done(&b);
    assert_true(is_wiped(room, sizeof room));
    assert_true(b.secret);
}

/* A flat model grows beside it. */
static void test_growth(void **state)
{
    char *model = malloc(300000);
    size_t n = 0;
    unsigned seed = 11;
    struct buf b;

    (void)state;
    assert_non_null(model);
    buf_init(&b, 0);
    while (n < 200000) {
        size_t len = (size_t)rand_r(&seed) % 700;

        for (size_t i = 0; i < len; i++)
            model[n + i] = (char)rand_r(&seed);
        if (len % 3 == 0) {
            char *room = buf_reserve(&b, len);

            assert_non_null(room);
            memcpy(room, model + n, len);
            b.n += len;
        } else {
            buf_add(&b, (struct span){model + n, len});
        }
        n += len;
        if (len % 50 == 1) {
            buf_drop(&b, len);
            memmove(model, model + len, n - len);
            n -= len;
        }
    }
    assert_int_equal(b.n, n);
    assert_memory_equal(b.p, model, n);
    buf_done(&b);
    free(model);
}

static void add_span(struct buf *b, const char *text)
{
    buf_text(b, text);
}

static void add_fmt(struct buf *b, const char *text)
{
    buf_fmt(b, "%s", text);
}

static void add_reserve(struct buf *b, const char *text)
{
    char *room = buf_reserve(b, strlen(text));

    if (room) {
        memcpy(room, text, strlen(text));
        b->n += strlen(text);
    }
}

static void test_limit(void **state)
{
    static void (*const add[])(struct buf * b, const char *text) = {add_span, add_fmt, add_reserve};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(add); i++) {
        struct buf b;

        buf_init(&b, 10);
        add[i](&b, "0123456789"); /* exactly full: the NUL does not count */
        assert_int_equal(b.err, OK);
        assert_string_equal(buf_cstr(&b), "0123456789");
        assert_int_equal(b.err, OK);
        add[i](&b, "x");
        assert_int_equal(b.err, ERR_LIMIT);
        assert_int_equal(b.n, 10);
        assert_string_equal(buf_cstr(&b), ""); /* never half a text */
        buf_drop(&b, 10);
        add[i](&b, "y"); /* sticky, although there is room now */
        assert_int_equal(b.n, 0);
        buf_reset(&b);
        add[i](&b, "12345");
        assert_string_equal(buf_cstr(&b), "12345");
        assert_int_equal(b.max, 10);
        buf_done(&b);
        assert_int_equal(b.max, 10);
    }
}

static void test_huge_requests(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    buf_char(&b, 'x');
    assert_null(buf_reserve(&b, SIZE_MAX));
    assert_int_equal(b.err, ERR_LIMIT);
    buf_reset(&b);
    assert_null(buf_reserve(&b, SIZE_MAX / 2 + 2));
    assert_int_equal(b.err, ERR_LIMIT);
    buf_done(&b);
}

static void test_failing_allocator(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    mem_fail_after(1);
    buf_text(&b, "abc");
    assert_int_equal(b.err, ERR_NOMEM);
    mem_fail_after(0);
    buf_reset(&b);
    buf_text(&b, "abc");
    mem_fail_after(1);
    buf_fmt(&b, "%0300d", 1);
    mem_fail_after(0);
    assert_int_equal(b.err, ERR_NOMEM);
    assert_memory_equal(b.p, "abc", 3); /* what was there is still there */
    buf_done(&b);
    buf_init(&b, 0);
    mem_fail_after(1);
    assert_string_equal(buf_cstr(&b), "");
    mem_fail_after(0);
    assert_int_equal(b.err, OK);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_of_every_kind),    cmocka_unit_test(test_growth),
        cmocka_unit_test(test_secrets_leave_nothing), cmocka_unit_test(test_limit),
        cmocka_unit_test(test_huge_requests),         cmocka_unit_test(test_failing_allocator),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
