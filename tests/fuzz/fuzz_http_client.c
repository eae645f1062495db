/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_client_engine.h. Byte 0: cuts, and how the connection ends; bytes 1 and 2: requests;
 * byte 3: where in what the server says the second one is sent, if it may be. Properties: cut =
 * whole; one ANSWER, then END or FAILED; bodies as long as their answers say, and none where there
 * is none; an idle connection has sent all of its request.
 * Byte 1 = 255: the rest is the parts of a request, each up to NUL; what is accepted is one head
 * that says what was asked for. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "http/http_client_engine.h"

static const struct http_limits limits = {
    .request_line_max = 256,
    .head_max = 1024,
    .fields_max = 16,
    .chunk_line_max = 64,
    .trailer_max = 128,
    .chunk_overhead_max = 512,
    .memory_max = 1u << 15,
    .exchange_ms = 600,
};

#define BODY "0123456789"

struct play {
    struct http_client_engine *e;
    struct http_client_request rq;
    struct buf log, body, wire;
    bool ends_clean, late_body;
    unsigned hundreds, switches, answers, ends, fails; /* of the last request */
    bool has_body;
    uint64_t length;
};

/* ---- requests ---- */

static struct http_client_request request_of(uint8_t b)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "OPTIONS"};
    struct http_client_request r = {.target = SPAN("/b"),
                                    .host = SPAN("h"),
                                    .fields = SPAN("X-A: b\r\n"),
                                    .head_only = b & 4,
                                    .length = b & 32 ? sizeof BODY - 1 : HTTP_LENGTH_UNKNOWN,
                                    .close = b & 64};

    r.method = span_of(methods[b & 3]);
    r.has_body = (b & 3) == 2;
    r.expect = r.has_body && b & 16;
    r.tunnel = (b & 131) == 131;
    if (r.tunnel)
        r.method = SPAN("CONNECT");
    else if (!r.has_body && !r.close && b & 8)
        r.upgrade = SPAN("TLS/1.2");
    return r;
}

static void take_output(struct play *p)
{
    struct chain *out = http_client_output(p->e);

    for (uint32_t i = 0; i < out->n; i++) {
        const struct segment *s = chain_at(out, i);

        assert(s->kind == SEGMENT_SLICE);
        buf_add(&p->wire, slice_span(s->slice));
    }
    http_client_sent(p->e, out->len);
}

static void send_body(struct play *p, bool first)
{
    struct block *b = block_new();
    enum err e = OK;

    assert(b);
    memcpy(b->data, BODY, sizeof BODY - 1);
    if (first)
        e = http_client_body(p->e, (struct slice){b, 0, 4}, false);
    else
        e = http_client_body(p->e, (struct slice){b, 4, 6}, true);
    assert(e == OK || (e == ERR_ABORTED && p->fails));
    block_unref(b);
}

static void ask(struct play *p, uint8_t request)
{
    p->rq = request_of(request);
    p->hundreds = p->switches = p->answers = p->ends = p->fails = 0;
    buf_reset(&p->wire);
    assert(http_client_request(p->e, &p->rq) == OK);
    assert(!http_client_is_idle(p->e));
    if (p->rq.has_body) {
        send_body(p, true);
        if (!p->late_body)
            send_body(p, false);
    }
    take_output(p);
}

/* What the server waits for, it has got. */
static void check_idle(struct play *p)
{
    struct span sent;

    take_output(p);
    if (!http_client_is_idle(p->e) || !p->rq.has_body)
        return;
    sent = buf_span(&p->wire);
    assert(p->ends || !p->answers);
    if (p->rq.length == HTTP_LENGTH_UNKNOWN)
        assert(span_ends(sent, SPAN("\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n")));
    else
        assert(span_ends(sent, SPAN("\r\n\r\n" BODY)));
}

/* ---- answers ---- */

static void log_body(struct play *p)
{
    if (p->body.n == 0)
        return;
    buf_text(&p->log, "body ");
    buf_add(&p->log, buf_span(&p->body));
}

static void on_answer(struct play *p, bool switched)
{
    const struct http_answer *a = http_client_answer(p->e);

    assert(a && a->status == a->head->status && a->status <= 599);
    assert(a->status >= 200 || (switched && a->status == 101 && p->rq.upgrade.n));
    assert(!switched || a->status == 101 || (p->rq.tunnel && a->status < 300));
    assert(!a->has_body || !(switched || p->rq.head_only || a->status == 204 || a->status == 304 ||
                             span_eq(p->rq.method, SPAN("HEAD"))));
    assert(a->has_body ? a->length > 0 : a->length == 0);
    if (a->has_body && a->keep_alive && a->length == HTTP_LENGTH_UNKNOWN)
        assert(head_has_token(a->head, SPAN("Transfer-Encoding"), SPAN("chunked")));
    if (a->keep_alive && !p->rq.tunnel && !switched)
        assert(a->head->minor > 0 && !p->rq.close &&
               !head_has_token(a->head, SPAN("Connection"), SPAN("close")));
    p->has_body = a->has_body;
    p->length = a->length;
    buf_fmt(&p->log, "%u %d %d %llu", a->status, a->has_body, a->keep_alive,
            (unsigned long long)a->length);
}

static void on_end(struct play *p, struct span trailers)
{
    assert(++p->ends == 1 && p->answers == 1);
    assert(p->has_body ? p->length == HTTP_LENGTH_UNKNOWN || p->length == p->body.n
                       : p->body.n == 0);
    assert(field_lines_are_valid(trailers));
    buf_add(&p->log, trailers);
    buf_reset(&p->body);
}

static void on_event(struct play *p, const struct http_client_event *ev)
{
    assert(!p->fails);
    assert(!p->ends || ev->kind == HTTP_CLIENT_EV_FAILED); /* surplus bytes after END */
    if (ev->kind == HTTP_CLIENT_EV_BODY) {
        assert(p->answers == 1 && p->has_body && ev->slice.len > 0);
        buf_add(&p->body, slice_span(ev->slice));
        block_unref(ev->slice.block);
        return;
    }
    log_body(p);
    buf_fmt(&p->log, "[%d]", (int)ev->kind);
    switch (ev->kind) {
    case HTTP_CLIENT_EV_GO_ON: assert(++p->hundreds == 1 && !p->answers && p->rq.expect); break;
    case HTTP_CLIENT_EV_SWITCHED:
        assert(++p->switches == 1);
        on_answer(p, true);
        break;
    case HTTP_CLIENT_EV_ANSWER:
        assert(++p->answers == 1);
        on_answer(p, false);
        break;
    case HTTP_CLIENT_EV_END: on_end(p, ev->trailers); break;
    case HTTP_CLIENT_EV_FAILED:
        p->fails++;
        assert(ev->fault.err && ev->fault.why && ev->fault.status >= 502);
        buf_text(&p->log, ev->fault.why);
        buf_reset(&p->body);
        break;
    case HTTP_CLIENT_EV_BODY:
    case HTTP_CLIENT_EV_NONE: break;
    }
}

static void drain(struct play *p)
{
    struct http_client_event ev;

    while (http_client_next(p->e, &ev))
        on_event(p, &ev);
}

/* ---- the server ---- */

static void play_piece(struct play *p, struct block *b, struct span piece)
{
    struct slice s = {b, 0, (uint32_t)piece.n};

    *b = (struct block){.data = malloc(piece.n), .refs = 1, .used = s.len};
    assert(b->data);
    memcpy(b->data, piece.p, piece.n);
    while (s.len) {
        size_t used = 0;

        assert(http_client_feed(p->e, s, &used) == OK);
        s = slice_sub(s, (uint32_t)used, s.len - (uint32_t)used);
        drain(p);
        take_output(p);
        if (s.len && used == 0) /* it comes inside the other protocol */
            assert(p->switches && http_client_switched(p->e) == OK);
    }
}

static struct block *play_part(struct play *p, struct block *blocks, struct span in, size_t step)
{
    for (; in.n; in = span_sub(in, step, SIZE_MAX))
        play_piece(p, blocks++, span_sub(in, 0, step));
    /* between two pieces, too, or a cut there would look like another answer */
    if (http_client_switched(p->e) == OK)
        buf_char(&p->log, 's');
    if (p->late_body && p->rq.has_body)
        send_body(p, false);
    check_idle(p);
    return blocks;
}

static void play_wire(struct play *p, const uint8_t *data, struct span in, size_t step)
{
    size_t part = in.n * data[3] / 256, n = in.n / step + 3;
    struct block *blocks = calloc(n, sizeof *blocks), *next;

    *p = (struct play){.ends_clean = !(data[0] & 64), .late_body = data[0] & 128};
    assert(blocks && http_client_engine_new(&limits, 0, &p->e) == OK);
    ask(p, data[1]);
    next = play_part(p, blocks, span_sub(in, 0, part), step);
    p->late_body = false;
    buf_fmt(&p->log, "<%d>", http_client_is_idle(p->e));
    if (http_client_is_idle(p->e))
        ask(p, data[2]);
    (void)play_part(p, next, span_sub(in, part, SIZE_MAX), step);
    (p->ends_clean ? http_client_eof : http_client_cut)(p->e);
    drain(p);
    log_body(p);
    assert(p->ends || p->fails || (p->rq.tunnel && p->switches));
    assert(http_client_wants(p->e) == HTTP_WANT_CLOSE);
    http_client_engine_free(p->e);
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
    buf_done(&p->wire);
}

/* ---- requests out of anything ---- */

/* Heads with more fields are looked at more closely, and are not called plain. */
#define PLAIN_FIELDS_MAX 64u

static void check_head(const struct http_client_request *r, struct span text)
{
    const struct head_limits lim = {SIZE_MAX / 2, SIZE_MAX / 2, 8192};
    struct arena mem;
    struct head h;

    arena_init(&mem, 0);
    assert(head_parse(HEAD_HTTP_REQUEST, text, &lim, &mem, &h, NULL) == OK);
    assert(h.plain || h.n_fields > PLAIN_FIELDS_MAX);
    assert(!head_host_conflict(&h));
    assert(span_eq(h.method, r->method) && span_eq(h.target, r->target));
    assert(head_count(&h, SPAN("Host")) == 1 && span_eq(head_value(&h, SPAN("Host")), r->host));
    assert(head_count(&h, SPAN("Content-Length")) ==
           (r->has_body && r->length != HTTP_LENGTH_UNKNOWN));
    assert(head_count(&h, SPAN("Transfer-Encoding")) ==
           (r->has_body && r->length == HTTP_LENGTH_UNKNOWN));
    assert(head_count(&h, SPAN("Connection")) == (r->close || r->upgrade.n));
    assert(head_count(&h, SPAN("Upgrade")) == (r->upgrade.n > 0));
    assert(head_count(&h, SPAN("Expect")) == r->expect);
    arena_done(&mem);
}

static void play_request(uint8_t flags, struct span in)
{
    struct http_client_request r = {.length = flags & 1 ? 5 : HTTP_LENGTH_UNKNOWN,
                                    .has_body = flags & 2,
                                    .expect = flags & 4,
                                    .tunnel = flags & 8,
                                    .close = flags & 16};
    struct play p = {0};
    enum err e;

    r.method = span_cut(&in, '\0');
    r.target = span_cut(&in, '\0');
    r.host = span_cut(&in, '\0');
    r.fields = span_cut(&in, '\0');
    r.upgrade = in;
    assert(http_client_engine_new(&limits, 0, &p.e) == OK);
    e = http_client_request(p.e, &r);
    assert(e == OK || e == ERR_BUG);
    take_output(&p);
    if (e == OK)
        check_head(&r, buf_span(&p.wire));
    else
        assert(p.wire.n == 0 && http_client_is_idle(p.e));
    http_client_engine_free(p.e);
    play_done(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct play whole, cut;
    struct span in;

    if (size < 5 || size > 8192)
        return 0;
    in = (struct span){(const char *)data + 4, size - 4};
    if (data[1] == 255) {
        play_request(data[2], in);
        return 0;
    }
    play_wire(&whole, data, in, in.n);
    play_wire(&cut, data, in, 1 + data[0] % 64u);
    assert(span_eq(buf_span(&whole.log), buf_span(&cut.log)));
    play_done(&whole);
    play_done(&cut);
    return 0;
}
