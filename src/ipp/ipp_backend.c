/* SPDX-License-Identifier: Apache-2.0 */
/* Connections to a printer, and requests on them. */
#include "ipp/ipp_backend_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "observe/record_upstream.h"

#define ROUNDS_MAX  16u
#define OUTPUT_HIGH (256u << 10) /* bytes of the document that are handed over at once */
#define SEGMENT_MAX (1u << 20)
#define EXPECT_MS   200u   /* until what has come of an answer is looked at */
#define HURRY_MS    5u     /* the same where a piece has just come, */
#define HURRY_LOOKS 8u     /* so many times: then the kernel has acknowledged it (40 ms) */
#define SILENT_MS   60000u /* longer than whoever was kept waiting takes to ask again */

/* ---- the end ---- */

static void backend_free_if_last(struct ipp_backend *b)
{
    if (!b->freed || b->errands)
        return;
    upstream_free(b->pool);
    sallyport_want_free(b->peers);
    policy_unref(b->policy);
    tls_context_unref(b->set.tls);
    ipp_backend_known_unref(b->set.known);
    free(b);
}

static struct record_upstream_name name_of(const struct ipp_backend *b)
{
    return (struct record_upstream_name){.to = "backend", .address = b->host};
}

void ipp_errand_note(struct ipp_errand *e, const sallyport_why *why)
{
    const struct record_upstream_name name = name_of(e->backend);

    if (e->r.upstreams)
        record_upstreams_add(e->r.upstreams, record_upstream_of(e->stream, &name, why));
}

static void note_refused(struct ipp_errand *e, enum err err)
{
    const struct record_upstream_name name = name_of(e->backend);
    struct record_upstream *u;

    if (!e->r.upstreams)
        return;
    u = record_upstream_refused(e->backend->pool, &name, err, e->detail);
    record_upstreams_add(e->r.upstreams, u);
    record_upstream_unref(u);
}

/* Gives the connection back: it is good for another request if this one ended well. */
static void let_go(struct ipp_errand *e, bool reusable)
{
    timer_clear(e->backend->set.loop, &e->timer);
    if (e->ticket)
        upstream_cancel(e->ticket);
    e->ticket = NULL;
    if (e->stream && e->answer.sent)
        ipp_errand_note(e, NULL);
    if (e->stream) {
        (void)stream_expect(e->stream, 0);
        upstream_put(e->backend->pool, e->stream, reusable && e->leftover.len == 0);
    }
    e->stream = NULL;
    http_client_engine_free(e->engine);
    e->engine = NULL;
    block_unref(e->leftover.block);
    e->leftover = (struct slice){0};
}

static void errand_free(struct ipp_errand *e)
{
    struct ipp_backend *b = e->backend;

    timer_clear(b->set.loop, &e->deadline);
    buf_done(&e->octets);
    free(e);
    b->errands--;
    backend_free_if_last(b);
}

static void queue(struct ipp_errand *e)
{
    if (!e->queued)
        loop_defer(e->backend->set.loop, &e->task);
    e->queued = true;
}

/* Does it say something of the printer? Whoever is in a hurry has not waited as long as others
 * would. */
static bool is_failure(const struct ipp_errand *e, enum err err)
{
    switch (err) {
    case ERR_TIMEOUT: return !e->r.hurried;
    case ERR_UPSTREAM:
    case ERR_TLS:
    case ERR_POLICY:
    case ERR_PROTO:
    case ERR_LIMIT: return true;
    default: return false;
    }
}

static void note_end(const struct ipp_errand *e, enum err err)
{
    struct ipp_backend_known *k = e->backend->set.known;
    const struct loop *l = e->backend->set.loop;
    bool answers = err == OK;

    if (!answers && !is_failure(e, err))
        return;
    atomic_store_explicit(&k->answers, answers, memory_order_relaxed);
    atomic_store_explicit(answers ? &k->answered_wall_ms : &k->failed_wall_ms,
                          clock_wall_ms(loop_clock(l)), memory_order_relaxed);
    if (answers || err == ERR_TIMEOUT)
        atomic_store(&k->silent_until_ms, answers ? 0 : loop_now_ms(l) + SILENT_MS);
}

/* Told on a turn of its own. |why| is copied. */
void ipp_errand_end(struct ipp_errand *e, enum err err, const char *why)
{
    if (e->is_done)
        return;
    e->is_done = true;
    e->answer.err = err;
    (void)span_copy(span_of(why), e->why, sizeof e->why);
    e->answer.why = e->why;
    e->answer.detail = e->detail;
    note_end(e, err);
    if (err)
        let_go(e, false); /* else take_events() does, once the engine has said all */
    queue(e);
}

uint64_t ipp_errand_len(const struct ipp_errand *e)
{
    return e->r.attributes.n + (e->r.document ? body_len(e->r.document) : 0);
}

/* Once, on another connection. */
void ipp_errand_again(struct ipp_errand *e)
{
    e->again = true;
    let_go(e, false);
    queue(e);
}

/* False: the errand has no connection any more. */
static bool take_events(struct ipp_errand *e, bool *moved)
{
    struct http_client_event ev;

    while (e->engine && http_client_next(e->engine, &ev)) {
        *moved = true;
        ipp_errand_event(e, &ev);
    }
    if (e->is_done && e->engine)
        let_go(e, http_client_is_idle(e->engine));
    return e->engine != NULL;
}
/* ---- the request ---- */

static enum err hand_attributes(struct ipp_errand *e)
{
    struct span rest = span_sub(e->r.attributes, (size_t)e->handed, SIZE_MAX);
    struct block *b = block_new();
    uint32_t n = rest.n < BLOCK_SIZE ? (uint32_t)rest.n : BLOCK_SIZE;

    if (!b)
        return ERR_NOMEM;
    memcpy(b->data, rest.p, n);
    b->used = n;
    enum err err =
        http_client_body(e->engine, (struct slice){b, 0, n}, e->handed + n == ipp_errand_len(e));

    block_unref(b);
    if (err == OK)
        e->handed += n;
    return err;
}

/* ERR_AGAIN: the document is not there yet. */
static enum err hand_document(struct ipp_errand *e)
{
    struct segment s;
    enum err err;

    if (!body_take(e->r.document, SEGMENT_MAX, &s))
        return ERR_AGAIN;
    uint64_t n = segment_len(&s);
    bool last = e->handed + n == ipp_errand_len(e);

    if (s.kind == SEGMENT_FILE) {
        err = http_client_body_file(e->engine, s.file.ref, s.file.off, s.file.len, last);
        file_unref(s.file.ref);
    } else {
        err = http_client_body(e->engine, s.slice, last);
        block_unref(s.slice.block);
    }
    if (err == OK)
        e->handed += n;
    return err;
}

/* After an early answer the rest is not handed over: the connection ends with it. */
static bool hand_over(struct ipp_errand *e)
{
    bool moved = false;

    while (e->engine && !e->upgrade &&
           (e->answer.http_status == 0 || e->answer.http_status == 200) &&
           e->handed < ipp_errand_len(e) && http_client_output(e->engine)->len < OUTPUT_HIGH) {
        enum err err = e->handed < e->r.attributes.n ? hand_attributes(e) : hand_document(e);

        if (err == ERR_AGAIN)
            break;
        if (err) {
            ipp_errand_end(e, ERR_NOMEM, "no memory for a request to the printer");
            break;
        }
        moved = true;
    }
    return moved;
}

/* ---- the connection ---- */

static bool read_some(struct ipp_errand *e)
{
    struct block *b = block_new();
    uint32_t n = 0;
    size_t used = 0;
    bool moved = true;

    if (!b) {
        ipp_errand_end(e, ERR_NOMEM, "no memory for the printer's answer");
        return true;
    }
    enum err err = stream_read(e->stream, b, BLOCK_SIZE, &n);

    if (err == ERR_AGAIN) {
        moved = false;
    } else if (err == ERR_EOF) {
        http_client_eof(e->engine);
    } else if (err) {
        http_client_cut(e->engine);
    } else {
        e->little = n < STREAM_LITTLE;
        e->leftover = (struct slice){block_ref(b), b->used - n, n};
        (void)!http_client_feed(e->engine, e->leftover, &used);
        e->leftover = slice_sub(e->leftover, (uint32_t)used, n - (uint32_t)used);
    }
    block_unref(b);
    return moved;
}

static bool feed_leftover(struct ipp_errand *e)
{
    size_t used = 0;

    (void)!http_client_feed(e->engine, e->leftover, &used);
    e->leftover = slice_sub(e->leftover, (uint32_t)used, e->leftover.len - (uint32_t)used);
    return used > 0;
}

static void drop_leftover(struct ipp_errand *e)
{
    if (e->leftover.len > 0)
        return;
    block_unref(e->leftover.block);
    e->leftover = (struct slice){0};
}

static bool write_some(struct ipp_errand *e)
{
    struct chain *out = http_client_output(e->engine);
    uint64_t n = 0;

    if (out->len == 0 && !stream_has_unsent(e->stream))
        return false;
    enum err err = stream_write(e->stream, out, &n);

    if (n) {
        http_client_sent(e->engine, 0); /* the stream has taken them off the chain already */
        e->answer.sent |= !e->upgrade;  /* before that only OPTIONS went out, which does nothing */
    }
    /* What it has said before it closed may still be read. */
    if (err != OK && err != ERR_AGAIN && !stream_may_read(e->stream))
        http_client_eof(e->engine);
    return n > 0;
}

static bool one_round(struct ipp_errand *e)
{
    bool moved = hand_over(e);

    if (!take_events(e, &moved))
        return false;
    moved |= write_some(e);
    if (e->leftover.len > 0)
        moved |= feed_leftover(e);
    else if (stream_may_read(e->stream))
        moved |= read_some(e);
    if (!take_events(e, &moved))
        return false;
    drop_leftover(e);
    return moved;
}

static enum err begin_request(struct ipp_errand *e)
{
    const struct ipp_backend *b = e->backend;
    const struct http_client_request r = {
        .method = SPAN("POST"),
        .target = span_of(b->target),
        .host = span_of(b->host),
        .fields = SPAN("Content-Type: application/ipp\r\nUser-Agent: sallyport\r\n"),
        .has_body = true,
        .length = ipp_errand_len(e),
    };

    return http_client_request(e->engine, &r);
}

static void begin_greeted(struct ipp_errand *e)
{
    e->greeted = false;
    if (begin_request(e) != OK)
        ipp_errand_end(e, ERR_NOMEM, "no memory for a request to the printer");
}

/* Answers are read whole before anything is done with them. cupsd writes one of 9 KB in six pieces,
 * each of which would wake us; but it shall be seen that a slow printer sends some. Others hold a
 * piece back until it is known that the one before came (Nagle's algorithm), which nobody would say
 * for 40 ms: what has come is acknowledged, and looked at again a moment later. */
static void expect_rest(struct ipp_errand *e)
{
    struct loop *l = e->backend->set.loop;
    uint64_t left = http_client_expects(e->engine);
    uint64_t rest = left > e->leftover.len ? left - e->leftover.len : 0;
    uint64_t at = http_client_deadline(e->engine);
    uint64_t now = loop_now_ms(l);

    if (e->little)
        e->looks = HURRY_LOOKS;
    else if (e->looks && e->timer.at_ms == UINT64_MAX)
        e->looks--;
    uint64_t look = now + (e->looks ? HURRY_MS : EXPECT_MS);
    bool waits = stream_expect(e->stream, look < at ? rest : 0);

    if (e->little)
        stream_acknowledge(e->stream);
    e->little = false;
    if (waits && e->timer.at_ms > now && e->timer.at_ms < look)
        look = e->timer.at_ms; /* what was to be looked at sooner is */
    timer_set(l, &e->timer, waits ? look : at);
}

static void pump(struct ipp_errand *e)
{
    struct loop *l = e->backend->set.loop;
    bool moved = true;

    if (e->upgrade == UPGRADE_HANDSHAKE) { /* only the timer comes here */
        if (e->timer.at_ms <= loop_now_ms(l) || e->timer.at_ms == UINT64_MAX)
            ipp_errand_end(e, ERR_TIMEOUT, "the printer does not finish the TLS handshake");
        return;
    }
    http_client_tick(e->engine, loop_now_ms(l));
    for (unsigned i = 0; i < ROUNDS_MAX && moved && e->engine; i++) {
        moved = one_round(e);
        if (e->greeted && e->engine)
            begin_greeted(e);
        if (e->upgrade == UPGRADE_HANDSHAKE)
            return;
    }
    if (!e->engine)
        return;
    stream_arm(e->stream, STREAM_READABLE | (http_client_output(e->engine)->len > 0 ||
                                                     stream_has_unsent(e->stream)
                                                 ? STREAM_WRITABLE
                                                 : 0u));
    expect_rest(e);
    if (moved || stream_has_pending(e->stream))
        queue(e);
}

static void on_stream(void *arg, unsigned events)
{
    struct ipp_errand *e = arg;

    if (events & STREAM_OPEN) {
        ipp_errand_handshaken(e);
    } else if (events & STREAM_FAILED) {
        ipp_errand_note(e, NULL);
        ipp_errand_end(e, ERR_TLS, stream_error(e->stream));
    }
    if (!e->stream || e->upgrade == UPGRADE_HANDSHAKE)
        return;
    stream_arm(e->stream, 0); /* told; the pump asks again */
    queue(e);
}

static void on_timer(struct timer *t)
{
    struct ipp_errand *e = CONTAINER_OF(t, struct ipp_errand, timer);

    if (e->stream)
        stream_ask_again(e->stream);
    queue(e);
}

/* One for which there was no connection says nothing of the printer. */
static void on_deadline(struct timer *t)
{
    struct ipp_errand *e = CONTAINER_OF(t, struct ipp_errand, deadline);
    bool waits = !e->stream && e->backend->errands > e->backend->set.connections;

    ipp_errand_end(e, waits ? ERR_BUSY : ERR_TIMEOUT, "the printer does not answer in time");
}

static enum err begin(struct ipp_errand *e)
{
    const struct ipp_backend *b = e->backend;

    TRY(http_client_engine_new(&b->http, loop_now_ms(b->set.loop), &e->engine));
    bool upgrades = b->upgrades || atomic_load(&b->set.known->upgrades);

    if (b->set.tls && upgrades && !stream_is_tls(e->stream))
        return ipp_errand_upgrade(e);
    return begin_request(e);
}

const char ipp_errand_unprotected[] =
    "the connection to the printer is not protected as is demanded";

/* What the pool says names the printer's address, which is nobody's business here. */
static const char *connect_why(enum err e)
{
    switch (e) {
    case ERR_TIMEOUT: return "the printer cannot be reached: it does not answer";
    case ERR_DRAINING: return "the gateway is shutting down";
    case ERR_NOMEM: return "no memory for a connection to the printer";
    case ERR_TLS: return "the printer's TLS cannot be trusted: see the log of the gateway";
    case ERR_POLICY: return ipp_errand_unprotected;
    default: return "the printer cannot be reached";
    }
}

static void on_connected(void *arg, struct stream *stream, bool reused, enum err err,
                         const char *why)
{
    struct ipp_errand *e = arg;

    e->ticket = NULL;
    if (!stream) {
        (void)span_copy(span_of(why), e->detail, sizeof e->detail);
        note_refused(e, err);
        ipp_errand_end(e,
                       err == ERR_NOMEM || err == ERR_DRAINING || err == ERR_TIMEOUT ||
                               err == ERR_POLICY
                           ? err
                           : ERR_UPSTREAM,
                       connect_why(err));
        return;
    }
    e->stream = stream;
    e->reused = reused;
    stream_set_callback(stream, on_stream, e);
    if (begin(e) != OK)
        ipp_errand_end(e, ERR_NOMEM, "no memory for a request to the printer");
    else
        pump(e);
}

static void get_connection(struct ipp_errand *e)
{
    const struct ipp_backend *b = e->backend;

    e->handed = 0;
    e->answer.sent = false;
    e->answer.http_status = 0;
    e->upgrade = NOT_UPGRADING;
    if (upstream_get(b->pool, e->r.document || e->again, on_connected, e, &e->ticket) != OK)
        ipp_errand_end(e, ERR_NOMEM, "no memory for a connection to the printer");
}

static void run(struct task *t)
{
    struct ipp_errand *e = CONTAINER_OF(t, struct ipp_errand, task);

    e->queued = false;
    if (!e->dead && !e->is_done) {
        if (e->engine)
            pump(e);
        else if (!e->ticket)
            get_connection(e);
        return;
    }
    if (!e->dead)
        e->r.done(e->r.arg, &e->answer);
    errand_free(e);
}

/* ---- from outside ---- */

struct ipp_backend_known *ipp_backend_known_new(void)
{
    struct ipp_backend_known *k = calloc(1, sizeof *k);

    if (k)
        atomic_init(&k->refs, 1);
    return k;
}

void ipp_backend_known_relearn(struct ipp_backend_known *k)
{
    atomic_store(&k->upgrades, false);
}

struct ipp_backend_known *ipp_backend_known_ref(struct ipp_backend_known *k)
{
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void ipp_backend_known_unref(struct ipp_backend_known *k)
{
    if (k && atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) == 1)
        free(k);
}

void ipp_backend_known_read(const struct ipp_backend_known *k, struct ipp_backend_report *ret)
{
    *ret = (struct ipp_backend_report){
        .answers = atomic_load_explicit(&k->answers, memory_order_relaxed),
        .answered_wall_ms = atomic_load_explicit(&k->answered_wall_ms, memory_order_relaxed),
        .failed_wall_ms = atomic_load_explicit(&k->failed_wall_ms, memory_order_relaxed),
    };
}

bool ipp_backend_is_silent(const struct ipp_backend *b)
{
    return atomic_load(&b->set.known->silent_until_ms) > loop_now_ms(b->set.loop);
}

void ipp_backend_keep(const struct ipp_backend_answer *a, struct buf *octets,
                      struct ipp_message *ret)
{
    buf_done(octets);
    *octets = *a->octets;
    buf_init(a->octets, 0);
    *ret = *a->message;
}

enum err ipp_backend_ask(struct ipp_backend *b, const struct ipp_backend_request *r,
                         struct ipp_errand **ret)
{
    struct ipp_errand *e = calloc(1, sizeof *e);

    if (!e)
        return ERR_NOMEM;
    e->backend = b;
    e->r = *r;
    e->task.run = run;
    e->timer.fire = on_timer;
    e->timer.at_ms = UINT64_MAX;
    e->deadline.fire = on_deadline;
    e->deadline.at_ms = UINT64_MAX;
    if (r->deadline_ms)
        timer_set(b->set.loop, &e->deadline, r->deadline_ms);
    buf_init(&e->octets, b->set.message.size_max);
    b->errands++;
    queue(e); /* connects there */
    *ret = e;
    return OK;
}

void ipp_errand_cancel(struct ipp_errand *e)
{
    e->dead = true;
    let_go(e, false);
    queue(e);
}

static enum err texts_make(struct ipp_backend *b)
{
    const struct ipp_uri *u = &b->set.uri;
    struct writer host = writer_of(b->host, sizeof b->host - 1);
    struct writer target = writer_of(b->target, sizeof b->target - 1);
    bool v6 = span_find(u->host, ':') < u->host.n;
    char port[16];

    write_span(&host, v6 ? SPAN("[") : SPAN_NONE);
    write_span(&host, u->host);
    write_span(&host, v6 ? SPAN("]") : SPAN_NONE);
    (void)snprintf(port, sizeof port, ":%u", ipp_uri_port(u, IPP_PORT));
    write_span(&host, span_of(port));
    TRY(host.err);
    return ipp_uri_format_target(u, &target);
}

/* By Upgrade nothing is protected when the connection is there, and nothing said that matters: the
 * demand is made when TLS has begun (ipp_errand_handshaken()), and it always does. */
static enum err demand_make(struct ipp_backend *b, struct protect_policy *ret_first)
{
    const struct ipp_backend_settings *s = &b->set;
    bool demands = s->require > SALLYPORT_NONE || s->peers.n > 0;

    b->upgrades = s->tls && !s->uri.secure && (demands || s->uri.auth & IPP_AUTH_TLS);

    TRY(protect_peers(s->peers.v, s->peers.n, &b->peers));
    b->set.peers = (struct config_strings){0}; /* they may go now */
    b->demand = (struct protect_policy){.require = s->require, .want = b->peers};
    *ret_first = b->demand;
    if (b->upgrades)
        *ret_first = (struct protect_policy){.require = SALLYPORT_NONE};
    return OK;
}

enum err ipp_backend_new(const struct ipp_backend_settings *s, struct ipp_backend **ret)
{
    struct ipp_backend *b = calloc(1, sizeof *b);
    char host[300];

    if (!b)
        return ERR_NOMEM;
    b->set = *s;
    b->set.system.file = b->policy = policy_ref(s->system.file);
    b->http = http_limits_default;
    b->http.head_ms = b->http.body_idle_ms = b->http.write_idle_ms = s->timeout_ms;
    b->http.exchange_ms = 0;
    (void)ipp_backend_known_ref(s->known);
    b->set.tls = s->tls ? tls_context_ref(s->tls) : NULL;
    (void)span_copy(s->uri.host, host, sizeof host);
    struct upstream_settings up = {
        .host = host,
        .port = ipp_uri_port(&s->uri, IPP_PORT),
        .tls = s->uri.secure ? s->tls : NULL,
        .system = b->set.system,
        .connect_ms = s->timeout_ms < 10000 ? s->timeout_ms : 10000,
        .connections_max = s->connections,
        .idle_max = s->connections,
    };
    enum err err = texts_make(b);

    if (err == OK)
        err = demand_make(b, &up.policy);
    if (err == OK)
        err = upstream_new(s->loop, &up, &b->pool);
    if (err) {
        b->freed = true;
        backend_free_if_last(b);
        return err;
    }
    *ret = b;
    return OK;
}

void ipp_backend_free(struct ipp_backend *b)
{
    if (!b)
        return;
    b->freed = true;
    backend_free_if_last(b);
}
