/* SPDX-License-Identifier: Apache-2.0 */
/* cli/probe_answer.h: one row, one answer; whole, cut in two at each byte, and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "cli/probe_answer.h"

#define N(note) (1u << PROBE_NOTE_##note)
#define OPTIONS_HEAD                \
    "ICAP/1.0 200 OK\r\n"           \
    "ISTag: \"a1\"\r\n"             \
    "Methods: RESPMOD\r\n"          \
    "Encapsulated: null-body=0\r\n" \
    "\r\n"
#define HTTP_HEAD "HTTP/1.1 403 Forbidden\r\nX: y\r\n\r\n" /* 32 bytes */
#define WITH_BODY(encapsulated, rest) \
    "ICAP/1.0 200 OK\r\nEncapsulated: " encapsulated "\r\n\r\n" HTTP_HEAD rest

struct row {
    const char *name;
    const char *in;
    enum probe_answer_state want; /* 0: DONE */
    unsigned status, http_status, notes;
    const char *body; /* NULL: empty */
    size_t behind;    /* bytes that are left over */
    const char *fault;
};

/* Braces in rows of their own are more than clang-format 14 can align. */
#define ROW(...)    \
    {               \
        __VA_ARGS__ \
    }
static const struct row rows[] = {
    ROW(.name = "options", .in = OPTIONS_HEAD, .status = 200),
    ROW(.name = "another answer behind it", .in = OPTIONS_HEAD "ICAP/1.0 2", .status = 200,
        .behind = 10),
    ROW(.name = "100", .in = "ICAP/1.0 100 Continue\r\n\r\n", .status = 100),
    ROW(.name = "204", .in = "ICAP/1.0 204 No\r\nISTag: \"x\"\r\n\r\n", .status = 204),
    ROW(.name = "204 without reason", .in = "ICAP/1.0 204\r\n\r\n", .status = 204),
    ROW(.name = "204 that announces a body",
        .in = "ICAP/1.0 204 No\r\nEncapsulated: res-body=0\r\n\r\n0\r\n\r\n", .status = 204,
        .notes = N(204_BODY), .behind = 5),
    ROW(.name = "404 without Encapsulated", .in = "ICAP/1.0 404 Not Found\r\n\r\n", .status = 404),
    ROW(.name = "body", .in = WITH_BODY("res-hdr=0, res-body=32", "5\r\nhello\r\n0\r\n\r\n"),
        .status = 200, .http_status = 403, .body = "hello"),
    ROW(.name = "two chunks, an extension",
        .in = WITH_BODY("res-hdr=0, res-body=32", "3\r\nhel\r\n2;a=b\r\nlo\r\n0\r\n\r\n"),
        .status = 200, .http_status = 403, .body = "hello"),
    ROW(.name = "no body", .in = WITH_BODY("res-hdr=0, null-body=32", ""), .status = 200,
        .http_status = 403),
    ROW(.name = "opt-body",
        .in = "ICAP/1.0 200 OK\r\nEncapsulated: opt-body=0\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        .status = 200, .body = "x"),
    ROW(.name = "names in another case", .in = WITH_BODY("Res-Hdr=0, RES-BODY=32", "0\r\n\r\n"),
        .status = 200, .http_status = 403),
    ROW(.name = "offset too small", .in = WITH_BODY("res-hdr=0, res-body=30", "0\r\n\r\n"),
        .status = 200, .http_status = 403, .notes = N(OFFSET)),
    ROW(.name = "offset too large", .in = WITH_BODY("res-hdr=0, res-body=33", "0\r\n\r\n"),
        .status = 200, .http_status = 403, .notes = N(OFFSET)),
    ROW(.name = "first part not at 0", .in = WITH_BODY("res-hdr=1, res-body=32", "0\r\n\r\n"),
        .status = 200, .http_status = 403, .notes = N(OFFSET)),
    ROW(.name = "offset of null-body", .in = "ICAP/1.0 200 OK\r\nEncapsulated: null-body=7\r\n\r\n",
        .status = 200, .notes = N(OFFSET)),
    ROW(.name = "Encapsulated without a body", .in = WITH_BODY("res-hdr=0", ""), .status = 200,
        .http_status = 403, .notes = N(ENCAPSULATED)),
    ROW(.name = "Encapsulated that is none",
        .in = "ICAP/1.0 200 OK\r\nEncapsulated: what=ever\r\n\r\n", .status = 200,
        .notes = N(ENCAPSULATED)),
    ROW(.name = "Encapsulated that is empty", .in = "ICAP/1.0 200 OK\r\nEncapsulated: \r\n\r\n",
        .status = 200, .notes = N(ENCAPSULATED)),
    ROW(.name = "bare LF", .in = "ICAP/1.0 204 No\nISTag: \"x\"\n\n", .status = 204,
        .notes = N(BARE_LF)),
    ROW(.name = "bare LF in the HTTP head",
        .in = "ICAP/1.0 200 OK\r\nEncapsulated: res-hdr=0, null-body=17\r\n\r\nHTTP/1.1 200 OK\n\n",
        .status = 200, .http_status = 200, .notes = N(HTTP_BARE_LF)),
    ROW(.name = "bare LF in chunks", .in = WITH_BODY("res-hdr=0, res-body=32", "1\nx\n0\n\n"),
        .status = 200, .http_status = 403, .notes = N(BARE_LF), .body = "x"),
    ROW(.name = "empty line first", .in = "\r\nICAP/1.0 204 No\r\n\r\n", .status = 204,
        .notes = N(LEADING_LINES)),
    ROW(.name = "HTTP for ICAP", .in = "HTTP/1.1 400 Bad\r\n\r\n", .status = 400,
        .notes = N(STATUS_LINE)),
    ROW(.name = "ICAP/1.1", .in = "ICAP/1.1 204 No\r\n\r\n", .status = 204,
        .notes = N(STATUS_LINE)),
    ROW(.name = "lower case", .in = "icap/1.0 204 No\r\n\r\n", .status = 204,
        .notes = N(STATUS_LINE)),
    ROW(.name = "two blanks", .in = "ICAP/1.0  204 No\r\n\r\n", .status = 204,
        .notes = N(STATUS_LINE)),
    ROW(.name = "no colon", .in = "ICAP/1.0 204 No\r\nHello\r\n\r\n", .status = 204,
        .notes = N(FIELD)),
    ROW(.name = "blank before the colon", .in = "ICAP/1.0 204 No\r\nISTag : \"x\"\r\n\r\n",
        .status = 204, .notes = N(FIELD)),
    ROW(.name = "fold", .in = "ICAP/1.0 204 No\r\nA: b\r\n c\r\n\r\n", .status = 204,
        .notes = N(FOLD)),
    ROW(.name = "control byte", .in = "ICAP/1.0 204 No\r\nA: \001\r\n\r\n", .status = 204,
        .notes = N(CONTROL)),
    ROW(.name = "blanks around a chunk-size",
        .in = WITH_BODY("res-hdr=0, res-body=32", "1  \r\nx\r\n0\r\n\r\n"), .status = 200,
        .http_status = 403, .notes = N(CHUNK_SIZE), .body = "x"),
    ROW(.name = "no CRLF behind a chunk",
        .in = WITH_BODY("res-hdr=0, res-body=32", "1\r\nx0\r\n\r\n"), .status = 200,
        .http_status = 403, .notes = N(CHUNK_END), .body = "x"),
    ROW(.name = "trailer", .in = WITH_BODY("res-hdr=0, res-body=32", "1\r\nx\r\n0\r\nA: b\r\n\r\n"),
        .status = 200, .http_status = 403, .notes = N(TRAILER), .body = "x"),
    ROW(.name = "nothing", .in = "", .want = PROBE_ANSWER_BROKEN,
        .fault = "the server closed the connection without an answer"),
    ROW(.name = "cut in the head", .in = "ICAP/1.0 204 No\r\nIST", .want = PROBE_ANSWER_BROKEN,
        .status = 204, .fault = "the server closed the connection in the middle of its answer"),
    ROW(.name = "cut in the body", .in = WITH_BODY("res-hdr=0, res-body=32", "5\r\nhel"),
        .want = PROBE_ANSWER_BROKEN, .status = 200, .http_status = 403, .body = "hel",
        .fault = "the server closed the connection in the middle of its answer"),
    ROW(.name = "no ICAP", .in = "SSH-2.0-OpenSSH\r\n", .want = PROBE_ANSWER_BROKEN,
        .fault = "it does not begin with ICAP/1.0"),
    ROW(.name = "status of two digits", .in = "ICAP/1.0 20 OK\r\n", .want = PROBE_ANSWER_BROKEN,
        .fault = "its status-line has no status of three digits"),
    ROW(.name = "status 099", .in = "ICAP/1.0 099 OK\r\n", .want = PROBE_ANSWER_BROKEN,
        .fault = "its status-line has no status of three digits"),
    ROW(.name = "nothing but empty lines", .in = "\r\n\r\n\r\n\r\n\r\n",
        .want = PROBE_ANSWER_BROKEN, .notes = N(LEADING_LINES),
        .fault = "it is nothing but empty lines"),
    ROW(.name = "no chunk-size", .in = WITH_BODY("res-hdr=0, res-body=32", "hello\r\n"),
        .want = PROBE_ANSWER_BROKEN, .status = 200, .http_status = 403,
        .fault = "where a chunk-size should be there is something else"),
    ROW(.name = "a body without end",
        .in = WITH_BODY("res-hdr=0, res-body=32", "fffffff\r\n0123456789abcdef0123456789"),
        .want = PROBE_ANSWER_BROKEN, .status = 200, .http_status = 403,
        .fault = "its body is far too long"),
};

#define BODY_MAX 16u

/* Feeds |in| in pieces of |step| bytes, the first of |first|; returns the bytes that were used. */
static size_t feed(struct probe_answer *a, struct span in, size_t first, size_t step)
{
    size_t at = 0, n = first;
    enum err e = OK;

    while (at < in.n && e == OK && a->state != PROBE_ANSWER_DONE) {
        struct span piece = span_sub(in, at, n);
        size_t used;

        e = probe_answer_feed(a, piece, &used);
        assert_true(used <= piece.n);
        assert_int_equal(e, a->state == PROBE_ANSWER_BROKEN ? ERR_SYNTAX : OK);
        at += used;
        n = step;
    }
    probe_answer_eof(a);
    return at;
}

static void check(const struct row *r, size_t first, size_t step)
{
    enum probe_answer_state want = r->want ? r->want : PROBE_ANSWER_DONE;
    struct probe_answer a;
    size_t used;

    probe_answer_init(&a, BODY_MAX);
    used = feed(&a, span_of(r->in), first, step);
    if (a.state != want || a.notes != r->notes)
        print_error("%s, cut %zu, %zu: notes %x\n", r->name, first, step, a.notes);
    assert_int_equal(a.state, want);
    assert_int_equal(a.notes, r->notes);
    assert_int_equal(a.status, r->status);
    assert_int_equal(a.http_status, r->http_status);
    if (a.body.err == OK) /* after an error only the split says how much of it is here */
        assert_true(span_eq(buf_span(&a.body), span_of(r->body)));
    if (r->fault)
        assert_string_equal(a.fault, r->fault);
    else
        assert_int_equal(used, span_of(r->in).n - r->behind);
    probe_answer_done(&a);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = span_of(rows[i].in).n;

        check(&rows[i], SIZE_MAX, SIZE_MAX);
        check(&rows[i], 1, 1);
        for (size_t cut = 1; cut < n; cut++)
            check(&rows[i], cut, SIZE_MAX);
    }
}

static void test_fields(void **state)
{
    struct probe_answer a;
    struct span name, value;
    size_t used, at = 0;

    (void)state;
    probe_answer_init(&a, BODY_MAX);
    assert_int_equal(probe_answer_feed(&a,
                                       SPAN("ICAP/1.0 200 OK\r\nistag:  \"x\" \r\nISTagger: no\r\n"
                                            "Transfer-Preview: *\r\nTransfer-Ignore: gif\r\n\r\n"),
                                       &used),
                     OK);
    assert_true(span_eq(probe_answer_field(&a, SPAN("ISTag")), SPAN("\"x\"")));
    assert_null(probe_answer_field(&a, SPAN("Date")).p);
    assert_null(probe_answer_field(&a, SPAN("ICAP/1.0 200 OK")).p);
    assert_true(probe_answer_next(&a, SPAN("Transfer-"), &at, &name, &value));
    assert_true(span_eq(name, SPAN("Transfer-Preview")) && span_eq(value, SPAN("*")));
    assert_true(probe_answer_next(&a, SPAN("Transfer-"), &at, &name, &value));
    assert_true(span_eq(value, SPAN("gif")));
    assert_false(probe_answer_next(&a, SPAN("Transfer-"), &at, &name, &value));
    probe_answer_done(&a);
}

/* A line that never ends costs no more than its limit. */
static void test_endless_line(void **state)
{
    static char bytes[100000];
    struct probe_answer a;
    size_t used;

    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = 'x';
    probe_answer_init(&a, BODY_MAX);
    assert_int_equal(probe_answer_feed(&a, (struct span){bytes, sizeof bytes}, &used), ERR_SYNTAX);
    assert_string_equal(a.fault, "a line is longer than 64 KiB");
    probe_answer_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_endless_line),
    };

    return cmocka_run_group_tests_name("probe_answer", tests, NULL, NULL);
}
