/* SPDX-License-Identifier: Apache-2.0 */
/* test_unpack_decode.c - Content-Encodings: what is undone, and what is not inspected and why. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test_pack.h"
#include "worker/decode.h"

#define MIB ((uint64_t)1 << 20)

static uint64_t now_us; /* moves on by |tick_us| with each look */
static uint64_t tick_us;

static uint64_t tick(void *ctx)
{
    (void)ctx;
    now_us += tick_us;
    return now_us;
}

static const struct clock test_clock = {tick, tick, NULL};

static struct decode_limits limits(void)
{
    now_us = tick_us = 0;
    return (struct decode_limits){
        .unpack = {.size_max = 64 * MIB, .ratio_max = 10000, .codings_max = 4},
        .clock = &test_clock,
        .end_us = 1000
    };
}

/* The bytes are copied to memory that ends where they do, for the address sanitizer. */
static enum decode_end decode(const char *encoding, struct span in, const struct decode_limits *l,
                              struct pages *out, struct scan_result *r)
{
    char *copy = malloc(in.n ? in.n : 1);
    enum decode_end end;

    assert_non_null(copy);
    if (in.n)
        memcpy(copy, in.p, in.n);
    memset(r, 0, sizeof *r);
    *out = (struct pages){.p = NULL};
    end = decode_body(span_of(encoding), (struct span){copy, in.n}, l, out, r);
    free(copy);
    return end;
}

static void assert_decodes(const char *encoding, struct span in, struct span want)
{
    const struct decode_limits l = limits();
    struct scan_result r;
    struct pages out;

    assert_int_equal(decode(encoding, in, &l, &out, &r), DECODE_DONE);
    assert_int_equal(r.verdict, VERDICT_PASS);
    assert_int_equal(out.n, want.n);
    assert_memory_equal(out.p, want.p, want.n);
    pages_done(&out);
}

static void assert_refused(const char *encoding, struct span in, const struct decode_limits *l,
                           const char *why)
{
    struct scan_result r;
    struct pages out;

    assert_int_equal(decode(encoding, in, l, &out, &r), DECODE_FAILED);
    assert_int_equal(r.verdict, VERDICT_NOT_INSPECTED);
    assert_int_equal(r.cause, CAUSE_NOT_INSPECTED);
    if (!strstr(r.why, why))
        print_error("\"%s\" is not in \"%s\"\n", why, r.why);
    assert_non_null(strstr(r.why, why));
    pages_done(&out);
}

static const struct span text = {
    "Nothing is hidden in these few bytes, which say so twice: nothing is hidden.", 76};

/* --- what is undone --- */

static const struct {
    const char *steps[4]; /* as test_pack.h names them, in the order in which they are applied */
    const char *encoding;
} rows[] = {
    {{"gzip"},                          "gzip"                      },
    {{"gzip"},                          "X-GZip"                    },
    {{"deflate"},                       "deflate"                   },
    {{"raw"},                           "deflate"                   },
    {{"br"},                            "br"                        },
    {{"zstd"},                          "zstd"                      },
    {{"gzip"},                          "identity, gzip, , identity"},
    {{"gzip", "br"},                    "gzip, br"                  },
    {{"br", "gzip"},                    "br,gzip"                   },
    {{"deflate", "raw"},                "deflate, deflate"          },
    {{"gzip", "deflate", "br", "zstd"}, "gzip,deflate,br,zstd"      },
    {{"zstd", "zstd", "zstd", "zstd"},  "zstd, zstd, zstd, zstd"    },
};

static void pack_all(const char *const steps[4], struct span in, struct buf *out)
{
    struct buf from;

    buf_init(&from, 0);
    buf_reset(out);
    buf_add(out, in);
    for (size_t i = 0; i < 4 && steps[i]; i++) {
        buf_reset(&from);
        buf_add(&from, buf_span(out));
        buf_reset(out);
        pack(steps[i], buf_span(&from), out);
    }
    buf_done(&from);
}

static void test_codings(void **state)
{
    struct buf packed;
    char *large = malloc(300000);

    (void)state;
    assert_non_null(large);
    for (size_t i = 0; i < 300000; i++)
        large[i] = (char)(i * i >> 7);
    buf_init(&packed, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        pack_all(rows[i].steps, text, &packed);
        assert_decodes(rows[i].encoding, buf_span(&packed), text);
        pack_all(rows[i].steps, (struct span){large, 300000}, &packed);
        assert_decodes(rows[i].encoding, buf_span(&packed), (struct span){large, 300000});
    }
    buf_done(&packed);
    free(large);
}

static void test_nothing_to_undo(void **state)
{
    static const char *const encodings[] = {"", "identity", " , ", "Identity,identity"};
    const struct decode_limits l = limits();
    struct scan_result r;
    struct pages out;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(encodings); i++) {
        assert_int_equal(decode(encodings[i], text, &l, &out, &r), DECODE_PLAIN);
        assert_null(out.p);
        assert_int_equal(r.verdict, VERDICT_PASS);
    }
}

/* Streams one after the other are one body, and padding is none of it. */
static void test_several_streams(void **state)
{
    static const char *const codings[] = {"gzip", "zstd"};
    struct buf packed, twice;

    (void)state;
    buf_init(&packed, 0);
    buf_init(&twice, 0);
    buf_add(&twice, text);
    buf_add(&twice, text);
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        buf_reset(&packed);
        pack(codings[i], text, &packed);
        pack(codings[i], text, &packed);
        assert_decodes(codings[i], buf_span(&packed), buf_span(&twice));
        for (unsigned k = 0; k < 700; k++)
            buf_char(&packed, '\0');
        assert_decodes(codings[i], buf_span(&packed), buf_span(&twice));
    }
    buf_reset(&packed);
    pack("zstd", text, &packed);
    buf_add(&packed, SPAN("\x5f\x2a\x4d\x18\x03\0\0\0abc")); /* RFC 8878 3.1.2, skippable */
    pack("zstd", text, &packed);
    assert_decodes("zstd", buf_span(&packed), buf_span(&twice));
    buf_done(&packed);
    buf_done(&twice);
}

/* --- what is not inspected --- */

static const char *const codings[] = {"gzip", "deflate", "raw", "br", "zstd"};

static const char *field_of(const char *coding)
{
    return strcmp(coding, "raw") == 0 ? "deflate" : coding;
}

static void test_cut_anywhere(void **state)
{
    const struct decode_limits l = limits();
    struct buf packed;

    (void)state;
    buf_init(&packed, 0);
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        buf_reset(&packed);
        pack(codings[i], text, &packed);
        for (size_t n = 1; n < packed.n; n++)
            assert_refused(field_of(codings[i]), (struct span){packed.p, n}, &l, "data ");
        assert_refused(field_of(codings[i]), (struct span){packed.p, packed.n - 1}, &l,
                       "data ends early");
    }
    buf_done(&packed);
}

static void test_trailing_bytes(void **state)
{
    static const struct span trailing[] = {
        {"x",            1},
        {"\0\0x",        3},
        {"\x1f",         1},
        {"\x28\xb5\x2f", 3}
    };
    const struct decode_limits l = limits();
    struct buf packed;

    (void)state;
    buf_init(&packed, 0);
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        for (size_t k = 0; k < ARRAY_LEN(trailing); k++) {
            buf_reset(&packed);
            pack(codings[i], text, &packed);
            buf_add(&packed, trailing[k]);
            assert_refused(field_of(codings[i]), buf_span(&packed), &l, "follow the end of the ");
        }
    }
    buf_done(&packed);
}

/* A second stream that is damaged is not taken for trailing bytes, and a first one that is whole
 * does not make up for it. */
static void test_second_stream_damaged(void **state)
{
    const struct decode_limits l = limits();
    struct buf packed;

    (void)state;
    buf_init(&packed, 0);
    pack("gzip", text, &packed);
    buf_add(&packed, SPAN("\x1f\x8b\x08\x00"));
    assert_refused("gzip", buf_span(&packed), &l, "the gzip data ends early");
    buf_add(&packed, SPAN("\0\0\0\0\0\x03\xff\xff\xff\xff\xff\xff\xff"));
    assert_refused("gzip", buf_span(&packed), &l, "the gzip data is damaged at byte");
    buf_done(&packed);
}

/* One bit anywhere: never the same text as if nothing were, unless the bit means nothing (in a gzip
 * header: time, system, flags that are for people; in brotli: nothing checks). */
static void test_flipped_bits(void **state)
{
    static const char *const checked[] = {"gzip", "deflate"};
    const struct decode_limits l = limits();
    struct buf packed;

    (void)state;
    buf_init(&packed, 0);
    for (size_t i = 0; i < ARRAY_LEN(checked); i++) {
        buf_reset(&packed);
        pack(checked[i], text, &packed);
        for (size_t at = i == 0 ? 10 : 2; at < packed.n; at++) {
            packed.p[at] ^= 1;
            assert_refused(checked[i], buf_span(&packed), &l, "data ");
            packed.p[at] ^= 1;
        }
    }
    buf_done(&packed);
}

static void test_codings_that_are_not_ours(void **state)
{
    struct decode_limits l = limits();
    struct buf packed;

    (void)state;
    buf_init(&packed, 0);
    pack("gzip", text, &packed);
    assert_refused("compress", text, &l, "the content coding \"compress\" is not known");
    assert_refused("gzip, compress", text, &l, "\"compress\"");
    assert_refused("compress, gzip", buf_span(&packed), &l, "\"compress\"");
    assert_refused("gz\"\x01p", text, &l, "\"gz\\\"\\x01p\"");
    assert_refused("gzip;q=1", buf_span(&packed), &l, "\"gzip;q=1\"");
    assert_refused("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                   text, &l, "aaa...\" is not known");
    assert_refused("gzip", text, &l, "the gzip data is damaged at byte 0");
    assert_refused("zstd", text, &l, "the zstd data is damaged at byte 0");
    assert_refused("gzip, gzip, gzip, gzip, gzip", text, &l, "more than 4 content codings");
    l.unpack.codings_max = 0;
    assert_refused("gzip", buf_span(&packed), &l, "more than 0 content codings");
    buf_done(&packed);
}

/* --- bombs --- */

/* 8 MiB of zeros. */
static const char brotli_bomb[] = "\x9f\xff\xff\x7f\xf8\x27\x00\xe2\xb1\x40\x20\xf7\xfe\x0f";

static void fill_bomb(const char *coding, struct buf *out)
{
    char *zeros = calloc(1, 8 * MIB);

    assert_non_null(zeros);
    buf_reset(out);
    if (strcmp(coding, "br") == 0)
        buf_add(out, (struct span){brotli_bomb, sizeof brotli_bomb - 1});
    else
        pack(coding, (struct span){zeros, 8 * MIB}, out);
    free(zeros);
}

static void test_bombs(void **state)
{
    struct buf bomb;

    (void)state;
    buf_init(&bomb, 0);
    for (size_t i = 0; i < ARRAY_LEN(codings); i++) {
        struct decode_limits l = limits();
        struct scan_result r;
        struct pages out;

        l.unpack.ratio_max = UINT32_MAX;
        l.unpack.size_max = 8 * MIB;
        fill_bomb(codings[i], &bomb);
        assert_true(bomb.n < 10000);
        assert_int_equal(decode(field_of(codings[i]), buf_span(&bomb), &l, &out, &r), DECODE_DONE);
        assert_int_equal(out.n, 8 * MIB);
        pages_done(&out);
        l.unpack.size_max = 8 * MIB - 1;
        assert_refused(field_of(codings[i]), buf_span(&bomb), &l,
                       "the body decompresses to more than 8388607 bytes");
        l = limits();
        l.unpack.ratio_max = 100;
        assert_refused(field_of(codings[i]), buf_span(&bomb), &l,
                       "the body decompresses to more than 100 times its size");
    }
    buf_done(&bomb);
}

/* The ratio counts from what came over the net: a bomb in a bomb is no smaller for it. */
static void test_nested_bomb(void **state)
{
    struct decode_limits l = limits();
    struct buf bomb, outer;

    (void)state;
    buf_init(&bomb, 0);
    buf_init(&outer, 0);
    fill_bomb("gzip", &bomb);
    pack("gzip", buf_span(&bomb), &outer);
    assert_true(outer.n < 200);
    l.unpack.ratio_max = 2000;
    assert_refused("gzip, gzip", buf_span(&outer), &l, "more than 2000 times");
    buf_done(&bomb);
    buf_done(&outer);
}

/* Small bodies may be packed as well as they like. */
static void test_ratio_counts_from_a_mebibyte(void **state)
{
    struct decode_limits l = limits();
    struct scan_result r;
    struct pages out;
    struct buf packed;
    char *zeros = calloc(1, MIB + 1);

    (void)state;
    assert_non_null(zeros);
    l.unpack.ratio_max = 2;
    buf_init(&packed, 0);
    pack("gzip", (struct span){zeros, MIB}, &packed);
    assert_int_equal(decode("gzip", buf_span(&packed), &l, &out, &r), DECODE_DONE);
    assert_int_equal(out.n, MIB);
    pages_done(&out);
    buf_reset(&packed);
    pack("gzip", (struct span){zeros, MIB + 1}, &packed);
    assert_refused("gzip", buf_span(&packed), &l, "more than 2 times its size");
    buf_done(&packed);
    free(zeros);
}

/* A window of 256 MiB, which the frame only says it needs. */
static void test_window(void **state)
{
    const struct decode_limits l = limits();

    (void)state;
    assert_refused("zstd", SPAN("\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00"), &l,
                   "the zstd data needs too large a window");
    assert_decodes("zstd", SPAN("\x28\xb5\x2f\xfd\x00\x68\x09\x00\x00x"), SPAN("x"));
}

static void test_time(void **state)
{
    struct decode_limits l = limits();
    struct scan_result r;
    struct pages out;
    struct buf bomb;

    (void)state;
    buf_init(&bomb, 0);
    fill_bomb("gzip", &bomb);
    tick_us = 300; /* at 1000 it is over: 4 looks, a mebibyte each */
    assert_int_equal(decode("gzip", buf_span(&bomb), &l, &out, &r), DECODE_FAILED);
    assert_int_equal(r.verdict, VERDICT_ERROR);
    assert_int_equal(r.cause, CAUSE_TIMEOUT);
    assert_int_equal(r.err, ERR_TIMEOUT);
    assert_int_equal(out.n, 4 * MIB);
    pages_done(&out);
    buf_done(&bomb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_codings),
        cmocka_unit_test(test_nothing_to_undo),
        cmocka_unit_test(test_several_streams),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_trailing_bytes),
        cmocka_unit_test(test_second_stream_damaged),
        cmocka_unit_test(test_flipped_bits),
        cmocka_unit_test(test_codings_that_are_not_ours),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_nested_bomb),
        cmocka_unit_test(test_ratio_counts_from_a_mebibyte),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
