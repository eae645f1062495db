/* SPDX-License-Identifier: Apache-2.0 */
/* http/http_engine.h. Byte 0: seed of the cuts; byte 1: seed of the decisions; the rest comes from
 * the wire. Properties: cut = whole, in events and in bytes, as long as decisions hang on events
 * only; events come in their order, and bodies are as long as they said; what is written is a row
 * of well-formed answers, nothing behind one that says close; who has answered everything may
 * close; a driver that does whatever it likes breaks nothing. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "http/chunk.h"
#include "http/http_engine.h"

static const struct http_limits limits = {
    .request_line_max = 256,
    .head_max = 1024,
    .fields_max = 16,
    .chunk_line_max = 64,
    .trailer_max = 128,
    .chunk_overhead_max = 512,
    .discard_max = 256,
    .empty_lines_max = 2,
    .memory_max = 1u << 15,
    .head_ms = 10,
    .body_idle_ms = 60,
    .discard_ms = 20,
    .write_idle_ms = 60,
    .idle_ms = 120,
    .exchange_ms = 600,
};

struct play {
    struct http_engine *e;
    struct buf log, body, wire;
    struct buf methods; /* 'H' for each final answer to HEAD, '-' for others */
    uint32_t dice;      /* decisions */
    bool early;         /* decisions at any time */
    bool open;          /* REQUEST came, END did not */
    bool faulted;
    uint64_t length, body_n;
};

static unsigned roll(uint32_t *dice, unsigned sides)
{
    *dice = *dice * 1664525u + 1013904223u;
    return (*dice >> 16) % sides;
}

static void take_output(struct play *p)
{
    struct chain *out = http_output(p->e);
    bool last = http_output_is_last(p->e);

    for (uint32_t i = 0; i < out->n; i++) {
        const struct segment *s = chain_at(out, i);

        buf_add(&p->wire, s->kind == SEGMENT_SLICE ? slice_span(s->slice) : s->text);
    }
    http_sent(p->e, out->len);
    assert(last == !!(http_wants(p->e) & HTTP_WANT_CLOSE));
}

/* ---- the driver ---- */

/* For calls that may well be illegal now. */
static void try(enum err e)
{
    (void)e;
}

static void reply_body(struct play *p, uint64_t length)
{
    unsigned n = length == HTTP_LENGTH_UNKNOWN ? roll(&p->dice, 4) : (unsigned)length / 9;

    while (n-- > 0)
        assert(http_reply_copy(p->e, SPAN("some text")) == OK);
    assert(http_reply_copy(p->e, SPAN_NONE) == OK);
    assert(http_reply_end(p->e) == OK);
}

static void reply(struct play *p)
{
    static const unsigned statuses[] = {200, 204, 304, 403, 426, 503, 205, 99};
    const struct http_request *rq = http_current(p->e);
    struct http_reply r = {.status = statuses[roll(&p->dice, 8)]};

    r.has_body = roll(&p->dice, 2);
    r.length = roll(&p->dice, 2) ? HTTP_LENGTH_UNKNOWN : 9 * roll(&p->dice, 4);
    r.close = roll(&p->dice, 8) == 0;
    r.fields = roll(&p->dice, 2) ? SPAN("X-F: g\r\n") : SPAN("Upgrade: TLS/1.2\r\nX-F: g\r\n");
    char method = span_eq(rq->head->method, SPAN("HEAD")) ? 'H' : '-';

    if (http_reply_head(p->e, &r) != OK) { /* one that is legal for any request but CONNECT's */
        r = (struct http_reply){.status = 405};
        if (http_reply_whole(p->e, &r, SPAN("no")) == OK)
            buf_char(&p->methods, method);
        return;
    }
    buf_char(&p->methods, method);
    if (r.has_body)
        reply_body(p, r.length);
}

static void decide(struct play *p)
{
    const struct http_request *rq = http_current(p->e);

    if (!rq)
        return;
    if (rq->upgrade_unlisted && roll(&p->dice, 2)) {
        http_take_unlisted(p->e);
        assert(rq->upgrades);
    }
    if (rq->upgrades && roll(&p->dice, 2) && http_switch(p->e, SPAN("Upgrade: x\r\n")) == OK) {
        assert(http_is_switching(p->e) && http_switched(p->e) == ERR_BUG);
        take_output(p);
        assert(http_switched(p->e) == OK);
    }
    reply(p);
}

/* ---- events ---- */

static void log_body(struct play *p)
{
    if (p->body.n == 0)
        return;
    buf_text(&p->log, "body ");
    buf_add(&p->log, buf_span(&p->body));
    buf_reset(&p->body);
}

static void on_request(struct play *p)
{
    const struct http_request *rq = http_current(p->e);

    assert(rq && !p->open && (rq->length > 0) == rq->has_body);
    buf_add(&p->log, rq->head->target);
    assert(!(rq->upgrades && rq->upgrade_unlisted));
    buf_fmt(&p->log, "%d%d%d%d", rq->expects, rq->upgrades, rq->upgrade_unlisted, rq->close);
    for (unsigned i = 0; i < rq->head->n_fields; i++)
        assert(!rq->head->fields[i].odd);
    p->open = true;
    p->length = rq->length;
    p->body_n = 0;
}

static void on_body(struct play *p, struct slice s)
{
    assert(p->open && s.len > 0);
    p->body_n += s.len;
    assert(p->body_n <= p->length);
    buf_add(&p->body, slice_span(s));
    block_unref(s.block);
}

static void on_event(struct play *p, const struct http_event *ev)
{
    assert(!p->faulted);
    if (ev->kind == HTTP_EV_BODY) {
        on_body(p, ev->slice);
        return;
    }
    log_body(p);
    buf_fmt(&p->log, "[%d]", (int)ev->kind);
    switch (ev->kind) {
    case HTTP_EV_REQUEST: on_request(p); break;
    case HTTP_EV_END:
        assert(p->open);
        assert(p->early || p->length == HTTP_LENGTH_UNKNOWN || p->body_n == p->length);
        p->open = false;
        buf_add(&p->log, ev->trailers);
        decide(p);
        break;
    case HTTP_EV_REFUSED:
    case HTTP_EV_GONE:
        buf_fmt(&p->log, "%u %s", ev->fault.status, ev->fault.why);
        p->faulted = true;
        break;
    case HTTP_EV_BODY:
    case HTTP_EV_NONE: break;
    }
}

static void drain(struct play *p)
{
    struct http_event ev;

    while (http_next(p->e, &ev))
        on_event(p, &ev);
}

/* The driver that does something whenever it likes. */
static void meddle(struct play *p, uint64_t *now)
{
    switch (roll(&p->dice, 12)) {
    case 0: decide(p); break;
    case 1: try(http_switch(p->e, SPAN("Upgrade: x\r\n"))); break;
    case 2: http_tick(p->e, *now += roll(&p->dice, 40)); break;
    case 3: http_pause(p->e, roll(&p->dice, 2)); break;
    case 4: try(http_go_on(p->e)); break;
    case 5:
        if (roll(&p->dice, 4) == 0)
            http_close_after(p->e);
        break;
    case 6:
        if (roll(&p->dice, 8) == 0)
            http_abort(p->e);
        break;
    case 7:
        if (roll(&p->dice, 4) == 0)
            http_eof(p->e);
        break;
    case 8: try(http_switched(p->e)); break;
    default: break;
    }
}

/* Feeds one piece, in a block that ends where the piece ends, so that ASan sees an over-read. False
 * when the engine takes no more of it. */
static bool play_piece(struct play *p, struct block *b, struct span piece, uint64_t *now)
{
    struct slice s = {b, 0, (uint32_t)piece.n};

    *b = (struct block){.data = malloc(piece.n), .refs = 1, .used = s.len};
    assert(b->data);
    memcpy(b->data, piece.p, piece.n);
    for (unsigned idle = 0; s.len && idle < 20; idle++) {
        size_t used = 0;

        assert(http_feed(p->e, s, &used) == OK);
        s = slice_sub(s, (uint32_t)used, s.len - (uint32_t)used);
        drain(p);
        if (p->early)
            meddle(p, now);
        drain(p);
        take_output(p);
        idle = used ? 0 : idle;
    }
    return s.len == 0;
}

static void play_wire(struct play *p, struct span in, size_t step, uint32_t dice, bool early)
{
    size_t n = (in.n + step - 1) / step;
    struct block *blocks = calloc(n + 1, sizeof *blocks);
    uint64_t now = 0;
    size_t i = 0;

    *p = (struct play){.dice = dice, .early = early};
    assert(blocks && http_engine_new(&limits, 0, &p->e) == OK);
    while (i < n && play_piece(p, &blocks[i], span_sub(in, i * step, step), &now))
        i++;
    assert(early || i == n); /* whoever answers at END is never left with bytes */
    http_eof(p->e);
    drain(p);
    log_body(p);
    take_output(p);
    assert(early || http_wants(p->e) == HTTP_WANT_CLOSE);
    (void)http_deadline(p->e);
    http_engine_free(p->e);
    for (i = 0; i < n; i++) {
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
    buf_done(&p->methods);
}

/* ---- what was written ---- */

/* False when it was cut off. */
static bool check_chunked(struct span *rest)
{
    static const struct chunk_limits lim = {64, 0, 0, 1u << 20};
    struct chunk_decoder d;
    struct chunk_event ev = {.kind = CHUNK_NEED};
    struct fault f;

    chunk_decoder_init(&d);
    do {
        size_t used;

        assert(chunk_next(&d, &lim, *rest, &used, &ev, &f) == OK);
        *rest = span_sub(*rest, used, SIZE_MAX);
    } while (ev.kind != CHUNK_END && ev.kind != CHUNK_NEED);
    chunk_decoder_done(&d);
    return ev.kind == CHUNK_END;
}

static bool check_body(const struct head *h, struct span *rest)
{
    uint64_t n;

    if (head_count(h, SPAN("Transfer-Encoding"))) {
        assert(!head_count(h, SPAN("Content-Length")));
        return check_chunked(rest);
    }
    if (head_content_length(h, &n) == OK) {
        bool whole = n <= rest->n;

        *rest = span_sub(*rest, (size_t)n, SIZE_MAX);
        return whole;
    }
    assert(h->status == 204 || h->status == 304 ||
           head_has_token(h, SPAN("Connection"), SPAN("close")));
    if (h->status != 204 && h->status != 304)
        *rest = SPAN_NONE; /* up to the end */
    return true;
}

static void check_final(const struct head *h, char method, struct span *rest, bool may_be_cut)
{
    bool upgrade = head_count(h, SPAN("Upgrade")) > 0;
    bool close = head_has_token(h, SPAN("Connection"), SPAN("close"));

    assert(h->status >= 200 && h->status <= 599);
    assert(head_has_token(h, SPAN("Connection"), SPAN("Upgrade")) == upgrade);
    assert(h->status != 426 || upgrade);
    if (method != 'H' && !check_body(h, rest))
        assert(rest->n == 0 && may_be_cut);
    assert(!close || rest->n == 0);
}

/* One answer; |*methods| is moved on by a final one. */
static void check_answer(const struct play *p, struct span *rest, struct span *methods)
{
    static const struct head_limits lim = {256, 65535, 64};
    struct head_scan scan = {0};
    struct arena mem;
    struct head h;
    struct fault f;
    size_t len;

    assert(head_scan(&scan, *rest, &lim, &len, &f) == OK);
    arena_init(&mem, 0);
    assert(head_parse(HEAD_HTTP_STATUS, span_sub(*rest, 0, len), &lim, &mem, &h, &f) == OK);
    assert(field_lines_are_valid(span_sub(h.text, h.start_line.n + 2, len - h.start_line.n - 4)));
    assert(h.reason.n && h.major == 1 && h.minor == 1);
    *rest = span_sub(*rest, len, SIZE_MAX);
    if (h.status == 101) {
        assert(span_eq(head_value(&h, SPAN("Connection")), SPAN("Upgrade")));
        assert(head_count(&h, SPAN("Upgrade")) == 1);
    } else if (h.status != 100) {
        /* the engine's own answer is the last, and may be one to HEAD */
        bool own = methods->n == 0;

        assert(!own || p->faulted || p->early);
        check_final(&h, own ? '-' : methods->p[0], rest, own || p->faulted || p->early);
        *methods = span_sub(*methods, 1, SIZE_MAX);
    }
    arena_done(&mem);
}

static void check_output(const struct play *p)
{
    struct span rest = buf_span(&p->wire), methods = buf_span(&p->methods);

    while (rest.n)
        check_answer(p, &rest, &methods);
    assert(methods.n == 0 || p->early);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct play whole, cut;
    struct span in;

    if (size < 3 || size > 8192)
        return 0;
    in = (struct span){(const char *)data + 2, size - 2};
    play_wire(&whole, in, in.n, data[1], false);
    play_wire(&cut, in, 1 + data[0] % 64u, data[1], false);
    assert(span_eq(buf_span(&whole.log), buf_span(&cut.log)));
    assert(span_eq(buf_span(&whole.wire), buf_span(&cut.wire)));
    check_output(&whole);
    play_done(&whole);
    play_done(&cut);
    play_wire(&cut, in, 1 + data[0] % 64u, data[1] + 1000u, true);
    check_output(&cut);
    play_done(&cut);
    return 0;
}
