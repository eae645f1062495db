/* SPDX-License-Identifier: Apache-2.0 */
/* http_client_engine.c - the reading half: answers are framed by what their request was. */
#include "http/http_client_engine.h"

#include <stdlib.h>

#include "http/http_client_engine_int.h"

/* Interim answers to one request that are passed over. */
#define INTERIM_MAX 16u

/* ---- states and events ---- */

void http_client_set(struct http_client_engine *e, enum http_cr next)
{
#define ROW(id, name, may) [id] = (may) | 1u << CR_CLOSED,
    static const unsigned allowed[CR_STATES] = {HTTP_CR_STATES(ROW)};
#undef ROW

    assert(allowed[e->cr] & 1u << next);
    e->cr = next;
}

static void push(struct http_client_engine *e, enum http_client_event_kind kind, struct slice s)
{
    assert(e->q_n < HTTP_CLIENT_QUEUE);
    e->queue[(e->q_first + e->q_n++) % HTTP_CLIENT_QUEUE] = (struct http_client_queued){s, kind};
}

static void push_bare(struct http_client_engine *e, enum http_client_event_kind kind)
{
    push(e, kind, (struct slice){0});
}

static void drop_events(struct http_client_engine *e)
{
    for (; e->q_n; e->q_n--, e->q_first = (e->q_first + 1) % HTTP_CLIENT_QUEUE)
        block_unref(e->queue[e->q_first].slice.block);
}

static void release_now(struct http_client_engine *e)
{
    arena_reset(&e->mem);
    head_gather_done(&e->head);
    chunk_decoder_done(&e->chunks);
    chunk_decoder_init(&e->chunks);
    e->answer = NULL;
    e->told = e->over = false;
}

bool http_client_next(struct http_client_engine *e, struct http_client_event *ret)
{
    *ret = (struct http_client_event){.kind = HTTP_CLIENT_EV_NONE};
    if (e->q_n) {
        struct http_client_queued q = e->queue[e->q_first];

        if (http_client_queue_full(e)) /* not the server's silence */
            e->t_in = e->now;
        e->q_first = (e->q_first + 1) % HTTP_CLIENT_QUEUE;
        e->q_n--;
        ret->kind = q.kind;
        ret->slice = q.slice;
        if (ret->kind == HTTP_CLIENT_EV_END)
            ret->trailers = chunk_trailers(&e->chunks);
        return true;
    }
    if (e->fault_waits) {
        e->fault_waits = false;
        ret->kind = HTTP_CLIENT_EV_FAILED;
        ret->fault = e->fault;
        return true;
    }
    if (e->over)
        release_now(e);
    return false;
}

/* ---- life ---- */

enum err http_client_engine_new(const struct http_limits *lim, uint64_t now_ms,
                                struct http_client_engine **ret)
{
    struct http_client_engine *e = mem_fail_now() ? NULL : calloc(1, sizeof *e);

    if (!e)
        return ERR_NOMEM;
    e->lim = lim;
    e->now = e->t_idle = now_ms;
    e->resting = e->body_ended = e->sent = true;
    arena_init(&e->mem, lim->memory_max);
    http_out_init(&e->out);
    http_out_init(&e->held);
    chunk_decoder_init(&e->chunks);
    *ret = e;
    return OK;
}

void http_client_engine_free(struct http_client_engine *e)
{
    if (!e)
        return;
    drop_events(e);
    release_now(e);
    arena_done(&e->mem);
    http_out_done(&e->out);
    http_out_done(&e->held);
    free(e);
}

static void die(struct http_client_engine *e)
{
    http_client_drop_request(e);
    e->dead = e->over = true;
    e->open = e->paused = false;
    if (e->cr != CR_CLOSED)
        http_client_set(e, CR_CLOSED);
}

void http_client_abort(struct http_client_engine *e)
{
    drop_events(e);
    e->fault_waits = false;
    die(e);
}

/* What a gateway says to its own client. */
static unsigned status_of(enum err e)
{
    return e == ERR_TIMEOUT ? 504 : e == ERR_NOMEM ? 503 : 502;
}

void http_client_fail(struct http_client_engine *e, const struct fault *f)
{
    if (!e->dead) {
        e->fault = *f;
        e->fault.status = status_of(f->err);
        e->fault_waits = true;
    }
    die(e);
}

static void answer_over(struct http_client_engine *e)
{
    push_bare(e, HTTP_CLIENT_EV_END);
    e->open = e->paused = false;
    e->over = true;
    e->t_idle = e->now;
    http_client_set(e, e->answer->keep_alive ? CR_IDLE : CR_CLOSED);
}

static void input_ended(struct http_client_engine *e, bool cut)
{
    static const struct fault early = {ERR_RESET, 0, "closed before the first byte of its answer",
                                       0};
    static const struct fault late = {ERR_EOF, 0, "closed inside its answer", 0};

    if (e->cr == CR_TO_END && !cut) {
        answer_over(e);
    } else if (e->open) {
        http_client_fail(e, e->answered ? &late : &early);
    } else if (e->cr != CR_CLOSED) {
        http_client_drop_request(e);
        http_client_set(e, CR_CLOSED);
    }
}

void http_client_eof(struct http_client_engine *e)
{
    input_ended(e, false);
}

void http_client_cut(struct http_client_engine *e)
{
    input_ended(e, true);
}

/* ---- framing ---- */

static enum err broke(struct fault *f, const char *why)
{
    return fault_set(f, ERR_PROTO, 0, 0, why);
}

/* RFC 9112 6.3, 1: not even when the fields say otherwise. */
static bool has_no_body(const struct http_client_engine *e, unsigned status)
{
    return e->is_head || status == 204 || status == 304;
}

/* RFC 9112 6.1 and 6.3: codings that would have to be undone before the end can be seen, and
 * contradictions, are nothing to guess about. */
static enum err check_coding(const struct head *h, struct fault *f)
{
    const struct span name = SPAN("Transfer-Encoding");

    if (h->minor == 0)
        return broke(f, "Transfer-Encoding in HTTP/1.0");
    if (head_count(h, SPAN("Content-Length")))
        return broke(f, "Content-Length together with Transfer-Encoding");
    if (head_count(h, name) != 1 || !span_ieq(head_value(h, name), SPAN("chunked")))
        return broke(f, "a Transfer-Encoding that is not one chunked");
    return OK;
}

/* *ret: the state that reads the body, or IDLE without one. */
static enum err find_body(const struct http_client_engine *e, const struct head *h,
                          enum http_cr *ret, uint64_t *ret_length, struct fault *f)
{
    enum err err;

    *ret = CR_IDLE;
    *ret_length = 0;
    if (has_no_body(e, h->status))
        return OK;
    if (head_count(h, SPAN("Transfer-Encoding"))) {
        TRY(check_coding(h, f));
        *ret = CR_CHUNKED;
        *ret_length = HTTP_LENGTH_UNKNOWN;
        return OK;
    }
    err = head_content_length(h, ret_length);
    if (err == ERR_MISSING) {
        *ret = CR_TO_END;
        *ret_length = HTTP_LENGTH_UNKNOWN;
    } else if (err) {
        return broke(f, "malformed or conflicting Content-Length");
    } else if (*ret_length) {
        *ret = CR_LENGTH;
    }
    return OK;
}

/* As find_body() for an answer that ends with its head. A body that was announced may still come.
 * Of a chunked one it would be seen: no chunk-size line is a status-line; any other could be
 * taken for the next answer, so the connection is not kept. */
static void find_no_body(struct http_client_engine *e, const struct head *h, bool *ret_keep)
{
    enum http_cr said;
    uint64_t ignored;
    enum err err = find_body(e, h, &said, &ignored, NULL);

    e->lone = !err && said == CR_CHUNKED;
    e->lone_n = 0;
    *ret_keep = e->lone || (!err && said == CR_IDLE);
}

/* ---- heads ---- */

static struct http_answer *answer_new(struct http_client_engine *e, const struct head *h)
{
    struct http_answer *a = ARENA_NEW(&e->mem, struct http_answer);

    if (a)
        *a = (struct http_answer){.status = h->status, .head = h, .keep_alive = true};
    e->answer = a;
    return a;
}

static enum err no_memory(struct fault *f)
{
    return fault_set(f, ERR_NOMEM, 0, 0, "no memory for an answer");
}

/* 100 and whatever else is no answer yet (RFC 9110 15.2). */
static enum err interim_head(struct http_client_engine *e, unsigned status, struct fault *f)
{
    head_gather_done(&e->head);
    arena_reset(&e->mem);
    if (status == 100 && e->cw == CW_WAIT) {
        TRY(http_client_release_body(e));
        push_bare(e, HTTP_CLIENT_EV_GO_ON);
        return OK;
    }
    if (++e->n_interim > INTERIM_MAX)
        return broke(f, "too many interim answers");
    return OK;
}

/* From here on the connection is somebody else's until http_client_switched(). What of the request
 * is not sent yet would go out as the other protocol. */
static enum err switch_over(struct http_client_engine *e, struct fault *f)
{
    if (e->out.chain.len)
        return broke(f, "another protocol before the request was sent");
    e->told = true;
    http_client_set(e, CR_SWITCHED);
    return OK;
}

static enum err upgrade_head(struct http_client_engine *e, const struct head *h, struct fault *f)
{
    if (!e->upgrade)
        return broke(f, "101 that was not asked for");
    if (!answer_new(e, h))
        return no_memory(f);
    TRY(switch_over(e, f));
    push_bare(e, HTTP_CLIENT_EV_SWITCHED);
    return OK;
}

/* RFC 9112 6.3, 2: no body, whatever the fields say. */
static enum err tunnel_head(struct http_client_engine *e, struct fault *f)
{
    TRY(switch_over(e, f));
    push_bare(e, HTTP_CLIENT_EV_ANSWER);
    push_bare(e, HTTP_CLIENT_EV_SWITCHED);
    return OK;
}

/* Says the server that the connection lives on? RFC 9112 9.3; of HTTP/1.0 we do not ask it. */
static bool keeps_alive(const struct head *h)
{
    return h->minor > 0 && !head_has_token(h, SPAN("Connection"), SPAN("close"));
}

static enum err final_head(struct http_client_engine *e, const struct head *h, struct fault *f)
{
    struct http_answer *a = answer_new(e, h);
    enum http_cr body = CR_IDLE;
    bool keep = true;

    if (!a)
        return no_memory(f);
    if (e->tunnel && h->status < 300)
        return tunnel_head(e, f);
    if (e->head_only)
        find_no_body(e, h, &keep);
    else
        TRY(find_body(e, h, &body, &a->length, f));
    a->has_body = body != CR_IDLE;
    /* A body that was held back and does not come now is one that the server may wait for. */
    a->keep_alive = keep && keeps_alive(h) && body != CR_TO_END && !e->close && e->cw != CW_WAIT;
    push_bare(e, HTTP_CLIENT_EV_ANSWER);
    e->told = true;
    e->left = a->length;
    if (!a->keep_alive)
        http_client_drop_request(e);
    if (a->has_body)
        http_client_set(e, body);
    else
        answer_over(e);
    return OK;
}

/* What some servers send behind an answer to which we read no body: passed over, once. */
static enum err pass_lone(struct http_client_engine *e, struct slice *left, struct fault *f)
{
    static const struct span last = {"0\r\n\r\n", 5};
    struct span in = slice_span(*left);
    uint32_t n = 0;

    while (n < in.n && e->lone_n < last.n && in.p[n] == last.p[e->lone_n]) {
        n++;
        e->lone_n++;
    }
    *left = slice_sub(*left, n, left->len - n);
    if (left->len && e->lone_n > 0 && e->lone_n < last.n)
        return broke(f, "bytes that belong to no request");
    e->lone = left->len == 0 && e->lone_n < last.n;
    return OK;
}

static enum err read_head(struct http_client_engine *e, struct slice *left, struct fault *f)
{
    const struct head_limits lim = {e->lim->request_line_max, e->lim->head_max, e->lim->fields_max};
    struct span text;
    struct head *h;
    enum err err;

    if (e->lone)
        return pass_lone(e, left, f);
    if (e->out.chain.len == e->put) /* nothing went out that this could be the answer to */
        return broke(f, "an answer before its request");
    if (e->head.text.n == 0)
        e->t_head = e->now;
    e->answered = true;
    err = head_gather_head(&e->head, left, &lim, &text, f);
    if (err)
        return err == ERR_AGAIN ? OK : err;
    h = ARENA_NEW(&e->mem, struct head);
    if (!h)
        return no_memory(f);
    TRY(head_parse(HEAD_HTTP_STATUS, text, &lim, &e->mem, h, f));
    if (h->major != 1)
        return broke(f, "HTTP version is not 1.x");
    if (h->status > 599)
        return broke(f, "status code over 599");
    if (h->status == 101)
        return upgrade_head(e, h, f);
    return h->status < 200 ? interim_head(e, h->status, f) : final_head(e, h, f);
}

/* ---- bodies ---- */

static void push_body(struct http_client_engine *e, struct slice s)
{
    (void)block_ref(s.block);
    push(e, HTTP_CLIENT_EV_BODY, s);
}

static enum err read_length(struct http_client_engine *e, struct slice *left, struct fault *f)
{
    uint32_t n = left->len < e->left ? left->len : (uint32_t)e->left;

    (void)f;
    push_body(e, slice_sub(*left, 0, n));
    *left = slice_sub(*left, n, left->len - n);
    e->left -= n;
    if (e->left == 0)
        answer_over(e);
    return OK;
}

static enum err read_to_end(struct http_client_engine *e, struct slice *left, struct fault *f)
{
    (void)f;
    push_body(e, *left);
    *left = slice_sub(*left, left->len, 0);
    return OK;
}

static enum err read_chunked(struct http_client_engine *e, struct slice *left, struct fault *f)
{
    const struct chunk_limits lim = {e->lim->chunk_line_max, e->lim->trailer_max,
                                     e->lim->fields_max, e->lim->chunk_overhead_max};
    struct chunk_event ev;
    struct slice data;

    TRY(chunk_next_slice(&e->chunks, &lim, left, &data, &ev, f));
    switch (ev.kind) {
    case CHUNK_NEED:
    case CHUNK_LAST: break;
    case CHUNK_DATA: push_body(e, data); break;
    case CHUNK_END: answer_over(e); break;
    }
    return OK;
}

/* ---- feeding ---- */

static enum err read_idle(struct http_client_engine *e, struct slice *left, struct fault *f)
{
    return e->lone ? pass_lone(e, left, f) : broke(f, "bytes that belong to no request");
}

static enum err drop_input(struct http_client_engine *e, struct slice *left, struct fault *f)
{
    (void)e;
    (void)f;
    left->len = 0;
    return OK;
}

typedef enum err (*step_fn)(struct http_client_engine *e, struct slice *left, struct fault *f);

static const step_fn steps[CR_STATES] = {
    [CR_IDLE] = read_idle,       [CR_HEAD] = read_head,     [CR_LENGTH] = read_length,
    [CR_CHUNKED] = read_chunked, [CR_TO_END] = read_to_end, [CR_SWITCHED] = NULL,
    [CR_CLOSED] = drop_input,
};

/* Also with a full queue what came together with an answer's end must not wait, or it would become
 * the answer to the next request. */
static bool takes_input(const struct http_client_engine *e)
{
    if (e->cr == CR_SWITCHED)
        return false;
    return e->cr == CR_IDLE || e->cr == CR_CLOSED || !http_client_queue_full(e);
}

enum err http_client_feed(struct http_client_engine *e, struct slice in, size_t *ret_used)
{
    struct slice left = in;
    enum err ret = OK;

    while (left.len && takes_input(e)) {
        struct fault f = {0};
        enum err err = steps[e->cr](e, &left, &f);

        e->t_in = e->now;
        if (!err)
            continue;
        if (f.err == OK)
            (void)fault_set(&f, err, 0, 0, err_text(err));
        http_client_fail(e, &f);
        if (err == ERR_NOMEM)
            ret = ERR_NOMEM;
    }
    *ret_used = in.len - left.len;
    return ret;
}

enum err http_client_switched(struct http_client_engine *e)
{
    if (e->cr != CR_SWITCHED || e->q_n)
        return ERR_BUG;
    release_now(e);
    e->upgrade = false; /* once */
    e->paused = false;
    e->open = !e->tunnel;
    e->t_in = e->t_idle = e->now;
    http_client_set(e, e->tunnel ? CR_IDLE : CR_HEAD);
    return OK;
}

/* ---- output and questions ---- */

const struct http_answer *http_client_answer(const struct http_client_engine *e)
{
    return e->told ? e->answer : NULL;
}

struct chain *http_client_output(struct http_client_engine *e)
{
    return &e->out.chain;
}

void http_client_note_sent(struct http_client_engine *e)
{
    if (e->sent || !http_client_is_written(e))
        return;
    e->sent = true;
    if (e->cr == CR_HEAD)
        e->t_in = e->now;
    else if (e->cr == CR_IDLE)
        e->t_idle = e->now;
}

void http_client_sent(struct http_client_engine *e, uint64_t n)
{
    http_out_sent(&e->out, n);
    e->t_out = e->now;
    http_client_note_sent(e);
}

unsigned http_client_wants(const struct http_client_engine *e)
{
    unsigned wants = e->out.chain.len ? HTTP_WANT_WRITE : 0;

    if (e->cr == CR_CLOSED)
        return e->q_n || e->fault_waits ? 0 : HTTP_WANT_CLOSE;
    return wants |
           (e->cr == CR_SWITCHED || e->paused || http_client_queue_full(e) ? 0 : HTTP_WANT_READ);
}

bool http_client_is_idle(const struct http_client_engine *e)
{
    return e->cr == CR_IDLE && !e->over && e->q_n == 0 && http_client_is_written(e);
}
