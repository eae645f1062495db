/* SPDX-License-Identifier: Apache-2.0 */
/* http/chunk.h: one row, one chunked body; whole, byte by byte, cut at each byte, in front of a
 * guard page, and with each allocation failing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/arena.h"
#include "guard.h"
#include "http/chunk.h"

static const struct chunk_limits limits = {
    .line_max = 64, .trailer_max = 48, .trailers_max = 3, .overhead_max = 200};

struct row {
    const char *name;
    struct span in;
    enum err want; /* OK: the body ends; ERR_AGAIN: it does not */
    const char *data;
    const char *trailers;
    bool ieof;
    uint64_t original;
    size_t used; /* 0: all */
};

#define S(text)                  \
    {                            \
        (text), sizeof(text) - 1 \
    }
#define NO   CHUNK_NO_ORIGINAL
#define L8   "aaaaaaaa"
#define L32  L8 L8 L8 L8
#define Z8   "00000000"
#define TINY "1;" L32 "\r\na\r\n"

static const struct row rows[] = {
    {"empty body",                             S("0\r\n\r\n"),                                         OK,        "",            "",                         false, NO, 0},
    {"one chunk",                              S("5\r\nhello\r\n0\r\n\r\n"),                           OK,        "hello",       "",                         false, NO, 0},
    {"two chunks",                             S("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"),            OK,        "hello world", "",                         false, NO,
     0                                                                                                                                                                   },
    {"data that looks like framing",           S("5\r\n0\r\n\r\n\r\n0\r\n\r\n"),                       OK,        "0\r\n\r\n",   "",                         false,
     NO,                                                                                                                                                                0},
    {"upper and lower case",                   S("A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n"),  OK,
     "01234567890123456789a",                                                                                                    "",                         false, NO, 0},
    {"leading zeros",                          S("000005\r\nhello\r\n0000\r\n\r\n"),                   OK,        "hello",       "",                         false, NO, 0},
    {"17 digits whose value fits",             S("0" Z8 "00000005\r\nhello\r\n0\r\n\r\n"),             OK,        "hello",       "",
     false,                                                                                                                                                         NO, 0},
    {"bytes behind the end",                   S("0\r\n\r\nGET"),                                      OK,        "",            "",                         false, NO, 5},
    {"0; ieof",                                S("0; ieof\r\n\r\n"),                                   OK,        "",            "",                         true,  NO, 0},
    {"0;ieof",                                 S("0;ieof\r\n\r\n"),                                    OK,        "",            "",                         true,  NO, 0},
    {"0 ; ieof",                               S("0 ; ieof\r\n\r\n"),                                  OK,        "",            "",                         true,  NO, 0},
    {"0; IEOF",                                S("0; IEOF\r\n\r\n"),                                   OK,        "",            "",                         true,  NO, 0},
    {"000;ieof",                               S("000;ieof\r\n\r\n"),                                  OK,        "",            "",                         true,  NO, 0},
    {"tabs around it",                         S("0\t;\tieof\r\n\r\n"),                                OK,        "",            "",                         true,  NO, 0},
    {"ieof among others",                      S("0;a;ieof;b=c\r\n\r\n"),                              OK,        "",            "",                         true,  NO, 0},
    {"ieof with a value is another extension", S("0;ieof=1\r\n\r\n"),                                  OK,        "",            "",                         false, NO, 0},
    {"ieof as a value",                        S("0;a=ieof\r\n\r\n"),                                  OK,        "",            "",                         false, NO, 0},
    {"ieofx",                                  S("0;ieofx\r\n\r\n"),                                   OK,        "",            "",                         false, NO, 0},
    {"ieof on a chunk with data",              S("1;ieof\r\na\r\n0\r\n\r\n"),                          OK,        "a",           "",                         false, NO, 0},
    {"use-original-body",                      S("0; use-original-body=42\r\n\r\n"),                   OK,        "",            "",                         false, 42, 0},
    {"use-original-body=0",                    S("0;use-original-body=0\r\n\r\n"),                     OK,        "",            "",                         false, 0,  0},
    {"Use-Original-Body with BWS",             S("0; Use-Original-Body = 7\r\n\r\n"),                  OK,        "",            "",                         false, 7,  0},
    {"use-original-body on data",              S("1;use-original-body=x\r\na\r\n0\r\n\r\n"),           OK,        "a",           "",                         false,
     NO,                                                                                                                                                                0},
    {"use-original-body twice",                S("0;use-original-body=1;use-original-body=1\r\n\r\n"), ERR_PROTO,
     "",                                                                                                                         "",                         false, NO, 0},
    {"use-original-body without value",        S("0;use-original-body\r\n\r\n"),                       ERR_PROTO, "",            "",                         false,
     NO,                                                                                                                                                                0},
    {"use-original-body=-1",                   S("0;use-original-body=-1\r\n\r\n"),                    ERR_PROTO, "",            "",                         false, NO, 0},
    {"use-original-body quoted",               S("0;use-original-body=\"1\"\r\n\r\n"),                 ERR_PROTO, "",            "",                         false,
     NO,                                                                                                                                                                0},
    {"use-original-body=2^63",                 S("0;use-original-body=9223372036854775808\r\n\r\n"),   ERR_PROTO, "",
     "",                                                                                                                                                     false, NO, 0},
    {"token extension",                        S("5;foo=bar\r\nhello\r\n0\r\n\r\n"),                   OK,        "hello",       "",                         false, NO, 0},
    {"valueless extension",                    S("5;foo\r\nhello\r\n0\r\n\r\n"),                       OK,        "hello",       "",                         false, NO, 0},
    {"quoted extension",                       S("5;foo=\"b;a=\\\"r\"\r\nhello\r\n0\r\n\r\n"),         OK,        "hello",       "",                         false, NO,
     0                                                                                                                                                                   },
    {"several, with BWS",                      S("5 ; a = b ; c=\"d\" ;e\r\nhello\r\n0\r\n\r\n"),      OK,        "hello",       "",                         false,
     NO,                                                                                                                                                                0},
    {"empty quoted value",                     S("0;a=\"\"\r\n\r\n"),                                  OK,        "",            "",                         false, NO, 0},
    {"extension without a name",               S("5;\r\nhello"),                                       ERR_PROTO, "",            "",                         false, NO, 0},
    {"extension with only a value",            S("5;=a\r\nhello"),                                     ERR_PROTO, "",            "",                         false, NO, 0},
    {"extension without its value",            S("5;a=\r\nhello"),                                     ERR_PROTO, "",            "",                         false, NO, 0},
    {"open quote",                             S("5;a=\"b\r\nhello"),                                  ERR_PROTO, "",            "",                         false, NO, 0},
    {"control byte in quotes",                 S("5;a=\"\x01\"\r\nhello"),                             ERR_PROTO, "",            "",                         false, NO, 0},
    {"CR in quotes",                           S("5;a=\"\r\"\r\nhello"),                               ERR_PROTO, "",            "",                         false, NO, 0},
    {"two values",                             S("5;a=b=c\r\nhello"),                                  ERR_PROTO, "",            "",                         false, NO, 0},
    {"no semicolon",                           S("5 a\r\nhello"),                                      ERR_PROTO, "",            "",                         false, NO, 0},
    {"white space behind the size",            S("5 \r\nhello"),                                       ERR_PROTO, "",            "",                         false, NO, 0},
    {"white space before the size",            S(" 5\r\nhello"),                                       ERR_PROTO, "",            "",                         false, NO, 0},
    {"empty size line",                        S("\r\n0\r\n\r\n"),                                     ERR_PROTO, "",            "",                         false, NO, 0},
    {"0x5",                                    S("0x5\r\nhello"),                                      ERR_PROTO, "",            "",                         false, NO, 0},
    {"+5",                                     S("+5\r\nhello"),                                       ERR_PROTO, "",            "",                         false, NO, 0},
    {"-1",                                     S("-1\r\nhello"),                                       ERR_PROTO, "",            "",                         false, NO, 0},
    {"5g",                                     S("5g\r\nhello"),                                       ERR_PROTO, "",            "",                         false, NO, 0},
    {"2^63 - 1",                               S("7fffffffffffffff\r\nhello"),                         ERR_AGAIN, "hello",       "",                         false, NO, 0},
    {"2^63",                                   S("8000000000000000\r\nhello"),                         ERR_PROTO, "",            "",                         false, NO, 0},
    {"2^64",                                   S("10000000000000000\r\nhello"),                        ERR_PROTO, "",            "",                         false, NO, 0},
    {"20 digits",                              S("ffffffffffffffffffff\r\nhello"),                     ERR_PROTO, "",            "",                         false, NO, 0},
    {"sum over 2^63",                          S("1\r\na\r\n7fffffffffffffff\r\nhello"),               ERR_PROTO, "a",           "",                         false, NO, 0},
    {"bare LF after a size",                   S("5\nhello\r\n0\r\n\r\n"),                             ERR_PROTO, "",            "",                         false, NO, 0},
    {"bare LF after data",                     S("5\r\nhello\n0\r\n\r\n"),                             ERR_PROTO, "hello",       "",                         false, NO, 0},
    {"CR CR after data",                       S("5\r\nhello\r\r"),                                    ERR_PROTO, "hello",       "",                         false, NO, 0},
    {"too much data",                          S("5\r\nhello!\r\n0\r\n\r\n"),                          ERR_PROTO, "hello",       "",                         false, NO, 0},
    {"too little data",                        S("5\r\nhell\r\n0\r\n\r\n"),                            ERR_PROTO, "hell\r",      "",                         false, NO, 0},
    {"unfinished size",                        S("5"),                                                 ERR_AGAIN, "",            "",                         false, NO, 0},
    {"unfinished data",                        S("5\r\nhel"),                                          ERR_AGAIN, "hel",         "",                         false, NO, 0},
    {"unfinished end",                         S("0\r\n\r"),                                           ERR_AGAIN, "",            "",                         false, NO, 0},
    {"size line at the limit",                 S("5;" L32 L8 L8 L8 "aaaaaa\r\nhello\r\n0\r\n\r\n"),    OK,        "hello",       "",
     false,                                                                                                                                                         NO, 0},
    {"size line over the limit",               S("5;" L32 L8 L8 L8 "aaaaaaa\r\nhello\r\n0\r\n\r\n"),   ERR_LIMIT,
     "",                                                                                                                         "",                         false, NO, 0},
    {"endless size line",                      S("5;" L32 L32 L32),                                    ERR_LIMIT, "",            "",                         false, NO, 0},
    {"framing without data",                   S(TINY TINY TINY TINY TINY TINY),                       ERR_LIMIT, "aaaaa",       "",                         false, NO,
     0                                                                                                                                                                   },
    {"a trailer",                              S("0\r\nA: b\r\n\r\n"),                                 OK,        "",            "A: b\r\n",                 false, NO, 0},
    {"three trailers",                         S("0\r\nA: b\r\nC:\r\nD: e f\r\n\r\n"),                 OK,        "",            "A: b\r\nC:\r\nD: e f\r\n",
     false,                                                                                                                                                         NO, 0},
    {"trailer after ieof",                     S("0; ieof\r\nA: b\r\n\r\n"),                           OK,        "",            "A: b\r\n",                 true,  NO, 0},
    {"four trailers",                          S("0\r\nA: b\r\nC:\r\nD:\r\nE:\r\n\r\n"),               ERR_LIMIT, "",            "",                         false, NO, 0},
    {"trailers at the limit",                  S("0\r\nA: " L32 L8 "aaa\r\n\r\n"),                     OK,        "",            "A: " L32 L8 "aaa\r\n",
     false,                                                                                                                                                         NO, 0},
    {"trailers over the limit",                S("0\r\nA: " L32 L8 "aaaa\r\n\r\n"),                    ERR_LIMIT, "",            "",                         false, NO,
     0                                                                                                                                                                   },
    {"endless trailer",                        S("0\r\nA: " L32 L32),                                  ERR_LIMIT, "",            "",                         false, NO, 0},
    {"trailer without a colon",                S("0\r\nA b\r\n\r\n"),                                  ERR_PROTO, "",            "",                         false, NO, 0},
    {"trailer with a space before it",         S("0\r\nA : b\r\n\r\n"),                                ERR_PROTO, "",            "",                         false, NO, 0},
    {"folded trailer",                         S("0\r\nA: b\r\n c\r\n\r\n"),                           ERR_PROTO, "",            "",                         false, NO, 0},
    {"bare LF in a trailer",                   S("0\r\nA: b\n\r\n"),                                   ERR_PROTO, "",            "",                         false, NO, 0},
    {"bare LF as the end",                     S("0\r\n\n"),                                           ERR_PROTO, "",            "",                         false, NO, 0},
    {"NUL in a trailer",                       S("0\r\nA: \0\r\n\r\n"),                                ERR_PROTO, "",            "",                         false, NO, 0},
};

struct run {
    struct chunk_decoder d;
    struct buf data;
    enum err err; /* ERR_AGAIN until it is over */
    size_t used;
    bool ieof;
    uint64_t original;
    unsigned lasts;
};

static void run_init(struct run *r)
{
    *r = (struct run){.err = ERR_AGAIN, .original = NO};
    chunk_decoder_init(&r->d);
    buf_init(&r->data, 0);
}

static void run_feed(struct run *r, struct span in)
{
    while (r->err == ERR_AGAIN) {
        struct chunk_event ev;
        struct fault f = {0};
        size_t used = 0;
        enum err e = chunk_next(&r->d, &limits, in, &used, &ev, &f);

        if (e) {
            r->err = e;
            if (!f.why || f.err != e || (e != ERR_NOMEM && f.status != 400))
                fail_msg("fault without words");
            return;
        }
        assert_true(used <= in.n);
        in = span_sub(in, used, SIZE_MAX);
        r->used += used;
        switch (ev.kind) {
        case CHUNK_NEED: assert_int_equal(in.n, 0); return;
        case CHUNK_DATA:
            assert_true(ev.data.n > 0);
            buf_add(&r->data, ev.data);
            break;
        case CHUNK_LAST:
            r->lasts++;
            r->ieof = ev.ieof;
            r->original = ev.use_original;
            break;
        case CHUNK_END: r->err = OK; break;
        }
    }
}

static void run_check(struct run *r, const struct row *row, const char *how)
{
    if (r->err != row->want)
        fail_msg("%s (%s): %s", row->name, how, err_code(r->err));
    if (!span_eq(buf_span(&r->data), span_of(row->data)))
        fail_msg("%s (%s): data " SPAN_FMT, row->name, how, SPAN_ARG(buf_span(&r->data)));
    if (row->want == OK) {
        assert_int_equal(r->lasts, 1);
        assert_int_equal(r->ieof, row->ieof);
        assert_true(r->original == row->original);
        assert_int_equal(r->used, row->used ? row->used : row->in.n);
        if (!span_eq(chunk_trailers(&r->d), span_of(row->trailers)))
            fail_msg("%s (%s): trailers", row->name, how);
    }
    chunk_decoder_done(&r->d);
    buf_done(&r->data);
}

static void rows_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct guard g = guard_new(rows[i].in.n);
        struct span in = guard_span(&g, rows[i].in);
        struct run r;

        run_init(&r);
        run_feed(&r, in);
        run_check(&r, &rows[i], "whole");
        run_init(&r);
        for (size_t k = 0; k < in.n; k++)
            run_feed(&r, span_sub(in, k, 1));
        run_check(&r, &rows[i], "bytes");
        for (size_t cut = 1; cut < in.n; cut++) {
            run_init(&r);
            run_feed(&r, span_sub(in, 0, cut));
            run_feed(&r, span_sub(in, cut, SIZE_MAX));
            run_check(&r, &rows[i], "cut");
        }
        guard_free(&g);
    }
}

static void no_memory_is_said(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (unsigned n = 1; n < 6; n++) {
            struct run r;

            run_init(&r);
            mem_fail_after(n);
            for (size_t k = 0; k < rows[i].in.n && r.data.err == OK; k++)
                run_feed(&r, span_sub(rows[i].in, k, 1));
            mem_fail_after(0);
            if (r.data.err == OK)
                assert_true(r.err == ERR_NOMEM || r.err == rows[i].want);
            chunk_decoder_done(&r.d);
            buf_done(&r.data);
        }
    }
}

/* An ICAP trailer section: no chunk before it. */
static void bare_trailer_section(void **state)
{
    struct run r;

    (void)state;
    run_init(&r);
    chunk_decoder_init_trailers(&r.d);
    run_feed(&r, SPAN("A: b\r\n\r\nrest"));
    assert_int_equal(r.err, OK);
    assert_int_equal(r.used, 8);
    assert_int_equal(r.lasts, 0);
    assert_true(span_eq(chunk_trailers(&r.d), SPAN("A: b\r\n")));
    chunk_decoder_done(&r.d);
    run_init(&r);
    chunk_decoder_init_trailers(&r.d);
    run_feed(&r, SPAN("\r\n"));
    assert_int_equal(r.err, OK);
    assert_int_equal(chunk_trailers(&r.d).n, 0);
    chunk_decoder_done(&r.d);
}

static void nothing_follows_the_end(void **state)
{
    struct run r;
    struct chunk_event ev;
    size_t used;

    (void)state;
    run_init(&r);
    run_feed(&r, SPAN("0\r\n\r\n"));
    assert_int_equal(chunk_next(&r.d, &limits, SPAN("0"), &used, &ev, NULL), ERR_BUG);
    chunk_decoder_done(&r.d);
}

/* format, parse: the same */
static void size_lines(void **state)
{
    static const uint64_t sizes[] = {0, 1, 9, 10, 15, 16, 255, 256, 65536, UINT32_MAX, INT64_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        char line[CHUNK_SIZE_LINE_MAX];
        size_t n = chunk_size_line(sizes[i], line);
        uint64_t back = 0;

        assert_true(n >= 3 && n <= sizeof line);
        assert_true(line[n - 2] == '\r' && line[n - 1] == '\n');
        assert_int_equal(span_hex_u64((struct span){line, n - 2}, UINT64_MAX, &back), OK);
        assert_true(back == sizes[i]);
        assert_true(n == 3 || line[0] != '0');
    }
    char line[CHUNK_SIZE_LINE_MAX];

    assert_int_equal(chunk_size_line(UINT64_MAX, line), CHUNK_SIZE_LINE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold),
        cmocka_unit_test(no_memory_is_said),
        cmocka_unit_test(bare_trailer_section),
        cmocka_unit_test(nothing_follows_the_end),
        cmocka_unit_test(size_lines),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
