/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_client_player.h - a driver without a network for http/http_client_engine.h: what the
 * server says comes from the test, what the engine tells is written down. */
#ifndef TEST_HTTP_CLIENT_PLAYER_H
#define TEST_HTTP_CLIENT_PLAYER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "http/http_client_engine_int.h"

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static const struct http_limits limits = {
    .request_line_max = 64,
    .head_max = 512,
    .fields_max = 8,
    .chunk_line_max = 32,
    .trailer_max = 64,
    .chunk_overhead_max = 256,
    .memory_max = 1u << 14,
    .head_ms = 30000,
    .body_idle_ms = 60000,
    .write_idle_ms = 50000,
    .idle_ms = 120000,
    .exchange_ms = 600000,
};

struct player {
    struct http_client_engine *e;
    struct buf log, body, wire;
};

static inline void player_init(struct player *p)
{
    *p = (struct player){0};
    assert_int_equal(http_client_engine_new(&limits, 0, &p->e), OK);
}

static inline void player_done(struct player *p)
{
    http_client_engine_free(p->e);
    buf_done(&p->log);
    buf_done(&p->body);
    buf_done(&p->wire);
}

/* ---- what the engine tells ---- */

static inline void log_body(struct player *p)
{
    if (p->body.n) {
        buf_text(&p->log, "BODY ");
        buf_add(&p->log, buf_span(&p->body));
        buf_char(&p->log, '\n');
        buf_reset(&p->body);
    }
}

static inline void log_answer(struct player *p, const char *what)
{
    const struct http_answer *a = http_client_answer(p->e);

    assert_non_null(a);
    assert_int_equal(a->head->status, a->status);
    assert_true(a->has_body || a->length == 0);
    buf_fmt(&p->log, "%s %u", what, a->status);
    if (a->has_body && a->length == HTTP_LENGTH_UNKNOWN)
        buf_text(&p->log, " body");
    else if (a->has_body)
        buf_fmt(&p->log, " body %u", (unsigned)a->length);
    buf_text(&p->log, a->keep_alive ? "\n" : " close\n");
}

static inline void log_event(struct player *p, const struct http_client_event *ev)
{
    if (ev->kind == HTTP_CLIENT_EV_BODY) {
        assert_true(ev->slice.len > 0);
        buf_add(&p->body, slice_span(ev->slice));
        block_unref(ev->slice.block);
        return;
    }
    log_body(p);
    switch (ev->kind) {
    case HTTP_CLIENT_EV_GO_ON: buf_text(&p->log, "GO_ON\n"); break;
    case HTTP_CLIENT_EV_SWITCHED: log_answer(p, "SWITCHED"); break;
    case HTTP_CLIENT_EV_ANSWER: log_answer(p, "ANSWER"); break;
    case HTTP_CLIENT_EV_END: buf_fmt(&p->log, "END" SPAN_FMT "\n", SPAN_ARG(ev->trailers)); break;
    case HTTP_CLIENT_EV_FAILED:
        buf_fmt(&p->log, "FAILED %s: %s\n", err_code(ev->fault.err), ev->fault.why);
        assert_int_equal(ev->fault.status, ev->fault.err == ERR_TIMEOUT ? 504
                                           : ev->fault.err == ERR_NOMEM ? 503
                                                                        : 502);
        break;
    case HTTP_CLIENT_EV_BODY:
    case HTTP_CLIENT_EV_NONE: break;
    }
}

static inline void drain(struct player *p)
{
    struct http_client_event ev;

    while (http_client_next(p->e, &ev))
        log_event(p, &ev);
}

/* Compares what was told or sent so far, and forgets it. */
static inline void expect(const char *what, struct buf *got, const char *want)
{
    if (!span_eq(buf_span(got), span_of(want)))
        fail_msg("%s\n--- expected\n%s\n--- got\n%s", what, want, buf_cstr(got));
    buf_reset(got);
}

static inline void expect_log(struct player *p, const char *what, const char *want)
{
    log_body(p);
    expect(what, &p->log, want);
}

/* ---- input ---- */

static inline struct slice text_slice(const char *text)
{
    struct block *b = block_new();
    size_t n = strlen(text);

    assert_non_null(b);
    assert_true(n <= BLOCK_SIZE);
    memcpy(b->data, text, n);
    return (struct slice){b, 0, (uint32_t)n};
}

/* Feeds |s| as a driver does; what the engine does not take is left. Returns that. */
static inline uint32_t feed_slice(struct player *p, struct slice s)
{
    while (s.len) {
        size_t used;

        assert_int_equal(http_client_feed(p->e, s, &used), OK);
        drain(p);
        if (used == 0)
            break;
        s = slice_sub(s, (uint32_t)used, s.len - (uint32_t)used);
    }
    return s.len;
}

static inline void feed(struct player *p, const char *text)
{
    struct slice s = text_slice(text);

    assert_int_equal(feed_slice(p, s), 0);
    block_unref(s.block);
}

/* In two pieces, the first of |cut| bytes; SIZE_MAX: byte by byte. */
static inline void feed_cut(struct player *p, const char *text, size_t cut)
{
    struct slice s = text_slice(text);

    if (cut == SIZE_MAX) {
        for (uint32_t i = 0; i < s.len; i++)
            assert_int_equal(feed_slice(p, slice_sub(s, i, 1)), 0);
    } else {
        assert_int_equal(feed_slice(p, slice_sub(s, 0, (uint32_t)cut)), 0);
        assert_int_equal(feed_slice(p, slice_sub(s, (uint32_t)cut, s.len - (uint32_t)cut)), 0);
    }
    block_unref(s.block);
}

/* ---- requests and output ---- */

static inline struct http_client_request request(const char *method)
{
    return (struct http_client_request){
        .method = span_of(method), .target = SPAN("/a"), .host = SPAN("h")};
}

static inline void start(struct player *p, const struct http_client_request *r)
{
    assert_int_equal(http_client_request(p->e, r), OK);
}

static inline void send_body(struct player *p, const char *text, bool end)
{
    struct slice s = text_slice(text);

    assert_int_equal(http_client_body(p->e, s, end), OK);
    block_unref(s.block);
}

static inline void take_output(struct player *p)
{
    struct chain *out = http_client_output(p->e);

    for (uint32_t i = 0; i < out->n; i++) {
        const struct segment *s = chain_at(out, i);

        if (s->kind == SEGMENT_FILE)
            buf_fmt(&p->wire, "<file %u+%u>", (unsigned)s->file.off, (unsigned)s->file.len);
        else
            buf_add(&p->wire, s->kind == SEGMENT_SLICE ? slice_span(s->slice) : s->text);
    }
    http_client_sent(p->e, out->len);
}

static inline void expect_wire(struct player *p, const char *what, const char *want)
{
    take_output(p);
    expect(what, &p->wire, want);
}

/* A request of which all is sent. */
static inline void ask(struct player *p, const struct http_client_request *r)
{
    start(p, r);
    take_output(p);
    buf_reset(&p->wire);
}

/* A POST whose head is sent, and whose body is to come. */
static inline void start_body(struct player *p, uint64_t length, bool waits)
{
    struct http_client_request r = request("POST");

    player_init(p);
    r.has_body = true;
    r.length = length;
    r.expect = waits;
    ask(p, &r);
}

#endif
