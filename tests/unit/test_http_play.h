/* SPDX-License-Identifier: Apache-2.0 */
/* test_http_play.h - a driver of the shortest kind for http/http_engine.h: feeds text, keeps what
 * is not taken, writes events down as lines. Blocks are exactly as large as their piece, and their
 * references are counted. */
#ifndef TEST_HTTP_PLAY_H
#define TEST_HTTP_PLAY_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "guard.h"
#include "http/http_engine_int.h"

#define PLAY_BLOCKS_MAX 256 /* that are held at a time */

/* Small, so that a few bytes are over each of them. */
static const struct http_limits play_limits = {
    .request_line_max = 64,
    .head_max = 256,
    .fields_max = 6,
    .chunk_line_max = 32,
    .trailer_max = 48,
    .chunk_overhead_max = 64,
    .discard_max = 100,
    .empty_lines_max = 2,
    .memory_max = 1u << 14,
    .head_ms = 10000,
    .body_idle_ms = 60000,
    .discard_ms = 2000,
    .write_idle_ms = 50000,
    .idle_ms = 120000,
};

#define H "Host: h\r\n"

struct play {
    struct http_engine *e;
    uint64_t now;
    struct buf pending; /* fed, and not taken */
    struct buf log;     /* events, one a line; pieces of a body are one BODY */
    struct buf body;    /* the piece of it that is not in |log| yet */
    struct buf wire;    /* output that was taken */
    bool answers;       /* END is answered by 200 "ok" */
    bool guards;        /* pieces end in front of a page that nobody may touch */
    bool failing;       /* out of memory is being played */
    bool failed;        /* ... and something met it */
    struct block *blocks[PLAY_BLOCKS_MAX];
    struct guard guard[PLAY_BLOCKS_MAX];
    unsigned n_blocks;
};

/* Memory of the driver's own, so that only the engine's can fail. */
static inline void play_reserve(struct play *p)
{
    assert_non_null(buf_reserve(&p->pending, 4096));
    assert_non_null(buf_reserve(&p->log, 4096));
    assert_non_null(buf_reserve(&p->body, 4096));
    assert_non_null(buf_reserve(&p->wire, 4096));
}

static inline struct play *play_new(const struct http_limits *lim)
{
    struct play *p = calloc(1, sizeof *p);

    assert_non_null(p);
    p->now = 1000;
    play_reserve(p);
    assert_int_equal(http_engine_new(lim, p->now, &p->e), OK);
    return p;
}

/* Frees the blocks that nobody else holds. */
static inline void play_reap(struct play *p)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < p->n_blocks; i++) {
        assert_true(p->blocks[i]->refs > 0);
        if (p->blocks[i]->refs > 1) {
            p->blocks[kept] = p->blocks[i];
            p->guard[kept++] = p->guard[i];
            continue;
        }
        if (p->guard[i].map)
            guard_free(&p->guard[i]);
        else
            free(p->blocks[i]->data);
        free(p->blocks[i]);
    }
    p->n_blocks = kept;
}

static inline void play_free(struct play *p)
{
    http_engine_free(p->e);
    play_reap(p);
    assert_int_equal(p->n_blocks, 0); /* nobody kept one */
    buf_done(&p->pending);
    buf_done(&p->log);
    buf_done(&p->body);
    buf_done(&p->wire);
    free(p);
}

static inline struct slice play_piece(struct play *p, struct span s)
{
    struct block *b = malloc(sizeof *b);

    assert_non_null(b);
    assert_true(s.n > 0 && s.n <= BLOCK_SIZE);
    if (p->n_blocks == PLAY_BLOCKS_MAX)
        play_reap(p);
    assert_true(p->n_blocks < PLAY_BLOCKS_MAX);
    *b = (struct block){.refs = 1, .used = (uint32_t)s.n};
    if (p->guards) {
        p->guard[p->n_blocks] = guard_new(s.n);
        b->data = (uint8_t *)(uintptr_t)guard_span(&p->guard[p->n_blocks], s).p;
    } else {
        p->guard[p->n_blocks].map = NULL;
        b->data = malloc(s.n);
        assert_non_null(b->data);
        memcpy(b->data, s.p, s.n);
    }
    p->blocks[p->n_blocks++] = b;
    return (struct slice){b, 0, (uint32_t)s.n};
}

/* ---- events ---- */

static inline void play_escaped(struct buf *b, struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\r')
            buf_text(b, "\\r");
        else if (s.p[i] == '\n')
            buf_text(b, "\\n");
        else
            buf_char(b, s.p[i]);
    }
}

static inline void play_log_body(struct play *p)
{
    if (p->body.n == 0)
        return;
    buf_text(&p->log, "BODY ");
    play_escaped(&p->log, buf_span(&p->body));
    buf_char(&p->log, '\n');
    buf_reset(&p->body);
}

static inline void play_log_request(struct play *p)
{
    const struct http_request *r = http_current(p->e);

    assert_non_null(r);
    buf_fmt(&p->log, "REQUEST " SPAN_FMT " " SPAN_FMT, SPAN_ARG(r->head->method),
            SPAN_ARG(r->head->target));
    if (r->has_body && r->length == HTTP_LENGTH_UNKNOWN)
        buf_text(&p->log, " chunked");
    else if (r->has_body)
        buf_fmt(&p->log, " length=%llu", (unsigned long long)r->length);
    else
        assert_int_equal(r->length, 0);
    buf_text(&p->log, r->expects ? " expects" : "");
    buf_text(&p->log, r->upgrades ? " upgrades" : "");
    buf_text(&p->log, r->upgrade_unlisted ? " unlisted" : "");
    buf_text(&p->log, r->close ? " close\n" : "\n");
}

static inline void play_note(struct play *p, enum err err)
{
    if (p->failing && err == ERR_NOMEM)
        p->failed = true;
    else
        assert_int_equal(err, OK);
}

static inline void play_on_end(struct play *p, struct span trailers)
{
    buf_text(&p->log, trailers.n ? "END " : "END");
    play_escaped(&p->log, trailers);
    buf_char(&p->log, '\n');
    if (p->answers)
        play_note(p, http_reply_whole(p->e, &(struct http_reply){.status = 200}, SPAN("ok")));
}

static inline void play_event(struct play *p, const struct http_event *ev)
{
    if (ev->kind == HTTP_EV_BODY) {
        assert_true(ev->slice.len > 0);
        buf_add(&p->body, slice_span(ev->slice));
        block_unref(ev->slice.block);
        return;
    }
    play_log_body(p);
    switch (ev->kind) {
    case HTTP_EV_REQUEST: play_log_request(p); break;
    case HTTP_EV_END: play_on_end(p, ev->trailers); break;
    case HTTP_EV_REFUSED:
        buf_fmt(&p->log, "REFUSED %u %s\n", ev->fault.status, ev->fault.why);
        p->failed |= ev->fault.err == ERR_NOMEM || (p->failing && ev->fault.status == 0);
        break;
    case HTTP_EV_GONE: buf_fmt(&p->log, "GONE %s\n", ev->fault.why); break;
    case HTTP_EV_BODY:
    case HTTP_EV_NONE: break;
    }
}

static inline void play_drain(struct play *p)
{
    struct http_event ev;

    while (http_next(p->e, &ev))
        play_event(p, &ev);
}

/* Feeds what waits, as far as the engine takes it. */
static inline void play_pump(struct play *p)
{
    size_t used = 1;

    play_drain(p);
    while (p->pending.n && used) {
        struct slice s = play_piece(p, span_sub(buf_span(&p->pending), 0, BLOCK_SIZE));

        used = 0;
        play_note(p, http_feed(p->e, s, &used));
        assert_true(used <= s.len);
        buf_drop(&p->pending, used);
        play_drain(p);
    }
}

static inline void play_feed(struct play *p, struct span s)
{
    buf_add(&p->pending, s);
    play_pump(p);
}

static inline void play_text(struct play *p, const char *text)
{
    play_feed(p, span_of(text));
}

/* An engine that has read |text|. */
static inline struct play *play_after(const char *text)
{
    struct play *p = play_new(&play_limits);

    play_text(p, text);
    return p;
}

/* ---- output ---- */

static inline void play_take_output(struct play *p)
{
    struct chain *out = http_output(p->e);
    bool last = http_output_is_last(p->e);

    for (uint32_t i = 0; i < out->n; i++) {
        const struct segment *s = chain_at(out, i);

        if (s->kind == SEGMENT_FILE)
            buf_fmt(&p->wire, "<file %u+%u>", (unsigned)s->file.off, (unsigned)s->file.len);
        else
            buf_add(&p->wire, s->kind == SEGMENT_SLICE ? slice_span(s->slice) : s->text);
    }
    http_sent(p->e, out->len);
    assert_int_equal(last, !!(http_wants(p->e) & HTTP_WANT_CLOSE));
}

static inline void play_compare(const char *what, struct buf *got, const char *want)
{
    if (!span_eq(buf_span(got), span_of(want)))
        print_error("%s differ\n--- expected\n%s\n--- got\n%s\n---\n", what, want, buf_cstr(got));
    assert_true(span_eq(buf_span(got), span_of(want)));
    buf_reset(got);
}

/* The events since the last call are exactly these. */
static inline void play_events(struct play *p, const char *want)
{
    play_drain(p);
    play_log_body(p);
    play_compare("events", &p->log, want);
}

/* The bytes written since the last call are exactly these. */
static inline void play_output(struct play *p, const char *want)
{
    play_take_output(p);
    play_compare("bytes", &p->wire, want);
}

static inline void play_wait(struct play *p, uint64_t ms)
{
    p->now += ms;
    http_tick(p->e, p->now);
    play_drain(p);
}

/* When the engine wants to be told the time, from now; UINT64_MAX: never. */
static inline uint64_t play_deadline(const struct play *p)
{
    uint64_t at = http_deadline(p->e);

    return at == UINT64_MAX ? at : at - p->now;
}

#define PLAY_OK       "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define PLAY_OK_CLOSE "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"

#endif
