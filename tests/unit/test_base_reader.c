/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "base/reader.h"

static const uint8_t bytes[] = {0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09,
                                0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0xf0, 'a',  'b'};

static void test_reads_in_network_order(void **state)
{
    struct reader r = reader_of(bytes, sizeof bytes);

    (void)state;
    assert_int_equal(read_u8(&r), 0x01);
    assert_int_equal(read_u16(&r), 0x0203);
    assert_int_equal(read_u32(&r), 0x04050607);
    assert_int_equal(read_u64(&r), 0x08090a0b0c0d0e0f);
    assert_int_equal(read_u8(&r), 0xf0);
    assert_int_equal(reader_left(&r), 2);
    assert_true(span_eq(read_span(&r, 2), SPAN("ab")));
    assert_int_equal(reader_left(&r), 0);
    assert_int_equal(read_span(&r, 0).n, 0);
    assert_int_equal(r.err, OK);
}

/* The same reads over every shorter input: the error sticks, and nothing is read past the end. */
static void test_every_truncation(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof bytes; n++) {
        struct reader r = reader_of(bytes, n);

        (void)read_u8(&r);
        (void)read_u16(&r);
        (void)read_u32(&r);
        (void)read_u64(&r);
        (void)read_u8(&r);
        (void)read_span(&r, 2);
        assert_int_equal(r.err, ERR_SYNTAX);
        assert_true(r.off <= n);
        assert_int_equal(reader_left(&r), 0);
        assert_int_equal(read_u8(&r), 0);
        assert_null(read_span(&r, 0).p);
    }
}

static void test_huge_length(void **state)
{
    struct reader r = reader_of(bytes, sizeof bytes);

    (void)state;
    (void)read_u8(&r);
    assert_int_equal(read_span(&r, SIZE_MAX).n, 0); /* off + n would wrap */
    assert_int_equal(r.err, ERR_SYNTAX);
    r = reader_of(NULL, 0);
    assert_int_equal(read_span(&r, 0).n, 0);
    assert_int_equal(r.err, OK);
}

static void test_no_room_at_all(void **state)
{
    struct writer w = writer_of(NULL, 0);

    (void)state;
    write_span(&w, SPAN_NONE);
    assert_int_equal(w.err, OK);
    write_fmt(&w, "%s", "");
    assert_int_equal(w.err, ERR_LIMIT);
}

static void write_everything(struct writer *w)
{
    write_u8(w, 0x01);
    write_u16(w, 0x0203);
    write_u32(w, 0x04050607);
    write_u64(w, 0x08090a0b0c0d0e0f);
    write_text(w, "text");
    write_span(w, SPAN_NONE);
    write_dec(w, 0);
    write_dec(w, UINT64_MAX);
    write_hex(w, 0);
    write_hex(w, UINT64_MAX);
    write_fmt(w, "%u/%s", 42, "x");
}

static const char everything[] = "\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
                                 "text0184467440737095516150ffffffffffffffff42/x";

static void test_writes(void **state)
{
    char dst[sizeof everything + 8];
    struct writer w = writer_of(dst, sizeof dst);

    (void)state;
    write_everything(&w);
    assert_int_equal(w.err, OK);
    assert_true(span_eq(writer_span(&w), (struct span){everything, sizeof everything - 1}));
}

/* Into every smaller room: what is there is right, nothing behind |cap| changes. */
static void test_every_smaller_room(void **state)
{
    (void)state;
    for (size_t cap = 0; cap < sizeof everything - 1; cap++) {
        char dst[sizeof everything];

        memset(dst, '#', sizeof dst);
        struct writer w = writer_of(dst, cap);

        write_everything(&w);
        assert_int_equal(w.err, ERR_LIMIT);
        assert_true(w.n <= cap);
        assert_memory_equal(dst, everything, w.n);
        for (size_t i = cap; i < sizeof dst; i++)
            assert_int_equal(dst[i], '#');
        size_t n = w.n;
        write_u8(&w, 1); /* sticky, also when this one would fit */
        assert_int_equal(w.n, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_in_network_order),
        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_huge_length),
        cmocka_unit_test(test_writes),
        cmocka_unit_test(test_every_smaller_room),
        cmocka_unit_test(test_no_room_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
