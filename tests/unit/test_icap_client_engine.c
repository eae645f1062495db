/* SPDX-License-Identifier: Apache-2.0 */
/* icap/icap_client_engine.h: requests as bytes, answers as rows (whole, cut at each byte, each
 * allocation failing), deadlines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "icap/icap_client_engine_int.h"

static const struct icap_limits limits = {
    .request_line_max = 256,
    .head_max = 1024,
    .fields_max = 16,
    .http_head_max = 512,
    .chunk_line_max = 64,
    .trailer_max = 128,
    .chunk_overhead_max = 512,
    .memory_max = 1u << 16,
    .head_ms = 10000,
    .body_idle_ms = 60000,
    .write_idle_ms = 50000,
    .idle_ms = 120000,
    .transaction_ms = 600000,
};

#define REQ "GET /a HTTP/1.1\r\nHost: h\r\n\r\n" /* 28 */
#define RES "HTTP/1.1 200 OK\r\n\r\n"            /* 19 */

/* ---- a driver ---- */

struct player {
    struct icap_client_engine *e;
    struct buf log, body, wire;
    bool no_memory;
};

static void player_init(struct player *p)
{
    *p = (struct player){0};
    assert_int_equal(icap_client_engine_new(&limits, 0, &p->e), OK);
}

static void player_done(struct player *p)
{
    icap_client_engine_free(p->e);
    buf_done(&p->log);
    buf_done(&p->body);
    buf_done(&p->wire);
}

static void log_body(struct player *p)
{
    if (p->body.n) {
        buf_text(&p->log, "BODY ");
        buf_add(&p->log, buf_span(&p->body));
        buf_char(&p->log, '\n');
        buf_reset(&p->body);
    }
}

static void log_reply(struct player *p)
{
    const struct icap_client_reply *r = icap_client_reply(p->e);

    assert_non_null(r);
    buf_fmt(&p->log, "REPLY %u", r->status);
    if (r->http_request)
        buf_fmt(&p->log, " " SPAN_FMT, SPAN_ARG(r->http_request->target));
    if (r->http_response)
        buf_fmt(&p->log, " %u", r->http_response->status);
    buf_text(&p->log, r->has_body ? " body" : "");
    buf_text(&p->log, r->keep_alive ? "\n" : " close\n");
}

static void log_event(struct player *p, const struct icap_client_event *ev)
{
    if (ev->kind == ICAP_CLIENT_EV_BODY) {
        buf_add(&p->body, slice_span(ev->slice));
        block_unref(ev->slice.block);
        return;
    }
    log_body(p);
    switch (ev->kind) {
    case ICAP_CLIENT_EV_GO_ON: buf_text(&p->log, "GO_ON\n"); break;
    case ICAP_CLIENT_EV_REPLY: log_reply(p); break;
    case ICAP_CLIENT_EV_ORIGINAL: buf_fmt(&p->log, "ORIGINAL %u\n", (unsigned)ev->from); break;
    case ICAP_CLIENT_EV_END:
        buf_fmt(&p->log, "END" SPAN_FMT "|" SPAN_FMT "\n", SPAN_ARG(ev->http_trailers),
                SPAN_ARG(ev->trailers));
        break;
    case ICAP_CLIENT_EV_FAILED:
        buf_fmt(&p->log, "FAILED %s: %s\n", err_code(ev->fault.err), ev->fault.why);
        p->no_memory |= ev->fault.err == ERR_NOMEM;
        break;
    case ICAP_CLIENT_EV_BODY:
    case ICAP_CLIENT_EV_NONE: break;
    }
}

static void drain(struct player *p)
{
    struct icap_client_event ev;

    while (icap_client_next(p->e, &ev))
        log_event(p, &ev);
}

static void feed(struct player *p, struct span text)
{
    struct block b = {.data = malloc(text.n + 1), .refs = 1, .used = (uint32_t)text.n};
    struct slice s = {&b, 0, b.used};
    size_t used;

    assert_non_null(b.data);
    memcpy(b.data, text.p, text.n);
    while (s.len) {
        enum err e = icap_client_feed(p->e, s, &used);

        assert_true(e == OK || e == ERR_NOMEM);
        p->no_memory |= e == ERR_NOMEM;
        drain(p);
        s = slice_sub(s, (uint32_t)used, s.len - (uint32_t)used);
    }
    assert_true(b.refs == 1 || icap_client_reply(p->e));
    if (b.refs > 1) { /* views of the answer point here: give it up for the test's sake */
        icap_client_abort(p->e);
        drain(p);
        buf_text(&p->log, "...\n");
    }
    assert_int_equal(b.refs, 1);
    free(b.data);
}

static void take_output(struct player *p)
{
    struct chain *out = icap_client_output(p->e);

    for (uint32_t i = 0; i < out->n; i++) {
        const struct segment *s = chain_at(out, i);

        if (s->kind == SEGMENT_FILE)
            buf_fmt(&p->wire, "<file %u+%u>", (unsigned)s->file.off, (unsigned)s->file.len);
        else
            buf_add(&p->wire, s->kind == SEGMENT_SLICE ? slice_span(s->slice) : s->text);
    }
    icap_client_sent(p->e, out->len);
}

static void expect(const char *what, struct buf *got, const char *want)
{
    if (!span_eq(buf_span(got), span_of(want)))
        fail_msg("%s\n--- expected\n%s\n--- got\n%s", what, want, buf_cstr(got));
    buf_reset(got);
}

static struct slice text_slice(const char *text)
{
    struct block *b = block_new();
    struct span s = span_of(text);

    assert_non_null(b);
    memcpy(b->data, s.p, s.n);
    return (struct slice){b, 0, (uint32_t)s.n};
}

static void send_body(struct player *p, const char *text, bool end)
{
    struct slice s = text_slice(text);

    assert_int_equal(icap_client_body(p->e, s, end), OK);
    block_unref(s.block);
}

static struct icap_client_request request(enum icap_method m)
{
    struct icap_client_request r = {.method = m, .uri = SPAN("icap://h/s"), .host = SPAN("h")};

    if (m != ICAP_OPTIONS)
        r.http_request = SPAN(REQ);
    if (m == ICAP_RESPMOD)
        r.http_response = SPAN(RES);
    return r;
}

/* ---- requests ---- */

static void requests_as_bytes(void **state)
{
    struct icap_client_request r;
    struct player p;

    (void)state;
    player_init(&p);
    r = request(ICAP_OPTIONS);
    r.fields = SPAN("User-Agent: sallyport\r\n");
    r.allow = (struct icap_allow){.s206 = true, .trailers = true};
    assert_int_equal(icap_client_request(p.e, &r), OK);
    assert_int_equal(icap_client_request(p.e, &r), ERR_BUG); /* one at a time */
    take_output(&p);
    expect("OPTIONS", &p.wire,
           "OPTIONS icap://h/s ICAP/1.0\r\nHost: h\r\nUser-Agent: sallyport\r\n"
           "Allow: 206, trailers\r\n\r\n");
    player_done(&p);

    player_init(&p);
    r = request(ICAP_REQMOD);
    r.close = true;
    r.has_preview = true;
    r.allow.s204 = true;
    assert_int_equal(icap_client_request(p.e, &r), OK);
    assert_int_equal(icap_client_body(p.e, (struct slice){0}, true), ERR_BUG); /* no body */
    take_output(&p);
    expect("REQMOD", &p.wire,
           "REQMOD icap://h/s ICAP/1.0\r\nHost: h\r\nAllow: 204\r\nPreview: 0\r\n"
           "Connection: close\r\nEncapsulated: req-hdr=0, null-body=28\r\n\r\n" REQ);
    player_done(&p);

    player_init(&p);
    r = request(ICAP_RESPMOD);
    r.has_body = true;
    assert_int_equal(icap_client_request(p.e, &r), OK);
    send_body(&p, "hello", false);
    send_body(&p, "", false);
    send_body(&p, " world", true);
    assert_int_equal(icap_client_body(p.e, (struct slice){0}, true), ERR_BUG);
    take_output(&p);
    expect("RESPMOD", &p.wire,
           "RESPMOD icap://h/s ICAP/1.0\r\nHost: h\r\n"
           "Encapsulated: req-hdr=0, res-hdr=28, res-body=47\r\n\r\n" REQ RES
           "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n");
    player_done(&p);
}

static void illegal_requests_are_bugs(void **state)
{
    struct icap_client_request r;
    struct player p;

    (void)state;
    player_init(&p);
    r = request(ICAP_REQMOD);
    r.http_response = SPAN(RES); /* not in a REQMOD */
    assert_int_equal(icap_client_request(p.e, &r), ERR_BUG);
    r = request(ICAP_REQMOD);
    r.http_request = SPAN("GET /a HTTP/1.1\r\n"); /* does not end */
    assert_int_equal(icap_client_request(p.e, &r), ERR_BUG);
    r = request(ICAP_RESPMOD);
    r.http_request = r.http_response = SPAN_NONE; /* no part at all (erratum E4) */
    assert_int_equal(icap_client_request(p.e, &r), ERR_BUG);
    r = request(ICAP_OPTIONS);
    r.uri = SPAN("icap://h/s ICAP/1.0\r\nX: y");
    assert_int_equal(icap_client_request(p.e, &r), ERR_BUG);
    r = request(ICAP_OPTIONS);
    r.fields = SPAN("X: y\r\n\r\n");
    assert_int_equal(icap_client_request(p.e, &r), ERR_BUG);
    r = request(ICAP_OPTIONS);
    r.host = SPAN("h\r\nX: y");
    assert_int_equal(icap_client_request(p.e, &r), ERR_BUG);
    assert_int_equal(icap_client_output(p.e)->len, 0);
    assert_true(icap_client_is_idle(p.e));
    player_done(&p);
}

/* ---- previews ---- */

#define PREVIEW_HEAD                                           \
    "RESPMOD icap://h/s ICAP/1.0\r\nHost: h\r\nPreview: 4\r\n" \
    "Encapsulated: req-hdr=0, res-hdr=28, res-body=47\r\n\r\n" REQ RES

static void start_preview(struct player *p, uint64_t preview)
{
    struct icap_client_request r = request(ICAP_RESPMOD);

    player_init(p);
    r.has_body = r.has_preview = true;
    r.preview = preview;
    assert_int_equal(icap_client_request(p->e, &r), OK);
}

static void previews_are_cut(void **state)
{
    struct player p;

    (void)state;
    start_preview(&p, 4);
    send_body(&p, "abcd", true); /* exactly, end known */
    take_output(&p);
    expect("whole body", &p.wire, PREVIEW_HEAD "4\r\nabcd\r\n0; ieof\r\n\r\n");
    player_done(&p);

    start_preview(&p, 4);
    send_body(&p, "ab", false);
    send_body(&p, "", true);
    take_output(&p);
    expect("shorter body", &p.wire, PREVIEW_HEAD "2\r\nab\r\n0; ieof\r\n\r\n");
    player_done(&p);

    start_preview(&p, 4);
    send_body(&p, "ab", false);
    send_body(&p, "cdef", false);
    send_body(&p, "gh", false);
    take_output(&p);
    expect("preview", &p.wire, PREVIEW_HEAD "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n");
    feed(&p, SPAN("ICAP/1.0 100 Continue\r\n\r\n"));
    expect("100", &p.log, "GO_ON\n");
    take_output(&p);
    expect("rest", &p.wire, "2\r\nef\r\n2\r\ngh\r\n");
    send_body(&p, "i", true);
    take_output(&p);
    expect("end", &p.wire, "1\r\ni\r\n0\r\n\r\n");
    feed(&p, SPAN("ICAP/1.0 204 No Content\r\n\r\n"));
    expect("204 after the preview without Allow", &p.log,
           "FAILED protocol: 204 that was not allowed\n");
    player_done(&p);

    start_preview(&p, 0);
    take_output(&p);
    buf_reset(&p.wire);
    send_body(&p, "abc", true); /* queued behind the preview */
    feed(&p, SPAN("ICAP/1.0 100 Continue\r\n\r\n"));
    take_output(&p);
    expect("all of it", &p.wire, "3\r\nabc\r\n0\r\n\r\n");
    player_done(&p);
}

static void the_rest_is_dropped_after_a_final_answer(void **state)
{
    struct player p;

    (void)state;
    start_preview(&p, 4);
    send_body(&p, "abcdef", false);
    take_output(&p);
    buf_reset(&p.wire);
    feed(&p, SPAN("ICAP/1.0 204 No Content\r\n\r\n"));
    expect("204", &p.log, "REPLY 204\nEND|\n");
    assert_int_equal(p.e->rest.len, 0);
    assert_true(icap_client_is_idle(p.e));
    player_done(&p);

    /* with a body in the answer: pieces that still come are dropped */
    start_preview(&p, 4);
    send_body(&p, "abcdef", false);
    take_output(&p);
    buf_reset(&p.wire);
    feed(&p, SPAN("ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 100 Continue\r\n\r\n"));
    expect("second 100", &p.log, "GO_ON\nFAILED protocol: 100 Continue that nobody waits for\n");
    assert_int_equal(icap_client_body(p.e, (struct slice){0}, true), ERR_ABORTED);
    player_done(&p);
}

/* The answer is over before the body is: what still comes is dropped, and the connection with it.
 */
static void a_body_outlives_its_answer(void **state)
{
    struct icap_client_request r = request(ICAP_RESPMOD);
    struct player p;

    (void)state;
    player_init(&p);
    r.has_body = true;
    r.allow.s204 = true;
    assert_int_equal(icap_client_request(p.e, &r), OK);
    send_body(&p, "abc", false);
    feed(&p, SPAN("ICAP/1.0 204 No Content\r\n\r\n"));
    expect("204", &p.log, "REPLY 204\nEND|\n");
    send_body(&p, "def", false);
    send_body(&p, "", true);
    assert_int_equal(icap_client_body(p.e, (struct slice){0}, true), ERR_BUG);
    assert_int_equal(icap_client_output(p.e)->len, 0);
    assert_int_equal(icap_client_wants(p.e), ICAP_WANT_CLOSE);
    player_done(&p);
}

static void released(struct file_ref *f)
{
    f->fd = -1;
}

static void files_are_cut_like_memory(void **state)
{
    struct file_ref f = {.fd = 3, .refs = 1, .release = released};
    struct player p;

    (void)state;
    start_preview(&p, 4);
    assert_int_equal(icap_client_body_file(p.e, &f, 10, 3, false), OK);
    assert_int_equal(icap_client_body_file(p.e, &f, 13, 7, true), OK);
    take_output(&p);
    expect("preview", &p.wire, PREVIEW_HEAD "3\r\n<file 10+3>\r\n1\r\n<file 13+1>\r\n0\r\n\r\n");
    feed(&p, SPAN("ICAP/1.0 100 Continue\r\n\r\n"));
    take_output(&p);
    expect("rest", &p.wire, "6\r\n<file 14+6>\r\n0\r\n\r\n");
    player_done(&p);
    file_unref(&f);
    assert_int_equal(f.fd, -1);
}

/* ---- answers ---- */

struct row {
    const char *name;
    enum icap_method method;
    const char *how; /* 4: Allow 204, 6: Allow 206, t: trailers, p: preview with ieof, w: preview
                        that waits, b: body, c: close, u: a body that is not finished */
    const char *answer;
    const char *events;
    bool idle; /* may carry another request */
};

#define OK200  "ICAP/1.0 200 OK\r\n"
#define ENC(x) "Encapsulated: " x "\r\n\r\n"

static const struct row rows[] = {
    {"OPTIONS",                               ICAP_OPTIONS, "",    OK200 "Methods: RESPMOD\r\n" ENC("null-body=0"),
     "REPLY 200\nEND|\n",                                                                                                                                                                                             true },
    {"OPTIONS without Encapsulated",          ICAP_OPTIONS, "",    OK200 "\r\n",                                                      "REPLY 200\nEND|\n",                                                            true },
    {"OPTIONS with opt-body",                 ICAP_OPTIONS, "",    OK200 ENC("opt-body=0") "1\r\nx\r\n0\r\n\r\n",
     "REPLY 200 body\nBODY x\nEND|\n",                                                                                                                                                                                true },
    {"OPTIONS with res-hdr",                  ICAP_OPTIONS, "",    OK200 ENC("res-hdr=0, null-body=19") RES,
     "FAILED protocol: Encapsulated list does not fit the request\n",                                                                                                                                                 false},
    {"server closes",                         ICAP_OPTIONS, "",    OK200 "Connection: close\r\n\r\n",
     "REPLY 200 close\nEND|\n",                                                                                                                                                                                       false},
    {"we close",                              ICAP_OPTIONS, "c",   OK200 "\r\n",                                                      "REPLY 200\nEND|\n",                                                            false},
    {"204 with Allow",                        ICAP_RESPMOD, "4b",  "ICAP/1.0 204 Unmodified\r\n\r\n",                                 "REPLY 204\nEND|\n",
     true                                                                                                                                                                                                                  },
    {"204 with null-body",                    ICAP_RESPMOD, "4b",  "ICAP/1.0 204 x\r\n" ENC("null-body=0"),
     "REPLY 204\nEND|\n",                                                                                                                                                                                             true },
    {"204 without Allow",                     ICAP_RESPMOD, "b",   "ICAP/1.0 204 x\r\n\r\n",
     "FAILED protocol: 204 that was not allowed\n",                                                                                                                                                                   false},
    {"204 to OPTIONS",                        ICAP_OPTIONS, "4",   "ICAP/1.0 204 x\r\n\r\n",
     "FAILED protocol: 204 that was not allowed\n",                                                                                                                                                                   false},
    {"204 in a preview",                      ICAP_RESPMOD, "pb",  "ICAP/1.0 204 x\r\n\r\n",                                          "REPLY 204\nEND|\n",                                                            true },
    {"204 with parts",                        ICAP_RESPMOD, "4b",  "ICAP/1.0 204 x\r\n" ENC("res-hdr=0, null-body=19") RES,
     "FAILED protocol: 204 with encapsulated parts\n",                                                                                                                                                                false},
    {"204 and then a last-chunk",             ICAP_RESPMOD, "4b",  "ICAP/1.0 204 x\r\n\r\n0\r\n\r\n",
     "REPLY 204\nEND|\nFAILED protocol: bytes that belong to no request\n",                                                                                                                                           false},
    {"100 after ieof is passed over",         ICAP_RESPMOD, "pb",
     "ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 204 x\r\n\r\n",                                                                           "REPLY 204\nEND|\n",                                                            true },
    {"but only once",                         ICAP_RESPMOD, "pb",
     "ICAP/1.0 100 Continue\r\n\r\nICAP/1.0 100 Continue\r\n\r\n",                                                                    "FAILED protocol: 100 Continue that nobody waits for\n",                        false},
    {"100 without a preview",                 ICAP_RESPMOD, "4b",  "ICAP/1.0 100 Continue\r\n\r\n",
     "FAILED protocol: 100 Continue that nobody waits for\n",                                                                                                                                                         false},
    {"101",                                   ICAP_OPTIONS, "",    "ICAP/1.0 101 Switching\r\n\r\n",
     "FAILED protocol: interim status that ICAP does not have\n",                                                                                                                                                     false},
    {"200 with a body",                       ICAP_RESPMOD, "b",
     OK200 ENC("res-hdr=0, res-body=19") RES "3\r\nabc\r\n0\r\n\r\n",
     "REPLY 200 200 body\nBODY abc\nEND|\n",                                                                                                                                                                          true },
    {"HTTP trailers come back",               ICAP_RESPMOD, "b",
     OK200 ENC("res-hdr=0, res-body=19") RES "3\r\nabc\r\n0\r\nA: b\r\n\r\n",
     "REPLY 200 200 body\nBODY abc\nENDA: b\r\n|\n",                                                                                                                                                                  true },
    {"201 is a 200",                          ICAP_RESPMOD, "b",
     "ICAP/1.0 201 Created\r\n" ENC("res-hdr=0, null-body=19") RES,                                                                   "REPLY 201 200\nEND|\n",                                                        true },
    {"RESPMOD 200 without res-hdr",           ICAP_RESPMOD, "b",   OK200 ENC("res-body=0") "0\r\n\r\n",
     "FAILED protocol: Encapsulated list does not fit the request\n",                                                                                                                                                 false},
    {"RESPMOD 200 without Encapsulated",      ICAP_RESPMOD, "b",   OK200 "\r\n",
     "FAILED protocol: Encapsulated list does not fit the request\n",                                                                                                                                                 false},
    {"RESPMOD 200 with a request",            ICAP_RESPMOD, "b",   OK200 ENC("req-hdr=0, null-body=28") REQ,
     "FAILED protocol: Encapsulated list does not fit the request\n",                                                                                                                                                 false},
    {"REQMOD adapted",                        ICAP_REQMOD,  "",    OK200 ENC("req-hdr=0, null-body=28") REQ,
     "REPLY 200 /a\nEND|\n",                                                                                                                                                                                          true },
    {"REQMOD adapted with a body",            ICAP_REQMOD,  "b",
     OK200 ENC("req-hdr=0, req-body=28") REQ "1\r\nx\r\n0\r\n\r\n",
     "REPLY 200 /a body\nBODY x\nEND|\n",                                                                                                                                                                             true },
    {"REQMOD satisfied",                      ICAP_REQMOD,  "b",
     OK200 ENC("res-hdr=0, res-body=19") RES "1\r\nx\r\n0\r\n\r\n",
     "REPLY 200 200 body\nBODY x\nEND|\n",                                                                                                                                                                            true },
    {"offset too large",                      ICAP_RESPMOD, "b",
     OK200 ENC("res-hdr=0, res-body=40") RES "3\r\nabc\r\n0\r\n\r\n01234567",
     "FAILED protocol: encapsulated head ends before its slot\n",                                                                                                                                                     false},
    {"offset too small",                      ICAP_RESPMOD, "b",
     OK200 ENC("res-hdr=0, res-body=18") RES "3\r\nabc\r\n0\r\n\r\n",
     "FAILED protocol: encapsulated head does not end in its slot\n",                                                                                                                                                 false},
    {"offset over the limit",                 ICAP_RESPMOD, "b",   OK200 ENC("res-hdr=0, res-body=9999") RES,
     "FAILED limit: encapsulated head too long\n",                                                                                                                                                                    false},
    {"empty slot",                            ICAP_REQMOD,  "b",   OK200 ENC("req-hdr=0, null-body=0"),
     "FAILED protocol: empty encapsulated head\n",                                                                                                                                                                    false},
    {"206",                                   ICAP_RESPMOD, "46b",
     "ICAP/1.0 206 x\r\n" ENC("res-hdr=0, res-body=19") RES
     "1\r\nx\r\n0; use-original-body=5\r\n\r\n",                                                                                      "REPLY 206 200 body\nBODY x\nORIGINAL 5\nEND|\n",                               true },
    {"206 that is complete",                  ICAP_RESPMOD, "46b",
     "ICAP/1.0 206 x\r\n" ENC("res-hdr=0, res-body=19") RES "1\r\nx\r\n0\r\n\r\n",
     "REPLY 206 200 body\nBODY x\nEND|\n",                                                                                                                                                                            true },
    {"206 with null-body",                    ICAP_RESPMOD, "46b", "ICAP/1.0 206 x\r\n" ENC("null-body=0"),
     "REPLY 206\nEND|\n",                                                                                                                                                                                             true },
    {"206 without Encapsulated",              ICAP_RESPMOD, "46b", "ICAP/1.0 206 x\r\n\r\n",                                          "REPLY 206\nEND|\n",
     true                                                                                                                                                                                                                  },
    {"206 in a preview",                      ICAP_RESPMOD, "6pb",
     "ICAP/1.0 206 x\r\n" ENC("res-hdr=0, res-body=19") RES "0; use-original-body=0\r\n\r\n",
     "REPLY 206 200 body\nORIGINAL 0\nEND|\n",                                                                                                                                                                        true },
    {"206 without Allow: 206",                ICAP_RESPMOD, "4b",  "ICAP/1.0 206 x\r\n\r\n",
     "FAILED protocol: 206 that was not allowed\n",                                                                                                                                                                   false},
    {"206 without Allow: 204",                ICAP_RESPMOD, "6b",  "ICAP/1.0 206 x\r\n\r\n",
     "FAILED protocol: 206 that was not allowed\n",                                                                                                                                                                   false},
    {"206 beyond the body",                   ICAP_RESPMOD, "46b",
     "ICAP/1.0 206 x\r\n" ENC("res-hdr=0, res-body=19") RES "0; use-original-body=7\r\n\r\n",
     "REPLY 206 200 body\nFAILED protocol: use-original-body beyond the body\n",                                                                                                                                      false},
    {"use-original-body in a 200",            ICAP_RESPMOD, "46b",
     OK200 ENC("res-hdr=0, res-body=19") RES "0; use-original-body=7\r\n\r\n",
     "REPLY 200 200 body\nEND|\n",                                                                                                                                                                                    true },
    {"ICAP trailers",                         ICAP_RESPMOD, "tb",
     OK200 "Allow: trailers\r\nTrailer: X\r\n" ENC("res-hdr=0, res-body=19") RES
     "1\r\nx\r\n0\r\nA: b\r\n\r\nX: y\r\n\r\n",                                                                                       "REPLY 200 200 body\nBODY x\nENDA: b\r\n|X: y\r\n\n",                           true },
    {"ICAP trailers, empty",                  ICAP_RESPMOD, "tb",
     OK200 "Allow: trailers\r\nTrailer: X\r\n" ENC("res-hdr=0, res-body=19") RES "0\r\n\r\n\r\n",
     "REPLY 200 200 body\nEND|\n",                                                                                                                                                                                    true },
    {"Trailer without Allow",                 ICAP_RESPMOD, "tb",
     OK200 "Trailer: X\r\n" ENC("res-hdr=0, res-body=19") RES "0\r\n\r\n",
     "REPLY 200 200 body\nEND|\n",                                                                                                                                                                                    true },
    {"ICAP trailers that were not asked for", ICAP_RESPMOD, "b",
     OK200 "Allow: trailers\r\nTrailer: X\r\n" ENC("res-hdr=0, res-body=19") RES
     "0\r\n\r\nX: y\r\n\r\n",                                                                                                         "REPLY 200 200 body\nEND|\nFAILED protocol: bytes that belong to no request\n", false},
    {"407",                                   ICAP_RESPMOD, "b",   "ICAP/1.0 407 x\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\r\n",
     "REPLY 407\nEND|\n",                                                                                                                                                                                             true },
    {"a vendor's status",                     ICAP_RESPMOD, "b",   "ICAP/1.0 539 No licence\r\n\r\n",                                 "REPLY 539\nEND|\n",
     true                                                                                                                                                                                                                  },
    {"an error with a page",                  ICAP_RESPMOD, "b",
     "ICAP/1.0 403 x\r\n" ENC("res-hdr=0, res-body=19") RES "1\r\nx\r\n0\r\n\r\n",
     "REPLY 403 200 body\nBODY x\nEND|\n",                                                                                                                                                                            true },
    {"an error with a bad list",              ICAP_RESPMOD, "b",   "ICAP/1.0 500 x\r\n" ENC("what=0"),
     "FAILED protocol: unknown Encapsulated entity\n",                                                                                                                                                                false},
    {"two lists",                             ICAP_RESPMOD, "4b",
     "ICAP/1.0 204 x\r\nEncapsulated: null-body=0\r\n" ENC("null-body=0"),
     "FAILED protocol: repeated Encapsulated\n",                                                                                                                                                                      false},
    {"early answer, body unfinished",         ICAP_RESPMOD, "4u",  "ICAP/1.0 204 x\r\n\r\n",
     "REPLY 204\nEND|\n",                                                                                                                                                                                             false},
    {"final answer to a waiting preview",     ICAP_RESPMOD, "w",
     OK200 ENC("res-hdr=0, null-body=19") RES,                                                                                        "REPLY 200 200\nEND|\n",                                                        true },
    {"ICAP/2.0",                              ICAP_OPTIONS, "",    "ICAP/2.0 200 OK\r\n\r\n",
     "FAILED protocol: ICAP version is not 1.x\n",                                                                                                                                                                    false},
    {"HTTP",                                  ICAP_OPTIONS, "",    "HTTP/1.1 400 Bad Request\r\n\r\n",
     "FAILED protocol: malformed version in a status-line\n",                                                                                                                                                         false},
    {"bare LF",                               ICAP_OPTIONS, "",    "ICAP/1.0 200 OK\n\n",                                             "FAILED protocol: bare LF in a head\n",
     false                                                                                                                                                                                                                 },
    {"bad chunk",                             ICAP_RESPMOD, "b",   OK200 ENC("res-hdr=0, res-body=19") RES "3\r\nabcd\r\n",
     "REPLY 200 200 body\nBODY abc\nFAILED protocol: chunk data not followed by CRLF\n",                                                                                                                              false},
};

static bool has(const char *how, char c)
{
    return strchr(how, c) != NULL;
}

static enum err start_row(struct player *p, const struct row *r)
{
    struct icap_client_request rq = request(r->method);
    enum err e;

    rq.has_body = has(r->how, 'b') || has(r->how, 'u') || has(r->how, 'w');
    rq.has_preview = has(r->how, 'p') || has(r->how, 'w');
    rq.preview = has(r->how, 'p') ? 100 : 2;
    rq.close = has(r->how, 'c');
    rq.allow = (struct icap_allow){has(r->how, '4'), has(r->how, '6'), has(r->how, 't')};
    e = icap_client_request(p->e, &rq);
    if (e || !rq.has_body)
        return e;
    struct slice s = text_slice("abcdef");

    e = icap_client_body(p->e, s, has(r->how, 'b'));
    block_unref(s.block);
    return e;
}

static void play_row(const struct row *r, size_t cut)
{
    struct span text = span_of(r->answer);
    struct player p;

    player_init(&p);
    assert_int_equal(start_row(&p, r), OK);
    take_output(&p);
    if (cut == SIZE_MAX) {
        /* byte by byte, out of blocks that live on, as a driver's do */
        struct block *b = block_new();

        assert_non_null(b);
        memcpy(b->data, text.p, text.n);
        for (uint32_t i = 0; i < text.n; i++) {
            size_t used;

            assert_int_equal(icap_client_feed(p.e, (struct slice){b, i, 1}, &used), OK);
            assert_int_equal(used, 1);
            drain(&p);
        }
        block_unref(b);
    } else {
        struct block *b = block_new();
        uint32_t from = 0;

        assert_non_null(b);
        memcpy(b->data, text.p, text.n);
        while (from < text.n) {
            uint32_t to = from < cut ? (uint32_t)cut : (uint32_t)text.n;
            size_t used;

            assert_int_equal(icap_client_feed(p.e, (struct slice){b, from, to - from}, &used), OK);
            drain(&p);
            from += (uint32_t)used;
        }
        block_unref(b);
    }
    log_body(&p);
    expect(r->name, &p.log, r->events);
    if (icap_client_is_idle(p.e) != r->idle)
        fail_msg("%s: idle", r->name);
    if (!r->idle)
        assert_int_equal(icap_client_wants(p.e), ICAP_WANT_CLOSE);
    player_done(&p);
}

static void answer_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].answer);

        for (size_t cut = 0; cut < n; cut++)
            play_row(&rows[i], cut);
        play_row(&rows[i], SIZE_MAX);
    }
}

/* Every answer cut off before its end is a failure, and before its first byte one of its own kind.
 */
static void answers_that_break_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t n = strlen(rows[i].answer);

        for (size_t k = 0; k < n; k++) {
            struct block *b = block_new();
            struct player p;
            size_t used;

            assert_non_null(b);
            player_init(&p);
            assert_int_equal(start_row(&p, &rows[i]), OK);
            memcpy(b->data, rows[i].answer, k);
            assert_int_equal(icap_client_feed(p.e, (struct slice){b, 0, (uint32_t)k}, &used), OK);
            icap_client_eof(p.e);
            drain(&p);
            if (k == 0)
                expect("none", &p.log,
                       "FAILED peer-reset: closed before the first byte of its answer\n");
            assert_int_equal(icap_client_wants(p.e), ICAP_WANT_CLOSE);
            block_unref(b);
            player_done(&p);
        }
    }
}

static void failing_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (unsigned n = 1; n < 16; n++) {
            struct block *b = block_new();
            struct player p;
            uint32_t len = (uint32_t)strlen(rows[i].answer);
            size_t used = 0, all = 0;

            assert_non_null(b);
            memcpy(b->data, rows[i].answer, len);
            player_init(&p);
            struct slice warm = text_slice("x"); /* its allocation is not the engine's */

            block_unref(warm.block);
            mem_fail_after(0);
            p.no_memory = false;
            mem_fail_after(n);
            struct icap_client_request rq = request(rows[i].method);
            enum err e = icap_client_request(p.e, &rq);

            assert_true(e == OK || e == ERR_NOMEM);
            while (e == OK && all < len) {
                e = icap_client_feed(p.e, (struct slice){b, (uint32_t)all, len > 20 ? 7 : 1},
                                     &used);
                assert_true(e == OK || e == ERR_NOMEM);
                all += used;
                mem_fail_after(0);
                drain(&p);
                mem_fail_after(n > all ? n - (unsigned)all : 0);
                if (all + 7 > len)
                    break;
            }
            mem_fail_after(0);
            drain(&p);
            player_done(&p);
            assert_int_equal(b->refs, 1);
            block_unref(b);
        }
    }
}

/* ---- deadlines ---- */

static void deadlines(void **state)
{
    struct icap_client_request r = request(ICAP_OPTIONS);
    struct player p;

    (void)state;
    player_init(&p); /* idle */
    assert_int_equal(icap_client_deadline(p.e), 120000);
    icap_client_tick(p.e, 120000);
    assert_int_equal(icap_client_wants(p.e), ICAP_WANT_CLOSE);
    expect("idle", &p.log, "");
    player_done(&p);

    player_init(&p); /* nobody takes the request */
    assert_int_equal(icap_client_request(p.e, &r), OK);
    assert_int_equal(icap_client_deadline(p.e), 50000);
    icap_client_tick(p.e, 50000);
    drain(&p);
    expect("write", &p.log, "FAILED timeout: the server takes no output\n");
    player_done(&p);

    player_init(&p); /* the server thinks too long */
    assert_int_equal(icap_client_request(p.e, &r), OK);
    take_output(&p);
    assert_int_equal(icap_client_deadline(p.e), 600000);
    icap_client_tick(p.e, 599000);
    drain(&p);
    expect("not yet", &p.log, "");
    icap_client_tick(p.e, 600000);
    drain(&p);
    expect("transaction", &p.log, "FAILED timeout: the transaction took too long\n");
    player_done(&p);

    player_init(&p); /* its head drips */
    assert_int_equal(icap_client_request(p.e, &r), OK);
    take_output(&p);
    icap_client_tick(p.e, 5000);
    feed(&p, SPAN("ICAP"));
    assert_int_equal(icap_client_deadline(p.e), 15000);
    icap_client_tick(p.e, 14000);
    feed(&p, SPAN("/1.0"));
    icap_client_tick(p.e, 15000);
    drain(&p);
    expect("head", &p.log, "FAILED timeout: the answer stopped\n");
    player_done(&p);
}

static void deadline_of_a_body(void **state)
{
    struct icap_client_request r = request(ICAP_OPTIONS);
    struct slice s = text_slice(OK200 ENC("opt-body=0") "5\r\nab");
    struct player p;
    size_t used;

    (void)state;
    player_init(&p);
    assert_int_equal(icap_client_request(p.e, &r), OK);
    take_output(&p);
    assert_int_equal(icap_client_feed(p.e, s, &used), OK);
    drain(&p);
    assert_int_equal(icap_client_deadline(p.e), 60000);
    icap_client_tick(p.e, 60000);
    drain(&p);
    expect("body", &p.log, "REPLY 200 body\nBODY ab\nFAILED timeout: the answer stopped\n");
    block_unref(s.block);
    player_done(&p);
}

static void an_idle_engine_is_small(void **state)
{
    struct icap_client_request r = request(ICAP_OPTIONS);
    struct budget budget;
    struct player p;

    (void)state;
    budget_init(&budget, 0);
    block_set_budget(&budget);
    player_init(&p);
    for (unsigned i = 0; i < 100; i++) {
        struct slice s = text_slice(OK200 "\r\n");
        size_t used;

        assert_int_equal(icap_client_request(p.e, &r), OK);
        take_output(&p);
        assert_int_equal(icap_client_feed(p.e, s, &used), OK);
        drain(&p);
        assert_true(icap_client_is_idle(p.e));
        block_unref(s.block);
    }
    assert_int_equal(icap_client_deadline(p.e), 1000);
    icap_client_tick(p.e, 1000);
    assert_int_equal(budget_used(&budget), 0);
    assert_null(p.e->mem.chunks);
    player_done(&p);
    block_set_budget(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_as_bytes),
        cmocka_unit_test(illegal_requests_are_bugs),
        cmocka_unit_test(previews_are_cut),
        cmocka_unit_test(the_rest_is_dropped_after_a_final_answer),
        cmocka_unit_test(a_body_outlives_its_answer),
        cmocka_unit_test(files_are_cut_like_memory),
        cmocka_unit_test(answer_rows),
        cmocka_unit_test(answers_that_break_off),
        cmocka_unit_test(failing_memory),
        cmocka_unit_test(deadlines),
        cmocka_unit_test(deadline_of_a_body),
        cmocka_unit_test(an_idle_engine_is_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
