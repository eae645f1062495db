/* SPDX-License-Identifier: Apache-2.0 */
/* icap_engine.c - the request half: wire bytes become events. */
#include "icap/icap_engine.h"

#include <assert.h>
#include <stdlib.h>

#include "icap/icap_engine_int.h"

const struct icap_limits icap_limits_default = {
    .request_line_max = 8u << 10,
    .head_max = 64u << 10,
    .fields_max = 128,
    .http_head_max = 256u << 10,
    .chunk_line_max = 4u << 10,
    .trailer_max = 16u << 10,
    .chunk_overhead_max = 1u << 20,
    .preview_max = 64u << 10,
    .discard_max = 64u << 20,
    .empty_lines_max = 4,
    .memory_max = 1u << 20,
    .head_ms = 10000,
    .body_idle_ms = 60000,
    .write_idle_ms = 60000,
    .idle_ms = 120000,
    .transaction_ms = 600000,
};

/* ---- states and events ---- */

void icap_engine_set(struct icap_engine *e, enum icap_rq next)
{
#define ROW(id, name, may) [id] = (may) | 1u << RQ_CLOSED | 1u << RQ_DEAD,
    static const unsigned allowed[RQ_STATES] = {ICAP_RQ_STATES(ROW)};
#undef ROW

    assert(allowed[e->rq] & 1u << next);
    e->rq = next;
}

const char *icap_engine_state(const struct icap_engine *e)
{
#define ROW(id, name, may) [id] = name,
    static const char *const names[RQ_STATES] = {ICAP_RQ_STATES(ROW)};
#undef ROW

    return names[e->rq];
}

static void push(struct icap_engine *e, enum icap_event_kind kind, struct slice s, bool ieof)
{
    assert(e->q_n < ICAP_QUEUE);
    e->queue[(e->q_first + e->q_n++) % ICAP_QUEUE] =
        (struct icap_queued){.slice = s, .kind = (unsigned char)kind, .ieof = ieof};
}

void icap_engine_drop_events(struct icap_engine *e)
{
    for (; e->q_n; e->q_n--, e->q_first = (e->q_first + 1) % ICAP_QUEUE)
        block_unref(e->queue[e->q_first].slice.block);
}

bool icap_next(struct icap_engine *e, struct icap_event *ret)
{
    *ret = (struct icap_event){.kind = ICAP_EV_NONE};
    if (e->q_n) {
        struct icap_queued q = e->queue[e->q_first];

        e->q_first = (e->q_first + 1) % ICAP_QUEUE;
        e->q_n--;
        ret->kind = q.kind;
        ret->slice = q.slice;
        ret->ieof = q.ieof;
        if (ret->kind == ICAP_EV_END)
            ret->trailers = chunk_trailers(&e->chunks);
        return true;
    }
    if (e->fault_kind != ICAP_EV_NONE) {
        ret->kind = e->fault_kind;
        ret->fault = e->fault;
        e->fault_kind = ICAP_EV_NONE;
        return true;
    }
    icap_engine_release(e);
    return false;
}

/* ---- beginning and end of a transaction ---- */

enum err icap_engine_new(const struct icap_limits *lim, const struct icap_identity *id,
                         uint64_t now_ms, struct icap_engine **ret)
{
    struct icap_engine *e = mem_fail_now() ? NULL : calloc(1, sizeof *e);

    if (!e)
        return ERR_NOMEM;
    e->lim = lim;
    e->id = id;
    e->now = e->t_idle = now_ms;
    arena_init(&e->mem, lim->memory_max);
    http_out_init(&e->out);
    chunk_decoder_init(&e->chunks);
    *ret = e;
    return OK;
}

static void release_now(struct icap_engine *e)
{
    if (!e->req_known)
        head_gather_wipe(&e->icap_head);
    arena_done(&e->mem); /* the next request begins on a chunk of the thread's pool */
    e->req = NULL;
    e->req_known = false;
    head_gather_done(&e->icap_head);
    head_gather_done(&e->http_heads);
    chunk_decoder_done(&e->chunks);
    chunk_decoder_init(&e->chunks);
    e->over = false;
}

void icap_engine_release(struct icap_engine *e)
{
    if (e->over)
        release_now(e);
}

void icap_engine_free(struct icap_engine *e)
{
    if (!e)
        return;
    icap_engine_drop_events(e);
    release_now(e);
    arena_done(&e->mem);
    http_out_done(&e->out);
    free(e);
}

/* The first byte of a request is here. */
static void begin(struct icap_engine *e)
{
    icap_engine_set(e, RQ_HEAD);
    e->rp = RP_NONE;
    e->t_first = e->now;
    e->body_n = e->discarded = 0;
    e->n_in = e->n_out = 0;
    e->paused = e->discard = e->ieof = e->continued = false;
    e->promised = e->original_ok = false;
    e->empty_lines = 0;
}

/* Both halves over? Then the connection is idle again, or closes. The memory stays until the driver
 * has seen the last event. */
static void try_end(struct icap_engine *e)
{
    if (e->rp != RP_DONE || (e->rq != RQ_END && e->rq != RQ_CLOSED))
        return;
    e->over = true;
    e->paused = false;
    e->rp = RP_NONE;
    e->t_idle = e->now;
    if (e->rq == RQ_END)
        icap_engine_set(e, e->close_after || e->peer_eof ? RQ_CLOSED : RQ_IDLE);
}

void icap_engine_request_over(struct icap_engine *e)
{
    icap_engine_set(e, RQ_END);
    push(e, ICAP_EV_END, (struct slice){0}, false);
    try_end(e);
}

void icap_engine_reply_over(struct icap_engine *e)
{
    e->rp = RP_DONE;
    try_end(e);
}

/* One fault is told per connection, and only while somebody waits for an answer. |status|: what is
 * answered to it. */
static void tell_fault(struct icap_engine *e, enum icap_event_kind kind, const struct fault *f,
                       unsigned status)
{
    if (e->fault.err == OK) {
        e->fault = *f;
        e->fault.status = status;
        e->fault_kind = kind;
    }
    e->close_after = true;
    e->over = true;
}

void icap_engine_refuse(struct icap_engine *e, const struct fault *f)
{
    bool open = e->rp == RP_NONE || e->rp == RP_OPEN;
    unsigned status = open ? icap_engine_answer_error(e, f) : 0;

    if (e->rp != RP_DONE)
        tell_fault(e, ICAP_EV_REFUSED, f, status);
    e->close_after = true;
    icap_engine_set(e, open && !status ? RQ_DEAD : RQ_CLOSED);
    e->over = true;
    e->rp = RP_NONE;
}

void icap_engine_expire(struct icap_engine *e, const struct fault *f)
{
    bool answered = e->rp == RP_DONE && e->out.chain.len == 0;

    icap_abort(e);
    if (!answered)
        tell_fault(e, ICAP_EV_REFUSED, f, 0);
}

void icap_abort(struct icap_engine *e)
{
    icap_engine_drop_events(e);
    http_out_done(&e->out);
    e->fault_kind = ICAP_EV_NONE;
    e->rp = RP_NONE;
    e->over = true;
    if (e->rq != RQ_DEAD)
        icap_engine_set(e, RQ_DEAD);
}

void icap_eof(struct icap_engine *e)
{
    static const struct fault gone = {ERR_ABORTED, 0, "the peer closed inside a request", 0};

    e->peer_eof = true;
    switch (e->rq) {
    case RQ_IDLE: icap_engine_set(e, RQ_CLOSED); break;
    case RQ_HEAD:
    case RQ_HEADS:
    case RQ_PREVIEW:
    case RQ_WAIT:
    case RQ_BODY:
        if (e->rp != RP_DONE)
            tell_fault(e, ICAP_EV_GONE, &gone, 0);
        /* Whole answers are still written; one without its end is of no use to anybody. */
        if (e->rp == RP_BODY)
            http_out_done(&e->out);
        icap_engine_set(e, RQ_CLOSED);
        e->over = true;
        e->rp = RP_NONE;
        break;
    case RQ_END: e->close_after = true; break; /* behind a whole request: the driver's to judge */
    case RQ_CLOSED:
    case RQ_DEAD:
    case RQ_STATES: break;
    }
}

void icap_error_fields(struct icap_engine *e, struct span fields)
{
    e->error_fields = fields;
}

void icap_close_after(struct icap_engine *e)
{
    e->close_after = true;
    if (e->rq == RQ_IDLE)
        icap_engine_set(e, RQ_CLOSED);
}

void icap_discard_rest(struct icap_engine *e)
{
    if (e->rp != RP_NONE)
        e->discard = true;
}

void icap_pause(struct icap_engine *e, bool paused)
{
    if (e->paused && !paused)
        e->t_in = e->now; /* the body deadline begins anew */
    e->paused = paused;
}

/* ---- the ICAP head ---- */

static enum err no_memory(struct fault *f)
{
    return fault_set(f, ERR_NOMEM, 503, 0, "no memory for a request");
}

static enum err check_method(struct icap_request *r, struct fault *f)
{
    for (unsigned m = 0; m < ICAP_METHODS; m++) {
        r->method = (enum icap_method)m;
        if (span_eq(r->icap->method, span_of(icap_method_name(r->method))))
            return OK;
    }
    return fault_set(f, ERR_PROTO, 501, 0, "unknown method"); /* RFC 3507 4.3.2 */
}

/* RFC 3507 4.4.1; a second Encapsulated could only contradict the first. */
static enum err check_encapsulated(struct icap_engine *e, struct icap_request *r, struct fault *f)
{
    const struct span name = SPAN("Encapsulated");
    struct icap_encapsulated *list = &r->encapsulated;
    unsigned n = head_count(r->icap, name);

    if (n > 1)
        return fault_set(f, ERR_PROTO, 400, 0, "repeated Encapsulated");
    if (n == 1)
        TRY(icap_encapsulated_parse(head_value(r->icap, name), list, f));
    if (!icap_encapsulated_fits(list, r->method))
        return fault_set(f, ERR_PROTO, 400, 0,
                         n ? "Encapsulated list does not fit the method" : "no Encapsulated");
    TRY(icap_slots_check(list, e->lim->http_head_max, f));
    r->has_body = list->n && list->part[list->n - 1].entity != ICAP_NULL_BODY;
    return OK;
}

static enum err check_preview(const struct icap_engine *e, struct icap_request *r, struct fault *f)
{
    const struct span name = SPAN("Preview");
    unsigned n = head_count(r->icap, name);

    if (n == 0 || r->method == ICAP_OPTIONS)
        return OK;
    if (n > 1 || span_u64(head_value(r->icap, name), UINT64_MAX, &r->preview) != OK)
        return fault_set(f, ERR_PROTO, 400, 0, "malformed or repeated Preview");
    if (r->preview > e->lim->preview_max)
        return fault_set(f, ERR_LIMIT, 413, 0, "Preview over the limit");
    r->has_preview = true;
    return OK;
}

/* The method goes before everything else, so that an extension is told 501 and not what is wrong
 * with its other parts. Transfer-Encoding, Content-Length and Upgrade are not looked at: framing
 * comes from Encapsulated alone (erratum E1). */
static enum err check_request(struct icap_engine *e, struct icap_request *r, struct fault *f)
{
    const struct head *h = r->icap;

    TRY(check_method(r, f));
    if (h->major != 1)
        return fault_set(f, ERR_PROTO, 505, 0, "ICAP version is not 1.x");
    TRY(icap_uri_parse(h->target, &e->mem, &r->uri, f));
    if (e->lim->require_host && !head_count(h, SPAN("Host")))
        return fault_set(f, ERR_PROTO, 400, 0, "no Host");
    r->close = head_has_token(h, SPAN("Connection"), SPAN("close"));
    TRY(check_encapsulated(e, r, f));
    TRY(check_preview(e, r, f));
    r->allow = icap_allow_parse(h);
    return OK;
}

static enum err heads_done(struct icap_engine *e, struct span text, struct fault *f);

static enum err icap_head_done(struct icap_engine *e, struct span text, struct fault *f)
{
    const struct head_limits lim = {e->lim->request_line_max, e->lim->head_max, e->lim->fields_max};
    struct icap_request *r = ARENA_NEW(&e->mem, struct icap_request);
    struct head *h = ARENA_NEW(&e->mem, struct head);

    if (!r || !h)
        return no_memory(f);
    TRY(head_parse(HEAD_ICAP_REQUEST, text, &lim, &e->mem, h, f));
    r->icap = h;
    TRY(check_request(e, r, f));
    e->req = r;
    icap_engine_set(e, RQ_HEADS);
    return icap_slots_len(&r->encapsulated) ? OK : heads_done(e, SPAN_NONE, f);
}

static enum err read_head(struct icap_engine *e, struct slice *left, struct fault *f)
{
    const struct head_limits lim = {e->lim->request_line_max, e->lim->head_max, e->lim->fields_max};
    struct span text;
    enum err err = head_gather_head(&e->icap_head, left, &lim, &text, f);

    if (err)
        return err == ERR_AGAIN ? OK : err;
    return icap_head_done(e, text, f);
}

/* ---- encapsulated heads ---- */

static enum err heads_done(struct icap_engine *e, struct span text, struct fault *f)
{
    const struct head_limits lim = {e->lim->http_head_max, e->lim->http_head_max,
                                    e->lim->fields_max};
    struct icap_request *r = e->req;

    TRY(icap_slots_parse(&r->encapsulated, text, &lim, &e->mem, &r->http_request, &r->http_response,
                         f));
    e->rp = RP_OPEN;
    e->req_known = true;
    push(e, ICAP_EV_REQUEST, (struct slice){0}, false);
    if (!r->has_body)
        icap_engine_request_over(e);
    else
        icap_engine_set(e, r->has_preview ? RQ_PREVIEW : RQ_BODY);
    return OK;
}

static enum err read_heads(struct icap_engine *e, struct slice *left, struct fault *f)
{
    uint64_t need = icap_slots_len(&e->req->encapsulated);
    struct span text;
    enum err err = head_gather_bytes(&e->http_heads, left, need, &text, f);

    if (err)
        return err == ERR_AGAIN ? OK : err;
    return heads_done(e, text, f);
}

/* ---- the body ---- */

/* After the reply half has ended nobody wants the rest (erratum E7). */
static bool discarding(const struct icap_engine *e)
{
    return e->discard || e->rp == RP_DONE;
}

/* What is over the announced preview is refused, what is within goes on first: the same bytes for
 * any split. */
static enum err body_data(struct icap_engine *e, struct slice s, struct fault *f)
{
    uint64_t room = e->rq == RQ_PREVIEW ? e->req->preview - e->body_n : UINT64_MAX;
    bool over = s.len > room;

    if (over)
        s.len = (uint32_t)room;
    e->body_n += s.len;
    if (s.len && !discarding(e)) {
        (void)block_ref(s.block);
        push(e, ICAP_EV_BODY, s, false);
    }
    return over ? fault_set(f, ERR_PROTO, 400, 0, "more preview than announced") : OK;
}

/* The last-chunk and its trailers are read. */
static void body_end(struct icap_engine *e)
{
    bool decided = e->rp != RP_OPEN;

    if (e->rq == RQ_PREVIEW && !decided)
        push(e, ICAP_EV_PREVIEW_END, (struct slice){0}, e->ieof);
    if (e->rq == RQ_BODY || e->ieof || decided)
        icap_engine_request_over(e);
    else
        icap_engine_set(e, RQ_WAIT);
}

static enum err read_body(struct icap_engine *e, struct slice *left, struct fault *f)
{
    const struct chunk_limits lim = {e->lim->chunk_line_max, e->lim->trailer_max,
                                     e->lim->fields_max, e->lim->chunk_overhead_max};
    struct chunk_event ev;
    struct slice data;

    TRY(chunk_next_slice(&e->chunks, &lim, left, &data, &ev, f));
    switch (ev.kind) {
    case CHUNK_NEED: break;
    case CHUNK_DATA: return body_data(e, data, f);
    case CHUNK_LAST: /* `ieof` means something in a preview only (RFC 3507 4.5) */
        e->ieof = ev.ieof && e->rq == RQ_PREVIEW;
        break;
    case CHUNK_END: body_end(e); break;
    }
    return OK;
}

/* ---- feeding ---- */

/* Empty lines before a request-line: one CRLF too many is an old habit of clients (RFC 9112 2.2).
 */
static enum err read_idle(struct icap_engine *e, struct slice *left, struct fault *f)
{
    char c = slice_span(*left).p[0];

    if (e->half_line && c != '\n')
        return fault_set(f, ERR_PROTO, 400, 0, "CR without LF before a request-line");
    if (!e->half_line && c == '\n')
        return fault_set(f, ERR_PROTO, 400, 0, "bare LF before a request-line");
    if (!e->half_line && c != '\r') {
        icap_engine_release(e);
        begin(e);
        return OK;
    }
    if (e->half_line && e->empty_lines++ >= e->lim->empty_lines_max)
        return fault_set(f, ERR_PROTO, 400, 0, "too many empty lines before a request-line");
    e->half_line = !e->half_line;
    *left = slice_sub(*left, 1, left->len - 1);
    return OK;
}

static enum err drop_input(struct icap_engine *e, struct slice *left, struct fault *f)
{
    (void)f;
    slice_wipe(*left); /* with the passwords of a head that is broken */
    e->discarded += left->len;
    left->len = 0;
    return OK;
}

typedef enum err (*step_fn)(struct icap_engine *e, struct slice *left, struct fault *f);

/* NULL: this state takes no byte. */
static const step_fn steps[RQ_STATES] = {
    [RQ_IDLE] = read_idle,    [RQ_HEAD] = read_head, [RQ_HEADS] = read_heads,
    [RQ_PREVIEW] = read_body, [RQ_BODY] = read_body, [RQ_CLOSED] = drop_input,
    [RQ_DEAD] = drop_input,
};

/* The next request waits until the last event of this one has been taken. */
static bool can_step(const struct icap_engine *e)
{
    if (e->rq == RQ_IDLE && e->q_n)
        return false;
    return steps[e->rq] && (!icap_engine_queue_full(e) || steps[e->rq] == drop_input);
}

/* Over discard_max: what comes now is not worth reading on for. The request half ends, and the
 * connection with it. */
static void stop_discarding(struct icap_engine *e)
{
    e->close_after = true;
    icap_engine_set(e, RQ_CLOSED);
    if (e->rp != RP_DONE)
        push(e, ICAP_EV_END, (struct slice){0}, false);
    try_end(e);
}

static void count_discarded(struct icap_engine *e, uint32_t n)
{
    if (e->rq != RQ_BODY && e->rq != RQ_PREVIEW)
        return;
    e->discarded += n;
    if (e->discarded > e->lim->discard_max)
        stop_discarding(e);
}

enum err icap_feed(struct icap_engine *e, struct slice in, size_t *ret_used)
{
    struct slice left = in;
    enum err ret = OK;

    if (e->q_n == 0 && e->fault_kind == ICAP_EV_NONE)
        icap_engine_release(e);
    while (left.len && can_step(e)) {
        uint32_t before = left.len;
        bool was_discarding = discarding(e);
        struct fault f = {0};
        enum err err = steps[e->rq](e, &left, &f);

        e->n_in += before - left.len;
        e->t_in = e->now;
        if (err) {
            icap_engine_refuse(e, &f);
            if (err == ERR_NOMEM)
                ret = ERR_NOMEM;
        } else if (was_discarding) {
            count_discarded(e, before - left.len);
        }
    }
    *ret_used = in.len - left.len;
    return ret;
}

/* ---- questions ---- */

bool icap_is_over(const struct icap_engine *e)
{
    return e->over && e->q_n == 0 && e->fault_kind == ICAP_EV_NONE;
}

const struct icap_request *icap_current(const struct icap_engine *e)
{
    return e->req_known ? e->req : NULL;
}

struct arena *icap_arena(struct icap_engine *e)
{
    return &e->mem;
}

bool icap_output_is_last(const struct icap_engine *e)
{
    bool closing = e->rq == RQ_CLOSED || e->rq == RQ_DEAD;

    return closing && e->rp == RP_NONE && e->q_n == 0 && e->fault_kind == ICAP_EV_NONE;
}

static unsigned wants_closing(const struct icap_engine *e)
{
    if (e->out.chain.len) {
        /* Reading on keeps a peer going that writes everything before it reads anything. */
        bool drain = !e->peer_eof && e->discarded <= e->lim->discard_max;

        return ICAP_WANT_WRITE | (drain ? ICAP_WANT_READ : 0);
    }
    return icap_output_is_last(e) ? ICAP_WANT_CLOSE : 0;
}

unsigned icap_wants(const struct icap_engine *e)
{
    unsigned write = e->out.chain.len ? ICAP_WANT_WRITE : 0;

    switch (e->rq) {
    case RQ_IDLE:
    case RQ_HEAD:
    case RQ_HEADS:
    case RQ_PREVIEW:
    case RQ_BODY: return write | (e->paused || !can_step(e) ? 0 : ICAP_WANT_READ);
    case RQ_WAIT:
    case RQ_END: return write;
    case RQ_CLOSED:
    case RQ_DEAD: return wants_closing(e);
    case RQ_STATES: break;
    }
    return ICAP_WANT_CLOSE;
}

void icap_counts(const struct icap_engine *e, uint64_t *ret_in, uint64_t *ret_out)
{
    *ret_in = e->n_in;
    *ret_out = e->n_out;
}

bool icap_is_busy(const struct icap_engine *e)
{
    bool resting = e->rq == RQ_IDLE || ((e->rq == RQ_CLOSED || e->rq == RQ_DEAD) && !e->rp);

    return !resting || e->out.chain.len > 0;
}
