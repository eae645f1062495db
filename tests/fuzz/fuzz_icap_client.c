/* SPDX-License-Identifier: Apache-2.0 */
/* icap/icap_client_engine.h, icap/icap_client_status.h. Byte 0: seed of the cuts; byte 1: which
 * request; the rest comes from the server. Properties: cut = whole; one REPLY, then END or FAILED,
 * and nothing after it; 204, 206 and 100 only where the request allows them. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "icap/icap_client_engine.h"
#include "icap/icap_client_status.h"

static const struct icap_limits limits = {
    .request_line_max = 256,
    .head_max = 1024,
    .fields_max = 16,
    .http_head_max = 512,
    .chunk_line_max = 64,
    .trailer_max = 128,
    .chunk_overhead_max = 512,
    .memory_max = 1u << 15,
    .transaction_ms = 600,
};

struct play {
    struct icap_client_engine *e;
    struct icap_client_request rq;
    struct buf log, body;
    unsigned hundreds, replies, ends, fails;
};

/* The request that byte 1 stands for. */
static struct icap_client_request request_of(uint8_t b)
{
    struct icap_client_request r = {.method = (enum icap_method)(b % 3),
                                    .uri = SPAN("icap://h/s"),
                                    .host = SPAN("h"),
                                    .fields = SPAN("X-A: b\r\n")};

    if (r.method != ICAP_OPTIONS)
        r.http_request = SPAN("GET /b HTTP/1.1\r\n\r\n");
    if (r.method == ICAP_RESPMOD)
        r.http_response = SPAN("HTTP/1.1 200 OK\r\n\r\n");
    r.has_body = r.method != ICAP_OPTIONS && (b & 4);
    r.has_preview = b & 8;
    r.preview = b & 16 ? 4 : 100;
    r.allow = (struct icap_allow){b & 32, b & 64, b & 128};
    return r;
}

static void log_body(struct play *p)
{
    if (p->body.n == 0)
        return;
    buf_text(&p->log, "body ");
    buf_add(&p->log, buf_span(&p->body));
    buf_reset(&p->body);
}

/* Words for it, which fit, and say no more than they were given. */
static void say_status(struct play *p, const struct head *icap)
{
    char text[64];
    uint64_t seconds = 0;
    bool basic = icap_client_takes_basic(icap), later = icap_client_retry_after(icap, &seconds);

    assert(!later || seconds <= UINT32_MAX);
    for (unsigned i = 0; i < 2; i++) {
        memset(text, 'x', sizeof text);
        icap_client_status_text(icap, i ? "u" : NULL, i, text, sizeof text);
        assert(memchr(text, '\0', sizeof text));
        buf_text(&p->log, text);
    }
    buf_fmt(&p->log, " %d %d %llu", basic, later, (unsigned long long)seconds);
}

static void on_reply(struct play *p)
{
    const struct icap_client_reply *r = icap_client_reply(p->e);
    bool preview = p->rq.has_preview && !p->hundreds && p->rq.method != ICAP_OPTIONS;

    assert(r && r->status >= 200);
    assert(r->status != 204 || p->rq.allow.s204 || preview);
    assert(r->status != 206 || (p->rq.allow.s206 && (p->rq.allow.s204 || preview)));
    assert(r->status != 200 || p->rq.method != ICAP_RESPMOD || r->http_response);
    buf_fmt(&p->log, "%u %d %d", r->status, r->has_body, r->keep_alive);
    say_status(p, r->icap);
}

static void drain(struct play *p)
{
    struct icap_client_event ev;

    while (icap_client_next(p->e, &ev)) {
        assert(!p->ends || ev.kind == ICAP_CLIENT_EV_FAILED); /* surplus bytes after END */
        assert(!p->fails);
        if (ev.kind == ICAP_CLIENT_EV_BODY) {
            assert(p->replies == 1 && ev.slice.len > 0);
            buf_add(&p->body, slice_span(ev.slice));
            block_unref(ev.slice.block);
            continue;
        }
        log_body(p);
        buf_fmt(&p->log, "[%d %u]", (int)ev.kind, (unsigned)ev.from);
        switch (ev.kind) {
        case ICAP_CLIENT_EV_GO_ON: assert(++p->hundreds == 1 && !p->replies); break;
        case ICAP_CLIENT_EV_REPLY:
            assert(++p->replies == 1);
            on_reply(p);
            break;
        case ICAP_CLIENT_EV_ORIGINAL: assert(icap_client_reply(p->e)->status == 206); break;
        case ICAP_CLIENT_EV_END:
            assert(++p->ends == 1 && p->replies == 1);
            buf_add(&p->log, ev.trailers);
            buf_char(&p->log, '|');
            buf_add(&p->log, ev.http_trailers);
            break;
        case ICAP_CLIENT_EV_FAILED:
            p->fails++;
            assert(ev.fault.err && ev.fault.why);
            buf_text(&p->log, ev.fault.why);
            break;
        case ICAP_CLIENT_EV_BODY:
        case ICAP_CLIENT_EV_NONE: break;
        }
    }
}

static void take_output(struct play *p)
{
    icap_client_sent(p->e, icap_client_output(p->e)->len);
}

static void play_piece(struct play *p, struct block *b, struct span piece)
{
    struct slice s = {b, 0, (uint32_t)piece.n};

    *b = (struct block){.data = malloc(piece.n), .refs = 1, .used = s.len};
    assert(b->data);
    memcpy(b->data, piece.p, piece.n);
    while (s.len) {
        size_t used = 0;

        assert(icap_client_feed(p->e, s, &used) == OK && used > 0);
        s = slice_sub(s, (uint32_t)used, s.len - (uint32_t)used);
        drain(p);
        take_output(p);
    }
}

static void start(struct play *p)
{
    struct block *b = block_new();

    assert(b && icap_client_engine_new(&limits, 0, &p->e) == OK);
    memcpy(b->data, "0123456789", 10);
    assert(icap_client_request(p->e, &p->rq) == OK);
    if (p->rq.has_body) {
        assert(icap_client_body(p->e, (struct slice){b, 0, 10}, false) == OK);
        assert(icap_client_body(p->e, (struct slice){0}, true) == OK);
    }
    assert(!icap_client_is_idle(p->e));
    block_unref(b);
}

static void play_wire(struct play *p, struct span in, size_t step, uint8_t request)
{
    size_t n = (in.n + step - 1) / step;
    struct block *blocks = calloc(n + 1, sizeof *blocks);

    *p = (struct play){.rq = request_of(request)};
    assert(blocks);
    start(p);
    for (size_t i = 0; i < n; i++)
        play_piece(p, &blocks[i], span_sub(in, i * step, step));
    take_output(p);
    icap_client_eof(p->e);
    drain(p);
    assert(p->ends || p->fails);
    assert(icap_client_wants(p->e) & ICAP_WANT_CLOSE);
    log_body(p);
    icap_client_engine_free(p->e);
    for (size_t i = 0; i < n; i++) {
        assert(blocks[i].refs == 1 || !blocks[i].data);
        free(blocks[i].data);
    }
    free(blocks);
}

static void play_done(struct play *p)
{
    buf_done(&p->log);
    buf_done(&p->body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct play whole, cut;
    struct span in;

    if (size < 3 || size > 8192)
        return 0;
    in = (struct span){(const char *)data + 2, size - 2};
    play_wire(&whole, in, in.n, data[1]);
    play_wire(&cut, in, 1 + data[0] % 64u, data[1]);
    assert(span_eq(buf_span(&whole.log), buf_span(&cut.log)));
    play_done(&whole);
    play_done(&cut);
    return 0;
}
