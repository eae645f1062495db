/* SPDX-License-Identifier: Apache-2.0 */
/* http/head.h: one row, one head. Every row also runs cut at each byte, and in front of a guard
 * page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "guard.h"
#include "http/head.h"
#include "http/head_int.h"

static const struct head_limits limits = {.line_max = 64, .size_max = 256, .fields_max = 6};

/* ---- the end of a head ---- */

struct scan_row {
    const char *name;
    struct span in;
    enum err want;
    size_t len_or_off;
    unsigned status;
};

#define S(text)                  \
    {                            \
        (text), sizeof(text) - 1 \
    }
#define L8   "aaaaaaaa"
#define L64  L8 L8 L8 L8 L8 L8 L8 L8
#define L256 L64 L64 L64 L64

static const struct scan_row scan_rows[] = {
    {"shortest",                  S("A\r\n\r\n"),                                                           OK,        5,   0  },
    {"one field",                 S("A\r\nb: c\r\n\r\n"),                                                   OK,        11,  0  },
    {"bytes behind it",           S("A\r\n\r\nmore\n"),                                                     OK,        5,   0  },
    {"nothing",                   S(""),                                                                    ERR_AGAIN, 0,   0  },
    {"no empty line",             S("A\r\nb: c\r\n"),                                                       ERR_AGAIN, 0,   0  },
    {"half a CRLF",               S("A\r\nb: c\r\n\r"),                                                     ERR_AGAIN, 0,   0  },
    {"bare LF",                   S("A\n\n"),                                                               ERR_PROTO, 1,   400},
    {"bare LF in fields",         S("A\r\nb: c\n\r\n"),                                                     ERR_PROTO, 7,   400},
    {"bare LF as the empty line", S("A\r\nb: c\r\n\n"),                                                     ERR_PROTO, 9,   400},
    {"CR alone",                  S("A\rB\r\n\r\n"),                                                        ERR_PROTO, 1,   400},
    {"CR CR LF",                  S("A\r\r\n\r\n"),                                                         ERR_PROTO, 1,   400},
    {"NUL",                       S("A\r\nb: \0c\r\n\r\n"),                                                 ERR_PROTO, 6,   400},
    {"empty start-line",          S("\r\nA\r\n\r\n"),                                                       ERR_PROTO, 0,   400},
    {"start-line at the limit",   S(L64 "\r\n\r\n"),                                                        OK,        68,  0  },
    {"start-line over the limit", S(L64 "a\r\n\r\n"),                                                       ERR_LIMIT, 64,  414},
    {"start-line far over it",    S(L256),                                                                  ERR_LIMIT, 64,  414},
    {"NUL behind the limit",      S(L64 "aaa\0"),                                                           ERR_LIMIT, 64,  414},
    {"head over the limit",       S("A\r\n" L64 "\r\n" L64 "\r\n" L64 "\r\n" L64 "\r\n\r\n"),               ERR_LIMIT,
     256,                                                                                                                   431},
    {"head at the limit",         S("A\r\n" L64 "\r\n" L64 "\r\n" L64 "\r\n" L8 L8 L8 L8 L8 "aaa\r\n\r\n"),
     OK,                                                                                                               248, 0  },
};

static enum err scan_cut(struct span in, size_t cut, size_t step, size_t *len, struct fault *f)
{
    struct head_scan s = {0};
    enum err e = ERR_AGAIN;

    for (size_t n = cut; n <= in.n && e == ERR_AGAIN; n += step) {
        e = head_scan(&s, span_sub(in, 0, n), &limits, len, f);
        if (n < in.n && n + step > in.n && e == ERR_AGAIN)
            e = head_scan(&s, in, &limits, len, f);
    }
    return e;
}

static void check_scan(const struct scan_row *r, struct span in, size_t cut, size_t step)
{
    struct fault fault = {0}, *f = &fault;
    size_t len = 0;
    enum err e = scan_cut(in, cut, step, &len, f);

    if (e != r->want)
        fail_msg("%s: %s", r->name, err_code(e));
    if (e == OK && len != r->len_or_off)
        fail_msg("%s: length %zu", r->name, len);
    if (e != OK && e != ERR_AGAIN && (f->off != r->len_or_off || f->status != r->status))
        fail_msg("%s: %u at %zu", r->name, f->status, f->off);
}

static void scan_finds_the_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(scan_rows); i++) {
        const struct scan_row *r = &scan_rows[i];
        struct guard g = guard_new(r->in.n);
        struct span in = guard_span(&g, r->in);

        check_scan(r, in, in.n, 1);
        check_scan(r, in, 0, 1);
        for (size_t cut = 1; cut < in.n; cut++)
            check_scan(r, in, cut, in.n);
        guard_free(&g);
    }
}

/* The vector searches agree with their plain twins, at every place of the byte and never past the
 * end. */
static void vector_and_plain_searches_agree(void **state)
{
    static const char special[] = {'\r', '\n', '\0',       '\t',       0x1f,
                                   0x20, 0x7f, (char)0x80, (char)0xff, 1};
    struct guard g = guard_new(70);

    (void)state;
    for (size_t n = 0; n <= 70; n++) {
        char text[70];

        memset(text, 'x', sizeof text);
        for (size_t at = 0; at < n; at++) {
            for (size_t c = 0; c < sizeof special; c++) {
                text[at] = special[c];
                struct span s = guard_span(&g, (struct span){text, n});

                assert_int_equal(head_find_stop(s.p, n), head_find_stop_scalar(s.p, n));
                assert_int_equal(head_find_control(s.p, n), head_find_control_scalar(s.p, n));
            }
            text[at] = 'x';
        }
    }
    guard_free(&g);
}

/* The same of names: each byte at each place, and what the plain twin takes is tchar. */
static void token_lengths_agree(void **state)
{
    struct guard g = guard_new(40);
    char text[40];

    (void)state;
    memset(text, 'x', sizeof text);
    for (size_t n = 0; n <= sizeof text; n++)
        for (size_t at = 0; at < n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                text[at] = (char)c;
                struct span s = guard_span(&g, (struct span){text, n});
                size_t len = head_token_len(s.p, n);

                assert_int_equal(len, head_token_len_scalar(s.p, n));
                assert_int_equal(len, char_is_token((unsigned char)c) ? n : at);
            }
            text[at] = 'x';
        }
    guard_free(&g);
}

static void plain_ends_agree(struct guard *g, const char *text, size_t n)
{
    struct span s = guard_span(g, (struct span){text, n});

    assert_int_equal(head_plain_end(s.p, n), head_plain_end_scalar(s.p, n));
}

/* The end of a head at every place in the 16 bytes of a step, with one odd byte before, in or
 * behind it. */
static void vector_and_plain_ends_agree(void **state)
{
    static const char special[] = {'\r', '\n', '\0', '\t', 0x1f, 0x7f, (char)0x80, ' '};
    const size_t n = 40;
    struct guard g = guard_new(n);
    char text[40];

    (void)state;
    for (size_t a = 0; a + 4 <= n; a++) {
        for (size_t gap = 0; gap <= 3 && a + gap + 4 <= n; gap++) {
            memset(text, 'x', sizeof text);
            memcpy(text + a, "\r\n", 2);
            memcpy(text + a + 2 + gap, "\r\n", 2);
            plain_ends_agree(&g, text, n);
            for (size_t at = 0; at < n * sizeof special; at++) {
                char was = text[at % n];

                text[at % n] = special[at / n];
                plain_ends_agree(&g, text, n);
                plain_ends_agree(&g, text, at % n);
                text[at % n] = was;
            }
        }
    }
    guard_free(&g);
}

/* What is whole and plain is found in one step; any split of it finds the same. */
static void plain_end_is_the_end_that_a_scan_finds(void **state)
{
    const struct span text = SPAN("GET / HTTP/1.1\r\nA: b\r\n\r\nbehind\r\n\r\n");
    const struct head_limits lim = {64, 64, 8};

    (void)state;
    assert_int_equal(head_plain_end(text.p, text.n), 24);
    for (size_t cut = 1; cut < text.n; cut++) {
        struct head_scan scan = {0};
        struct fault f;
        size_t len = 0;
        enum err e = head_scan(&scan, span_sub(text, 0, cut), &lim, &len, &f);

        if (e == ERR_AGAIN)
            e = head_scan(&scan, text, &lim, &len, &f);
        assert_int_equal(e, OK);
        assert_int_equal(len, 24);
    }
}

/* ---- whole heads ---- */

struct parse_row {
    const char *name;
    enum head_kind kind;
    struct span in;
    enum err want;
    unsigned status; /* of the fault, or of the status-line */
    unsigned n_fields;
};

#define RQ "GET / HTTP/1.1\r\n"
#define RS "HTTP/1.1 200 OK\r\n"
#define IQ "OPTIONS icap://h/s ICAP/1.0\r\n"
#define IS "ICAP/1.0 204 No Content\r\n"
#define E  "\r\n"

static const struct parse_row parse_rows[] = {
    {"ICAP request",                      HEAD_ICAP_REQUEST, S(IQ "Host: h\r\n" E),                                OK,        0,   1},
    {"ICAP status",                       HEAD_ICAP_STATUS,  S(IS "ISTag: \"x\"\r\nA:\r\n" E),                     OK,        204, 2},
    {"ICAP 2.7 parses; who asks refuses", HEAD_ICAP_REQUEST, S("OPTIONS i ICAP/2.7\r\n" E),                        OK,        0,
     0                                                                                                                              },
    {"HTTP version in ICAP",              HEAD_ICAP_REQUEST, S("OPTIONS i HTTP/1.0\r\n" E),                        ERR_PROTO, 400, 0},
    {"lower-case version",                HEAD_ICAP_REQUEST, S("OPTIONS i icap/1.0\r\n" E),                        ERR_PROTO, 400, 0},
    {"two-digit version",                 HEAD_ICAP_REQUEST, S("OPTIONS i ICAP/1.00\r\n" E),                       ERR_PROTO, 400, 0},
    {"no version",                        HEAD_ICAP_REQUEST, S("OPTIONS i\r\n" E),                                 ERR_PROTO, 400, 0},
    {"only a method",                     HEAD_ICAP_REQUEST, S("OPTIONS\r\n" E),                                   ERR_PROTO, 400, 0},
    {"method with a colon",               HEAD_ICAP_REQUEST, S("OPT:IONS i ICAP/1.0\r\n" E),                       ERR_PROTO, 400, 0},
    {"two spaces",                        HEAD_ICAP_REQUEST, S("OPTIONS  i ICAP/1.0\r\n" E),                       ERR_PROTO, 400, 0},
    {"space in the target",               HEAD_ICAP_REQUEST, S("OPTIONS i j ICAP/1.0\r\n" E),                      ERR_PROTO, 400, 0},
    {"space behind the version",          HEAD_ICAP_REQUEST, S("OPTIONS i ICAP/1.0 \r\n" E),                       ERR_PROTO, 400,
     0                                                                                                                              },
    {"leading space",                     HEAD_ICAP_REQUEST, S(" OPTIONS i ICAP/1.0\r\n" E),                       ERR_PROTO, 400, 0},
    {"tab for a space",                   HEAD_ICAP_REQUEST, S("OPTIONS\ti ICAP/1.0\r\n" E),                       ERR_PROTO, 400, 0},
    {"DEL in the target",                 HEAD_ICAP_REQUEST, S("OPTIONS i\x7f ICAP/1.0\r\n" E),                    ERR_PROTO, 400, 0},
    {"ICAP space before the colon",       HEAD_ICAP_REQUEST, S(IQ "Host : h\r\n" E),                               ERR_PROTO, 400, 0},
    {"ICAP no colon",                     HEAD_ICAP_REQUEST, S(IQ "Host h\r\n" E),                                 ERR_PROTO, 400, 0},
    {"ICAP empty name",                   HEAD_ICAP_REQUEST, S(IQ ": h\r\n" E),                                    ERR_PROTO, 400, 0},
    {"ICAP fold",                         HEAD_ICAP_REQUEST, S(IQ "A: b\r\n c\r\n" E),                             ERR_PROTO, 400, 0},
    {"ICAP control byte in a value",      HEAD_ICAP_REQUEST, S(IQ "A: b\x01\r\n" E),                               ERR_PROTO, 400, 0},
    {"ICAP obs-text in a value",          HEAD_ICAP_REQUEST, S(IQ "A: \xc3\xa4\r\n" E),                            OK,        0,   1},
    {"ICAP tab in a value",               HEAD_ICAP_REQUEST, S(IQ "A: b\tc\r\n" E),                                OK,        0,   1},
    {"too many fields",                   HEAD_ICAP_REQUEST, S(IQ "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n" E),
     ERR_LIMIT,                                                                                                               431, 0},
    {"fields at the limit",               HEAD_ICAP_REQUEST, S(IQ "A:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n" E),       OK,
     0,                                                                                                                            6},
    {"status without a reason",           HEAD_ICAP_STATUS,  S("ICAP/1.0 200 \r\n" E),                             OK,        200, 0},
    {"status without its space",          HEAD_ICAP_STATUS,  S("ICAP/1.0 200\r\n" E),                              OK,        200, 0},
    {"vendor status",                     HEAD_ICAP_STATUS,  S("ICAP/1.0 539 No licence\r\n" E),                   OK,        539, 0},
    {"status 99",                         HEAD_ICAP_STATUS,  S("ICAP/1.0 099 x\r\n" E),                            ERR_PROTO, 400, 0},
    {"two-digit status",                  HEAD_ICAP_STATUS,  S("ICAP/1.0 20 x\r\n" E),                             ERR_PROTO, 400, 0},
    {"four-digit status",                 HEAD_ICAP_STATUS,  S("ICAP/1.0 2000 x\r\n" E),                           ERR_PROTO, 400, 0},
    {"signed status",                     HEAD_ICAP_STATUS,  S("ICAP/1.0 +20 x\r\n" E),                            ERR_PROTO, 400, 0},
    {"control byte in a reason",          HEAD_ICAP_STATUS,  S("ICAP/1.0 200 a\x01\r\n" E),                        ERR_PROTO, 400,
     0                                                                                                                              },
    {"HTTP request",                      HEAD_HTTP_REQUEST, S(RQ "Host: h\r\n" E),                                OK,        0,   1},
    {"HTTP/1.0",                          HEAD_HTTP_REQUEST, S("PUT /p HTTP/1.0\r\n" E),                           OK,        0,   0},
    {"raw UTF-8 in a target",             HEAD_HTTP_REQUEST, S("GET /\xc3\xa4 HTTP/1.1\r\n" E),                    OK,        0,   0},
    {"HTTP/2 preface",                    HEAD_HTTP_REQUEST, S("PRI * HTTP/2.0\r\n" E),                            OK,        0,   0},
    {"HTTP status",                       HEAD_HTTP_STATUS,  S(RS E),                                              OK,        200, 0},
    {"odd line without a colon",          HEAD_HTTP_STATUS,  S(RS "what is this\r\nA: b\r\n" E),                   OK,        200, 2},
    {"odd space before the colon",        HEAD_HTTP_STATUS,  S(RS "X-Odd : b\r\n" E),                              OK,        200, 1},
    {"odd empty name",                    HEAD_HTTP_STATUS,  S(RS ": b\r\n" E),                                    OK,        200, 1},
    {"odd control byte",                  HEAD_HTTP_STATUS,  S(RS "X: \x01\r\n" E),                                OK,        200, 1},
    {"fold of a harmless field",          HEAD_HTTP_STATUS,  S(RS "X: a\r\n b\r\n\tc\r\n" E),                      OK,        200, 3},
    {"fold of an odd line",               HEAD_HTTP_STATUS,  S(RS "odd\r\n b\r\n" E),                              OK,        200, 2},
    {"fold of Content-Type",              HEAD_HTTP_STATUS,  S(RS "Content-Type: a\r\n b\r\n" E),                  ERR_PROTO, 400,
     0                                                                                                                              },
    {"second fold of Content-Type",       HEAD_HTTP_STATUS,  S(RS "Content-Type: a\r\n b\r\n c\r\n" E),
     ERR_PROTO,                                                                                                               400, 0},
    {"fold before any field",             HEAD_HTTP_STATUS,  S(RS " Content-Length: 5\r\n" E),                     ERR_PROTO, 400,
     0                                                                                                                              },
    {"fold that looks like framing",      HEAD_HTTP_STATUS,  S(RS "X: a\r\n Content-Length: 5\r\n" E),
     ERR_PROTO,                                                                                                               400, 0},
    {"Content-Length with a space",       HEAD_HTTP_STATUS,  S(RS "Content-Length : 5\r\n" E),                     ERR_PROTO,
     400,                                                                                                                          0},
    {"Transfer-Encoding with a tab",      HEAD_HTTP_STATUS,  S(RS "Transfer-Encoding\t: chunked\r\n" E),
     ERR_PROTO,                                                                                                               400, 0},
    {"Transfer-Encoding with VT",         HEAD_HTTP_STATUS,  S(RS "Transfer-Encoding\x0b: chunked\r\n" E),
     ERR_PROTO,                                                                                                               400, 0},
    {"Transfer-Encoding with VT before",  HEAD_HTTP_STATUS,
     S(RS "\x0bTransfer-Encoding: chunked\r\n" E),                                                                 ERR_PROTO, 400, 0},
    {"control byte in Content-Length",    HEAD_HTTP_STATUS,  S(RS "Content-Length: 5\x01\r\n" E),
     ERR_PROTO,                                                                                                               400, 0},
    {"content-length without colon",      HEAD_HTTP_STATUS,  S(RS "cOnTent-lEngth 5\r\n" E),                       ERR_PROTO,
     400,                                                                                                                          0},
    {"Host without a colon",              HEAD_HTTP_REQUEST, S(RQ "Host\r\n" E),                                   ERR_PROTO, 400, 0},
    {"no empty line",                     HEAD_HTTP_STATUS,  S(RS "A: b\r\n"),                                     ERR_PROTO, 400, 0},
    {"bytes behind the head",             HEAD_HTTP_STATUS,  S(RS E "x"),                                          ERR_PROTO, 400, 0},
    {"second head behind it",             HEAD_HTTP_STATUS,  S(RS E RS E),                                         ERR_PROTO, 400, 0},
    {"bare LF",                           HEAD_HTTP_STATUS,  S(RS "A: b\n" E),                                     ERR_PROTO, 400, 0},
    {"empty",                             HEAD_HTTP_STATUS,  S(""),                                                ERR_PROTO, 400, 0},
    {"only an empty line",                HEAD_HTTP_STATUS,  S(E),                                                 ERR_PROTO, 400, 0},
    {"start-line too long",               HEAD_HTTP_REQUEST, S("GET /" L64 " HTTP/1.1\r\n" E),                     ERR_LIMIT, 414, 0},
    {"head too long",                     HEAD_HTTP_REQUEST, S(RQ "A: " L256 "\r\n" E),                            ERR_LIMIT, 431, 0},
};

static void parse_rows_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(parse_rows); i++) {
        const struct parse_row *r = &parse_rows[i];
        struct guard g = guard_new(r->in.n);
        struct span in = guard_span(&g, r->in);
        struct arena mem;
        struct head h = {0};
        struct fault f = {0};
        enum err e;

        arena_init(&mem, 0);
        e = head_parse(r->kind, in, &limits, &mem, &h, &f);
        if (e != r->want)
            fail_msg("%s: %s (%s)", r->name, err_code(e), f.why ? f.why : "-");
        if (e == OK && (h.n_fields != r->n_fields || h.status != r->status))
            fail_msg("%s: %u fields, status %u", r->name, h.n_fields, h.status);
        if (e != OK && (f.status != r->status || f.off > in.n || !f.why))
            fail_msg("%s: fault %u at %zu", r->name, f.status, f.off);
        arena_done(&mem);
        guard_free(&g);
    }
}

/* Every prefix of a head is no head; nothing is read past it. */
static void prefixes_are_refused(void **state)
{
    static const struct span whole =
        S(RS "Content-Type: text/plain\r\nodd line\r\n folded\r\nA: b\r\n" E);
    struct guard g = guard_new(whole.n);

    (void)state;
    for (size_t n = 0; n < whole.n; n++) {
        struct arena mem;
        struct head h;

        arena_init(&mem, 0);
        assert_int_equal(head_parse(HEAD_HTTP_STATUS, guard_span(&g, span_sub(whole, 0, n)),
                                    &limits, &mem, &h, NULL),
                         ERR_PROTO);
        arena_done(&mem);
    }
    guard_free(&g);
}

static struct head parsed(enum head_kind kind, const char *text, struct arena *mem)
{
    struct head h;
    struct fault f = {0};

    arena_init(mem, 0);
    if (head_parse(kind, span_of(text), &limits, mem, &h, &f) != OK)
        fail_msg("%s", f.why);
    return h;
}

static void views_point_into_the_text(void **state)
{
    static const char text[] = "REQMOD icap://h/s?q ICAP/1.1\r\nHost:  h \t\r\nX:\r\n\r\n";
    struct arena mem;
    struct head h = parsed(HEAD_ICAP_REQUEST, text, &mem);

    (void)state;
    assert_true(span_eq(h.method, SPAN("REQMOD")));
    assert_true(span_eq(h.target, SPAN("icap://h/s?q")));
    assert_int_equal(h.major, 1);
    assert_int_equal(h.minor, 1);
    assert_true(h.text.p == text && h.text.n == sizeof text - 1);
    assert_true(span_eq(head_value(&h, SPAN("host")), SPAN("h")));
    assert_true(head_value(&h, SPAN("x")).p != NULL);
    assert_int_equal(head_value(&h, SPAN("x")).n, 0);
    assert_null(head_value(&h, SPAN("y")).p);
    arena_done(&mem);
}

static void odd_lines_have_no_name(void **state)
{
    struct arena mem;
    struct head h = parsed(HEAD_HTTP_STATUS, RS "X-A : 1\r\nX-A: 2\r\n\tz\r\n" E, &mem);

    (void)state;
    assert_int_equal(h.n_fields, 3);
    assert_true(h.fields[0].odd && h.fields[0].name.n == 0);
    assert_true(span_eq(h.fields[0].value, SPAN("X-A : 1")));
    assert_false(h.fields[1].odd);
    assert_true(span_eq(h.fields[2].value, SPAN("\tz")));
    assert_true(span_eq(head_value(&h, SPAN("x-a")), SPAN("2")));
    assert_int_equal(head_find(&h, SPAN(""), 0), 3);
    arena_done(&mem);
}

static void tokens_are_elements_not_substrings(void **state)
{
    struct arena mem;
    struct head h = parsed(
        HEAD_ICAP_REQUEST,
        IQ "Connection: keep-alive, CLOSE\r\nAllow: x204\r\nallow: 204 ,trailers\r\n" E, &mem);

    (void)state;
    assert_true(head_has_token(&h, SPAN("connection"), SPAN("close")));
    assert_true(head_has_token(&h, SPAN("Allow"), SPAN("204")));
    assert_true(head_has_token(&h, SPAN("Allow"), SPAN("trailers")));
    assert_false(head_has_token(&h, SPAN("Allow"), SPAN("20")));
    assert_int_equal(head_count(&h, SPAN("Allow")), 2);
    assert_int_equal(head_find(&h, SPAN("Allow"), 2), 2);
    assert_int_equal(head_find(&h, SPAN("Allow"), 3), 3);
    arena_done(&mem);
}

/* RFC 9112 6.3 */
static void content_length_rows(void **state)
{
    static const struct {
        const char *fields;
        enum err want;
        uint64_t length;
    } rows[] = {
        {"Content-Length: 5\r\n",                      OK,          5        },
        {"Content-Length: 0\r\n",                      OK,          0        },
        {"Content-Length: 5\r\ncontent-length: 5\r\n", OK,          5        },
        {"Content-Length: 5, 5\r\n",                   OK,          5        },
        {"Content-Length: 9223372036854775807\r\n",    OK,          INT64_MAX},
        {"X: 5\r\n",                                   ERR_MISSING, 0        },
        {"Content-Length:\r\n",                        ERR_PROTO,   0        },
        {"Content-Length: 5, 6\r\n",                   ERR_PROTO,   0        },
        {"Content-Length: 5,\r\n",                     ERR_PROTO,   0        },
        {"Content-Length: 5\r\nContent-Length: 6\r\n", ERR_PROTO,   0        },
        {"Content-Length: +5\r\n",                     ERR_PROTO,   0        },
        {"Content-Length: -1\r\n",                     ERR_PROTO,   0        },
        {"Content-Length: 0x5\r\n",                    ERR_PROTO,   0        },
        {"Content-Length: 5 5\r\n",                    ERR_PROTO,   0        },
        {"Content-Length: 9223372036854775808\r\n",    ERR_PROTO,   0        },
        {"Content-Length: 99999999999999999999\r\n",   ERR_PROTO,   0        },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        struct arena mem;
        uint64_t length = 0;

        (void)snprintf(text, sizeof text, RS "%s" E, rows[i].fields);
        struct head h = parsed(HEAD_HTTP_STATUS, text, &mem);

        if (head_content_length(&h, &length) != rows[i].want || length != rows[i].length)
            fail_msg("%s", rows[i].fields);
        arena_done(&mem);
    }
}

static void smuggling_rows(void **state)
{
    static const struct {
        const char *fields;
        bool sane;
    } rows[] = {
        {"Content-Length: 5\r\n",                                              true },
        {"Transfer-Encoding: chunked\r\n",                                     true },
        {"Content-Type: a/b\r\nContent-Disposition: inline\r\n",               true },
        {"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",                false},
        {"Content-Length: 5\r\nContent-Length: 6\r\n",                         false},
        {"Content-Length: a\r\n",                                              false},
        {"Content-Type: a/b\r\ncontent-type: c/d\r\n",                         false},
        {"Content-Disposition: inline\r\nContent-Disposition: attachment\r\n", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        struct arena mem;

        (void)snprintf(text, sizeof text, RS "%s" E, rows[i].fields);
        struct head h = parsed(HEAD_HTTP_STATUS, text, &mem);

        if ((head_smuggling(&h) == NULL) != rows[i].sane)
            fail_msg("%s", rows[i].fields);
        arena_done(&mem);
    }
}

/* RFC 9112 3.2 */
static void host_rows(void **state)
{
    static const struct {
        const char *head;
        bool sane;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n",                    true },
        {"GET / HTTP/1.1\r\nHost: a.example:8080\r\n",       true },
        {"GET / HTTP/1.1\r\nHost: [2001:db8::7]:80\r\n",     true },
        {"GET / HTTP/1.1\r\nHost:\r\n",                      true },
        {"GET / HTTP/1.1\r\n",                               true },
        {"GET http://a/ HTTP/1.1\r\nHost: b\r\n",            true }, /* 3.2.2: the target counts */
        {"GET / HTTP/1.1\r\nHost: a\r\nhost: b\r\n",         false},
        {"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n",         false},
        {"GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n",         false},
        {"GET http://a/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n", false},
        {"CONNECT a:443 HTTP/1.1\r\nHost: a\r\nHost: b\r\n", false},
        {"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nHOST:\r\n",   false},
        {"GET / HTTP/1.1\r\nHost: a, b\r\n",                 false},
        {"GET / HTTP/1.1\r\nHost: a,b\r\n",                  false},
        {"GET / HTTP/1.1\r\nHost: a b\r\n",                  false},
        {"GET / HTTP/1.1\r\nHost: a\tb\r\n",                 false},
        {"GET / HTTP/1.1\r\nHost: a@b\r\n",                  false},
        {"GET / HTTP/1.1\r\nHost: a/b\r\n",                  false},
        {"GET / HTTP/1.1\r\nHost: a\\b\r\n",                 false},
        {"GET / HTTP/1.1\r\nHost: a?b\r\n",                  false},
        {"GET / HTTP/1.1\r\nHost: a#b\r\n",                  false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        struct arena mem;

        (void)snprintf(text, sizeof text, "%s" E, rows[i].head);
        struct head h = parsed(HEAD_HTTP_REQUEST, text, &mem);

        if ((head_smuggling(&h) == NULL) != rows[i].sane ||
            (head_host_conflict(&h) == NULL) != rows[i].sane)
            fail_msg("%s", rows[i].head);
        arena_done(&mem);
    }
}

static void host_of_a_response_is_no_matter(void **state)
{
    struct arena mem;
    struct head h = parsed(HEAD_HTTP_STATUS, RS "Host: a\r\nHost: b\r\n" E, &mem);

    (void)state;
    assert_null(head_smuggling(&h));
    arena_done(&mem);
}

static void field_lines(void **state)
{
    (void)state;
    assert_true(field_lines_are_valid(SPAN_NONE));
    assert_true(field_lines_are_valid(SPAN("A: b\r\nC:\r\n")));
    assert_false(field_lines_are_valid(SPAN("A: b")));
    assert_false(field_lines_are_valid(SPAN("A: b\r")));
    assert_false(field_lines_are_valid(SPAN("A: b\n")));
    assert_false(field_lines_are_valid(SPAN("A: b\r\n\r\n")));
    assert_false(field_lines_are_valid(SPAN("A : b\r\n")));
    assert_false(field_lines_are_valid(SPAN("A: b\r\n c\r\n")));
    assert_false(field_lines_are_valid(SPAN("A: b\rc\r\n")));
    assert_false(field_lines_are_valid(SPAN("A: b\0\r\n")));
}

/* One after the other; what is no field-line stays where it is. */
static void field_lines_one_by_one(void **state)
{
    struct span lines = SPAN("A: b \r\nLong-Name-Of-A-Field:c\r\nbad\r\n");
    struct field f;

    (void)state;
    assert_true(field_line_next(&lines, &f));
    assert_true(span_eq(f.name, SPAN("A")) && span_eq(f.value, SPAN("b")) && !f.odd);
    assert_true(field_line_next(&lines, &f));
    assert_true(span_eq(f.name, SPAN("Long-Name-Of-A-Field")) && span_eq(f.value, SPAN("c")));
    assert_false(field_line_next(&lines, &f));
    assert_true(span_eq(lines, SPAN("bad\r\n")));
    lines = SPAN_NONE;
    assert_false(field_line_next(&lines, &f));
}

static void no_memory_is_said(void **state)
{
    struct arena mem;
    struct head h;
    struct fault f = {0};

    (void)state;
    arena_init(&mem, 0);
    mem_fail_after(1);
    assert_int_equal(head_parse(HEAD_ICAP_REQUEST, SPAN(IQ "A: b\r\n" E), &limits, &mem, &h, &f),
                     ERR_NOMEM);
    mem_fail_after(0);
    assert_int_equal(f.err, ERR_NOMEM);
    arena_done(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scan_finds_the_end),
        cmocka_unit_test(vector_and_plain_searches_agree),
        cmocka_unit_test(token_lengths_agree),
        cmocka_unit_test(vector_and_plain_ends_agree),
        cmocka_unit_test(plain_end_is_the_end_that_a_scan_finds),
        cmocka_unit_test(parse_rows_hold),
        cmocka_unit_test(prefixes_are_refused),
        cmocka_unit_test(views_point_into_the_text),
        cmocka_unit_test(odd_lines_have_no_name),
        cmocka_unit_test(tokens_are_elements_not_substrings),
        cmocka_unit_test(content_length_rows),
        cmocka_unit_test(smuggling_rows),
        cmocka_unit_test(host_rows),
        cmocka_unit_test(host_of_a_response_is_no_matter),
        cmocka_unit_test(field_lines),
        cmocka_unit_test(field_lines_one_by_one),
        cmocka_unit_test(no_memory_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
