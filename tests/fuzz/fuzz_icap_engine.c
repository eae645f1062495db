/* SPDX-License-Identifier: Apache-2.0 */
/* icap/icap_engine.h. Byte 0: seed of the cuts; byte 1: seed of the decisions; the rest comes from
 * the wire. Properties: cut = whole, in events and in bytes, as long as decisions hang on events
 * only; what is written is a row of well-formed answers; never two 100 in a transaction, never one
 * after ieof; a driver that answers whenever it likes breaks nothing. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "http/chunk.h"
#include "icap/icap_engine.h"

static const struct icap_limits limits = {
    .request_line_max = 256,
    .head_max = 1024,
    .fields_max = 16,
    .http_head_max = 512,
    .chunk_line_max = 64,
    .trailer_max = 128,
    .chunk_overhead_max = 512,
    .preview_max = 1024,
    .discard_max = 256,
    .empty_lines_max = 2,
    .memory_max = 1u << 15,
    .head_ms = 10,
    .body_idle_ms = 60,
    .write_idle_ms = 60,
    .idle_ms = 120,
    .transaction_ms = 600,
};
static const struct icap_identity identity = {
    {"sallyport", 9},
    {"none",      4}
};
static const struct span http_request = {"GET /b HTTP/1.1\r\n\r\n", 19};
static const struct span http_response = {"HTTP/1.1 200 OK\r\n\r\n", 19};

struct play {
    struct icap_engine *e;
    struct buf log, body, wire;
    uint32_t dice; /* decisions */
    bool early;    /* decisions at any time */
    bool ieof;
    unsigned hundreds;
    bool faulted;
};

static unsigned roll(uint32_t *dice, unsigned sides)
{
    *dice = *dice * 1664525u + 1013904223u;
    return (*dice >> 16) % sides;
}

/* ---- the driver ---- */

/* For calls that may well be illegal now. */
static void try(enum err e)
{
    (void)e;
}

static void reply_body(struct play *p, const struct icap_reply *r)
{
    if (icap_reply_head(p->e, r) != OK || !r->has_body)
        return;
    for (unsigned n = roll(&p->dice, 3); n > 0; n--)
        try(icap_reply_copy(p->e, SPAN("some text")));
    if (r->status == 206 && roll(&p->dice, 2) && icap_reply_original(p->e, roll(&p->dice, 9)) == OK)
        return;
    try(icap_reply_end(p->e, roll(&p->dice, 2) ? SPAN("A: b\r\n") : SPAN_NONE,
                       r->trailer_names.n ? SPAN("X: y\r\n") : SPAN_NONE));
}

static void decide(struct play *p)
{
    const struct icap_request *rq = icap_current(p->e);
    unsigned d = roll(&p->dice, 8);
    struct icap_reply r = {.status = 200, .fields = SPAN("X-F: g\r\n"), .has_body = d & 1};

    if (!rq)
        return;
    r.close = roll(&p->dice, 8) == 0;
    r.part = rq->method == ICAP_OPTIONS                       ? ICAP_PART_NONE
             : rq->method == ICAP_REQMOD && roll(&p->dice, 2) ? ICAP_PART_REQUEST
                                                              : ICAP_PART_RESPONSE;
    r.http_head = r.part == ICAP_PART_NONE      ? SPAN_NONE
                  : r.part == ICAP_PART_REQUEST ? http_request
                                                : http_response;
    if (d < 3 && icap_may_204(p->e)) {
        assert(icap_no_change(p->e, &r) == OK);
        return;
    }
    if (d == 3)
        r = (struct icap_reply){.status = 500, .close = r.close};
    if (d == 4 && icap_may_206(p->e))
        r.status = 206;
    if (d >= 6 && rq->allow.trailers && r.has_body)
        r.trailer_names = SPAN("X");
    reply_body(p, &r);
}

static void on_preview_end(struct play *p, bool ieof)
{
    p->ieof = ieof;
    if (ieof) {
        assert(icap_go_on(p->e) != OK);
        return; /* END follows at once */
    }
    if (roll(&p->dice, 2)) {
        enum err e = icap_go_on(p->e);

        p->hundreds += e == OK;
        assert(p->hundreds <= 1);
        assert(icap_go_on(p->e) != OK);
    } else {
        decide(p);
    }
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

static void on_event(struct play *p, const struct icap_event *ev)
{
    if (ev->kind == ICAP_EV_BODY) {
        assert(ev->slice.len > 0);
        buf_add(&p->body, slice_span(ev->slice));
        block_unref(ev->slice.block);
        return;
    }
    log_body(p);
    buf_fmt(&p->log, "[%d %d]", (int)ev->kind, ev->ieof);
    switch (ev->kind) {
    case ICAP_EV_REQUEST:
        assert(icap_current(p->e));
        buf_add(&p->log, icap_current(p->e)->uri.path);
        p->hundreds = 0;
        p->ieof = false;
        break;
    case ICAP_EV_PREVIEW_END: on_preview_end(p, ev->ieof); break;
    case ICAP_EV_END:
        buf_add(&p->log, ev->trailers);
        decide(p);
        break;
    case ICAP_EV_REFUSED:
    case ICAP_EV_GONE:
        buf_text(&p->log, ev->fault.why);
        assert(!p->faulted);
        p->faulted = true;
        break;
    case ICAP_EV_BODY:
    case ICAP_EV_NONE: break;
    }
}

static void drain(struct play *p)
{
    struct icap_event ev;

    while (icap_next(p->e, &ev))
        on_event(p, &ev);
}

static void take_output(struct play *p)
{
    struct chain *out = icap_output(p->e);
    bool last = icap_output_is_last(p->e);

    for (uint32_t i = 0; i < out->n; i++) {
        const struct segment *s = chain_at(out, i);

        buf_add(&p->wire, s->kind == SEGMENT_SLICE ? slice_span(s->slice) : s->text);
    }
    icap_sent(p->e, out->len);
    assert(last == !!(icap_wants(p->e) & ICAP_WANT_CLOSE));
}

/* The driver that does something whenever it likes. */
static void meddle(struct play *p, uint64_t *now)
{
    switch (roll(&p->dice, 12)) {
    case 0: decide(p); break;
    case 1: icap_discard_rest(p->e); break;
    case 2: icap_tick(p->e, *now += roll(&p->dice, 40)); break;
    case 3: icap_pause(p->e, roll(&p->dice, 2)); break;
    case 4: try(icap_go_on(p->e)); break;
    case 5: icap_close_after(p->e); break;
    case 6:
        if (roll(&p->dice, 8) == 0)
            icap_abort(p->e);
        break;
    case 7:
        if (roll(&p->dice, 4) == 0)
            icap_eof(p->e);
        break;
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

        assert(icap_feed(p->e, s, &used) == OK);
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
    assert(blocks && icap_engine_new(&limits, &identity, 0, &p->e) == OK);
    while (i < n && play_piece(p, &blocks[i], span_sub(in, i * step, step), &now))
        i++;
    icap_eof(p->e);
    drain(p);
    log_body(p);
    take_output(p);
    (void)icap_deadline(p->e);
    icap_engine_free(p->e);
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
}

/* ---- what was written ---- */

static bool check_body(struct span *rest, bool trailers)
{
    static const struct chunk_limits lim = {4096, 4096, 16, 1u << 20};
    struct chunk_decoder d;
    struct chunk_event ev = {.kind = CHUNK_NEED};
    struct fault f;

    chunk_decoder_init(&d);
    for (unsigned round = 0; round < (trailers ? 2 : 1); round++) {
        do {
            size_t used;

            assert(chunk_next(&d, &lim, *rest, &used, &ev, &f) == OK);
            *rest = span_sub(*rest, used, SIZE_MAX);
        } while (ev.kind != CHUNK_END && ev.kind != CHUNK_NEED);
        chunk_decoder_done(&d);
        if (ev.kind == CHUNK_NEED) /* cut off: only at the end of all */
            return false;
        chunk_decoder_init_trailers(&d);
    }
    return true;
}

/* One answer; false when it was cut off. */
static bool check_answer(struct span *rest)
{
    static const struct head_limits lim = {4096, 65535, 64};
    struct head_scan scan = {0};
    struct icap_encapsulated list;
    struct arena mem;
    struct head h;
    struct fault f;
    size_t len;
    bool whole = true;

    assert(head_scan(&scan, *rest, &lim, &len, &f) == OK);
    arena_init(&mem, 0);
    assert(head_parse(HEAD_ICAP_STATUS, span_sub(*rest, 0, len), &lim, &mem, &h, &f) == OK);
    *rest = span_sub(*rest, len, SIZE_MAX);
    if (h.status != 100) {
        assert(h.reason.n && head_count(&h, SPAN("ISTag")) == 1 &&
               head_count(&h, SPAN("Connection")) == 1 && head_count(&h, SPAN("Server")) == 1);
        assert(icap_encapsulated_parse(head_value(&h, SPAN("Encapsulated")), &list, &f) == OK);
        for (unsigned i = 0; i + 1 < list.n; i++) {
            scan = (struct head_scan){0};
            assert(list.part[i + 1].off > list.part[i].off);
            assert(head_scan(&scan, *rest, &lim, &len, &f) == OK);
            assert(len == list.part[i + 1].off - list.part[i].off);
            *rest = span_sub(*rest, len, SIZE_MAX);
        }
        if (list.part[list.n - 1].entity != ICAP_NULL_BODY)
            whole = check_body(rest, head_count(&h, SPAN("Trailer")) > 0);
    }
    arena_done(&mem);
    return whole;
}

static void check_output(const struct play *p)
{
    struct span rest = buf_span(&p->wire);

    while (rest.n)
        if (!check_answer(&rest))
            assert(rest.n == 0 && (p->faulted || p->early));
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
