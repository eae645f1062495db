/* SPDX-License-Identifier: Apache-2.0 */
/* icap_client_engine.c - the reading half: answers are checked against their request. */
#include "icap/icap_client_engine.h"

#include <stdlib.h>

#include "base/deadline.h"
#include "icap/icap_client_engine_int.h"

/* What a transaction left behind is given back after so long a pause. */
#define REST_MS 1000u

/* ---- states and events ---- */

void icap_client_set(struct icap_client_engine *e, enum icap_cr next)
{
#define ROW(id, name, may) [id] = (may) | 1u << CR_CLOSED,
    static const unsigned allowed[CR_STATES] = {ICAP_CR_STATES(ROW)};
#undef ROW

    assert(allowed[e->cr] & 1u << next);
    e->cr = next;
}

static void push(struct icap_client_engine *e, enum icap_client_event_kind kind, struct slice s,
                 uint64_t from)
{
    assert(e->q_n < ICAP_CLIENT_QUEUE);
    e->queue[(e->q_first + e->q_n++) % ICAP_CLIENT_QUEUE] =
        (struct icap_client_queued){s, from, kind};
}

static bool queue_full(const struct icap_client_engine *e)
{
    return e->q_n > ICAP_CLIENT_QUEUE - ICAP_CLIENT_QUEUE_SPARE;
}

static void drop_events(struct icap_client_engine *e)
{
    for (; e->q_n; e->q_n--, e->q_first = (e->q_first + 1) % ICAP_CLIENT_QUEUE)
        block_unref(e->queue[e->q_first].slice.block);
}

static void release_now(struct icap_client_engine *e)
{
    arena_reset(&e->mem);
    head_gather_done(&e->icap_head);
    head_gather_done(&e->http_heads);
    chunk_decoder_done(&e->chunks);
    chunk_decoder_init(&e->chunks);
    e->reply = NULL;
    e->told = e->promised = e->over = false;
    e->http_trailers = SPAN_NONE;
}

static void release(struct icap_client_engine *e)
{
    if (e->over)
        release_now(e);
}

bool icap_client_next(struct icap_client_engine *e, struct icap_client_event *ret)
{
    *ret = (struct icap_client_event){.kind = ICAP_CLIENT_EV_NONE};
    if (e->q_n) {
        struct icap_client_queued q = e->queue[e->q_first];

        e->q_first = (e->q_first + 1) % ICAP_CLIENT_QUEUE;
        e->q_n--;
        ret->kind = q.kind;
        ret->slice = q.slice;
        ret->from = q.from;
        if (ret->kind == ICAP_CLIENT_EV_END) {
            ret->trailers = e->promised ? chunk_trailers(&e->chunks) : SPAN_NONE;
            ret->http_trailers = e->promised ? e->http_trailers : chunk_trailers(&e->chunks);
        }
        return true;
    }
    if (e->fault_waits) {
        e->fault_waits = false;
        ret->kind = ICAP_CLIENT_EV_FAILED;
        ret->fault = e->fault;
        return true;
    }
    release(e);
    return false;
}

/* ---- life ---- */

enum err icap_client_engine_new(const struct icap_limits *lim, uint64_t now_ms,
                                struct icap_client_engine **ret)
{
    struct icap_client_engine *e = mem_fail_now() ? NULL : calloc(1, sizeof *e);

    if (!e)
        return ERR_NOMEM;
    e->lim = lim;
    e->now = e->t_idle = now_ms;
    e->resting = true;
    arena_init(&e->mem, lim->memory_max);
    http_out_init(&e->out);
    chain_init(&e->rest, 0);
    chunk_decoder_init(&e->chunks);
    *ret = e;
    return OK;
}

void icap_client_engine_free(struct icap_client_engine *e)
{
    if (!e)
        return;
    drop_events(e);
    release_now(e);
    arena_done(&e->mem);
    http_out_done(&e->out);
    chain_done(&e->rest);
    free(e);
}

void icap_client_abort(struct icap_client_engine *e)
{
    drop_events(e);
    http_out_done(&e->out);
    chain_done(&e->rest);
    e->fault_waits = false;
    e->cw = CW_NONE;
    e->open = false;
    e->over = true;
    if (e->cr != CR_CLOSED)
        icap_client_set(e, CR_CLOSED);
}

void icap_client_fail(struct icap_client_engine *e, const struct fault *f)
{
    bool first = e->fault.err == OK;

    http_out_done(&e->out);
    chain_done(&e->rest);
    e->cw = CW_NONE;
    e->open = false;
    e->over = true;
    e->fault = first ? *f : e->fault;
    e->fault_waits |= first;
    if (e->cr != CR_CLOSED)
        icap_client_set(e, CR_CLOSED);
}

/* END is queued. The connection lives on when both sides said so and the request was finished, too:
 * one that was not cannot be taken back. */
static void answer_over(struct icap_client_engine *e)
{
    bool finished = e->cw == CW_NONE || e->cw == CW_IEOF || e->cw == CW_DROP;
    bool keep = finished && e->reply->keep_alive && !e->close;

    push(e, ICAP_CLIENT_EV_END, (struct slice){0}, 0);
    e->open = false;
    e->over = true;
    e->t_idle = e->now;
    chain_done(&e->rest);
    e->cw = e->body_ended ? CW_NONE : CW_DROP; /* pieces may still be under way to us */
    if (!keep)
        http_out_done(&e->out);
    icap_client_set(e, keep ? CR_IDLE : CR_CLOSED);
}

void icap_client_eof(struct icap_client_engine *e)
{
    static const struct fault early = {ERR_RESET, 0, "closed before the first byte of its answer",
                                       0};
    static const struct fault late = {ERR_EOF, 0, "closed inside its answer", 0};

    if (e->open)
        icap_client_fail(e, e->answered ? &late : &early);
    else if (e->cr != CR_CLOSED)
        icap_client_set(e, CR_CLOSED);
}

/* ---- the ICAP head ---- */

static enum err broke(struct fault *f, const char *why)
{
    return fault_set(f, ERR_PROTO, 502, 0, why);
}

/* Is the decision of the server one on the preview? */
static bool in_preview(const struct icap_client_engine *e)
{
    return e->has_preview && !e->continued;
}

/* 100 (RFC 3507 4.5). One that comes after ieof is passed over (errata EID 5893), once. */
static enum err go_on(struct icap_client_engine *e, struct fault *f)
{
    head_gather_done(&e->icap_head);
    arena_reset(&e->mem);
    if (e->cw == CW_IEOF && !e->ignored) {
        e->ignored = true;
        return OK;
    }
    if (e->cw != CW_WAIT || e->continued)
        return broke(f, "100 Continue that nobody waits for");
    e->continued = true;
    TRY(icap_client_release_rest(e));
    push(e, ICAP_CLIENT_EV_GO_ON, (struct slice){0}, 0);
    return OK;
}

static bool is_empty_list(const struct icap_encapsulated *l)
{
    return l->n == 0 || (l->n == 1 && l->part[0].entity == ICAP_NULL_BODY);
}

/* Which answer may come at all, and with which parts. */
static enum err check_status(const struct icap_client_engine *e, unsigned status, struct fault *f)
{
    const struct icap_encapsulated *l = &e->list;

    if (status < 200)
        return broke(f, "interim status that ICAP does not have");
    if (status == 204) {
        if (e->method == ICAP_OPTIONS || !(e->allow.s204 || in_preview(e)))
            return broke(f, "204 that was not allowed");
        return is_empty_list(l) ? OK : broke(f, "204 with encapsulated parts");
    }
    if (status == 206) {
        if (e->method == ICAP_OPTIONS || !e->allow.s206 || !(e->allow.s204 || in_preview(e)))
            return broke(f, "206 that was not allowed");
        if (is_empty_list(l))
            return OK;
    }
    if (status < 300 && !icap_encapsulated_fits_reply(l, e->method))
        return broke(f, "Encapsulated list does not fit the request");
    return OK;
}

static enum err check_list(struct icap_client_engine *e, const struct head *h, struct fault *f)
{
    const struct span name = SPAN("Encapsulated");
    unsigned n = head_count(h, name);

    e->list = (struct icap_encapsulated){0};
    if (n > 1)
        return broke(f, "repeated Encapsulated");
    if (n == 1)
        TRY(icap_encapsulated_parse(head_value(h, name), &e->list, f));
    return icap_slots_check(&e->list, e->lim->http_head_max, f);
}

static enum err heads_done(struct icap_client_engine *e, struct span text, struct fault *f);

static enum err final_head(struct icap_client_engine *e, const struct head *h, struct fault *f)
{
    struct icap_client_reply *r = ARENA_NEW(&e->mem, struct icap_client_reply);

    if (!r)
        return fault_set(f, ERR_NOMEM, 0, 0, "no memory for an answer");
    TRY(check_list(e, h, f));
    TRY(check_status(e, h->status, f));
    r->status = h->status;
    r->icap = h;
    r->has_body = e->list.n && e->list.part[e->list.n - 1].entity != ICAP_NULL_BODY;
    r->keep_alive = !head_has_token(h, SPAN("Connection"), SPAN("close"));
    /* ICAP Trailers: only when asked for, and only with both fields. */
    e->promised = r->has_body && e->allow.trailers && head_count(h, SPAN("Trailer")) > 0 &&
                  icap_allow_parse(h).trailers;
    e->reply = r;
    icap_client_set(e, CR_HEADS);
    return icap_slots_len(&e->list) ? OK : heads_done(e, SPAN_NONE, f);
}

static enum err read_head(struct icap_client_engine *e, struct slice *left, struct fault *f)
{
    const struct head_limits lim = {e->lim->request_line_max, e->lim->head_max, e->lim->fields_max};
    struct span text;
    struct head *h;
    enum err err;

    if (e->icap_head.text.n == 0)
        e->t_head = e->now;
    e->answered = true;
    err = head_gather_head(&e->icap_head, left, &lim, &text, f);
    if (err)
        return err == ERR_AGAIN ? OK : err;
    h = ARENA_NEW(&e->mem, struct head);
    if (!h)
        return fault_set(f, ERR_NOMEM, 0, 0, "no memory for an answer");
    TRY(head_parse(HEAD_ICAP_STATUS, text, &lim, &e->mem, h, f));
    if (h->major != 1)
        return broke(f, "ICAP version is not 1.x");
    return h->status == 100 ? go_on(e, f) : final_head(e, h, f);
}

/* ---- encapsulated heads ---- */

static enum err heads_done(struct icap_client_engine *e, struct span text, struct fault *f)
{
    const struct head_limits lim = {e->lim->http_head_max, e->lim->http_head_max,
                                    e->lim->fields_max};

    TRY(icap_slots_parse(&e->list, text, &lim, &e->mem, &e->reply->http_request,
                         &e->reply->http_response, f));
    push(e, ICAP_CLIENT_EV_REPLY, (struct slice){0}, 0);
    e->told = true;
    /* After a final answer to its preview a client sends nothing more. */
    if (e->cw == CW_WAIT) {
        e->cw = CW_DROP;
        chain_done(&e->rest);
    }
    if (e->reply->has_body)
        icap_client_set(e, CR_BODY);
    else
        answer_over(e);
    return OK;
}

static enum err read_heads(struct icap_client_engine *e, struct slice *left, struct fault *f)
{
    struct span text;
    enum err err = head_gather_bytes(&e->http_heads, left, icap_slots_len(&e->list), &text, f);

    if (err)
        return err == ERR_AGAIN ? OK : err;
    return heads_done(e, text, f);
}

/* ---- body and trailers ---- */

/* ICAP Partial Content: N past the end of what was sent is a failure. While the request's end is
 * not known the driver has to check. */
static enum err check_original(const struct icap_client_engine *e, uint64_t from, struct fault *f)
{
    if (e->body_ended && from > e->body_n)
        return broke(f, "use-original-body beyond the body");
    return OK;
}

static enum err body_end(struct icap_client_engine *e, const struct chunk_event *ev,
                         struct fault *f)
{
    if (e->cr == CR_BODY && e->reply->status == 206 && ev->use_original != CHUNK_NO_ORIGINAL) {
        TRY(check_original(e, ev->use_original, f));
        push(e, ICAP_CLIENT_EV_ORIGINAL, (struct slice){0}, ev->use_original);
    }
    if (e->cr == CR_TRAILERS || !e->promised) {
        answer_over(e);
        return OK;
    }
    e->http_trailers = arena_dup(&e->mem, chunk_trailers(&e->chunks));
    if (!e->http_trailers.p)
        return fault_set(f, ERR_NOMEM, 0, 0, "no memory for trailers");
    chunk_decoder_done(&e->chunks);
    chunk_decoder_init_trailers(&e->chunks);
    icap_client_set(e, CR_TRAILERS);
    return OK;
}

static enum err read_body(struct icap_client_engine *e, struct slice *left, struct fault *f)
{
    const struct chunk_limits lim = {e->lim->chunk_line_max, e->lim->trailer_max,
                                     e->lim->fields_max, e->lim->chunk_overhead_max};
    struct chunk_event ev;
    struct slice data;

    TRY(chunk_next_slice(&e->chunks, &lim, left, &data, &ev, f));
    switch (ev.kind) {
    case CHUNK_NEED:
    case CHUNK_LAST: break;
    case CHUNK_DATA:
        (void)block_ref(data.block);
        push(e, ICAP_CLIENT_EV_BODY, data, 0);
        break;
    case CHUNK_END: return body_end(e, &ev, f);
    }
    return OK;
}

/* ---- feeding ---- */

static enum err read_idle(struct icap_client_engine *e, struct slice *left, struct fault *f)
{
    (void)e;
    (void)left;
    return broke(f, "bytes that belong to no request");
}

static enum err drop_input(struct icap_client_engine *e, struct slice *left, struct fault *f)
{
    (void)e;
    (void)f;
    left->len = 0;
    return OK;
}

typedef enum err (*step_fn)(struct icap_client_engine *e, struct slice *left, struct fault *f);

static const step_fn steps[CR_STATES] = {
    [CR_IDLE] = read_idle, [CR_HEAD] = read_head,     [CR_HEADS] = read_heads,
    [CR_BODY] = read_body, [CR_TRAILERS] = read_body, [CR_CLOSED] = drop_input,
};

enum err icap_client_feed(struct icap_client_engine *e, struct slice in, size_t *ret_used)
{
    struct slice left = in;
    enum err ret = OK;

    while (left.len && (!queue_full(e) || e->cr == CR_CLOSED)) {
        struct fault f = {0};
        enum err err = steps[e->cr](e, &left, &f);

        e->t_in = e->now;
        if (!err)
            continue;
        if (f.err == OK)
            (void)fault_set(&f, err, 0, 0, err_text(err));
        icap_client_fail(e, &f);
        if (err == ERR_NOMEM)
            ret = ERR_NOMEM;
    }
    *ret_used = in.len - left.len;
    return ret;
}

/* ---- output and questions ---- */

const struct icap_client_reply *icap_client_reply(const struct icap_client_engine *e)
{
    return e->told ? e->reply : NULL;
}

struct chain *icap_client_output(struct icap_client_engine *e)
{
    return &e->out.chain;
}

void icap_client_sent(struct icap_client_engine *e, uint64_t n)
{
    http_out_sent(&e->out, n);
    e->t_out = e->now;
}

unsigned icap_client_wants(const struct icap_client_engine *e)
{
    unsigned wants = e->out.chain.len ? ICAP_WANT_WRITE : 0;

    if (e->cr == CR_CLOSED)
        return e->q_n || e->fault_waits ? 0 : ICAP_WANT_CLOSE;
    return wants | (queue_full(e) ? 0 : ICAP_WANT_READ);
}

bool icap_client_is_idle(const struct icap_client_engine *e)
{
    return e->cr == CR_IDLE && !e->over && e->q_n == 0 && e->out.chain.len == 0;
}

/* ---- deadlines ---- */

/* A server may think for as long as the transaction lasts; once it has begun to speak it has to go
 * on. */
static uint64_t read_deadline(const struct icap_client_engine *e)
{
    switch (e->cr) {
    case CR_IDLE: return deadline_after(e->t_idle, e->lim->idle_ms);
    case CR_HEAD:
        return e->icap_head.text.n ? deadline_after(e->t_head, e->lim->head_ms) : UINT64_MAX;
    case CR_HEADS:
    case CR_BODY:
    case CR_TRAILERS:
        return queue_full(e) ? UINT64_MAX : deadline_after(e->t_in, e->lim->body_idle_ms);
    case CR_CLOSED:
    case CR_STATES: break;
    }
    return UINT64_MAX;
}

static uint64_t write_deadline(const struct icap_client_engine *e)
{
    return e->out.chain.len ? deadline_after(e->t_out, e->lim->write_idle_ms) : UINT64_MAX;
}

static uint64_t transaction_deadline(const struct icap_client_engine *e)
{
    return e->open ? deadline_after(e->t_begin, e->lim->transaction_ms) : UINT64_MAX;
}

static uint64_t rest_deadline(const struct icap_client_engine *e)
{
    bool can_rest = e->cr == CR_IDLE && !e->resting && e->out.chain.len == 0 && e->q_n == 0;

    return can_rest ? deadline_after(e->t_idle, REST_MS) : UINT64_MAX;
}

uint64_t icap_client_deadline(const struct icap_client_engine *e)
{
    return deadline_earlier(deadline_earlier(read_deadline(e), write_deadline(e)),
                            deadline_earlier(transaction_deadline(e), rest_deadline(e)));
}

void icap_client_tick(struct icap_client_engine *e, uint64_t now_ms)
{
    struct fault f = {0};

    if (now_ms > e->now)
        e->now = now_ms;
    if (write_deadline(e) <= e->now)
        (void)fault_set(&f, ERR_TIMEOUT, 0, 0, "the server takes no output");
    else if (transaction_deadline(e) <= e->now)
        (void)fault_set(&f, ERR_TIMEOUT, 0, 0, "the transaction took too long");
    else if (e->open && read_deadline(e) <= e->now)
        (void)fault_set(&f, ERR_TIMEOUT, 0, 0, "the answer stopped");
    if (f.err)
        icap_client_fail(e, &f);
    else if (e->cr == CR_IDLE && read_deadline(e) <= e->now)
        icap_client_set(e, CR_CLOSED);
    if (rest_deadline(e) > e->now)
        return;
    release(e);
    arena_done(&e->mem);
    http_out_rest(&e->out);
    e->resting = true;
}
