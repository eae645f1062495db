/* SPDX-License-Identifier: Apache-2.0 */
/* icap/icap_engine.h, what transcripts cannot say: the matrix of previews and decisions, large
 * bodies and their segments, memory at rest, limits of replies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/deadline.h"
#include "icap/icap_engine_int.h"

static const struct icap_identity identity = {
    {"sallyport", 9},
    {"none",      4}
};
static const struct span res_head = {"HTTP/1.1 200 OK\r\n\r\n", 19};

/* ---- a driver of the shortest kind ---- */

struct seen {
    unsigned request, preview_end, end, refused, gone;
    bool ieof;
    struct buf body;
    struct fault fault;
};

static void drain(struct icap_engine *e, struct seen *seen)
{
    struct icap_event ev;

    while (icap_next(e, &ev)) {
        switch (ev.kind) {
        case ICAP_EV_REQUEST: seen->request++; break;
        case ICAP_EV_BODY:
            buf_add(&seen->body, slice_span(ev.slice));
            block_unref(ev.slice.block);
            break;
        case ICAP_EV_PREVIEW_END:
            seen->preview_end++;
            seen->ieof = ev.ieof;
            break;
        case ICAP_EV_END: seen->end++; break;
        case ICAP_EV_REFUSED:
            seen->refused++;
            seen->fault = ev.fault;
            break;
        case ICAP_EV_GONE: seen->gone++; break;
        case ICAP_EV_NONE: break;
        }
    }
}

/* Feeds all of |text| (at most a block), draining as it goes; returns what the engine left. */
static size_t feed(struct icap_engine *e, struct span text, struct seen *seen)
{
    struct block *b = block_new();
    struct slice s;
    size_t used = 1;

    assert_non_null(b);
    assert_true(text.n <= BLOCK_SIZE);
    memcpy(b->data, text.p, text.n);
    b->used = (uint32_t)text.n;
    s = (struct slice){b, 0, b->used};
    while (s.len && used) {
        assert_int_equal(icap_feed(e, s, &used), OK);
        s = slice_sub(s, (uint32_t)used, s.len - (uint32_t)used);
        drain(e, seen);
    }
    block_unref(b);
    return s.len;
}

static struct icap_engine *engine_new(const struct icap_limits *lim)
{
    struct icap_engine *e;

    assert_int_equal(icap_engine_new(lim, &identity, 0, &e), OK);
    return e;
}

/* Copies the output and takes it. */
static void output(struct icap_engine *e, struct buf *ret)
{
    struct chain *out = icap_output(e);
    bool last = icap_output_is_last(e);

    for (uint32_t i = 0; i < out->n; i++) {
        const struct segment *s = chain_at(out, i);

        if (s->kind == SEGMENT_FILE)
            buf_fmt(ret, "<file %u>", (unsigned)s->file.len);
        else
            buf_add(ret, s->kind == SEGMENT_SLICE ? slice_span(s->slice) : s->text);
    }
    icap_sent(e, out->len);
    assert_int_equal(last, !!(icap_wants(e) & ICAP_WANT_CLOSE));
}

static bool contains(struct span s, struct span part)
{
    return s.n && memmem(s.p, s.n, part.p, part.n) != NULL;
}

/* ---- the matrix: preview row x Allow set x decision (RFC 3507 4.5, 4.6; Partial Content 5.1) ----
 */

enum preview_row { NO_PREVIEW, NULL_BODY, ONLY_LAST, FITS, LONGER, PREVIEW_ROWS };
enum decision { SAY_204, SAY_206, SAY_200, SAY_100_204, SAY_100_206, SAY_100_200, DECISIONS };

static void write_request(struct buf *b, enum preview_row row, unsigned allow)
{
    static const char *const preview[] = {"", "Preview: 0\r\n", "Preview: 0\r\n", "Preview: 9\r\n",
                                          "Preview: 4\r\n"};
    static const char *const body[] = {"4\r\nabcd\r\n0\r\n\r\n", "", "0\r\n\r\n",
                                       "4\r\nabcd\r\n0; ieof\r\n\r\n", "4\r\nabcd\r\n0\r\n\r\n"};

    buf_fmt(b, "RESPMOD icap://h/s ICAP/1.0\r\n%s", preview[row]);
    buf_text(b, allow & 1 ? "Allow: 204\r\n" : "");
    buf_text(b, allow & 2 ? "Allow: 206\r\n" : "");
    buf_fmt(b, "Encapsulated: res-hdr=0, %s-body=19\r\n\r\n", row == NULL_BODY ? "null" : "res");
    buf_add(b, res_head);
    buf_text(b, body[row]);
}

static bool legal_204(enum preview_row row, unsigned allow, bool continued)
{
    return (allow & 1) || (row != NO_PREVIEW && !continued);
}

static bool legal_206(enum preview_row row, unsigned allow, bool continued)
{
    if (row == NULL_BODY || !(allow & 2))
        return false;
    return (allow & 1) || (row != NO_PREVIEW && !continued);
}

static void answer(struct icap_engine *e, enum decision d, enum preview_row row, unsigned allow,
                   bool continued)
{
    struct icap_reply r = {
        .status = 200, .part = ICAP_PART_RESPONSE, .http_head = res_head, .has_body = true};
    bool want;

    switch (d) {
    case SAY_204:
    case SAY_100_204:
        want = legal_204(row, allow, continued);
        assert_int_equal(icap_may_204(e), want);
        assert_int_equal(icap_no_change(e, &r), want ? OK : ERR_BUG);
        if (want)
            return;
        break;
    case SAY_206:
    case SAY_100_206:
        want = legal_206(row, allow, continued);
        r.status = 206;
        assert_int_equal(icap_may_206(e), want);
        assert_int_equal(icap_reply_head(e, &r), want ? OK : ERR_BUG);
        if (want) {
            assert_int_equal(icap_reply_original(e, 0), OK);
            return;
        }
        r.status = 200;
        break;
    case SAY_200:
    case SAY_100_200:
    case DECISIONS: break;
    }
    assert_int_equal(icap_reply_head(e, &r), OK);
    assert_int_equal(icap_reply_end(e, SPAN_NONE, SPAN_NONE), OK);
}

static void play_cell(struct icap_engine *e, enum preview_row row, unsigned allow, enum decision d)
{
    struct seen seen = {0};
    struct buf b;
    bool waits = row == ONLY_LAST || row == LONGER;
    bool continued = false;

    buf_init(&b, 0);
    write_request(&b, row, allow);
    assert_int_equal(feed(e, buf_span(&b), &seen), 0);
    assert_int_equal(seen.request, 1);
    assert_int_equal(seen.preview_end, row != NO_PREVIEW && row != NULL_BODY);
    assert_int_equal(seen.ieof, row == FITS);
    assert_int_equal(seen.end, !waits);
    if (d >= SAY_100_204) {
        assert_int_equal(icap_go_on(e), waits ? OK : ERR_BUG);
        assert_int_equal(icap_go_on(e), ERR_BUG); /* never twice */
        continued = waits;
        if (waits)
            assert_int_equal(feed(e, SPAN("3\r\nefg\r\n0\r\n\r\n"), &seen), 0);
    }
    answer(e, d, row, allow, continued);
    assert_int_equal(icap_go_on(e), ERR_BUG);
    drain(e, &seen);
    assert_int_equal(seen.end, 1);
    assert_int_equal(seen.refused + seen.gone, 0);
    assert_null(icap_current(e));
    buf_reset(&b);
    output(e, &b);
    assert_int_equal(contains(buf_span(&b), SPAN("100 Continue")), continued);
    assert_int_equal(icap_wants(e), ICAP_WANT_READ);
    buf_done(&b);
    buf_done(&seen.body);
}

/* All cells on one connection: each leaves it ready for the next. */
static void preview_matrix(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);

    (void)state;
    for (unsigned row = 0; row < PREVIEW_ROWS; row++)
        for (unsigned allow = 0; allow < 4; allow++)
            for (unsigned d = 0; d < DECISIONS; d++)
                play_cell(e, (enum preview_row)row, allow, (enum decision)d);
    icap_engine_free(e);
}

/* ---- how answers lie in the output ---- */

static void open_request(struct icap_engine *e, struct seen *seen)
{
    assert_int_equal(feed(e,
                          SPAN("RESPMOD icap://h/s ICAP/1.0\r\nAllow: 204, trailers\r\n"
                               "Encapsulated: res-hdr=0, null-body=19\r\n\r\n"
                               "HTTP/1.1 200 OK\r\n\r\n"),
                          seen),
                     0);
    assert_int_equal(seen->request, 1);
}

static const struct icap_reply with_body = {
    .status = 200,
    .part = ICAP_PART_RESPONSE,
    .http_head = {"HTTP/1.1 200 OK\r\n\r\n", 19},
    .has_body = true
};

/* Heads, framing and a small body are one segment; a large slice is not copied. */
static void small_answers_are_one_segment(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);
    struct seen seen = {0};
    struct block *b = block_new();

    (void)state;
    assert_non_null(b);
    memset(b->data, 'x', BLOCK_SIZE);
    open_request(e, &seen);
    assert_int_equal(icap_reply_head(e, &with_body), OK);
    assert_int_equal(icap_reply_body(e, (struct slice){b, 0, 1024}), OK);
    assert_int_equal(icap_reply_end(e, SPAN_NONE, SPAN_NONE), OK);
    assert_int_equal(icap_output(e)->n, 1);
    assert_int_equal(b->refs, 1);
    icap_sent(e, icap_output(e)->len);

    seen = (struct seen){0};
    open_request(e, &seen);
    assert_int_equal(icap_reply_head(e, &with_body), OK);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(icap_reply_body(e, (struct slice){b, 0, BLOCK_SIZE}), OK);
    assert_int_equal(icap_reply_end(e, SPAN_NONE, SPAN_NONE), OK);
    assert_int_equal(icap_output(e)->n, 9); /* text, slice, text, ... text */
    assert_int_equal(b->refs, 5);
    /* one frame block holds all the text */
    assert_ptr_equal(chain_at(icap_output(e), 0)->slice.block,
                     chain_at(icap_output(e), 8)->slice.block);
    icap_sent(e, icap_output(e)->len);
    assert_int_equal(b->refs, 1);
    block_unref(b);
    icap_engine_free(e);
}

static void file_released(struct file_ref *f)
{
    f->fd = -1;
}

static void files_go_out_in_bounded_chunks(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);
    struct file_ref file = {.fd = 7, .refs = 1, .release = file_released};
    struct seen seen = {0};
    struct buf b;

    (void)state;
    buf_init(&b, 0);
    open_request(e, &seen);
    assert_int_equal(icap_reply_head(e, &with_body), OK);
    assert_int_equal(icap_reply_file(e, &file, 5, (2u << 20) + 3), OK);
    assert_int_equal(icap_reply_file(e, &file, 5, 0), OK);
    assert_int_equal(icap_reply_end(e, SPAN_NONE, SPAN_NONE), OK);
    output(e, &b);
    assert_true(
        contains(buf_span(&b), SPAN("100000\r\n<file 1048576>\r\n100000\r\n<file 1048576>\r\n"
                                    "3\r\n<file 3>\r\n0\r\n\r\n")));
    buf_done(&b);
    file_unref(&file);
    assert_int_equal(file.fd, -1);
    icap_engine_free(e);
}

/* A client cannot hold ICAP head and HTTP head above 64 KiB. */
static void heads_over_64k_are_not_sent(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);
    struct icap_reply r = with_body;
    struct seen seen = {0};
    struct buf b, big;

    (void)state;
    buf_init(&b, 0);
    buf_init(&big, 0);
    buf_text(&big, "HTTP/1.1 200 OK\r\n");
    for (unsigned i = 0; i < 7000; i++)
        buf_text(&big, "A: bcde\r\n");
    buf_text(&big, "\r\n");
    r.http_head = buf_span(&big);
    open_request(e, &seen);
    assert_int_equal(icap_reply_head(e, &r), OK);
    assert_int_equal(icap_reply_end(e, SPAN_NONE, SPAN_NONE), OK);
    output(e, &b);
    assert_true(b.n < 65536 && contains(buf_span(&b), SPAN("res-hdr=0, res-body=63019\r\n")));

    seen = (struct seen){0};
    open_request(e, &seen);
    r.fields = span_sub(r.http_head, 17, (size_t)9 * 300);
    assert_int_equal(icap_reply_head(e, &r), ERR_LIMIT);
    assert_int_equal(icap_output(e)->len, 0);
    r.http_head = with_body.http_head;
    assert_int_equal(icap_reply_head(e, &r), OK); /* nothing had changed */
    buf_done(&b);
    buf_done(&big);
    icap_engine_free(e);
}

/* Over the chain's limit nothing changes, and the same call works when there is room again. */
static void output_limit_changes_nothing(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);
    struct seen seen = {0};
    struct block *b = block_new();
    uint64_t len;

    (void)state;
    assert_non_null(b);
    open_request(e, &seen);
    assert_int_equal(icap_reply_head(e, &with_body), OK);
    len = icap_output(e)->len;
    icap_output(e)->max = len + 60001;
    assert_int_equal(icap_reply_body(e, (struct slice){b, 0, 60000}), ERR_LIMIT);
    assert_int_equal(icap_output(e)->len, len);
    assert_int_equal(b->refs, 1);
    assert_int_equal(icap_reply_body(e, (struct slice){b, 0, 59000}), OK);
    assert_int_equal(icap_reply_copy(e, SPAN_NONE), OK);
    icap_sent(e, icap_output(e)->len);
    assert_int_equal(icap_reply_body(e, (struct slice){b, 0, 59000}), OK);
    icap_output(e)->max = 0;
    assert_int_equal(icap_reply_end(e, SPAN_NONE, SPAN_NONE), OK);
    block_unref(b);
    icap_engine_free(e);
}

/* Each allocation of a reply fails in turn; the next try of the same call gives the same bytes. */
static void replies_survive_failing_memory(void **state)
{
    struct buf want, got;
    struct block *b = block_new();

    (void)state;
    assert_non_null(b);
    memset(b->data, 'x', BLOCK_SIZE);
    buf_init(&want, 0);
    buf_init(&got, 0);
    for (unsigned n = 0; n < 12; n++) {
        struct icap_engine *e = engine_new(&icap_limits_default);
        struct seen seen = {0};

        open_request(e, &seen);
        mem_fail_after(n);
        while (icap_reply_head(e, &with_body) == ERR_NOMEM)
            ;
        for (unsigned i = 0; i < 40; i++)
            while (icap_reply_body(e, (struct slice){b, 0, 60000}) == ERR_NOMEM)
                ;
        while (icap_reply_copy(e, (struct span){(const char *)b->data, BLOCK_SIZE}) == ERR_NOMEM)
            ;
        while (icap_reply_end(e, SPAN_NONE, SPAN_NONE) == ERR_NOMEM)
            ;
        mem_fail_after(0);
        output(e, n ? &got : &want);
        if (n)
            assert_true(span_eq(buf_span(&got), buf_span(&want)));
        buf_reset(&got);
        icap_engine_free(e);
    }
    assert_int_equal(b->refs, 1);
    block_unref(b);
    buf_done(&want);
    buf_done(&got);
}

/* ---- memory ---- */

/* A body of many blocks: its bytes are the fed blocks' own, and nothing stays behind. */
static void bodies_are_not_copied(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);
    struct seen seen = {0};
    struct block *b = block_new();
    struct icap_event ev;
    size_t used;

    (void)state;
    assert_non_null(b);
    assert_int_equal(feed(e,
                          SPAN("REQMOD icap://h/s ICAP/1.0\r\nEncapsulated: req-body=0\r\n\r\n"
                               "100000\r\n"),
                          &seen),
                     0);
    for (unsigned i = 0; i < 16; i++) {
        assert_int_equal(icap_feed(e, (struct slice){b, 0, BLOCK_SIZE}, &used), OK);
        assert_int_equal(used, BLOCK_SIZE);
        assert_true(icap_next(e, &ev) && ev.kind == ICAP_EV_BODY);
        assert_ptr_equal(ev.slice.block, b);
        assert_int_equal(ev.slice.len, BLOCK_SIZE);
        block_unref(ev.slice.block);
        assert_false(icap_next(e, &ev));
    }
    assert_int_equal(b->refs, 1);
    assert_int_equal(feed(e, SPAN("\r\n0\r\n\r\n"), &seen), 0);
    assert_int_equal(seen.end, 1);
    block_unref(b);
    icap_engine_free(e);
}

/* Small chunks fill the queue of events: feed stops, and goes on after next. */
static void a_full_queue_stops_feed(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);
    struct seen seen = {0};
    struct block *b = block_new();
    struct buf text;
    size_t used;

    (void)state;
    assert_non_null(b);
    buf_init(&text, 0);
    buf_text(&text, "REQMOD icap://h/s ICAP/1.0\r\nEncapsulated: req-body=0\r\n\r\n");
    for (unsigned i = 0; i < 100; i++)
        buf_text(&text, "1\r\nx\r\n");
    buf_text(&text, "0\r\n\r\n");
    memcpy(b->data, text.p, text.n);
    assert_int_equal(icap_feed(e, (struct slice){b, 0, (uint32_t)text.n}, &used), OK);
    assert_true(used < text.n);
    assert_int_equal(icap_wants(e) & ICAP_WANT_READ, 0);
    drain(e, &seen);
    assert_int_equal(icap_wants(e) & ICAP_WANT_READ, ICAP_WANT_READ);
    block_unref(b);
    assert_int_equal(feed(e, span_sub(buf_span(&text), used, SIZE_MAX), &seen), 0);
    assert_int_equal(seen.body.n, 100);
    assert_int_equal(seen.end, 1);
    buf_done(&seen.body);
    buf_done(&text);
    icap_engine_free(e);
}

/* Between transactions nothing is held. */
static void an_idle_engine_is_small(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);
    struct budget budget;
    struct seen seen = {0};

    (void)state;
    budget_init(&budget, 0);
    block_set_budget(&budget);
    icap_tick(e, 100);
    open_request(e, &seen);
    assert_true(budget_used(&budget) > 0);
    assert_int_equal(icap_no_change(e, &(struct icap_reply){0}), OK);
    icap_sent(e, icap_output(e)->len);
    drain(e, &seen);
    assert_int_equal(budget_used(&budget), 0);
    assert_null(e->mem.chunks);
    assert_null(icap_output(e)->segs);
    assert_int_equal(icap_deadline(e), 100 + icap_limits_default.idle_ms);
    assert_true(sizeof *e < 1024);
    icap_engine_free(e);
    block_set_budget(NULL);
}

/* What the driver puts into the arena lives until the engine has said NONE after the end. */
static void memory_outlives_the_reply(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);
    struct seen seen = {0};
    struct icap_event ev;
    const struct icap_request *r;
    char *text;

    (void)state;
    open_request(e, &seen);
    r = icap_current(e);
    text = arena_text(icap_arena(e), SPAN("kept"));
    assert_non_null(text);
    assert_int_equal(icap_no_change(e, &(struct icap_reply){0}), OK);
    assert_true(span_eq(r->uri.path, SPAN("/s")));
    assert_string_equal(text, "kept");
    assert_false(icap_next(e, &ev));
    assert_null(icap_current(e));
    icap_engine_free(e);
}

/* A head that comes in a thousand pieces is read once. */
static void a_dripping_head_costs_linear_work(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);
    struct seen seen = {0};
    struct buf text;

    (void)state;
    buf_init(&text, 0);
    buf_text(&text, "OPTIONS icap://h/s ICAP/1.0\r\n");
    for (unsigned i = 0; i < 100; i++)
        buf_fmt(&text, "X-%u: some value that makes the head long enough to matter\r\n", i);
    buf_text(&text, "\r\n");
    for (size_t i = 0; i < text.n; i++)
        assert_int_equal(feed(e, span_sub(buf_span(&text), i, 1), &seen), 0);
    assert_int_equal(seen.end, 1);
    buf_done(&text);
    icap_engine_free(e);
}

/* memory_max is a limit of one transaction; a head that needs more is refused with 503. */
static void over_the_memory_of_a_transaction(void **state)
{
    struct icap_limits lim = icap_limits_default;
    struct icap_engine *e;
    struct seen seen = {0};
    struct block *b = block_new();
    struct buf out;
    static const char text[] = "OPTIONS icap://h/s ICAP/1.0\r\nA: b\r\n\r\n";
    size_t used;

    (void)state;
    assert_non_null(b);
    buf_init(&out, 0);
    lim.memory_max = 200;
    e = engine_new(&lim);
    memcpy(b->data, text, sizeof text - 1);
    assert_int_equal(icap_feed(e, (struct slice){b, 0, sizeof text - 1}, &used), ERR_NOMEM);
    drain(e, &seen);
    assert_int_equal(seen.refused, 1);
    assert_int_equal(seen.fault.status, 503);
    output(e, &out);
    assert_true(contains(buf_span(&out), SPAN("ICAP/1.0 503 Service overloaded\r\n")));
    assert_int_equal(icap_wants(e), ICAP_WANT_CLOSE);
    buf_done(&out);
    block_unref(b);
    icap_engine_free(e);
}

/* RFC 3507 4.3.2 wants Host; a switch, since many real clients leave it out. */
static void host_is_required_by_a_switch(void **state)
{
    struct icap_limits lim = icap_limits_default;
    struct icap_engine *e;
    struct seen seen = {0};

    (void)state;
    lim.require_host = true;
    e = engine_new(&lim);
    assert_int_equal(feed(e, SPAN("OPTIONS icap://h/s ICAP/1.0\r\nhost: h\r\n\r\n"), &seen), 0);
    assert_int_equal(seen.end, 1);
    assert_int_equal(icap_reply_head(e, &(struct icap_reply){.status = 200}), OK);
    assert_int_equal(feed(e, SPAN("OPTIONS icap://h/s ICAP/1.0\r\n\r\n"), &seen), 0);
    assert_int_equal(seen.refused, 1);
    assert_int_equal(seen.fault.status, 400);
    icap_engine_free(e);
}

/* What the driver wants in its answers stands in those that the engine makes by itself, too. */
static void errors_carry_the_fields_of_the_driver(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);
    struct seen seen = {0};
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    icap_error_fields(e, SPAN("X-Request-ID: 7\r\n"));
    assert_int_equal(feed(e, SPAN("GARBAGE\r\n\r\n"), &seen), 0);
    assert_int_equal(seen.refused, 1);
    output(e, &out);
    assert_true(contains(buf_span(&out), SPAN("ICAP/1.0 400 Bad Request\r\n")));
    assert_true(contains(buf_span(&out), SPAN("\r\nX-Request-ID: 7\r\nConnection: close\r\n")));
    buf_done(&out);
    icap_engine_free(e);
}

/* With nothing to discard allowed, an early answer has to say close. */
static void no_discarding_means_close(void **state)
{
    struct icap_limits lim = icap_limits_default;
    struct icap_engine *e;
    struct seen seen = {0};
    struct buf out;

    (void)state;
    buf_init(&out, 0);
    lim.discard_max = 0;
    e = engine_new(&lim);
    assert_int_equal(
        feed(e, SPAN("REQMOD icap://h/s ICAP/1.0\r\nEncapsulated: req-body=0\r\n\r\n"), &seen), 0);
    assert_int_equal(icap_reply_head(e, &(struct icap_reply){.status = 403}), OK);
    output(e, &out);
    assert_true(contains(buf_span(&out), SPAN("Connection: close\r\n")));
    assert_int_equal(feed(e, SPAN("1\r\nx\r\n0\r\n\r\n"), &seen), 0);
    assert_int_equal(icap_wants(e), ICAP_WANT_CLOSE);
    buf_done(&out);
    icap_engine_free(e);
}

/* An early answer in front of 100 MB that are never read by anybody: bounded, and closed. */
static void early_answer_before_100_mb(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);
    struct seen seen = {0};
    struct block *b = block_new();
    uint64_t fed = 0, n_in, n_out;
    size_t used;

    (void)state;
    assert_non_null(b);
    assert_int_equal(feed(e,
                          SPAN("REQMOD icap://h/s ICAP/1.0\r\nEncapsulated: req-body=0\r\n\r\n"
                               "6400000\r\n"),
                          &seen),
                     0);
    assert_int_equal(icap_reply_head(e, &(struct icap_reply){.status = 403}), OK);
    icap_sent(e, icap_output(e)->len);
    while ((icap_wants(e) & ICAP_WANT_READ) && fed < (100u << 20)) {
        assert_int_equal(icap_feed(e, (struct slice){b, 0, BLOCK_SIZE}, &used), OK);
        fed += used;
        drain(e, &seen);
    }
    assert_true(fed > icap_limits_default.discard_max - BLOCK_SIZE);
    assert_true(fed <= icap_limits_default.discard_max + BLOCK_SIZE);
    assert_int_equal(icap_wants(e), ICAP_WANT_CLOSE);
    icap_counts(e, &n_in, &n_out);
    assert_true(n_in > fed && n_out > 0);
    assert_int_equal(seen.body.n, 0);
    assert_int_equal(b->refs, 1);
    block_unref(b);
    icap_engine_free(e);
}

static void busy_until_written(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);
    struct seen seen = {0};
    uint64_t n_in, n_out;

    (void)state;
    assert_false(icap_is_busy(e));
    assert_int_equal(feed(e, SPAN("OPTIONS"), &seen), 0);
    assert_true(icap_is_busy(e));
    assert_int_equal(feed(e, SPAN(" icap://h/s ICAP/1.0\r\n\r\n"), &seen), 0);
    assert_int_equal(icap_reply_head(e, &(struct icap_reply){.status = 200}), OK);
    icap_counts(e, &n_in, &n_out);
    assert_int_equal(n_in, 31);
    assert_int_equal(n_out, icap_output(e)->len);
    assert_true(icap_is_busy(e));
    icap_sent(e, icap_output(e)->len);
    assert_false(icap_is_busy(e));
    icap_engine_free(e);
}

static void a_thousand_requests_on_one_connection(void **state)
{
    struct icap_engine *e = engine_new(&icap_limits_default);

    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        struct seen seen = {0};

        open_request(e, &seen);
        assert_int_equal(icap_no_change(e, &(struct icap_reply){0}), OK);
        icap_sent(e, icap_output(e)->len);
        drain(e, &seen);
        assert_int_equal(icap_wants(e), ICAP_WANT_READ);
    }
    icap_engine_free(e);
}

/* ---- passwords ---- */

#define SECRET    "Authorization: Basic zzzzzzzz\r\n"
#define IS_SECRET 'z'

/* Feeds |text|, and keeps the block. */
static struct block *feed_kept(struct icap_engine *e, struct span text)
{
    struct block *b = block_new();
    struct seen seen = {0};
    size_t used = 1;

    assert_non_null(b);
    memcpy(b->data, text.p, text.n);
    b->used = (uint32_t)text.n;
    struct slice s = {b, 0, b->used};

    while (s.len && used) {
        (void)!icap_feed(e, s, &used);
        s = slice_sub(s, (uint32_t)used, s.len - (uint32_t)used);
        drain(e, &seen);
    }
    assert_int_equal(seen.request, 0);
    return b;
}

static void assert_nothing_is_left(struct block *b)
{
    assert_null(memchr(b->data, IS_SECRET, b->used));
    assert_int_equal(b->refs, 1);
    block_unref(b);
}

/* Wherever it is cut, and also when it is not told to its end. */
static void a_head_that_is_refused_leaves_no_password(void **state)
{
    static const char *const heads[] = {
        "OPTIONS icap://h/s ICAP/1.0\r\n" SECRET "no colon\r\n\r\n",
        "OPTIONS icap://h/s ICAP/1.0\r\nno colon\r\n" SECRET "\r\n",
        "OPTIONS icap://h/s ICAP/1.0\r\nX: a\nY: b\r\n" SECRET "\r\n",
        "no request-line\r\n" SECRET "\r\n",
        "\rOPTIONS icap://h/s ICAP/1.0\r\n" SECRET "\r\n",
        "BREW icap://h/s ICAP/1.0\r\n" SECRET "\r\n",
        "OPTIONS icap://h/s ICAP/3.0\r\n" SECRET "\r\n",
        "OPTIONS nowhere ICAP/1.0\r\n" SECRET "\r\n",
        "RESPMOD icap://h/s ICAP/1.0\r\nEncapsulated: odd\r\n" SECRET "\r\n",
        "RESPMOD icap://h/s ICAP/1.0\r\nEncapsulated: res-hdr=0, null-body=10\r\n" SECRET
        "\r\nno status\n",
        "BREW icap://h/s ICAP/1.0\r\n\r\nOPTIONS icap://h/s ICAP/1.0\r\n" SECRET "\r\n",
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(heads); i++) {
        struct span text = span_of(heads[i]);

        for (size_t cut = 1; cut <= text.n; cut++) {
            struct icap_engine *e = engine_new(&icap_limits_default);
            struct block *first = feed_kept(e, span_sub(text, 0, cut)), *second = NULL;

            if (cut < text.n && cut % 2)
                second = feed_kept(e, span_sub(text, cut, text.n - cut));
            icap_engine_free(e);
            assert_nothing_is_left(first);
            if (second)
                assert_nothing_is_left(second);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(preview_matrix),
        cmocka_unit_test(small_answers_are_one_segment),
        cmocka_unit_test(files_go_out_in_bounded_chunks),
        cmocka_unit_test(heads_over_64k_are_not_sent),
        cmocka_unit_test(output_limit_changes_nothing),
        cmocka_unit_test(replies_survive_failing_memory),
        cmocka_unit_test(bodies_are_not_copied),
        cmocka_unit_test(a_full_queue_stops_feed),
        cmocka_unit_test(an_idle_engine_is_small),
        cmocka_unit_test(memory_outlives_the_reply),
        cmocka_unit_test(a_dripping_head_costs_linear_work),
        cmocka_unit_test(over_the_memory_of_a_transaction),
        cmocka_unit_test(host_is_required_by_a_switch),
        cmocka_unit_test(errors_carry_the_fields_of_the_driver),
        cmocka_unit_test(no_discarding_means_close),
        cmocka_unit_test(early_answer_before_100_mb),
        cmocka_unit_test(busy_until_written),
        cmocka_unit_test(a_thousand_requests_on_one_connection),
        cmocka_unit_test(a_head_that_is_refused_leaves_no_password),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
