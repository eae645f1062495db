/* SPDX-License-Identifier: Apache-2.0 */
/* http_engine.c - the request half: wire bytes become events. */
#include "http/http_engine.h"

#include <assert.h>
#include <stdlib.h>

#include "http/http_engine_int.h"

const struct http_limits http_limits_default = {
    .request_line_max = 8u << 10,
    .head_max = 16u << 10,
    .fields_max = 100,
    .chunk_line_max = 4u << 10,
    .trailer_max = 16u << 10,
    .chunk_overhead_max = 1u << 20,
    .discard_max = 64u << 10,
    .empty_lines_max = 4,
    .memory_max = 256u << 10,
    .head_ms = 10000,
    .body_idle_ms = 60000,
    .discard_ms = 2000,
    .write_idle_ms = 60000,
    .idle_ms = 120000,
};

/* ---- states and events ---- */

void http_engine_set(struct http_engine *e, enum http_rq next)
{
#define ROW(id, name, may) [id] = (may) | 1u << RQ_CLOSED | 1u << RQ_DEAD,
    static const unsigned allowed[RQ_STATES] = {HTTP_RQ_STATES(ROW)};
#undef ROW

    assert(allowed[e->rq] & 1u << next);
    e->rq = next;
}

const char *http_engine_state(const struct http_engine *e)
{
#define ROW(id, name, may) [id] = name,
    static const char *const names[RQ_STATES] = {HTTP_RQ_STATES(ROW)};
#undef ROW

    return names[e->rq];
}

static void push(struct http_engine *e, struct http_queued q)
{
    assert(e->q_n < HTTP_QUEUE);
    e->queue[(e->q_first + e->q_n++) % HTTP_QUEUE] = q;
}

static struct http_queued pop(struct http_engine *e)
{
    struct http_queued q = e->queue[e->q_first];

    e->q_first = (e->q_first + 1) % HTTP_QUEUE;
    e->q_n--;
    return q;
}

static void drop_events(struct http_engine *e)
{
    while (e->q_n)
        block_unref(pop(e).slice.block);
    e->fault_kind = HTTP_EV_NONE;
}

static bool all_told(const struct http_engine *e)
{
    return e->q_n == 0 && e->fault_kind == HTTP_EV_NONE;
}

bool http_next(struct http_engine *e, struct http_event *ret)
{
    *ret = (struct http_event){.kind = HTTP_EV_NONE};
    if (e->q_n) {
        struct http_queued q = pop(e);

        ret->kind = q.kind;
        ret->slice = q.slice;
        if (q.trailers)
            ret->trailers = chunk_trailers(&e->chunks);
        return true;
    }
    if (e->fault_kind != HTTP_EV_NONE) {
        ret->kind = e->fault_kind;
        ret->fault = e->fault;
        e->fault_kind = HTTP_EV_NONE;
        return true;
    }
    http_engine_release(e);
    return false;
}

/* ---- beginning and end of an exchange ---- */

enum err http_engine_new(const struct http_limits *lim, uint64_t now_ms, struct http_engine **ret)
{
    struct http_engine *e = mem_fail_now() ? NULL : calloc(1, sizeof *e);

    if (!e)
        return ERR_NOMEM;
    e->lim = lim;
    e->now = e->t_idle = now_ms;
    arena_init(&e->mem, lim->memory_max);
    http_out_init(&e->out);
    chunk_decoder_init(&e->chunks);
    *ret = e;
    return OK;
}

static void release_now(struct http_engine *e)
{
    if (!e->req_known)
        head_gather_wipe(&e->head);
    arena_done(&e->mem); /* the next request begins on a chunk of the thread's pool */
    e->req = NULL;
    e->req_known = false;
    head_gather_done(&e->head);
    chunk_decoder_done(&e->chunks);
    chunk_decoder_init(&e->chunks);
    e->over = false;
}

void http_engine_release(struct http_engine *e)
{
    if (http_is_over(e))
        release_now(e);
}

void http_engine_free(struct http_engine *e)
{
    if (!e)
        return;
    drop_events(e);
    release_now(e);
    http_out_done(&e->out);
    free(e);
}

/* The first byte of a request is here. */
static void begin(struct http_engine *e)
{
    http_engine_release(e);
    http_engine_set(e, RQ_HEAD);
    e->t_first = e->now;
    e->body_n = e->discarded = 0;
    e->n_in = e->n_out = 0;
    e->paused = e->body_here = e->continued = e->switched = false;
    e->empty_lines = 0;
}

/* Both halves over? Then the connection is idle again, or closes. The memory stays until the driver
 * has seen the last event. */
static void try_end(struct http_engine *e)
{
    if (e->rp != RP_DONE || (e->rq != RQ_END && e->rq != RQ_CLOSED))
        return;
    e->over = true;
    e->paused = false;
    e->rp = RP_NONE;
    e->t_idle = e->now;
    if (e->rq == RQ_END)
        http_engine_set(e, e->close_after ? RQ_CLOSED : RQ_IDLE);
}

static void request_over(struct http_engine *e)
{
    bool chunked = e->req->length == HTTP_LENGTH_UNKNOWN;

    push(e, (struct http_queued){.kind = HTTP_EV_END,
                                 .trailers = chunked && !http_engine_discards(e)});
    http_engine_set(e, RQ_END);
    try_end(e);
}

void http_engine_reply_over(struct http_engine *e)
{
    e->rp = RP_DONE;
    try_end(e);
}

bool http_engine_discards(const struct http_engine *e)
{
    return e->rq == RQ_BODY && (e->rp == RP_BODY || e->rp == RP_DONE);
}

void http_engine_stop_discarding(struct http_engine *e)
{
    push(e, (struct http_queued){.kind = HTTP_EV_END});
    e->close_after = true;
    e->discarded = e->lim->discard_max; /* nothing more while the answer goes out */
    http_engine_set(e, RQ_CLOSED);
    try_end(e);
}

/* One fault is told per connection. |status|: what is answered to it. */
static void tell_fault(struct http_engine *e, enum http_event_kind kind, const struct fault *f,
                       unsigned status)
{
    if (e->fault.err == OK) {
        e->fault = *f;
        e->fault.status = status;
        e->fault_kind = kind;
    }
    e->close_after = true;
    e->over = true;
    e->rp = RP_NONE;
}

void http_engine_refuse(struct http_engine *e, const struct fault *f)
{
    assert(e->rp == RP_NONE || e->rp == RP_OPEN);
    unsigned status = http_engine_answer_error(e, f);

    http_engine_set(e, RQ_CLOSED);
    tell_fault(e, HTTP_EV_REFUSED, f, status);
}

void http_engine_expire(struct http_engine *e, const struct fault *f)
{
    http_abort(e);
    tell_fault(e, HTTP_EV_REFUSED, f, 0);
}

void http_abort(struct http_engine *e)
{
    drop_events(e);
    http_out_done(&e->out);
    e->rp = RP_NONE;
    e->over = true;
    http_engine_set(e, RQ_DEAD);
}

void http_eof(struct http_engine *e)
{
    static const struct fault gone = {ERR_ABORTED, 0, "the peer closed inside a request", 0};

    e->peer_eof = true;
    switch (e->rq) {
    case RQ_IDLE: http_engine_set(e, RQ_CLOSED); break;
    case RQ_HEAD:
    case RQ_BODY:
        if (http_engine_discards(e)) {
            http_engine_stop_discarding(e);
            break;
        }
        http_engine_set(e, RQ_CLOSED); /* answers to earlier requests are still written */
        tell_fault(e, HTTP_EV_GONE, &gone, 0);
        break;
    case RQ_END:
    case RQ_SWITCH:
        e->close_after = true;
        break; /* behind a whole request: the driver's to judge */
    case RQ_CLOSED:
    case RQ_DEAD:
    case RQ_STATES: break;
    }
}

void http_error_fields(struct http_engine *e, struct span fields)
{
    e->error_fields = fields;
}

void http_close_after(struct http_engine *e)
{
    e->close_after = true;
    if (e->rq == RQ_IDLE)
        http_engine_set(e, RQ_CLOSED);
}

void http_pause(struct http_engine *e, bool paused)
{
    if (e->paused && !paused)
        e->t_in = e->now; /* the body deadline begins anew */
    e->paused = paused;
}

/* ---- the head ---- */

/* Empty lines before a request-line: one CRLF too many is an old habit of clients (RFC 9112 2.2).
 */
static enum err read_idle(struct http_engine *e, struct slice *left, struct fault *f)
{
    char c = slice_span(*left).p[0];
    const char *why = NULL;

    if (e->half_line && c != '\n')
        why = "CR without LF before a request-line";
    else if (!e->half_line && c == '\n')
        why = "bare LF before a request-line";
    else if (e->half_line && e->empty_lines++ >= e->lim->empty_lines_max)
        why = "too many empty lines before a request-line";
    if (why || (!e->half_line && c != '\r')) {
        begin(e);
        return why ? fault_set(f, ERR_PROTO, 400, 0, why) : OK;
    }
    e->half_line = !e->half_line;
    *left = slice_sub(*left, 1, left->len - 1);
    return OK;
}

static enum err head_done(struct http_engine *e, struct span text, const struct head_limits *lim,
                          struct fault *f)
{
    struct http_request *r = ARENA_NEW(&e->mem, struct http_request);
    struct head *h = ARENA_NEW(&e->mem, struct head);

    if (!r || !h)
        return fault_set(f, ERR_NOMEM, 503, 0, "no memory for a request");
    TRY(head_parse(HEAD_HTTP_REQUEST, text, lim, &e->mem, h, f));
    r->head = h;
    e->req = r; /* also for the answer to what is refused now: HEAD gets no body */
    TRY(http_engine_check(r, f));
    e->rp = RP_OPEN;
    e->req_known = true;
    push(e, (struct http_queued){.kind = HTTP_EV_REQUEST});
    if (r->has_body)
        http_engine_set(e, RQ_BODY);
    else
        request_over(e);
    return OK;
}

static enum err read_head(struct http_engine *e, struct slice *left, struct fault *f)
{
    const struct head_limits lim = {e->lim->request_line_max, e->lim->head_max, e->lim->fields_max};
    struct span text;
    enum err err = head_gather_head(&e->head, left, &lim, &text, f);

    if (err)
        return err == ERR_AGAIN ? OK : err;
    return head_done(e, text, &lim, f);
}

/* ---- the body ---- */

static void body_data(struct http_engine *e, struct slice s)
{
    e->body_n += s.len;
    if (s.len == 0 || http_engine_discards(e))
        return;
    (void)block_ref(s.block);
    push(e, (struct http_queued){.kind = HTTP_EV_BODY, .slice = s});
}

static void read_fixed(struct http_engine *e, struct slice *left)
{
    uint64_t rest = e->req->length - e->body_n;
    uint32_t n = rest < left->len ? (uint32_t)rest : left->len;

    body_data(e, slice_sub(*left, 0, n));
    *left = slice_sub(*left, n, left->len - n);
    if (n == rest)
        request_over(e);
}

static enum err read_chunked(struct http_engine *e, struct slice *left, struct fault *f)
{
    const struct chunk_limits lim = {e->lim->chunk_line_max, e->lim->trailer_max,
                                     e->lim->fields_max, e->lim->chunk_overhead_max};
    struct chunk_event ev;
    struct slice data;

    TRY(chunk_next_slice(&e->chunks, &lim, left, &data, &ev, f));
    if (ev.kind == CHUNK_DATA)
        body_data(e, data);
    else if (ev.kind == CHUNK_END)
        request_over(e);
    return OK;
}

static enum err read_body(struct http_engine *e, struct slice *left, struct fault *f)
{
    e->body_here = true;
    if (e->req->length == HTTP_LENGTH_UNKNOWN)
        return read_chunked(e, left, f);
    read_fixed(e, left);
    return OK;
}

/* ---- feeding ---- */

static enum err drop_input(struct http_engine *e, struct slice *left, struct fault *f)
{
    (void)f;
    slice_wipe(*left); /* with the passwords of a head that is broken */
    e->discarded += left->len;
    left->len = 0;
    return OK;
}

typedef enum err (*step_fn)(struct http_engine *e, struct slice *left, struct fault *f);

/* NULL: this state takes no byte. */
static const step_fn steps[RQ_STATES] = {
    [RQ_IDLE] = read_idle,    [RQ_HEAD] = read_head,  [RQ_BODY] = read_body,
    [RQ_CLOSED] = drop_input, [RQ_DEAD] = drop_input,
};

/* The next request waits until the last event of this one has been taken, and most of the output:
 * who sends requests and reads no answers shall not fill our memory with them. */
static bool can_step(const struct http_engine *e)
{
    if (e->rq == RQ_IDLE)
        return all_told(e) && e->out.chain.len <= HTTP_AHEAD_MAX;
    return steps[e->rq] && (steps[e->rq] == drop_input || e->q_n <= HTTP_QUEUE - HTTP_QUEUE_SPARE);
}

static enum err step(struct http_engine *e, struct slice *left)
{
    bool counts = e->rq != RQ_IDLE; /* empty lines belong to nobody */
    uint32_t before = left->len;
    struct fault f = {0};
    enum err err = steps[e->rq](e, left, &f);

    e->n_in += counts ? before - left->len : 0;
    e->t_in = e->now;
    if (err)
        http_engine_refuse(e, &f);
    return err == ERR_NOMEM ? err : OK;
}

/* One that is given no more than may be discarded, so that the end of it does not hang on how the
 * input is cut. Nobody cares any more what is wrong with the rest. */
static void discarding_step(struct http_engine *e, struct slice *left)
{
    uint64_t room = e->lim->discard_max - e->discarded;
    struct slice part = slice_sub(*left, 0, room < left->len ? (uint32_t)room : left->len);
    uint32_t before = part.len;
    struct fault ignored;
    enum err err = read_body(e, &part, &ignored);
    uint32_t n = before - part.len;

    *left = slice_sub(*left, n, left->len - n);
    e->n_in += n;
    e->t_in = e->now;
    e->discarded += n;
    if (http_engine_discards(e) && (err || e->discarded == e->lim->discard_max))
        http_engine_stop_discarding(e);
}

enum err http_feed(struct http_engine *e, struct slice in, size_t *ret_used)
{
    struct slice left = in;
    enum err ret = OK;

    http_engine_release(e);
    while (left.len && can_step(e)) {
        if (http_engine_discards(e))
            discarding_step(e, &left);
        else if (step(e, &left))
            ret = ERR_NOMEM;
    }
    *ret_used = in.len - left.len;
    return ret;
}

/* ---- questions ---- */

bool http_is_over(const struct http_engine *e)
{
    return e->over && all_told(e);
}

const struct http_request *http_current(const struct http_engine *e)
{
    return e->req_known ? e->req : NULL;
}

struct arena *http_arena(struct http_engine *e)
{
    return &e->mem;
}

uint64_t http_rest(const struct http_engine *e)
{
    if (e->rq != RQ_BODY)
        return 0;
    return e->req->length == HTTP_LENGTH_UNKNOWN ? HTTP_LENGTH_UNKNOWN : e->req->length - e->body_n;
}

bool http_output_is_last(const struct http_engine *e)
{
    bool closing = e->rq == RQ_CLOSED || e->rq == RQ_DEAD;

    return closing && e->rp == RP_NONE && all_told(e);
}

static unsigned wants_closing(const struct http_engine *e)
{
    if (e->out.chain.len) {
        /* Reading on keeps a peer going that writes everything before it reads anything. */
        bool drain = !e->peer_eof && e->discarded < e->lim->discard_max;

        return HTTP_WANT_WRITE | (drain ? HTTP_WANT_READ : 0);
    }
    return http_output_is_last(e) ? HTTP_WANT_CLOSE : 0;
}

unsigned http_wants(const struct http_engine *e)
{
    unsigned write = e->out.chain.len ? HTTP_WANT_WRITE : 0;

    switch (e->rq) {
    case RQ_IDLE:
    case RQ_HEAD:
    case RQ_BODY: return write | (e->paused || !can_step(e) ? 0 : HTTP_WANT_READ);
    case RQ_END:
    case RQ_SWITCH: return write;
    case RQ_CLOSED:
    case RQ_DEAD: return wants_closing(e);
    case RQ_STATES: break;
    }
    return HTTP_WANT_CLOSE;
}

void http_counts(const struct http_engine *e, uint64_t *ret_in, uint64_t *ret_out)
{
    *ret_in = e->n_in;
    *ret_out = e->n_out;
}

uint64_t http_body_bytes(const struct http_engine *e)
{
    return e->body_n;
}

bool http_is_busy(const struct http_engine *e)
{
    bool resting = e->rq == RQ_IDLE || ((e->rq == RQ_CLOSED || e->rq == RQ_DEAD) && !e->rp);

    return !resting || e->out.chain.len > 0;
}
